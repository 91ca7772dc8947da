"""PySyft on the bridge: four workers in processes of their own."""

from __future__ import annotations

import importlib
from contextlib import asynccontextmanager
from typing import Any, AsyncIterator, Awaitable, Callable, List, Mapping, Sequence

import anyio

from benchmarks.bridge.programs import all_programs, as_measures
from benchmarks.bridge.pysyft import HOST, NAMES, hook
from benchmarks.stacks import Measure, Ready

BACKEND = "asyncio"
VERSIONS_OF = ("asyncsyft", "syft", "torch", "websockets", "msgpack", "numpy")

bridge: Any = importlib.import_module("bridge")


def server(name: str) -> Callable[..., Awaitable[None]]:
    async def serve(ready: Ready, *_: int) -> None:
        bridge.install()
        worker = bridge.WebsocketServerWorker(hook, HOST, 0, id=name)
        worker.listen()
        ready(worker.port)
        await anyio.sleep_forever()

    return serve


alice, bob, charlie, dan = map(server, NAMES)


def linked(ports: Sequence[int]) -> List[Any]:
    """The workers, as their client sees them."""
    bridge.install()
    return [bridge.WebsocketClientWorker(hook, HOST, port, id=name) for name, port in zip(NAMES, ports)]


@asynccontextmanager
async def client(*ports: int) -> AsyncIterator[Mapping[str, Measure]]:
    yield as_measures(all_programs(linked(ports), lambda worker: int(worker.objects_count_remote())))
