"""One end of many conversations: the handshake, who is there, and which frame belongs to which conversation.

A peer has roads (links to a relay, or straight to another peer) and, on each, one conversation with every peer that it
talks to. It offers what its server serves; it does not know what programs mean.
"""

from __future__ import annotations

import hmac
import logging
import os
import time
from contextlib import suppress
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

import anyio
from anyio.abc import TaskGroup

from . import wire
from .compression import AUTO, Policy
from .errors import (
    AsyncSyftError,
    LinkClosed,
    LinkError,
    Refused,
    RemoteProtocolError,
    UnknownPeer,
    WorkerLost,
    by_code,
)
from .link import HEARTBEAT, SILENCE, Link, keep_alive
from .protocol import Conversation, Served, Server
from .transport import Transport
from .waiting import Slot, slot_class
from .wire import ChunkOf, Frame, Goodbye, Hello, Parcel, PeerInfo, Peers, Program, Welcome

logger = logging.getLogger(__name__)

DRIVER, RELAY, WORKER = "driver", "relay", "worker"
#: Seconds that the other end has to say hello or welcome.
HANDSHAKE_TIMEOUT = 10.0
#: Seconds between looks at what is still to be sent when a peer closes.
QUIET = 0.005
Admit = Callable[[Hello, Transport], None]


class NoServer:
    """What a peer serves that only asks: nothing."""

    def program(
        self, conversation: Conversation, served: Served, message: Program, body: memoryview, size: int
    ) -> None:
        raise RemoteProtocolError("this peer serves no programs")

    def chunk(self, conversation: Conversation, number: int, chunk: ChunkOf, body: memoryview) -> None:
        raise RemoteProtocolError("this peer serves no programs")

    def cancel(self, conversation: Conversation, number: int, step: int) -> None:
        raise RemoteProtocolError("this peer serves no programs")


class Road:
    """A link of a peer: whom it leads to, and the conversations that run on it by the far end's number."""

    def __init__(self, transport: Transport, peer: Peer, admit: Optional[Admit] = None) -> None:
        self.admit = admit  # on a link that was accepted: raises Refused for whom it will not have
        self.link = Link(transport, self._on_message)
        self.peer = peer
        self.number = 0
        self.epoch = b""
        self.far: Optional[PeerInfo] = None  # who is at the other end of the link
        self.peers: Dict[int, PeerInfo] = {}
        self.conversations: Dict[int, Conversation] = {}
        self.pings: Dict[int, Tuple[int, Slot[None]]] = {}  # by id: to whom, and who waits
        self.greeted: Slot[None] = peer.slot()

    def _on_message(self, message: memoryview) -> None:
        for frame in wire.frames(message):
            self.peer.on_frame(self, frame)


