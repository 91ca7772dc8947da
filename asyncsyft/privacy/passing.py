"""How a guard passes through an op: what is known of the result, from what is known of the inputs.

Rows stay rows where each entry of the result comes from one of them, and whatever else goes in is the same for all.
They become sums where all are added up. Every op that is not named here gives what nothing is known of.

The *degree* is stricter: it survives only what adds up columns, or products of two, as they were loaded. A sum that has
one is a moment of the data, of degree 1 or 2, over all of its rows. All else may be bent into picking out a row: adding
a large number rounds, and so does multiplying by anything but a power of two; integers wrap; any step function selects.
"""

from __future__ import annotations

import math
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..tensor import DType
from .guard import OPAQUE, ROWS, SUMS, Guard, Held, Interval, Private, history, merged, together

#: By how much, at most, rows may be multiplied as a whole: by a power of two, so that nothing rounds.
LARGEST_SCALE = 2.0**16
#: How often, by the bytes of a float, the factors of a product taken together: past the range of the dtype small ones
#: would be 0, or large ones infinite, and a sum hold the largest row alone.
MAX_SCALED = {4: 1, 8: 4}

_BY_ELEMENT = """
    abs bitwise_invert ceil conj floor imag isfinite isinf isnan logical_not negative positive real round sign signbit
    square trunc acos acosh asin asinh atan atanh cos cosh exp expm1 log log10 log1p log2 reciprocal sin sinh sqrt tan
    tanh add atan2 bitwise_and bitwise_or bitwise_xor copysign divide equal floor_divide greater greater_equal hypot
    less less_equal logaddexp logical_and logical_or logical_xor maximum minimum multiply nextafter not_equal pow
    remainder subtract bitwise_left_shift bitwise_right_shift clip where astype
"""
#: Ops that give each entry from the entries at its place.
ELEMENTWISE = frozenset(_BY_ELEMENT.split())
#: Folds that add up; the number by which each multiplies the degree.
SUMMING = {"sum": 1, "mean": 1, "var": 2, "std": 2, "count_nonzero": 0}
FOLDS = frozenset(("prod", "max", "min", "argmax", "argmin", "all", "any", "linalg.vector_norm", *SUMMING))


class Found(NamedTuple):
    """What a rule found out: the axis on which rows lie, None if they were added up, and which rows those are."""

    axis: Optional[int]
    degree: int = 0
    scaled: int = 0
    along: Optional[Mapping[str, Interval]] = None


Rule = Callable[[str, Sequence[Held], Mapping[str, Any], Any], Optional[Found]]


def passed(op: str, values: Sequence[Held], params: Mapping[str, Any], results: Sequence[Any]) -> Guard:
    """The guard of what an op gives; of ``values`` one at least is private, ``results`` have dtype and shape."""
    guards = [value.guard for value in values if type(value) is Private]
    labels = guards[0].labels.union(*[guard.labels for guard in guards[1:]])
    how = history(op, guards)
    forms = {guard.form for guard in guards}
    if forms == {SUMS}:
        degree = min([guard.degree for guard in guards])
        return Guard(labels, SUMS, rows=together(guards), degree=min(degree, 1), how=how)
    rule = _RULES.get(op)
    found = rule(op, values, params, results[0]) if rule and OPAQUE not in forms and len(results) == 1 else None
    if found is None:
        return Guard(labels, how=how)
    return _made(labels, guards, found, how)


def _made(labels: Any, guards: List[Guard], found: Found, how: Tuple[str, ...]) -> Guard:
    rows, width = together(guards), _width(guards)
    along: Dict[str, Interval] = {}
    for guard in guards:
        along.update(guard.along)
    if found.axis is not None:
        shown = along if found.along is None else found.along
        return Guard(
            labels, ROWS, axis=found.axis, along=shown, rows=rows, degree=found.degree, width=width,
            scaled=found.scaled, how=how,
        )  # fmt: skip
    for label, interval in along.items():
        rows[label] = _with(rows.get(label, ()), interval)
    # Products of two columns each: with as many columns as rows, all of them together would be the rows themselves.
    degree = 0 if found.degree == 2 and _shortest(along) <= width else min(found.degree, 1)
    return Guard(labels, SUMS, rows=rows, degree=degree, how=how)


