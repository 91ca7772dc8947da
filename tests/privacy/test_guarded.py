"""Programs on private data at a worker: what is computed stays private, and nothing that is answered tells of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List

import anyio
import numpy as np
import pytest

from asyncsyft import ops
from asyncsyft.cli.requests import _who
from asyncsyft.executor import guarded
from asyncsyft.executor.plans import State
from asyncsyft.identity import Key, fingerprint
from asyncsyft.ops import Spec
from asyncsyft.privacy import Private, guard_of, passed, policy_of, public
from asyncsyft.privacy.guard import SUMS
from asyncsyft.privacy.passing import ELEMENTWISE, FOLDS, SUMMING
from asyncsyft.program import PlanData, Step
from asyncsyft.wire import Failure
from tests.ends import Asked
from tests.ops.op_samples import DTYPES, SAMPLES, inputs
from tests.test_executor import Room, codes, is_done

X = np.arange(12.0).reshape(4, 3)


def room(release: str = "never", array: Any = X) -> Room:
    """A worker with private data, which a driver has as object 1."""
    made = Room()
    value = np.asarray(array)
    made.store.policies["bob/x"] = policy_of(release)
    made.store.load("x", Private(value, guard_of("bob/x", value)), ["ward"])
    assert codes(made.send(["search", 0, [], {"query": ["x"], "base": 1, "most": 1}])) == {}
    return made


def why(asked: Asked) -> List[Any]:
    return [(failure.step, failure.code, failure.kind, failure.message) for failure in asked.failed_with]


def held(made: Room, number: int) -> Any:
    """What an object is: a private value is shown as what it holds, in a tuple."""
    value = made.space.outcome(number)
    return (value.array,) if isinstance(value, Private) else value


def test_what_is_made_of_private_data_is_private_and_a_get_names_the_label() -> None:
    made = room()
    asked = made.send(
        ["add", 2, [1, 1]], ["sum", 3, [2]], ["linalg.svd", [4, 5, 6], [2]], ["get", 0, [3]], ["get", 0, [1]],
        ["zeros_like", 7, [1]],
    )  # fmt: skip
    refused = "it depends on bob/x, which is private there (never): nothing made of it leaves"
    assert why(asked) == [(3, "Refused", "", refused), (4, "Refused", "", refused)]
    assert asked.values == []
    assert is_done(asked)
    assert made.space.objects == {}
    for number in range(1, 8):
        value = made.space.things[number]
        assert isinstance(value, Private)
        assert value.guard.labels == {"bob/x"}
    np.testing.assert_array_equal(held(made, 3)[0], 2 * X.sum())
    assert codes(made.send(["delete", 0, [2, 3, 4, 5, 6, 7]])) == {}
    assert made.store.objects == 2  # the worker's own, and the driver's alias
    assert made.space.nbytes == made.space.things[1].nbytes > X.nbytes


def test_labels_come_together() -> None:
    made = room("always")
    other = np.ones(4)
    made.store.load("y", Private(other, guard_of("bob/y", other)))
    made.send(["search", 0, [], {"query": ["y"], "base": 2, "most": 1}], ["matmul", 3, [2, 1]])
    value = made.space.things[3]
    assert isinstance(value, Private)
    assert value.guard.labels == {"bob/x", "bob/y"}
    ((_, code, _, message),) = why(made.send(["get", 0, [3]]))
    assert code == "Refused"
    assert message.startswith("it depends on bob/y (and on bob/x), which is private there (never)")


@pytest.mark.parametrize("step", [["info", 0, [1]], ["search", 0, [], {"query": ["x"], "base": 5, "most": 1}]])
def test_what_is_told_of_private_data(step: List[Any]) -> None:
    ((_, value),) = room("aggregate:4").send(step).values
    (told,) = [value] if step[0] == "info" else value
    told.pop("id", None)
    name = {"name": "x", "tags": ["ward"]} if step[0] == "search" else {"name": "", "tags": []}
    about = {"dtype": "<f8", "shape": [4, 3], "nbytes": 96, "private": {"bob/x": "aggregate:4"}}
    assert told == {**about, **name}


# Aggregates.


def test_moments_leave_and_rows_do_not() -> None:
    made = room("aggregate:4")
    asked = made.send(
        ["mean", 2, [1], {"axis": 0}], ["matrix_transpose", 3, [1]], ["sum", 4, [1]], ["get", 0, [2]], ["get", 0, [4]],
        ["get", 0, [1]], ["getitem", 5, [1], {"key": [0]}], ["get", 0, [5]], ["add", 6, [1, ["<f8", 1e16]]],
        ["sum", 7, [6]], ["get", 0, [7]],
    )  # fmt: skip
    values = dict(asked.values)
    np.testing.assert_array_equal(values[3], X.mean(0))
    assert values[4] == X.sum()
    assert set(codes(asked)) == {5, 7, 10}
    beyond = "sums, means, variances and x.T @ y over all of its rows as they are leave, if they are at least 4, and"
    beyond += " what is made of these afterwards; this is"
    assert [message.split("4): ")[1] for *_, message in why(asked)] == [
        f"{beyond} no such sum",
        f"{beyond} no such sum",
        f"{beyond} made of sums over 4, and of something else than such sums",
    ]
    assert codes(room("aggregate:5").send(["sum", 2, [1]], ["get", 0, [2]])) == {1: "Refused"}


def test_training_counts_rows() -> None:
    made = room("training:3")
    steps = []
    for number, (start, stop) in enumerate([(0, 2), (1, 4)], 2):
        steps += [["getitem", 10 * number, [1], {"key": [["s", start, stop, None]]}]]
        steps += [["exp", 10 * number + 1, [10 * number]], ["sum", number, [10 * number + 1]], ["get", 0, [number]]]
    asked = made.send(*steps, ["add", 4, [2, 3]], ["get", 0, [4]])
    assert codes(asked) == {3: "Refused"}
    assert why(asked)[0][3].endswith(
        "what sums up at least 3 of its rows leaves; this is made of sums over 2, and of something else than such sums"
    )
    np.testing.assert_allclose(dict(asked.values)[9], np.exp(X[0:2]).sum() + np.exp(X[1:4]).sum())


# Nothing tells of the values.


FAILING: List[Any] = [
    ["linalg.inv", 2, [1]], ["linalg.cholesky", 3, [1]], ["astype", 4, [1], {"dtype": "<i8"}],
    ["add", 5, [4, ["<i8", 99]]], ["take", 6, [1, 5], {"axis": 0}], ["getitem", 7, [1, 5], {"key": [["a", 0]]}],
    ["negative", 8, [5]], ["pow", 9, [4, 8]], ["take_along_axis", 10, [4, 5]], ["linalg.solve", 11, [1, 1]],
]  # fmt: skip


def test_an_op_that_fails_because_of_the_values_does_not_fail() -> None:
    """A failure is a bit; with a threshold of one's own before it, so many as one likes."""
    made, fine = room(array=np.zeros((3, 3))), room(array=np.eye(3))
    for one in (made, fine):
        assert why(one.send(*FAILING)) == []
    shapes = [{n: (v.dtype, v.shape) for n, v in r.space.things.items()} for r in (made, fine)]  # type: ignore
    assert shapes[0] == shapes[1]
    assert np.isnan(held(made, 2)[0]).all()
    assert not held(made, 10)[0].any()
    np.testing.assert_array_equal(held(fine, 2)[0], np.eye(3))
    assert codes(made.send(["get", 0, [2]])) == {0: "Refused"}


