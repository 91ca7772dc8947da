"""Dask `distributed`, the same work: `x + y` on float32[10] that a worker holds, and 64 MiB there and back.

Scheduler, worker and client are a process each, as in a real deployment; no nanny, dashboard or compression, and the
client talks to the worker directly where Dask can.
"""

from __future__ import annotations

import asyncio
import logging
import operator
import tempfile
import time
from contextlib import asynccontextmanager
from typing import Any, AsyncIterator, Mapping

import dask  # type: ignore[import-not-found]
import numpy as np
from distributed import Client, Scheduler, Worker  # type: ignore[import-not-found]

from benchmarks.stacks import Measure, Ready, Sample

BACKEND = "asyncio"
VERSIONS_OF = ("distributed", "dask")

IN_FLIGHT = 256
SIZE = 64 << 20  # bytes

dask.config.set({"distributed.comm.compression": False})
for name in ("distributed", "distributed.http.proxy"):
    logging.getLogger(name).setLevel(logging.WARNING)


async def scheduler(ready: Ready) -> None:
    async with Scheduler(host="127.0.0.1", port=0, dashboard=False, dashboard_address="127.0.0.1:0") as here:
        ready(here.port)
        await here.finished()


async def worker(ready: Ready, port: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        options = {"nthreads": 1, "dashboard": False, "local_directory": folder, "memory_limit": 0}
        async with Worker(f"tcp://127.0.0.1:{port}", **options) as here:
            ready()
            await here.finished()


class _Client:
    def __init__(self, client: Any, x: Any, y: Any) -> None:
        self._client, self._x, self._y = client, x, y

    async def _calls(self, seconds: float, in_flight: int) -> Sample:
        client, x, y, done = self._client, self._x, self._y, 0
        start = time.perf_counter()
        while not done or time.perf_counter() < start + seconds:
            if in_flight > 1:  # a map is one message: six times faster than as many submits
                sums = client.map(operator.add, [x] * in_flight, [y] * in_flight, pure=False)
            else:
                sums = [client.submit(operator.add, x, y, pure=False)]
            arrays = await client.gather(sums, direct=True)
            done += in_flight
        if arrays[0].tolist() != list(range(1, 11)):
            raise AssertionError("Dask computed something else")
        return Sample(done, time.perf_counter() - start)

    async def calls(self, seconds: float) -> Sample:
        return await self._calls(seconds, IN_FLIGHT)

    async def single(self, seconds: float) -> Sample:
        return await self._calls(seconds, 1)

    async def send(self, seconds: float) -> Sample:
        array = np.random.default_rng(7).standard_normal(SIZE // 4, "float32")
        took = done = 0.0
        while not done or took < seconds:
            start = time.perf_counter()
            remote = await self._client.scatter(array, direct=True, hash=False)
            took += time.perf_counter() - start
            done += array.nbytes
            await self._forget(remote)
        return Sample(done / 1e6, took, "MB")

    async def get(self, seconds: float) -> Sample:
        array = np.random.default_rng(7).standard_normal(SIZE // 4, "float32")
        remote = await self._client.scatter(array, direct=True, hash=False)
        took = done = 0.0
        while not done or took < seconds:
            start = time.perf_counter()
            back = await self._client.gather(remote, direct=True)
            took += time.perf_counter() - start
            done += back.nbytes
            del back
        await self._forget(remote)
        return Sample(done / 1e6, took, "MB")

    async def _forget(self, remote: Any) -> None:
        remote.release()
        await asyncio.sleep(0.05)  # Dask tells nobody when a worker has let go


@asynccontextmanager
async def client(port: int) -> AsyncIterator[Mapping[str, Measure]]:
    async with Client(f"tcp://127.0.0.1:{port}", asynchronous=True, direct_to_workers=True) as here:
        x = await here.scatter(np.arange(10, dtype="float32"), direct=True)
        y = await here.scatter(np.ones(10, "float32"), direct=True)
        self = _Client(here, x, y)
        yield {"calls": self.calls, "single": self.single, "send": self.send, "get": self.get}
