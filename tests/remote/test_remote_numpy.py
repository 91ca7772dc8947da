"""numpy's functions on remote tensors: the same call on arrays gives the same, whichever numpy it is."""

from __future__ import annotations

import numpy as np
import pytest

import asyncsyft

pytestmark = pytest.mark.anyio

A = np.array([[3.0, -1.5, 0.25, 2.0], [1.0, 4.5, -2.0, 0.5], [0.75, 2.5, 1.25, -3.0]])
B = np.linspace(0.1, 0.9, 12).reshape(3, 4)
I = np.array([[3, -5, 7, 1], [2, 0, 6, 4]])  # noqa: E741
S = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, 0.25], [0.5, 0.25, 2.0]])
C = A[:, :3] + 1j * B[:, :3]
M = A > 0
T = np.arange(24.0).reshape(2, 3, 4)
ARRAYS = {"a": A, "b": B, "i": I, "s": S, "c": C, "m": M, "t": T}


@pytest.fixture(scope="module")
async def alice(anyio_backend):
    async with asyncsyft.local("alice", "bob") as driver:
        yield driver["alice"]


def named(names):
    """numpy's functions of these names that this numpy has."""
    return [getattr(np, name) for name in names.split() if hasattr(np, name)]


async def same(call, alice):
    """That a call on tensors gives what it gives on arrays."""
    wanted = call(**ARRAYS)
    given = call(**{name: alice.asarray(array) for name, array in ARRAYS.items()})
    if not isinstance(wanted, (tuple, list)):
        wanted, given = [wanted], [given]
    assert len(wanted) == len(given)
    for want, tensor in zip(wanted, given):
        found = await tensor.get()
        assert isinstance(tensor, asyncsyft.RemoteTensor)
        assert (found.dtype, found.shape) == (np.asarray(want).dtype, np.shape(want))
        assert (tensor.dtype, tensor.shape) == (found.dtype, found.shape) or None in tensor.shape
        np.testing.assert_allclose(found, want, rtol=1e-9, atol=1e-12)


UNARY = """absolute abs ceil conj conjugate cos cosh exp expm1 floor isfinite isinf isnan log log10 log1p log2
    logical_not negative positive reciprocal rint sign signbit sin sinh sqrt square tan tanh trunc arcsin
    arccos arctan arcsinh arctanh"""


@pytest.mark.parametrize("ufunc", named(UNARY))
async def test_ufuncs_of_one_array(alice, ufunc):
    await same(lambda b, **_: ufunc(b), alice)


BINARY = """add subtract multiply divide true_divide floor_divide remainder mod power arctan2 copysign hypot logaddexp
    maximum minimum nextafter equal not_equal less less_equal greater greater_equal logical_and logical_or
    logical_xor"""


@pytest.mark.parametrize("ufunc", named(BINARY))
async def test_ufuncs_of_two_arrays(alice, ufunc):
    await same(lambda a, b, **_: ufunc(b, b * 3), alice)
    await same(lambda a, b, **_: ufunc(b, B[0]), alice)
    await same(lambda a, b, **_: ufunc(B[:, :1], b), alice)
    await same(lambda a, b, **_: ufunc(b, [1.0, 2.0, 3.0, 4.0]), alice)
    await same(lambda a, b, **_: ufunc(np.float64(2), b), alice)


