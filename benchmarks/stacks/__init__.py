"""One file for each thing that is measured; :data:`STACKS` names them.

A stack has a server, which runs in one process, and a client, which runs in another and offers measures: coroutine
functions that work for about the seconds they are given and return how many operations that was and how long it took.
"""

from __future__ import annotations

import importlib
from typing import AsyncContextManager, Awaitable, Callable, Dict, Mapping, NamedTuple, Protocol, cast

STACKS: Dict[str, str] = {
    "asyncsyft": "benchmarks.stacks.asyncsyft_direct",
    "websockets": "benchmarks.stacks.websockets_echo",
}


class Sample(NamedTuple):
    """So many operations, in so many seconds."""

    operations: int
    seconds: float


Measure = Callable[[float], Awaitable[Sample]]


class Stack(Protocol):
    """What a file of this folder defines."""

    #: The event loop of both ends: "asyncio" or "trio".
    BACKEND: str
    #: The distributions whose versions are told with the figures.
    VERSIONS_OF: tuple[str, ...]

    async def serve(self, ready: Callable[[int], None]) -> None:
        """Listen on loopback, call ``ready(port)``, serve until cancelled."""

    def client(self, port: int) -> AsyncContextManager[Mapping[str, Measure]]:
        """Connect, and offer the measures while the context is open."""


def load(name: str) -> Stack:
    """The stack of that name; KeyError if there is none."""
    return cast(Stack, importlib.import_module(STACKS[name]))
