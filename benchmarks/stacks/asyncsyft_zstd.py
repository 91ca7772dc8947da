"""asyncsyft with compression left to itself and switched off, over loopback and over a link of 100 Mbit/s.

One process has a worker for each setting and link, another the throttling proxies before half of them.
"""

from __future__ import annotations

import inspect
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, AsyncIterator, Dict, Mapping

import anyio
import numpy as np

import asyncsyft
from benchmarks.stacks import Measure, Ready
from benchmarks.stacks.asyncsyft_large import SIZE, Large, noise
from benchmarks.throttle import Throttle

BACKEND = "asyncio"
VERSIONS_OF = ("asyncsyft", "zstandard")

SETTINGS = ("auto", "never")
BANDWIDTH = 100e6  # bits per second
SLOW_SIZE = 4 << 20  # bytes of the tensors on the slow link: a third of a second as they are


def _setting(compression: str) -> Dict[str, Any]:
    if "compression" not in inspect.signature(asyncsyft.connect).parameters:
        raise NotImplementedError("connect(compression=) is not there: leave zstd_auto_* out, by --only")
    return {"compression": compression}


async def workers(ready: Ready) -> None:
    async with AsyncExitStack() as stack:
        ports = []
        for setting in SETTINGS:
            for array in (noise(SIZE), fixed_precision(SLOW_SIZE)):
                worker = asyncsyft.Worker("alice", listen="127.0.0.1:0", **_setting(setting))
                worker.load("held", array)
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
    links = (("loopback", noise(SIZE), ports[0:4:2]), ("100mbit", fixed_precision(SLOW_SIZE), ports[4:]))
    async with AsyncExitStack() as stack:
        for link, array, here in links:
            for setting, port in zip(SETTINGS, here):
                connection = asyncsyft.connect(f"ws://127.0.0.1:{port}", name="bench", **_setting(setting))
                large = Large(await stack.enter_async_context(connection), array)
                measures[f"{link}_send_{setting}"] = large.send
                measures[f"{link}_get_{setting}"] = large.get
        yield measures
