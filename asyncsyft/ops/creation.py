"""Ops that make arrays from parameters, or in the likeness of another.

It knows no memory limit: each expands, so that the executor asks for its size first.
"""

from __future__ import annotations

import math
from typing import Any, Optional, Tuple

import numpy as np

from ..tensor import Array, DType
from . import dtypes as dt
from . import params as check
from .shapes import matrices
from .table import Known, Spec, define, whole


def _define_constant(name: str, value: int) -> None:
    def run(*, shape: object, dtype: object = None) -> Array:
        spec = rule(shape=shape, dtype=dtype)
        return np.full(whole(spec), value, spec.dtype) if value else np.zeros(whole(spec), spec.dtype)

    def rule(*, shape: object, dtype: object = None) -> Spec:
        return Spec(dt.parse_dtype(dtype, dt.FLOAT64), check.shape(shape))

    def run_like(x: Array, /, *, dtype: object = None) -> Array:
        return np.full(x.shape, value, dt.parse_dtype(dtype, x.dtype))

    def rule_like(x: Spec, /, *, dtype: object = None) -> Spec:
        return Spec(dt.parse_dtype(dtype, x.dtype), x.shape)

    define(name, run, rule, expands=True)
    define(f"{name}_like", run_like, rule_like, expands=True)


def _fill(value: Known) -> None:
    if len(value.shape):
        raise ValueError(f"the fill value must be a 0-d array or a scalar, not of shape {value.shape}")


def _castable(source: DType, wanted: DType) -> DType:
    if source.kind == "c" and wanted.kind != "c":
        raise TypeError(f"a {source} value does not fit in dtype {wanted}")
    return wanted


def _full(value: Array, /, *, shape: object, dtype: object = None) -> Array:
    spec = _full_rule(Spec(value.dtype, value.shape), shape=shape, dtype=dtype)
    return np.full(whole(spec), value, spec.dtype)


def _full_rule(value: Spec, /, *, shape: object, dtype: object = None) -> Spec:
    _fill(value)
    return Spec(_castable(value.dtype, dt.parse_dtype(dtype, value.dtype)), check.shape(shape))


def _full_like(x: Array, value: Array, /, *, dtype: object = None) -> Array:
    _fill(value)
    return np.full(x.shape, value, _castable(value.dtype, dt.parse_dtype(dtype, x.dtype)))


def _full_like_rule(x: Spec, value: Spec, /, *, dtype: object = None) -> Spec:
    _fill(value)
    return Spec(_castable(value.dtype, dt.parse_dtype(dtype, x.dtype)), x.shape)


