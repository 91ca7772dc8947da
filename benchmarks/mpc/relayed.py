"""Parties, dealer and driver at one relay: all that they say to each other passes through it, sealed."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import AsyncIterator, Mapping

from benchmarks.mpc.measures import all_measures
from benchmarks.mpc.members import BACKEND, MEMBERS, VERSIONS_OF, dialling
from benchmarks.stacks import Measure
from benchmarks.stacks.asyncsyft_relay import relay

__all__ = ["BACKEND", "VERSIONS_OF", "alice", "bob", "client", "james", "relay"]

alice, bob, james = map(dialling, MEMBERS)


@asynccontextmanager
async def client(port: int) -> AsyncIterator[Mapping[str, Measure]]:
    async with all_measures([port]) as measures:
        yield measures
