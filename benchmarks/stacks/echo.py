"""What all echoes have in common: so many callers of one ``call``, and what they count. It knows no library."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from typing import Awaitable, Callable, Deque

from benchmarks.stacks import Sample

PAYLOAD = bytes(range(64))
LARGE = 64 << 20  # bytes
IN_FLIGHT = 256


class Waiting:
    """Who waits for replies that come in order: the oldest gets the next one."""

    def __init__(self) -> None:
        self._futures: Deque[asyncio.Future[object]] = deque()
        self._loop = asyncio.get_running_loop()

    def add(self) -> asyncio.Future[object]:
        future: asyncio.Future[object] = self._loop.create_future()
        self._futures.append(future)
        return future

    def reply(self, message: object) -> None:
        self._futures.popleft().set_result(message)


async def calls(call: Callable[[], Awaitable[object]], seconds: float, in_flight: int = IN_FLIGHT) -> Sample:
    """``in_flight`` tasks, each looping over ``call``."""
    start = time.perf_counter()

    async def loop() -> int:
        done = 0
        while not done or time.perf_counter() < start + seconds:
            await call()
            done += 1
        return done

    counts = await asyncio.gather(*(loop() for _ in range(in_flight)))
    return Sample(sum(counts), time.perf_counter() - start)


async def large(call: Callable[[bytes], Awaitable[object]], seconds: float) -> Sample:
    """64 MiB there and back, one after the other; the time halved, so that the figure is one way."""
    payload, done = os.urandom(LARGE), 0
    start = time.perf_counter()
    while not done or time.perf_counter() < start + seconds:
        reply = await call(payload)
        done += 2 * LARGE
        if not isinstance(reply, bytes) or len(reply) != LARGE:
            raise AssertionError("the echo is not what was sent")
        del reply
    return Sample(done / 1e6, time.perf_counter() - start, "MB")


async def check(call: Callable[[], Awaitable[object]]) -> None:
    if await call() != PAYLOAD:
        raise AssertionError("the echo is not what was sent")
