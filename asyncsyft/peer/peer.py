"""One process's end: its roads, who is there, and what links say to each other.

A peer has roads (links to a relay, or straight to another peer) and, on each, one conversation with every peer that it
talks to. It offers what its server serves; it does not know what programs mean.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import anyio
from anyio.abc import TaskGroup

from .. import wire
from ..compression import AUTO, Policy
from ..errors import (
    AsyncSyftError,
    LinkClosed,
    LinkError,
    Refused,
    RemoteProtocolError,
    UnknownPeer,
    WorkerLost,
    by_code,
)
from ..identity import Key, KnownPeers, prove
from ..link import HEARTBEAT, SILENCE, keep_alive
from ..protocol import Conversation, Served, Server
from ..transport import Transport
from ..waiting import Slot, slot_class
from ..wire import Challenge, ChunkOf, Frame, Goodbye, Hello, Parcel, PeerInfo, Peers, Program, Welcome
from .conversations import RESUME_GRACE, Conversations
from .greeting import HANDSHAKE_TIMEOUT
from .road import WORKER, Admit, Road

logger = logging.getLogger(__name__)

#: Seconds between looks at what is still to be sent when a peer closes.
QUIET = 0.005


class NoServer:
    """What a peer serves that only asks: nothing."""

    def program(
        self, conversation: Conversation, served: Served, message: Program, body: memoryview, size: int
    ) -> None:
        raise RemoteProtocolError("this peer serves no programs")

    def chunk(self, conversation: Conversation, number: int, chunk: ChunkOf, body: memoryview) -> None:
        raise RemoteProtocolError("this peer serves no programs")

    def landed(self, conversation: Conversation) -> Sequence[Tuple[int, int, int]]:
        return ()

    def cancel(self, conversation: Conversation, number: int, step: int) -> None:
        raise RemoteProtocolError("this peer serves no programs")


class Peer:
    """One process's end; ``can`` is what it tells the others it can do (level, ops, codecs, limits).

    ``key``: who it is; without one, a key of this life alone. ``resume_grace``: seconds that a conversation is kept
    when its link is lost; 0: it ends with its link, which is not dialled again. ``known``: whose keys are known; all
    that is said to them is sealed, and nothing to others.
    """

    def __init__(
        self,
        name: str,
        role: str,
        *,
        server: Optional[Server] = None,
        can: Optional[Mapping[str, Any]] = None,
        key: Optional[Key] = None,
        heartbeat: float = HEARTBEAT,
        silence: float = SILENCE,
        resume_grace: float = RESUME_GRACE,
        compression: str = AUTO,
        known: Optional[KnownPeers] = None,
    ) -> None:
        """Raises: ValueError for a compression that is not "auto", "always" or "never"."""
        self.name, self.role = name, role
        self.key = key or Key.new()
        self.incarnation = os.urandom(wire.INCARNATION_SIZE)
        self.server: Server = server or NoServer()
        self.can = {"codecs": [wire.ZSTD], **(can or {})}
        self.compression = Policy(compression).mode
        self.heartbeat, self.silence, self.resume_grace = heartbeat, silence, resume_grace
        self.roads: List[Road] = []
        self.conversations = Conversations(self, known)
        self.slot = slot_class()
        self.tasks: TaskGroup
        self.closing = False
        self.redials = 0
        #: Told when a peer is there that was not, or is again.
        self.on_joined: Callable[[Road, PeerInfo], None] = lambda road, info: None
        self._open_roads = 0
        self._drained: Optional[Slot[None]] = None
        self._ping_id = 0

    # Roads.

    def start(self, tasks: TaskGroup) -> None:
        """Begin to keep the roads alive; the tasks of the peer belong to ``tasks``."""
        self.tasks = tasks
        tasks.start_soon(keep_alive, lambda: [road.link for road in self.roads], self.heartbeat, self.silence)

    async def join(self, transport: Transport, token: Optional[str] = None) -> Road:
        """Say hello on a transport that this peer dialled, and wait for the welcome.

        Raises: the error with which the other end refused (Refused: the name is taken), LinkClosed, TimeoutError.
        """
        road = Road(transport, self.on_frame, self.slot)
        road.token = token
        self.tasks.start_soon(self._run_road, road)
        try:
            with anyio.fail_after(HANDSHAKE_TIMEOUT):
                await road.greeted
        except BaseException:
            road.link.abort(LinkClosed("the handshake was given up"))
            raise
        return road

    async def accept(self, transport: Transport, admit: Admit) -> None:
        """Serve a transport that dialled this peer until it ends; ``admit`` raises Refused for who may not come in."""
        road = Road(transport, self.on_frame, self.slot, admit)
        assert road.challenge is not None

        async def hurry() -> None:
            with anyio.move_on_after(HANDSHAKE_TIMEOUT):
                with suppress(AsyncSyftError):  # it ended before it said hello
                    await road.greeted
                return
            road.link.abort(LinkClosed("no hello came"))

        self.tasks.start_soon(hurry)
        road.link.send(Parcel(wire.CHALLENGE, 0, (wire.VERSION, road.challenge.public)))
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
        while any(talk.owes for talk in self.conversations.roads):  # noqa: ASYNC110
            await anyio.sleep(QUIET)

    async def drained(self) -> None:
        """Return when every road has ended."""
        if self._open_roads:
            self._drained = self.slot()
            await self._drained

    def _road_lost(self, road: Road) -> None:
        error: AsyncSyftError = road.link.error or LinkClosed(f"{road.where} closed the link")
        road.greeted.fail(error)
        for _, slot in road.pings.values():
            slot.fail(error)
        if road in self.roads:
            self.roads.remove(road)
            logger.info("%s: link to %s ended: %s", self.name, road.where, error)
        for talk in list(road.conversations.values()):
            self.conversations.park(talk, error)
        road.ended.set(None)

    # Conversations.

    def converse(self, road: Road, info: PeerInfo) -> Conversation:
        """The conversation with a peer on a road; opened, without waiting, if there is none.

        Raises: Refused if its key is not known, where keys are.
        """
        talk = self.conversations.open(info)
        if road.conversations.get(info.number) is not talk:
            try:
                self.conversations.attach(talk, road, info)
            except Refused as error:
                self.conversations.end(talk, error)
                raise
        return talk

    def converse_with(self, life: bytes, key: bytes = b"") -> Conversation:
        """The conversation with that incarnation of a worker; a new one waits until a relay presents it.

        ``key``: it is sealed for the one who holds this public key. Raises: Refused if it is not so sealed already.
        """
        known = self.conversations.by_life.get(life)
        if known is not None:
            if key and (known.key != key or (known.seal is None and known.generation)):
                raise Refused(f"the conversation with {known.name} is not sealed for the key that the driver said")
            return known
        talk = self.conversations.open(PeerInfo(0, "a worker", WORKER, life))
        talk.expects = key
        for road in self.roads:
            if road.is_relayed:
                road.seek(life)
        self.conversations.park(talk, UnknownPeer("no relay presented it"), self.resume_grace or RESUME_GRACE)
        return talk

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
        if frame.sender and not road.is_relayed:
            raise RemoteProtocolError("only a relay says who sends a frame")
        try:
            talk = road.conversations.get(frame.sender)
            if frame.kind >= wire.RESUME:
                if road.far is None:
                    raise RemoteProtocolError("a frame came before the hello")
                self.conversations.receive(road, frame)
                return
            handler = _LINK_HANDLERS.get(frame.kind)
            if handler is None:
                raise RemoteProtocolError(f"unknown kind of frame: {frame.kind}")
            if talk is not None and talk.seal is not None:
                if frame.flags & wire.SEALED:
                    frame = talk.seal.open(frame)
                elif frame.sender and frame.kind in (wire.GOODBYE, wire.REFUSED):  # anyone on the road may have said it
                    self.conversations.park(talk, LinkClosed("its end was announced by someone on the road"))
                    return
            handler(self, road, frame, wire.parse(frame))
        except RemoteProtocolError as error:
            talk = road.conversations.get(frame.sender)
            if not frame.sender and talk is None:
                raise
            logger.warning("%s: peer %d broke the protocol (id %d): %s", self.name, frame.sender, frame.id, error)
            if talk is not None:
                self.conversations.leave(talk, error, RemoteProtocolError.__name__)
                return
            goodbye = (RemoteProtocolError.__name__, str(error)[:1000])
            road.link.send(Parcel(wire.GOODBYE, 0, goodbye), frame.sender)

    def _on_challenge(self, road: Road, frame: Frame, challenge: Challenge) -> None:
        if road.admit is not None or road.far is not None or road.hello is not None or frame.sender:
            raise RemoteProtocolError("a challenge out of place")
        hello = Hello(wire.VERSION, self.name, self.role, self.incarnation, road.token, self.can, self.key.public)
        road.hello = hello._replace(proof=prove(self.key, challenge.public, hello.transcript))
        road.link.send(Parcel(wire.HELLO, 0, road.hello))

    def _on_hello(self, road: Road, frame: Frame, hello: Hello) -> None:
        if road.admit is None or road.challenge is None or road.far is not None:
            raise RemoteProtocolError("a hello out of place")
        try:
            road.grant = road.admit(hello, road.challenge, road.link.transport)
            self._take_over(hello)
        except AsyncSyftError as error:
            road.link.send(Parcel(wire.GOODBYE, 0, (type(error).__name__, str(error))))
            road.link.close(1008, str(error))
            return
        me = PeerInfo(0, self.name, self.role, self.incarnation, self.key.public)
        road.link.send(Parcel(wire.WELCOME, 0, (wire.VERSION, 1, os.urandom(8), me, [], self.can)))
        self._greeted(road, PeerInfo(0, hello.name, hello.role, hello.incarnation, hello.key))

    def _take_over(self, hello: Hello) -> None:
        """A newer link of the same life ends the older one, which may be half open. Raises: Refused for another key."""
        for road in self.roads:
            if road.admit is not None and road.far is not None and road.far.incarnation == hello.incarnation:
                if road.far.key != hello.key or not hello.key:
                    raise Refused(f"{hello.name} is linked already, and this is not the key that it proved")
                road.link.abort(LinkClosed("a newer link of the same peer took its place"))

    def _on_welcome(self, road: Road, frame: Frame, welcome: Welcome) -> None:
        if road.far is not None or road.hello is None or frame.sender:
            raise RemoteProtocolError("a welcome out of place")
        road.number = welcome.number
        self._greeted(road, welcome.me)
        for info in welcome.peers:
            self._joined(road, info)
        if road.is_relayed and self.role == WORKER:  # drivers are told of all workers
            road.seek(*[talk.theirs for talk in self.conversations.parked])

    def _greeted(self, road: Road, far: PeerInfo) -> None:
        road.far = far
        self.roads.append(road)
        logger.debug("%s: linked to %s %s", self.name, far.role, far.name)
        road.greeted.set(None)
        if not road.is_relayed:
            self._joined(road, far._replace(number=0))

    def _joined(self, road: Road, info: PeerInfo) -> None:
        road.peers[info.number] = info
        self.conversations.joined(road, info)
        self.on_joined(road, info)

    def _on_peers(self, road: Road, frame: Frame, message: Peers) -> None:
        if frame.sender or not road.is_relayed:
            raise RemoteProtocolError("only a relay says who is there")
        for number, reason in message.left:
            error = WorkerLost(f"{road.name_of(number)} left: {reason or 'goodbye'}")
            self._left(road, number, error, for_good=not reason)
            road.peers.pop(number, None)
        for info in message.joined:
            self._joined(road, info)

    def _left(self, road: Road, number: int, error: AsyncSyftError, for_good: bool) -> None:
        for to, slot in road.pings.values():
            if to == number:
                slot.fail(error)
        talk = road.conversations.get(number)
        if talk is not None and for_good:
            self.conversations.end(talk, error)
        elif talk is not None:
            self.conversations.park(talk, error)

    def _on_goodbye(self, road: Road, frame: Frame, message: Goodbye) -> None:
        name = road.name_of(frame.sender)
        if message.code == RemoteProtocolError.__name__:
            error: AsyncSyftError = RemoteProtocolError(f"{name} says that we broke the protocol: {message.reason}")
        elif message.code == LinkClosed.__name__:
            error = LinkClosed(message.reason)
        elif message.code:
            error = by_code(message.code)(message.reason)
        else:
            error = WorkerLost(f"{name} said goodbye: {message.reason}")
        if frame.sender or not road.is_relayed:
            if road.far is None:
                road.link.error = road.link.error or error
            self._left(road, frame.sender, error, for_good=True)
        elif isinstance(error, Refused):
            road.link.error = road.link.error or error
        else:
            road.link.error = road.link.error or LinkClosed(f"the relay said goodbye: {message.reason}")

    def _on_ping(self, road: Road, frame: Frame, message: None) -> None:
        road.link.send(Parcel(wire.PONG, 0, ()), frame.sender, frame.id)

    def _on_pong(self, road: Road, frame: Frame, message: None) -> None:
        number, slot = road.pings.get(frame.id, (-1, None))
        if slot is not None and number == frame.sender:
            slot.set(None)

    def _on_refused(self, road: Road, frame: Frame, message: wire.Refused) -> None:
        if frame.sender or not road.is_relayed:  # the far end does not know, or want, this conversation any more
            talk, info = road.conversations.get(frame.sender), road.peers.get(frame.sender)
            kind = Refused if message.code == Refused.__name__ else WorkerLost
            error = kind(f"{road.name_of(frame.sender)} refused to go on: {message.reason}")
            self._left(road, frame.sender, error, for_good=True)
            if talk is not None and talk.generation > 1 and info is not None:
                self.on_joined(road, info)  # what was had with it is gone, and it is there for something new
        else:  # the relay has nobody of that number now: who it was may come back under another
            self._left(road, message.to, by_code(message.code)(message.reason), message.code != UnknownPeer.__name__)

    def close(self, reason: str = "") -> None:
        """Say goodbye on every road and close it."""
        self.closing = True
        for talk in list(self.conversations.by_life.values()):
            self.conversations.say_goodbye(talk, "", reason)
            self.conversations.end(talk, LinkError("closed here"))
        for road in self.roads:
            if road.is_relayed and not road.link.closed:
                road.link.send(Parcel(wire.GOODBYE, 0, ("", reason)))
            road.link.close(1000, reason)


_LINK_HANDLERS: Dict[int, Callable[[Peer, Road, Frame, Any], None]] = {
    wire.CHALLENGE: Peer._on_challenge,
    wire.HELLO: Peer._on_hello,
    wire.WELCOME: Peer._on_welcome,
    wire.PEERS: Peer._on_peers,
    wire.GOODBYE: Peer._on_goodbye,
    wire.PING: Peer._on_ping,
    wire.PONG: Peer._on_pong,
    wire.REFUSED: Peer._on_refused,
}
