"""Norms of matrices and of vectors, over the last two axes or any.

An empty matrix has norm 0, and so has an empty vector unless its smallest element is asked for, which is infinite.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..tensor import Array
from . import dtypes as dt
from . import params as check
from .linalg import cubic, floats, solving
from .shapes import matrices, reduce
from .table import Known, Spec, define, whole

_add: Any = np.add.reduce
_greatest: Any = np.maximum.reduce
_least: Any = np.minimum.reduce

_ORDERS = (1, -1, 2, -2, math.inf, -math.inf)


def _matrix_order(ord: object) -> Any:
    if type(ord) is str:
        return check.choice(ord, ("fro", "nuc"), "ord")
    if check.number(ord, "ord") not in _ORDERS:
        raise ValueError(f"ord must be 'fro', 'nuc' or one of {', '.join(map(str, _ORDERS))}")
    return ord


def _matrix_norm(x: Array, /, *, keepdims: object = False, ord: object = "fro") -> Any:
    spec = _matrix_norm_rule(x, keepdims=keepdims, ord=ord)
    # There is no largest of nothing, on which numpy raises; as the norm of a space of one point it is 0.
    if 0 in x.shape[-2:]:
        return np.zeros(whole(spec), spec.dtype)
    if 0 in x.shape:
        return np.empty(whole(spec), spec.dtype)
    norm = np.linalg.norm(floats(x), _matrix_order(ord), (-2, -1), bool(keepdims))
    return np.asarray(norm).astype(spec.dtype, copy=False)


def _matrix_norm_rule(x: Known, /, *, keepdims: object = False, ord: object = "fro") -> Spec:
    stack, _, _ = matrices(x.shape)
    _matrix_order(ord)
    shape = (*stack, 1, 1) if check.boolean(keepdims, "keepdims") else stack
    return Spec(dt.real_of(dt.floating(x.dtype)), shape)


def _vector_norm(x: Array, /, *, axis: object = None, keepdims: object = False, ord: object = 2) -> Any:
    spec = _vector_norm_rule(x, axis=axis, keepdims=keepdims, ord=ord)
    axes, order, keep = check.axes(axis, x.ndim), check.number(ord, "ord"), bool(keepdims)
    sizes = np.absolute(floats(x))
    if order == 0:
        return _add(sizes != 0, axes, spec.dtype, None, keep)
    if math.isinf(order):
        fold, initial = (_greatest, 0) if order > 0 else (_least, math.inf)
        return fold(sizes, axes, None, None, keep, initial)
    one = spec.dtype.type
    powers = np.square(sizes) if order == 2 else np.power(sizes, one(order))
    total = _add(powers, axes, spec.dtype, None, keep)
    return np.sqrt(total) if order == 2 else np.power(total, one(1 / order))


def _vector_norm_rule(x: Known, /, *, axis: object = None, keepdims: object = False, ord: object = 2) -> Spec:
    if math.isnan(check.number(ord, "ord")):
        raise ValueError("ord must not be NaN")
    shape = reduce(x.shape, check.axes(axis, len(x.shape)), check.boolean(keepdims, "keepdims"))
    return Spec(dt.real_of(dt.floating(x.dtype)), shape)


define("linalg.vector_norm", _vector_norm, _vector_norm_rule, expands=True)
define("linalg.matrix_norm", solving("linalg.matrix_norm", _matrix_norm), _matrix_norm_rule, expands=True, cost=cubic)
