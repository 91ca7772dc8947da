"""What plans keep at a worker: start values, updates, reading, order, and what a failing call leaves behind."""

from __future__ import annotations

import gc

import anyio
import numpy as np
import pytest

import asyncsyft
from asyncsyft import State, plan
from asyncsyft.errors import LocalProtocolError, OpFailed
from asyncsyft.testing import cluster

pytestmark = pytest.mark.anyio

SECONDS = 50


@pytest.fixture
async def driver(anyio_backend):
    with anyio.fail_after(SECONDS):
        async with asyncsyft.local("alice", "bob") as driver:
            yield driver


def counting():
    """A state with a counter, and the plan that adds to it."""
    state = State("counter", total=np.zeros(2))

    @plan(state=state)
    def add(state, x):
        state.total = state.total + x
        return state.total

    return state, add


async def listed(worker, kind):
    return [entry for entry in await worker.plans() if entry["kind"] == kind]


async def test_start_values_updates_and_reading(driver):
    alice = driver["alice"]
    state, add = counting()
    assert (await state.get(alice))["total"].tolist() == [0, 0]
    results = [add(alice.full(2, value)) for value in (1.0, 2.0, 3.0)]
    assert [(await result.get())[0] for result in results] == [1, 3, 6]
    assert (await state.get(alice))["total"].tolist() == [6, 6]
    before = state.at(alice)
    add(alice.full(2, 10.0))
    assert (await before["total"].get())[0] == 6  # as it was when it was read
    assert (await state.at(alice)["total"].get())[0] == 16


async def test_what_it_starts_with_is_a_copy(driver):
    start = np.ones(3)
    state = State(w=start)
    start[:] = 7
    assert (await state.get(driver["alice"]))["w"].tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="read-only"):
        state.arrays["w"][0] = 1


async def test_each_worker_for_itself(driver):
    state, add = counting()
    for worker, value in ((driver["alice"], 1.0), (driver["bob"], 2.0)):
        for _ in range(3):
            add(worker.full(2, value))
    assert (await state.get(driver["alice"]))["total"][0] == 3
    assert (await state.get(driver["bob"]))["total"][0] == 6


async def test_set_binds_names_anew_all_or_none(driver):
    alice = driver["alice"]
    state = State(w=np.zeros(2), b=np.zeros((), "f4"))
    state.set(alice, w=alice.full(2, 5.0), b=np.float32(3))
    assert {name: value.tolist() for name, value in (await state.get(alice)).items()} == {"w": [5, 5], "b": 3}
    mine = np.full(2, 9.0)
    state.set(alice, w=mine)
    mine[:] = 0
    assert (await state.get(alice))["w"].tolist() == [9, 9]
    with pytest.raises(AttributeError, match="no 'v': w, b"):
        state.set(alice, v=mine)
    with pytest.raises(TypeError, match=r"state.w is float64\[2\], not float64\[3\]"):
        state.set(alice, w=np.ones(3), b=np.float32(1))
    with pytest.raises(TypeError, match=r"state.w is float64\[2\], not float32\[2\]"):
        state.set(alice, w=alice.ones(2, "f4"))
    with pytest.raises(ValueError, match="one tensor is at alice, the other at bob"):
        state.set(alice, w=driver["bob"].ones(2))
    # What only the data can tell is found at the worker, and nothing is bound.
    some = (await alice.send(np.arange(5.0)))[await alice.send(np.array([True, True, True, False, False]))]
    state.set(alice, b=np.float32(8), w=some)
    with pytest.raises(asyncsyft.AsyncSyftError, match=r"'w' of the state 'state' is float64\[2\], not float64\[3\]"):
        await driver.flush()
    assert {name: value.tolist() for name, value in (await state.get(alice)).items()} == {"w": [9, 9], "b": 3}


async def test_two_plans_share_a_state(driver):
    alice = driver["alice"]
    state = State("model", w=np.array([1.0, 2.0]), seen=np.zeros(()))
    predict = plan(state=state)(lambda state, x: x @ state.w)

    @plan(state=state)
    def train(state, x):
        state.w = state.w + x
        state.seen += 1

    x = alice.ones(2)
    assert train(x) is None
    assert await predict(x).get() == 5
    train(x)
    assert await predict(x).get() == 7
    assert len(await listed(alice, "state")) == 1
    assert predict.recorded[0].data.state == ["w"]  # what a plan does not use is not asked for
    assert (await state.get(alice))["seen"] == 2


