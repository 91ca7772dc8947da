"""numpy alone, in one process: `np.add` in a Python `for` over a list of a thousand float32[10]."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import AsyncIterator, Mapping

import numpy as np

from benchmarks.stacks import Measure, Sample

BACKEND = "asyncio"
VERSIONS_OF = ("numpy",)

STEPS = 1000


@asynccontextmanager
async def client() -> AsyncIterator[Mapping[str, Measure]]:
    terms = [np.ones(10, "float32") for _ in range(STEPS)]

    async def adds(seconds: float) -> Sample:
        done, start = 0, time.perf_counter()
        while not done or time.perf_counter() < start + seconds:
            sum_ = np.zeros(10, "float32")
            for term in terms:
                sum_ = np.add(sum_, term)
            done += STEPS
        took = time.perf_counter() - start
        if sum_.tolist() != [float(STEPS)] * 10:
            raise AssertionError("numpy computed something else")
        return Sample(done, took, "steps")

    yield {"adds": adds}
