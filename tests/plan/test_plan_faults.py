"""What is wrong with a plan is said, costs nothing else, and never gets out of hand: maps, steps, calls, memory."""

from __future__ import annotations

import sys

import anyio
import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import asyncsyft
from asyncsyft import State, plan, program
from asyncsyft.errors import LimitExceeded, OpFailed, Refused, RemoteError, UnknownObject, UnknownOp
from asyncsyft.executor.plans import StoredPlan
from asyncsyft.ops import OPS, Spec
from asyncsyft.remote import RemoteTensor
from asyncsyft.testing import cluster

pytestmark = pytest.mark.anyio

SECONDS = 50
FLOAT = Spec(np.dtype("f8"), ())
HEAD = {"name": "f", "version": 1, "inputs": 2, "state": [], "constants": 0, "outputs": [2], "updates": {}}
ADD = ["add", 2, [0, 1]]


@pytest.fixture
async def driver(anyio_backend):
    with anyio.fail_after(SECONDS):
        async with asyncsyft.local("alice", max_plan_steps=1 << 14) as driver:
            yield driver


def packed(*steps, **head):
    """A plan in the form in which it travels."""
    return b"".join(map(msgpack.packb, [{**HEAD, "steps": len(steps), **head}, *steps]))


def store(alice, data, *constants):
    """Send a plan as a driver would that knows no better; its id."""
    number, document = alice.recorder.new_id(), alice.asarray(np.frombuffer(data, "u1"))
    alice.recorder.record([program.PLAN, number, [document.id, *(constant.id for constant in constants)]])
    return number


def call(alice, number, *inputs, outs=1, **params):
    """Call what is stored under an id; its results."""
    ids = [alice.recorder.new_id() for _ in range(outs)]
    names = [item if isinstance(item, int) else item.id for item in inputs]
    alice.recorder.record([program.CALL, ids, [number, *names], params])
    return [RemoteTensor(alice.recorder, made, FLOAT) for made in ids]


GOOD = {
    "an op": packed(ADD),
    "nothing": packed(outputs=[]),
    "inputs only": packed(outputs=[1, 0, 1]),
    "a literal": packed(["add", 2, [0, ["<f8", 1.0]]]),
    "several results": packed(["unique_counts", [2, 3], [0]], outputs=[3, 2]),
    "params": packed(["sum", 2, [0], {"axis": [0]}]),
    "what a later version says": packed(ADD, more=1),
}
BAD_FORM = {
    "no map": (msgpack.packb([1]), "begins with a map"),
    "nothing at all": (b"", "begins with a map"),
    "no msgpack": (b"\xc1", "sequence of msgpack"),
    "cut within a step": (packed(ADD)[:-1], "a step is a list"),
    "a length that lies": (packed(steps=1) + b"\xdd\xff\xff\xff\xff", "sequence of msgpack"),
    "depth": (packed(steps=1) + b"\x91" * 2000, "sequence of msgpack"),
    "no name": (packed(ADD, name=None), "name"),
    "a long name": (packed(ADD, name="f" * 300), "name"),
    "a version that is no number": (packed(ADD, version="1"), "version"),
    "inputs below nothing": (packed(ADD, inputs=-1), "inputs: not a number from 0"),
    "inputs without end": (packed(ADD, inputs=1 << 40), "inputs: not a number from 0"),
    "true is no number": (packed(ADD, constants=True), "constants: not a number"),
    "a name twice": (packed(ADD, state=["w", "w"]), "each name once"),
    "names that are none": (packed(ADD, state=[3]), "names, texts"),
    "updates of what is no state": (packed(ADD, updates={"w": 2}), "updates of its state"),
    "outputs that are none": (packed(ADD, outputs=5), "has outputs"),
    "an output never written": (packed(ADD, outputs=[3]), "register 3 is never written"),
    "an output below nothing": (packed(ADD, outputs=[-1]), "register -1 is never written"),
    "an update never written": (packed(ADD, state=["w"], updates={"w": 9}), "register 2 is written twice"),
    "read before written": (packed(["add", 2, [0, 2]]), "register 2 is read before it is written"),
    "out of range": (packed(["add", 2, [0, 7]]), "register 7 is read before it is written"),
    "an input written": (packed(["add", 0, [0, 1]]), "register 0 is written twice"),
    "written twice": (packed(ADD, ADD), "register 2 is written twice"),
    "a gap": (packed(["add", 5, [0, 1]]), "register 5 is written before 2"),
    "no step": (packed({"op": "add"}), "a step is a list"),
    "an id that is none": (packed(["add", 2, [0, 1 << 60]]), "not an object id"),
    "a literal that is none": (packed(["add", 2, [0, ["<f8", "1"]]]), "not a literal"),
    "too many steps": (packed(*[["add", n, [0, 1]] for n in range(2, 9)]), "a plan of 7 steps is past"),
    "fewer steps than it says": (packed(ADD, steps=2), "a step is a list"),
    "more steps than it says": (packed(ADD, ["add", 3, [0, 1]], steps=1), "more after the last step"),
    "a number of steps that is none": (packed(ADD, steps=True), "how many steps"),
    "fewer steps than none": (packed(ADD, steps=-1), "how many steps"),
    "too large": (packed(["add", 2, [0, 1], {"a": "x" * 70_000}]), "past this worker's limit"),
}


