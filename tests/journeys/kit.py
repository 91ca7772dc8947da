"""A relay, workers and drivers on any road, and the check that nothing of a journey stays behind.

It knows no test: each enters ``town(road, ...)`` and drives from there.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, AsyncIterator, Callable, Dict, List, Optional, Set

import anyio
import anyio.lowlevel
import numpy as np

from asyncsyft.driver import Driver, RemoteWorker
from asyncsyft.relay import Relay
from asyncsyft.transport import MemoryTransport, Transport, memory_pair
from asyncsyft.websocket import dial
from asyncsyft.worker import Worker

#: Seconds that a journey may take on a busy machine; nothing here waits for time to pass.
SECONDS = 50
#: Seconds for the tables to empty once the drivers have left.
TO_EMPTY = 8
LOOPBACK = "127.0.0.1:0"


async def until(true: Callable[[], Any]) -> None:
    """Let the event loop turn until something holds; the journey's own deadline bounds it."""
    turns = 0
    while not true():
        turns += 1
        # What takes long is somebody else's: another process, or a time of grace. They need the core.
        await (anyio.lowlevel.checkpoint() if turns < 500 else anyio.sleep(0.002))


class Town:
    """Who is there: a relay (unless the road is direct) and workers by name; ``connect`` brings in a driver."""

    def __init__(self, road: str, relay: Optional[Relay]) -> None:
        self.road, self._relay = road, relay
        self.workers: Dict[str, Worker] = {}
        self.dialled: List[Transport] = []  # in order, the near ends
        #: Incarnations of workers: their conversations with each other outlive a driver.
        self.lives: Set[bytes] = set()

    @property
    def relay(self) -> Relay:
        """The relay, where there is one."""
        assert self._relay is not None
        return self._relay

    async def dial(self) -> Transport:
        """A new transport to the relay, or to the one worker of a direct road."""
        if self.road == "memory":
            near, far = memory_pair()
            self.relay.attach(far)
        else:
            near = await dial(self.url)  # type: ignore[assignment]
        self.dialled.append(near)
        return near

    @property
    def url(self) -> str:
        """What is dialled, on a road of websockets."""
        if self._relay is not None:
            return self.relay.url
        (worker,) = self.workers.values()
        return f"ws://{worker.address}"

    def connect(self, name: str = "", **options: Any) -> Driver:
        """A driver, to be entered; unless told otherwise, what it has is lost with its link."""
        options.setdefault("resume_grace", 0)
        return Driver(self.dial, name, **options)

    @asynccontextmanager
    async def worker(self, name: str, **options: Any) -> AsyncIterator[Worker]:
        """One more worker, while entered."""
        options.setdefault("resume_grace", 0)
        listen = LOOPBACK if self.road == "direct" else None
        async with Worker(name, None if listen else self.dial, listen=listen, **options) as worker:
            self.workers[name] = worker
            self.lives.add(worker.peer.incarnation)
            try:
                yield worker
            finally:
                del self.workers[name]

    async def empties(self) -> None:
        """Return when no table holds anything of a driver."""
        with anyio.move_on_after(TO_EMPTY):
            await until(lambda: not self.leftovers())
        left = self.leftovers()
        assert not left, left

    def leftovers(self) -> Dict[str, Any]:
        """What relay and workers still hold of drivers."""
        found: Dict[str, Any] = {name: leftovers(worker, self.lives) for name, worker in self.workers.items()}
        if self._relay is not None:
            members = self.relay.members
            found["strangers"] = [m.info for m in members.values() if m.info and m.info.name not in self.workers]
            found["waiting"] = [member.info for member in members.values() if member.waiting]
            found["outboxes"] = {n for member in members.values() for n in member.outboxes} - set(members)
            found["talked"] = {n for member in members.values() for n in member.talked} - set(members)
        return {name: what for name, what in found.items() if what}


def leftovers(worker: Worker, lives: Set[bytes]) -> Dict[str, Any]:
    """What a worker still holds for drivers: its own data and its links to other workers do not count."""
    executor, moves, store = worker.executor, worker.executor.moves, worker.store
    talks = worker.peer.conversations.by_life.values()
    kept = {
        "objects": store.objects - len(store.own.titles),
        "bytes": store.nbytes - store.own.nbytes,
        "spaces": set(store.spaces) - lives,
        "offers": [offer for space in store.spaces.values() for offer in space.offers],
        "jobs": executor.jobs,
        "lanes": [key for key in executor._lanes if key[0].theirs not in lives],
        "landings": executor._landings,
        "waiting": worker.requests.list(),
        "claimers": moves._claimers,
        "fetches": moves._fetches,
        "conversations": [talk for talk in talks if talk.theirs not in lives],
        "unanswered": [talk for talk in talks if talk.unanswered or not all(s.done for s in talk.served.values())],
    }
    return {name: what for name, what in kept.items() if what}


@asynccontextmanager
async def town(
    road: str, *names: str, relay: Optional[Dict[str, Any]] = None, seconds: float = SECONDS, **options: Any
) -> AsyncIterator[Town]:
    """A relay and workers of these names; ``options`` go to each worker, ``relay`` holds those of the relay.

    On leaving, after the drivers have left: nothing of them may be held anywhere.
    """
    with anyio.fail_after(seconds):
        async with AsyncExitStack() as stack:
            crossing = None
            if road != "direct":
                crossing = Relay(LOOPBACK if road == "relay" else None, **(relay or {}))
                await stack.enter_async_context(crossing)
            made = Town(road, crossing)
            for name in names:
                await stack.enter_async_context(made.worker(name, **options))
            yield made
            await made.empties()


class Bystander:
    """A healthy driver that keeps computing while something else goes wrong."""

    def __init__(self, driver: Driver, worker: RemoteWorker) -> None:
        self.driver, self.worker = driver, worker
        self.rounds = 0

    async def compute(self) -> None:
        """For ever: send, add, get, and look at what came."""
        while True:
            ours = np.arange(8.0) + self.rounds
            x = await self.worker.send(ours)
            np.testing.assert_array_equal(await (x + x).get(), ours + ours)
            self.rounds += 1
            await anyio.lowlevel.checkpoint()

    async def goes_on(self) -> None:
        """Return when it has computed again, from start to end, since now."""
        begun = self.rounds
        await until(lambda: self.rounds >= begun + 2)


@asynccontextmanager
async def bystander(made: Town, name: str = "alice") -> AsyncIterator[Bystander]:
    """A second driver that computes at a worker throughout; on leaving it must still be able to."""
    async with made.connect("bystander") as driver, anyio.create_task_group() as tasks:
        (worker,) = await driver.wait_for(name)
        person = Bystander(driver, worker)
        tasks.start_soon(person.compute)
        await person.goes_on()
        yield person
        await person.goes_on()
        tasks.cancel_scope.cancel()


def memory(transport: Transport) -> MemoryTransport:
    """The transport as one that a test can pause."""
    assert isinstance(transport, MemoryTransport)
    return transport
