"""asyncsyft, a stored plan of a thousand adds of float32[10], called with one small message each."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import Any, AsyncIterator, List, Mapping

import anyio
import numpy as np

import asyncsyft
from benchmarks.stacks import Measure, Sample
from benchmarks.stacks.asyncsyft_direct import serve

__all__ = ["BACKEND", "VERSIONS_OF", "client", "serve"]

BACKEND = "asyncio"
VERSIONS_OF = ("asyncsyft",)

STEPS = 1000
#: Calls to one flush: a call is recorded in microseconds, and each is a millisecond of work at the worker.
AT_ONCE = 25


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

        async def calls(until: float, counts: List[int]) -> None:
            while not counts or time.perf_counter() < until:
                for _ in range(AT_ONCE):
                    z = adds(x, y)
                await driver.flush()
                counts.append(AT_ONCE * STEPS)
            if (await z.get()).tolist() != [float(STEPS)] * 10:
                raise AssertionError("the plan computed something else")

        async def plan(seconds: float) -> Sample:
            counts: List[int] = []
            start = time.perf_counter()
            async with anyio.create_task_group() as tasks:
                for _ in range(2):  # one has calls on the way while the other waits for its own
                    tasks.start_soon(calls, start + seconds, counts)
            return Sample(sum(counts), time.perf_counter() - start, "steps")

        yield {"plan": plan}
