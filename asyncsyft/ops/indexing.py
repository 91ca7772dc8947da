"""``getitem`` and ``setitem`` with everything that numpy takes as a key, and ``take``.

A key travels as a plain list of entries: an int, ``["s", start, stop, step]`` for a slice, ``"..."``, None for a new
axis, and ``["a", k]`` for the k-th further input, an array of integers or a mask. It knows how such a key folds a
shape; the elements are numpy's affair.
"""

from __future__ import annotations

from typing import Any, Callable, List, Optional, Sequence, Tuple, Union

import numpy as np

from ..tensor import MAX_DIMS, Array
from . import dtypes as dt
from . import params as check
from .shapes import Dim, broadcast, product, replace, same, show
from .table import MAX_OUTPUT_BYTES, Known, Shape, Spec, define

PlainKey = List[Any]
Entry = Union[int, slice, None, Known]


def encode_key(key: Any, is_array: Callable[[Any], bool]) -> Tuple[PlainKey, List[Any]]:
    """A key as a user writes it in brackets: its plain form, and the index arrays and masks that it names.

    Lists become index arrays. Raises: TypeError for what is no index.
    """
    arrays: List[Any] = []

    def encode(item: Any) -> Any:
        if item is None:
            return None
        if item is Ellipsis:
            return "..."
        if isinstance(item, slice):
            return ["s", *(_plain_int(part) for part in (item.start, item.stop, item.step))]
        if isinstance(item, list):
            item = np.asarray(item, None if item else np.int64)
        elif not is_array(item) and not isinstance(item, np.ndarray):
            return _plain_int(item)
        arrays.append(item)
        return ["a", len(arrays) - 1]

    return [encode(item) for item in (key if isinstance(key, tuple) else (key,))], arrays


def _plain_int(value: Any) -> Optional[int]:
    if value is None or type(value) is int:
        return value
    if isinstance(value, (bool, np.bool_)) or not hasattr(value, "__index__"):
        raise TypeError(f"an index is an int, a slice, an array, None or ..., not {type(value).__name__}")
    return int(value.__index__())


def _decode(key: object, arrays: Sequence[Known]) -> List[Any]:
    """The entries of a key from the network, Ellipsis as itself. Raises: TypeError, ValueError, OverflowError."""
    if type(key) is not list and type(key) is not tuple:
        raise TypeError(f"key must be a list, not {type(key).__name__}")
    if len(key) > 2 * MAX_DIMS + 1:
        raise ValueError(f"key has {len(key)} entries; the most is {2 * MAX_DIMS + 1}")
    used: List[int] = []
    entries = [_entry(item, arrays, used) for item in key]
    if used != list(range(len(arrays))):
        raise ValueError(f"key must name its {len(arrays)} index arrays in order")
    if sum(entry is Ellipsis for entry in entries) > 1:
        raise ValueError("key has more than one ...")
    return entries


def _entry(item: object, arrays: Sequence[Known], used: List[int]) -> Any:
    if item is None:
        return None
    if type(item) is int:
        return check.integer(item, "index")
    if type(item) is str and item == "...":
        return Ellipsis
    if (type(item) is not list and type(item) is not tuple) or not item:
        raise TypeError("an entry of a key is an int, None, '...', a slice or an array")
    if item[0] == "s" and len(item) == 4:
        start, stop, step = (None if part is None else check.integer(part, "slice") for part in item[1:])
        if step == 0:
            raise ValueError("slice step must not be 0")
        return slice(start, stop, step)
    if item[0] == "a" and len(item) == 2:
        at = check.count(item[1], "index array")
        if at >= len(arrays):
            raise ValueError(f"key names index array {at} of {len(arrays)}")
        used.append(at)
        dt.require(arrays[at].dtype, dt.BITS)
        return arrays[at]
    raise TypeError("an entry of a key is an int, None, '...', ['s', start, stop, step] or ['a', k]")


def _consumes(entry: Any) -> int:
    if entry is None:
        return 0
    return len(entry.shape) if _is_mask(entry) else 1


