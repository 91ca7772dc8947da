"""The array API namespace: every function against the ops run here, and against numpy where it has the array API."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest

import asyncsyft
from asyncsyft.ops import OPS, bind, run, scalar_dtypes

pytestmark = pytest.mark.anyio

A = np.array([[3.0, -1.5, 0.25, 2.0], [1.0, 4.5, -2.0, 0.5], [0.75, 2.5, 1.25, -3.0]])
ARRAYS = {
    "a": A,
    "p": np.linspace(0.1, 0.9, 12).reshape(3, 4),
    "i": np.array([[3, -5, 7, 1], [2, 0, 6, 1]]),
    "s": np.array([[4.0, 1.0, 0.5], [1.0, 3.0, 0.25], [0.5, 0.25, 2.0]]),
    "c": A[:, :3] * (1 + 2j),
    "m": A > 0,
    "v": np.array([1.0, 2.0, 3.0]),
}


@pytest.fixture(scope="module")
async def driver(anyio_backend):
    async with asyncsyft.local("alice", "bob") as made:
        yield made


@pytest.fixture(scope="module")
def alice(driver):
    return driver["alice"]


class Here:
    """The ops of the table, run on arrays at once: what a worker is to give."""

    def __init__(self, prefix=""):
        self.prefix = prefix

    def __getattr__(self, name):
        op = self.prefix + name
        if not self.prefix and name in ("linalg", "fft"):
            return Here(f"{name}.")
        if name in ("matmul", "tensordot", "vecdot", "matrix_transpose"):
            op = name

        def call(*args, **kwargs):
            inputs, params = bind(op, args, kwargs, lambda value: isinstance(value, np.ndarray))
            known = [value if type(value) in (bool, int, float, complex) else value.dtype for value in inputs]
            arrays = [np.asarray(value, dtype) for value, dtype in zip(inputs, scalar_dtypes(op, known, params))]
            results = run(op, arrays, params)
            return results[0] if OPS[op].outputs == 1 else results

        return call


POSITIVE = """abs ceil conj cos cosh exp expm1 floor isfinite isinf isnan log log10 log1p log2 negative positive real
    reciprocal round sign signbit sin sinh sqrt square tan tanh trunc acos asin asinh atan atanh"""
PAIRS = """add subtract multiply divide floor_divide remainder pow atan2 copysign hypot logaddexp maximum minimum
    nextafter equal not_equal less less_equal greater greater_equal"""
FOLDS = "sum prod mean std var max min all any count_nonzero argmax argmin"
CALLS = {
    **{name: lambda f, p, **_: (f(p),) for name in POSITIVE.split()},
    **{name: lambda f, p, **_: (f(p, p * 2), f(p, 2.0)) for name in PAIRS.split()},
    **{name: lambda f, a, **_: (f(a), f(a, axis=1), f(a, axis=-1, keepdims=True)) for name in FOLDS.split()},
    **{f"bitwise_{name}": lambda f, i, **_: (f(i, 5),) for name in ("and", "or", "xor")},
    **{f"bitwise_{name}_shift": lambda f, i, **_: (f(i, i[1] * 0 + 2),) for name in ("left", "right")},
    **{f"logical_{name}": lambda f, m, **_: (f(m, m[0]),) for name in ("and", "or", "xor")},
    **{name: lambda f, **_: (f((2, 3)), f(4, dtype="float32")) for name in ("zeros", "ones", "empty")},
    **{f"{name}_like": lambda f, i, **_: (f(i), f(i, dtype="float32")) for name in ("zeros", "ones", "empty")},
    **{f"unique_{name}": lambda f, i, **_: f(i) for name in ("all", "counts", "inverse")},
    **{
        f"cumulative_{name}": lambda f, a, **_: (f(a, axis=0), f(a[0], include_initial=True))
        for name in ("sum", "prod")
    },
    **{
        f"fft.{name}": lambda f, c, **_: (f(c), f(c, n=5, axis=0, norm="ortho"))
        for name in ("fft", "ifft", "hfft", "irfft")
    },
    **{f"fft.{name}": lambda f, a, **_: (f(a), f(a, n=5, axis=0)) for name in ("rfft", "ihfft")},
    **{
        f"fft.{name}": lambda f, a, **_: (f(a), f(a, s=(2, 2), axes=(0, 1)))
        for name in ("fftn", "ifftn", "rfftn", "irfftn")
    },
    **{f"fft.{name}": lambda f, a, **_: (f(a), f(a, axes=1)) for name in ("fftshift", "ifftshift")},
    **{f"fft.{name}": lambda f, **_: (f(5), f(6, d=0.5)) for name in ("fftfreq", "rfftfreq")},
    **{
        f"linalg.{name}": lambda f, s, **_: (f(s),)
        for name in ("cholesky", "det", "inv", "eigvalsh", "svdvals", "pinv")
    },
    **{f"linalg.{name}": lambda f, s, **_: f(s) for name in ("eigh", "qr", "slogdet", "svd")},
    **{f"{name}matmul": lambda f, a, p, **_: (f(a, p.T),) for name in ("", "linalg.")},
    **{f"{name}matrix_transpose": lambda f, a, **_: (f(a),) for name in ("", "linalg.")},
    **{f"{name}tensordot": lambda f, a, p, **_: (f(a, p), f(a, p, axes=((0,), (0,)))) for name in ("", "linalg.")},
    **{f"{name}vecdot": lambda f, a, c, **_: (f(c, c), f(a, a, axis=-2)) for name in ("", "linalg.")},
    "acosh": lambda f, p, **_: (f(p + 1),),
    "arange": lambda f, **_: (f(4), f(1, 7, 2), f(0, 1, 0.25)),
    "argsort": lambda f, i, **_: (f(i), f(i, axis=0, descending=True)),
    "astype": lambda f, i, **_: (f(i, "float32"),),
    "bitwise_invert": lambda f, i, **_: (f(i),),
    "broadcast_arrays": lambda f, a, **_: f(a, a[0]),
    "broadcast_to": lambda f, v, **_: (f(v, (2, 3)),),
    "clip": lambda f, a, **_: (f(a, 0, 1), f(a, max=0), f(a, a * 0)),
    "concat": lambda f, a, p, **_: (f([a, p]), f((a, p), axis=1), f([a, p], axis=None)),
    "diff": lambda f, a, **_: (f(a), f(a, axis=0, n=2), f(a, append=a)),
    "expand_dims": lambda f, a, **_: (f(a, axis=0), f(a, axis=-1)),
    "eye": lambda f, **_: (f(3), f(2, 3, k=1)),
    "flip": lambda f, a, **_: (f(a), f(a, axis=1)),
    "full": lambda f, **_: (f((2,), 3), f(2, 1 + 1j), f(2, True)),
    "full_like": lambda f, a, **_: (f(a, 3), f(a, fill_value=1, dtype="int64")),
    "imag": lambda f, c, **_: (f(c),),
    "linalg.cross": lambda f, s, **_: (f(s, s[::-1]),),
    "linalg.diagonal": lambda f, a, **_: (f(a), f(a, offset=1)),
    "linalg.matrix_norm": lambda f, a, **_: (f(a), f(a, ord="nuc", keepdims=True), f(a, ord=math.inf)),
    "linalg.matrix_power": lambda f, s, **_: (f(s, 3), f(s, -1)),
    "linalg.matrix_rank": lambda f, a, **_: (f(a), f(a, rtol=0.9)),
    "linalg.outer": lambda f, v, **_: (f(v, v),),
    "linalg.solve": lambda f, s, v, **_: (f(s, v), f(s, s)),
    "linalg.trace": lambda f, a, **_: (f(a), f(a, offset=1)),
    "linalg.vector_norm": lambda f, a, **_: (f(a), f(a, axis=1, ord=math.inf), f(a, ord=1, keepdims=True)),
    "linspace": lambda f, **_: (f(0, 1, 5), f(0.0, 1.0, 4, endpoint=False)),
    "logical_not": lambda f, m, **_: (f(m),),
    "meshgrid": lambda f, v, **_: f(v, v * 2, indexing="ij"),
    "moveaxis": lambda f, a, **_: (f(a, 0, 1),),
    "nonzero": lambda f, m, **_: f(m),
    "permute_dims": lambda f, a, **_: (f(a, (1, 0)),),
    "repeat": lambda f, a, **_: (f(a, 2), f(a, 2, axis=1)),
    "reshape": lambda f, a, **_: (f(a, (4, 3)), f(a, (-1,))),
    "roll": lambda f, a, **_: (f(a, 2), f(a, (1, 2), axis=(0, 1))),
    "searchsorted": lambda f, v, **_: (f(v, v), f(v, v, side="right")),
    "sort": lambda f, i, **_: (f(i), f(i, axis=0, descending=True)),
    "squeeze": lambda f, a, **_: (f(a[None], 0), f(a[:, :1], axis=1)),
    "stack": lambda f, a, p, **_: (f([a, p]), f((a, p), axis=-1)),
    "take": lambda f, a, i, **_: (f(a, i[1, :2], axis=1),),
    "take_along_axis": lambda f, a, i, **_: (f(a, i[1:, :1], axis=-1),),
    "tile": lambda f, a, **_: (f(a, (2, 1)),),
    "tril": lambda f, a, **_: (f(a), f(a, k=1)),
    "triu": lambda f, a, **_: (f(a), f(a, k=-1)),
    "unique_values": lambda f, i, **_: (f(i),),
    "unstack": lambda f, a, **_: f(a, axis=1),
    "where": lambda f, m, a, p, **_: (f(m, a, p), f(m, a, 0.0)),
}
#: What numpy's own array API does otherwise: it lacks parameters, is stricter, or leaves the order open.
NOT_AS_NUMPY = frozenset(
    """argsort clip count_nonzero cumulative_prod cumulative_sum diff empty empty_like repeat searchsorted sort std
    take_along_axis unique_all unique_counts unique_inverse unique_values unstack var""".split()  # noqa: SIM905
)


def resolve(namespace, name):
    for part in name.split("."):
        namespace = getattr(namespace, part)
    return namespace


def test_every_function_is_called():
    reachable = set(OPS) - {"getitem", "setitem"}
    assert reachable <= set(CALLS)
    assert {f"linalg.{name}" for name in ("matmul", "matrix_transpose", "tensordot", "vecdot")} <= set(CALLS)


def against(name):
    yield Here()
    if hasattr(np, "__array_api_version__") and name not in NOT_AS_NUMPY:
        yield np


@pytest.mark.parametrize("name", sorted(CALLS))
async def test_functions(alice, name):
    call = CALLS[name]
    tensors = call(resolve(alice.xp, name), **{key: alice.asarray(array) for key, array in ARRAYS.items()})
    found = [await tensor.get() for tensor in tensors]
    for tensor, array in zip(tensors, found):
        assert (tensor.dtype, tensor.shape) == (array.dtype, array.shape) or None in tensor.shape
    for reference in against(name):
        wanted = call(resolve(reference, name), **ARRAYS)
        assert len(found) == len(wanted)
        for array, want in zip(found, wanted):
            assert (array.dtype, array.shape) == (want.dtype, want.shape)
            np.testing.assert_allclose(array, want, rtol=1e-9, atol=1e-12)


async def test_results_have_the_standard_s_names(alice):
    xp, x = alice.xp, alice.asarray(ARRAYS["s"])
    assert xp.unique_all(x)._fields == ("values", "indices", "inverse_indices", "counts")
    assert xp.unique_counts(x)._fields == ("values", "counts")
    assert xp.unique_inverse(x)._fields == ("values", "inverse_indices")
    assert xp.linalg.eigh(x)._fields == ("eigenvalues", "eigenvectors")
    assert xp.linalg.qr(x)._fields == ("Q", "R")
    assert xp.linalg.slogdet(x)._fields == ("sign", "logabsdet")
    assert xp.linalg.svd(x)._fields == ("U", "S", "Vh")
    assert isinstance(xp.nonzero(x), tuple)


async def test_dtypes_and_constants(alice):
    xp = alice.xp
    assert (xp.pi, xp.e, xp.inf, xp.newaxis) == (math.pi, math.e, math.inf, None)
    assert math.isnan(xp.nan)
    assert xp.zeros(2, dtype=xp.float32).dtype == xp.float32 == np.float32
    assert xp.isdtype(xp.int8, "signed integer")
    assert xp.isdtype(xp.uint8, ("real floating", "integral"))
    assert xp.isdtype(xp.complex64, xp.complex64)
    assert not xp.isdtype(xp.bool, "numeric")
    with pytest.raises(ValueError, match="kinds"):
        xp.isdtype(xp.bool, "number")
    assert xp.can_cast(xp.int8, xp.int16)
    assert not xp.can_cast(xp.int16, xp.int8)
    assert not xp.can_cast(xp.uint64, xp.int8)
    assert xp.can_cast(alice.zeros(2), xp.float64)
    assert xp.result_type(xp.int8, alice.zeros(2, dtype="float32"), 1.0) == xp.float32
    assert xp.result_type(xp.float32, 1j) == xp.complex64
    for call in (
        lambda: xp.result_type(1, 2.0),
        lambda: xp.result_type(xp.uint64, xp.int8),
        lambda: xp.finfo("float16"),
    ):
        with pytest.raises(TypeError):
            call()
    finfo, iinfo = xp.finfo(alice.zeros(2, dtype="complex64")), xp.iinfo(xp.uint8)
    assert (finfo.bits, finfo.eps, finfo.dtype) == (32, float(np.finfo("f4").eps), xp.float32)
    assert (type(finfo.max), finfo.smallest_normal, finfo.min) == (float, float(np.finfo("f4").tiny), -finfo.max)
    assert iinfo == (8, 255, 0, xp.uint8)


async def test_info(alice):
    info = alice.xp.__array_namespace_info__()
    assert (info.default_device(), info.devices()) == ("alice", ["alice"])
    assert info.capabilities()["boolean indexing"]
    assert info.default_dtypes()["real floating"] == np.float64
    assert len(info.dtypes()) == 13
    assert set(info.dtypes(kind="signed integer")) == {"int8", "int16", "int32", "int64"}


async def test_the_namespace_of_a_tensor(alice, driver):
    x, y = alice.zeros(2), driver["bob"].zeros(2)
    assert x.__array_namespace__() == alice.xp == x.__array_namespace__(api_version="2024.12")
    assert len({x.__array_namespace__(), alice.xp}) == 1
    assert x.__array_namespace__() != y.__array_namespace__()
    assert repr(alice.xp) == "<Namespace at alice>"
    assert "zeros" in dir(alice.xp)
    assert "solve" in dir(alice.xp.linalg)
    assert inspect.getdoc(alice.xp.sum).startswith("sum(x, axis=None")
    with pytest.raises(ValueError, match="versions"):
        x.__array_namespace__(api_version="1999.12")
    with pytest.raises(AttributeError):
        alice.xp.from_dlpack  # noqa: B018
    # Functions run where the tensors are.
    assert alice.xp.sin(y).device == "bob"
    with pytest.raises(TypeError, match="no worker"):
        alice.xp.sin(1.0)


async def test_devices(alice, driver):
    bob = driver["bob"]
    xp = alice.xp
    x = xp.ones(2)
    assert xp.zeros(3, device=x.device).device == "alice"
    assert xp.zeros(3, device=bob).device == "bob"
    assert xp.full(3, 1.5, device=bob).device == "bob"
    assert xp.zeros_like(x, device=alice).device == "alice"
    moved = [xp.ones_like(x, device=bob), xp.astype(x, "int64", device=bob), xp.asarray(x, device=bob)]
    assert [tensor.device for tensor in moved] == ["bob"] * 3
    assert [(await tensor.get()).tolist() for tensor in moved] == [[1, 1]] * 3
    with pytest.raises(ValueError, match="must be a worker"):
        xp.zeros(3, device="bob")
    with pytest.raises(TypeError, match="must be a worker"):
        xp.zeros(3, device=3)


async def test_asarray(alice):
    xp = alice.xp
    x = xp.asarray([[1, 2], [3, 4]], dtype=xp.float32)
    assert (await x.get()).tolist() == [[1, 2], [3, 4]]
    assert xp.asarray(x) is x
    assert xp.asarray(x, dtype=xp.float32, copy=True) is x  # written once: nobody can tell
    assert xp.asarray(x, dtype=xp.int8).dtype == np.int8
    assert xp.asarray(True).dtype == np.bool_
    with pytest.raises(ValueError, match="copy"):
        xp.asarray([1], copy=False)
    with pytest.raises(TypeError, match="travel"):
        xp.asarray(["text"])
    with pytest.raises(ValueError, match="send"):
        xp.asarray(np.zeros(1 << 16))
