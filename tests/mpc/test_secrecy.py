"""What a single party sees is uniform, whatever the secrets are; no correlation is used twice."""

from __future__ import annotations

from typing import Any, List

import numpy as np
import pytest

from asyncsyft.errors import SessionError
from asyncsyft.mpc import functions as f
from asyncsyft.mpc.computing import Party
from asyncsyft.mpc.prg import new_seeds
from tests.mpc.world import World


def uniform(data: bytes) -> float:
    """The chi-square of bytes against the uniform distribution, in its standard deviations from what is expected."""
    counts = np.bincount(np.frombuffer(data, np.uint8), minlength=256)
    expected = len(data) / 256
    chi = float(((counts - expected) ** 2 / expected).sum())
    return (chi - 255) / np.sqrt(2 * 255)


def everything(world: World, values: Any) -> List[bytes]:
    """What party 1 is sent when all kinds of gates run on ``values``: by party 0, and by the dealer."""
    c = world.c
    x, y = world.share(values, owner=0), world.share(values)
    product = c.mul(x, y)
    nodes = [f.relu(c, product), f.sigmoid(c, x), f.equal(c, x, y), c.factor(product), f.argmax(c, x, 0), f.exp(c, x)]
    world.go()
    del nodes
    return [b"".join(world.said[0]), world.dealt]


@pytest.mark.parametrize("value", [0.0, 1.0, -3.5, 2.0**20])
def test_what_is_sent_is_uniform(value: float) -> None:
    sent = everything(World(), np.full(4096, value))
    for data in sent:
        assert len(data) > 1 << 16
        assert abs(uniform(data)) < 5


def test_what_is_not_uniform_is_seen() -> None:
    assert uniform(bytes(1 << 16)) > 5
    almost = bytearray(np.random.default_rng(0).bytes(1 << 18))
    almost[::50] = bytes(len(almost[::50]))
    assert uniform(bytes(almost)) > 5


def test_two_runs_have_nothing_in_common() -> None:
    """The same secrets, the same gates: no eight bytes that were sent are sent again."""
    world = World()
    runs = [everything(world, np.ones(64)) for _ in range(2)] + [everything(World(), np.ones(64))]
    said = [np.frombuffer(b"".join(run)[: len(b"".join(run)) // 8 * 8], np.uint64) for run in (runs[0], runs[2])]
    assert not set(said[0].tolist()) & set(said[1].tolist())
    assert runs[0][1] != runs[1][1]


@pytest.mark.parametrize("parties", [2, 3])
def test_shares_of_a_result_say_no_more_than_their_sum(parties: int) -> None:
    world = World(parties)
    x = world.share(np.zeros(4096), owner=0)
    seen: List[Any] = []
    for _ in range(2):
        number = world.c.reveal(x, -1)
        world.go()
        seen.append(world._shares.pop(number))
    for index in range(parties):
        assert abs(uniform(b"".join(shares[index].tobytes() for shares in seen))) < 5
        assert not np.array_equal(seen[0][index], seen[1][index])


@pytest.mark.parametrize("change", [-1, 1])
def test_an_opening_of_another_length_ends_the_session(change: int) -> None:
    world = World()
    c = world.c
    x = world.share(np.ones(4))
    world.go()
    node = c.wire(c.mul(x, x))
    gates, _ = c.take()
    party = Party(0, 2, new_seeds(2)[0])
    party.values = dict(world.parties[0].values)
    run = party.run(gates)
    event = next(run)
    data = b"".join(piece.tobytes() for piece in event.mine)
    with pytest.raises(SessionError, match="than the program says"):
        run.send([None, data[:change] if change < 0 else data + bytes(change)])
    del node
