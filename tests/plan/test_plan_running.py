"""What a plan costs a worker: memory, the loop that it must not hold up, and the limits it is held to."""

from __future__ import annotations

import tracemalloc

import anyio
import numpy as np
import pytest

import asyncsyft
from asyncsyft import State, ops, plan
from asyncsyft.errors import LimitExceeded
from asyncsyft.executor.compiling import FREE
from asyncsyft.executor.plans import MAX_CODES, StoredPlan
from asyncsyft.ops import Spec
from asyncsyft.store import Space
from asyncsyft.testing import cluster

pytestmark = pytest.mark.anyio

SECONDS = 50
MEGABYTE = 1 << 20
LARGE = Spec(np.dtype("u1"), (MEGABYTE,))


def stored(function, *specs):
    """The function as a worker holds it, and its code for inputs of these specs."""
    recorded = plan(function).record(*specs)
    held = StoredPlan(recorded.data, recorded.constants)
    given = [np.ones(spec.shape, spec.dtype) for spec in specs]
    return held, given, held.compile(given)


def peak_of(held, code, given):
    """Bytes allocated at once while a plan runs."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        held.run(code, given, 1 << 40)
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def chain(x):
    for _ in range(1000):
        x = x + x
    return x


def ladder(x):
    """Two long arms that meet in the end, and results that nobody reads between."""
    one, two = x + x, x - x
    for _ in range(250):
        one, two = one + two, two * one
    return one + two


def tree(x):
    """Widest in its middle: eight results at once, beside the one being made."""
    leaves = [x + np.uint8(n) for n in range(8)]
    while len(leaves) > 1:
        leaves = [a + b for a, b in zip(leaves[::2], leaves[1::2])]
    return leaves[0]


async def test_constants_that_fill_more_than_half_of_a_worker_are_held_once(anyio_backend):
    weights = np.ones((5, MEGABYTE // 4), "f4")
    with anyio.fail_after(SECONDS):
        async with cluster("alice", limit=8 * MEGABYTE) as here:
            alice = here.driver["alice"]
            x = alice.ones(MEGABYTE // 4, "f4")
            first, other = plan(lambda x: weights @ x), plan(lambda x: -weights @ x)
            assert (await first(x).get() == MEGABYTE // 4).all()
            await here.driver.flush()
            assert 6 * MEGABYTE <= here.workers["alice"].store.nbytes < 7 * MEGABYTE
            other(x)
            with pytest.raises(LimitExceeded, match="would pass the limit"):  # its 5 MB are more
                await here.driver.flush()


@pytest.mark.parametrize(("function", "widest"), [(chain, 2), (ladder, 4), (tree, 9)])
def test_results_are_freed_as_it_runs(function, widest):
    held, given, code = stored(function, LARGE)
    assert code.peak <= widest * MEGABYTE
    with np.errstate(all="ignore"):
        assert peak_of(held, code, given) <= code.peak + MEGABYTE // 8


def test_a_result_that_nobody_reads_is_emptied_at_once():
    def function(x):
        total = x.sum()
        for _ in range(20):
            values, inverse = x.__array_namespace__().unique_inverse(x + total)
            total = total + values.sum()  # nobody reads the inverse
        return total

    recorded = plan(function).record(Spec(np.dtype("f8"), (MEGABYTE // 8,)))
    held = StoredPlan(recorded.data, recorded.constants)
    given = [np.ones(MEGABYTE // 8)]
    code = held.compile(given)
    assert code.cost is None
    assert peak_of(held, code, given) <= 8 * MEGABYTE
    registers = held.run(code, given, 1 << 40)
    alive = [register for register in registers[:-1] if isinstance(register, np.ndarray) and register.ndim]
    assert [array.nbytes for array in alive] == [MEGABYTE]  # the input


def test_a_small_view_does_not_keep_a_large_array():
    def function(x):
        parts = [(x + np.uint8(n))[:3] for n in range(50)]
        return np.concatenate(parts)

    held, given, code = stored(function, LARGE)
    assert code.peak < 2 * MEGABYTE
    assert peak_of(held, code, given) < 2.2 * MEGABYTE


def test_inputs_and_constants_stay_as_they_are():
    constant = np.full(4, 3.0)

    def function(x, y):
        x = x * 2.0 + constant
        x[1] = y
        return x - constant, constant + y

    recorded = plan(function).record(constant, np.zeros(()))
    held = StoredPlan(recorded.data, recorded.constants)
    given = [np.ones(4), np.array(7.0)]
    code = held.compile(given)
    for _ in range(3):
        registers = held.run(code, given, 1 << 40)
        assert registers[code.outputs[0]].tolist() == [2, 4, 2, 2]
    assert (given[0].tolist(), given[1].tolist()) == ([1, 1, 1, 1], 7)
    assert [array.tolist() for array in held.constants] == [[3.0] * 4]


@pytest.mark.parametrize("dtypes", [("f4", "f4"), ("f4", "f8"), ("i2", "u4"), ("?", "?"), ("c8", "f4"), ("u1", "i8")])
@pytest.mark.parametrize("shapes", [((3,), (3,)), ((2, 3), (3,)), ((), ()), ((1,), ()), ((0, 3), (1, 1))])
def test_elementwise_ops_give_what_they_give_by_themselves(dtypes, shapes):
    """Where dtypes fit a plan calls numpy itself: it must be the same as the op."""
    random = np.random.default_rng(0)
    given = [random.integers(1, 5, shape).astype(dtype) for shape, dtype in zip(shapes, dtypes)]
    names = [name for name, op in ops.OPS.items() if op.direct]
    assert len(names) > 50
    for name in names:
        inputs = given[: ops.OPS[name].max_arrays]
        specs = tuple(map(ops.spec_of, inputs))
        try:
            ops.infer(name, specs, {})
        except TypeError:
            continue
        xp = {"name": name}

        def function(*arrays, xp=xp):
            return asyncsyft.remote.tensor.call(xp["name"], *arrays)[0]

        recorded = plan(function).record(*specs)
        held = StoredPlan(recorded.data, recorded.constants)
        with np.errstate(all="ignore"):
            result = np.asarray(held.run(code := held.compile(inputs), inputs, 1 << 40)[code.outputs[0]])
        (expected,) = ops.run(name, inputs, {})
        assert (result.dtype, result.shape) == (expected.dtype, expected.shape), name
        np.testing.assert_array_equal(result, expected, name)


def test_compiled_codes_are_bounded():
    recorded = plan(lambda x: x + 1).record(Spec(np.dtype("f4"), (None,)))
    held = StoredPlan(recorded.data, recorded.constants)
    for length in range(3 * MAX_CODES):
        given = [np.ones(length, "f4")]
        code = held.code(given) or held.compile(given)
        assert held.code(given) is code
        assert len(held._codes) <= MAX_CODES


def test_freeing_is_part_of_the_code():
    _, _, code = stored(lambda x, y: (x + y) * (x - y), LARGE, LARGE)
    assert [two for *_, two in code.instructions].count(FREE) == 1  # the result took the place of the other


async def test_the_widest_point_is_checked_before_it_runs(anyio_backend):
    with anyio.fail_after(SECONDS):
        async with cluster("alice", limit=8 * MEGABYTE) as here:
            alice = here.driver["alice"]
            x = await alice.send(np.ones(MEGABYTE, "u1"))
            state = State(calls=np.zeros(()))

            @plan(state=state)
            def wide(state, x, branches):
                state.calls += 1
                parts = [x + np.uint8(n) for n in range(branches)]
                while len(parts) > 1:
                    parts = [a + b for a, b in zip(parts[::2], parts[1::2])]
                return parts[0]

            assert (await wide(x, 4).get())[0] == 10
            too_wide = wide(x, 16)
            with pytest.raises(LimitExceeded, match="would pass the limit"):
                await too_wide.get()
            assert (await state.get(alice))["calls"] == 1
            assert here.workers["alice"].store.nbytes < 4 * MEGABYTE


@pytest.mark.parametrize(("function", "widest"), [(chain, 2), (ladder, 4), (tree, 9)])
async def test_a_call_of_a_thousand_steps_holds_no_more_than_its_widest_point(
    anyio_backend, monkeypatch, function, widest
):
    held = []
    grow = Space.grow

    def growing(space, nbytes):
        grow(space, nbytes)
        held.append(space.nbytes)

    f = plan(function)
    with anyio.fail_after(SECONDS), np.errstate(all="ignore"):
        async with asyncsyft.local("alice") as driver:
            alice = driver["alice"]
            x = alice.ones(MEGABYTE, "u1")
            f(x)  # stored
            await driver.flush()
            monkeypatch.setattr(Space, "grow", growing)
            tracemalloc.start()
            try:
                result = f(x)
                await driver.flush()
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            # What is stored is the input, the plan and the result; what runs is beside it, and freed as it goes.
            assert MEGABYTE <= peak <= widest * MEGABYTE + MEGABYTE // 2
            assert 2 * MEGABYTE <= max(held) <= 2 * MEGABYTE + MEGABYTE
            assert result.shape == (MEGABYTE,)


async def test_results_of_unknown_size_are_measured_as_it_runs(anyio_backend):
    def outer(x):
        positive = x[x > 0]
        square = positive[:, None] * positive[None, :]
        return np.sum(square)

    with anyio.fail_after(SECONDS):
        async with asyncsyft.local("alice", limit=8 * MEGABYTE) as driver:
            alice = driver["alice"]
            f = plan(outer, name="outer")
            ours = np.ones(5000)
            ours[100:] = -1
            assert await f(await alice.send(ours)).get() == 10_000
            too_many = f(await alice.send(np.ones(5000)))  # 200 MB, refused before they are made
            with pytest.raises(LimitExceeded, match=r"step \d of plan 'outer': \d+ bytes of results") as caught:
                await too_many.get()
            assert caught.value.op == "multiply"
            assert f"{__file__}:" in str(caught.value.origin)
            assert ", in outer, called at" in str(caught.value.origin)
            assert await f(await alice.send(ours)).get() == 10_000


async def test_a_heavy_plan_leaves_the_loop_to_others(anyio_backend):
    @plan
    def heavy(x):
        for _ in range(40):
            x = x @ x
            x = x / 1000.0
        return x

    with anyio.fail_after(SECONDS):
        async with cluster("alice", "bob") as here:
            alice, other = here.driver["alice"], here.driver["bob"]
            x = alice.ones((600, 600))
            await here.driver.flush()
            result = heavy(x)
            alice.recorder.close_program()
            executor, pings = here.workers["alice"].executor, 0
            while not executor.jobs:
                await anyio.lowlevel.checkpoint()
            while executor.jobs:
                await alice.ping()
                await other.ping()
                pings += 1
            assert pings > 3
            assert (await result.get()).shape == (600, 600)


async def test_a_long_plan_is_checked_and_compiled_in_a_thread(anyio_backend, monkeypatch):
    import threading

    from asyncsyft.executor import run

    threads = {}
    unpack, compile_ = run.program.unpack_plan, StoredPlan.compile

    def noting(name, function):
        def noted(*args):
            threads.setdefault(name, []).append(threading.current_thread() is threading.main_thread())
            return function(*args)

        return noted

    monkeypatch.setattr(run.program, "unpack_plan", noting("unpack", unpack))
    monkeypatch.setattr(StoredPlan, "compile", noting("compile", compile_))

    @plan
    def f(x, steps):
        for _ in range(steps):
            x = x + 1
        return x

    with anyio.fail_after(SECONDS):
        async with asyncsyft.local("alice") as driver:
            x = driver["alice"].zeros(2)
            assert (await f(x, 3).get())[0] == 3
            assert threads == {"unpack": [True], "compile": [True]}
            assert (await f(x, 5000).get())[0] == 5000
            assert threads == {"unpack": [True, False], "compile": [True, False]}
            assert (await f(x, 5000).get())[0] == 5000
            assert len(threads["compile"]) == 2


async def test_many_calls_keep_their_order_across_threads(anyio_backend):
    """Calls heavy and light: some run in a thread, and what comes behind them waits."""
    state = State(w=np.ones((300, 300)))

    @plan(state=state)
    def heavy(state, x):
        state.w = (state.w @ x) / 300.0

    @plan(state=state)
    def light(state, x):
        state.w = state.w + 1.0

    with anyio.fail_after(SECONDS):
        async with asyncsyft.local("alice") as driver:
            alice, expected = driver["alice"], np.ones((300, 300))
            x = alice.ones((300, 300))
            for _ in range(5):
                heavy(x), light(x)
                expected = (expected @ np.ones((300, 300))) / 300 + 1
            np.testing.assert_allclose((await state.get(alice))["w"], expected)
