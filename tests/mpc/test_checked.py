"""Sessions that look whether values leave their range: no false alarm, and what is found is raised, not revealed."""

from __future__ import annotations

from typing import Any, Callable, List, Tuple

import numpy as np
import pytest

from asyncsyft.errors import SessionError
from asyncsyft.mpc import MPC
from asyncsyft.mpc import functions as f
from asyncsyft.mpc.checked import Checked
from asyncsyft.mpc.circuit import Circuit
from asyncsyft.mpc.node import Node
from asyncsyft.testing import cluster
from tests.mpc.world import World

RNG = np.random.default_rng(11)
Function = Callable[[Circuit, Node], Node]


def strayed(function: Function, values: Any, parties: int = 2) -> bool:
    world = World(parties)
    world.c = circuit = Checked(16)
    result = function(circuit, world.share(np.asarray(values, float)))
    node = circuit.strayed()
    assert node is not None
    del result
    return bool(world.reveal(node))


def square(c: Circuit, x: Node) -> Node:
    return c.rescale(c.mul(x, x))


def square_by(sign: int) -> Function:
    return lambda c, x: c.rescale(c.mul(x, c.linear("neg", x) if sign < 0 else x))


def softmax(c: Circuit, x: Node) -> Node:
    return f.softmax(c, c.linear("reshape", x, (3, 33)), 1)


def mean(c: Circuit, x: Node) -> Node:
    return f.mean(c, x, (0,), False)


def relu(c: Circuit, x: Node) -> Node:
    return f.relu(c, c.mul(x, x))


CASES: List[Tuple[Function, Any, Any]] = [
    (square, RNG.uniform(-32000, 32000, 99), [1, 32769]),
    (square, [0, 1], RNG.uniform(1e6, 1e7, 60)),
    (relu, [3, -32000], [32769]),
    (mean, RNG.uniform(-1e4, 1e4, 99), np.full(5, 2.0**28)),
    (f.exp, np.append(RNG.uniform(-20, 10.9, 99), 1 - 2.0**20), [0, 11.1]),
    (f.exp, [0], [-(2.0**20) - 1]),
    (f.reciprocal, [2.0**-8, -(2.0**-8), 2.0**15 - 1, 1 - 2.0**15, 1], [1, 0]),
    (f.reciprocal, [-1], [-(2.0**15) - 1]),
    (f.sqrt, [0, 2.0**-8, 2.0**14 - 1], [4, -1]),
    (f.sqrt, [1], [2.0**14 + 1]),
]


@pytest.mark.parametrize("parties", [2, 3])
@pytest.mark.parametrize("case", range(len(CASES)))
def test_what_leaves_its_range_is_found_and_nothing_else(case: int, parties: int) -> None:
    function, good, bad = CASES[case]
    assert not strayed(function, good, parties)
    assert strayed(function, bad, parties)


def test_a_range_ends_where_it_should() -> None:
    """To 2^47 of 2^62: a look is at the highest 16 bits."""
    end = 2.0**30  # of a number that has twice the fractional bits
    for factor, is_found in ((1 - 2.0**-15, False), (1 + 2.0**-15, True), (2 - 2.0**-14, True)):
        for sign in (1, -1):
            assert strayed(square_by(sign), np.full(3, (factor * end) ** 0.5)) == is_found


def test_a_look_costs_little() -> None:
    costs = []
    for circuit in (Circuit(16), Checked(16)):
        world = World()
        world.c = circuit
        node = square(circuit, world.share(np.ones(1000)))
        world.go()
        costs.append(world.cost.copy())
        del node
    hops, opened, dealt = (costs[1] - costs[0]).tolist()
    assert (hops, opened / 1000, dealt / 1000) <= (2, 1.2, 20)


@pytest.mark.parametrize("function", [softmax, f.tanh, f.sigmoid], ids=["softmax", "tanh", "sigmoid"])
def test_functions_that_are_right_everywhere_raise_no_alarm(function: Function) -> None:
    assert not strayed(function, RNG.uniform(-(2.0**18), 2.0**18, 99))
    assert not strayed(function, RNG.normal(size=99) * 8)


def test_results_are_the_same() -> None:
    world = World()
    world.c = Checked(16)
    a = RNG.normal(size=20)
    node = f.sigmoid(world.c, square(world.c, world.share(a)))
    assert np.abs(world.reveal(node) - 1 / (1 + np.exp(-(a**2)))).max() < 1e-4


@pytest.mark.anyio
async def test_a_session_raises_instead_of_revealing() -> None:
    async with cluster("alice", "bob", "james") as made:
        *parties, dealer = await made.driver.wait_for("alice", "bob", "james")
        async with MPC(parties, dealer, checked=True) as mpc:
            a = RNG.uniform(900, 1100, 60)
            x = await mpc.share(a)
            assert np.abs(await (x * x * 0.5).reveal() - a * a / 2).max() < 0.1
            await x.reveal(to=parties[0], name="good")
            y = x * x * x * x  # about 10^12, which has room as a number, and not as a product
            with pytest.raises(SessionError, match="range"):
                await y.reveal()
            with pytest.raises(SessionError, match="range"):
                await y.reveal(to=parties[0], name="bad")
            assert "bad" not in made.workers["alice"].sessions.results
        async with MPC(parties, dealer) as mpc:
            z = await mpc.share(3.0)
            assert await z.reveal() == 3  # without looking, nothing is found
