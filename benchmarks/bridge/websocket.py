"""PySyft's own pair over a websocket, as it came."""

from __future__ import annotations

import importlib
from contextlib import asynccontextmanager
from typing import Any, AsyncIterator, List, Mapping, Sequence

from benchmarks.bridge.programs import all_programs, as_measures
from benchmarks.bridge.pysyft import HOST, NAMES, hook, own_server
from benchmarks.stacks import Measure

BACKEND = "asyncio"
VERSIONS_OF = ("syft", "torch", "websockets", "websocket-client")

alice, bob, charlie, dan = map(own_server, NAMES)


def linked(ports: Sequence[int]) -> List[Any]:
    """The workers, as their client sees them."""
    module = importlib.import_module("syft.workers.websocket_client")
    return [module.WebsocketClientWorker(hook, HOST, port, id=name) for name, port in zip(NAMES, ports)]


@asynccontextmanager
async def client(*ports: int) -> AsyncIterator[Mapping[str, Measure]]:
    yield as_measures(all_programs(linked(ports), lambda worker: int(worker.objects_count_remote())))
