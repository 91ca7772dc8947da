"""Recording a function: what becomes a step, what a constant, what is static, and what has no place in a plan."""

from __future__ import annotations

import inspect
import sys

import numpy as np
import pytest

import asyncsyft
from asyncsyft import Plan, State, plan
from asyncsyft.errors import LocalProtocolError
from asyncsyft.ops import Spec

pytestmark = pytest.mark.anyio

F4 = np.dtype("f4")
VECTOR = Spec(F4, (3,))


@pytest.fixture(scope="module")
async def driver(anyio_backend):
    async with asyncsyft.local("alice", "bob") as driver:
        yield driver


@pytest.fixture(scope="module")
async def alice(driver):
    return driver["alice"]


def ops_of(recorded):
    return [step.op for step in recorded.data.steps]


async def test_a_call_gives_what_the_function_gives(alice):
    def function(x, y):
        return np.tanh(x @ y) - x.sum(axis=0) / 3

    a, b = np.random.default_rng(0).normal(size=(2, 4, 4)).astype("f4")
    x, y = await alice.send(a), await alice.send(b)
    result = plan(function)(x, y)
    assert (result.dtype, result.shape, result.worker) == (F4, (4, 4), "alice")
    np.testing.assert_allclose(await result.get(), function(a, b), rtol=1e-5)


async def test_it_is_recorded_once_for_each_signature_and_each_static_value(alice):
    runs = []

    @plan
    def f(x, times=1, *, mode="plain"):
        runs.append((x.shape, x.dtype.name, times, mode))
        for _ in range(times):
            x = x + x
        return -x if mode == "negative" else x

    x, wide, whole = alice.ones(3, "f4"), alice.ones((3, 1), "f4"), alice.ones(3, "i4")
    assert (await f(x).get()).tolist() == [2, 2, 2]
    f(x), f(x, 1), f(x=x), f(x, times=1, mode="plain")
    assert len(runs) == 1
    assert (await f(x, 3, mode="negative").get()).tolist() == [-8, -8, -8]
    f(wide), f(whole), f(x, True), f(x, times=3, mode="negative")
    assert runs[1:] == [
        ((3,), "float32", 3, "negative"),
        ((3, 1), "float32", 1, "plain"),
        ((3,), "int32", 1, "plain"),
        ((3,), "float32", True, "plain"),
    ]


@pytest.mark.parametrize(
    "values",
    [
        (0.0, -0.0),
        (1, 1.0),
        (1, True),
        (np.float32(1), np.float64(1)),
        ((1, 2), [1, 2]),
        (0j, complex(-0.0, 0)),
        ("1", 1),
    ],
    ids=repr,
)
async def test_static_values_of_other_types_are_other_values(values):
    @plan
    def f(x, value):
        return x + 1

    for _ in range(2):
        for value in values:
            f.record(VECTOR, value)
    assert len(f.recorded) == 2


async def test_not_a_number_is_the_same_value_each_time():
    f = plan(lambda x, value: x * value)
    for _ in range(3):
        f.record(VECTOR, float("nan"))
    assert len(f.recorded) == 1


async def test_what_nobody_can_compare_is_no_static_value(alice):
    f = plan(lambda x, value: x)
    with pytest.raises(TypeError, match="argument 'value': set is neither a tensor nor a hashable"):
        f(alice.ones(3), {1, 2})
    with pytest.raises(TypeError, match="argument 'value': list"):
        f(alice.ones(3), [1, {2}])


async def test_an_object_is_a_static_value_by_its_identity_and_is_kept():
    class Model:
        pass

    f = plan(lambda x, model: x)
    for _ in range(3):
        f.record(VECTOR, Model())  # gone after the call, and its address is given again
    assert len(f.recorded) == 3


async def test_the_oldest_signatures_are_forgotten(alice, monkeypatch):
    monkeypatch.setattr(sys.modules["asyncsyft.plan.calling"], "MAX_RECORDED", 3)
    f = plan(lambda x, value: x + value)
    x = alice.zeros(2)
    results = [f(x, float(value)) for value in range(10)]
    assert len(f.recorded) == 3
    assert [(await result.get())[0] for result in results] == list(range(10))
    assert len([entry for entry in await alice.plans() if entry["name"] == "<lambda>"]) <= 10