CALLS = [
    lambda m, **_: np.invert(m),
    lambda i, **_: np.bitwise_and(i, 3),
    lambda i, **_: np.left_shift(i, 2),
    lambda i, m, **_: np.logical_and(i, m[:2]),
    lambda a, b, **_: np.matmul(a, b.T),
    lambda a, **_: np.matmul(A.T, a),
    lambda a, **_: A.T @ a,
    lambda a, **_: np.add.reduce(a),
    lambda a, **_: np.multiply.reduce(a, axis=1, keepdims=True),
    lambda a, **_: np.maximum.reduce(a, axis=None),
    lambda a, **_: np.minimum.reduce(a, 1),
    lambda m, **_: np.logical_or.reduce(m, axis=1),
    lambda m, **_: np.logical_and.reduce(m),
    lambda a, **_: np.add.accumulate(a, axis=1),
    lambda a, **_: np.multiply.accumulate(a),
    lambda a, **_: np.sum(a),
    lambda a, **_: np.sum(a, 0),
    lambda t, **_: np.sum(t, axis=(0, 2), keepdims=True),
    lambda a, **_: np.sum(a, dtype=np.float32),
    lambda i, **_: np.prod(i, axis=1),
    lambda a, **_: np.max(a, axis=1),
    lambda a, **_: np.amin(a),
    lambda a, **_: np.mean(a, axis=0),
    lambda a, **_: np.std(a, ddof=1),
    lambda a, **_: np.var(a, axis=1, keepdims=True),
    lambda m, **_: np.all(m, axis=0),
    lambda a, **_: np.any(a),
    lambda a, **_: np.argmax(a),
    lambda a, **_: np.argmin(a, axis=1),
    lambda a, **_: np.count_nonzero(a, axis=1),
    lambda a, **_: np.cumsum(a),
    lambda a, **_: np.cumsum(a, axis=1),
    lambda a, **_: np.cumprod(a, axis=0),
    lambda a, b, **_: np.concatenate([a, b]),
    lambda a, b, **_: np.concatenate((a, b), axis=None),
    lambda a, **_: np.concatenate([a, B], axis=1, dtype=np.float32, casting="unsafe"),
    lambda a, **_: np.concatenate(a.reshape(3, 4)),
    lambda a, b, **_: np.stack([a, b], axis=-1),
    lambda a, b, **_: np.vstack([a, b[0]]),
    lambda a, b, **_: np.hstack([a, b]),
    lambda a, b, **_: np.hstack([a[0], b[0], 3.0]),
    lambda t, **_: np.transpose(t),
    lambda t, **_: np.transpose(t, (1, 0, 2)),
    lambda t, **_: np.swapaxes(t, 0, -1),
    lambda t, **_: np.moveaxis(t, 0, -1),
    lambda a, **_: np.reshape(a, (2, -1)),
    lambda a, **_: np.reshape(a, -1),
    lambda a, **_: np.ravel(a),
    lambda a, **_: np.expand_dims(a, 1),
    lambda a, **_: np.squeeze(a[None, :, :1]),
    lambda a, **_: np.squeeze(a[None], axis=0),
    lambda a, **_: np.flip(a, 1),
    lambda a, **_: np.roll(a, 2, axis=1),
    lambda a, **_: np.roll(a, 2),
    lambda a, **_: np.broadcast_to(a, (2, 3, 4)),
    lambda a, **_: np.broadcast_arrays(a, a[0]),
    lambda a, **_: np.tile(a, (2, 1)),
    lambda a, **_: np.repeat(a, 2),
    lambda a, **_: np.repeat(a, [1, 2, 0], axis=0),
    lambda a, **_: np.meshgrid(a[0], a[1], indexing="ij"),
    lambda m, a, b, **_: np.where(m, a, b),
    lambda a, **_: np.where(a, a, 0.0),
    lambda m, **_: np.where(m),
    lambda a, **_: np.where(M, 1.5, a),
    lambda m, **_: np.nonzero(m),
    lambda a, **_: np.take(a, [0, 2], axis=1),
    lambda a, **_: np.take(a, 3),
    lambda a, **_: np.take(a, np.array([[1, 2]])),
    lambda a, **_: np.take_along_axis(a, np.array([[1], [0], [2]]), axis=1),
    lambda a, **_: np.sort(a),
    lambda a, **_: np.sort(a, axis=None),
    lambda a, **_: np.argsort(a, axis=0, kind="stable"),
    lambda b, **_: np.searchsorted(b[0], [0.2, 0.3], side="right"),
    lambda a, **_: np.diff(a, axis=0),
    lambda a, **_: np.diff(a, n=2, prepend=np.zeros((3, 1))),
    lambda a, **_: np.clip(a, 0, 1),
    lambda a, **_: np.clip(a, a_min=None, a_max=1.0),
    lambda a, **_: np.round(a),
    lambda a, **_: np.around(a, 0),
    lambda c, **_: np.real(c),
    lambda c, **_: np.imag(c),
    lambda a, **_: np.tril(a, -1),
    lambda a, **_: np.triu(a, k=1),
    lambda a, **_: np.zeros_like(a),
    lambda a, **_: np.ones_like(a, dtype=np.int64),
    lambda a, **_: np.full_like(a, 3),
    lambda a, **_: np.copy(a),
    lambda a, **_: np.dot(a, a.T),
    lambda a, **_: np.dot(a[0], a[1]),
    lambda a, **_: np.dot(a, 2.0),
    lambda a, t, **_: np.dot(a[:, :3], t),
    lambda a, **_: np.outer(a, [1.0, 2.0]),
    lambda a, b, **_: np.tensordot(a, b, axes=([0, 1], [0, 1])),
    lambda a, b, **_: np.tensordot(a, b.T, axes=1),
    lambda a, **_: np.trace(a),
    lambda t, **_: np.trace(t, 1),
    lambda t, **_: np.diagonal(t, axis1=1, axis2=2),
    lambda s, **_: np.cross(s, S[0]),
    lambda s, **_: np.linalg.solve(s, s[0]),
    lambda s, a, **_: np.linalg.solve(S, a),
    lambda s, **_: np.linalg.inv(s),
    lambda s, **_: np.linalg.det(s),
    lambda s, **_: np.linalg.slogdet(s),
    lambda s, **_: np.linalg.cholesky(s),
    lambda s, **_: np.linalg.qr(s),
    lambda s, **_: np.linalg.svd(s),
    lambda a, **_: np.linalg.svd(a, full_matrices=False),
    lambda a, **_: np.linalg.svd(a, compute_uv=False),
    lambda s, **_: np.linalg.eigh(s),
    lambda s, **_: np.linalg.eigvalsh(s),
    lambda a, **_: np.linalg.pinv(a),
    lambda s, **_: np.linalg.matrix_rank(s),
    lambda s, **_: np.linalg.matrix_power(s, 3),
    lambda a, **_: np.linalg.norm(a),
    lambda t, **_: np.linalg.norm(t),
    lambda a, **_: np.linalg.norm(a, axis=1, keepdims=True),
    lambda a, **_: np.linalg.norm(a, 1),
    lambda a, **_: np.linalg.norm(a[0], np.inf),
    lambda t, **_: np.linalg.norm(t, "fro", axis=(0, 2)),
    lambda t, **_: np.linalg.norm(t, "nuc", axis=(1, 2), keepdims=True),
    lambda a, **_: np.fft.fft(a),
    lambda a, **_: np.fft.fft(a, norm=None),
    lambda a, **_: np.fft.rfft(a, n=3, axis=0, norm="ortho"),
    lambda c, **_: np.fft.ifftn(c, axes=(0, 1)),
    lambda a, **_: np.fft.fftshift(a),
]
NEW = [  # numpy 2
    lambda a, **_: np.concat([a, a]),
    lambda a, **_: np.permute_dims(a, (1, 0)),
    lambda a, **_: np.matrix_transpose(a),
    lambda a, **_: np.std(a, correction=1),
    lambda a, **_: np.reshape(a, shape=(4, 3)),
    lambda i, **_: np.astype(i, np.float32),
    lambda i, **_: np.sort(np.unique_values(i)),
    lambda i, **_: np.unique_counts(i),
    lambda a, **_: np.linalg.vector_norm(a, axis=1),
    lambda a, **_: np.linalg.matrix_norm(a),
    lambda a, **_: np.linalg.svdvals(a),
    lambda t, **_: np.linalg.trace(t),
    lambda t, **_: np.linalg.diagonal(t),
    lambda s, **_: np.linalg.cross(s, s[::-1]),
    lambda a, **_: np.linalg.matmul(a, a.T),
    lambda a, **_: np.linalg.outer(a[0], a[1]),
]
if hasattr(np, "cumulative_sum"):
    NEW += [lambda a, **_: np.cumulative_sum(a, axis=1, include_initial=True), lambda a, **_: np.unstack(a)]
