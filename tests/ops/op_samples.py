"""For every op of the table: which dtype kinds it takes, and sample calls.

An input is a shape, whose dtype the test varies, or (descriptor, shape) where the op wants that dtype.
"""

from __future__ import annotations

import math
from typing import Any, Dict, List, Tuple

import numpy as np

from asyncsyft.ops import OPS

Call = Tuple[List[Any], Dict[str, Any]]

BITS, INTEGER, FLOAT, REAL, NUMERIC, ANY = "biu", "iu", "f", "iuf", "iufc", "biufc"
INF = math.inf
DTYPES = [np.dtype(c) for c in ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8", "c8", "c16")]

SAMPLES: Dict[str, Tuple[str, List[Call]]] = {}


def sample(names: str, kinds: str, *calls: Call) -> None:
    for name in names.split():
        SAMPLES[name] = (kinds, list(calls))


def call(*inputs: Any, **params: Any) -> Call:
    return list(inputs), params


ONE = [call(()), call((3,)), call((0,)), call((2, 3)), call((2, 0, 3))]
TWO = [
    call((), ()),
    call((3,), ()),
    call((), (2, 3)),
    call((3,), (3,)),
    call((2, 1), (3,)),
    call((0,), (1,)),
    call((0,), ()),
    call((2, 0), (1, 1)),
]
MATRICES = [call((3, 3)), call((2, 3, 3)), call((0, 0)), call((0, 2, 2)), call((1, 1))]
FOLDS = [
    call(()),
    call((), axis=[]),
    call((2, 3)),
    call((2, 3), axis=0),
    call((2, 3), axis=-1, keepdims=True),
    call((2, 3), keepdims=True),
    call((2, 3, 4), axis=[0, 2]),
    call((2, 3, 4), axis=[-1, 0], keepdims=True),
    call((2, 3), axis=[]),
    call((0, 3), axis=1),
]
EMPTY_FOLDS = [call((0,)), call((0, 3), axis=0), call((2, 0), axis=1, keepdims=True)]

# Element-wise.
sample("abs conj negative positive real round sign square", NUMERIC, *ONE)
sample("isfinite isinf isnan", NUMERIC, *ONE)
sample("ceil floor trunc", REAL, *ONE)
sample("bitwise_invert", BITS, *ONE)
sample("logical_not", "b", *ONE)
sample("imag", "c", *ONE)
sample("signbit", FLOAT, *ONE)
sample("acos acosh asin asinh atan atanh cos cosh exp expm1 log log10 log1p log2", NUMERIC, *ONE)
sample("reciprocal sin sinh sqrt tan tanh", NUMERIC, *ONE)
sample("add divide multiply pow subtract", NUMERIC, *TWO)
sample("atan2 copysign floor_divide hypot logaddexp maximum minimum nextafter remainder", REAL, *TWO)
sample("greater greater_equal less less_equal", REAL, *TWO)
sample("equal not_equal", ANY, *TWO)
sample("bitwise_and bitwise_or bitwise_xor", BITS, *TWO)
sample("bitwise_left_shift bitwise_right_shift", INTEGER, *TWO)
sample("logical_and logical_or logical_xor", "b", *TWO)
sample(
    "clip",
    REAL,
    call(()),
    call((3,), ()),
    call((2, 3), (), only="max"),
    call((3,), (2, 1), ()),
    call((0,), (), ()),
)
sample(
    "where",
    ANY,
    call(("|b1", ()), (), ()),
    call(("|b1", (2, 1)), (3,), ()),
    call(("|b1", (0,)), (1,), ()),
)
sample("astype", ANY, *[call(shape, dtype=d) for shape in [(), (0, 2), (3,)] for d in ("<c16", "|b1")])

# Creation.
SHAPES = [
    {"shape": []},
    {"shape": 3},
    {"shape": [2, 0, 3]},
    {"shape": [2, 3], "dtype": "<i4"},
    {"shape": [1], "dtype": "|b1"},
]
sample("zeros ones empty", ANY, *[([], params) for params in SHAPES])
sample("zeros_like ones_like empty_like", ANY, *ONE, call((2,), dtype="<c8"))
sample(
    "tril triu",
    ANY,
    *MATRICES,
    call((2, 3), k=1),
    call((3, 2), k=-1),
    call((2, 2), k=1 << 62),
    call((2, 2), k=-1 << 62),
)
sample("full", ANY, call((), shape=[2, 3]), call((), shape=[]), call((), shape=0, dtype="<c16"))
sample("full_like", ANY, call((), ()), call((2, 3), ()), call((0,), (), dtype="<c16"))
sample(
    "arange",
    ANY,
    call(start=5),
    call(start=2, stop=11, step=3),
    call(start=5, stop=0, step=-2, dtype="<f4"),
    call(start=0.5, stop=2.0, step=0.25),
    call(start=3, stop=0),
    call(start=250, stop=256, dtype="|u1"),
    call(start=-1, stop=-8, step=-3, dtype="|i1"),
    call(start=1.0),
)
sample(
    "linspace",
    ANY,
    call(start=0, stop=1, num=5),
    call(start=-2.5, stop=2, num=4, endpoint=False, dtype="<f4"),
    call(start=1, stop=2, num=0),
    call(start=1, stop=2, num=1, dtype="<c8"),
)
sample(
    "eye", ANY, call(n_rows=3), call(n_rows=2, n_cols=4, k=1, dtype="<i2"), call(n_rows=0), call(n_rows=2, k=-(1 << 60))
)
sample("meshgrid", ANY, call((3,)), call((3,), (2,)), call((3,), (2,), (4,), indexing="ij"), call((0,), (2,)))

# Reductions.
sample("sum prod", ANY, *FOLDS, *EMPTY_FOLDS, call((3,), dtype="<c16"))
sample("mean all any count_nonzero", ANY, *FOLDS, *EMPTY_FOLDS)
sample("var std", "biuf", *FOLDS, *EMPTY_FOLDS, call((4,), correction=1), call((1,), correction=2.5))
sample("max min", REAL, *FOLDS)
sample(
    "argmax argmin",
    REAL,
    call(()),
    call((2, 3)),
    call((2, 3), axis=-1),
    call((2, 3), axis=0, keepdims=True),
    call((0, 3), axis=1),
)
sample(
    "cumulative_sum cumulative_prod",
    ANY,
    call((3,)),
    call((0,)),
    call((2, 3), axis=0),
    call((2, 3), axis=-1, include_initial=True),
    call((0,), include_initial=True),
    call((3,), dtype="<c16"),
)

# Products and linear algebra.
sample(
    "matmul",
    NUMERIC,
    call((3,), (3,)),
    call((2, 3), (3,)),
    call((3,), (3, 2)),
    call((2, 3), (3, 4)),
    call((5, 1, 2, 3), (4, 3, 2)),
    call((2, 0), (0, 3)),
    call((0, 2), (2, 3)),
)
sample(
    "tensordot",
    NUMERIC,
    call((2, 3), (2, 3)),
    call((2, 3), (3, 4), axes=1),
    call((2,), (3,), axes=0),
    call((2, 3, 4), (4, 3), axes=[[1, -1], [1, 0]]),
    call((), (3,), axes=0),
    call((2, 0), (0, 3), axes=1),
)
sample(
    "vecdot",
    NUMERIC,
    call((3,), (3,)),
    call((2, 3), (3,)),
    call((4, 1, 3), (2, 3)),
    call((3, 2), (3, 2), axis=0),
    call((0,), (0,)),
)
sample("linalg.outer", NUMERIC, call((2,), (3,)), call((0,), (3,)))
sample(
    "linalg.cross", NUMERIC, call((3,), (3,)), call((2, 3), (3,)), call((3, 2), (3, 2), axis=0), call((0, 3), (1, 3))
)
sample("linalg.diagonal", ANY, *MATRICES, call((2, 3), offset=1), call((3, 2), offset=-1), call((2, 3), offset=1 << 60))
sample("linalg.trace", NUMERIC, *MATRICES, call((2, 3), offset=-1), call((2, 3), dtype="<c16"))
sample("linalg.vector_norm", NUMERIC, *FOLDS, *EMPTY_FOLDS, *[call((3,), ord=n) for n in (0, 1, 3, 0.5, -1, INF, -INF)])
sample("linalg.inv linalg.det linalg.slogdet linalg.eigh linalg.eigvalsh", NUMERIC, *MATRICES)
sample("linalg.cholesky", NUMERIC, *MATRICES, call((2, 2), upper=True))
sample("linalg.matrix_power", NUMERIC, *[(arrays, {"n": n}) for arrays, _ in MATRICES for n in (0, 1, 3, -2)])
RECTANGLES = [*MATRICES, call((2, 3)), call((4, 3, 2)), call((0, 3)), call((2, 0))]
sample("linalg.svdvals", NUMERIC, *RECTANGLES)
sample("linalg.matrix_rank linalg.pinv", NUMERIC, *RECTANGLES, call((2, 2), rtol=0.1))
sample("linalg.svd", NUMERIC, *RECTANGLES, *[(arrays, {"full_matrices": False}) for arrays, _ in RECTANGLES])
sample("linalg.qr", NUMERIC, *RECTANGLES, *[(arrays, {"mode": "complete"}) for arrays, _ in RECTANGLES])
sample(
    "linalg.matrix_norm",
    NUMERIC,
    *RECTANGLES,
    call((2, 3), keepdims=True),
    *[call((2, 2, 3), ord=n) for n in ("fro", "nuc", 1, -1, 2, -2, INF, -INF)],
)
sample(
    "linalg.solve",
    NUMERIC,
    call((3, 3), (3,)),
    call((3, 3), (3, 2)),
    call((2, 3, 3), (3,)),
    call((2, 2, 2), (2, 2)),
    call((0, 0), (0,)),
)

# Manipulation.
sample(
    "broadcast_to",
    ANY,
    call((), shape=[2]),
    call((2, 1), shape=[3, 2, 4]),
    call((0,), shape=[2, 0]),
    call((1,), shape=[0]),
)
sample("broadcast_arrays", ANY, call(()), call((2, 1), (3,)), call((0,), ()))
sample(
    "concat",
    ANY,
    call((2,), (3,)),
    call((2, 3), (2, 1), axis=-1),
    call((2, 3), (), axis=None),
    call((0,), (0,)),
    call((0, 2)),
)
sample("stack", ANY, call((), ()), call((2, 3), (2, 3), axis=-1), call((0,)), call((2,), (2,), axis=1))
sample("unstack", ANY, call((3,)), call((2, 3), axis=-1), call((0, 2)), call((2, 0)))
sample("expand_dims", ANY, call(()), call((2, 3), axis=-1), call((2, 3), axis=[0, 2]), call((0,), axis=1))
sample("squeeze", ANY, call((1,), axis=0), call((1, 2, 1), axis=[0, -1]), call((0, 1), axis=1), call((2,), axis=[]))
sample("flip", ANY, call(()), call((2, 3)), call((2, 3), axis=1), call((2, 0), axis=[0, 1]))
sample(
    "roll",
    ANY,
    call((), shift=1),
    call((2, 3), shift=1),
    call((2, 3), shift=[1, -2], axis=[0, 1]),
    call((0,), shift=5, axis=0),
    call((3,), shift=-(1 << 62)),
    call((3,), shift=[1, 1], axis=[0, 0]),
)
sample("permute_dims", ANY, call((), axes=[]), call((2, 3, 4), axes=[2, 0, -2]), call((0, 2), axes=[1, 0]))
sample(
    "moveaxis",
    ANY,
    call((2, 3, 4), source=0, destination=-1),
    call((2, 3, 4), source=[0, 1], destination=[2, 0]),
    call((0, 2), source=0, destination=1),
)
sample("matrix_transpose", ANY, *RECTANGLES)
sample(
    "reshape",
    ANY,
    call((), shape=[1, 1]),
    call((2, 3), shape=[-1]),
    call((2, 3), shape=[3, -1]),
    call((0, 2), shape=[5, 0]),
    call((1,), shape=[]),
    call((6,), shape=[2, 3], copy=True),
)
sample(
    "tile",
    ANY,
    call((), repetitions=[2]),
    call((2, 3), repetitions=[2, 1, 3]),
    call((2, 3), repetitions=2),
    call((2,), repetitions=[1 << 40, 0]),
    call((0,), repetitions=[3]),
    call((3,), repetitions=[]),
)
sample(
    "repeat",
    ANY,
    call((), repeats=3),
    call((2, 3), repeats=2),
    call((2, 3), repeats=2, axis=-1),
    call((0,), repeats=4),
    call((3,), ("<i8", (3,))),
    call((2, 3), ("|u1", (2,)), axis=0),
    call((2, 3), ("<i4", ()), axis=1),
    call((3,), repeats=0),
)

# Indexing.
SLICE = ["s", None, None, None]
sample(
    "getitem",
    ANY,
    call((), key=[]),
    call((), key=["...", None]),
    call((3,), key=[-1]),
    call((4, 5), key=[1, ["s", None, None, -2]]),
    call((4, 5, 6), key=["...", 0]),
    call((4, 5, 6), key=[None, ["s", 1, 9, 2], "...", ["s", 5, 1, -1]]),
    call((0, 3), key=[["s", 0, 5, None], 2]),
    call((4,), ("<i8", (2, 3)), key=[["a", 0]]),
    call((4, 5, 6), ("<i8", (2,)), key=[0, SLICE, ["a", 0]]),
    call((4, 5, 6), ("<i8", (2,)), ("|u1", (3, 1)), key=[SLICE, ["a", 0], ["a", 1]]),
    call((4, 5, 6), ("<i8", ()), key=[SLICE, ["a", 0]]),
    call((4, 5), ("|b1", (4, 5)), key=[["a", 0]]),
    call((4, 5), ("|b1", (5,)), key=[SLICE, ["a", 0]]),
    call((4, 5), ("|b1", (4,)), ("<i8", (1,)), key=[["a", 0], ["a", 1]]),
    call((), ("|b1", ()), key=[["a", 0]]),
    call((3,), ("<i8", (0,)), key=[["a", 0]]),
)
sample(
    "setitem",
    ANY,
    call((), (), key=[]),
    call((3,), (), key=[1]),
    call((4, 5), (5,), key=[["s", 1, 3, None]]),
    call((4, 5), (), ("|b1", (4, 5)), key=[["a", 0]]),
    call((4, 5), (2, 1), ("<i8", (2,)), key=[["a", 0]]),
    call((0,), (), key=["..."]),
    call((), (), ("|b1", ()), key=[["a", 0]]),
    call((4, 5), (), ("|b1", (4,)), ("<i8", (1,)), key=[["a", 0], ["a", 1]]),
)
sample(
    "take",
    ANY,
    call((3,), ("<i8", (2,))),
    call((2, 3), ("|u1", (4,)), axis=1),
    call((3,), ("<i4", (0,))),
    call((3,), ("<i8", ())),
)
sample(
    "take_along_axis",
    ANY,
    call((3,), ("<i8", (2,))),
    call((2, 3), ("<i8", (2, 1)), axis=1),
    call((2, 3), ("<i8", (1, 3)), axis=0),
    call((0, 2), ("<i8", (0, 1))),
)

# Ordering.
sample("sort argsort", REAL, call((3,)), call((0,)), call((2, 3), axis=0, descending=True), call((2, 3), stable=False))
sample("nonzero", ANY, call((3,)), call((2, 3)), call((0,)))
sample(
    "searchsorted",
    REAL,
    call((3,), ()),
    call((3,), (2, 2), side="right"),
    call((0,), (2,)),
    call((3,), (0,), ("<i8", (3,))),
)
sample("unique_all unique_counts unique_inverse unique_values", ANY, *ONE)
sample(
    "diff",
    NUMERIC,
    call((3,)),
    call((0,)),
    call((2, 3), axis=0),
    call((4,), n=2),
    call((4,), n=0),
    call((4,), n=1 << 60),
    call((3,), (1,)),
    call((3,), (2,), only="append"),
    call((2, 3), (2, 1), (2, 2)),
)

# Fourier transforms.
LINES = [
    call((4,)),
    call((5,)),
    call((2, 3)),
    call((2, 3), axis=0, norm="ortho"),
    call((4,), n=7, norm="forward"),
    call((4,), n=2),
    call((0, 3)),
]
GRIDS = [
    call((4,)),
    call((2, 3)),
    call((2, 3, 4), axes=[0, -1]),
    call((2, 3), s=[4, 2]),
    call((2, 3, 4), s=[3, 5], axes=[2, 0], norm="ortho"),
    call((2, 3, 4), s=[1, 9]),
]
sample("fft.fft fft.ifft fft.irfft fft.hfft", NUMERIC, *LINES)
sample("fft.rfft fft.ihfft", REAL, *LINES)
sample("fft.fftn fft.ifftn fft.irfftn", NUMERIC, *GRIDS)
sample("fft.rfftn", REAL, *GRIDS)
sample("fft.fftfreq fft.rfftfreq", ANY, call(n=4), call(n=5, d=0.5, dtype="<f4"), call(n=1))
sample("fft.fftshift fft.ifftshift", NUMERIC, call(()), call((2, 3)), call((4, 3), axes=0), call((0,)))


def make(item: Any, dtype: np.dtype, at: int) -> np.ndarray:
    """An input: small positive values; square matrices are positive definite, masks mixed, indices in range."""
    given, shape = item if len(item) == 2 and isinstance(item[0], str) else (None, item)
    dtype = np.dtype(given) if given else dtype
    size = int(np.prod(shape, dtype=int))
    values = (np.arange(size) + at) % 3 if not given or dtype.kind == "b" else np.arange(size) % 2
    if dtype.kind == "b" and shape == (4,):
        values = np.ones(4)
    array = values.reshape(shape).astype(dtype)
    if not given and len(shape) > 1 and shape[-1] == shape[-2] and dtype.kind != "b":
        array = array + array.swapaxes(-1, -2)
        array = array + (np.eye(shape[-1]) * 9).astype(dtype)
    return array.astype(dtype)


def inputs(call: Call, dtype: np.dtype) -> List[np.ndarray]:
    return [make(item, dtype, at) for at, item in enumerate(call[0])]


MISSING = sorted(set(OPS) ^ set(SAMPLES))
