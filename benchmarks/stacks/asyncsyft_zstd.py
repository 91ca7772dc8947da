"""asyncsyft with compression left to itself and switched off, over loopback and over a link of 100 Mbit/s.

One process has a worker for each setting, another a throttling proxy before each of them.
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
            worker = asyncsyft.Worker("alice", listen="127.0.0.1:0", **_setting(setting))
            ports.append((await stack.enter_async_context(worker)).port)
        ready(*ports)
        await anyio.sleep_forever()


async def throttles(ready: Ready, *ports: int) -> None:
    async with AsyncExitStack() as stack:
        proxies = [await stack.enter_async_context(Throttle("127.0.0.1", port, BANDWIDTH)) for port in ports]
        ready(*(proxy.port for proxy in proxies))
        await anyio.sleep_forever()


def fixed_precision(size: int) -> Any:
    """As PySyft's ``fix_precision``: int64, three decimal places, small values."""
    return (np.random.default_rng(7).standard_normal(size // 8) * 1000).astype("int64")


@asynccontextmanager
async def client(*ports: int) -> AsyncIterator[Mapping[str, Measure]]:
    measures: Dict[str, Measure] = {}
    fast, slow = noise(SIZE), fixed_precision(SLOW_SIZE)
    async with AsyncExitStack() as stack:
        for place, array, here in (("loopback", fast, ports[:2]), ("100mbit", slow, ports[2:])):
            for setting, port in zip(SETTINGS, here):
                connection = asyncsyft.connect(f"ws://127.0.0.1:{port}", name=f"bench-{place}", **_setting(setting))
                driver = await stack.enter_async_context(connection)
                large = Large(driver, driver.worker("alice"), array)
                measures[f"{place}_send_{setting}"] = large.send
                measures[f"{place}_get_{setting}"] = large.get
        yield measures
