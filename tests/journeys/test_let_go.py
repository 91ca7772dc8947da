"""What an error that was raised keeps alive: nothing, once the program has let go of it."""

from __future__ import annotations

import gc
import traceback
import weakref
from typing import Any, Awaitable, Callable, List

import anyio
import numpy as np
import pytest

from asyncsyft.errors import AsyncSyftError, LinkClosed, OpFailed, WorkerLost, fresh
from tests.journeys.kit import town

pytestmark = pytest.mark.anyio

SINGULAR = np.zeros((2, 2))


class Model:
    """Something large that a program has at hand when it meets an error."""


async def meets(raises: Callable[[], Awaitable[Any]], kind: Any) -> weakref.ref[Model]:
    """What was at hand, after a failure was met and handled."""
    model = Model()
    try:
        await raises()
    except kind as error:
        assert traceback.extract_tb(error.__traceback__)[0].name == "meets"
    else:
        raise AssertionError("nothing was raised")
    return weakref.ref(model)


def gone(*models: weakref.ref[Model]) -> bool:
    gc.collect()
    return [model() for model in models] == [None] * len(models)


async def test_a_failure_that_was_raised(road: str) -> None:
    async with town(road, "alice") as made, made.connect() as driver:
        (alice,) = await driver.wait_for("alice")
        x = await alice.send(SINGULAR)
        inverse = alice.call("linalg.inv", x)
        at_flush = await meets(driver.flush, OpFailed)
        at_get = await meets(inverse.get, OpFailed)
        assert gone(at_flush, at_get)
        # It is known still, and told in the same words, while somebody has it as the same object.
        with pytest.raises(OpFailed, match=r"recorded at .*test_let_go.py") as caught:
            await (inverse + x).get()
        with pytest.raises(OpFailed) as again:
            await inverse.get()
        assert again.value is caught.value


async def test_the_loss_of_a_worker(road: str) -> None:
    async with town(road, "alice") as made, made.connect() as driver:
        (alice,) = await driver.wait_for("alice")
        x = await alice.send(np.ones(3))
        await driver.flush()

        async def record() -> None:
            alice.ones(3)

        met: List[Any] = []
        async with anyio.create_task_group() as tasks:

            async def wait() -> None:
                met.append(await meets((x + 1).get, WorkerLost))

            for _ in range(3):
                tasks.start_soon(wait)
            await anyio.lowlevel.checkpoint()
            driver.peer.roads[0].link.abort(LinkClosed("cut"))
        for _ in range(3):
            met += [await meets(x.get, WorkerLost), await meets(record, WorkerLost)]
        assert gone(*met)
        with pytest.raises(WorkerLost) as caught:
            alice.ones(3)
        assert len(traceback.extract_tb(caught.value.__traceback__)) < 10


def test_a_fresh_error_is_alike() -> None:
    error = OpFailed("singular", worker="alice", op="inv", kind="ValueError", origin="train.py:12")
    error.also.append(LinkClosed("b"))
    try:
        raise error
    except AsyncSyftError:
        other = fresh(error)
    assert (type(other), str(other), other.worker, other.args) == (OpFailed, str(error), "alice", error.args)
    assert other.__traceback__ is None
    assert other.also == []
    assert len(error.also) == 1
