"""The crossing: lets peers in, reads the address of each frame, and passes it on.

It reads headers and nothing else of what peers say to each other. It pauses no sender for the sake of a destination:
each has one outbox per sender, served in turn, and credit bounds what they hold.
"""

from __future__ import annotations

import logging
import os
import ssl as tls
import time
from typing import Any, Dict, Iterable, List, Mapping, Optional, Set

import anyio

from .. import wire
from ..errors import LinkClosed, Refused, RemoteProtocolError, UnknownPeer
from ..identity import Admission, Key
from ..lifetime import Lifetime
from ..limits import RelayLimits
from ..link import HEARTBEAT, SILENCE, keep_alive
from ..peer import Hall, join_address, split_address
from ..protocol import WINDOW
from ..transport import Transport
from ..waiting import Slot, slot_class
from ..websocket import Door, ProcessRequest, listen
from ..wire import Frame, Parcel
from .entering import welcome
from .member import COUNTED, Member, Outbox
from .presence import Presence

logger = logging.getLogger(__name__)

#: For each lane that it uses, a pair may have this much on its way: credit pays for frames as they are before they are
#: sealed, and the smallest grow by four fifths.
LANE_ROOM = 2 * WINDOW
#: Beside that, a pair may have this much on its way: frames that no credit pays for.
EXEMPT_ROOM = 2 << 20
#: Bytes that wait for one destination, from all senders; past it, it does not read and is cut.
MAX_WAITING = 64 << 20
#: Of these from one sender, on however many lanes, so that no single one can have a destination cut.
MAX_FROM_ONE = 16 << 20
#: Seconds that a drain takes at most, unless told otherwise: what is cut then goes on at the next relay, and new peers
#: wait meanwhile.
DRAIN = 5.0
#: Seconds without a frame after which nothing is under way any more.
QUIET = 0.25
#: Seconds after which peers are to dial again.
RETRY = 1


