"""Calls of every op with small inputs, chosen so that their results are the same wherever they are computed.

The same list makes ``docs/vectors/v1/ops.json``. It knows no results: the library's own table gives them.
"""

from __future__ import annotations

import math
from typing import Any, Dict, List, NamedTuple

import numpy as np

from ..tensor import Array

#: How results are compared: bit for bit, within a tolerance, by dtype and shape alone (``empty``), or by magnitude
#: where the mathematics leaves the sign open (eigenvectors, singular vectors, Q and R).
EXACT, CLOSE, SHAPE, MAGNITUDE = "exact", "close", "shape", "magnitude"


class Sample(NamedTuple):
    """One call."""

    op: str
    inputs: List[Array]
    params: Dict[str, Any]
    compare: str


SAMPLES: List[Sample] = []


def sample(ops: str, *inputs: Any, compare: str = CLOSE, **params: Any) -> None:
    """Add a call for each of these ops; lists become float64 unless an array says otherwise."""
    arrays = [item if isinstance(item, np.ndarray) else np.array(item, "<f8") for item in inputs]
    for op in ops.split():
        SAMPLES.append(Sample(op, arrays, params, compare))


def f4(*values: float) -> Array:
    return np.array(values, "<f4")


def f8(*values: float) -> Array:
    return np.array(values, "<f8")


def i4(*values: int) -> Array:
    return np.array(values, "<i4")


def i8(*values: int) -> Array:
    return np.array(values, "<i8")


def b1(*values: int) -> Array:
    return np.array(values, "|b1")


def c8(*values: complex) -> Array:
    return np.array(values, "<c8")


SQUARE = np.array([[4, 1, 0], [1, 3, 1], [0, 1, 2]], "<f8")  # symmetric, positive, its eigenvalues apart
TALL = np.array([[1, 2], [3, 4], [5, 7]], "<f8")
GRID = np.arange(6, dtype="<f4").reshape(2, 3)
CUBE = np.arange(24, dtype="<i4").reshape(2, 3, 4)

# Element-wise.
_NUMBERS = [f4(-1.5, 0.0, 2.5), i4(-3, 0, 2), c8(3 + 4j, -1j)]
for _x in _NUMBERS:
    sample("abs conj negative positive real square sign round", _x)
    sample("isfinite isinf isnan", _x, compare=EXACT)
sample("isfinite isinf isnan", f8(math.nan, math.inf, -math.inf, 1), compare=EXACT)
sample("ceil floor trunc round", f8(-1.5, -0.5, 0.5, 2.5), compare=EXACT)
sample("ceil floor trunc", i4(-3, 7), compare=EXACT)
sample("signbit", f4(-0.0, 0.0, -1.0), compare=EXACT)
sample("imag", c8(3 + 4j, -1j), compare=EXACT)
sample("bitwise_invert", i4(0, -1, 5), compare=EXACT)
sample("bitwise_invert logical_not", b1(1, 0), compare=EXACT)
sample("acos asin atan atanh cos cosh exp expm1 sin sinh tan tanh asinh log1p", f4(0.25, 0.5))
sample("acosh log log10 log2 sqrt reciprocal", f8(1.0, 1.5, 4.0))
sample("exp sqrt sin log reciprocal", i4(1, 4))  # integers become float64
sample("exp sqrt reciprocal", c8(3 + 4j))
for _x, _y in ((f4(1.5, -2.0), f4(2.0, 4.0)), (i4(7, -7), i4(2, 2)), (np.ones((2, 1), "<f8") * 3, f8(1, 2, 4))):
    sample("add subtract multiply divide floor_divide remainder maximum minimum", _x, _y)
    sample("equal not_equal less less_equal greater greater_equal", _x, _y, compare=EXACT)
