"""Sorting, searching, the sets of distinct values, and differences between neighbours.

Distinct values are found by a stable sort of our own: numpy before 1.24 takes all NaNs for one value, which the
standard does not.
"""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence, Tuple

import numpy as np

from ..tensor import Array
from . import dtypes as dt
from . import params as check
from .shapes import Dim, broadcast, product, replace, same, show
from .table import Known, Spec, define, linear


def _sorting(arrays: Sequence[Known], params: Mapping[str, Any]) -> int:
    size = linear(arrays, params)
    return size * size.bit_length()


def _repeated(arrays: Sequence[Known], params: Mapping[str, Any]) -> int:
    """``diff`` subtracts neighbours n times."""
    size, n = linear(arrays, params), params.get("n", 1)
    return size * max(1, min(n, size)) if type(n) is int else size


def _sort_axis(x: Known, axis: object, descending: object, stable: object) -> Tuple[int, bool]:
    check.boolean(stable, "stable")
    dt.require(x.dtype, dt.REAL)
    return check.axis(axis, len(x.shape)), check.boolean(descending, "descending")


def _sort(x: Array, /, *, axis: object = -1, descending: object = False, stable: object = True) -> Any:
    at, down = _sort_axis(x, axis, descending, stable)
    result = np.sort(x, at, kind="stable")
    return np.flip(result, at) if down else result


def _sort_rule(x: Spec, /, *, axis: object = -1, descending: object = False, stable: object = True) -> Spec:
    _sort_axis(x, axis, descending, stable)
    return x


def _argsort(x: Array, /, *, axis: object = -1, descending: object = False, stable: object = True) -> Any:
    at, down = _sort_axis(x, axis, descending, stable)
    if not down:
        return np.argsort(x, at, kind="stable")
    # Sorted backwards, so that equal elements keep their order.
    return x.shape[at] - 1 - np.flip(np.argsort(np.flip(x, at), at, kind="stable"), at)


def _argsort_rule(x: Spec, /, *, axis: object = -1, descending: object = False, stable: object = True) -> Spec:
    _sort_axis(x, axis, descending, stable)
    return Spec(dt.INT64, x.shape)


def _nonzero(x: Array, /) -> Tuple[Any, ...]:
    _nonzero_rule(x)
    return np.nonzero(x)


def _nonzero_rule(x: Known, /) -> Tuple[Spec, ...]:
    if not len(x.shape):
        raise ValueError("a 0-d array has no positions")
    return (Spec(dt.INT64, (None,)),) * len(x.shape)


def _searchsorted(x1: Array, x2: Array, sorter: Optional[Array] = None, /, *, side: object = "left") -> Any:
    _searchsorted_rule(x1, x2, sorter, side=side)
    dtype = dt.result_type(x1.dtype, x2.dtype)
    ordered = x1 if sorter is None else x1[sorter]
    return np.searchsorted(ordered.astype(dtype, copy=False), x2.astype(dtype, copy=False), side)  # type: ignore[call-overload]


def _searchsorted_rule(x1: Known, x2: Known, sorter: Optional[Known] = None, /, *, side: object = "left") -> Spec:
    check.choice(side, ("left", "right"), "side")
    dt.require(dt.result_type(x1.dtype, x2.dtype), dt.REAL)
    if len(x1.shape) != 1:
        raise ValueError(f"the sorted array must be 1-d, not of shape {show(x1.shape)}")
    if sorter is not None:
        dt.require(sorter.dtype, dt.INTEGER)
        if len(sorter.shape) != 1 or not same(sorter.shape[0], x1.shape[0]):
            raise ValueError(f"a sorter of shape {show(sorter.shape)} for {x1.shape[0]} elements")
    return Spec(dt.INT64, x2.shape)


def _groups(x: Array) -> Tuple[Array, Array, Array]:
    """The elements' order, those elements in order, and where a new value begins among them."""
    flat = x.reshape(-1)
    order = np.argsort(flat, kind="stable")
    ordered = flat[order]
    begins = np.ones(flat.size, dt.BOOL)
    begins[1:] = ordered[1:] != ordered[:-1]
    return order, ordered, begins


def _counts(begins: Array) -> Any:
    return np.diff(np.append(np.flatnonzero(begins), begins.size))


def _inverse(x: Array, order: Array, begins: Array) -> Array:
    inverse = np.empty(x.size, dt.INT64)
    inverse[order] = np.cumsum(begins) - 1
    return inverse.reshape(x.shape)


