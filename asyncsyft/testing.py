"""A whole cluster in one process, on the in-memory transport: the embedded default, and what tests and examples use."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, AsyncIterator, Dict

from .driver import Driver
from .relay import Relay
from .transport import Transport, memory_pair
from .worker import Worker


class Cluster:
    """A relay, its workers by name, and a driver; ``dial`` is how one more peer comes in."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self.workers: Dict[str, Worker] = {}
        self.driver = Driver(self.dial, "driver")

    async def dial(self) -> Transport:
        """A new transport to the relay: what dialling its address gives elsewhere."""
        near, far = memory_pair()
        self.relay.attach(far)
        return near


@asynccontextmanager
async def cluster(*names: str, **options: Any) -> AsyncIterator[Cluster]:
    """Relay, workers of these names and a driver, all entered; ``options`` go to each ``Worker``."""
    async with AsyncExitStack() as stack:
        made = Cluster(await stack.enter_async_context(Relay()))
        for name in names:
            made.workers[name] = await stack.enter_async_context(Worker(name, made.dial, **options))
        await stack.enter_async_context(made.driver)
        yield made


@asynccontextmanager
async def local(*names: str, **options: Any) -> AsyncIterator[Driver]:
    """A driver with workers of these names, without a server: ``async with local("alice", "bob") as driver``."""
    async with cluster(*names, **options) as made:
        yield made.driver
