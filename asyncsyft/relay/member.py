"""A peer that is linked to a relay: what comes from it, and what waits for it."""

from __future__ import annotations

import logging
import struct
import time
from collections import deque
from typing import TYPE_CHECKING, Deque, Dict, List, Optional, Set

import anyio

from .. import wire
from ..errors import RemoteProtocolError
from ..identity import Challenge, Grant
from ..limits import Bucket
from ..link import Link
from ..transport import Buffer, Transport
from ..waiting import Slot
from ..wire import HEADER, HEADER_SIZE, Parcel, PeerInfo

if TYPE_CHECKING:
    from .relay import Relay

logger = logging.getLogger(__name__)

#: Frames in a row go on as one piece up to this size, so that pieces and the little beside them fit a message.
MAX_PIECE = wire.MAX_FRAME + wire.CHUNK
#: Peers listed in one frame, so that it stays small.
PEERS_TOGETHER = 500
#: What is counted of each link, beside frames.
COUNTED = ("messages_sent", "messages_received", "bytes_sent", "bytes_received")
#: What a frame for the relay itself counts: it is answered, where others are passed on.
OWN_WEIGHT = 20
#: Frames, and bytes, that a peer may send before the time is looked at.
A_WHILE, A_LOT = 1000, 1 << 20
#: Seconds that a peer is not read from at a time, at most: its pongs are to be heard too.
LONGEST_HOLD = 5.0
#: Incarnations that one peer may wait for.
MAX_SOUGHT = 1 << 14

_FROM = struct.Struct("<I")
_FROM_AT = 8
#: Kinds that only a link's own ends may say to each other.
_NOT_ROUTED = frozenset((wire.CHALLENGE, wire.HELLO, wire.WELCOME, wire.PEERS, wire.SEEK))


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
        self.member.taken(-size)

    def take(self, out: List[Buffer], budget: int) -> int:
        """As a link's source."""
        used, frames = 0, self.frames
        while frames and used < budget and (not used or used + len(frames[0]) <= MAX_PIECE):
            frame = frames.popleft()
            out.append(frame)
            used += len(frame)
        self.waiting -= used
        self.member.taken(used)
        if self.ended and not frames:
            del self.member.outboxes[self.sender]
        return max(used, budget) if frames else used


class Member:
    """A peer that is linked to the relay."""

    def __init__(self, transport: Transport, relay: Relay) -> None:
        self.relay = relay
        self.link = Link(transport, self._on_message)
        self.challenge = Challenge()
        self.info: Optional[PeerInfo] = None
        self.grant = Grant(())
        self.outboxes: Dict[int, Outbox] = {}  # by sender: what waits for this member
        self.talked: Set[int] = set()  # whom it was told of, or spoke with: it is told when they leave
        self.sought: Set[bytes] = set()  # incarnations that it waits for
        self.waiting = 0
        self.frames = 0  # passed on for it
        self.joined = anyio.current_time()
        limits, now = relay.limits, time.monotonic()
        self._paces = [Bucket(rate, rate, now) if rate else None for rate in (limits.max_frames, limits.max_rate)]
        self._spent = self._sent = 0  # frames by weight, and bytes, since the time was looked at
        self.goodbye: Optional[str] = None
        self.greeted: Slot[None] = relay.slot()

    def _on_message(self, message: memoryview) -> None:
        """Pass frames on, those in a row for the same destination as one piece."""
        at, end, number = 0, len(message), self.info.number if self.info else 0
        begin, to, lanes = 0, 0, set()  # type: int, int, Set[int]
        kind = frame_id = 0
        try:
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
                    self._spent += 1
                else:
                    (frame,) = wire.frames(message[at:after])
                    self.relay.on_frame(self, frame)
                    self._spent += OWN_WEIGHT
                    begin = after
                at = after
            if to:
                self.relay.forward(self, to, message[begin:at], lanes)
        except RemoteProtocolError as error:
            raise wire.blamed(error, kind, frame_id) from None
        self._sent += end
        if self._spent > A_WHILE or self._sent > A_LOT:
            self._keep_pace()

    def _keep_pace(self) -> None:
        """Who sends faster than it may is not read from until it has paid."""
        now, spent = time.monotonic(), (self._spent, self._sent)
        self._spent = self._sent = 0
        seconds = max([pace.take(amount, now) for pace, amount in zip(self._paces, spent) if pace is not None] + [0.0])
        if seconds:
            self.relay.slowed += 1
            logger.debug("%s sends faster than it may: not read for %.3f s", self.link.transport.remote, seconds)
            self.link.transport.hold(min(seconds, LONGEST_HOLD))

    def taken(self, size: int) -> None:
        """So many bytes wait for it no longer."""
        self.waiting -= size
        self.relay.waiting -= size

    def forget(self) -> None:
        """Nothing waits for it any more."""
        for outbox in self.outboxes.values():
            self.link.forget(outbox)
        self.outboxes.clear()
        self.taken(self.waiting)

    def count(self, totals: Dict[str, int]) -> None:
        """Add what went over its link to these totals."""
        totals["frames"] += self.frames
        for name in COUNTED:
            totals[name] += getattr(self.link.transport, name)

    def tell(self, joined: List[PeerInfo]) -> None:
        """Say who came."""
        for start in range(0, len(joined), PEERS_TOGETHER):
            self.link.send(Parcel(wire.PEERS, 0, (joined[start : start + PEERS_TOGETHER], [])))
