"""Parties and dealer linked directly to each other, and the driver to each of them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import AsyncIterator, Mapping

from benchmarks.mpc.measures import all_measures
from benchmarks.mpc.members import BACKEND, MEMBERS, VERSIONS_OF, listening
from benchmarks.stacks import Measure

__all__ = ["BACKEND", "VERSIONS_OF", "alice", "bob", "client", "james"]

alice, bob, james = map(listening, MEMBERS)


@asynccontextmanager
async def client(*ports: int) -> AsyncIterator[Mapping[str, Measure]]:
    async with all_measures(ports) as measures:
        yield measures
