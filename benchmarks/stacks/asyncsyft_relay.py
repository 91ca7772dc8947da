"""asyncsyft, driver and worker at a relay: three processes."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import AsyncIterator, Mapping

import anyio

import asyncsyft
from benchmarks.stacks import Measure, Ready
from benchmarks.stacks.asyncsyft_direct import small_calls

BACKEND = "asyncio"
VERSIONS_OF = ("asyncsyft",)


async def relay(ready: Ready) -> None:
    async with asyncsyft.Relay("127.0.0.1:0") as here:
        ready(here.port)
        await anyio.sleep_forever()


async def worker(ready: Ready, relay_port: int) -> None:
    async with asyncsyft.Worker("alice", f"ws://127.0.0.1:{relay_port}"):
        ready()
        await anyio.sleep_forever()


@asynccontextmanager
async def client(relay_port: int) -> AsyncIterator[Mapping[str, Measure]]:
    async with small_calls(relay_port) as small:
        yield {"calls": small.calls, "single": small.single}
