"""One process's end: its roads, and which frame belongs to which conversation.

A peer has roads (links to a relay, or straight to another peer) and, on each, one conversation with every peer that it
talks to. It offers what its server serves; it does not know what programs mean.
"""

from __future__ import annotations

import logging
import os
from typing import Any, Callable, List, Mapping, Optional, Sequence, Tuple

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
)
from ..identity import Key, KnownPeers
from ..link import HEARTBEAT, SILENCE, keep_alive
from ..protocol import Conversation, Served, Server
from ..transport import Transport
from ..waiting import Slot, slot_class
from ..wire import ChunkOf, Frame, Parcel, PeerInfo, Program
from .conversations import RESUME_GRACE, Conversations
from .greeting import HANDSHAKE_TIMEOUT
from .hall import Hall
from .hearing import HANDLERS
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
        self.draining = False  # it goes on with whom it knows, and begins nothing with others
        self.redials = 0
        #: Told when a peer is there that was not, or is again.
        self.on_joined: Callable[[Road, PeerInfo], None] = lambda road, info: None
        self._open_roads = 0
        self._hall = Hall()
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

        self.tasks.start_soon(self._hall.enter, road)
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

    def welcomes(self, life: bytes, role: str) -> bool:
        """Whether a peer may come in: while this one drains, only who has something here, or fetches it away."""
        return not self.draining or role == WORKER or life in self.conversations.by_life

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
        """The conversation with that incarnation of a worker; a new one that is not linked here waits for a relay.

        ``key``: it is sealed for the one who holds this public key. Raises: Refused if it is not so sealed already.
        """
        known = self.conversations.by_life.get(life)
        if known is not None:
            if key and (known.key != key or (known.seal is None and known.generation)):
                raise Refused(f"the conversation with {known.name} is not sealed for the key that the driver said")
            return known
        direct = [road for road in self.roads if not road.is_relayed]
        near = [(road, info) for road in direct for info in road.peers.values() if info.incarnation == life]
        talk = self.conversations.open(near[0][1] if near else PeerInfo(0, "a worker", WORKER, life))
        talk.expects = key
        if near:
            return self.converse(*near[0])
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
            if frame.kind >= wire.RESUME:
                if road.far is None:
                    raise RemoteProtocolError("a frame came before the hello")
                self.conversations.receive(road, frame)
                return
            handler = HANDLERS.get(frame.kind)
            if handler is None:
                raise RemoteProtocolError(f"unknown kind of frame: {frame.kind}")
            talk = road.conversations.get(frame.sender)
            if talk is not None and talk.seal is not None:
                if frame.flags & wire.SEALED:
                    frame = talk.seal.open(frame)
                elif frame.sender and frame.kind in (wire.GOODBYE, wire.REFUSED):  # anyone on the road may have said it
                    self.conversations.park(talk, LinkClosed("its end was announced by someone on the road"))
                    return
            handler(self, road, frame, wire.parse(frame))
        except RemoteProtocolError as error:
            talk = road.conversations.get(frame.sender)
            error = wire.blamed(error, frame.kind, frame.id)
            if not frame.sender and talk is None:
                raise error from None
            logger.warning("%s: %s broke the protocol: %s", self.name, road.name_of(frame.sender), error)
            if talk is not None:
                self.conversations.leave(talk, error, RemoteProtocolError.__name__)
                return
            goodbye = (RemoteProtocolError.__name__, str(error)[:1000])
            road.link.send(Parcel(wire.GOODBYE, 0, goodbye), frame.sender)

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
