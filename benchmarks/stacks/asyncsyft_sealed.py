"""asyncsyft sealed end to end, and in the clear: small calls, and large tensors each way.

What is compared is the same program, so the two take turns. One process has both workers, another both drivers.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, AsyncIterator, Dict, Mapping

import anyio
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

import asyncsyft
from asyncsyft.identity import Key, key_text
from benchmarks.stacks import Measure, Ready
from benchmarks.stacks.asyncsyft_direct import small_calls
from benchmarks.stacks.asyncsyft_large import SIZE, Large, noise
from benchmarks.stacks.turns import alternating

BACKEND = "asyncio"
VERSIONS_OF = ("asyncsyft", "cryptography")

SETTINGS = ("sealed", "clear")
#: The workers', and the same in both processes: no secret is at stake.
KEY = Key(X25519PrivateKey.from_private_bytes(bytes(range(32))))
TURN = 0.1  # seconds that one setting makes calls before it is the other's turn


async def serve(ready: Ready) -> None:
    array = noise(SIZE)
    async with AsyncExitStack() as stack:
        ports = []
        for _ in SETTINGS:
            worker = asyncsyft.Worker("alice", listen="127.0.0.1:0", key=KEY)
            worker.load("held", array, release="always")
            ports.append((await stack.enter_async_context(worker)).port)
        ready(*ports)
        await anyio.sleep_forever()


@asynccontextmanager
async def client(*ports: int) -> AsyncIterator[Mapping[str, Measure]]:
    array = noise(SIZE)
    made: Dict[str, Dict[str, Measure]] = {"calls": {}, "send": {}, "get": {}}
    async with AsyncExitStack() as stack:
        for setting, port in zip(SETTINGS, ports):
            options: Dict[str, Any] = {}
            if setting == "sealed":
                options = {"key": Key.new(), "known_peers": {"alice": key_text(KEY.public)}}
            small = await stack.enter_async_context(small_calls(port, **options))
            if (small.driver["alice"].conversation.seal is not None) != (setting == "sealed"):
                raise AssertionError(f"what should be {setting} is not")
            large = Large(small.driver, array)
            made["calls"][setting] = small.calls
            made["send"][setting], made["get"][setting] = large.send, large.get
        yield {name: alternating(measures, 5, TURN if name == "calls" else 0.0) for name, measures in made.items()}
