"""Journeys in which steps fail: errors are values that flow, say where they came from, and each is raised once."""

from __future__ import annotations

import inspect
import logging
from typing import Any, List

import anyio
import numpy as np
import pytest

from asyncsyft.errors import AsyncSyftError, LimitExceeded, OpFailed, RemoteError, UnknownObject
from tests.journeys.kit import bystander, town

pytestmark = pytest.mark.anyio

SINGULAR = np.zeros((2, 2))


def here() -> str:
    """The caller's next line, as an origin names it."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return f"{__file__}:{frame.f_back.f_lineno + 1}"


def bad(worker: Any, matrix: Any) -> Any:
    """A step that fails at the worker and nowhere before."""
    return worker.call("linalg.inv", matrix)


async def test_a_poisoned_result_names_the_step_that_failed(road: str) -> None:
    async with town(road, "alice") as made, made.connect() as driver, bystander(made):
        (alice,) = await driver.wait_for("alice")
        x = await alice.send(SINGULAR)
        where = here()
        inverse = alice.call("linalg.inv", x)
        later = inverse + x
        last = later * 2
        with pytest.raises(OpFailed, match="ingular") as caught:
            await last.get()
        error = caught.value
        assert (error.worker, error.op, error.kind) == ("alice", "linalg.inv", "ValueError")
        assert error.origin is not None
        assert error.origin.startswith(where)
        assert error.origin in str(error)
        # One cause, one error: whoever asks gets the same, and flush has nothing left to tell.
        with pytest.raises(OpFailed) as again:
            await inverse.get()
        assert again.value is error
        await driver.flush()
        np.testing.assert_array_equal(await (x + 1).get(), np.ones((2, 2)))


async def test_operators_name_the_line_that_wrote_them() -> None:
    async with town("memory", "alice", limit=1 << 12) as made, made.connect() as driver:
        row, column = await driver["alice"].send(np.ones((64, 1))), await driver["alice"].send(np.ones((1, 64)))
        where = here()
        too_large = row + column
        with pytest.raises(LimitExceeded) as caught:
            await too_large.get()
        assert caught.value.origin == f"{where}, in test_operators_name_the_line_that_wrote_them"


async def test_flush_raises_the_earliest_and_lists_the_others_each_once(road: str) -> None:
    async with town(road, "alice") as made, made.connect() as driver:
        (alice,) = await driver.wait_for("alice")
        x = await alice.send(SINGULAR)
        wheres: List[str] = []
        wheres.append(here())
        one = bad(alice, x)
        good = x + 1
        wheres.append(here())
        two = bad(alice, x + x)
        poisoned = one + two
        with pytest.raises(OpFailed) as caught:
            await driver.flush()
        assert [type(error) for error in caught.value.also] == [OpFailed]
        assert len({id(error) for error in [caught.value, *caught.value.also]}) == 2
        await driver.flush()
        with pytest.raises(OpFailed):
            await poisoned.get()
        np.testing.assert_array_equal(await good.get(), np.ones((2, 2)))
        await driver.flush()


async def test_a_failure_that_get_raised_is_not_raised_by_flush_again() -> None:
    async with town("memory", "alice") as made, made.connect() as driver:
        alice = driver["alice"]
        one, two = bad(alice, await alice.send(SINGULAR)), bad(alice, await alice.send(SINGULAR))
        with pytest.raises(OpFailed) as first:
            await one.get()
        with pytest.raises(OpFailed) as second:
            await driver.flush()
        assert second.value is not first.value
        assert second.value.also == []
        await driver.flush()
        del two


async def test_each_task_has_its_own_failures_in_a_scope(road: str) -> None:
    async with town(road, "alice") as made, made.connect() as driver:
        (alice,) = await driver.wait_for("alice")
        begun = anyio.Event()
        caught: List[AsyncSyftError] = []

        async def careless() -> None:
            async with driver.scope() as scope:
                kept = bad(alice, await alice.send(SINGULAR))
                begun.set()
                with pytest.raises(OpFailed) as error:
                    await scope.flush()
                caught.append(error.value)
                await scope.flush()
                del kept

        async def careful() -> None:
            async with driver.scope() as scope:
                await begun.wait()
                x = await alice.send(np.ones(3))
                y = x + x
                await scope.flush()
                np.testing.assert_array_equal(await y.get(), np.full(3, 2.0))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(careful)
            tasks.start_soon(careless)
        assert len(caught) == 1
        await driver.flush()


async def test_a_scope_flushes_when_it_is_left() -> None:
    async with town("memory", "alice") as made, made.connect() as driver:
        x = await driver["alice"].send(SINGULAR)
        with pytest.raises(OpFailed):
            async with driver.scope():
                kept = bad(driver["alice"], x)
        del kept


@pytest.mark.parametrize("answered", [True, False])
async def test_what_nobody_asked_for_is_logged_when_the_driver_closes(
    road: str, answered: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with town(road, "alice") as made:
        async with made.connect() as driver:
            (alice,) = await driver.wait_for("alice")
            x = await alice.send(SINGULAR)
            kept = bad(alice, x)
            if answered:
                await x.get()
            where = f"{__file__}:"
        logged = [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]
        assert len(logged) == 1, logged
        assert "linalg.inv" in logged[0]
        assert where in logged[0]
        del kept


async def test_an_object_that_was_deleted_is_unknown(road: str) -> None:
    async with town(road, "alice") as made, made.connect() as driver, bystander(made):
        (alice,) = await driver.wait_for("alice")
        x = await alice.send(np.ones(3))
        number = x.id
        x.delete()
        x.id = number
        y = x + x
        with pytest.raises(UnknownObject, match=str(number)):
            await y.get()
        with pytest.raises(UnknownObject):
            await driver["alice"].recorder.ask(["info", 0, [12345]])
        x.id = 0
        await driver.flush()


async def test_a_tensor_too_large_for_the_worker_is_refused_where_it_was_sent(road: str) -> None:
    async with town(road, "alice", limit=1 << 20) as made, made.connect() as driver, bystander(made):
        (alice,) = await driver.wait_for("alice")
        with pytest.raises(LimitExceeded, match="limit of 1048576"):
            await alice.send(np.zeros(1 << 18))
        small = [await alice.send(np.zeros(1 << 14)) for _ in range(9)]
        with pytest.raises(LimitExceeded):
            await driver.flush()
        with pytest.raises(RemoteError):
            await small[-1].get()
        assert made.workers["alice"].store.nbytes <= 1 << 20
