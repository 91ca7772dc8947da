"""Ops that fold axes: sums, extremes, statistics, all and any, and running totals.

It knows the dtype of each total (small integers widen to 64 bits) and calls the ufuncs' own reductions, which numpy 1
and 2 share; numpy's mean and var would warn about empty arrays instead of giving NaN. A fold expands: of shape (0, n),
which holds no bytes, it makes n elements.
"""

from __future__ import annotations

from typing import Any, Callable, Tuple

import numpy as np

from ..tensor import Array, DType
from . import dtypes as dt
from . import params as check
from .shapes import product, reduce, replace
from .table import Known, Spec, define

_add: Any = np.add.reduce

Axes = Tuple[int, ...]


def _folded(x: Known, axis: object, keepdims: object) -> Tuple[Axes, bool]:
    return check.axes(axis, len(x.shape), "axis"), check.boolean(keepdims, "keepdims")


def _shape(x: Spec, axis: object, keepdims: object) -> Tuple[Any, ...]:
    return reduce(x.shape, *_folded(x, axis, keepdims))


def _total(dtype: DType, wanted: object) -> DType:
    """The dtype of a total: bools count as integers. Raises: TypeError."""
    result = dt.parse_dtype(wanted, dt.total_of(dtype))
    if result.kind == "b" or (dtype.kind == "c" and result.kind != "c"):
        raise TypeError(f"{dtype} has no total of dtype {result}")
    return result


def _define_total(name: str, ufunc: Any) -> None:
    fold, accumulate = ufunc.reduce, ufunc.accumulate

    def run(x: Array, /, *, axis: object = None, dtype: object = None, keepdims: object = False) -> Any:
        axes, keep = _folded(x, axis, keepdims)
        return fold(x, axes, _total(x.dtype, dtype), None, keep)

    def rule(x: Spec, /, *, axis: object = None, dtype: object = None, keepdims: object = False) -> Spec:
        return Spec(_total(x.dtype, dtype), _shape(x, axis, keepdims))

    def run_on(x: Array, /, *, axis: object = None, dtype: object = None, include_initial: object = False) -> Any:
        at = _running_axis(x, axis)
        result = accumulate(x, at, _total(x.dtype, dtype))
        if check.boolean(include_initial, "include_initial"):
            first = np.full((*x.shape[:at], 1, *x.shape[at + 1 :]), ufunc.identity, result.dtype)
            return np.concatenate((first, result), axis=at)
        return result

    def rule_on(x: Spec, /, *, axis: object = None, dtype: object = None, include_initial: object = False) -> Spec:
        at = _running_axis(x, axis)
        size = x.shape[at]
        if check.boolean(include_initial, "include_initial") and size is not None:
            size += 1
        return Spec(_total(x.dtype, dtype), replace(x.shape, at, size))

    define(name, run, rule, expands=True)
    define(f"cumulative_{name}", run_on, rule_on, expands=True)


def _running_axis(x: Known, axis: object) -> int:
    if axis is None and len(x.shape) != 1:
        raise ValueError(f"an array of {len(x.shape)} dimensions needs an axis")
    return check.axis(0 if axis is None else axis, len(x.shape))


def _nonempty(x: Known, axis: object, keepdims: object) -> Tuple[Axes, bool]:
    """The axes that are folded. Raises: ValueError if they hold nothing to choose from."""
    axes, keep = _folded(x, axis, keepdims)
    if product(x.shape[at] for at in axes) == 0:
        raise ValueError(f"shape {x.shape} has nothing to choose from along axis {list(axes)}")
    return axes, keep


