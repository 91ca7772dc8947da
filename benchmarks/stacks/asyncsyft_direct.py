"""asyncsyft, a driver connected directly to a worker that listens: float32[10], really executed."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import Any, AsyncIterator, Coroutine, List, Mapping

import anyio
import numpy as np

import asyncsyft
from benchmarks.stacks import Measure, Ready, Sample

BACKEND = "asyncio"
VERSIONS_OF = ("asyncsyft", "anyio", "websockets", "msgpack", "zstandard", "numpy")

IN_FLIGHT = 256
STEPS_AT_ONCE = 1000


async def serve(ready: Ready) -> None:
    async with asyncsyft.Worker(name="alice", listen="127.0.0.1:0") as worker:
        ready(worker.port)
        await anyio.sleep_forever()


class Calls:
    """Small work on two tensors that the worker holds."""

    def __init__(self, driver: asyncsyft.Driver, x: asyncsyft.RemoteTensor, y: asyncsyft.RemoteTensor) -> None:
        self.driver, self._x, self._y = driver, x, y

    async def _loop(self, until: float, counts: List[int]) -> None:
        x, y, done = self._x, self._y, 0
        while not done or time.perf_counter() < until:
            await (x + y).get()
            done += 1
        counts.append(done)

    async def calls(self, seconds: float) -> Sample:
        counts: List[int] = []
        start = time.perf_counter()
        await _together([self._loop(start + seconds, counts) for _ in range(IN_FLIGHT)])
        return Sample(sum(counts), time.perf_counter() - start)

    async def single(self, seconds: float) -> Sample:
        counts: List[int] = []
        start = time.perf_counter()
        await self._loop(start + seconds, counts)
        return Sample(sum(counts), time.perf_counter() - start)

    async def steps(self, seconds: float) -> Sample:
        x, y, done = self._x, self._y, 0
        start = time.perf_counter()
        while not done or time.perf_counter() < start + seconds:
            for _ in range(STEPS_AT_ONCE):
                z = x + y
            done += STEPS_AT_ONCE
            await self.driver.ready()
        await self.driver.flush()
        took = time.perf_counter() - start
        check(await z.get())
        return Sample(done, took, "steps")


async def _together(loops: List[Coroutine[Any, Any, None]]) -> None:
    """Run all at once; on asyncio begun as those of the peers are: to begin 256 costs a task group some 10 ms."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # it is trio's
        async with anyio.create_task_group() as tasks:
            for loop in loops:
                tasks.start_soon(lambda run: run, loop)
    else:
        await asyncio.gather(*loops)


def check(sum_: Any) -> None:
    if sum_.dtype != np.float32 or not np.array_equal(sum_, np.arange(10) + 1):
        raise AssertionError(f"x + y came back as {sum_!r}")


@asynccontextmanager
async def small_calls(port: int, **options: Any) -> AsyncIterator[Calls]:
    """A driver that is connected to alice, or to the relay where she is, with its two tensors there."""
    async with asyncsyft.connect(f"ws://127.0.0.1:{port}", name="bench", **options) as driver:
        (alice,) = await driver.wait_for("alice")
        x = await alice.send(np.arange(10, dtype="float32"))
        y = await alice.send(np.ones(10, "float32"))
        check(await (x + y).get())
        yield Calls(driver, x, y)


@asynccontextmanager
async def client(port: int) -> AsyncIterator[Mapping[str, Measure]]:
    async with small_calls(port) as small:
        yield {"calls": small.calls, "steps": small.steps, "single": small.single}
