"""asyncsyft, a crowd of workers at one relay: what ``scale`` starts, one process for the relay, few for the workers."""

from __future__ import annotations

import random
import resource
import time
from contextlib import asynccontextmanager
from typing import Any, AsyncIterator, Dict, List, Mapping

import anyio
import numpy as np

import asyncsyft
from benchmarks.stacks import Measure, Ready, Sample

BACKEND = "asyncio"
VERSIONS_OF = ("asyncsyft", "anyio", "websockets", "msgpack", "zstandard", "numpy")

ACTIVE = 100  # workers that are called, at most; the others are just there
IN_FLIGHT = 256
SIZES = tuple(1 << power for power in range(14, 27, 2))  # bytes: 16 KiB to 64 MiB


def many_files() -> None:
    """Let this process hold as many connections as the system allows it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def relay(ready: Ready) -> None:
    many_files()
    async with asyncsyft.Relay("127.0.0.1:0", max_per_address=10_000, max_new=10_000) as here:  # all are from here
        ready(here.port)
        await anyio.sleep_forever()


async def workers(ready: Ready, relay_port: int, first: int, count: int) -> None:
    """Workers numbered from ``first`` on, all in this process."""
    many_files()
    for number in range(first, first + count):
        # In a task of its own each: nested in one task, they would all be looked at whenever one of them waits.
        await asyncsyft.Worker(f"worker-{number}", f"ws://127.0.0.1:{relay_port}").open()
    ready()
    await anyio.sleep_forever()


class Crowd:
    """Calls to workers picked at random."""

    def __init__(self, tensors: List[Any]) -> None:
        self._tensors = tensors

    async def _loop(self, until: float, took: List[float]) -> None:
        begun, done = time.perf_counter(), False
        while not done or begun < until:
            x = random.choice(self._tensors)
            await (x + x).get()
            begun, before = time.perf_counter(), begun
            took.append(begun - before)
            done = True

    async def _calls(self, seconds: float, in_flight: int) -> Sample:
        took: List[float] = []
        start = time.perf_counter()
        async with anyio.create_task_group() as tasks:
            for _ in range(in_flight):
                tasks.start_soon(self._loop, start + seconds, took)
        p50, p99 = np.percentile(took, (50, 99)) * 1e6
        return Sample(len(took), time.perf_counter() - start, more={"p50_us": p50, "p99_us": p99})

    async def single(self, seconds: float) -> Sample:
        return await self._calls(seconds, 1)

    async def busy(self, seconds: float) -> Sample:
        return await self._calls(seconds, IN_FLIGHT)

    async def idle(self, seconds: float) -> Sample:
        """Nobody says anything but heartbeats."""
        await anyio.sleep(seconds)
        return Sample(1, seconds)


def _noise(size: int) -> Any:
    return np.random.default_rng(7).standard_normal(size // 4, "float32")


def _both_ways(driver: asyncsyft.Driver, worker: Any, size: int) -> Dict[str, Measure]:
    async def send(seconds: float) -> Sample:
        array = _noise(size)
        done, start = 0, time.perf_counter()
        while not done or time.perf_counter() < start + seconds:
            remote = await worker.send(array)
            await driver.flush()
            done += 1
            del remote
        return Sample(done, time.perf_counter() - start, "tensors")

    async def get(seconds: float) -> Sample:
        remote = await worker.send(_noise(size))
        await driver.flush()
        done, start = 0, time.perf_counter()
        while not done or time.perf_counter() < start + seconds:
            await remote.get()
            done += 1
        return Sample(done, time.perf_counter() - start, "tensors")

    return {f"send_{size}": send, f"get_{size}": get}


@asynccontextmanager
async def client(relay_port: int, count: int) -> AsyncIterator[Mapping[str, Measure]]:
    async with asyncsyft.connect(f"ws://127.0.0.1:{relay_port}", name="bench") as driver:
        names = [f"worker-{number}" for number in range(count)]
        everyone = await driver.wait_for(*names)
        active = random.sample(everyone, min(count, ACTIVE))
        tensors = [await worker.send(np.arange(10, dtype="float32") / 2) for worker in active]
        for x in tensors:
            if (await (x + x).get()).tolist() != list(range(10)):
                raise AssertionError("x + x came back as something else")
        crowd = Crowd(tensors)
        measures: Dict[str, Measure] = {"idle": crowd.idle, "single": crowd.single, "busy": crowd.busy}
        for size in SIZES:
            measures.update(_both_ways(driver, active[0], size))
        yield measures