def _define_extreme(name: str, ufunc: Any, position: Callable[..., Any]) -> None:
    def run(x: Array, /, *, axis: object = None, keepdims: object = False) -> Any:
        dt.require(x.dtype, dt.REAL)
        axes, keep = _nonempty(x, axis, keepdims)
        return ufunc.reduce(x, axes, None, None, keep)

    def rule(x: Spec, /, *, axis: object = None, keepdims: object = False) -> Spec:
        axes, keep = _nonempty(x, axis, keepdims)
        return Spec(dt.require(x.dtype, dt.REAL), reduce(x.shape, axes, keep))

    def run_at(x: Array, /, *, axis: object = None, keepdims: object = False) -> Any:
        dt.require(x.dtype, dt.REAL)
        axes, keep = _one_or_all(x, axis, keepdims)
        return position(x, axis=None if axis is None else axes[0], keepdims=keep)

    def rule_at(x: Spec, /, *, axis: object = None, keepdims: object = False) -> Spec:
        dt.require(x.dtype, dt.REAL)
        return Spec(dt.INT64, reduce(x.shape, *_one_or_all(x, axis, keepdims)))

    define(name, run, rule)
    define(f"arg{name}", run_at, rule_at)


def _one_or_all(x: Known, axis: object, keepdims: object) -> Tuple[Axes, bool]:
    return _nonempty(x, None if axis is None else check.integer(axis, "axis"), keepdims)


def _define_test(name: str, ufunc: Any) -> None:
    def run(x: Array, /, *, axis: object = None, keepdims: object = False) -> Any:
        axes, keep = _folded(x, axis, keepdims)
        return ufunc.reduce(x, axes, None, None, keep)

    def rule(x: Spec, /, *, axis: object = None, keepdims: object = False) -> Spec:
        return Spec(dt.BOOL, _shape(x, axis, keepdims))

    define(name, run, rule, expands=True)


def _count_nonzero(x: Array, /, *, axis: object = None, keepdims: object = False) -> Any:
    axes, keep = _folded(x, axis, keepdims)
    return _add(x.astype(dt.BOOL, copy=False), axes, dt.INT64, None, keep)


def _count_nonzero_rule(x: Spec, /, *, axis: object = None, keepdims: object = False) -> Spec:
    return Spec(dt.INT64, _shape(x, axis, keepdims))


def _averaged(dtype: DType) -> DType:
    return dt.FLOAT64 if dtype.kind == "b" else dt.floating(dtype)


def _mean(x: Array, /, *, axis: object = None, keepdims: object = False) -> Any:
    axes, keep = _folded(x, axis, keepdims)
    dtype = _averaged(x.dtype)
    total = _add(x, axes, dtype, None, keep)
    # The divisor has the result's dtype, as numpy 1 would turn a float32 scalar over an int into float64.
    return np.true_divide(total, dtype.type(_size(x, axes)))


def _size(x: Array, axes: Axes) -> int:
    size = 1
    for at in axes:
        size *= x.shape[at]
    return size


def _mean_rule(x: Spec, /, *, axis: object = None, keepdims: object = False) -> Spec:
    return Spec(_averaged(x.dtype), _shape(x, axis, keepdims))


def _var(x: Array, /, *, axis: object = None, correction: object = 0, keepdims: object = False) -> Any:
    axes, keep = _folded(x, axis, keepdims)
    dtype = _spread(x.dtype)
    freedom = max(_size(x, axes) - check.finite(correction, "correction"), 0)
    distance = x.astype(dtype, copy=False) - _mean(x, axis=axes, keepdims=True)
    return np.true_divide(_add(np.square(distance), axes, dtype, None, keep), dtype.type(freedom))


def _spread(dtype: DType) -> DType:
    return dt.require(_averaged(dtype), dt.REAL_FLOAT)


def _var_rule(x: Spec, /, *, axis: object = None, correction: object = 0, keepdims: object = False) -> Spec:
    check.finite(correction, "correction")
    return Spec(_spread(x.dtype), _shape(x, axis, keepdims))


def _std(x: Array, /, *, axis: object = None, correction: object = 0, keepdims: object = False) -> Any:
    return np.sqrt(_var(x, axis=axis, correction=correction, keepdims=keepdims))


_define_total("sum", np.add)
_define_total("prod", np.multiply)
_define_extreme("max", np.maximum, np.argmax)
_define_extreme("min", np.minimum, np.argmin)
_define_test("all", np.logical_and)
_define_test("any", np.logical_or)
define("count_nonzero", _count_nonzero, _count_nonzero_rule, expands=True)
define("mean", _mean, _mean_rule, expands=True)
define("var", _var, _var_rule, expands=True)
define("std", _std, _var_rule, expands=True)
