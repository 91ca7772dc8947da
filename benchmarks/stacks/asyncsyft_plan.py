"""asyncsyft, a stored plan of a thousand adds of float32[10], called with one small message each."""

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

STEPS = 1000
AT_ONCE = 10


def thousand_adds() -> Any:
    """The plan: each step needs the one before, so that none is dead."""

    def adds(x: Any, y: Any) -> Any:
        for _ in range(STEPS):
            x = x + y
        return x

    return asyncsyft.plan(adds)


@asynccontextmanager
async def client(port: int) -> AsyncIterator[Mapping[str, Measure]]:
    adds = thousand_adds()
    async with asyncsyft.connect(f"ws://127.0.0.1:{port}", name="bench") as driver:
        alice = driver.worker("alice")
        x, y = await alice.send(np.zeros(10, "float32")), await alice.send(np.ones(10, "float32"))

        async def plan(seconds: float) -> Sample:
            done, start = 0, time.perf_counter()
            while not done or time.perf_counter() < start + seconds:
                for _ in range(AT_ONCE):
                    z = adds(x, y)
                done += AT_ONCE * STEPS
                await driver.ready()
            await driver.flush()
            took = time.perf_counter() - start
            if (await z.get()).tolist() != [float(STEPS)] * 10:
                raise AssertionError("the plan computed something else")
            return Sample(done, took, "steps")

        yield {"plan": plan}