async def test_python_decides_on_static_values_and_shapes(alice):
    @plan
    def f(x, depth):
        if x.ndim > 1:
            x = x.sum(axis=tuple(range(1, x.ndim)))
        return x if depth == 0 else f(x * len(x), depth - 1)  # recursion that ends is inlined

    assert (await f(alice.ones((2, 3)), 2).get()).tolist() == [12, 12]
    assert ops_of(f.recorded[-1]) == ["sum", "multiply", "multiply"]


async def test_recursion_without_end_ends_while_it_is_recorded():
    @plan
    def f(x):
        return f(x + 1)

    with pytest.raises(RecursionError, match="plan 'f' calls itself without end"):
        f.record(VECTOR)
    assert f.recorded == []


async def test_recursion_that_a_static_value_ends(alice):
    @plan
    def power(x, times):
        return power(x * x, times - 1) if times else x

    assert (await power(alice.full(2, 3.0), 3).get()).tolist() == [3.0**8] * 2
    assert ops_of(power.recorded[0]) == ["multiply"] * 3


async def test_names_and_versions_that_no_worker_would_take():
    for change in ({"name": "f" * 257}, {"version": "1"}, {"version": -1}, {"version": True}, {"name": b"f"}):
        with pytest.raises(ValueError, match="a plan has a name of at most 256 characters"):
            plan(lambda x: x, **change)


async def test_tensors_in_lists_tuples_and_maps_both_ways(alice):
    @plan
    def f(weights, *rest, **named):
        return {"all": [w + 1 for w in weights["layers"]], "rest": rest, "named": (named["y"], None)}

    one, two, three, four = (alice.full(2, value) for value in (1.0, 2.0, 3.0, 4.0))
    result = f({"layers": [one, two], "name": "model"}, three, y=four)
    assert [(await w.get())[0] for w in result["all"]] == [2, 3]
    (rest,) = result["rest"]
    assert (await rest.get())[0] == 3
    assert (await result["named"][0].get())[0] == 4
    assert result["named"][1] is None
    assert type(result["rest"]) is tuple
    assert type(result["all"]) is list


async def test_an_input_given_back_and_the_same_tensor_twice(alice):
    @plan
    def f(x, y):
        z = x + y
        return x, z, z, x

    x, y = alice.full(2, 1.0), alice.full(2, 2.0)
    results = f(x, y)
    assert len({result.id for result in results} | {x.id, y.id}) == 6
    del x, y  # what was given back lives on
    assert [(await result.get())[0] for result in results] == [1, 3, 3, 1]
    assert (await f(results[0], results[0])[1].get())[0] == 2


async def test_constants_from_closures(alice):
    array, scalar = np.arange(3, dtype="f4"), np.float32(2)
    plain = 0.5

    @plan
    def f(x):
        for _ in range(5):
            x = x * array + scalar
        return np.where(x > plain, x, array)

    expected = np.zeros(3, "f4")
    for _ in range(5):
        expected = expected * array + scalar
    x = alice.zeros(3, "f4")
    result = f(x)
    array += 100  # a constant is what it was when the plan was recorded
    np.testing.assert_array_equal(await result.get(), np.where(expected > 0.5, expected, np.arange(3)))
    np.testing.assert_array_equal(await f(x).get(), await result.get())
    assert len(f.recorded[0].constants) == 2  # the same constant is kept once


async def test_a_constant_may_be_larger_than_what_travels_with_a_step(alice):
    weights = np.random.default_rng(0).normal(size=(300, 200))
    bias = weights * 2
    f = plan(lambda x: x @ weights + x @ x.__array_namespace__().asarray(bias))
    x = alice.ones((1, 300))
    assert weights.nbytes > 1 << 18
    np.testing.assert_allclose(await f(x).get(), np.ones((1, 300)) @ weights * 3)
    with pytest.raises(ValueError, match=r"await worker\.send\(array\) first"):
        x @ weights
    with pytest.raises(ValueError, match=r"await worker\.send\(array\) first"):
        alice.xp.asarray(weights)


async def test_steps_that_nothing_needs_are_dropped():
    @plan
    def f(x, y):
        unused = np.sin(x) + np.ones(3, "f4")
        for _ in range(10):
            unused = unused * 2
        values, counts = x.__array_namespace__().unique_counts(x)
        return y + 1, values

    recorded = f.record(VECTOR, VECTOR)
    assert ops_of(recorded) == ["unique_counts", "add"]
    assert (recorded.constants, recorded.data.inputs) == ([], 2)
    assert len(recorded.origins) == 2


