"""RemoteTensor as an array: operators, indexing, methods, and what is refused.

All of it runs at a worker of an in-memory cluster and is compared with numpy.
"""

from __future__ import annotations

import copy
import operator
import pickle

import numpy as np
import pytest

import asyncsyft
from asyncsyft.errors import LocalProtocolError

pytestmark = pytest.mark.anyio

A = np.arange(1, 13, dtype="f4").reshape(3, 4)
B = np.linspace(-2, 3, 12, dtype="f4").reshape(3, 4)
I = np.array([[3, -5, 7], [2, 0, 6]], "i4")  # noqa: E741
J = np.array([[1, 2, 3], [4, 5, 6]], "i4")
MASK = np.array([True, False, True])


@pytest.fixture(scope="module")
async def driver(anyio_backend):
    async with asyncsyft.local("alice", "bob") as made:
        yield made


@pytest.fixture(scope="module")
def alice(driver):
    return driver["alice"]


async def same(remote, wanted):
    """That the tensor is what numpy has, and that this was known of it before."""
    wanted = np.asarray(wanted)
    shape, dtype = remote.shape, remote.dtype
    found = await remote.get()
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    assert dtype == found.dtype
    assert len(shape) == found.ndim
    assert all(dim in (None, real) for dim, real in zip(shape, found.shape))
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


BINARY = [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow]
BINARY += [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]
WHOLE = [operator.floordiv, operator.mod, operator.and_, operator.or_, operator.xor]
UNARY = [operator.neg, operator.pos, abs]


@pytest.mark.parametrize("op", [*BINARY, operator.floordiv, operator.mod])
async def test_binary_operators(alice, op):
    x, y = alice.asarray(A), alice.asarray(B)
    await same(op(x, y), op(A, B))
    await same(op(x, 2.0), op(A, np.float32(2)))
    await same(op(3, x), op(np.float32(3), A))
    await same(op(x, B[0]), op(A, B[0]))
    await same(op(B[:, :1], x), op(B[:, :1], A))
    await same(op(np.float32(2), x), op(np.float32(2), A))
    await same(op(x, np.float32(2)), op(A, np.float32(2)))
    assert isinstance(op(np.float32(2), x), asyncsyft.RemoteTensor)


@pytest.mark.parametrize("op", [*WHOLE, operator.lshift, operator.rshift])
async def test_integer_operators(alice, op):
    x, y = alice.asarray(I), alice.asarray(J)
    await same(op(x, y), op(I, J))
    await same(op(x, 2), op(I, np.int32(2)))
    await same(op(y, J), op(J, J))
    await same(op(90, y), op(np.int32(90), J))
    await same(op(J, y), op(J, J))


@pytest.mark.parametrize("op", UNARY)
async def test_unary_operators(alice, op):
    await same(op(alice.asarray(B)), op(B))


async def test_other_operators(alice):
    x, y, i, mask = (alice.asarray(array) for array in (A, B, I, MASK))
    await same(x @ y.T, A @ B.T)
    await same(x @ B.T, A @ B.T)
    await same(A.T @ y, A.T @ B)
    await same(~i, ~I)
    await same(~mask, ~MASK)
    await same(mask & True, MASK)
    z = x
    z += 1
    z *= y
    assert z is not x
    await same(z, (A + 1) * B)
    await same(x, A)
    assert (x == "text") is False
    assert (x == None) is False  # noqa: E711
    for other in ("text", None, [1, 2], object()):
        with pytest.raises(TypeError, match="unsupported operand"):
            x + other


async def test_scalars_take_the_array_s_dtype(alice):
    for dtype in ("i1", "u1", "i8", "f4", "f8", "c8"):
        x = alice.ones(2, dtype=dtype)
        assert (x + 1).dtype == (1 - x).dtype == x.dtype
    assert (alice.ones(2, dtype="f4") * 1e300).dtype == np.float32
    assert (alice.ones(2, dtype="i4") * 1.5).dtype == np.float64
    assert (alice.ones(2, dtype="f4") + 1j).dtype == np.complex64
    small = alice.ones(2, dtype="i1")
    await same(small + 127, np.array([-128, -128], "i1"))
    for _ in range(2):  # inferred, then remembered
        for call in (lambda: small + 128, lambda: 128 + small, lambda: small - (-129), lambda: np.add(small, 128)):
            with pytest.raises(OverflowError, match=r"128|129"):
                call()
    with pytest.raises(OverflowError):
        alice.ones(2) + 10**400
    # numpy's own scalars are arrays of their dtype.
    assert (alice.ones(2, dtype="f4") * np.float64(2)).dtype == np.float64