sample("pow", f8(2.0, 4.0), f8(3.0, 0.5))
sample("pow", i4(2, 3), i4(10, 2), compare=EXACT)
sample("add multiply", c8(1 + 2j), c8(3 - 1j), compare=EXACT)
sample("add multiply", np.array([127, -128], "|i1"), np.array([1, -1], "|i1"), compare=EXACT)  # integers wrap
sample("atan2 copysign hypot logaddexp nextafter", f8(3.0, -1.0), f8(4.0, 2.0))
sample("bitwise_and bitwise_or bitwise_xor", i4(12, -1), i4(10, 7), compare=EXACT)
sample(
    "bitwise_and bitwise_or bitwise_xor logical_and logical_or logical_xor",
    b1(0, 0, 1, 1),
    b1(0, 1, 0, 1),
    compare=EXACT,
)
sample("bitwise_left_shift bitwise_right_shift", i4(5, -16), i4(1, 2), compare=EXACT)
sample("clip", f4(-2, 0.5, 9), np.array(0, "<f4"), np.array(1, "<f4"), compare=EXACT)
sample("clip", f4(-2, 0.5, 9), np.array(1, "<f4"), compare=EXACT, only="max")
sample("where", b1(1, 0), f4(1, 2), f4(3, 4), compare=EXACT)
sample("astype", f8(-1.5, 2.0), compare=EXACT, dtype="<i4")
sample("astype", i4(0, 3), compare=EXACT, dtype="|b1")

# Creation.
sample("zeros ones", compare=EXACT, shape=[2, 3])
sample("zeros ones", compare=EXACT, shape=[2], dtype="<i4")
sample("empty", compare=SHAPE, shape=[2, 0, 3], dtype="<c8")
sample("zeros_like ones_like", i4(5, 6), compare=EXACT)
sample("empty_like", i4(5, 6), compare=SHAPE, dtype="<f4")
sample("full", np.array(7, "<i4"), compare=EXACT, shape=[2, 2])
sample("full_like", f4(1, 2), np.array(2.5, "<f4"), compare=EXACT)
sample("arange", compare=EXACT, start=2, stop=11, step=3)
sample("arange", start=0.5, stop=2.0, step=0.25)
sample("linspace", start=0, stop=1, num=5)
sample("eye", compare=EXACT, n_rows=2, n_cols=3, k=1, dtype="<f4")
sample("tril triu", GRID, compare=EXACT, k=1)
sample("meshgrid", f4(1, 2), f4(3, 4, 5), compare=EXACT, indexing="ij")

# Folds.
sample("sum prod max min mean var std", GRID + np.float32(1))
sample("sum prod max min mean var std", GRID + np.float32(1), axis=0, keepdims=True)
sample("sum prod", np.array([100, 100], "|i1"), compare=EXACT)  # in int64
sample("sum mean", np.zeros((0, 3), "<f4"), axis=0)
sample("argmax argmin", GRID, compare=EXACT, axis=1)
sample("all any count_nonzero", GRID, compare=EXACT, axis=1)
sample("cumulative_sum cumulative_prod", i4(1, 2, 3), compare=EXACT, include_initial=True)

# Products and linear algebra.
sample("matmul", GRID, np.ones((3, 2), "<f4"))
sample("matmul", i8(1, 2), i8(3, 4), compare=EXACT)
sample("tensordot", GRID, GRID, axes=[[1], [1]])
sample("vecdot", c8(1j, 2), c8(1j, 3))
sample("linalg.outer", i4(1, 2), i4(3, 4, 5), compare=EXACT)
sample("linalg.cross", f8(1, 0, 0), f8(0, 1, 0))
sample("linalg.diagonal linalg.trace", SQUARE, offset=1)
sample("linalg.vector_norm", f4(3, 4))
sample("linalg.vector_norm", f8(3, -4), ord=math.inf)
sample("linalg.cholesky linalg.det linalg.eigvalsh linalg.inv linalg.slogdet linalg.svdvals linalg.matrix_rank", SQUARE)
sample("linalg.eigh", SQUARE, compare=MAGNITUDE)
sample("linalg.matrix_norm", SQUARE, ord="nuc")
sample("linalg.pinv", TALL)
sample("linalg.qr", TALL, compare=MAGNITUDE)
sample("linalg.svd", TALL, compare=MAGNITUDE, full_matrices=False)
sample("linalg.solve", SQUARE, f8(1, 2, 3))
sample("linalg.matrix_power", SQUARE, n=3)

