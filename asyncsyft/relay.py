"""The crossing: reads the address of each frame, passes it on, and tells who is there.

It reads headers and nothing else of what peers say to each other. It never pauses a sender: each destination has one
outbox per sender, served in turn; credit bounds what they hold.
"""

from __future__ import annotations

import logging
import os
import ssl as tls
import struct
from collections import deque
from typing import Any, Deque, Dict, List, Mapping, Optional, Set, Tuple

import anyio

from . import wire
from .errors import AsyncSyftError, LinkClosed, Refused, RemoteProtocolError, UnknownPeer
from .lifetime import Lifetime
from .link import HEARTBEAT, SILENCE, Link, keep_alive
from .peer import DRIVER, HANDSHAKE_TIMEOUT, RELAY, admit, join_address, split_address
from .protocol import WINDOW
from .transport import Buffer, Transport
from .waiting import Slot, slot_class
from .websocket import ProcessRequest, listen
from .wire import HEADER, HEADER_SIZE, Frame, Hello, Parcel, PeerInfo

logger = logging.getLogger(__name__)

#: Beside the credit of its lanes, a pair may have this much on its way: frames that no credit pays for.
EXEMPT_ROOM = 2 << 20
#: Frames in a row go on as one piece up to this size, so that pieces and the little beside them fit a message.
MAX_PIECE = wire.MAX_FRAME + wire.CHUNK
#: Bytes that wait for one destination, from all senders; past it, it does not read and is cut.
MAX_WAITING = 64 << 20
#: Of these from one sender, on however many lanes, so that no single one can have a destination cut.
MAX_FROM_ONE = 16 << 20
#: Peers listed in one frame, so that it stays small.
PEERS_TOGETHER = 500
#: Peers at once, unless told otherwise.
MAX_PEERS = 10_000

_COUNTED = ("messages_sent", "messages_received", "bytes_sent", "bytes_received")
_FROM = struct.Struct("<I")
_FROM_AT = 8
#: Kinds that only a link's own ends may say to each other.
_NOT_ROUTED = frozenset((wire.HELLO, wire.WELCOME, wire.PEERS))


class Outbox:
    """Frames from one sender that wait for one destination; a source of the destination's link."""

    __slots__ = ("frames", "waiting", "lanes", "member", "sender", "ended")

    def __init__(self, member: Member, sender: int) -> None:
        self.sender, self.ended = sender, False
        self.frames: Deque[bytes] = deque()
        self.waiting = 0
        self.lanes: Set[int] = set()
        self.member = member

    def last(self, news: Parcel) -> None:
        """The sender left: what it said before still arrives, ahead of the news that it left."""
        pieces: List[Buffer] = []
        size = news.write(pieces, 0, 0)
        self.ended = True
        self.frames.append(b"".join(pieces))
        self.waiting += size
        self.member.waiting += size

    def take(self, out: List[Buffer], budget: int) -> int:
        """As a link's source."""
        used, frames = 0, self.frames
        while frames and used < budget and (not used or used + len(frames[0]) <= MAX_PIECE):
            frame = frames.popleft()
            out.append(frame)
            used += len(frame)
        self.waiting -= used
        self.member.waiting -= used
        if self.ended and not frames:
            del self.member.outboxes[self.sender]
        return max(used, budget) if frames else used


class Member:
    """A peer that is linked to the relay."""

    def __init__(self, transport: Transport, relay: Relay) -> None:
        self.relay = relay
        self.link = Link(transport, self._on_message)
        self.info: Optional[PeerInfo] = None
        self.outboxes: Dict[int, Outbox] = {}  # by sender: what waits for this member
        self.talked: Set[int] = set()  # who is told when it leaves
        self.waiting = 0
        self.frames = 0  # passed on for it
        self.joined = anyio.current_time()
        self.goodbye: Optional[str] = None
        self.greeted: Slot[None] = relay.slot()

    def _on_message(self, message: memoryview) -> None:
        """Pass frames on, those in a row for the same destination as one piece."""
        at, end, number = 0, len(message), self.info.number if self.info else 0
        begin, to, lanes = 0, 0, set()  # type: int, int, Set[int]
        while at < end:
            if end - at < HEADER_SIZE:
                raise RemoteProtocolError(f"{end - at} bytes after the last frame are no header")
            kind, _, lane, where, sender, meta_len, frame_id, body_len = HEADER.unpack_from(message, at)
            after = at + HEADER_SIZE + (meta_len + 7 & ~7) + (body_len + 7 & ~7)
            if after > end or after - at > wire.MAX_FRAME:
                raise RemoteProtocolError(f"a frame says {after - at} bytes where {end - at} are left")
            if sender:
                raise RemoteProtocolError("who sends a frame is for the relay to write")
            if frame_id > wire.MAX_ID:
                raise RemoteProtocolError(f"id {frame_id} is past 2^53-1")
            if where != to or after - begin > MAX_PIECE:
                if to:
                    self.relay.forward(self, to, message[begin:at], lanes)
                begin, to, lanes = at, where, set()
            if where:
                if not number or kind in _NOT_ROUTED:
                    raise RemoteProtocolError(f"a frame of kind {kind} is not for others")
                _FROM.pack_into(message, at + _FROM_AT, number)
                lanes.add(lane)
                self.frames += 1
            else:
                (frame,) = wire.frames(message[at:after])
                self.relay.on_frame(self, frame)
                begin = after
            at = after
        if to:
            self.relay.forward(self, to, message[begin:at], lanes)

    def tell(self, joined: List[PeerInfo]) -> None:
        """Say who came."""
        for start in range(0, len(joined), PEERS_TOGETHER):
            self.link.send(Parcel(wire.PEERS, 0, (joined[start : start + PEERS_TOGETHER], [])))


