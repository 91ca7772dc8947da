"""What docs/mpc.md says that operations cost is what parties and dealer count: each line of its table is run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np
import pytest

from asyncsyft.mpc import SecretTensor, concat, maximum, where
from tests.mpc.world import World

PAGE = Path(__file__).resolve().parents[2] / "docs" / "mpc.md"
SIDE = 40
LINE = re.compile(r"^\| (`.*`) \| (\d+) \| ([\d.]+) \| ([\d.]+) \|$", re.MULTILINE)

Cost = Tuple[int, float, float]


def lines() -> Dict[str, Cost]:
    """Each expression in a line of the table, and what the line says that it costs."""
    found = {}
    for cell, hops, opened, dealt in LINE.findall(PAGE.read_text(encoding="utf-8")):
        for expression in re.findall(r"`(.*?)`", cell):
            found[expression] = int(hops), float(opened), float(dealt)
    return found


def measured(expression: str, parties: int = 2) -> Cost:
    """Hops; bytes that a party opens to each other, and that are dealt, per element of x; revealed at the end."""
    world = World(parties)
    names: Dict[str, Any] = {"concat": concat, "maximum": maximum, "where": where}
    session: Any = _Nothing(world)
    square = np.linspace(0.5, 2, SIDE * SIDE).reshape(SIDE, SIDE)
    for name in ("x", "y", "z", "i", "j", "image", "kernels"):
        values: Any = square.astype(int) if name in "ij" else square
        values = square.reshape(1, 1, SIDE, SIDE) if name == "image" else values
        values = np.ones((1, 1, 3, 3)) if name == "kernels" else values
        names[name] = SecretTensor(session, world.share(values))
    world.go()
    before = world.cost
    world.reveal(eval(expression, names).node)
    hops, opened, dealt = world.cost - before
    return int(hops), round(opened / SIDE**2, 1), round(dealt / SIDE**2, 1)


class _Nothing:
    """A session that sends nothing by itself."""

    def __init__(self, world: World) -> None:
        self.circuit = world.c

    def recorded(self) -> None: ...


@pytest.mark.parametrize("expression", lines())
def test_a_line_of_the_table_is_what_is_counted(expression: str) -> None:
    assert measured(expression) == lines()[expression]


def test_each_of_more_parties_opens_as_much_to_each_other() -> None:
    for expression in ("x * y * z", "x < y", "(x @ y).relu()"):
        assert measured(expression, 2) == measured(expression, 4)


def test_the_table_is_there() -> None:
    assert len(lines()) > 20


def test_what_inputs_cost() -> None:
    world = World()
    costs: List[Any] = []
    for owner in (-1, 0):
        before = world.cost
        node = world.share(np.ones(100), owner)
        world.go()
        costs.append((world.cost - before).tolist())
        del node
    assert costs == [[0, 0, 0], [1, 800, 0]]