def _with(intervals: Tuple[Interval, ...], interval: Interval) -> Tuple[Interval, ...]:
    return merged([*intervals, interval])


def _shortest(along: Mapping[str, Interval]) -> int:
    return min([stop - start for start, stop in along.values()])


def _width(guards: Sequence[Guard]) -> int:
    """Columns of all data of which there are rows; of the same data once."""
    widths = {tuple(sorted(guard.along)): guard.width for guard in guards if guard.form == ROWS}
    return sum(widths.values())


def _degrees(guards: Sequence[Guard], dtype: DType) -> int:
    """The degree of a product of rows; 0 if it is too high, one of them has none, or it may leave its dtype's range.

    Integers wrap, and so do their sums alike.
    """
    total = sum([guard.degree for guard in guards])
    fits = dtype.kind != "f" or _scaled(guards) <= MAX_SCALED.get(dtype.itemsize, -1)
    return total if fits and total <= 2 and all(guard.degree for guard in guards) else 0


def _scaled(guards: Sequence[Guard]) -> int:
    """How often the factors of a product were multiplied."""
    return sum([guard.scaled for guard in guards])


def _private_rows(values: Sequence[Held]) -> List[Private]:
    return [value for value in values if type(value) is Private and value.guard.form == ROWS]


# Element by element.


def _elementwise(op: str, values: Sequence[Held], params: Mapping[str, Any], result: Any) -> Optional[Found]:
    rows = _private_rows(values)
    axis = rows[0].guard.axis
    if len(result.shape) < -axis:
        return None
    count = result.shape[axis]
    for value in values:
        size = value.shape[axis] if len(value.shape) >= -axis else 1
        if type(value) is Private and value.guard.form == ROWS:
            if value.guard.axis != axis or size != count:
                return None
        elif size != 1:
            return None  # it may pick out a row
    degree, scaled = _bent(op, values, rows, result)
    return Found(axis, degree, scaled)


def _bent(op: str, values: Sequence[Held], rows: List[Private], result: Any) -> Tuple[int, int]:
    """The degree after an op by element, and how often the rows were multiplied; (0, 0) for what is no polynomial."""
    guards = [value.guard for value in rows]
    if result.dtype.kind != "f" or any(_is_cut(value.dtype, result.dtype) for value in rows):
        return 0, 0
    if len(rows) == len(values):
        if op in ("astype", "positive", "negative", "conj"):
            return guards[0].degree, guards[0].scaled
        factors = [guards[0], guards[0]] if op == "square" else guards
        return (_degrees(factors, result.dtype), _scaled(factors)) if op in ("square", "multiply") else (0, 0)
    if op == "multiply" or (op == "divide" and rows[0] is values[0]):
        (other,) = [value for value in values if value is not rows[0]]
        scaled = guards[0].scaled + 1
        if type(other) is not Private and _is_scale(other) and scaled <= MAX_SCALED.get(result.dtype.itemsize, 0):
            return guards[0].degree, scaled
    return 0, 0


def _is_cut(dtype: DType, wanted: DType) -> bool:
    """Whether another dtype rounds what is large; of 8 bytes only integers beyond 2**53."""
    if dtype.kind == "f" or dtype.itemsize > 4:
        return dtype.itemsize > wanted.itemsize
    return dtype.itemsize >= wanted.itemsize


def _is_scale(value: Any) -> bool:
    if value.shape != () or value.dtype.kind not in "fiu":
        return False
    size = abs(float(value))
    return 1 / LARGEST_SCALE <= size <= LARGEST_SCALE and math.frexp(size)[0] == 0.5


# Folds and products.


def _axes(given: Any, ndim: int) -> List[int]:
    """Axes, counted from the end."""
    if given is None:
        return list(range(-ndim, 0))
    return [axis if axis < 0 else axis - ndim for axis in (given if isinstance(given, (list, tuple)) else [given])]


def _fold(op: str, values: Sequence[Held], params: Mapping[str, Any], result: Any) -> Optional[Found]:
    (x,) = _private_rows(values)
    axes = _axes(params.get("axis"), len(x.shape))
    axis, degree = x.guard.axis, x.guard.degree
    if axis in axes:
        if op not in SUMMING:
            return None
        if SUMMING[op] > 1:
            degree = _degrees([x.guard] * SUMMING[op], result.dtype)
        # Another dtype cuts off or rounds each entry.
        return Found(None, degree if SUMMING[op] and params.get("dtype") is None else 0)
    kept = params.get("keepdims") is True
    return Found(axis if kept else axis + sum([other > axis for other in axes]))