class Relay(Lifetime):
    """Accepts drivers and workers while entered; ``listen`` is "host:port", port 0 for a free one.

    ``token``: what peers must show; without one, only peers of this machine come in, unless ``insecure``.
    ``process_request``: answers plain HTTP on the same port (health, metrics).
    """

    def __init__(
        self,
        listen: Optional[str] = None,
        *,
        token: Optional[str] = None,
        ssl: Optional[tls.SSLContext] = None,
        insecure: bool = False,
        max_peers: int = MAX_PEERS,
        process_request: Optional[ProcessRequest] = None,
        heartbeat: float = HEARTBEAT,
        silence: float = SILENCE,
    ) -> None:
        self.incarnation = os.urandom(wire.INCARNATION_SIZE)
        self.epoch = os.urandom(8)
        self.members: Dict[int, Member] = {}
        self.address = ""
        self.bytes_passed = self.peers_joined = self.peers_refused = 0
        self.slow_consumers = self.credit_exceeded = 0
        self.draining = False
        self._ended = dict.fromkeys(("frames", *_COUNTED), 0)  # what links that ended had counted
        self._names: Dict[str, Member] = {}
        self._links: List[Member] = []
        self._last_number = 0
        self._listen, self._token, self._ssl, self._insecure = listen, token, ssl, insecure
        self._max_peers, self._process_request = max_peers, process_request
        self._heartbeat, self._silence = heartbeat, silence

    @property
    def port(self) -> int:
        """The port on which it listens."""
        return split_address(self.address)[1]

    @property
    def url(self) -> str:
        """What drivers and workers dial."""
        return f"{'wss' if self._ssl else 'ws'}://{self.address}"

    def totals(self) -> Dict[str, int]:
        """Since it began, over all links: frames passed on; messages and bytes sent and received, framing included."""
        totals = dict(self._ended)
        for member in self._links:
            self._count(member, totals)
        return totals

    @staticmethod
    def _count(member: Member, totals: Dict[str, int]) -> None:
        totals["frames"] += member.frames
        for name in _COUNTED:
            totals[name] += getattr(member.link.transport, name)

    async def _open(self) -> None:
        self.slot = slot_class()
        self._tasks.start_soon(keep_alive, lambda: [m.link for m in self._links], self._heartbeat, self._silence)
        if self._listen is not None:
            await self._tasks.start(self._serve, *split_address(self._listen))

    async def _close(self) -> None:
        self.draining = True
        for member in self._links:
            member.link.send(Parcel(wire.GOODBYE, 0, ("", "the relay ends")))
            member.link.close(1001, "the relay ends")
        while self._links:
            await self._links_changed()

    async def _links_changed(self) -> None:
        self._changed: Slot[None] = self.slot()
        await self._changed

    async def _serve(self, host: str, port: int, *, task_status: Any) -> None:
        async def accept(transport: Transport, headers: Mapping[str, str]) -> None:
            await self.accept(transport)

        async with listen(host, port, accept, ssl=self._ssl, process_request=self._process_request) as listener:
            self.address = join_address(listener.address, listener.port)
            logger.info("listening on %s", self.address)
            task_status.started()
            await anyio.sleep_forever()

    def attach(self, transport: Transport) -> None:
        """Serve a transport that did not come by listening, in a task of the relay's own."""
        self._tasks.start_soon(self.accept, transport)

    async def accept(self, transport: Transport) -> None:
        """Serve a transport until it ends."""
        member = Member(transport, self)
        self._links.append(member)
        self._tasks.start_soon(self._hurry, member)
        try:
            await member.link.run()
        finally:
            self._links.remove(member)
            self._count(member, self._ended)
            self._leave(member)
            member.greeted.set(None)
            if hasattr(self, "_changed"):
                self._changed.set(None)

    async def _hurry(self, member: Member) -> None:
        with anyio.move_on_after(HANDSHAKE_TIMEOUT):
            await member.greeted
            return
        member.link.abort(LinkClosed("no hello came"))

    # Routing.

    def forward(self, sender: Member, to: int, piece: memoryview, lanes: Set[int]) -> None:
        """Queue frames of one sender for one destination."""
        destination = self.members.get(to)
        if destination is None and to in sender.outboxes:
            return  # it left; its last words and that news are on their way to the sender
        if destination is None:
            refused = (to, UnknownPeer.__name__, f"no peer {to} is there")
            sender.link.send(Parcel(wire.REFUSED, 0, refused))
            return
        assert sender.info is not None
        number, size = sender.info.number, len(piece)
        outbox = destination.outboxes.get(number)
        if outbox is None:
            outbox = destination.outboxes[number] = Outbox(destination, number)
            destination.talked.add(number)
            sender.talked.add(to)
        outbox.lanes |= lanes
        outbox.frames.append(bytes(piece))
        outbox.waiting += size
        destination.waiting += size
        self.bytes_passed += size
        if outbox.waiting > min(len(outbox.lanes) * WINDOW + EXEMPT_ROOM, MAX_FROM_ONE):
            self._part(sender, destination)
        elif destination.waiting > MAX_WAITING:
            self.slow_consumers += destination.link.error is None
            destination.link.abort(LinkClosed("a slow consumer"))
        else:
            destination.link.ready(outbox)

    def _part(self, sender: Member, destination: Member) -> None:
        """A pair has more on its way than its credit allows: end their conversation, and nothing else."""
        assert sender.info is not None
        assert destination.info is not None
        outbox = destination.outboxes.pop(sender.info.number)
        destination.link.forget(outbox)
        destination.waiting -= outbox.waiting
        self.credit_exceeded += 1
        logger.warning("%s sent %s more than its credit", sender.info.name, destination.info.name)
        reason = f"{sender.info.name} sent more than its credit to {destination.info.name}"
        goodbye = Parcel(wire.GOODBYE, 0, (RemoteProtocolError.__name__, reason))
        sender.link.send(goodbye, sender=destination.info.number)
        destination.link.send(goodbye, sender=sender.info.number)

    # What is said to the relay itself.

    def on_frame(self, member: Member, frame: Frame) -> None:
        """A frame for the relay. Raises: RemoteProtocolError."""
        message = wire.parse(frame)
        if frame.kind == wire.HELLO and member.info is None:
            self._hello(member, message)
        elif frame.kind == wire.PING:
            member.link.send(Parcel(wire.PONG, 0, ()), 0, frame.id)
        elif frame.kind == wire.GOODBYE:
            member.goodbye = message.reason
        elif frame.kind not in (wire.PONG, wire.REFUSED):
            raise RemoteProtocolError(f"a frame of kind {frame.kind} is not for a relay")

    def _hello(self, member: Member, hello: Hello) -> None:
        try:
            self._admit(member, hello)
        except AsyncSyftError as error:
            self.peers_refused += 1
            logger.info("refused %s: %s", member.link.transport.remote, error)
            member.link.send(Parcel(wire.GOODBYE, 0, (type(error).__name__, getattr(error, "message", str(error)))))
            member.link.close(1008, "refused")
            return
        self._last_number += 1
        info = member.info = PeerInfo(self._last_number, hello.name, hello.role, hello.incarnation)
        everyone = [m.info for m in self.members.values() if m.info is not None] if hello.role == DRIVER else []
        me = PeerInfo(0, "relay", RELAY, self.incarnation)
        welcome: Tuple[Any, ...] = (wire.VERSION, info.number, self.epoch, me, everyone[:PEERS_TOGETHER], {})
        member.link.send(Parcel(wire.WELCOME, 0, welcome))
        member.tell(everyone[PEERS_TOGETHER:])
        for other in self.members.values():
            if other.info is not None and other.info.role == DRIVER:
                other.tell([info])
        self.members[info.number] = self._names[info.name] = member
        self.peers_joined += 1
        member.greeted.set(None)
        logger.info("%s %s joined as %d from %s", info.role, info.name, info.number, member.link.transport.remote)

    def _admit(self, member: Member, hello: Hello) -> None:
        if hello.version != wire.VERSION:
            raise Refused(f"protocol version {hello.version}; this relay speaks version {wire.VERSION}")
        if self.draining:
            raise Refused("the relay ends")
        admit(hello, member.link.transport, self._token, self._insecure)
        if hello.name in self._names:
            raise Refused(f"the name {hello.name!r} is taken")
        if len(self.members) >= self._max_peers:
            raise Refused(f"there are {len(self.members)} peers already")

    def _leave(self, member: Member) -> None:
        info = member.info
        if info is None:
            return
        del self.members[info.number], self._names[info.name]
        reason = "" if member.goodbye is not None else str(member.link.error or "the link ended without a goodbye")
        news = Parcel(wire.PEERS, 0, ([], [(info.number, reason)]))
        for other in self.members.values():
            outbox = other.outboxes.get(info.number)
            if outbox is not None and outbox.frames:
                outbox.last(news)
            else:
                other.outboxes.pop(info.number, None)
                if other.info is not None and (other.info.role == DRIVER or info.number in other.talked):
                    other.link.send(news)
            other.talked.discard(info.number)
        logger.info("%s %s left: %s", info.role, info.name, reason or "goodbye")