@pytest.mark.parametrize("what", GOOD)
def test_what_is_a_plan(what):
    data = program.unpack_plan(GOOD[what], 5)
    StoredPlan(data, [])
    assert program.unpack_plan(data.pack(), 5).outputs == data.outputs


@pytest.mark.parametrize("what", BAD_FORM)
def test_what_is_no_plan(what):
    data, message = BAD_FORM[what]
    with pytest.raises((Refused, LimitExceeded), match=message):
        program.unpack_plan(data, 5)


@pytest.mark.parametrize(
    ("step", "error", "message"),
    [
        (["exec", 2, [0, 1]], UnknownOp, "step 0 of plan 'f': no such op: 'exec'"),
        (["call", 2, [0, 1]], UnknownOp, "no such op: 'call'"),  # a plan cannot call a plan, so there is no recursion
        (["plan", 2, [0]], UnknownOp, "no such op"),
        (["get", 2, [0]], UnknownOp, "no such op"),
        (["add", 2, [0]], Refused, r"step 0 of plan 'f': add\(x1, x2\) does not take 1 arrays"),
        (["add", 2, [0, 1], {"where": 1}], Refused, "no parameter 'where'"),
        (["reshape", 2, [0]], Refused, "needs the parameter 'shape'"),
    ],
)
async def test_steps_that_no_worker_could_run(driver, step, error, message):
    data = packed(step)
    with pytest.raises(error, match=message):
        StoredPlan(program.unpack_plan(data, 5), [])
    alice = driver["alice"]
    one = alice.ones(())
    (result,) = call(alice, store(alice, data), one, one)
    with pytest.raises(error, match=message):
        await result.get()
    assert await (one + one).get() == 2


_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 1 << 54) | st.floats() | st.text(max_size=3) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
_REGISTER = st.integers(0, 6) | _PLAIN
_INPUT = _REGISTER | st.tuples(st.sampled_from(["<f8", "|b1", "<c16", "<i8"]), _PLAIN).map(list)
_STEP = _PLAIN | st.tuples(
    st.sampled_from([*sorted(OPS), "call", "get"]) | _PLAIN,
    _REGISTER | st.lists(_REGISTER, max_size=3),
    st.lists(_INPUT, max_size=3),
    st.dictionaries(st.sampled_from(["axis", "dtype", "shape", "key"]), _PLAIN, max_size=2) | _PLAIN,
).map(list)
_HEAD = st.fixed_dictionaries(
    {},
    optional={
        "name": st.just("f") | _PLAIN,
        "version": _PLAIN,
        "inputs": st.integers(0, 3) | _PLAIN,
        "constants": st.integers(0, 1) | _PLAIN,
        "state": st.lists(st.sampled_from(["v", "w"]), max_size=2) | _PLAIN,
        "outputs": st.lists(_REGISTER, max_size=3) | _PLAIN,
        "updates": st.dictionaries(st.sampled_from(["v", "w"]), _REGISTER, max_size=2) | _PLAIN,
    },
)


