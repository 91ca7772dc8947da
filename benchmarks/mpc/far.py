"""The same as ``direct``, and between any two of them a line of 1 Gbit/s on which a round trip takes 1 ms.

In front of each member is a proxy, in a process of its own, whose address the member announces as its own.
"""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from typing import AsyncIterator, Mapping

import anyio

from benchmarks.mpc.measures import all_measures
from benchmarks.mpc.members import BACKEND, MEMBERS, VERSIONS_OF, behind
from benchmarks.stacks import Measure, Ready
from benchmarks.throttle import Throttle

__all__ = ["BACKEND", "VERSIONS_OF", "alice", "bob", "client", "james", "line_to_alice", "line_to_bob", "line_to_james"]

BANDWIDTH = 1e9  # bits per second, each way
DELAY = 0.5e-3  # seconds, each way


async def line(ready: Ready, *_: int) -> None:
    """To the member that is started next, which listens at the second of the ports."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    async with Throttle("127.0.0.1", port, BANDWIDTH, DELAY) as throttle:
        ready(throttle.port, port)
        await anyio.sleep_forever()


alice, bob, james = map(behind, MEMBERS)
line_to_alice = line_to_bob = line_to_james = line


@asynccontextmanager
async def client(*ports: int) -> AsyncIterator[Mapping[str, Measure]]:
    async with all_measures(ports[::2]) as measures:
        yield measures