class Peer:
    """One process's end; ``can`` is what it tells the others it can do (level, ops, codecs, limits)."""

    def __init__(
        self,
        name: str,
        role: str,
        *,
        server: Optional[Server] = None,
        can: Optional[Mapping[str, Any]] = None,
        heartbeat: float = HEARTBEAT,
        silence: float = SILENCE,
        compression: str = AUTO,
    ) -> None:
        """Raises: ValueError for a compression that is not "auto", "always" or "never"."""
        self.name, self.role = name, role
        self.incarnation = os.urandom(wire.INCARNATION_SIZE)
        self.server: Server = server or NoServer()
        self.can = {"codecs": [wire.ZSTD], **(can or {})}
        self.compression = Policy(compression).mode
        self.heartbeat, self.silence = heartbeat, silence
        self.roads: List[Road] = []
        self.slot = slot_class()
        # What the owner of the peer wants to be told.
        self.on_joined: Callable[[Road, PeerInfo], None] = lambda road, info: None
        self.on_left: Callable[[Road, PeerInfo, AsyncSyftError], None] = lambda road, info, why: None
        self.on_ended: Callable[[Conversation, bool], None] = lambda conversation, goodbye: None
        self.on_road_lost: Callable[[Road, LinkError], None] = lambda road, error: None
        self._tasks: Optional[TaskGroup] = None
        self._open_roads = 0
        self._drained: Optional[Slot[None]] = None
        self._ping_id = 0

    # Roads.

    def start(self, tasks: TaskGroup) -> None:
        """Begin to keep the roads alive; the tasks of the peer belong to ``tasks``."""
        self._tasks = tasks
        tasks.start_soon(keep_alive, lambda: [road.link for road in self.roads], self.heartbeat, self.silence)

    async def join(self, transport: Transport, token: Optional[str] = None) -> Road:
        """Say hello on a transport that this peer dialled, and wait for the welcome.

        Raises: the error with which the other end refused (Refused: the name is taken), LinkClosed, TimeoutError.
        """
        assert self._tasks is not None
        road = Road(transport, self)
        hello = (wire.VERSION, self.name, self.role, self.incarnation, token, self.can)
        road.link.send(Parcel(wire.HELLO, 0, hello))
        self._tasks.start_soon(self._run_road, road)
        try:
            with anyio.fail_after(HANDSHAKE_TIMEOUT):
                await road.greeted
        except BaseException:
            road.link.abort(LinkClosed("the handshake was given up"))
            raise
        return road

    async def accept(self, transport: Transport, admit: Admit) -> None:
        """Serve a transport that dialled this peer until it ends; ``admit`` raises Refused for who may not come in."""
        road = Road(transport, self, admit)

        async def hurry() -> None:
            with anyio.move_on_after(HANDSHAKE_TIMEOUT):
                with suppress(AsyncSyftError):  # it ended before it said hello
                    await road.greeted
                return
            road.link.abort(LinkClosed("no hello came"))

        assert self._tasks is not None
        self._tasks.start_soon(hurry)
        await self._run_road(road)

    async def _run_road(self, road: Road) -> None:
        self._open_roads += 1
        try:
            await road.link.run()
        finally:
            self._road_lost(road)
            self._open_roads -= 1
            if self._drained is not None and not self._open_roads:
                self._drained.set(None)

    async def quiet(self) -> None:
        """Return when all that the conversations owe has left; their ends give credit for it."""
        while any(talk.owes for road in self.roads for talk in road.conversations.values()):  # noqa: ASYNC110
            await anyio.sleep(QUIET)

    async def drained(self) -> None:
        """Return when every road has ended."""
        if self._open_roads:
            self._drained = self.slot()
            await self._drained

    def _road_lost(self, road: Road) -> None:
        where = road.far.name if road.far and road.far.name else road.link.transport.remote
        error: AsyncSyftError = road.link.error or LinkClosed(f"{where} closed the link")
        road.greeted.fail(error)
        for _, slot in road.pings.values():
            slot.fail(error)
        if road in self.roads:
            self.roads.remove(road)
            logger.info("%s: link to %s ended: %s", self.name, where, error)
        for number in list(road.conversations):
            info = road.peers.get(number)
            self._end(road, number, WorkerLost(f"{info.name if info else where} is lost: {error}"))
        for info in list(road.peers.values()):
            self._left(road, info.number, WorkerLost(f"{info.name} is lost: {error}"))
        self.on_road_lost(road, error if isinstance(error, LinkError) else LinkClosed(str(error)))

    # Conversations.

    def converse(self, road: Road, info: PeerInfo) -> Conversation:
        """The conversation with a peer on a road; opened, without waiting, if there is none."""
        conversation = road.conversations.get(info.number)
        if conversation is None:
            conversation = Conversation(self.incarnation, info.incarnation, self.server, self.can, self.compression)
            self._open(road, info.number, conversation)
        return conversation

    def converse_beside(self, asking: Conversation, number: int, incarnation: bytes) -> Conversation:
        """The conversation with peer ``number`` on the road of another conversation, known by its incarnation.

        Raises: UnknownPeer if that number is another life.
        """
        for road in self.roads:
            if road.conversations.get(asking.to) is asking:
                conversation = self.converse(road, PeerInfo(number, f"peer {number}", WORKER, incarnation))
                if conversation.theirs != incarnation:
                    raise UnknownPeer(f"peer {number} is not who it was")
                return conversation
        raise UnknownPeer(f"there is no road to peer {number}")

    def knows(self, incarnation: bytes) -> bool:
        """Whether a conversation with that life of a peer goes on."""
        return any(c.theirs == incarnation for road in self.roads for c in road.conversations.values())

    def _open(self, road: Road, number: int, conversation: Conversation) -> None:
        road.conversations[number] = conversation
        conversation.wake = lambda: road.link.ready(conversation)
        conversation.begin(number)

    def leave(self, conversation: Conversation, error: AsyncSyftError, *, code: str = "") -> None:
        """End a conversation and tell the far end."""
        for road in self.roads:
            if road.conversations.get(conversation.to) is conversation:
                road.link.send(Parcel(wire.GOODBYE, 0, (code, str(error)[:1000])), conversation.to)
                self._end(road, conversation.to, error)

    def _end(self, road: Road, number: int, error: AsyncSyftError, goodbye: bool = False) -> None:
        conversation = road.conversations.pop(number, None)
        if conversation is not None:
            road.link.forget(conversation)
            conversation.end(error)
            self.on_ended(conversation, goodbye)

    def _left(self, road: Road, number: int, error: AsyncSyftError, goodbye: bool = False) -> None:
        self._end(road, number, error, goodbye)
        for to, slot in road.pings.values():
            if to == number:
                slot.fail(error)
        info = road.peers.pop(number, None)
        if info is not None:
            self.on_left(road, info, error)

    async def ping(self, road: Road, number: int) -> None:
        """Return when the peer of that number has answered a ping. Raises: LinkError when the road ends first."""
        if road.link.closed:
            raise LinkClosed("the link is closed")
        self._ping_id += 1
        slot: Slot[None] = self.slot()
        road.pings[self._ping_id] = (number, slot)
        try:
            road.link.send(Parcel(wire.PING, 0, ()), number, self._ping_id)
            await slot
        finally:
            del road.pings[self._ping_id]

    # Frames.

    def on_frame(self, road: Road, frame: Frame) -> None:
        """One frame of a road. Raises: RemoteProtocolError if the other end of the link itself broke the rules.

        What a peer behind the relay does wrong costs the conversation with that peer, and nothing else.
        """
        if frame.sender and (road.far is None or road.far.role != RELAY):
            raise RemoteProtocolError("only a relay says who sends a frame")
        try:
            if frame.kind >= wire.RESUME:
                self._on_conversation(road, frame)
                return
            handler = _LINK_HANDLERS.get(frame.kind)
            if handler is None:
                raise RemoteProtocolError(f"unknown kind of frame: {frame.kind}")
            handler(self, road, frame, wire.parse(frame))
        except RemoteProtocolError as error:
            if not frame.sender and frame.sender not in road.conversations:
                raise
            logger.warning("%s: peer %d broke the protocol (id %d): %s", self.name, frame.sender, frame.id, error)
            goodbye = (RemoteProtocolError.__name__, str(error)[:1000])
            road.link.send(Parcel(wire.GOODBYE, 0, goodbye), frame.sender)
            self._end(road, frame.sender, error)

    def _on_conversation(self, road: Road, frame: Frame) -> None:
        if road.far is None:
            raise RemoteProtocolError("a frame came before the hello")
        conversation = road.conversations.get(frame.sender)
        if conversation is None or (frame.kind == wire.RESUME and self._is_new_life(conversation, frame)):
            conversation = self._meet(road, frame)
        if conversation is not None:
            if frame.kind == wire.CREDIT:
                conversation.now = time.perf_counter()
            conversation.receive(frame)

    @staticmethod
    def _is_new_life(conversation: Conversation, frame: Frame) -> bool:
        return bool(wire.parse(frame).mine != conversation.theirs)

    def _meet(self, road: Road, frame: Frame) -> Optional[Conversation]:
        """A peer that this one has no conversation with: it may open one, and nothing else."""
        if frame.kind != wire.RESUME:
            self._refuse(road, frame, "no conversation: resume it first")
            return None
        resume = wire.parse(frame)
        if resume.yours != self.incarnation:
            self._refuse(road, frame, f"{self.name} is not who you knew: it was started anew")
            return None
        self._end(road, frame.sender, WorkerLost("it came back with a new incarnation"))
        if self.knows(resume.mine):
            self._refuse(road, frame, "that life has a conversation here already")
            return None
        conversation = Conversation(self.incarnation, resume.mine, self.server, self.can, self.compression)
        self._open(road, frame.sender, conversation)
        return conversation

    def _refuse(self, road: Road, frame: Frame, reason: str) -> None:
        road.link.send(Parcel(wire.REFUSED, 0, (0, UnknownPeer.__name__, reason)), frame.sender, frame.id)

    def _on_hello(self, road: Road, frame: Frame, hello: Hello) -> None:
        if road.admit is None or road.far is not None:
            raise RemoteProtocolError("a hello out of place")
        try:
            if hello.version != wire.VERSION:
                raise Refused(f"protocol version {hello.version}; this is version {wire.VERSION}")
            road.admit(hello, road.link.transport)
        except AsyncSyftError as error:
            road.link.send(Parcel(wire.GOODBYE, 0, (type(error).__name__, str(error))))
            road.link.close(1008, str(error))
            return
        me = PeerInfo(0, self.name, self.role, self.incarnation)
        road.link.send(Parcel(wire.WELCOME, 0, (wire.VERSION, 1, os.urandom(8), me, [], self.can)))
        self._greeted(road, PeerInfo(0, hello.name, hello.role, hello.incarnation))

    def _on_welcome(self, road: Road, frame: Frame, welcome: Welcome) -> None:
        if road.far is not None or road.admit is not None or frame.sender:
            raise RemoteProtocolError("a welcome out of place")
        road.number, road.epoch = welcome.number, welcome.epoch
        self._greeted(road, welcome.me)
        for info in welcome.peers:
            self._joined(road, info)

    def _greeted(self, road: Road, far: PeerInfo) -> None:
        road.far = far
        self.roads.append(road)
        logger.debug("%s: linked to %s %s", self.name, far.role, far.name)
        road.greeted.set(None)
        if far.role != RELAY:
            self._joined(road, far._replace(number=0))

    def _joined(self, road: Road, info: PeerInfo) -> None:
        road.peers[info.number] = info
        self.on_joined(road, info)

    def _on_peers(self, road: Road, frame: Frame, message: Peers) -> None:
        if frame.sender or road.far is None or road.far.role != RELAY:
            raise RemoteProtocolError("only a relay says who is there")
        for number, reason in message.left:
            info = road.peers.get(number)
            name = info.name if info else f"peer {number}"
            self._left(road, number, WorkerLost(f"{name} left: {reason or 'goodbye'}"), goodbye=not reason)
        for info in message.joined:
            self._joined(road, info)

    def _on_goodbye(self, road: Road, frame: Frame, message: Goodbye) -> None:
        info = road.peers.get(frame.sender)
        name = info.name if info else f"peer {frame.sender}"
        if message.code == RemoteProtocolError.__name__:
            error: AsyncSyftError = RemoteProtocolError(f"{name} says that we broke the protocol: {message.reason}")
        elif message.code:
            error = by_code(message.code)(message.reason)
        else:
            error = WorkerLost(f"{name} said goodbye: {message.reason}")
        if frame.sender or road.far is None or road.far.role != RELAY:
            if road.far is None:
                road.link.error = road.link.error or error
            self._end(road, frame.sender, error, goodbye=True)
        else:
            road.link.error = road.link.error or LinkClosed(f"the relay said goodbye: {message.reason}")

    def _on_ping(self, road: Road, frame: Frame, message: None) -> None:
        road.link.send(Parcel(wire.PONG, 0, ()), frame.sender, frame.id)

    def _on_pong(self, road: Road, frame: Frame, message: None) -> None:
        number, slot = road.pings.get(frame.id, (-1, None))
        if slot is not None and number == frame.sender:
            slot.set(None)

    def _on_refused(self, road: Road, frame: Frame, message: wire.Refused) -> None:
        number = frame.sender or message.to
        error = by_code(message.code)(message.reason)
        self._left(road, number, error)

    def close(self, reason: str = "") -> None:
        """Say goodbye on every road and close it."""
        for road in list(self.roads):
            if road.link.closed:
                continue
            for number in list(road.conversations):
                road.link.send(Parcel(wire.GOODBYE, 0, ("", reason)), number)
                self._end(road, number, LinkError("closed here"), goodbye=True)
            if road.far is not None and road.far.role == RELAY:
                road.link.send(Parcel(wire.GOODBYE, 0, ("", reason)))
            road.link.close(1000, reason)