class Relay(Lifetime):
    """Accepts drivers and workers while entered; ``listen`` is "host:port", port 0 for a free one.

    ``admission``: who may come in; without one, only peers of this machine, or with ``insecure`` all. ``key``: who this
    relay is. ``process_request``: answers plain HTTP on the same port (health, metrics). ``origins``: of web pages that
    may connect; ``proxies``: addresses whose X-Forwarded-For is believed. ``limits``: fields of ``limits.RelayLimits``.
    """

    def __init__(
        self,
        listen: Optional[str] = None,
        *,
        admission: Optional[Admission] = None,
        key: Optional[Key] = None,
        ssl: Optional[tls.SSLContext] = None,
        insecure: bool = False,
        process_request: Optional[ProcessRequest] = None,
        origins: Iterable[str] = (),
        proxies: Iterable[str] = (),
        heartbeat: float = HEARTBEAT,
        silence: float = SILENCE,
        **limits: Any,
    ) -> None:
        self.limits = RelayLimits(**limits)
        self.door = Door(self.limits, origins=origins, proxies=proxies)
        self.key = key or Key.new()
        self.incarnation = os.urandom(wire.INCARNATION_SIZE)
        self.epoch = os.urandom(8)
        self.presence = Presence()
        self.members = self.presence.members
        self.address = ""
        self.bytes_passed = self.peers_joined = self.peers_refused = self.peers_replaced = 0
        self.slow_consumers = self.credit_exceeded = self.slowed = 0
        self.waiting = 0  # bytes that wait for all members
        self.draining = False
        self._ended = dict.fromkeys(("frames", *COUNTED), 0)  # what links that ended had counted
        self._links: List[Member] = []
        self._hall = Hall()
        self._listen, self._ssl = listen, ssl
        self.admission = admission or Admission(insecure=insecure)
        self._process_request = process_request
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
            member.count(totals)
        return totals

    async def _open(self) -> None:
        self.slot = slot_class()
        self._tasks.start_soon(keep_alive, lambda: [m.link for m in self._links], self._heartbeat, self._silence)
        self._tasks.start_soon(self._review)
        if self._listen is not None:
            await self._tasks.start(self._serve, *split_address(self._listen))

    async def _review(self) -> None:
        """Part with peers whose token has run out, or was revoked, since they came in."""
        while True:
            await anyio.sleep(self._heartbeat)
            now = time.time()
            for member in list(self.members.values()):
                if not self.admission.stands(member.grant, now):
                    logger.info("%s: its token is no longer good", member.link.transport.remote)
                    member.link.send(Parcel(wire.GOODBYE, 0, (Refused.__name__, "the token is no longer good")))
                    member.link.close(1008, "the token is no longer good")

    async def drain(self, seconds: float = DRAIN) -> None:
        """Let nobody in any more, tell who is here to dial again, and return when nothing is under way.

        Or after so many seconds; leaving the relay's context then ends it. Conversations outlive that.
        """
        self._announce()
        with anyio.move_on_after(seconds):
            passed = -1
            while self._links and (self.waiting or passed != self.bytes_passed):
                passed = self.bytes_passed
                await anyio.sleep(QUIET)

    def _announce(self) -> None:
        if self.draining:
            return
        self.draining = True
        self.door.close("the relay ends")
        for member in self._links:
            member.link.send(Parcel(wire.GOODBYE, 0, ("", "the relay ends", RETRY)))

    async def _close(self) -> None:
        self._announce()
        for member in self._links:
            member.link.close(1001, "the relay ends")
        while self._links:
            await self._links_changed()

    async def _links_changed(self) -> None:
        self._changed: Slot[None] = self.slot()
        await self._changed

    async def _serve(self, host: str, port: int, *, task_status: Any) -> None:
        async def accept(transport: Transport, headers: Mapping[str, str]) -> None:
            await self.accept(transport)

        rules: Dict[str, Any] = {"process_request": self._process_request, "door": self.door}
        async with listen(host, port, accept, ssl=self._ssl, **rules) as listener:
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
        self._tasks.start_soon(self._hall.enter, member)
        member.link.send(Parcel(wire.CHALLENGE, 0, (wire.VERSION, member.challenge.public)))
        try:
            await member.link.run()
        finally:
            self._blame(member)
            self._links.remove(member)
            member.forget()
            member.count(self._ended)
            self.presence.leave(member)
            member.greeted.set(None)
            if hasattr(self, "_changed"):
                self._changed.set(None)

    def _blame(self, member: Member) -> None:
        if isinstance(member.link.error, RemoteProtocolError):
            who = f"{member.info.name} at " if member.info is not None else ""
            logger.warning("%s%s broke the protocol: %s", who, member.link.transport.remote, member.link.error)

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
            if not self.presence.introduce(sender, destination):
                return
            outbox = destination.outboxes[number] = Outbox(destination, number)
        outbox.lanes |= lanes
        outbox.frames.append(bytes(piece))
        outbox.waiting += size
        destination.waiting += size
        self.bytes_passed += size
        self.waiting += size
        if outbox.waiting > min(len(outbox.lanes) * LANE_ROOM + EXEMPT_ROOM, MAX_FROM_ONE):
            self._part(sender, destination)
        elif destination.waiting > MAX_WAITING:
            self._cut(destination)
        else:
            destination.link.ready(outbox)
            if self.waiting > self.limits.max_waiting:
                self._cut(max(self._links, key=lambda member: member.waiting))

    def _cut(self, member: Member) -> None:
        """It does not read what it is sent; it may come back, and loses nothing."""
        self.slow_consumers += 1
        member.forget()
        member.link.abort(LinkClosed("a slow consumer"))

    def _part(self, sender: Member, destination: Member) -> None:
        """A pair has more on its way than its credit allows: end their conversation, and nothing else."""
        assert sender.info is not None
        assert destination.info is not None
        outbox = destination.outboxes.pop(sender.info.number)
        destination.link.forget(outbox)
        destination.taken(outbox.waiting)
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
            welcome(self, member, message)
        elif frame.kind == wire.SEEK and member.info is not None:
            self.presence.seek(member, message.lives)
        elif frame.kind == wire.PING:
            member.link.send(Parcel(wire.PONG, 0, ()), 0, frame.id)
        elif frame.kind == wire.GOODBYE:
            member.goodbye = message.reason
        elif frame.kind not in (wire.PONG, wire.REFUSED):
            raise RemoteProtocolError(f"a frame of kind {frame.kind} is not for a relay")
