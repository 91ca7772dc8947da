"""Every function of secrets is as near to numpy's as docs/mpc.md says, over all of the range that it says."""

from __future__ import annotations

import math
from contextlib import AsyncExitStack
from typing import Any, Callable, List, NamedTuple, Tuple

import anyio
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import asyncsyft
from asyncsyft.driver import Driver
from asyncsyft.errors import SessionError
from asyncsyft.identity import Key, key_text
from asyncsyft.mpc import MPC
from asyncsyft.mpc import functions as f
from asyncsyft.mpc.circuit import Circuit
from asyncsyft.mpc.node import Node
from asyncsyft.worker import Worker
from tests.mpc.world import World

BITS = 16
U = 2.0**-BITS
#: Integers of the ring are kept below this.
END = 1 << 62


def integers(least: int, most: int) -> st.SearchStrategy[int]:
    """From ``least`` to ``most``: the ends and what is near them, and every order of magnitude alike."""
    widest = max(abs(least), abs(most)).bit_length()
    sized = st.integers(0, widest).flatmap(lambda k: st.integers(-(1 << k), 1 << k))
    edges = st.sampled_from([least, least + 1, most - 1, most, 0, 1, -1, 1 << 16, -(1 << 16), 8191, -8192])
    return st.one_of(sized, edges).filter(lambda n: least <= n <= most)


def numbers(least: float, most: float, size: int = 24) -> st.SearchStrategy[Any]:
    """Arrays of numbers that have ``BITS`` fractional bits, so that what is seen is the error of the function alone."""
    whole = integers(int(np.ceil(least / U)), int(np.floor(most / U)))
    return st.lists(whole, min_size=1, max_size=size).map(lambda found: np.array(found, np.int64) * U)


def pairs(least: int, most: int) -> st.SearchStrategy[Any]:
    both = st.tuples(integers(least, most), integers(least, most))
    return st.lists(both, min_size=1, max_size=24).map(lambda found: np.array(found, np.int64).T)


def below(power: int) -> float:
    """The last number before 2^power."""
    return float(np.nextafter(2.0**power, 0))


