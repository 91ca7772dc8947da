"""Federated averaging: the data stays where it is, the parameters travel; and the same thing without any network."""

from __future__ import annotations

from typing import Any, Callable, List, Sequence, Tuple

import anyio
import numpy as np

from ..driver import Driver, RemoteWorker
from ..remote import RemoteTensor
from ..tensor import Array
from .data import Digits
from .model import Batch, batches, beginning, learn, right

ROUNDS = 6

#: Told the round, and how many test digits were right before it.
Progress = Callable[[int, int], None]


class Federation:
    """Learns from what the workers call ``digits``; ``accuracy`` is of the final model."""

    def __init__(self, driver: Driver, test: Digits, progress: Progress) -> None:
        self.driver, self.test, self.progress = driver, test, progress
        self.model: List[Array] = []
        self.accuracy = 0.0
        self.round_trips = 0

    async def run(self) -> None:
        """All rounds: in each the workers get the model, learn from their own data, and give back what became of it."""
        workers = list(self.driver.workers.values())
        mine = [await self.find(worker) for worker in workers]
        test = [await workers[0].send(part) for part in self.test]
        self.round_trips += len(test)
        self.model = beginning(self.test.pixels.shape[1])
        for number in range(ROUNDS + 1):
            models = [await send(worker, self.model) for worker in workers]
            wanted = [right(models[0], *test)]
            if number < ROUNDS:
                for model, data in zip(models, mine):
                    wanted += learn(model, data)
            count, *parts = await self.together(wanted)
            if parts:
                size = len(self.model)
                self.model = average([parts[at : at + size] for at in range(0, len(parts), size)])
            self.accuracy = int(count) / len(self.test.labels)
            self.progress(number, int(count))

    async def find(self, worker: RemoteWorker) -> List[Batch]:
        """The worker's own digits in batches: handles on them, not the data."""
        found = [await worker.search(f"digits.{name}") for name in Digits._fields]
        self.round_trips += len(found)
        (pixels,), (labels,) = found
        return batches(pixels, labels)

    async def together(self, tensors: Sequence[RemoteTensor]) -> List[Array]:
        """The data of all of these, asked for at once: one round trip."""
        arrays: List[Any] = [None] * len(tensors)

        async def get(at: int) -> None:
            arrays[at] = await tensors[at].get()

        async with anyio.create_task_group() as tasks:
            for at in range(len(tensors)):
                tasks.start_soon(get, at)
        self.round_trips += 1
        return arrays


async def send(worker: RemoteWorker, model: Sequence[Array]) -> List[RemoteTensor]:
    """The parameters at a worker; each is small enough that nothing is waited for."""
    return [await worker.send(part) for part in model]


def average(models: Sequence[Sequence[Array]]) -> List[Array]:
    """The mean of each parameter over the models."""
    return [np.mean(parts, axis=0) for parts in zip(*models)]


def locally(parts: Sequence[Digits], test: Digits, progress: Progress) -> Tuple[List[Array], float]:
    """The same training on arrays in this process, in the same order: the parameters, and the accuracy."""
    mine = [batches(*part) for part in parts]
    model, count = beginning(test.pixels.shape[1]), 0
    for number in range(ROUNDS + 1):
        count = int(right(model, *test))
        if number < ROUNDS:
            model = average([learn(model, data) for data in mine])
        progress(number, count)
    return model, count / len(test.labels)