if hasattr(np, "vecdot"):
    NEW += [lambda c, **_: np.vecdot(c, c), lambda a, b, **_: np.vecdot(a, b, axis=0)]


@pytest.mark.parametrize("call", CALLS + (NEW if hasattr(np, "concat") else []))
async def test_functions(alice, call):
    await same(call, alice)


async def test_what_needs_no_step(alice):
    x, c = alice.asarray(A), alice.asarray(C)
    assert (np.shape(x), np.ndim(x), np.size(x), np.size(x, 1)) == ((3, 4), 2, 12, 4)
    assert (np.iscomplexobj(x), np.iscomplexobj(c), np.isrealobj(x)) == (False, True, True)
    assert np.result_type(x, c, np.float32) == np.complex128
    assert np.shape(x[x > 0]) == (None,)


DATA = r"await x\.get\(\)"
REFUSED = [
    (lambda x: np.median(x), DATA),
    (lambda x: np.histogram(x), DATA),
    (lambda x: np.allclose(x, x), DATA),
    (lambda x: np.array_equal(x, x), DATA),
    (lambda x: np.einsum("ij->i", x), DATA),
    (lambda x: np.save("never", x), DATA),
    (lambda x: np.cbrt(x), DATA),
    (lambda x: np.divmod(x, x), DATA),
    (lambda x: np.subtract.reduce(x), DATA),
    (lambda x: np.add.outer(x, x), DATA),
    (lambda x: np.add.at(np.zeros(3), [0], x), DATA),
    (lambda x: np.add(x, x, out=np.zeros((3, 4))), "out="),
    (lambda x: np.add(x, x, where=M), "where="),
    (lambda x: np.add(x, x, dtype=np.float32), "dtype="),
    (lambda x: np.add.reduce(x, out=np.zeros(4)), "out="),
    (lambda x: np.sum(x, out=np.zeros(4), axis=0), "out="),
    (lambda x: np.sum(x, where=M), "where="),
    (lambda x: np.max(x, initial=3), "initial="),
    (lambda x: np.mean(x, dtype=np.float32), "dtype="),
    (lambda x: np.linalg.eigh(x[:, :3], UPLO="U"), "UPLO="),
    (lambda x: np.reshape(x, (4, 3), order="F"), "C order"),
    (lambda x: np.ravel(x, order="F"), "C order"),
    (lambda x: np.round(x, 2), "multiply"),
    (lambda x: np.meshgrid(x[0], x[1], sparse=True), "sparse="),
    (lambda x: np.squeeze(x[x > 0]), r"await x\.info\(\)"),
    (lambda x: np.zeros(3).__iadd__(x[0, :3]), "out="),
    (lambda x: np.linalg.norm(np.ones((2, 2, 2)) + x[0, 0], "fro", axis=(0, 1), keepdims=True), "keepdims="),
]


@pytest.mark.parametrize(("call", "message"), REFUSED)
async def test_what_would_need_the_data_is_refused(alice, call, message):
    x = alice.asarray(A)
    with pytest.raises(TypeError, match=message):
        call(x)


async def test_wrong_calls(alice):
    x = alice.asarray(A)
    with pytest.raises(ValueError, match="both"):
        np.where(x > 0, x)
    with pytest.raises(ValueError, match="order"):
        np.linalg.norm(alice.asarray(T), "fro")
    with pytest.raises(ValueError, match="shapes"):
        np.concatenate([x, np.zeros((2, 2))])

    class Other:
        def __array_function__(self, func, types, args, kwargs):
            return NotImplemented

    with pytest.raises(TypeError, match="no implementation found"):
        np.concatenate([x, Other()])