async def test_a_part_of_a_state_replaced_is_an_update(driver):
    alice = driver["alice"]
    state = State(w=np.zeros(3))

    @plan(state=state)
    def put(state, x):
        w = state.w
        w[1] = x
        state.w[2] = x + 1

    put(alice.full((), 5.0))
    assert (await state.get(alice))["w"].tolist() == [0, 5, 6]


async def test_a_state_given_back_and_not_bound_is_no_update(driver):
    alice = driver["alice"]
    state = State(w=np.arange(3.0))

    @plan(state=state)
    def look(state, x):
        state.w = state.w
        return state.w, x

    w, _ = look(alice.ones(1))
    assert (await w.get()).tolist() == [0, 1, 2]
    assert look.recorded[0].data.updates == {}
    assert (await listed(alice, "state"))[0]["version"] == 1


async def test_a_name_keeps_its_dtype_and_shape():
    state = State(w=np.zeros(3))

    def record(bind):
        def function(state, x):
            state.w = bind(x)

        plan(state=state)(function).record(np.zeros(4))

    with pytest.raises(TypeError, match=r"state.w is float64\[3\], not float64\[4\]"):
        record(lambda x: x)
    with pytest.raises(TypeError, match=r"state.w is float64\[3\], not float32\[3\]"):
        record(lambda x: x[:3].astype("f4"))
    with pytest.raises(TypeError, match="bound to a tensor of the plan, not to ndarray"):
        record(lambda x: np.zeros(3))


async def test_names():
    with pytest.raises(ValueError, match="underscore: _w"):
        State(_w=np.zeros(3))
    with pytest.raises(ValueError, match="at most 256"):
        State("x" * 300)
    state = State("mine", name=np.zeros(3), self=np.zeros(2))
    assert sorted(state.arrays) == ["name", "self"]
    assert repr(state) == "<State mine, name=float64[3], self=float64[2]>"

    @plan(state=state)
    def f(state, x):
        assert dir(state) == ["name", "self"]
        with pytest.raises(AttributeError, match="the state has no 'other': name, self"):
            state.other  # noqa: B018
        with pytest.raises(AttributeError, match="the state has no 'other'"):
            state.other = x
        return state.name

    f.record(np.zeros(1))


async def test_arrays_are_no_attributes_outside_of_a_function():
    state = State(w=np.zeros(3))
    with pytest.raises(AttributeError, match=r"has no attribute 'w' here: .* @plan\(state=\.\.\.\)"):
        plan(lambda x: x + state.w).record(np.zeros(3))
    with pytest.raises(AttributeError, match="a state has no attribute 'v'$"):
        _ = state.v
    assert not hasattr(State.__new__(State), "arrays")


async def test_a_tensor_from_outside_is_not_bound(driver):
    outside = driver["alice"].zeros(3)

    @plan(state=State(w=np.zeros(3)))
    def f(state, x):
        state.w = outside

    with pytest.raises(ValueError, match="plan 'f' has no value for the tensor at alice"):
        f.record(np.zeros(1))


async def test_a_plan_of_the_same_state_within(driver):
    alice = driver["alice"]
    state, add = counting()

    @plan(state=state)
    def twice(state, x):
        add(x)
        return add(x) * 10

    assert (await twice(alice.ones(2)).get()).tolist() == [20, 20]
    assert (await state.get(alice))["total"].tolist() == [2, 2]
    for outer in (plan(lambda x: add(x)), plan(state=State(total=np.zeros(2)))(lambda state, x: add(x))):
        with pytest.raises(LocalProtocolError, match="must have the same to call it"):
            outer(alice.ones(2))