async def test_plans_within_plans_become_steps_of_one(alice):
    @plan
    def double(x, times=1):
        for _ in range(times):
            x = x + x
        return x

    @plan
    def both(x, y):
        return {"sum": double(x, 2) + double(y), "constant": double(x + np.ones(2, "f4"))}

    x, y = alice.full(2, 1.0, "f4"), alice.full(2, 10.0, "f4")
    result = both(x, y)
    assert (await result["sum"].get()).tolist() == [24, 24]
    assert (await result["constant"].get()).tolist() == [4, 4]
    assert double.recorded == []
    assert "double" not in [entry["name"] for entry in await alice.plans()]


async def test_a_plan_within_a_plan_has_handles_of_its_own():
    @plan
    def clear(x):
        x[0] = 0.0
        return x

    @plan
    def f(x):
        y = clear(x)
        return x, y

    recorded = f.record(VECTOR)
    assert recorded.data.outputs == [0, 1]


async def test_an_array_given_to_a_plan_within_a_plan_is_a_constant(alice):
    inner = plan(lambda x, y: x + y.sum())
    f = plan(lambda x: inner(x, np.array([1.0, 2.0])))
    assert (await f(alice.zeros(2)).get()).tolist() == [3, 3]


async def test_arrays_are_sent_along(alice):
    f = plan(lambda x, y: x + y)
    x = alice.zeros(3)
    mine = np.ones(3)
    result = f(x, mine)
    mine += 1
    assert (await result.get()).tolist() == [1, 1, 1]
    large = np.ones(1 << 16)
    result = f(alice.zeros(1 << 16), large)
    large += 1
    assert (await result.get()).max() == 1
    assert (await f.at(alice)(mine, mine).get()).tolist() == [4, 4, 4]


async def test_parts_replaced_within_a_plan(alice):
    @plan
    def f(x):
        y = x
        x[1] = x[0] + 10
        x[2:] = 0.0
        return x, y + 1

    ours = np.array([1.0, 2.0, 3.0])
    theirs = await alice.send(ours)
    x, y = f(theirs)
    assert (await x.get()).tolist() == [1, 11, 0]
    assert (await y.get()).tolist() == [2, 12, 1]  # y is the same tensor, as in numpy
    assert (await theirs.get()).tolist() == [1, 2, 3]  # and the caller's is another


async def test_dimensions_that_only_the_data_can_tell(alice):
    @plan
    def f(x):
        positive = x[x > 0]
        return positive, positive + positive, np.sum(positive)

    positive, doubled, total = f(await alice.send(np.array([-1.0, 2.0, 3.0])))
    assert positive.shape == (None,)
    assert doubled.shape == (None,)
    assert (await doubled.get()).tolist() == [4, 6]
    assert await total.get() == 5
    again, _, _ = f(doubled)  # a tensor of unknown shape as an input
    assert again.shape == (None,)
    assert (await again.get()).tolist() == [4, 6]
    await doubled.info()
    assert doubled.shape == (2,)


async def test_what_is_created_within_a_plan_comes_from_the_namespace(alice):
    @plan
    def f(x):
        xp = x.__array_namespace__()
        return x + xp.arange(3, dtype="f4") + xp.eye(3, dtype="f4")

    result = await f(alice.zeros(3, "f4")).get()
    np.testing.assert_array_equal(result, np.arange(3) + np.eye(3))


NEEDS_A_VALUE = {
    "bool": lambda x: bool(x),
    "if": lambda x: 1 if x.sum() > 0 else 2,
    "int": lambda x: int(x),
    "float": lambda x: float(x),
    "item": lambda x: x.item(),
    "tolist": lambda x: x.tolist(),
    "in": lambda x: 1 in x,
    "asarray": lambda x: np.asarray(x),
    "index": lambda x: [1, 2][x],
}
HAS_NO_PLACE = {
    "get": lambda x: x.get(),
    "info": lambda x: x.info(),
    "delete": lambda x: x.delete(),
    "tag": lambda x: x.tag("a"),
    "move": lambda x: x.move(None),
}


@pytest.mark.parametrize("way", NEEDS_A_VALUE)
async def test_there_are_no_values(way):
    with pytest.raises(TypeError, match=r"needs the value of a tensor, and while plan asks is recorded there is none"):
        plan(NEEDS_A_VALUE[way], name="asks").record(VECTOR)


