"""PySyft's VirtualWorkers, as they came: one process, no network."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import AsyncIterator, Mapping

from benchmarks.bridge.programs import all_programs, as_measures, virtual_workers
from benchmarks.bridge.pysyft import NAMES
from benchmarks.stacks import Measure

BACKEND = "asyncio"
VERSIONS_OF = ("syft", "torch")


@asynccontextmanager
async def client() -> AsyncIterator[Mapping[str, Measure]]:
    workers = virtual_workers(NAMES)
    yield as_measures(all_programs(workers, lambda worker: len(worker.object_store._objects)))