# Manipulation.
sample("broadcast_to", f4(1, 2), compare=EXACT, shape=[3, 2])
sample("broadcast_arrays", np.zeros((2, 1), "<f4"), i4(1, 2, 3), compare=EXACT)
sample("concat", f4(1), i4(2, 3), compare=EXACT)
sample("concat", GRID, GRID, compare=EXACT, axis=None)
sample("stack", f4(1, 2), f4(3, 4), compare=EXACT, axis=-1)
sample("unstack", GRID, compare=EXACT, axis=1)
sample("expand_dims", GRID, compare=EXACT, axis=[0, 3])
sample("squeeze", np.zeros((1, 2, 1), "<f4"), compare=EXACT, axis=[0, 2])
sample("flip", GRID, compare=EXACT, axis=1)
sample("roll", GRID, compare=EXACT, shift=[1, -1], axis=[0, 1])
sample("permute_dims", CUBE, compare=EXACT, axes=[2, 0, 1])
sample("moveaxis", CUBE, compare=EXACT, source=0, destination=-1)
sample("matrix_transpose", CUBE, compare=EXACT)
sample("reshape", GRID, compare=EXACT, shape=[3, -1])
sample("tile", i4(1, 2), compare=EXACT, repetitions=[2, 2])
sample("repeat", i4(1, 2), compare=EXACT, repeats=2)
sample("repeat", i4(1, 2), i8(1, 3), compare=EXACT)

# Indexing.
sample("getitem", CUBE, compare=EXACT, key=[1, ["s", None, None, -2], None, "..."])
sample("getitem", CUBE, i8(2, 0), i8(1, 3), compare=EXACT, key=[["s", 0, 1, None], ["a", 0], ["a", 1]])
sample("getitem", GRID, GRID > 2, compare=EXACT, key=[["a", 0]])
sample("setitem", GRID, np.array(9, "<f4"), compare=EXACT, key=[["s", 0, 1, None], -1])
sample("setitem", GRID, np.array(9, "<f4"), GRID > 2, compare=EXACT, key=[["a", 0]])
sample("take", GRID, i8(2, 0), compare=EXACT, axis=1)
sample("take_along_axis", GRID, np.array([[2], [0]], "<i8"), compare=EXACT)

# Ordering.
sample("sort argsort", f4(3, 1, 2), compare=EXACT, descending=True)
sample("sort argsort", i4(2, 1, 2, 1), compare=EXACT)
sample("nonzero", GRID - np.float32(2), compare=EXACT)
sample("searchsorted", i4(1, 3, 5), i4(0, 3, 9), compare=EXACT, side="right")
sample("unique_all unique_counts unique_inverse unique_values", i4(3, 1, 3, 2), compare=EXACT)
sample("diff", i4(1, 4, 9, 16), compare=EXACT, n=2)
sample("diff", f4(1, 4), f4(9), compare=EXACT, only="append")

# Fourier transforms.
sample("fft.fft fft.ifft fft.hfft fft.irfft", c8(1, 2j, -1, 0.5))
sample("fft.rfft fft.ihfft", f4(1, 2, 4, 8))
sample("fft.fft fft.rfft", f8(1, 2, 3), n=4, norm="ortho")
sample("fft.fftn fft.ifftn fft.irfftn", TALL)
sample("fft.rfftn", TALL)
sample("fft.fftfreq fft.rfftfreq", n=5, d=0.5)
sample("fft.fftshift fft.ifftshift", f8(1, 2, 3, 4, 5), compare=EXACT)