async def test_training_equals_numpy(driver):
    random = np.random.default_rng(1)
    data, truth = random.normal(size=(50, 3)), np.array([[1.0], [-2.0], [0.5]])
    labels = data @ truth + 1
    state = State("linear", w=np.zeros((3, 1)), b=np.zeros(1))

    @plan(state=state)
    def train(state, x, y, rate):
        error = x @ state.w + state.b - y
        state.w = state.w - (x.T @ error) * (rate / len(x))
        state.b = state.b - np.mean(error, axis=0) * rate
        return np.mean(error * error)

    w, b, losses = np.zeros((3, 1)), np.zeros(1), []
    for _ in range(100):
        error = data @ w + b - labels
        w, b = w - (data.T @ error) * (0.1 / len(data)), b - np.mean(error, axis=0) * 0.1
        losses.append(np.mean(error * error))
    alice = driver["alice"]
    x, y = await alice.send(data), await alice.send(labels)
    results = [train(x, y, 0.1) for _ in range(100)]
    trained = await state.get(alice)
    np.testing.assert_allclose(trained["w"], w)
    np.testing.assert_allclose(trained["b"], b)
    np.testing.assert_allclose([await result.get() for result in results], losses)
    (entry,) = await listed(alice, "state")
    assert (entry["name"], entry["version"]) == ("linear", 101)
    assert entry["arrays"] == {"w": ["float64", [3, 1]], "b": ["float64", [1]]}
    assert entry["nbytes"] == 32


async def test_a_failing_call_leaves_the_state_and_poisons_its_results(driver):
    alice = driver["alice"]
    state = State(w=np.eye(2), count=np.zeros(()))

    @plan(state=state)
    def invert(state, x):
        state.count += 1
        state.w = np.linalg.inv(x)
        return state.w + 1, state.count

    good, bad = await alice.send(np.eye(2) * 2), alice.zeros((2, 2))
    invert(good)
    w, count = invert(bad)
    later = w * 2
    invert(good)
    invert(later)  # poisoned: it is not run
    for tensor in (w, count, later):
        with pytest.raises(OpFailed, match="ingular"):
            await tensor.get()
    after = await state.get(alice)
    assert (after["count"], after["w"].tolist()) == (2, [[0.5, 0], [0, 0.5]])
    (entry,) = await listed(alice, "state")
    assert entry["version"] == 3
    await driver.flush()  # one cause, told once


async def test_order_holds_while_an_input_is_on_its_way(driver):
    alice, bob = driver["alice"], driver["bob"]
    state, add = counting()
    ours = np.full(2, 100.0)
    here = await alice.send(ours)
    moved = here.move(bob)  # pending at bob for as long as it takes
    one = bob.ones(2)
    first = add(moved)
    read = state.at(bob)["total"]
    second = add(one)
    state.set(bob, total=np.full(2, -1.0))
    third = add(one)
    assert [(await tensor.get())[0] for tensor in (first, read, second, third)] == [100, 100, 101, 0]
    assert (await state.get(bob))["total"][0] == 0


async def test_a_read_keeps_its_place_before_a_later_update(driver):
    alice, bob = driver["alice"], driver["bob"]
    state, add = counting()
    add(bob.ones(2))
    await driver.flush()
    # One program: the read stands beside a step that waits, and must not see what a later program does.
    moved = (await alice.send(np.zeros(2))).move(bob)
    read = state.at(bob)["total"] + moved
    bob.recorder.close_program()
    add(bob.full(2, 5.0))
    assert (await read.get()).tolist() == [1, 1]
    assert (await state.get(bob))["total"].tolist() == [6, 6]


async def test_who_waits_for_something_else_too_keeps_its_turn(driver):
    """The state passes from program to program in order, also if one whose turn it is still waits for an input."""
    alice, bob = driver["alice"], driver["bob"]
    state = State(w=np.ones(1))

    @plan(state=state)
    def step(state, factor, term):
        state.w = state.w * factor + term
        return state.w

    start, one = await alice.send(np.ones(1)), bob.ones(1)
    await driver.flush()
    expected, results = 1.0, []
    for number in range(20):
        # Alice computes for longer and longer until she offers: what is awaited comes in any order.
        value = start * float(number)
        for _ in range((20 - number) * 30):
            value = value + 0.0
        results.append(step(one * 2.0, value.move(bob)))
        bob.recorder.close_program()
        results.append(step(one, one))
        bob.recorder.close_program()
        results.append(state.at(bob)["w"])
        bob.recorder.close_program()
    for number in range(20):
        expected = expected * 2 + number
        assert (await results[3 * number].get())[0] == expected
        expected += 1
        assert (await results[3 * number + 1].get())[0] == expected
        assert (await results[3 * number + 2].get())[0] == expected