@pytest.mark.parametrize("way", HAS_NO_PLACE)
async def test_what_has_no_place_in_a_plan(way):
    with pytest.raises(LocalProtocolError, match=rf"x\.{way}\(\) has no place in plan asks: .* no values"):
        plan(HAS_NO_PLACE[way], name="asks").record(VECTOR)


async def test_an_async_function_is_no_plan():
    async def f(x):
        return x

    with pytest.raises(TypeError, match="async function cannot be recorded"):
        plan(f)


MIXES = {
    "operator": lambda x, outside: x + outside,
    "reflected": lambda x, outside: outside + x,
    "matmul": lambda x, outside: outside @ x,
    "function": lambda x, outside: np.minimum(x, outside),
    "where": lambda x, outside: np.where(outside > 0, x, x),
    "part": lambda x, outside: x[outside],
    "given back": lambda x, outside: (x, outside),
}


@pytest.mark.parametrize("way", MIXES)
async def test_a_tensor_from_outside_is_no_part_of_a_plan(alice, way):
    outside = alice.ones(3, "i4")
    message = r"plan 'mixes' has no value for the tensor at alice: give it as an argument, or make it a state"
    with pytest.raises(ValueError, match=message):
        plan(lambda x: MIXES[way](x, outside), name="mixes").record(VECTOR)


async def test_a_tensor_of_a_plan_is_no_part_of_another(alice):
    kept = []

    @plan
    def leaks(x):
        kept.append(x)
        return x

    leaks.record(VECTOR)
    with pytest.raises(ValueError, match="plan 'f' has no value for the tensor at plan leaks"):
        plan(lambda x: x + kept[0], name="f").record(VECTOR)
    with pytest.raises(LocalProtocolError, match="plan leaks is recorded"):
        kept[0] + 1
    with pytest.raises(ValueError, match="has no value for the tensor at alice"):
        alice.ones(3) + kept[0]


async def test_what_a_plan_gives_back_is_a_tensor_or_nothing(alice):
    with pytest.raises(TypeError, match="returns tensors that it makes, or None, but not int"):
        plan(lambda x: (x, 3)).record(VECTOR)
    with pytest.raises(TypeError, match="returns maps by name, not by 3"):
        plan(lambda x: {3: x}).record(VECTOR)
    assert plan(lambda x: None)(alice.ones(2)) is None


async def test_a_call_needs_one_worker(alice, driver):
    f = plan(lambda x, y=None: x, name="f")
    bob = driver["bob"]
    with pytest.raises(ValueError, match=r"plan 'f': no remote tensor among the arguments: plan\.at\(worker\)"):
        f(np.ones(3))
    f(alice.ones(3), alice.ones(3))  # known by now
    for call in (f, f.at(alice)):
        with pytest.raises(ValueError, match="one tensor is at alice, the other at bob"):
            call(alice.ones(3), bob.ones(3))
    with pytest.raises(ValueError, match="one tensor is at bob, the other at alice"):
        f.at(bob)(alice.ones(3))


async def test_wrong_arguments(alice):
    f = plan(lambda x, y: x)
    x = alice.ones(3)
    for args, kwargs in [((x,), {}), ((x, x, x), {}), ((x, x), {"z": 1}), ((x, x), {"y": 1})]:
        with pytest.raises(TypeError):
            f(*args, **kwargs)
    gone = alice.ones(3)
    assert f(gone, gone).shape == (3,)
    gone.delete()
    with pytest.raises(LocalProtocolError, match="deleted"):
        f(gone, x)


async def test_shapes_that_do_not_fit_are_found_while_it_is_recorded(alice):
    with pytest.raises(ValueError, match="add"):
        plan(lambda x, y: x + y)(alice.ones(3), alice.ones(4))
    with pytest.raises(TypeError, match="bitwise_and"):
        plan(lambda x, y: x & y)(alice.ones(3), alice.ones(3))


async def test_a_plan_is_a_function_by_name_and_with_a_docstring():
    @plan(version=3)
    def forward(x):
        """What it does."""
        return x

    assert (forward.name, forward.version, forward.__doc__) == ("forward", 3, "What it does.")
    assert repr(forward) == str(forward) == "<Plan forward version 3>"
    assert plan(lambda x: x, name="other").name == "other"
    assert isinstance(forward, Plan)
    assert inspect.isfunction(plan)
    assert asyncsyft.plan is plan