def _axis_of_rows(value: Held) -> Optional[int]:
    return value.guard.axis if type(value) is Private and value.guard.form == ROWS else None


def _matmul(op: str, values: Sequence[Held], params: Mapping[str, Any], result: Any) -> Optional[Found]:
    one, two = values
    if len(one.shape) > 2 or len(two.shape) > 2:
        return None
    left, right = map(_axis_of_rows, values)
    within = -len(two.shape)  # the axis of the second that meets the last of the first
    if left == -1 and right == within:
        return Found(None, _degrees([value.guard for value in _private_rows(values)], result.dtype))
    if left == -1 or right == within or (left is not None and right is not None):
        return None
    if left is not None:
        return Found(-1 if len(two.shape) == 1 else -2)
    return Found(-1)


# Shapes.


def _permute(op: str, values: Sequence[Held], params: Mapping[str, Any], result: Any) -> Optional[Found]:
    (x,) = values
    axes = _axes([-1, -2] if op == "matrix_transpose" else params["axes"], len(x.shape))
    if op == "matrix_transpose":
        axes = [*range(-len(x.shape), -2), *axes]
    return _same(x, axes.index(x.guard.axis) - len(axes))  # type: ignore[union-attr]


def _same(x: Any, axis: int) -> Found:
    return Found(axis, x.guard.degree, x.guard.scaled)


def _expand(op: str, values: Sequence[Held], params: Mapping[str, Any], result: Any) -> Optional[Found]:
    (x,) = values
    ndim = len(result.shape)
    new = _axes(params.get("axis", 0), ndim)
    old = [axis for axis in range(-ndim, 0) if axis not in new]
    return _same(x, old[x.guard.axis])  # type: ignore[union-attr]


def _squeeze(op: str, values: Sequence[Held], params: Mapping[str, Any], result: Any) -> Optional[Found]:
    (x,) = values
    gone = _axes(params["axis"], len(x.shape))
    axis = x.guard.axis  # type: ignore[union-attr]
    return None if axis in gone else _same(x, axis + sum([other > axis for other in gone]))


def _reshape(op: str, values: Sequence[Held], params: Mapping[str, Any], result: Any) -> Optional[Found]:
    (x,) = values
    first = x.guard.axis == -len(x.shape)  # type: ignore[union-attr]
    return _same(x, -len(result.shape)) if first and x.shape[0] == (result.shape or [0])[0] else None


def _getitem(op: str, values: Sequence[Held], params: Mapping[str, Any], result: Any) -> Optional[Found]:
    """Slices, numbers and new axes; of the rows, a part without gaps."""
    if len(values) > 1:
        return None
    x: Any = values[0]
    key, guard, ndim = list(params["key"]), x.guard, len(x.shape)
    named = sum([entry is not None and entry != "..." for entry in key])
    at = key.index("...") if "..." in key else len(key)
    key[at : at + 1] = [["s", None, None, None]] * (ndim - named)
    place = was = 0
    for entry in key:
        if entry is None:
            place += 1
        elif was == ndim + guard.axis:
            return None if isinstance(entry, int) else _part(x, entry, place - len(result.shape))
        else:
            was, place = was + 1, place + (not isinstance(entry, int))
    return None


def _part(x: Any, entry: Any, axis: int) -> Optional[Found]:
    guard, count = x.guard, x.shape[x.guard.axis]
    start, stop, step = slice(*entry[1:]).indices(count)
    if step != 1 or stop <= start:
        return None
    if (start, stop) == (0, count):
        return _same(x, axis)
    along = {label: (first + start, first + stop) for label, (first, _) in guard.along.items()}
    return Found(axis, along=along)


_RULES: Dict[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    **dict.fromkeys(FOLDS, _fold),
    "matmul": _matmul,
    "permute_dims": _permute,
    "matrix_transpose": _permute,
    "expand_dims": _expand,
    "squeeze": _squeeze,
    "reshape": _reshape,
    "getitem": _getitem,
}
