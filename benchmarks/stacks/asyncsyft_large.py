"""asyncsyft, one large tensor after the other between a driver and a worker, each way by itself.

In processes that do nothing else, so that what their memory gains is the tensor's doing.
"""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import Any, AsyncIterator, Mapping

import numpy as np

import asyncsyft
from benchmarks.stacks import Measure, Sample
from benchmarks.stacks.asyncsyft_direct import serve

__all__ = ["BACKEND", "VERSIONS_OF", "client", "serve"]

BACKEND = "asyncio"
VERSIONS_OF = ("asyncsyft",)

SIZE = 64 << 20  # bytes


class Large:
    """The same array again and again; a tensor is gone on both sides before the next one leaves."""

    def __init__(self, driver: asyncsyft.Driver, worker: Any, array: Any) -> None:
        self._driver, self._worker, self._array = driver, worker, array
        self._held: Any = None
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
        if self._held is None:
            self._held = await self._worker.send(self._array)
            await self._driver.flush()
        took = done = 0.0
        while not done or took < seconds:
            start = time.perf_counter()
            array = await self._held.get()
            took += time.perf_counter() - start
            done += array.nbytes
            if not self._checked and not np.array_equal(array, self._array):
                raise AssertionError("the tensor did not come back as it was sent")
            self._checked = True
            del array
        return Sample(done / 1e6, took, "MB")


def noise(size: int) -> Any:
    """An array of so many bytes that zstd can do next to nothing about: normal float32, as weights are."""
    return np.random.default_rng(7).standard_normal(size // 4, "float32")


@asynccontextmanager
async def client(port: int) -> AsyncIterator[Mapping[str, Measure]]:
    async with asyncsyft.connect(f"ws://127.0.0.1:{port}", name="bench") as driver:
        large = Large(driver, driver.worker("alice"), noise(SIZE))
        yield {"send": large.send, "get": large.get}
