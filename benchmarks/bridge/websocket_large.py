"""PySyft's own pair over a websocket: large tensors, and tensors of a tenth of that for those in a hurry."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import AsyncIterator, Mapping

from benchmarks.bridge import websocket
from benchmarks.bridge.programs import as_measures, large
from benchmarks.stacks import Measure

BACKEND, VERSIONS_OF = websocket.BACKEND, websocket.VERSIONS_OF

alice = websocket.alice


@asynccontextmanager
async def client(port: int) -> AsyncIterator[Mapping[str, Measure]]:
    (worker,) = websocket.linked([port])
    yield as_measures({**large(worker, 10), **large(worker, 100)})
