"""What the drivers of a chaos run do: work with known results, in which one lost or doubled step would show."""

from __future__ import annotations

import gc
import traceback
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any, Awaitable, Callable, Dict, List, TypeVar

import anyio
import numpy as np

import asyncsyft
from asyncsyft.driver import RemoteWorker

T = TypeVar("T")

#: Seconds after which something awaited counts as hanging: far more than all that a run lets happen to it.
HANG = 45.0
#: Numbers that a counting plan tells apart.
SLOTS = 512
#: Of small tensors; and how often the largest tensor is halved for the smallest. Few enough for all to be met early:
#: what an op yields is remembered for each shape, up to a bound that is no leak.
LENGTHS, SCALES = (1, 2, 10, 100, 500, 1000), 10
#: What is told of what went wrong.
PROBLEMS, TOLD = 5, 3000
#: Multiplies the checksum of the order in which a plan was called.
FACTOR = 31


@dataclass
class Tally:
    """What one driver did and found in one burst."""

    steps: int = 0
    bytes: int = 0
    steps_lost: int = 0
    steps_doubled: int = 0
    wrong_results: int = 0
    hangs: int = 0
    problems: List[str] = field(default_factory=list)

    def problem(self, told: str) -> None:
        if len(self.problems) < PROBLEMS:
            self.problems.append(told[-TOLD:])


class Burst:
    """Jobs at every worker until told to stop and enough is done; ``largest``: bytes of a tensor at most."""

    def __init__(
        self, driver: asyncsyft.Driver, workers: List[RemoteWorker], steps: int, size: int, largest: int
    ) -> None:
        self.driver, self.workers = driver, workers
        self.tally = Tally()
        self.stopping = False
        self._steps, self._size, self._largest = steps, size, largest
        self._random = Random()
        self._noise = np.random.default_rng().integers(-(1 << 60), 1 << 60, largest // 8)

    @property
    def done(self) -> bool:
        """Whether there is nothing more to do; a driver at which all goes wrong gives up."""
        tally = self.tally
        enough = tally.steps >= self._steps and tally.bytes >= self._size
        return (self.stopping and enough) or len(tally.problems) >= PROBLEMS

    async def run(self) -> Dict[str, Any]:
        """Work; then delete all that was made, at the workers too."""
        async with anyio.create_task_group() as tasks:
            for worker in self.workers:
                for job in (self._count, self._chain, self._call, self._carry):
                    tasks.start_soon(self._again, job, worker)
        gc.collect()
        await self._guarded(self.driver.flush)
        return asdict(self.tally)

    async def _again(self, job: Callable[[RemoteWorker], Awaitable[None]], worker: RemoteWorker) -> None:
        while not self.done:
            await self._guarded(lambda: job(worker))

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do something; what it raises is a result that should have been another."""
        try:
            await work()
        except TimeoutError:
            self.tally.hangs += 1
            self.tally.problem(traceback.format_exc())
        except asyncsyft.AsyncSyftError:
            self.tally.wrong_results += 1
            self.tally.problem(traceback.format_exc())

    async def _soon(self, wait: Awaitable[T]) -> T:
        with anyio.fail_after(HANG):
            return await wait

    def _check(self, what: str, got: Any, wanted: Any) -> None:
        if not np.array_equal(got, wanted):
            self.tally.wrong_results += 1
            self.tally.problem(f"{what}: {np.asarray(got).ravel()[:5]}... where {np.ravel(wanted)[:5]}... was right")

    # The jobs.

    async def _count(self, worker: RemoteWorker) -> None:
        """Call a plan that notes each call in a state: how often with each number, and in which order."""
        slots = np.arange(SLOTS)
        counter = asyncsyft.State("counter", seen=np.zeros(SLOTS, "int64"), order=np.zeros(1, "int64"))

        @asyncsyft.plan(state=counter)  # type: ignore[untyped-decorator]
        def note(state: Any, number: Any) -> None:
            state.seen = state.seen + (number == slots)
            state.order = state.order * FACTOR + number

        seen, order = np.zeros(SLOTS, "int64"), 0
        try:
            while not self.done:
                for _ in range(self._random.randint(1, 200)):
                    number = self._random.randrange(SLOTS)
                    note.at(worker)(np.array([number]))
                    seen[number] += 1
                    order = (order * FACTOR + number) % (1 << 64)
                    self.tally.steps += 1
                await self._soon(self.driver.ready())
                if self._random.random() < 0.3:
                    self._compare(await self._soon(counter.get(worker)), seen, order)
            self._compare(await self._soon(counter.get(worker)), seen, order)
        finally:
            note.forget(worker)
            counter.forget(worker)

    def _compare(self, got: Dict[str, Any], seen: Any, order: int) -> None:
        lost = int(np.maximum(seen - got["seen"], 0).sum())
        doubled = int(np.maximum(got["seen"] - seen, 0).sum())
        if lost or doubled:
            self.tally.steps_lost += lost
            self.tally.steps_doubled += doubled
            self.tally.problem(f"of {seen.sum()} steps {lost} were lost and {doubled} doubled")
            seen[:] = got["seen"]  # and each of them is counted once
        elif int(got["order"].view("uint64")[0]) != order:
            self.tally.wrong_results += 1
            self.tally.problem("the steps of a plan ran in another order")

    async def _chain(self, worker: RemoteWorker) -> None:
        """Ordinary steps, each on the result of the last."""
        start = np.arange(self._random.choice(LENGTHS))
        x = y = await self._soon(worker.send(start))
        count = self._random.randint(1, 300)
        for _ in range(count):
            y = y + x
        self.tally.steps += count
        await self._soon(self.driver.ready())
        self._check("a chain of steps", await self._soon(y.get()), start * (count + 1))

    async def _call(self, worker: RemoteWorker) -> None:
        """Awaited calls, one after another."""
        start = np.arange(10)
        x = await self._soon(worker.send(start))
        for number in range(10):
            self._check("a call", await self._soon((x * number).get()), start * number)
        self.tally.steps += 10

    async def _carry(self, worker: RemoteWorker) -> None:
        """A tensor of any size there, and what became of it back."""
        count = int(self._largest / 8 * 2 ** -(self._random.randrange(4 * SCALES) / 4))
        array = self._noise[self._random.randrange(len(self._noise) - count + 1) :][:count]
        x = await self._soon(worker.send(array))
        self._check("a tensor", await self._soon((x ^ 1).get()), array ^ 1)
        self.tally.bytes += 2 * array.nbytes
        self.tally.steps += 1
