"""Plans: recorded once, stored at a worker with their state, called by one step; what is wrong with one is said."""

from __future__ import annotations

from typing import Any

import anyio
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import asyncsyft
from asyncsyft.errors import AsyncSyftError, LimitExceeded, OpFailed, RemoteProtocolError
from asyncsyft.testing import cluster

pytestmark = pytest.mark.anyio
SECONDS = 50


def model() -> Any:
    """A linear model and the two plans that share its state."""
    state = asyncsyft.State(w=np.zeros((3, 1)))

    @asyncsyft.plan(state=state)
    def train(held: Any, x: Any, y: Any, rate: float = 0.5) -> Any:
        error = x @ held.w - y
        held.w = held.w - x.T @ error * (rate / x.shape[0])
        return (error * error).mean()

    @asyncsyft.plan(state=state)
    def predict(held: Any, x: Any) -> Any:
        return x @ held.w

    return state, train, predict


async def test_a_thousand_steps_are_one_call() -> None:
    @asyncsyft.plan
    def adds(x: Any, y: Any) -> Any:
        for _ in range(1000):
            x = x + y
        return x

    with anyio.fail_after(SECONDS):
        async with cluster("alice") as here:
            alice = here.driver["alice"]
            x, y = await alice.send(np.zeros(10, "f4")), await alice.send(np.ones(10, "f4"))
            for _ in range(3):
                z = adds(x, y)
            assert (await z.get()).tolist() == [1000.0] * 10
            [listed] = await alice.plans()
            assert (listed["kind"], listed["steps"], listed["calls"]) == ("plan", 1000, 3)
    assert len(adds.recorded) == 1


async def test_outputs_come_in_the_form_in_which_they_were_returned_and_static_arguments_record_anew() -> None:
    offset = np.arange(3.0)

    @asyncsyft.plan
    def parts(x: Any, times: int) -> Any:
        for _ in range(times):
            x = x * 2 + offset
        return {"last": x, "sums": (x.sum(), [x.mean()])}

    array = np.array([1.0, 2.0, 3.0])
    with anyio.fail_after(SECONDS):
        async with asyncsyft.local("alice", "bob") as driver:
            for worker in driver.workers.values():
                x = await worker.send(array)
                for times in (1, 3):
                    wanted = array
                    for _ in range(times):
                        wanted = wanted * 2 + offset
                    made = parts(x, times)
                    np.testing.assert_array_equal(await made["last"].get(), wanted)
                    total, [mean] = made["sums"]
                    assert float(await total.get()) == wanted.sum()
                    assert float(await mean.get()) == wanted.mean()
    assert len(parts.recorded) == 2


async def test_training_is_numpys_and_each_worker_has_a_state_of_its_own() -> None:
    state, train, predict = model()
    x = np.random.default_rng(0).normal(size=(40, 3))
    y = x @ np.array([[1.0], [-2.0], [3.0]])
    w = np.zeros((3, 1))
    for _ in range(50):
        w = w - x.T @ (x @ w - y) * (0.5 / 40)
    with anyio.fail_after(SECONDS):
        async with asyncsyft.local("alice", "bob") as driver:
            alice, bob = driver["alice"], driver["bob"]
            rx, ry = await alice.send(x), await alice.send(y)
            for _ in range(50):
                train(rx, ry)
            np.testing.assert_allclose((await state.get(alice))["w"], w)
            np.testing.assert_allclose(await predict(rx).get(), x @ w)
            assert not (await state.get(bob))["w"].any()
            state.set(alice, w=np.ones((3, 1)))
            np.testing.assert_allclose(await predict(rx).get(), x @ np.ones((3, 1)))


async def test_a_call_that_waits_for_its_input_keeps_its_place_among_those_of_its_state() -> None:
    state, train, _ = model()
    x = np.random.default_rng(0).normal(size=(20_000, 3))
    y = x @ np.ones((3, 1))
    with anyio.fail_after(SECONDS):
        async with asyncsyft.local("alice", "bob") as driver:
            alice = driver["alice"]
            there = await driver["bob"].send(x), await driver["bob"].send(y)
            rx, ry = (tensor.move(alice) for tensor in there)  # on their way
            train(rx, ry)
            after = state.at(alice)["w"]
            w = -(x.T @ (-y)) * (0.5 / len(x))
            np.testing.assert_allclose(await after.get(), w)