@given(_HEAD, st.lists(_STEP, max_size=4), st.booleans())
def test_hostile_plans_are_refused_and_nothing_else(head, steps, numbered):
    if numbered:  # so that some come further
        steps = [[step[0], 2 + at, *step[2:]] for at, step in enumerate(steps) if type(step) is list and len(step) == 4]
    try:
        held = StoredPlan(program.unpack_plan(packed(*steps, **head), 3), [])
        inputs = held.given([np.ones(3), np.array(2.0), np.ones(1)][: held.data.inputs], None)
        with np.errstate(all="ignore"):
            held.run(held.compile(inputs), inputs, 1 << 20)
    except (Refused, LimitExceeded, UnknownOp, OpFailed):
        pass


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda tail: packed(steps=1) + tail))
def test_hostile_bytes_are_refused_and_nothing_else(data):
    try:
        program.unpack_plan(data, 3)
    except (Refused, LimitExceeded):
        pass


async def test_calls_that_do_not_fit(driver):
    alice = driver["alice"]
    one, wide, text = alice.ones(()), alice.ones((2, 3)), alice.ones(3, "?")
    number = store(alice, packed(ADD))
    stateful = store(alice, packed(["add", 2, [0, 1]], inputs=1, state=["w"], updates={"w": 2}))
    state = State(v=np.zeros(3))
    cases = [
        (call(alice, number, one), Refused, "plan 'f' takes 2 inputs, not 1"),
        (call(alice, number, one, one, one), Refused, "plan 'f' takes 2 inputs, not 3"),
        (call(alice, number, one, one, outs=2), Refused, "plan 'f' has 1 results, the call names 2"),
        (call(alice, number, text, text), OpFailed, r"step 0 of plan 'f': add: "),
        (call(alice, number, wide, alice.ones(4)), OpFailed, "step 0 of plan 'f': add: "),
        (call(alice, one.id, one, one), Refused, "is no StoredPlan"),
        (call(alice, 1 << 50, one, one), UnknownObject, "never made"),
        (call(alice, stateful, one), Refused, "plan 'f' needs a state with 'w'"),
        (call(alice, stateful, one, one, state=True), Refused, "is no State"),
        (call(alice, stateful, state.id_at(alice.recorder, 1), one, state=True), Refused, "needs a state with 'w'"),
        (call(alice, stateful, 1 << 50, one, state=True), UnknownObject, "never made"),
        (call(alice, number, number, one), Refused, "is no tensor"),
    ]
    for results, error, message in cases:
        with pytest.raises(error, match=message):
            await results[0].get()
    (good,) = call(alice, number, one, one)
    assert await good.get() == 2
    with pytest.raises(Refused, match="is no tensor"):
        await RemoteTensor(alice.recorder, number, FLOAT).get()


async def test_states_that_cannot_be(driver):
    alice = driver["alice"]
    recorder, w = alice.recorder, alice.ones(3)

    def record(op, inputs, params, outs=1):
        made = [recorder.new_id() for _ in range(outs)]
        recorder.record([op, made, inputs, params])
        return made

    (held,) = record(program.STATE, [w.id], {"name": "s", "names": ["w"]})
    bad = [
        record(program.STATE, [w.id], {"name": 3, "names": ["w"]}),
        record(program.STATE, [w.id], {"name": "s", "names": ["w", "v"]}),
        record(program.STATE, [w.id, w.id], {"name": "s", "names": ["w", "w"]}),
        record(program.STATE, [w.id], {"name": "s"}),
        record(program.READ, [held], {"names": ["v"]}),
        record(program.READ, [held], {"names": ["w"]}, outs=2),
        record(program.READ, [w.id], {"names": ["w"]}),
        record(program.READ, [], {}),
    ]
    for made in bad:
        with pytest.raises(RemoteError):
            await RemoteTensor(recorder, made[0], FLOAT).get()
    for inputs, names in [([held, w.id], ["v"]), ([held, w.id, w.id], ["w"]), ([w.id, w.id], ["w"]), ([], ["w"])]:
        record(program.BIND, inputs, {"names": names}, outs=0)
    with pytest.raises(RemoteError) as caught:
        await driver.flush()
    assert len(caught.value.also) == 3
    (read,) = record(program.READ, [held], {"names": ["w"]})
    assert (await RemoteTensor(recorder, read, w.spec).get()).tolist() == [1, 1, 1]


