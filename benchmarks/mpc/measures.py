"""What is measured of asyncsyft's sessions, however their members are linked."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import Any, AsyncIterator, Awaitable, Callable, Dict, List, Mapping, NamedTuple, Sequence

import numpy as np

import asyncsyft
from asyncsyft import SecretTensor
from benchmarks.mpc import work
from benchmarks.mpc.members import Reached, session
from benchmarks.stacks import WARM_UP, Measure, Sample

#: Elements of the products of whole numbers, and of the ReLU, whose hops and bytes are counted.
COUNTED = 10**5


class Counts(NamedTuple):
    """What a session counted."""

    hops: int
    online: int  # bytes that the party opened that opened most
    dealt: int

    @classmethod
    def of(cls, mpc: asyncsyft.MPC) -> Counts:
        stats = mpc.stats
        return cls(stats["hops"], max(stats["opened"]), stats["dealt"])

    def since(self, before: Counts, operations: float) -> Dict[str, float]:
        """Of each operation."""
        names = ("hops", "online", "dealt")
        return {name: (now - then) / operations for name, now, then in zip(names, self, before)}


def rescaled(value: SecretTensor) -> SecretTensor:
    """As another library leaves a product: at the scale of its factors, ready for whatever comes next."""
    return SecretTensor(value.mpc, value.mpc.circuit.rescale(value.node))


def used_again(value: SecretTensor) -> SecretTensor:
    """As the factor of a product that comes next, opened under a mask."""
    return SecretTensor(value.mpc, value.mpc.circuit.factor(value.node))


@asyncsyft.plan
def multiplied(x: Any, y: Any) -> Any:
    return rescaled(x * y)


@asyncsyft.plan
def matrix_product(x: Any, y: Any) -> Any:
    return rescaled(x @ y)


@asyncsyft.plan
def whole_product(x: Any, y: Any) -> Any:
    return used_again(x * y)


@asyncsyft.plan
def relu(x: Any) -> Any:
    return used_again(x.relu())


@asyncsyft.plan
def network(x: Any, *layers: Any) -> Any:
    for weights, biases in zip(layers[:-2:2], layers[1:-2:2]):
        x = (x @ weights + biases).relu()
    return x @ layers[-2] + layers[-1]


PLANS: Mapping[str, Any] = {"mul_1e6": multiplied, "matmul_512": matrix_product, "relu_1e6": relu}


class Measures:
    """Of one session; what an operation needs is shared when it is measured first."""

    def __init__(self, here: Reached) -> None:
        self._here, self.mpc = here, here.mpc
        self._shared: Dict[str, List[Any]] = {}

    async def _inputs(self, name: str, arrays: Sequence[Any]) -> List[Any]:
        if name not in self._shared:
            self._shared[name] = [await self.mpc.share(array) for array in arrays]
        return self._shared[name]

    async def _timed(self, seconds: float, unit: str, step: Callable[[], Awaitable[float]]) -> Sample:
        """``step`` does some operations, and says how many."""
        before, done, start = Counts.of(self.mpc), 0.0, time.perf_counter()
        while not done or time.perf_counter() < start + seconds:
            done += await step()
        took = time.perf_counter() - start
        await self.mpc.flush()  # the dealer's counts come with its last answer
        return Sample(done, took, unit, Counts.of(self.mpc).since(before, done))

    def operation(self, name: str) -> Measure:
        """On secrets that are shared before; what comes out stays shared."""

        async def take(seconds: float) -> Sample:
            asked = work.operation(name)
            inputs = await self._inputs(name, asked.inputs)
            results: List[Any] = []

            async def step() -> float:
                results[:] = [PLANS[name](*inputs)]
                await self.mpc.flush()
                return 1

            sample = await self._timed(seconds, "times", step)
            work.check(await results[0].reveal(), asked.wanted, asked.within)
            return sample

        return take

    async def sequential_mul(self, seconds: float) -> Sample:
        """Each multiplication as it is written, of what the one before it gave; no plan knows what comes."""
        length = work.length_of(seconds)
        one, factor = await self._inputs("sequential_mul", [np.ones(1), np.full(1, work.FACTOR)])

        async def step() -> float:
            x = one
            for _ in range(length):
                x = x * factor
            work.check_sequence(await x.reveal(), length)
            return length

        return await self._timed(seconds, "products", step)

    def network(self, size: int) -> Measure:
        """From images that alice holds to results that the driver learns, with weights that are bob's."""

        async def take(seconds: float) -> Sample:
            made = work.network()
            if "network" not in self._shared:
                held = [await self._here.bob.send(array) for layer in made.layers for array in layer]
                self._shared["network"] = [await self.mpc.share(array) for array in held]
            at_alice = await self._here.alice.send(made.batch(size))
            await self._here.driver.flush()

            results: List[Any] = []

            async def step() -> float:
                out = network(await self.mpc.share(at_alice), *self._shared["network"])
                results.append(await out.reveal())
                return 1

            sample = await self._timed(seconds, "times", step)
            for out in results:
                made.check(out)
            return sample

        return take

    async def whole_products(self, seconds: float) -> Sample:
        """Products of whole numbers that are used again: what is counted of them does not depend on the machine."""
        whole = np.arange(COUNTED) - COUNTED // 2
        x, y = await self._inputs("whole", [whole, whole[::-1].copy()])
        results: List[Any] = []

        async def step() -> float:
            results[:] = [whole_product(x, y)]
            await self.mpc.flush()
            return COUNTED

        await step()  # what is shared is opened once
        sample = await self._timed(min(seconds, WARM_UP), "elements", step)
        work.check(await results[0].reveal(), whole * whole[::-1], 0)
        return sample


@asynccontextmanager
async def all_measures(ports: Sequence[int]) -> AsyncIterator[Mapping[str, Measure]]:
    async with session(ports) as here:
        made = Measures(here)
        measures = {name: made.operation(name) for name in PLANS}
        measures.update({f"mlp_b{size}": made.network(size) for size in work.BATCHES})
        yield {**measures, "sequential_mul": made.sequential_mul, "whole_products": made.whole_products}