def _progression(start: object, stop: object, step: object, dtype: object) -> Tuple[float, float, int, DType]:
    """(first, step, count, dtype) of ``arange``; one bound alone is the stop. Raises: TypeError, ValueError."""
    first, last = (0, start) if stop is None else (start, stop)
    first, last, by = check.finite(first, "start"), check.finite(last, "stop"), check.finite(step, "step")
    if by == 0:
        raise ValueError("step must not be 0")
    whole = all(type(value) is int for value in (first, last, by))
    size = -((first - last) // by) if whole else math.ceil((last - first) / by)
    wanted = dt.require(dt.parse_dtype(dtype, dt.INT64 if whole else dt.FLOAT64), dt.REAL)
    if not whole and wanted.kind != "f":
        raise TypeError(f"an arange of floats cannot have dtype {wanted}")
    return first, by, max(0, int(size)), wanted


def _arange(*, start: object, stop: object = None, step: object = 1, dtype: object = None) -> Any:
    first, by, size, wanted = _progression(start, stop, step, dtype)
    if size and wanted.kind in dt.INTEGER:
        limits = np.iinfo(wanted)
        if not all(limits.min <= value <= limits.max for value in (first, first + by * (size - 1))):
            raise OverflowError(f"the range leaves {wanted}")
        # Unsigned arithmetic wraps, so that steps and bounds of either sign come out right.
        whole_steps = np.arange(size, dtype=dt.UINT64)
        whole_steps *= np.uint64(int(by) % (1 << 64))
        whole_steps += np.uint64(int(first) % (1 << 64))
        return whole_steps.astype(wanted)
    steps = np.arange(size, dtype=dt.FLOAT64)
    steps *= by
    steps += first
    return steps.astype(wanted, copy=False)


def _arange_rule(*, start: object, stop: object = None, step: object = 1, dtype: object = None) -> Spec:
    _, _, size, wanted = _progression(start, stop, step, dtype)
    return Spec(wanted, (size,))


def _linspace(*, start: object, stop: object, num: object, dtype: object = None, endpoint: object = True) -> Any:
    spec = _linspace_rule(start=start, stop=stop, num=num, dtype=dtype, endpoint=endpoint)
    first, last = check.finite(start, "start"), check.finite(stop, "stop")
    return np.linspace(first, last, whole(spec)[0], endpoint=bool(endpoint), dtype=spec.dtype)


def _linspace_rule(*, start: object, stop: object, num: object, dtype: object = None, endpoint: object = True) -> Spec:
    check.finite(start, "start")
    check.finite(stop, "stop")
    check.boolean(endpoint, "endpoint")
    wanted = dt.require(dt.parse_dtype(dtype, dt.FLOAT64), dt.FLOATING)
    return Spec(wanted, (check.count(num, "num"),))


def _diagonal(k: object, rows: Optional[int], columns: Optional[int]) -> int:
    """The diagonal's number, no further outside than the matrix's corners, where numpy takes any."""
    offset = check.integer(k, "k")
    return max(-(rows or 0), min(columns or 0, offset))


def _eye(*, n_rows: object, n_cols: object = None, k: object = 0, dtype: object = None) -> Array:
    spec = _eye_rule(n_rows=n_rows, n_cols=n_cols, k=k, dtype=dtype)
    rows, columns = whole(spec)
    return np.eye(rows, columns, _diagonal(k, rows, columns), spec.dtype)


def _eye_rule(*, n_rows: object, n_cols: object = None, k: object = 0, dtype: object = None) -> Spec:
    check.integer(k, "k")
    rows = check.count(n_rows, "n_rows")
    columns = rows if n_cols is None else check.count(n_cols, "n_cols")
    return Spec(dt.parse_dtype(dtype, dt.FLOAT64), (rows, columns))


def _define_triangle(name: str, function: Any) -> None:
    def run(x: Array, /, *, k: object = 0) -> Any:
        _, rows, columns = matrices(x.shape)
        return function(x, _diagonal(k, rows, columns))

    def rule(x: Spec, /, *, k: object = 0) -> Spec:
        matrices(x.shape)
        check.integer(k, "k")
        return x

    define(name, run, rule)


def _meshgrid(*arrays: Array, indexing: object = "xy") -> Tuple[Any, ...]:
    _meshgrid_rule(*(Spec(array.dtype, array.shape) for array in arrays), indexing=indexing)
    dtype = dt.result_type(*(array.dtype for array in arrays))
    arrays = tuple(array.astype(dtype, copy=False) for array in arrays)
    return tuple(np.meshgrid(*arrays, indexing="ij" if indexing == "ij" else "xy", copy=False))


def _meshgrid_rule(*arrays: Spec, indexing: object = "xy") -> Tuple[Spec, ...]:
    order = check.choice(indexing, ("xy", "ij"), "indexing")
    if not arrays:
        raise TypeError("needs at least one array")
    if any(len(array.shape) != 1 for array in arrays):
        raise ValueError("needs 1-d arrays")
    shape = [array.shape[0] for array in arrays]
    if order == "xy" and len(shape) > 1:
        shape[:2] = shape[1], shape[0]
    dtype = dt.result_type(*(array.dtype for array in arrays))
    return tuple(Spec(dtype, tuple(shape)) for _ in arrays)


_define_constant("zeros", 0)
_define_constant("ones", 1)
_define_constant("empty", 0)
define("full", _full, _full_rule, expands=True)
define("full_like", _full_like, _full_like_rule, expands=True)
define("arange", _arange, _arange_rule, expands=True)
define("linspace", _linspace, _linspace_rule, expands=True)
define("eye", _eye, _eye_rule, expands=True)
_define_triangle("tril", np.tril)
_define_triangle("triu", np.triu)
define("meshgrid", _meshgrid, _meshgrid_rule, outputs=None, expands=True)
