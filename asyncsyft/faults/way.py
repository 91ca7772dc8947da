"""One direction of one line: what comes in, what befalls it, and when it goes out."""

from __future__ import annotations

import math
import socket
from collections import deque
from dataclasses import dataclass
from random import Random
from typing import Callable, Deque, Optional, Protocol, Tuple

import anyio

from .pace import FEWEST, Pace
from .sockets import wait_readable, wait_writable

#: Bytes read at once. On a slow line the smaller pieces make it smooth.
PIECE, SMALL = 64 * 1024, 16 * 1024


@dataclass
class Faults:
    """What befalls the bytes of one direction of a proxy; each may be changed at any time, and holds for what follows.

    ``delay``: seconds. ``jitter``: at most so many seconds more, at random; order is kept. ``bandwidth``: bits per
    second, for each line. ``corrupt``: the part of all bytes that have a bit flipped, at random. ``flip``: bits to flip
    in what passes next. ``truncate``: bytes of a line that pass, then the line is cut; None for all.
    """

    delay: float = 0.0
    jitter: float = 0.0
    bandwidth: float = math.inf
    corrupt: float = 0.0
    flip: int = 0
    truncate: Optional[int] = None

    def __post_init__(self) -> None:
        """Raises: ValueError."""
        if min(self.delay, self.jitter) < 0 or self.bandwidth <= 0 or not 0 <= self.corrupt <= 1:
            raise ValueError(f"no network is like this: {self}")

    @property
    def slow(self) -> bool:
        """Whether something has to wait here."""
        return bool(self.delay or self.jitter) or self.bandwidth < math.inf


class Carrier(Protocol):
    """What a way needs of its line."""

    async def flowing(self) -> None:
        """Return when the line is not frozen."""

    def cut(self, reset: bool = True) -> bool:
        """End the line: it is cut."""

    def lost(self) -> None:
        """End the line: one of its ends has gone."""


class Way:
    """Carries what ``source`` sends to ``sink``; bounded by what its line can hold."""

    def __init__(
        self, line: Carrier, source: socket.socket, sink: socket.socket, faults: Faults, random: Random
    ) -> None:
        self.carried = 0  # bytes
        self._line, self._source, self._sink, self._faults, self._random = line, source, sink, faults, random
        self._jitter = Random(random.random())  # pieces are as they come, and flipped bits are not to depend on that
        self._pace = Pace()
        # When a piece is due, and the piece; a function in its place is how the line ends.
        self._held: Deque[Tuple[float, bytes, Optional[Callable[[], object]]]] = deque()
        self._bytes = self._taken = 0
        self._stop_at: Optional[int] = None
        self._arrived, self._left = anyio.Event(), anyio.Event()
        self._next_flip = math.inf
        self._rate = 0.0  # for which that was drawn

    async def carry(self) -> None:
        """Carry to the end."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._take)
            await self._deliver()
            tasks.cancel_scope.cancel()

    # In.

    async def _take(self) -> None:
        while True:
            while self._bytes >= self._room():
                self._left = anyio.Event()
                await self._left.wait()
            try:
                data = await self._read()
            except OSError:  # its end was cut: so is the other, once it has what came before
                self._hold(b"", self._line.lost)
                return
            if not data:
                self._hold(b"", lambda: self._sink.shutdown(socket.SHUT_WR))
                return
            left = self._left_to_pass()
            self._taken += len(data)
            self._hold(self._damaged(data[:left]))
            if left is not None and left <= len(data):
                self._hold(b"", lambda: self._line.cut(reset=False))  # softly, or what was sent last might not arrive
                return

    def truncate(self, after: int) -> None:
        """Cut the line when so many more bytes have come in."""
        self._stop_at = self._taken + after

    def _left_to_pass(self) -> Optional[int]:
        stops = [stop for stop in (self._stop_at, self._faults.truncate) if stop is not None]
        return max(min(stops) - self._taken, 0) if stops else None

    async def _read(self) -> bytes:
        while True:
            await self._line.flowing()
            try:
                return self._source.recv(SMALL if self._faults.bandwidth < math.inf else PIECE)
            except BlockingIOError:
                await wait_readable(self._source)

    def _room(self) -> int:
        """Bytes to hold at most."""
        if not self._faults.slow:
            return FEWEST * PIECE
        self._pace.bandwidth, self._pace.delay = self._faults.bandwidth, self._faults.delay + self._faults.jitter
        return self._pace.capacity(SMALL) * SMALL

    def _hold(self, piece: bytes, then: Optional[Callable[[], object]] = None) -> None:
        pace, faults = self._pace, self._faults
        pace.bandwidth, pace.delay = faults.bandwidth, faults.delay
        late = self._jitter.uniform(0.0, faults.jitter) if faults.jitter else 0.0
        self._held.append((pace.due(anyio.current_time(), len(piece), late), piece, then))
        self._bytes += len(piece)
        self._arrived.set()

    def _damaged(self, data: bytes) -> bytes:
        """The data, with the bits flipped whose turn it is."""
        faults, changed = self._faults, bytearray()
        if faults.corrupt != self._rate:
            self._rate = faults.corrupt
            self._next_flip = self._gap() - 1
        if faults.flip or self._next_flip < len(data):
            changed += data
        while self._next_flip < len(data):
            self._flip(changed, int(self._next_flip))
            self._next_flip += self._gap()
        self._next_flip -= len(data)
        while faults.flip and changed:
            self._flip(changed, self._random.randrange(len(data)))
            faults.flip -= 1
        return bytes(changed) or data

    def _flip(self, data: bytearray, at: int) -> None:
        data[at] ^= 1 << self._random.randrange(8)

    def _gap(self) -> float:
        """Bytes from one flipped bit to the next: drawn, so that untouched bytes cost nothing."""
        if self._rate <= 0 or self._rate >= 1:
            return 1 if self._rate else math.inf
        return 1 + math.floor(math.log(1 - self._random.random()) / math.log1p(-self._rate))

    # Out.

    async def _deliver(self) -> None:
        try:
            while True:
                while not self._held:
                    self._arrived = anyio.Event()
                    await self._arrived.wait()
                due, piece, then = self._held[0]
                if due > anyio.current_time():
                    await anyio.sleep_until(due)
                await self._write(piece)
                self._held.popleft()
                self._bytes -= len(piece)
                self._left.set()
                if then is not None:
                    then()
                    return
        except OSError:
            self._line.lost()  # who should have it is gone

    async def _write(self, piece: bytes) -> None:
        rest = memoryview(piece)
        while True:
            await self._line.flowing()
            if not rest:
                return
            try:
                sent = self._sink.send(rest)
            except BlockingIOError:
                await wait_writable(self._sink)
                continue
            self.carried += sent
            rest = rest[sent:]