async def test_a_plan_as_long_as_may_be_and_one_step_more(driver):
    @plan
    def f(x, steps):
        for _ in range(steps):
            x = x + 1.0
        return x

    x = driver["alice"].zeros(2)
    assert (await f(x, 1 << 14).get()).tolist() == [1 << 14] * 2  # packed it is larger than a chunk
    result = f(x, (1 << 14) + 1)
    with pytest.raises(LimitExceeded, match="a plan of 16385 steps is past"):
        await result.get()
    assert (await f(x, 3).get()).tolist() == [3, 3]


async def test_a_worker_that_takes_short_plans_only(anyio_backend):
    @plan
    def f(x, steps):
        for _ in range(steps):
            x = x + 1
        return x

    with anyio.fail_after(SECONDS):
        async with asyncsyft.local("alice", max_plan_steps=10) as driver:
            x = driver["alice"].zeros(2)
            assert (await f(x, 10).get())[0] == 10
            result = f(x, 11)
            with pytest.raises(LimitExceeded, match="a plan of 11 steps is past") as caught:
                await driver.flush()
            with pytest.raises(LimitExceeded) as again:
                await result.get()
            assert again.value is caught.value
            assert caught.value.op == "plan"


async def test_constants_past_the_limit_are_told_by_flush_and_by_get(anyio_backend):
    with anyio.fail_after(SECONDS):
        async with asyncsyft.local("alice", limit=1 << 20) as driver:
            alice = driver["alice"]
            state = State(w=np.zeros(1 << 18))
            result = plan(state=state)(lambda state, x: state.w + x)(alice.ones(()))
            with pytest.raises(LimitExceeded, match="would pass the limit"):
                await driver.flush()
            with pytest.raises(LimitExceeded, match="would pass the limit"):
                await result.get()
            assert not state.forget(alice)  # it is not there
            assert await (alice.ones(()) + 1).get() == 2


def line():
    """The line of the caller."""
    return sys._getframe(1).f_lineno


async def test_a_failing_step_is_told_by_plan_step_and_both_lines(driver):
    @plan
    def solve(x):
        y = x * 2.0
        return np.linalg.inv(y) + 1.0

    written = line() - 2
    x = driver["alice"].zeros((2, 2))
    called = line() + 1
    result = solve(x)
    with pytest.raises(OpFailed) as caught:
        await (result + 1).get()
    error = caught.value
    assert (error.op, error.kind, error.worker) == ("linalg.inv", "ValueError", "alice")
    assert error.message.startswith("step 1 of plan 'solve': ")
    name = "test_a_failing_step_is_told_by_plan_step_and_both_lines"
    assert error.origin == f"{__file__}:{written}, in solve, called at {__file__}:{called}, in {name}"
    assert str(error).startswith("linalg.inv at alice: ValueError: step 1 of plan 'solve'")


async def test_lines_of_plans_within_plans_of_states_and_of_known_calls(driver):
    state = State(w=np.zeros((2, 2)))

    @plan(state=state)
    def inner(state, x):
        return np.linalg.inv(state.w + x)

    written = line() - 2

    @plan(state=state)
    def outer(state, x):
        return inner(x) * 2.0

    x = driver["alice"].zeros((2, 2))
    for _ in range(3):
        called, result = line(), outer(x)
        with pytest.raises(OpFailed) as caught:
            await result.get()
        origin = str(caught.value.origin)
        assert f":{written}, in inner, called at " in origin
        assert f":{called}, in test_lines" in origin


