"""Products of arrays: of matrices and vectors, over chosen axes, of all pairs.

They take any numeric dtype and no bools.
"""

from __future__ import annotations

import math
from typing import Any, Mapping, Sequence, Tuple

import numpy as np

from ..tensor import Array, DType
from . import dtypes as dt
from . import params as check
from .shapes import Dim, broadcast, matmul, reduce, same, show
from .table import Known, Shape, Spec, define


def numeric(*arrays: Known) -> DType:
    """The dtype in which the factors meet. Raises: TypeError for bools."""
    return dt.require(dt.result_type(*(array.dtype for array in arrays)), dt.NUMERIC)


def _meet(x1: Array, x2: Array) -> Tuple[Array, Array]:
    dtype = numeric(x1, x2)
    return x1.astype(dtype, copy=False), x2.astype(dtype, copy=False)


# A fused multiply and add in BLAS costs about an eighth of moving an element.
def _matmul_cost(arrays: Sequence[Known], params: Mapping[str, Any]) -> int:
    if len(arrays) != 2 or not arrays[0].shape or not arrays[1].shape:
        return 0
    a, b = arrays[0].shape, arrays[1].shape
    rows, columns = (a[-2] if len(a) > 1 else 1), (b[-1] if len(b) > 1 else 1)
    stack = _elements(broadcast(a[:-2], b[:-2])) if len(a) > 2 or len(b) > 2 else 1
    return (rows or 0) * (a[-1] or 0) * (columns or 0) * stack // 8


def _elements(shape: Shape) -> int:
    return math.prod(dim or 0 for dim in shape)


def _outer_cost(arrays: Sequence[Known], params: Mapping[str, Any]) -> int:
    return math.prod(_elements(array.shape) for array in arrays) // 8


def _matmul(x1: Array, x2: Array, /) -> Any:
    dtype = x1.dtype
    if dtype is x2.dtype and dtype is not dt.BOOL:
        return np.matmul(x1, x2)
    return np.matmul(*_meet(x1, x2))


def _matmul_rule(x1: Spec, x2: Spec, /) -> Spec:
    return Spec(numeric(x1, x2), matmul(x1.shape, x2.shape))


def _contracted(x1: Known, x2: Known, axes: object) -> Tuple[Tuple[int, ...], Tuple[int, ...]]:
    """The axes of both inputs that a tensor product folds. Raises: TypeError, ValueError, IndexError."""
    a, b = len(x1.shape), len(x2.shape)
    if type(axes) is int:
        n = check.count(axes, "axes")
        if n > min(a, b):
            raise ValueError(f"{n} axes of arrays of {a} and {b} dimensions")
        first, second = tuple(range(a - n, a)), tuple(range(n))
    elif type(axes) in (list, tuple) and len(axes) == 2:  # type: ignore[arg-type]
        one, other = (check.integers(side, "axes") for side in axes)  # type: ignore[attr-defined]
        first, second = check.axes(one, a, "axes"), check.axes(other, b, "axes")
    else:
        raise TypeError("axes must be an int or two lists of ints")
    if len(first) != len(second) or not all(same(x1.shape[i], x2.shape[k]) for i, k in zip(first, second)):
        raise ValueError(f"shapes {show(x1.shape)} and {show(x2.shape)} do not match along {first} and {second}")
    return first, second


def _tensordot(x1: Array, x2: Array, /, *, axes: object = 2) -> Any:
    folded = _contracted(x1, x2, axes)
    return np.tensordot(*_meet(x1, x2), axes=folded)


def _tensordot_rule(x1: Spec, x2: Spec, /, *, axes: object = 2) -> Spec:
    first, second = _contracted(x1, x2, axes)
    return Spec(numeric(x1, x2), reduce(x1.shape, first, False) + reduce(x2.shape, second, False))


def _tensordot_cost(arrays: Sequence[Known], params: Mapping[str, Any]) -> int:
    if len(arrays) != 2:
        return 0
    first, _ = _contracted(arrays[0], arrays[1], params.get("axes", 2))
    folded = math.prod(arrays[0].shape[at] or 0 for at in first)
    return _outer_cost(arrays, params) // max(folded, 1)


def _vecdot_cost(arrays: Sequence[Known], params: Mapping[str, Any]) -> int:
    return _elements(broadcast(*(array.shape for array in arrays))) // 8


def _last_axis(x1: Known, x2: Known, axis: object) -> int:
    """One axis of both inputs, counted from the end as broadcasting does. Raises: ValueError, IndexError."""
    a, b = len(x1.shape), len(x2.shape)
    at = check.integer(axis, "axis")
    if at >= 0 and a != b:
        raise ValueError(f"axis must be negative for arrays of {a} and {b} dimensions")
    return check.axis(at, min(a, b)) - min(a, b)


def _without(shape: Shape, at: int) -> Tuple[Shape, Dim]:
    at += len(shape)
    return shape[:at] + shape[at + 1 :], shape[at]


def _vecdot(x1: Array, x2: Array, /, *, axis: object = -1) -> Any:
    _vecdot_rule(x1, x2, axis=axis)
    at = _last_axis(x1, x2, axis)
    a, b = (np.moveaxis(x, at, -1) for x in _meet(x1, x2))
    # As a product of matrices there is no array of all the products.
    return np.matmul(np.conjugate(a)[..., None, :], b[..., :, None])[..., 0, 0]


def _vecdot_rule(x1: Known, x2: Known, /, *, axis: object = -1) -> Spec:
    at = _last_axis(x1, x2, axis)
    (a, size), (b, other) = _without(x1.shape, at), _without(x2.shape, at)
    if not same(size, other):
        raise ValueError(f"shapes {show(x1.shape)} and {show(x2.shape)} do not match: {size} != {other}")
    return Spec(numeric(x1, x2), broadcast(a, b))


def _outer(x1: Array, x2: Array, /) -> Any:
    _outer_rule(x1, x2)
    return np.multiply.outer(*_meet(x1, x2))


def _outer_rule(x1: Known, x2: Known, /) -> Spec:
    if len(x1.shape) != 1 or len(x2.shape) != 1:
        raise ValueError(f"needs 1-d arrays, not shapes {show(x1.shape)} and {show(x2.shape)}")
    return Spec(numeric(x1, x2), tuple(x1.shape) + tuple(x2.shape))


def _cross(x1: Array, x2: Array, /, *, axis: object = -1) -> Any:
    _cross_rule(x1, x2, axis=axis)
    return np.cross(*_meet(x1, x2), axis=_last_axis(x1, x2, axis))


def _cross_rule(x1: Known, x2: Known, /, *, axis: object = -1) -> Spec:
    at = _last_axis(x1, x2, axis)
    if not same(x1.shape[at], 3) or not same(x2.shape[at], 3):
        raise ValueError(f"axis {axis} of shapes {show(x1.shape)} and {show(x2.shape)} must have size 3")
    return Spec(numeric(x1, x2), broadcast(x1.shape, x2.shape))


define("matmul", _matmul, _matmul_rule, expands=True, cost=_matmul_cost)
define("tensordot", _tensordot, _tensordot_rule, expands=True, cost=_tensordot_cost)
define("vecdot", _vecdot, _vecdot_rule, expands=True, cost=_vecdot_cost)
define("linalg.outer", _outer, _outer_rule, expands=True)
define("linalg.cross", _cross, _cross_rule)