async def test_recording_without_a_call(alice):
    f = plan(lambda x, y: x @ y)
    recorded = f.record(Spec(F4, (None, 3)), np.zeros((3, 2), "f4"))
    assert recorded.outputs == [Spec(F4, (None, 2))]
    with pytest.raises(TypeError, match="does not travel"):
        f.record(np.zeros(3, "f2"), VECTOR)
    assert f.record(alice.ones(3), alice.ones(3)).outputs == [Spec(np.dtype("f8"), ())]


async def test_a_state_is_the_first_argument():
    with pytest.raises(TypeError, match="takes that as its first argument"):
        plan(state=State(w=np.ones(3)))(lambda: None)


async def test_a_recording_for_any_size_serves_all_calls_that_fit(alice, driver):
    runs = []

    @plan
    def f(x, y, axis=0):
        runs.append(x.shape)
        return (x - x.mean(axis=axis)) @ y, x > 0

    recorded = f.record(Spec(F4, (None, 3)), Spec(F4, (3, None)))
    assert recorded.outputs == [Spec(F4, (None, None)), Spec(np.dtype("?"), (None, 3))]
    for rows, columns in [(1, 2), (5, 4), (7, 1), (1, 2)]:
        ours, theirs = np.arange(rows * 3, dtype="f4").reshape(rows, 3), np.ones((3, columns), "f4")
        for worker in driver.workers.values():
            product, positive = f.at(worker)(ours, theirs)
            assert (product.shape, positive.shape) == ((rows, columns), (rows, 3))  # known without a round trip
            np.testing.assert_allclose(await product.get(), (ours - ours.mean(axis=0)) @ theirs)
    assert (runs, len(f.recorded)) == ([(None, 3)], 1)
    assert [one["calls"] for one in await alice.plans() if one["name"] == "f"][-1:] == [4]
    f(alice.ones((4, 3)), alice.ones((3, 3)))  # of another dtype
    f(alice.ones((3, 3), "f4"), alice.ones((3, 3), "f4"), axis=1)  # for another static value
    assert runs == [(None, 3), (4, 3), (3, 3)]


async def test_what_is_remembered_of_many_sizes_is_bounded(alice, monkeypatch):
    monkeypatch.setattr(sys.modules["asyncsyft.plan.calling"], "MAX_RECORDED", 4)
    monkeypatch.setattr(sys.modules["asyncsyft.plan.data"], "MAX_OUTPUTS", 4)
    f = plan(lambda x: x[:, None] * x)
    recorded = f.record(Spec(F4, (None,)))
    for size in (*range(1, 11), *range(1, 11)):
        assert f(alice.ones(size, "f4")).shape == (size, size)
        assert 1 <= len(f._known) <= 4
        assert 1 <= len(recorded._outputs) <= 4
    assert f.recorded == [recorded]


async def test_what_was_recorded_for_one_size_is_not_used_where_the_size_is_unknown(alice):
    f = plan(lambda x: x * (1 if x.shape == (3,) else 2))
    x = alice.ones(3)
    assert (await f(x).get())[0] == 1
    assert (await f(x[x > 0]).get())[0] == 2
    assert len(f.recorded) == 2


async def test_a_call_within_any_size_that_cannot_work_is_told_at_once(alice):
    f = plan(lambda x, y: x + y)
    f.record(Spec(F4, (None,)), Spec(F4, (None,)))
    with pytest.raises(ValueError, match="add"):
        f(alice.ones(3, "f4"), alice.ones(4, "f4"))
    x = alice.ones(4, "f4")
    unknown = f(x[x > 0], x)  # only the data can tell
    assert unknown.shape == (4,)
    assert (await unknown.get()).tolist() == [2] * 4
    assert len(f.recorded) == 1
    exact = f.record(Spec(F4, (3,)), Spec(F4, (3,)))
    assert f.recorded == [f.recorded[0], exact]


@pytest.mark.parametrize("way", [len, list, lambda x: x[len(x) // 2]])
async def test_a_size_that_is_not_known_has_no_value(way):
    f = plan(lambda x: [way(x), x][1], name="asks")
    with pytest.raises(TypeError, match="the length is unknown: plan asks is recorded for any"):
        f.record(Spec(F4, (None,)))
    f.record(VECTOR)