def admit(hello: Hello, transport: Transport, token: Optional[str], insecure: bool) -> None:
    """Until identities exist: a shared token opens, and without one only this machine comes in. Raises: Refused."""
    if hello.role not in (DRIVER, WORKER) or not hello.name or not hello.name.isprintable():
        raise Refused("a peer is a driver or a worker, and has a name that can be printed")
    if token is not None:
        if not hmac.compare_digest((hello.token or "").encode(), token.encode()):
            raise Refused(f"{hello.name}: the token is missing or wrong")
    elif not (insecure or transport.is_local):
        raise Refused(f"{hello.name} comes from {transport.remote} without a token; start with --insecure to allow it")


def split_address(address: str) -> Tuple[str, int]:
    """A "host:port" as the two. Raises: ValueError."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit():
        raise ValueError(f"{address!r} is not host:port")
    return host.strip("[]"), int(port)


def join_address(host: str, port: int) -> str:
    """The opposite of ``split_address``, as it stands in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


_LINK_HANDLERS: Dict[int, Callable[[Peer, Road, Frame, Any], None]] = {
    wire.HELLO: Peer._on_hello,
    wire.WELCOME: Peer._on_welcome,
    wire.PEERS: Peer._on_peers,
    wire.GOODBYE: Peer._on_goodbye,
    wire.PING: Peer._on_ping,
    wire.PONG: Peer._on_pong,
    wire.REFUSED: Peer._on_refused,
}