PARTIES = st.integers(2, 5)
EXAMPLES = settings(max_examples=settings.default.max_examples // 3)


def near(got: Any, wanted: Any, absolute: float, relative: float = 0.0) -> None:
    assert np.shape(got) == np.shape(wanted)
    error = np.abs(got - wanted) - relative * np.abs(wanted)
    worst = int(np.argmax(error))
    assert np.all(error <= absolute), f"off by {np.ravel(error)[worst] / U} u at {np.ravel(wanted)[worst]}"


# Whole numbers, against Python's.


@EXAMPLES
@given(parties=PARTIES, both=pairs(-(END >> 1) + 1, (END >> 1) - 1))
def test_sums_and_comparisons_of_whole_numbers_are_pythons(parties: int, both: Any) -> None:
    world = World(parties)
    c = world.c
    x, y = world.share(both[0]), world.share(both[1], owner=parties - 1)
    first, second = ([int(n) for n in row] for row in both)
    both = list(zip(first, second))
    open_y = c.public(np.array(second))
    bit = f.less(c, x, y)
    cases: List[Tuple[Node, List[Any]]] = [
        (c.add(x, y), [a + b for a, b in both]),
        (c.sub(x, y), [a - b for a, b in both]),
        (c.sub(open_y, x), [b - a for a, b in both]),
        (c.linear("neg", x), [-a for a in first]),
        (bit, [a < b for a, b in both]),
        (c.flip(bit), [a >= b for a, b in both]),
        (f.less(c, x, open_y), [a < b for a, b in both]),
        (f.equal(c, x, y), [a == b for a, b in both]),
        (f.equal(c, x, x), [True for _ in both]),
        (f.where(c, bit, x, y), [min(a, b) for a, b in both]),
        (f.maximum(c, x, y), [max(a, b) for a, b in both]),
        (f.relu(c, x), [max(a, 0) for a in first]),
        (f.absolute(c, x), [abs(a) for a in first]),
    ]
    for got, (_, wanted) in zip(world.reveal(*(node for node, _ in cases)), cases):
        assert got.dtype == np.int64
        assert got.tolist() == wanted


@EXAMPLES
@given(parties=PARTIES, both=pairs(-(1 << 31) + 1, (1 << 31) - 1))
def test_products_of_whole_numbers_are_pythons(parties: int, both: Any) -> None:
    world = World(parties)
    c = world.c
    first, second = ([int(n) for n in row] for row in both)
    x, y = world.share(both[0], owner=0), world.share(both[1])
    assert world.reveal(c.mul(x, y)).tolist() == [a * b for a, b in zip(first, second)]
    assert world.reveal(c.mul(x, c.public(both[1]))).tolist() == [a * b for a, b in zip(first, second)]
    small = np.array(second) >> 6  # sums of 24 products have room
    got = world.reveal(c.matmul(x, world.share(small)))
    assert int(got) == sum(a * (b >> 6) for a, b in zip(first, second))


@EXAMPLES
@given(parties=PARTIES, values=st.lists(integers(-END + 1, END - 1), min_size=1, max_size=9))
def test_everything_in_range_is_shared_and_revealed_as_it_is(parties: int, values: List[int]) -> None:
    world = World(parties)
    for owner in (-1, 0, parties - 1):
        assert world.reveal(world.share(np.array(values), owner)).tolist() == values
    signs = world.reveal(f.negative(world.c, world.share(np.array(values))))
    assert signs.tolist() == [value < 0 for value in values]


@pytest.mark.parametrize("value", [END, -END, 1 << 63, 1 << 80, 2.0**46, -(2.0**46), 1e300, np.inf, np.nan])
def test_what_is_out_of_range_is_refused_not_wrapped(value: Any) -> None:
    with pytest.raises(SessionError, match="not below 2\\^62"):
        World().share(np.array([0, value]))
    with pytest.raises(SessionError, match="not below 2\\^62"):
        World().c.public(np.array([0, value]))


@pytest.mark.parametrize("value", [END - 1, (END >> 1) + 1])
def test_a_result_that_left_the_range_is_not_handed_out(value: int) -> None:
    world = World()
    x = world.share(np.array([3, value]))
    assert world.reveal(world.c.linear("neg", x)).tolist() == [-3, -value]
    with pytest.raises(SessionError, match="left the range"):
        world.reveal(world.c.add(x, x))


# Numbers with fractions.


class Case(NamedTuple):
    """A function of one secret: its range, and its error in absolute and relative terms."""

    secret: Callable[[Circuit, Node], Node]
    clear: Callable[[Any], Any]
    values: st.SearchStrategy[Any]
    absolute: float
    relative: float = 0.0


def sigmoid(x: Any) -> Any:
    return (1 + np.tanh(x / 2)) / 2


def signed(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.tuples(values, st.sampled_from([-1, 1])).map(lambda pair: pair[0] * pair[1])


CASES = {
    "relu": Case(f.relu, lambda x: np.maximum(x, 0), numbers(-below(46), below(46)), 0),
    "abs": Case(f.absolute, np.abs, numbers(-below(45), below(45)), 0),
    "negative": Case(f.negative, lambda x: x < 0, numbers(-below(46), below(46)), 0),
    "sigmoid": Case(f.sigmoid, sigmoid, numbers(-below(45), below(45)), 2e-5 + 2 * U),
    "sigmoid, where it bends": Case(f.sigmoid, sigmoid, numbers(-12, 12), 2e-5 + 2 * U),
    "tanh": Case(f.tanh, np.tanh, numbers(-below(44), below(44)), 4e-5 + 2 * U),
    "tanh, where it bends": Case(f.tanh, np.tanh, numbers(-6, 6), 4e-5 + 2 * U),
    "exp": Case(f.exp, np.exp, numbers(-(2.0**20) + U, 11 - U), 2 * U, 4e-5),
    "exp, where it bends": Case(f.exp, np.exp, numbers(-12, 11 - U), 2 * U, 4e-5),
    "reciprocal": Case(f.reciprocal, np.reciprocal, signed(numbers(2.0**-8, 2.0**15 - U)), 2 * U, 2.0**-20),
    "sqrt": Case(f.sqrt, np.sqrt, numbers(2.0**-8, 2.0**14 - U), 2 * U, 1e-5),
    "square": Case(lambda c, x: c.rescale(c.mul(x, x)), np.square, numbers(-(2.0**15) + 1, 2.0**15 - 1), U),
    "mean": Case(lambda c, x: f.mean(c, x, (0,), False), np.mean, numbers(-(2.0**20), 2.0**20), 2 * U, 2.0**-15),
    "sum": Case(lambda c, x: c.linear("sum", x, (0,), False), math.fsum, numbers(-(2.0**40), 2.0**40), 0),
    "max": Case(lambda c, x: f.top(c, x, 0, False), np.max, numbers(1 - 2.0**45, 2.0**45 - 1), 0),
    "argmax": Case(lambda c, x: f.argmax(c, x, 0), np.argmax, numbers(1 - 2.0**45, 2.0**45 - 1), 0),
}


@pytest.mark.parametrize("name", CASES)
def test_a_function_of_one_secret(name: str) -> None:
    case = CASES[name]

    @EXAMPLES
    @given(parties=PARTIES, values=case.values)
    def check(parties: int, values: Any) -> None:
        world = World(parties)
        near(world.reveal(case.secret(world.c, world.share(values))), case.clear(values), case.absolute, case.relative)

    check()


def test_the_root_of_nothing() -> None:
    world = World()
    near(world.reveal(f.sqrt(world.c, world.share(np.zeros(3)))), np.zeros(3), 2 * U)


@EXAMPLES
@given(parties=PARTIES, both=pairs(-(1 << 30), 1 << 30), bits=st.integers(1, 28))
def test_products_of_fractions_are_right_to_one_unit(parties: int, both: Any, bits: int) -> None:
    world = World(parties, bits)
    c = world.c
    a, b = np.ldexp(both.astype(float), -bits)
    x, y = world.share(a), world.share(b, owner=0)
    for product in (c.mul(x, y), c.mul(x, c.public(b))):
        near(world.reveal(c.rescale(product)), a * b, np.ldexp(1.0, -bits))


@EXAMPLES
@given(parties=PARTIES, a=numbers(-(2.0**28), 2.0**28), by=signed(numbers(2.0**-10, 2.0**24, 1)))
def test_a_quotient_by_a_public_number(parties: int, a: Any, by: Any) -> None:
    world = World(parties)
    a = np.where(np.abs(a / by) < 2.0**28, a, 0)
    near(world.reveal(f.quotient(world.c, world.share(a), by)), a / by, 2 * U, 2.0**-15)


@EXAMPLES
@given(parties=PARTIES, a=numbers(-(2.0**28), 2.0**28, 1), count=st.integers(1, 3000))
def test_a_mean_of_many(parties: int, a: Any, count: int) -> None:
    world = World(parties)
    values = np.rint(np.broadcast_to(a / count, (count,)) / U) * U
    near(world.reveal(f.mean(world.c, world.share(values), (0,), False)), values.mean(), 2 * U, 2.0**-15)


@EXAMPLES
@given(parties=PARTIES, a=numbers(-(2.0**7), 2.0**7), b=signed(numbers(2.0**-7, 2.0**14)))
def test_a_quotient_of_secrets(parties: int, a: Any, b: Any) -> None:
    world = World(parties)
    a, b = a[: len(b)], b[: len(a)]
    got = world.reveal(world.c.mul(world.share(a), f.reciprocal(world.c, world.share(b))))
    near(got, a / b, 2 * U * (1 + np.abs(a).max()), 2.0**-20)


@EXAMPLES
@given(parties=PARTIES, rows=st.integers(1, 4), columns=st.integers(1, 40), seed=st.integers(0, 1 << 32))
@pytest.mark.parametrize("spread", [1.0, 2.0**10, 2.0**18])
def test_softmax(spread: float, parties: int, rows: int, columns: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a = np.rint(rng.normal(size=(rows, columns)).clip(-2, 2) * spread / 2 / U) * U
    world = World(parties)
    powers = np.exp(a - a.max(1, keepdims=True))
    near(world.reveal(f.softmax(world.c, world.share(a), 1)), powers / powers.sum(1, keepdims=True), 1e-4 + 4 * U)


def test_softmax_of_a_long_axis() -> None:
    a = np.rint(np.random.default_rng(0).normal(size=(1, 1 << 14)) / U) * U
    world = World()
    powers = np.exp(a - a.max())
    near(world.reveal(f.softmax(world.c, world.share(a), 1)), powers / powers.sum(), 1e-4 + 4 * U)
    near(world.reveal(f.softmax(world.c, world.share(np.zeros((1, 1 << 14))), 1)), np.full(a.shape, 2.0**-14), 4 * U)


# The same over real sockets.

NAMES = ("alice", "bob", "carol", "james", "me")
KEYS = {name: Key.new() for name in NAMES}
PINS = {name: key_text(key.public) for name, key in KEYS.items()}


@pytest.mark.anyio
@pytest.mark.parametrize("parties", [2, 3])
async def test_over_real_sockets(parties: int) -> None:
    a = np.rint(np.random.default_rng(parties).uniform(0.1, 6, (5, 8)) / U) * U
    names = [*NAMES[:parties], "james"]
    with anyio.fail_after(60):
        async with AsyncExitStack() as stack:
            relay = await stack.enter_async_context(asyncsyft.Relay("127.0.0.1:0"))
            for name in names:
                await stack.enter_async_context(Worker(name, relay.url, key=KEYS[name], known_peers=PINS))
            me = Driver(relay.url, "me", key=KEYS["me"], known_peers=PINS)
            driver = await stack.enter_async_context(me)
            *members, dealer = await driver.wait_for(*names)
            async with MPC(members, dealer) as mpc:
                x = await mpc.share(await members[-1].send(a))
                powers = np.exp(a - a.max(1, keepdims=True))
                cases = [
                    (x @ x.T, a @ a.T, 2 * U, 0.0),
                    ((x - 2).relu(), np.maximum(a - 2, 0), 0, 0.0),
                    ((x - 2).sigmoid(), sigmoid(a - 2), 2e-5 + 2 * U, 0.0),
                    (x.exp(), np.exp(a), 2 * U, 4e-5),
                    (1 / x, 1 / a, 3 * U, 2.0**-20),
                    (x.sqrt(), np.sqrt(a), 2 * U, 1e-5),
                    (x.softmax(), powers / powers.sum(1, keepdims=True), 1e-4 + 4 * U, 0.0),
                    (x.max(0), a.max(0), 0, 0.0),
                    (x.argmax(1), a.argmax(1), 0, 0.0),
                    (x == a, a == a, 0, 0.0),
                ]
                found = await mpc.reveal(*(case[0] for case in cases))
                for got, (_, wanted, absolute, relative) in zip(found, cases):
                    near(got, wanted, absolute, relative)
