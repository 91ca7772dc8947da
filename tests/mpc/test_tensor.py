"""SecretTensor as an array: what it can do beside numpy's, and what it says to what it cannot. No session is needed."""

from __future__ import annotations

import operator
from contextlib import nullcontext
from typing import Any, Callable, ContextManager, List

import numpy as np
import pytest

from asyncsyft.errors import AsyncSyftError, SessionError
from asyncsyft.mpc import MPC, SecretTensor, concat, maximum, minimum, where
from asyncsyft.testing import cluster
from tests.mpc.world import World

U = 2.0**-16
A = np.array([[1.0, -2.5, 3.0], [4.0, 0.0, -2.5]])
B = np.array([[0.5, -2.5, 7.0], [-4.0, 0.25, -2.0]])


class Here:
    """A session that runs nothing by itself."""

    def __init__(self) -> None:
        self.world = World()
        self.circuit = self.world.c

    def share(self, values: Any) -> SecretTensor:
        return SecretTensor(self, self.world.share(values))

    def recorded(self) -> None: ...

    def together(self) -> ContextManager[None]:
        return nullcontext()

    async def reveal(self, *tensors: SecretTensor) -> List[Any]:
        raise NotImplementedError

    async def reveal_to(self, worker: Any, secret: SecretTensor, name: str) -> None:
        raise NotImplementedError


@pytest.fixture
def here() -> Here:
    return Here()


@pytest.fixture
def x(here: Here) -> SecretTensor:
    return here.share(A)


def same(here: Here, secret: SecretTensor, wanted: Any, most: float = 0) -> None:
    got = here.world.reveal(secret.node)
    assert got.dtype == secret.dtype
    assert np.shape(got) == secret.shape == np.shape(wanted)
    assert np.abs(got - wanted).max(initial=0) <= most


@pytest.mark.parametrize(
    "key",
    [
        0,
        -1,
        np.int64(1),
        slice(None, None, -1),
        (slice(None), [0, 2]),
        [1, 0, 1],
        np.array([True, False]),
        (..., np.array([False, True, True])),
        ([0, 1], [2, 1]),
        (None, ..., 1),
        [],
    ],
    ids=str,
)
def test_indices_are_numpys(here: Here, x: SecretTensor, key: Any) -> None:
    same(here, x[key], A[key])
    same(here, (x > 0)[key], A[key] > 0)


@pytest.mark.parametrize("key", ["a", 1.5, True, A > 0, [0.5], 2, (0, 0, 0), [0, 9], 1j])
def test_other_indices_are_refused(x: SecretTensor, key: Any) -> None:
    with pytest.raises(IndexError):
        x[key]


def test_a_secret_is_no_index(x: SecretTensor) -> None:
    with pytest.raises(TypeError):
        x[x]
    with pytest.raises(TypeError):
        A[x]


@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 1), (1, 0), np.int64(1), ()])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("name", ["sum", "mean", "max", "min"])
def test_what_reduces_does_along_any_axes(here: Here, x: SecretTensor, name: str, axis: Any, keepdims: bool) -> None:
    wanted = getattr(np, name)(A, axis=axis, keepdims=keepdims)
    same(here, getattr(x, name)(axis, keepdims=keepdims), wanted, 2 * U if name == "mean" else 0)


@pytest.mark.parametrize("axis", [None, 0, 1, -2])
@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_where_the_ends_are(here: Here, x: SecretTensor, name: str, axis: Any) -> None:
    same(here, getattr(x, name)(axis), getattr(np, name)(A, axis))
    kept = np.expand_dims(getattr(np, name)(A, axis), (0, 1) if axis is None else axis)
    same(here, getattr(x, name)(axis, True), kept)


@pytest.mark.parametrize("name", ["sum", "mean", "max", "min", "argmax", "argmin", "softmax"])
def test_axes_that_are_not_there(x: SecretTensor, name: str) -> None:
    for axis in (2, -3, 0.5, "a"):
        with pytest.raises((ValueError, TypeError)):
            getattr(x, name)(axis)


def test_shapes(here: Here, x: SecretTensor) -> None:
    assert (x.ndim, x.size, len(x), x.dtype) == (2, 6, 2, np.float64)
    for secret, wanted in (
        (x.T, A.T),
        (x.transpose((1, 0)), A.T),
        (x.transpose(-1, 0), A.T),
        (x.reshape(3, -1), A.reshape(3, 2)),
        (x.reshape((np.int64(6),)), A.reshape(6)),
        (x.flatten(), A.flatten()),
        (+x, A),
        (concat([x, A, x], -1), np.concatenate([A, A, A], 1)),
    ):
        same(here, secret, wanted)
    for wrong in (lambda: x.reshape(4), lambda: x.transpose(0), lambda: x.transpose(0, 2), lambda: concat([x, x], 2)):
        with pytest.raises(ValueError, match="reshape|axes|axis"):
            wrong()


