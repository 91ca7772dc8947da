"""asyncsyft, one large tensor after the other between a driver and a worker, each way by itself.

In processes that do nothing else, so that what their memory gains is the tensor's doing.
"""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import Any, AsyncIterator, Mapping

import anyio
import numpy as np

import asyncsyft
from benchmarks.stacks import Measure, Ready, Sample

BACKEND = "asyncio"
VERSIONS_OF = ("asyncsyft",)

SIZE = 64 << 20  # bytes


def noise(size: int) -> Any:
    """An array of so many bytes that zstd can do next to nothing about: normal float32, as weights are."""
    return np.random.default_rng(7).standard_normal(size // 4, "float32")


async def serve(ready: Ready) -> None:
    async with asyncsyft.Worker("alice", listen="127.0.0.1:0") as worker:
        worker.load("held", noise(SIZE), release="always")
        ready(worker.port)
        await anyio.sleep_forever()


class Large:
    """The same array again and again; a tensor is gone on both sides before the next one leaves."""

    def __init__(self, driver: asyncsyft.Driver, array: Any) -> None:
        self._driver, self._worker, self._array = driver, driver["alice"], array
        self._checked = False

    async def send(self, seconds: float) -> Sample:
        """Until the worker has acknowledged it."""
        took = done = 0.0
        while not done or took < seconds:
            start = time.perf_counter()
            remote = await self._worker.send(self._array)
            await self._driver.flush()
            took += time.perf_counter() - start
            done += self._array.nbytes
            remote.delete()
            await self._driver.flush()
        return Sample(done / 1e6, took, "MB")

    async def get(self, seconds: float) -> Sample:
        """The same array, which the worker has held from the start, so that its memory does not count."""
        (held,) = await self._worker.search("held")
        took = done = 0.0
        while not done or took < seconds:
            start = time.perf_counter()
            array = await held.get()
            took += time.perf_counter() - start
            done += array.nbytes
            if not self._checked and not np.array_equal(array, self._array):
                raise AssertionError("the tensor that came is another")
            self._checked = True
            del array
        return Sample(done / 1e6, took, "MB")


@asynccontextmanager
async def client(port: int) -> AsyncIterator[Mapping[str, Measure]]:
    async with asyncsyft.connect(f"ws://127.0.0.1:{port}", name="bench") as driver:
        large = Large(driver, noise(SIZE))
        yield {"send": large.send, "get": large.get}
