"""asyncsyft, a gigabyte through a relay: what the relay holds of it."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import AsyncIterator, Mapping

import asyncsyft
from benchmarks.stacks import WARM_UP, Measure, Sample
from benchmarks.stacks.asyncsyft_large import SIZE, Large, noise
from benchmarks.stacks.asyncsyft_relay import relay, worker

__all__ = ["BACKEND", "VERSIONS_OF", "client", "relay", "worker"]

BACKEND = "asyncio"
VERSIONS_OF = ("asyncsyft",)

GIGABYTE = 1e3  # MB


@asynccontextmanager
async def client(relay_port: int) -> AsyncIterator[Mapping[str, Measure]]:
    async with asyncsyft.connect(f"ws://127.0.0.1:{relay_port}", name="bench") as driver:
        await driver.wait_for("alice")
        large = Large(driver, noise(SIZE))

        async def gigabyte(seconds: float) -> Sample:
            """A gigabyte, however long that takes; of short rounds, five together; one tensor to warm up."""
            enough = 1.0 if seconds <= WARM_UP else GIGABYTE * min(1.0, max(seconds, 0.2))
            done, start = 0.0, time.perf_counter()
            while done < enough:
                done += (await large.send(0)).operations
            return Sample(done, time.perf_counter() - start, "MB")

        yield {"gigabyte": gigabyte}
