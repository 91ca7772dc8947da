"""Training on secrets: the same steps as in the clear, to nearly the same weights."""

from __future__ import annotations

from typing import Any, Tuple

import anyio
import numpy as np
import pytest

from asyncsyft.mpc import MPC
from asyncsyft.testing import local

pytestmark = pytest.mark.anyio


def clusters(rng: Any, count: int) -> Tuple[Any, Any]:
    """Points of two classes that a curve parts, and which class each is of."""
    x = rng.uniform(-1, 1, (count, 6))
    return x, (x[:, 0] * x[:, 1] + 0.5 * x[:, 2] > 0).astype(float)[:, None]


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


async def test_logistic_regression() -> None:
    rng = np.random.default_rng(5)
    a, _ = clusters(rng, 200)
    labels = (a @ rng.normal(size=(6, 1)) > 0.1).astype(float)
    clear = np.zeros((6, 1))
    with anyio.fail_after(50):
        async with local("alice", "bob", "james") as driver:
            alice, bob, james = await driver.wait_for("alice", "bob", "james")
            async with MPC([alice, bob], james) as mpc:
                x = await mpc.share(await alice.send(a))
                y = await mpc.share(await bob.send(labels))
                w = await mpc.share(clear)
                for _ in range(20):
                    w = w - 3 * (x.T @ ((x @ w).sigmoid() - y)) / len(a)
                    clear = clear - 3 * (a.T @ (sigmoid(a @ clear) - labels)) / len(a)
                trained = await w.reveal()
    assert np.abs(trained - clear).max() < 5e-3
    right = [((a @ weights > 0) == labels).mean() for weights in (trained, clear)]
    assert right[1] > 0.9
    assert abs(right[0] - right[1]) <= 0.01


async def test_a_network_with_a_hidden_layer() -> None:
    rng = np.random.default_rng(6)
    a, labels = clusters(rng, 128)
    v1, v2 = rng.normal(size=(6, 16)) / 2, rng.normal(size=(16, 1)) / 3
    first = (v1, v2)
    with anyio.fail_after(50):
        async with local("alice", "bob", "carol", "james") as driver:
            *parties, james = await driver.wait_for("alice", "bob", "carol", "james")
            async with MPC(parties, james) as mpc:
                x, y = await mpc.share(await parties[0].send(a)), await mpc.share(labels)
                w1, w2 = await mpc.share(v1), await mpc.share(v2)
                for _ in range(12):
                    hidden = x @ w1
                    on = hidden > 0
                    active = on * hidden
                    error = ((active @ w2).sigmoid() - y) / len(a)
                    w1, w2 = w1 - 2 * (x.T @ (on * (error @ w2.T))), w2 - 2 * (active.T @ error)
                    up = np.maximum(a @ v1, 0)
                    wrong = (sigmoid(up @ v2) - labels) / len(a)
                    v1, v2 = v1 - 2 * (a.T @ ((up > 0) * (wrong @ v2.T))), v2 - 2 * (up.T @ wrong)
                got = await mpc.reveal(w1, w2)
    assert max(np.abs(one - other).max() for one, other in zip(got, (v1, v2))) < 0.02
    assert min(np.abs(one - other).max() for one, other in zip(got, first)) > 0.1  # it did learn
