"""asyncsyft with compression left to itself and switched off, over loopback and over a link of 100 Mbit/s.

What is compared is the same program, so the settings take turns, transfer by transfer: what else the machine does hits
both. One process has a worker for each setting and link, another the throttling proxies before half of them.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, AsyncIterator, Dict, Mapping

import anyio
import numpy as np

import asyncsyft
from benchmarks.stacks import Measure, Ready
from benchmarks.stacks.asyncsyft_large import SIZE, Large, noise
from benchmarks.stacks.turns import alternating
from benchmarks.throttle import Throttle

BACKEND = "asyncio"
VERSIONS_OF = ("asyncsyft", "zstandard")

SETTINGS = ("auto", "never")
BANDWIDTH = 100e6  # bits per second
SLOW_SIZE = 4 << 20  # bytes of the tensors on the slow link: a third of a second as they are


async def workers(ready: Ready) -> None:
    async with AsyncExitStack() as stack:
        ports = []
        for setting in SETTINGS:
            for array in (noise(SIZE), fixed_precision(SLOW_SIZE)):
                worker = asyncsyft.Worker("alice", listen="127.0.0.1:0", compression=setting)
                worker.load("held", array, release="always")
                ports.append((await stack.enter_async_context(worker)).port)
        ready(*ports)
        await anyio.sleep_forever()


async def throttles(ready: Ready, *ports: int) -> None:
    async with AsyncExitStack() as stack:
        proxies = [await stack.enter_async_context(Throttle("127.0.0.1", port, BANDWIDTH)) for port in ports[1::2]]
        ready(*(proxy.port for proxy in proxies))
        await anyio.sleep_forever()


def fixed_precision(size: int) -> Any:
    """As PySyft's ``fix_precision``: int64, three decimal places, small values."""
    return (np.random.default_rng(7).standard_normal(size // 8) * 1000).astype("int64")


@asynccontextmanager
async def client(*ports: int) -> AsyncIterator[Mapping[str, Measure]]:
    """``ports``: for each setting that of the fast link and that behind the slow one; then those of the slow links."""
    measures: Dict[str, Measure] = {}
    links = (("loopback", noise(SIZE), ports[0:4:2], 25), ("100mbit", fixed_precision(SLOW_SIZE), ports[4:], 1))
    async with AsyncExitStack() as stack:
        for link, array, here, least in links:
            pair: Dict[str, Large] = {}
            for setting, port in zip(SETTINGS, here):
                connection = asyncsyft.connect(f"ws://127.0.0.1:{port}", name="bench", compression=setting)
                pair[setting] = Large(await stack.enter_async_context(connection), array)
            measures[f"{link}_send"] = alternating({name: large.send for name, large in pair.items()}, least)
            measures[f"{link}_get"] = alternating({name: large.get for name, large in pair.items()}, least)
        yield measures