async def test_a_step_that_fails_names_itself_and_leaves_the_state_as_it_was() -> None:
    state = asyncsyft.State(m=np.zeros((2, 2)))

    @asyncsyft.plan(state=state, name="solver")
    def solve(held: Any, b: Any) -> Any:
        held.m = held.m + 1
        return b.__array_namespace__().linalg.solve(held.m, b)

    with anyio.fail_after(SECONDS):
        async with asyncsyft.local("alice") as driver:
            alice = driver["alice"]
            b = await alice.send(np.ones(2))
            with pytest.raises(OpFailed, match="solver"):
                await (solve(b) + 1).get()
            assert not (await state.get(alice))["m"].any()
            np.testing.assert_array_equal(await (b + 1).get(), [2.0, 2.0])


@pytest.mark.parametrize(
    "needs",
    [lambda x: bool(x), lambda x: x.delete(), lambda x: x.tag("t"), lambda x: 3, lambda x: float(x)],
    ids=["bool", "delete", "tag", "no tensor", "float"],
)
async def test_what_needs_a_value_is_an_error_when_it_is_recorded(needs: Any) -> None:
    @asyncsyft.plan
    def wrong(x: Any) -> Any:
        return needs(x)

    with anyio.fail_after(SECONDS):
        async with asyncsyft.local("alice") as driver:
            x = await driver["alice"].send(np.ones(3))
            with pytest.raises((TypeError, AsyncSyftError)):
                wrong(x)
            await driver.flush()  # nothing was sent
            np.testing.assert_array_equal(await x.get(), np.ones(3))


async def test_a_plan_too_long_for_a_worker_is_refused_and_everything_else_goes_on() -> None:
    @asyncsyft.plan
    def longer(x: Any) -> Any:
        for _ in range(20):
            x = x + 1
        return x

    with anyio.fail_after(SECONDS):
        async with cluster("alice", max_plan_steps=10) as here:
            x = await here.driver["alice"].send(np.ones(3))
            with pytest.raises(LimitExceeded, match="10"):
                await longer(x).get()
            np.testing.assert_array_equal(await (x + 1).get(), np.full(3, 2.0))


async def test_dead_steps_are_dropped_and_results_freed_as_it_runs() -> None:
    @asyncsyft.plan
    def wide(x: Any) -> Any:
        x @ x  # nobody keeps this
        for _ in range(100):
            x = x * 1.0 + 1
        return x

    recorded = wide.record(np.ones((200, 200)))
    assert "matmul" not in str(wide)
    with anyio.fail_after(SECONDS):
        # Room for a few of the arrays, by far not for two hundred.
        async with cluster("alice", limit=8 * 200 * 200 * 8) as here:
            x = await here.driver["alice"].send(np.ones((200, 200)))
            assert float((await wide(x).get())[0, 0]) == 101.0
    assert recorded is wide.recorded[0]


async def test_bytes_carry_a_plan_to_another_program() -> None:
    _, train, _ = model()
    x, y = np.random.default_rng(0).normal(size=(9, 3)), np.ones((9, 1))
    train.record(x, y)
    again = asyncsyft.Plan.from_bytes(train.to_bytes())
    assert str(again) == str(train)
    assert again.graph().startswith("digraph")
    with anyio.fail_after(SECONDS):
        async with asyncsyft.local("alice") as driver:
            rx, ry = await driver["alice"].send(x), await driver["alice"].send(y)
            assert float(await again(rx, ry).get()) == float(await train(rx, ry).get()) == 1.0
            with pytest.raises(TypeError, match="recorded for"):
                again(ry, rx)


@given(st.binary(max_size=200))
def test_other_bytes_are_no_plan(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        asyncsyft.Plan.from_bytes(data)