def _is_index(entry: Any) -> bool:
    return isinstance(entry, (np.ndarray, Spec))


def _is_mask(entry: Any) -> bool:
    return _is_index(entry) and entry.dtype.kind == "b"


def _whole(entries: List[Any], ndim: int) -> List[Any]:
    """The entries with the ellipsis (at the end if there is none) written out. Raises: IndexError."""
    if Ellipsis not in [entry for entry in entries if not _is_index(entry)]:
        entries = [*entries, Ellipsis]
    at = next(i for i, entry in enumerate(entries) if entry is Ellipsis)
    rest = entries[:at] + entries[at + 1 :]
    missing = ndim - sum(map(_consumes, rest))
    if missing < 0:
        raise IndexError(f"{ndim - missing} indices for an array of {ndim} dimensions")
    return entries[:at] + [slice(None)] * missing + entries[at + 1 :]


def selected(shape: Shape, entries: List[Any]) -> Shape:
    """The shape that a decoded key selects. Raises: IndexError for a key that cannot fit, ValueError."""
    had_ellipsis = any(entry is Ellipsis for entry in entries)
    whole = _whole(entries, len(shape))
    advanced = any(map(_is_index, whole))
    dims: List[Dim] = []
    indices: List[Shape] = []
    places: List[int] = []
    dim = 0
    for place, entry in enumerate(whole):
        taken = shape[dim : dim + _consumes(entry)]
        dim += len(taken)
        if _is_index(entry):
            indices.append(_indexed(entry, taken))
            places.append(place)
        elif entry is None:
            dims.append(1)
        elif isinstance(entry, slice):
            dims.append(None if taken[0] is None else len(range(*entry.indices(taken[0]))))
        else:
            _check_bounds(entry, taken[0], dim - 1)
            indices.append(())
            places.append(place)
    if not advanced:
        return tuple(dims)
    at = _place(whole, places, entries if had_ellipsis else None)
    return (*dims[:at], *broadcast(*indices), *dims[at:])


def _indexed(entry: Known, taken: Shape) -> Shape:
    if entry.dtype.kind != "b":
        return tuple(entry.shape)
    if not all(map(same, entry.shape, taken)):
        raise IndexError(f"a mask of shape {show(entry.shape)} for dimensions {show(taken)}")
    return (None,)


def _check_bounds(index: int, size: Dim, axis: int) -> None:
    if size is not None and not -size <= index < size:
        raise IndexError(f"index {index} is out of range for axis {axis} of size {size}")


def _place(whole: List[Any], places: List[int], with_ellipsis: Optional[List[Any]]) -> int:
    """Where the dimensions of the index arrays go: in place of them if they stand together, else to the front."""
    first, last = places[0], places[-1]
    if last - first + 1 != len(places) or (with_ellipsis is not None and _split(with_ellipsis)):
        return 0
    return sum(isinstance(entry, slice) or entry is None for entry in whole[:first])


def _split(entries: List[Any]) -> bool:
    """Whether an ellipsis, even one that stands for nothing, comes between the indices."""
    at = next(i for i, entry in enumerate(entries) if entry is Ellipsis)
    index = [isinstance(entry, int) or _is_index(entry) for entry in entries]
    return any(index[:at]) and any(index[at + 1 :])


def _getitem(x: Array, /, *indices: Array, key: object) -> Any:
    entries = _decode(key, indices)
    return x[tuple(_settled(x, entries) if indices else entries)]


def _settled(x: Array, entries: List[Any]) -> List[Any]:
    """The entries with masks as index arrays, once the size that they select is known to be bearable."""
    selected(x.shape, entries)
    if len(entries) == 1 and _is_mask(entries[0]):
        return entries
    settled: List[Any] = []
    for entry in entries:
        settled.extend(np.nonzero(entry) if _is_mask(entry) and entry.ndim else (entry,))
    size = product(1 if dim is None else dim for dim in selected(x.shape, settled)) or 0
    if size * x.dtype.itemsize > MAX_OUTPUT_BYTES:
        raise ValueError(f"the key selects {size} elements: past the limit of {MAX_OUTPUT_BYTES} bytes")
    if not size:
        _check_indices(x.shape, settled)
    return settled


