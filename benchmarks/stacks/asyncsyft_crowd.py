"""asyncsyft, a crowd of workers at one relay: what ``scale`` starts, one process for the relay, few for the workers."""

from __future__ import annotations

import random
import resource
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, AsyncIterator, Dict, List, Mapping

import anyio
import numpy as np

import asyncsyft
from benchmarks.stacks import Measure, Ready, Sample
from benchmarks.stacks.asyncsyft_direct import check

BACKEND = "asyncio"
VERSIONS_OF = ("asyncsyft", "anyio", "websockets", "msgpack", "zstandard", "numpy")

AT_ONCE = 50  # workers that connect at the same time
ACTIVE = 100  # workers that are called, at most; the others are there
SIZES = tuple(4 << 2 * power for power in range(6, 13))  # KiB would hide that these are bytes: 16 KiB to 64 MiB


def many_files() -> None:
    """Let this process hold as many connections as the system allows it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def relay(ready: Ready) -> None:
    many_files()
    async with asyncsyft.Relay("127.0.0.1:0") as here:
        ready(here.port)
        await anyio.sleep_forever()


async def workers(ready: Ready, relay_port: int, first: int, count: int) -> None:
    """Workers numbered from ``first`` on, all in this process."""
    many_files()
    async with AsyncExitStack() as stack:
        for start in range(first, first + count, AT_ONCE):
            numbers = range(start, min(start + AT_ONCE, first + count))
            here = [asyncsyft.Worker(f"worker-{number}", f"ws://127.0.0.1:{relay_port}") for number in numbers]
            for worker in here:
                await stack.enter_async_context(worker)
        ready()
        await anyio.sleep_forever()


class Crowd:
    """Calls to workers picked at random, each after the one before; what each took is kept."""

    def __init__(self, tensors: List[Any]) -> None:
        self._tensors = tensors
        self.took: List[float] = []

    async def latency(self, seconds: float) -> Sample:
        took = self.took = []
        start = time.perf_counter()
        while time.perf_counter() < start + seconds:
            x = random.choice(self._tensors)
            begun = time.perf_counter()
            await (x + x).get()
            took.append(time.perf_counter() - begun)
        return Sample(len(took), time.perf_counter() - start)

    async def percentile(self, percent: float) -> Sample:
        """Of the last ``latency``, as a sample whose seconds are it: the harness carries no other numbers."""
        return Sample(1, float(np.percentile(self.took, percent)))

    async def idle(self, seconds: float) -> Sample:
        """Nobody says anything but heartbeats."""
        await anyio.sleep(seconds)
        return Sample(1, seconds)


def _both_ways(driver: asyncsyft.Driver, worker: Any, size: int) -> Dict[str, Measure]:
    array = np.random.default_rng(7).standard_normal(size // 4, "float32")

    async def send(seconds: float) -> Sample:
        done, start = 0, time.perf_counter()
        while not done or time.perf_counter() < start + seconds:
            remote = await worker.send(array)
            await driver.flush()
            done += 1
            del remote
        return Sample(done, time.perf_counter() - start, "tensors")

    async def get(seconds: float) -> Sample:
        remote = await worker.send(array)
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
            assert (await (x + x).get()).tolist() == list(range(10))
        crowd = Crowd(tensors)
        measures: Dict[str, Measure] = {
            "idle": crowd.idle,
            "latency": crowd.latency,
            "percentile": crowd.percentile,
        }
        for size in SIZES:
            measures.update(_both_ways(driver, active[0], size))
        yield measures
