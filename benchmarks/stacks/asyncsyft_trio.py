"""As ``asyncsyft_direct``, with both ends on trio."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import AsyncIterator, Mapping

from benchmarks.stacks import Measure
from benchmarks.stacks.asyncsyft_direct import serve, small_calls

__all__ = ["BACKEND", "VERSIONS_OF", "client", "serve"]

BACKEND = "trio"
VERSIONS_OF = ("trio",)


@asynccontextmanager
async def client(port: int) -> AsyncIterator[Mapping[str, Measure]]:
    async with small_calls(port) as small:
        yield {"calls": small.calls}