async def test_attributes(alice):
    x = alice.asarray(A)
    assert (x.shape, x.ndim, x.size, x.nbytes, len(x)) == ((3, 4), 2, 12, 48, 3)
    assert (x.dtype, x.device, x.worker) == (np.dtype("f4"), "alice", "alice")
    assert repr(x) == "<RemoteTensor float32[3, 4] at alice>"
    await same(x.T, A.T)
    await same(alice.asarray(A[None]).mT, A[None].swapaxes(1, 2))
    with pytest.raises(ValueError, match=r"x\.mT"):
        _ = alice.asarray(A[0]).T
    with pytest.raises(TypeError, match="0-d"):
        len(x.sum())
    some = x[x > 5]
    assert (some.shape, some.size, repr(some)) == ((None,), None, "<RemoteTensor float32[?] at alice>")
    with pytest.raises(TypeError, match=r"await x\.info"):
        len(some)
    with pytest.raises(TypeError, match=r"await x\.info"):
        iter(some)
    await some.info()
    assert (some.shape, len(some), some.size) == ((7,), 7, 7)


async def test_parts(alice):
    x, mask, index = alice.asarray(A), alice.asarray(MASK), alice.asarray(np.array([2, 0]))
    await same(x[1], A[1])
    await same(x[-1, ::2], A[-1, ::2])
    await same(x[..., None, 1:3], A[..., None, 1:3])
    await same(x[mask], A[MASK])
    await same(x[MASK], A[MASK])
    await same(x[index, 1:], A[[2, 0], 1:])
    await same(x[[2, 0]], A[[2, 0]])
    await same(x[x > 5], A[A > 5])
    await same(x[np.int64(1)], A[1])
    for key, error in ((3, IndexError), ((0, 0, 0), IndexError), (1.5, TypeError), ("a", TypeError)):
        with pytest.raises(error):
            x[key]


async def test_parts_are_replaced(alice):
    x, wanted = alice.asarray(A), A.copy()
    before, alias = x.id, x
    x[1, 1:3] = 5
    wanted[1, 1:3] = 5
    x[alice.asarray(MASK)] += 1
    wanted[MASK] += 1
    x[0] = alice.asarray(B[0])
    wanted[0] = B[0]
    x[x < 0] = 0.5
    wanted[wanted < 0] = 0.5
    assert alias is x
    assert x.id != before
    await same(x, wanted)
    with pytest.raises(TypeError):
        alice.asarray(I)[0] = 0.5
    with pytest.raises(ValueError, match="shape"):
        x[0] = np.ones(3, "f4")
    await same(x, wanted)


async def test_a_replaced_tensor_is_forgotten(driver):
    objects = driver.workers["bob"]
    x = objects.zeros(4)
    y = x + 1
    await driver.flush()
    before = (await objects.stats())["objects"]
    for at in range(4):
        x[at] = at
    await driver.flush()
    await objects.stats()
    assert (await objects.stats())["objects"] == before
    assert (await x.get()).tolist() == [0, 1, 2, 3]
    assert (await y.get()).tolist() == [1, 1, 1, 1]


async def test_iteration(alice):
    rows = list(alice.asarray(A))
    assert len(rows) == 3
    await same(rows[2], A[2])
    first, second = alice.asarray(np.arange(2))
    await same(second - first, np.int64(1))
    with pytest.raises(TypeError, match="0-d"):
        list(alice.asarray(3.0))
    assert await sum(alice.asarray(np.arange(4))).get() == 6


METHODS = [
    lambda x: x.sum(),
    lambda x: x.sum(axis=0),
    lambda x: x.sum((0, 1), keepdims=True),
    lambda x: x.sum(dtype="f8"),
    lambda x: x.prod(1),
    lambda x: x.mean(axis=-1),
    lambda x: x.max(),
    lambda x: x.min(axis=1, keepdims=True),
    lambda x: x.std(),
    lambda x: x.var(axis=0),
    lambda x: x.any(),
    lambda x: x.all(axis=0),
    lambda x: x.argmax(),
    lambda x: x.argmin(axis=1),
    lambda x: x.reshape(2, 6),
    lambda x: x.reshape((2, -1)),
    lambda x: x.reshape(-1),
    lambda x: x.astype("i8"),
    lambda x: x.astype(np.float64),
    lambda x: x.transpose(),
    lambda x: x.transpose(1, 0),
    lambda x: x.transpose((0, 1)),
    lambda x: x[:, :1].squeeze(),
    lambda x: x[:, :1].squeeze(axis=1),
    lambda x: x.flatten(),
    lambda x: x.ravel(),
    lambda x: x.clip(0, 2),
    lambda x: x.clip(max=1),
    lambda x: x.round(),
    lambda x: x.conj(),
    lambda x: x.dot(np.ones(4, "f4")),
    lambda x: x.copy(),
    lambda x: (x + 1j).real,
    lambda x: (x * 2j).imag,
]


@pytest.mark.parametrize("method", METHODS)
async def test_methods(alice, method):
    await same(method(alice.asarray(B)), method(B))


async def test_corrected_statistics(alice):
    await same(alice.asarray(B).std(correction=1), B.std(ddof=1))