def _check_indices(shape: Shape, entries: List[Any]) -> None:
    """Where nothing is selected, numpy 1 only warns of an index out of range. Raises: IndexError."""
    if not all(entry.any() if _is_mask(entry) else entry.size for entry in filter(_is_index, entries)):
        return
    dim = 0
    for entry in _whole(entries, len(shape)):
        if _is_index(entry) and not _is_mask(entry):
            _check_bounds(int(entry.max()), shape[dim], dim)
            _check_bounds(int(entry.min()), shape[dim], dim)
        dim += _consumes(entry)


def _getitem_rule(x: Spec, /, *indices: Spec, key: object) -> Spec:
    return Spec(x.dtype, selected(x.shape, _decode(key, indices)))


def _setitem(x: Array, value: Array, /, *indices: Array, key: object) -> Array:
    entries = _decode(key, indices)
    _check_assigned(x, value, selected(x.shape, entries))
    result = np.array(x)
    result[tuple(_settled(x, entries) if indices else entries)] = value.astype(x.dtype, copy=False)
    return result


def _check_assigned(x: Known, value: Known, target: Shape) -> None:
    order = "biufc"
    kinds = {"u": "i"}
    if order.index(kinds.get(value.dtype.kind, value.dtype.kind)) > order.index(kinds.get(x.dtype.kind, x.dtype.kind)):
        raise TypeError(f"cannot put {value.dtype} values into an array of {x.dtype}")
    if len(value.shape) > len(target) or not all(
        dim == 1 or same(dim, at) for dim, at in zip(value.shape, target[len(target) - len(value.shape) :])
    ):
        raise ValueError(f"a value of shape {show(value.shape)} does not fit into {show(target)}")


def _setitem_rule(x: Spec, value: Spec, /, *indices: Spec, key: object) -> Spec:
    _check_assigned(x, value, selected(x.shape, _decode(key, indices)))
    return x


def _take(x: Array, indices: Array, /, *, axis: object = None) -> Any:
    _take_rule(x, indices, axis=axis)
    return np.take(x, indices.astype(np.intp, copy=False), check.axis(0 if axis is None else axis, x.ndim))


def _take_rule(x: Known, indices: Known, /, *, axis: object = None) -> Spec:
    dt.require(indices.dtype, dt.INTEGER)
    if axis is None and len(x.shape) != 1:
        raise ValueError(f"an array of {len(x.shape)} dimensions needs an axis")
    at = check.axis(0 if axis is None else axis, len(x.shape))
    return Spec(x.dtype, replace(x.shape, at, *indices.shape))


def _take_along_axis(x: Array, indices: Array, /, *, axis: object = -1) -> Any:
    _take_along_axis_rule(x, indices, axis=axis)
    return np.take_along_axis(x, indices, check.axis(axis, x.ndim))


def _take_along_axis_rule(x: Known, indices: Known, /, *, axis: object = -1) -> Spec:
    dt.require(indices.dtype, dt.INTEGER)
    if len(x.shape) != len(indices.shape):
        raise ValueError(f"shapes {show(x.shape)} and {show(indices.shape)} differ in their number of dimensions")
    at = check.axis(axis, len(x.shape))
    beside = broadcast(replace(x.shape, at, 1), replace(indices.shape, at, 1))
    return Spec(x.dtype, replace(beside, at, indices.shape[at]))


define("getitem", _getitem, _getitem_rule, expands=True, meeting=slice(1))
define("setitem", _setitem, _setitem_rule, meeting=slice(2))
define("take", _take, _take_rule, expands=True, meeting=slice(1))
define("take_along_axis", _take_along_axis, _take_along_axis_rule, expands=True, meeting=slice(1))