async def test_lines_of_storing_reading_and_binding(driver):
    alice = driver["alice"]
    state = State(w=np.zeros(2))
    small = alice.asarray(np.arange(5.0))[alice.asarray(np.array([True, False, False, False, False]))]
    where = line() + 1
    state.set(alice, w=small)
    with pytest.raises(RemoteError) as caught:
        await driver.flush()
    assert f"{__file__}:{where}, in test_lines_of_storing" in str(caught.value.origin)


async def test_a_plan_that_came_as_bytes_knows_only_the_call(driver):
    f = plan(lambda x: np.linalg.inv(x), name="f")
    f.record(np.zeros((2, 2)))
    again = asyncsyft.Plan.from_bytes(f.to_bytes())
    x = driver["alice"].zeros((2, 2))
    where, result = line(), again(x)
    with pytest.raises(OpFailed, match="step 0 of plan 'f'") as caught:
        await result.get()
    assert caught.value.op == "linalg.inv"
    assert str(caught.value.origin).startswith(f"{__file__}:{where}, in test_a_plan_that_came")


@pytest.mark.parametrize("nbytes", [1 << 17, 3 << 17], ids=["sent with the step", "sent in chunks"])
async def test_what_found_no_room_is_stored_by_the_next_call(anyio_backend, nbytes):
    constant = np.ones(nbytes // 8)
    with anyio.fail_after(SECONDS):
        async with cluster("alice", limit=1 << 20) as here:
            alice, store = here.driver["alice"], here.workers["alice"].store
            one, filling = alice.ones(()), alice.zeros((1 << 20) - (1 << 16), "u1")
            f = plan(lambda x: (constant + x).sum())
            results = [f(one), f(one)]
            failing = set(alice.recorder.stored.values())
            assert len(failing) == 1
            with pytest.raises(LimitExceeded, match="would pass the limit") as told:
                await here.driver.flush()
            for result in results:
                with pytest.raises(LimitExceeded) as caught:
                    await result.get()
                assert caught.value is told.value
            filling.delete()
            for _ in range(2):
                assert await f(one).get() == nbytes // 4
            assert [listed["calls"] for listed in await alice.plans()] == [2]
            [space] = store.spaces.values()
            assert failing.isdisjoint(space.poisons)  # what failed is deleted
            assert f.forget(alice)
            await here.driver.flush()
            assert not space.things


async def test_a_state_that_found_no_room_begins_as_it_was_made(anyio_backend):
    state = State(w=np.ones(1 << 14))

    @plan(state=state)
    def more(state, x):
        state.w = state.w + x
        return state.w

    with anyio.fail_after(SECONDS):
        async with asyncsyft.local("alice", limit=1 << 20) as driver:
            alice = driver["alice"]
            one, filling = alice.ones(()), alice.zeros((1 << 20) - (1 << 16), "u1")
            async with driver.scope() as scope:
                result = more(one)
                with pytest.raises(LimitExceeded, match="would pass the limit"):
                    await scope.flush()
            await driver.flush()  # the scope was told, and it alone
            with pytest.raises(LimitExceeded):
                await result.get()
            filling.delete()
            assert (await more(one).get())[0] == 2
            assert (await state.get(alice))["w"][0] == 2


async def test_a_call_that_fails_stores_nothing_again(driver):
    alice = driver["alice"]
    f = plan(np.linalg.inv)
    assert (await f(alice.eye(2)).get())[0, 0] == 1
    with pytest.raises(OpFailed):
        await f(alice.zeros((2, 2))).get()
    sent = alice.recorder.steps_recorded
    assert (await f(alice.eye(2)).get())[1, 1] == 1
    assert alice.recorder.steps_recorded - sent < 6  # eye, call, get, forgotten ones
    assert len(await alice.plans()) == 1
