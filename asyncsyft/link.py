"""One live transport with its reader and its writer: who may send next, and whether the other end is still there.

A link knows no requests, and may be lost. What it sends comes from *sources* (conversations; a relay's outboxes) in
turn; what it receives goes, message by message, to its owner.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import Callable, Deque, List, Optional, Protocol, Sequence, Set, Tuple

import anyio

from . import wire
from .errors import AsyncSyftError, LinkClosed, RemoteProtocolError
from .transport import Buffer, Transport
from .wire import Parcel

logger = logging.getLogger(__name__)

#: Seconds: how often a silent link is pinged, and how long it may stay silent before it is given up.
HEARTBEAT = 5.0
SILENCE = 20.0
#: Frames of the link itself (pings, presence) that may wait to be sent; a peer for whom there are more is not reading.
MAX_OUTBOX = 10_000


class Source(Protocol):
    """What a link sends from."""

    def take(self, out: List[Buffer], budget: int) -> int:
        """Append frames of about ``budget`` bytes; their bytes, less than ``budget`` when there is no more for now."""


class Link:
    """One transport in use. ``on_message`` gets each message; it must not wait and may raise RemoteProtocolError."""

    def __init__(self, transport: Transport, on_message: Callable[[memoryview], None]) -> None:
        self.transport = transport
        self.on_message = on_message
        self.error: Optional[AsyncSyftError] = None
        self.closed = False
        self.heard = True  # something came since the last heartbeat
        self.silence = 0.0
        self._ring: Deque[Source] = deque()
        self._ready: Set[Source] = set()
        self._outbox: Deque[Tuple[Parcel, int, int, int]] = deque()

    # The owner's side.

    def ready(self, source: Source) -> None:
        """Say that a source has something to send."""
        if source not in self._ready:
            self._ready.add(source)
            self._ring.append(source)
        self.transport.wake()

    def forget(self, source: Source) -> None:
        """A source is gone."""
        if source in self._ready:
            self._ready.discard(source)
            self._ring.remove(source)

    def send(self, parcel: Parcel, to: int = 0, number: int = 0, sender: int = 0) -> None:
        """Send a frame of the link's own, before anything else that waits."""
        if len(self._outbox) >= MAX_OUTBOX:
            self.abort(LinkClosed(f"{self.transport.remote} does not read what it is sent"))
            return
        self._outbox.append((parcel, to, number, sender))
        self.transport.wake()

    async def run(self) -> None:
        """Carry messages until the link ends; ``error`` then says why, if it was no clean close."""
        try:
            await self.transport.run(self)
        except (LinkClosed, RemoteProtocolError) as error:
            self.error = self.error or error
        finally:
            self.closed = True

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close once all that waits has been sent."""
        self.transport.close(code, reason)

    def abort(self, error: AsyncSyftError) -> None:
        """Drop the link at once, for this reason."""
        self.error = self.error or error
        self.transport.abort()

    # The transport's side.

    def pull(self) -> Optional[Sequence[Buffer]]:
        """The next message: frames of the sources in turn, up to about ``wire.BATCH`` bytes."""
        if not self._ring and not self._outbox:
            return None
        out: List[Buffer] = []
        room = wire.BATCH
        while self._outbox and room > 0:
            parcel, to, number, sender = self._outbox.popleft()
            room -= parcel.write(out, to, number, sender)
        while self._ring and room > 0:
            source = self._ring.popleft()
            self._ready.discard(source)
            took = source.take(out, room)
            if took >= room and source not in self._ready:
                self._ready.add(source)
                self._ring.append(source)
            room -= took
        return out or None

    def receive(self, message: memoryview) -> None:
        """Hand a message to the owner."""
        self.heard = True
        self.on_message(message)


async def keep_alive(links: Callable[[], List[Link]], interval: float = HEARTBEAT, silence: float = SILENCE) -> None:
    """Ping the links that are silent, and give up those that stay so; runs until cancelled. Seconds.

    It depends on nothing that a peer does but reading: pings are answered by the reader, whatever else is going on.
    """
    while True:
        await anyio.sleep(interval)
        for link in links():
            if link.heard:
                link.heard, link.silence = False, 0.0
                continue
            link.silence += interval
            if link.silence >= silence:
                logger.info("%s: silent for %.0f s, given up", link.transport.remote, link.silence)
                link.abort(LinkClosed(f"{link.transport.remote} answered no ping for {link.silence:.0f} s"))
            else:
                link.send(Parcel(wire.PING, 0, ()))
