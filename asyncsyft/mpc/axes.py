"""What a program means by an index, an axis, a shape: checked here, where it was written, and as plain data."""

from __future__ import annotations

from typing import Any, List, Sequence, Tuple, Union

import numpy as np

__all__ = ["Axes", "Pair", "axes_of", "axis_of", "items", "pair", "shape_of"]

Axes = Union[int, Sequence[int], None]
Pair = Union[int, Tuple[int, int]]
WHOLE = (int, np.integer)


def axes_of(axis: Axes, ndim: int) -> Tuple[int, ...]:
    """Axes counted from the first, all for None. Raises: ValueError for one that is not there."""
    wanted = range(ndim) if axis is None else (axis,) if isinstance(axis, WHOLE) else axis
    return tuple(sorted({axis_of(one, ndim) for one in wanted}))


def axis_of(axis: Any, ndim: int) -> int:
    """An axis counted from the first. Raises: ValueError for one that is not there."""
    if not isinstance(axis, WHOLE) or isinstance(axis, bool) or not -ndim <= axis < ndim:
        raise ValueError(f"there is no axis {axis!r} among {ndim}")
    return int(axis) % ndim


def shape_of(given: Sequence[Any]) -> Tuple[int, ...]:
    """``f(2, 3)``, ``f((2, 3))`` and ``f([2, 3])`` mean the same."""
    whole = given if len(given) != 1 or isinstance(given[0], WHOLE) else given[0]
    return tuple(int(size) for size in whole)


def pair(value: Pair, least: int = 1) -> Tuple[int, int]:
    """One number for both dimensions of an image, or one for each. Raises: ValueError for less than ``least``."""
    down, across = (value, value) if isinstance(value, WHOLE) else value
    if min(down, across) < least:
        raise ValueError(f"{value} where at least {least} is wanted")
    return int(down), int(across)


def items(key: Any) -> List[Any]:
    """An index as a gate carries it. Raises: IndexError for what is no public index; a mask takes one axis."""
    return [_item(one) for one in (key if isinstance(key, tuple) else (key,))]


def _item(key: Any) -> Any:
    if isinstance(key, slice):
        return ["slice", *(None if end is None else int(end) for end in (key.start, key.stop, key.step))]
    if key is None:
        return ["new"]
    if key is Ellipsis:
        return ["all"]
    if isinstance(key, WHOLE) and not isinstance(key, bool):
        return int(key)
    array = np.asarray(key)
    if array.dtype == bool and array.ndim == 1:
        array = np.flatnonzero(array)
    elif array.size and array.dtype.kind not in "iu":
        raise IndexError(f"an index is whole numbers, slices, ..., None, or a mask of one axis; not {key!r}")
    return ["take", array.astype(np.intp).tolist()]