def _unique_all(x: Array, /) -> Tuple[Any, ...]:
    order, ordered, begins = _groups(x)
    return ordered[begins], order[begins], _inverse(x, order, begins), _counts(begins)


def _unique_counts(x: Array, /) -> Tuple[Any, ...]:
    _, ordered, begins = _groups(x)
    return ordered[begins], _counts(begins)


def _unique_inverse(x: Array, /) -> Tuple[Any, ...]:
    order, ordered, begins = _groups(x)
    return ordered[begins], _inverse(x, order, begins)


def _unique_values(x: Array, /) -> Any:
    _, ordered, begins = _groups(x)
    return ordered[begins]


def _distinct(x: Spec) -> Spec:
    """No elements have no distinct values; how many others have, only the data can tell."""
    return Spec(x.dtype, (0 if product(x.shape) == 0 else None,))


def _unique_values_rule(x: Spec, /) -> Spec:
    return _distinct(x)


def _unique_counts_rule(x: Spec, /) -> Tuple[Spec, ...]:
    values = _distinct(x)
    return values, Spec(dt.INT64, values.shape)


def _unique_inverse_rule(x: Spec, /) -> Tuple[Spec, ...]:
    return _distinct(x), Spec(dt.INT64, x.shape)


def _unique_all_rule(x: Spec, /) -> Tuple[Spec, ...]:
    values, counts = _unique_counts_rule(x)
    return values, counts, Spec(dt.INT64, x.shape), counts


def _edges(first: Any, second: Any, only: object) -> Tuple[Any, Any]:
    """Which of the further inputs of ``diff`` goes before and after: a single one is what ``only`` says."""
    if check.choice(only, ("prepend", "append"), "only") == "append" and second is None:
        return None, first
    return first, second


def _diff(
    x: Array,
    first: Optional[Array] = None,
    second: Optional[Array] = None,
    /,
    *,
    axis: object = -1,
    n: object = 1,
    only: object = "prepend",
) -> Any:
    spec = _diff_rule(x, first, second, axis=axis, n=n, only=only)
    at = check.axis(axis, x.ndim)
    before, after = _edges(first, second, only)
    parts = [part.astype(spec.dtype, copy=False) for part in (before, x, after) if part is not None]
    whole = np.concatenate(parts, at) if len(parts) > 1 else parts[0]
    # Past its length there is nothing left to subtract, however often a hostile n asks for it.
    times = min(check.count(n, "n"), whole.shape[at])
    return np.diff(whole, times, at)


def _diff_rule(
    x: Known,
    first: Optional[Known] = None,
    second: Optional[Known] = None,
    /,
    *,
    axis: object = -1,
    n: object = 1,
    only: object = "prepend",
) -> Spec:
    at = check.axis(axis, len(x.shape))
    before, after = _edges(first, second, only)
    parts = [part for part in (before, x, after) if part is not None]
    if not all(len(part.shape) == len(x.shape) for part in parts):
        raise ValueError("what goes before and after must have as many dimensions as x")
    beside = broadcast(*(replace(part.shape, at, 1) for part in parts))
    if not all(all(map(same, replace(part.shape, at, 1), beside)) for part in parts):
        raise ValueError("what goes before and after must have the shape of x beside the axis")
    sizes = [part.shape[at] for part in parts]
    size: Dim = None if None in sizes else max(0, sum(dim or 0 for dim in sizes) - check.count(n, "n"))
    dtype = dt.require(dt.result_type(*(part.dtype for part in parts)), dt.NUMERIC)
    return Spec(dtype, replace(beside, at, size))


define("sort", _sort, _sort_rule, cost=_sorting)
define("argsort", _argsort, _argsort_rule, cost=_sorting)
define("nonzero", _nonzero, _nonzero_rule, outputs=None)
define("searchsorted", _searchsorted, _searchsorted_rule, meeting=slice(2))
define("unique_all", _unique_all, _unique_all_rule, outputs=4, cost=_sorting)
define("unique_counts", _unique_counts, _unique_counts_rule, outputs=2, cost=_sorting)
define("unique_inverse", _unique_inverse, _unique_inverse_rule, outputs=2, cost=_sorting)
define("unique_values", _unique_values, _unique_values_rule, cost=_sorting)
define("diff", _diff, _diff_rule, expands=True, cost=_repeated)