@pytest.mark.parametrize("step", [["linalg.svd", [7, 8, 9], [1]], ["linalg.pinv", 7, [1]]])
@pytest.mark.parametrize("entry", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("dtype", ["<f4", "<f8", "<c8", "<c16"])
def test_no_value_keeps_a_worker_busy_for_ever(step: List[Any], entry: float, dtype: str) -> None:
    """There are builds of LAPACK that never come back from a 3 by 3 matrix with an infinite entry."""
    array = np.array([[-1, 0, -1], [1, -1, 0], [entry, 0, -1]], dtype)
    made = room(array=array)
    assert why(made.send(step)) == []
    assert np.isnan(held(made, 7)[0]).all()
    made.put(2, array)
    assert codes(made.send([step[0], 20 if step[0] == "linalg.pinv" else [20, 21, 22], [2]])) == {0: "OpFailed"}


@pytest.mark.parametrize(
    "step",
    [
        ["nonzero", [8, 9], [1]], ["unique_values", 8, [1]], ["unique_counts", [8, 9], [1]],
        ["getitem", 8, [1, 2], {"key": [["a", 0]]}], ["repeat", 8, [1, 3], {"axis": 0}],
        ["getitem", 8, [4, 2], {"key": [["a", 0]]}],
    ],
)  # fmt: skip
def test_shapes_that_would_tell_are_refused(step: List[Any]) -> None:
    made = room()
    asked = made.send(
        ["greater", 2, [1, ["<f8", 5.0]]], ["arange", 3, [], {"start": 4}], ["zeros", 4, [], {"shape": [4, 3]}], step,
        ["get", 0, [8]],
    )  # fmt: skip
    ((at, code, _, message), (_, later, _, _)) = why(asked)
    assert (at, code, later) == (3, "Refused", "Refused")
    assert message == f"{step[0]}: the shape of its result would show what private data holds"


def test_errors_of_shapes_and_dtypes_are_told_as_ever() -> None:
    made = room()
    made.put(2, np.ones((2, 2)))
    asked = made.send(["matmul", 3, [1, 2]], ["sum", 4, [1], {"axis": 7}], ["bitwise_and", 5, [1, 1]], ["add", 6, [1]])
    assert set(codes(asked).values()) == {"OpFailed"}
    assert "shape" in why(asked)[0][3]


def test_no_other_way_out() -> None:
    made = room()
    made.put(2, np.arange(3.0))
    packed = np.frombuffer(PlanData("f", 1, 0, [], 1, [], [0], {}).pack(), np.uint8)
    made.put(3, packed)
    asked = made.send(
        ["plan", 10, [1]], ["plan", 11, [3, 1]], ["move", 0, [1], {"to": b"\3" * 8, "ticket": b"t" * 16}],
        ["mpc.run", [], [1], {"session": b"s" * 16}], ["setitem", 12, [2, 1], {"key": [0]}], ["put", 13, [1], {}],
        ["call", 14, [1]], ["read", 15, [1], {"names": ["a"]}],
    )  # fmt: skip
    assert asked.values == []
    assert "4." not in str(why(asked))
    assert not made.space.objects.keys() - {2, 3}
    assert set(codes(asked)) == set(range(8))


def test_nothing_is_written_over_private_data() -> None:
    """Neither by a step that takes the short way nor by another: its title and its grants are its own."""
    made = room()
    made.put(2, X)
    for step in (["add", 1, [2, 2]], ["add", 1, [2, 2], {}], ["negative", 1, [2]]):
        assert codes(made.send(step)) == {0: "Refused"}
        assert 1 not in made.space.objects
    (told,) = [value for _, value in made.send(["info", 0, [1]]).values]
    assert set(told["private"]) == {"bob/x"}


def test_a_query_is_bounded() -> None:
    """It is written down."""
    made = room()
    for query, code in ((["x"] * 64, None), (["x"] * 65, "LimitExceeded"), (["y" * 257], "Refused")):
        asked = made.send(["search", 0, [], {"query": query, "base": 9, "most": 1}])
        assert codes(asked).get(0) == code


def test_a_key_that_a_relay_speaks_of_is_shown_as_such() -> None:
    made = room("ask")
    talk = made.pair.far
    talk.name, talk.key, talk.their_can = "lab", Key.new().public, {"lasting": True}
    made.send(["get", 0, [1]])
    (wish,) = made.executor.releases.waiting.values()
    assert not wish.asked("bob/x").sealed
    assert _who(wish.describe()) == f"lab ({fingerprint(talk.key)}, not sealed)"
    talk.seal = object()  # type: ignore[assignment]
    assert wish.asked("bob/x").sealed
    assert _who(wish.describe()) == f"lab ({fingerprint(talk.key)})"


@pytest.mark.parametrize("name", ["lab (SHA256:abc)", "lab  get  bob/x", "lab\x1b[2J\n"])
def test_a_name_is_not_taken_for_more(name: str) -> None:
    told = _who({"who": name, "key": "", "sealed": True})
    assert told == repr(name)
    assert told.isprintable()


def test_a_move_that_is_refused_is_refused_at_the_other_end_too() -> None:
    made = room("aggregate:4")
    to = {"to": b"\3" * 8, "ticket": b"t" * 16}
    asked = made.send(["move", 0, [1], to], ["sum", 2, [1]], ["move", 0, [2], {**to, "ticket": b"u" * 16}])
    assert codes(asked) == {0: "Refused"}
    offers = {ticket: outcome for (_, ticket), outcome in made.space.offers.items()}
    assert isinstance(offers[b"t" * 16], Failure)
    assert offers[b"u" * 16] == X.sum()


# Plans and states.


def plan_of(made: Room, number: int, data: PlanData) -> None:
    made.put(900, np.frombuffer(data.pack(), np.uint8))
    assert codes(made.send(["plan", number, [900]], ["delete", 0, [900]])) == {}


def test_a_plan_with_private_inputs_gives_private_results() -> None:
    made = room("aggregate:4")
    steps = [
        Step("square", (2,), (0,), {}),
        Step("sum", (3,), (2,), {"axis": 0}),
        Step("add", (4,), (1, np.array(1.0)), {}),
    ]
    plan_of(made, 10, PlanData("f", 1, 2, [], 0, steps, [2, 3, 4, 1], {}))
    made.put(11, np.arange(3.0))
    asked = made.send(
        ["call", [20, 21, 22, 23], [10, 1, 11]], ["get", 0, [20]], ["get", 0, [21]], ["get", 0, [22]], ["get", 0, [23]]
    )
    assert codes(asked) == {1: "Refused"}
    values = dict(asked.values)
    np.testing.assert_array_equal(values[2], np.square(X).sum(0))
    np.testing.assert_array_equal(values[3], np.arange(3.0) + 1)
    assert made.space.outcome(23) is made.space.outcome(11)
    assert (made.space.outcome(10).calls, made.executor.steps_run > 0) == (1, True)  # type: ignore[union-attr]


def test_a_state_is_private_once_private_data_went_into_it() -> None:
    made = room("training:4")
    steps = [
        Step("matmul", (2,), (0, 1), {}),
        Step("matrix_transpose", (3,), (0,), {}),
        Step("matmul", (4,), (3, 2), {}),
        Step("subtract", (5,), (1, 4), {}),
    ]
    plan_of(made, 10, PlanData("train", 1, 1, ["w"], 0, steps, [], {"w": 5}))
    made.put(11, np.ones(3))
    made.send(["state", 12, [11], {"name": "m", "names": ["w"]}])
    state = made.space.things[12]
    assert isinstance(state, State)
    asked = made.send(
        ["call", [], [10, 12, 1], {"state": True}], ["read", [13], [12], {"names": ["w"]}], ["get", 0, [13]],
        ["call", [], [10, 12, 1], {"state": True}], ["bind", [], [12, 1], {"names": ["w"]}], ["plans", 0, []],
        ["bind", [], [12, 13], {"names": ["w"]}],
    )  # fmt: skip
    assert codes(asked) == {4: "Refused"}  # for its shape
    assert state.is_private
    ((step, first),) = asked.values[:1]
    np.testing.assert_array_equal(first, np.ones(3) - X.T @ (X @ np.ones(3)))
    assert step == 2
    assert made.space.nbytes >= 0


async def sent(made: Room, *steps: Any) -> Asked:
    """As ``made.send``, where a thread may take over."""
    with anyio.fail_after(20):
        async with anyio.create_task_group() as made.executor.tasks:
            asked = made.send(*steps)
        made.pair.pump()
    assert is_done(asked)
    return asked


@pytest.mark.anyio
async def test_a_plan_fails_as_a_whole_and_says_where() -> None:
    made = room()
    steps = [Step("add", (1,), (0, 0), {}), Step("nonzero", (2, 3), (1,), {})]
    plan_of(made, 10, PlanData("f", 1, 1, [], 0, steps, [1], {}))
    asked = await sent(made, ["call", [20], [10, 1]], ["get", 0, [20]])
    (first, _) = asked.failed_with
    assert (first.code, first.op) == ("Refused", "call/1/nonzero")
    assert codes(asked) == {0: "Refused", 1: "Refused"}


@pytest.mark.anyio
async def test_a_plan_of_public_and_private_steps_agrees_with_one_that_is_public() -> None:
    random = np.random.RandomState(0)
    steps = [
        Step("linalg.inv", (2,), (1,), {}),
        Step("matmul", (3,), (0, 2), {}),
        Step("unique_values", (4,), (1,), {}),
        Step("concat", (5,), (3, 3), {}),
        Step("linalg.svd", (6, 7, 8), (5,), {"full_matrices": False}),
    ]
    data = PlanData("f", 1, 2, [], 0, steps, [5, 7, 4], {})
    square = random.normal(size=(3, 3))
    made = room()
    plan_of(made, 10, data)
    made.put(11, square)
    made.put(12, X)
    asked = await sent(made, ["call", [20, 21, 22], [10, 1, 11]], ["call", [30, 31, 32], [10, 12, 11]])
    assert codes(asked) == {}
    for one, other in ((20, 30), (21, 31)):
        np.testing.assert_array_equal(held(made, one)[0], made.space.objects[other])
    np.testing.assert_array_equal(made.space.objects[22], made.space.objects[32])


@pytest.mark.anyio
async def test_a_private_call_is_measured_before_it_runs() -> None:
    made = room()
    grow = [Step("broadcast_to", (1,), (0,), {"shape": [1000, 1000, 4, 3]}), Step("exp", (2,), (1,), {})]
    plan_of(made, 10, PlanData("f", 1, 1, [], 0, grow, [2], {}))
    made.store.limit = 1 << 20
    assert codes(await sent(made, ["call", [20], [10, 1]])) == {0: "LimitExceeded"}
    assert codes(made.send(["broadcast_to", 21, [1], {"shape": [1000, 1000, 4, 3]}])) == {0: "LimitExceeded"}


# The rule itself, over the whole table.

TAKING = [name for name in sorted(SAMPLES) if ops.OPS[name].max_arrays != 0]


@pytest.mark.parametrize("name", TAKING)
def test_each_op_of_the_table_keeps_the_label(name: str) -> None:
    """With one input private, or all, results are private, and as the op gives them; or only the data has the shape."""
    kinds, calls = SAMPLES[name]
    dtype = next(d for d in reversed(DTYPES) if d.kind in kinds)
    done = 0
    for one in calls:
        arrays, params = inputs(one, dtype), one[1]
        for hidden in [range(len(arrays)), [0], [len(arrays) - 1]] if arrays else []:
            values = [Private(a, guard_of("bob/x", a)) if at in hidden else a for at, a in enumerate(arrays)]
            specs = ops.infer(name, tuple(Spec(a.dtype, a.shape) for a in arrays), params)
            assert passed(name, values, params, specs).labels == {"bob/x"}
            if any(None in spec.shape for spec in specs):
                done += 1
                continue
            step = Step(name, tuple(range(len(specs))), tuple(range(len(values))), params)
            with np.errstate(all="ignore"):
                results = guarded.compute(step, values, specs)
            assert all(isinstance(result, Private) for result in results)
            for result, wanted in zip(results, ops.run(name, arrays, params)):
                np.testing.assert_array_equal(public(result), wanted)
            done += 1
    assert done


@pytest.mark.parametrize("name", sorted(FOLDS | ELEMENTWISE | {"matmul"}))
def test_sums_that_are_counted_hold_every_row(name: str) -> None:
    """Whatever the op, what claims to sum up all rows changes only a little when one of many rows does."""
    kinds, calls = SAMPLES[name]
    dtype = next(d for d in reversed(DTYPES) if d.kind in kinds)
    for one in calls:
        arrays, params = inputs(one, dtype), one[1]
        specs = ops.infer(name, tuple(Spec(a.dtype, a.shape) for a in arrays), params)
        guard = passed(name, [Private(a, guard_of("bob/x", a)) for a in arrays], params, specs)
        if guard.form == SUMS:
            assert name in SUMMING or name == "matmul"
            assert guard.count("bob/x") == max(a.shape[0] for a in arrays if a.ndim)


def test_where_an_owner_s_function_lies_is_not_told(tmp_path: Path) -> None:
    (tmp_path / "rules.py").write_text("def release(asked):\n    return False\n")
    text = f"{tmp_path / 'rules.py'}:release"
    assert policy_of(text).text == "rules.py:release"
    ((_, told),) = room(text).send(["info", 0, [1]]).values
    assert told["private"] == {"bob/x": "rules.py:release"}