@pytest.mark.parametrize("sign", [operator.and_, operator.or_, operator.xor])
def test_bits_are_joined_to_bits(here: Here, x: SecretTensor, sign: Callable[[Any, Any], Any]) -> None:
    first, second = x > 0, x < 3.5
    wanted = sign(A > 0, A < 3.5)
    same(here, sign(first, second), wanted)
    same(here, sign(A > 0, second), wanted)
    same(here, where(sign(first, second), x, 9.0), np.where(wanted, A, 9.0))
    same(here, ~sign(first, second[:1]), ~sign(A > 0, (A < 3.5)[:1]))
    for wrong in (x, 1, 0.5, "a"):
        with pytest.raises(TypeError):
            sign(first, wrong)
    with pytest.raises(TypeError):
        sign(x, first)


def test_powers_and_the_larger_of_two(here: Here, x: SecretTensor) -> None:
    y = here.share(B)
    for power in (1, 2, 3, 5):
        same(here, x**power, A**power, 9 * power * U)
    for wrong in (0, -1, 0.5, x):
        with pytest.raises(TypeError):
            x**wrong
    for other in (y, B):
        same(here, maximum(x, other), np.maximum(A, B))
        same(here, minimum(other, x), np.minimum(A, B))
    same(here, maximum(1, x), np.maximum(1, A))
    for wrong in (maximum, minimum):
        with pytest.raises(TypeError):
            wrong(A, B)
        with pytest.raises(TypeError):
            wrong(x, "a")


def test_nothing_reads_a_secret_by_mistake(x: SecretTensor) -> None:
    wrong: List[Callable[[], Any]] = [
        lambda: float(x),
        lambda: int(x),
        lambda: bool(x),
        lambda: range(x),  # type: ignore[call-overload]
        lambda: 1.0 in x,  # type: ignore[operator]
        lambda: np.asarray(x),
        lambda: np.concatenate([x, x]),
        lambda: np.sum(x),
        lambda: np.exp(x),
        lambda: max(x, x),
        lambda: sorted([x, x]),
    ]
    for each in wrong:
        with pytest.raises(TypeError):
            each()
    assert "2.5" not in repr(x)
    assert "float64[2, 3]" in repr(x)


@pytest.mark.parametrize("other", [None, "a", 1j, object(), {}])
def test_operators_know_what_is_no_number(x: SecretTensor, other: Any) -> None:
    for sign in (operator.add, operator.sub, operator.mul, operator.matmul, operator.truediv, operator.lt):
        with pytest.raises(TypeError):
            sign(x, other)
        with pytest.raises(TypeError):
            sign(other, x)


def test_images_have_four_axes_and_windows_some_size(x: SecretTensor) -> None:
    image = x.reshape(1, 1, 2, 3)
    wrong: List[Callable[[], Any]] = [
        lambda: x.max_pool(2),
        lambda: x.conv2d(np.ones((1, 1, 2, 2))),
        lambda: image.avg_pool(3),
        lambda: image.avg_pool(0),
        lambda: image.avg_pool(2, 0),
        lambda: image.conv2d(np.ones((1, 1, 1, 1)), padding=-1),
        lambda: image.conv2d(np.ones((1, 2, 1, 1))),
    ]
    for each in wrong:
        with pytest.raises(ValueError, match="images are|conv2d of|window|at least"):
            each()
    with pytest.raises(TypeError):
        image.conv2d(None)


@pytest.mark.anyio
async def test_a_session_reveals_its_own_secrets_only() -> None:
    async with cluster("alice", "bob", "james") as made:
        *parties, dealer = await made.driver.wait_for("alice", "bob", "james")
        async with MPC(parties, dealer) as mpc, MPC(parties, dealer) as other:
            x, y = await mpc.share(A), await other.share(B)
            for ask in (mpc.reveal, lambda secret: mpc.reveal_to(parties[0], secret, "name")):
                with pytest.raises(ValueError, match="another session"):
                    await ask(y)
                with pytest.raises(TypeError, match="only secrets"):
                    await ask(A)
            there = await parties[0].send(A)
            for wrong in (lambda: x + there, lambda: there @ x.T, lambda: where(x > 0, there, x)):
                with pytest.raises(TypeError, match=r"await mpc\.share"):
                    wrong()
            with pytest.raises(AsyncSyftError, match="Singular"):
                await mpc.share(parties[0].xp.linalg.inv(await parties[0].send(np.zeros((2, 2)))))
            with pytest.raises(TypeError, match="complex64"):
                await mpc.share(await parties[0].send(np.ones(2, np.complex64)))
            with pytest.raises(ValueError, match="alice is no party"):
                await x.reveal(to="alice")
            assert np.array_equal(await x.reveal(), A)
        with pytest.raises(TypeError, match="not names"):
            MPC(["alice", "bob"], "james")  # type: ignore[list-item, arg-type]


@pytest.mark.anyio
async def test_a_session_begins_when_it_is_entered_with_workers_of_one_driver() -> None:
    async with cluster("alice", "bob", "james") as made, cluster("carol") as far:
        *parties, dealer = await made.driver.wait_for("alice", "bob", "james")
        with pytest.raises(SessionError, match="async with"):
            await MPC(parties, dealer).share(1.0)
        with pytest.raises(ValueError, match="one driver"):
            MPC([parties[0], *await far.driver.wait_for("carol")], dealer)
