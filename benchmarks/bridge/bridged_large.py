"""PySyft on the bridge: one worker, and large tensors, in processes that do nothing else."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import AsyncIterator, Mapping

from benchmarks.bridge import bridged
from benchmarks.bridge.programs import as_measures, large
from benchmarks.stacks import Measure

BACKEND, VERSIONS_OF = bridged.BACKEND, bridged.VERSIONS_OF

alice = bridged.alice


@asynccontextmanager
async def client(port: int) -> AsyncIterator[Mapping[str, Measure]]:
    (worker,) = bridged.linked([port])
    yield as_measures(large(worker, 100))
