"""A tensor of more than 4 GiB, past every 32-bit number, over a real websocket between two processes: `make verify`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import anyio
import numpy as np
import pytest

import asyncsyft
from tests.journeys.test_kills import process, says

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(os.environ.get("HYPOTHESIS_PROFILE") != "verify", reason="10 GB and a minute: make verify"),
]

COUNT = (1 << 30) + (1 << 20)  # of int32: 4 GiB and 4 MiB
BLOCK = 1 << 24
#: Both ends hold the tensor once, and little else.
NEEDED = 10e9  # bytes

WORKER = """
async def main(address):
    async with asyncsyft.Worker("alice", listen=address) as worker:
        print(worker.port, flush=True)
        await anyio.sleep_forever()
"""


def memory(process_id: int, name: str) -> int:
    """Bytes that a process holds (VmRSS), or held at most (VmHWM)."""
    lines = Path(f"/proc/{process_id}/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def available() -> float:
    """Bytes of memory that may be used, 0 where that cannot be told."""
    if not sys.platform.startswith("linux"):
        return 0.0
    lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    return next(int(line.split()[1]) * 1024.0 for line in lines if line.startswith("MemAvailable"))


async def test_more_than_four_gib_each_way(anyio_backend: str) -> None:
    if available() < NEEDED:
        pytest.skip(f"{available() / 1e9:.1f} GB of memory are free, {NEEDED / 1e9:.0f} are needed")
    with process(WORKER, "127.0.0.1:0", anyio_backend) as worker, anyio.fail_after(600):
        async with asyncsyft.connect(f"ws://127.0.0.1:{await says(worker)}") as driver:
            alice, idle = driver["alice"], memory(worker.pid, "VmRSS")
            ours = np.arange(COUNT, dtype="<i4")
            assert ours.nbytes > 1 << 32
            x = await alice.send(ours)
            nbytes, last = ours.nbytes, ours[-3:].copy()
            assert nbytes < memory(worker.pid, "VmHWM") - idle < 1.05 * nbytes
            del ours
            np.testing.assert_array_equal(await x[-3:].get(), last)
            told = [0]
            before = memory(os.getpid(), "VmRSS")
            theirs = await x.get(progress=lambda done, total: told.append(done))
            assert memory(os.getpid(), "VmRSS") - before < 1.05 * nbytes
            assert memory(worker.pid, "VmHWM") - idle < 1.05 * nbytes
            assert (told[-1], theirs.nbytes) == (nbytes, nbytes)
            assert all(a < b for a, b in zip(told, told[1:]))
            for at in range(0, COUNT, BLOCK):
                block = theirs[at : at + BLOCK]
                np.testing.assert_array_equal(block, np.arange(at, at + len(block), dtype="<i4"))