NEEDS_DATA = [
    bool,
    int,
    float,
    complex,
    operator.index,
    np.asarray,
    np.array,
    pickle.dumps,
    lambda x: x.item(),
    lambda x: x.tolist(),
    lambda x: x.__dlpack__(),
    lambda x: x.__dlpack_device__(),
    lambda x: 3 in x,
    lambda x: x if x > 1 else 0,
    lambda x: [1, 2, 3][x],
    lambda x: np.arange(3)[x],
    lambda x: range(x),
]


@pytest.mark.parametrize("use", NEEDS_DATA)
async def test_what_needs_the_data_is_refused(alice, use):
    x = alice.asarray(1)
    steps = alice.recorder.steps_recorded
    with pytest.raises(TypeError, match=r"await x\.get\(\)"):
        use(x)
    assert alice.recorder.steps_recorded == steps


async def test_tensors_are_keys_and_copied_by_handle(alice):
    x, y = alice.zeros(2), alice.zeros(2)
    assert len({x, y, x}) == 2
    assert {x: 1, y: 2}[y] == 2
    for made in (copy.copy(x), copy.deepcopy([x])[0]):
        assert made.id != x.id
        made.delete()
    await same(x, np.zeros(2))


async def test_large_arrays_do_not_travel_along(alice):
    large = np.zeros(1 << 16)
    x = alice.zeros(1 << 16)
    for call in (lambda: x + large, lambda: large + x, lambda: alice.asarray(large)):
        with pytest.raises(ValueError, match=r"await worker\.send"):
            call()
    assert ((large[:100] == x[:100]).all()).dtype == np.bool_


async def test_what_travels_along_is_deleted_again(alice, driver):
    x = alice.zeros(3)
    await driver.flush()
    before = (await alice.stats())["objects"]
    y = [x + np.ones(3) for _ in range(5)]
    with pytest.raises(TypeError):
        np.ones(3) + x + np.array(["text"])
    await driver.flush()
    await alice.stats()
    assert (await alice.stats())["objects"] == before + len(y)


async def test_workers_do_not_mix(driver, alice):
    bob = driver["bob"]
    x, y = alice.ones(2), bob.ones(2)
    calls = [
        lambda: x + y,
        lambda: np.add(x, y),
        lambda: np.concatenate([x, y]),
        lambda: x[y > 0],
        lambda: alice.call("add", y, y),
        lambda: alice.full(3, y[0]),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"alice.*bob.*move|bob.*alice.*move"):
            call()
    assert x.to_device("alice") is x
    assert x.to_device(alice) is x
    await same(x.to_device(bob) + y, np.full(2, 2.0))
    with pytest.raises(ValueError, match="worker itself"):
        x.to_device("bob")
    with pytest.raises(ValueError, match="at alice already"):
        x.move(alice)
    with pytest.raises(ValueError, match="streams"):
        x.to_device(bob, stream=1)


async def test_deleted_tensors_cannot_be_used(alice):
    x, y = alice.ones(2), alice.ones(2)
    x.delete()
    for call in (lambda: x + y, lambda: y + x, lambda: x + 1, lambda: -x, lambda: x.sum(), lambda: x[0], x.delete):
        with pytest.raises(LocalProtocolError, match="deleted"):
            call()


async def test_creation(alice):
    await same(alice.zeros((2, 3)), np.zeros((2, 3)))
    await same(alice.ones(3, dtype="f4"), np.ones(3, "f4"))
    await same(alice.empty(0), np.empty(0))
    await same(alice.full((2,), 7), np.full(2, 7))
    await same(alice.full(2, 1 + 1j), np.full(2, 1 + 1j))
    await same(alice.full(2, alice.asarray(3, dtype="f4")), np.full(2, np.float32(3)))
    await same(alice.arange(10), np.arange(10))
    await same(alice.arange(1, 10, 3, dtype="f8"), np.arange(1, 10, 3, "f8"))
    await same(alice.linspace(0, 1, 5), np.linspace(0, 1, 5))
    await same(alice.eye(3, k=1), np.eye(3, k=1))
    await same(alice.asarray([[1, 2], [3, 4]]), np.array([[1, 2], [3, 4]]))
    await same(alice.asarray([1, 2], dtype="f4"), np.array([1, 2], "f4"))
    for call in (lambda: alice.zeros(-1), lambda: alice.arange(0, 1, 0)):
        with pytest.raises(ValueError, match=r"step|shape"):
            call()


async def test_calls_by_name(alice):
    x = alice.asarray(A)
    await same(alice.call("sum", x, axis=0), A.sum(axis=0))
    assert isinstance(alice.call("nonzero", x[0]), tuple)
    q, r = alice.call("linalg.qr", x)
    await same((q @ r) * 0, np.zeros((3, 4), "f4"))
    with pytest.raises(TypeError, match="no such op"):
        alice.call("nonsense", x)