async def test_large_start_values_are_on_their_way_while_calls_follow(driver):
    alice = driver["alice"]
    state = State(w=np.zeros(200_000), small=np.ones(3))

    @plan(state=state)
    def add(state, x):
        state.w = state.w + x
        return np.sum(state.w)

    results = [add(alice.ones(1)) for _ in range(5)]
    assert [await result.get() for result in results] == [200_000.0 * n for n in range(1, 6)]
    state.set(alice, w=np.full(200_000, 2.0))
    assert await add(alice.zeros(1)).get() == 400_000
    assert (await state.get(alice))["w"].sum() == 400_000
    await driver.flush()
    stats = await alice.stats()
    assert stats["bytes"] < 200_000 * 8 * 1.1  # what brought the start values is gone


async def test_a_thousand_calls_without_waiting(driver):
    state, add = counting()
    one = driver["alice"].ones(2)
    for _ in range(1000):
        result = add(one)
    assert (await result.get())[0] == 1000
    (entry,) = await listed(driver["alice"], "plan")
    assert (entry["calls"], entry["name"], entry["steps"], entry["state"]) == (1000, "add", 1, ["total"])


async def test_forgetting_begins_anew(driver):
    alice = driver["alice"]
    state, add = counting()
    assert (state.forget(alice), add.forget(alice)) == (False, False)
    before = add(alice.ones(2))
    assert (state.forget(alice), state.forget(alice)) == (True, False)
    assert (await before.get())[0] == 1
    assert (await add(alice.ones(2)).get())[0] == 1
    assert (add.forget(alice), add.forget(alice)) == (True, False)
    await driver.flush()
    assert len(await alice.plans()) == 1  # the state
    assert (await add(alice.ones(2)).get())[0] == 2
    del state, add
    gc.collect()
    await driver.flush()
    assert await alice.plans() == []


async def test_what_python_forgets_goes_without_a_message_of_its_own(driver):
    alice = driver["alice"]
    state, add = counting()
    results = [add(alice.ones(2)) for _ in range(3)]
    await driver.flush()
    assert len(await alice.plans()) == 2
    steps = alice.recorder.steps_recorded
    del state, add
    gc.collect()
    assert (alice.recorder.steps_recorded, alice.recorder.stored) == (steps, {})
    assert len(alice.recorder.forgotten) == 2
    assert (await results[-1].get())[0] == 3  # the deletes leave with the next program
    assert await alice.plans() == []


async def test_calls_under_way_outlive_the_plan(driver):
    alice, bob = driver["alice"], driver["bob"]
    moved = (await alice.send(np.full(2, 4.0))).move(bob)
    state, add = counting()
    result = add(moved)
    again = add(moved)
    del state, add
    gc.collect()
    bob.recorder.close_program()
    assert [(await tensor.get())[0] for tensor in (result, again)] == [4, 8]
    assert await bob.plans() == []


async def test_a_worker_that_comes_back_new_gets_all_again(anyio_backend):
    with anyio.fail_after(SECONDS):
        async with cluster("alice") as here:
            state, add = counting()
            first = here.driver["alice"]
            assert (await add(first.ones(2)).get())[0] == 1
            add(first.ones(2))
            async with asyncsyft.Worker("bob") as bob:
                await bob.join(await here.dial())
                (second,) = await here.driver.wait_for("bob")
                assert (await add(second.ones(2)).get())[0] == 1
            while "bob" in here.driver.workers:
                await anyio.lowlevel.checkpoint()
            async with asyncsyft.Worker("bob") as bob:
                await bob.join(await here.dial())
                (third,) = await here.driver.wait_for("bob")
                assert third is not second
                assert (await add(third.full(2, 5.0)).get())[0] == 5
            del second, third
            gc.collect()
            state.forget(first), add.forget(first)
            assert (await add(first.ones(2)).get())[0] == 1


async def test_recorded_again_for_another_dtype_it_is_stored_beside(driver):
    alice = driver["alice"]
    f = plan(lambda x: x + 1, name="f")
    f(alice.ones(2)), f(alice.ones(2, "i4")), f(alice.ones(3)), f(alice.ones(3))
    entries = await listed(alice, "plan")
    assert [(entry["name"], entry["calls"]) for entry in entries] == [("f", 1), ("f", 1), ("f", 2)]
