"""Ops that move elements about without computing on them.

Results may be views of the inputs: objects are written once, so that nobody can tell.
"""

from __future__ import annotations

from typing import Any, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np

from ..tensor import Array, DType
from . import dtypes as dt
from . import params as check
from .shapes import broadcast, matrices, product, replace, same, show
from .table import MAX_OUTPUT_BYTES, Known, Shape, Spec, define, linear, whole


def _common(arrays: Sequence[Known]) -> DType:
    if not arrays:
        raise TypeError("needs at least one array")
    return dt.result_type(*(array.dtype for array in arrays))


def _broadcast_to(x: Array, /, *, shape: object) -> Array:
    return np.broadcast_to(x, whole(_broadcast_to_rule(Spec(x.dtype, x.shape), shape=shape)))


def _broadcast_to_rule(x: Spec, /, *, shape: object) -> Spec:
    wanted = check.shape(shape)
    if broadcast(x.shape, wanted) != wanted:
        raise ValueError(f"shape {show(x.shape)} does not broadcast to {show(wanted)}")
    return Spec(x.dtype, wanted)


def _broadcast_arrays(*arrays: Array) -> Tuple[Array, ...]:
    shape = whole(_broadcast_arrays_rule(*arrays)[0])
    return tuple(np.broadcast_to(array, shape) for array in arrays)


def _broadcast_arrays_rule(*arrays: Known) -> Tuple[Spec, ...]:
    _common(arrays)
    shape = broadcast(*(array.shape for array in arrays))
    return tuple(Spec(array.dtype, shape) for array in arrays)


def _concat(*arrays: Array, axis: object = 0) -> Any:
    _concat_rule(*arrays, axis=axis)
    dtype, at = _common(arrays), check.optional_axis(axis, arrays[0].ndim)
    return np.concatenate(arrays, axis=at, dtype=dtype, casting="unsafe")


def _concat_rule(*arrays: Known, axis: object = 0) -> Spec:
    dtype = _common(arrays)
    shapes: List[Shape] = [array.shape for array in arrays]
    if axis is None:
        shapes, axis = [(product(shape),) for shape in shapes], 0
    at = check.axis(axis, len(shapes[0]))
    result = shapes[0]
    for shape in shapes[1:]:
        if len(shape) != len(result) or not all(map(same, replace(shape, at), replace(result, at))):
            raise ValueError(f"shapes {show(shapes[0])} and {show(shape)} differ beside axis {at}")
        result = tuple(b if a is None else a for a, b in zip(result, shape))
    sizes = [shape[at] for shape in shapes]
    return Spec(dtype, replace(result, at, None if None in sizes else sum(size or 0 for size in sizes)))


def _stack(*arrays: Array, axis: object = 0) -> Any:
    dtype = _stack_rule(*arrays, axis=axis).dtype
    at = check.axis(axis, arrays[0].ndim + 1)
    return np.stack([array.astype(dtype, copy=False) for array in arrays], at)


def _stack_rule(*arrays: Known, axis: object = 0) -> Spec:
    dtype = _common(arrays)
    result: Shape = arrays[0].shape
    for array in arrays[1:]:
        if len(array.shape) != len(result) or not all(map(same, array.shape, result)):
            raise ValueError(f"shapes {show(arrays[0].shape)} and {show(array.shape)} differ")
        result = tuple(b if a is None else a for a, b in zip(result, array.shape))
    at = check.axis(axis, len(result) + 1)
    return Spec(dtype, (*result[:at], len(arrays), *result[at:]))


def _unstack(x: Array, /, *, axis: object = 0) -> Tuple[Array, ...]:
    return tuple(np.moveaxis(x, check.axis(axis, x.ndim), 0))


def _unstack_rule(x: Spec, /, *, axis: object = 0) -> Tuple[Spec, ...]:
    at = check.axis(axis, len(x.shape))
    size = x.shape[at]
    if size is None:
        raise ValueError(f"the size of axis {at} is not known yet, and with it the number of arrays")
    if size > 1 << 16:
        raise ValueError(f"axis {at} would make {size} arrays; the most is {1 << 16}")
    return (Spec(x.dtype, replace(x.shape, at)),) * size


def _expand_dims(x: Array, /, *, axis: object = 0) -> Array:
    return x.reshape(whole(_expand_dims_rule(x, axis=axis)))


def _expand_dims_rule(x: Known, /, *, axis: object = 0) -> Spec:
    ndim = len(x.shape) + len(check.integers(axis, "axis"))
    new = check.axes(axis, ndim)
    old = iter(x.shape)
    return Spec(x.dtype, tuple(1 if at in new else next(old) for at in range(ndim)))


def _squeeze(x: Array, /, *, axis: object) -> Array:
    return x.reshape(whole(_squeeze_rule(x, axis=axis)))


def _squeeze_rule(x: Known, /, *, axis: object) -> Spec:
    axes = check.axes(check.integers(axis, "axis"), len(x.shape))
    if not all(same(x.shape[at], 1) for at in axes):
        raise ValueError(f"axis {list(axes)} of shape {show(x.shape)} is not of size 1")
    return Spec(x.dtype, tuple(dim for at, dim in enumerate(x.shape) if at not in axes))


def _flip(x: Array, /, *, axis: object = None) -> Any:
    return np.flip(x, check.axes(axis, x.ndim))


def _flip_rule(x: Spec, /, *, axis: object = None) -> Spec:
    check.axes(axis, len(x.shape))
    return x


def _roll(x: Array, /, *, shift: object, axis: object = None) -> Any:
    shifts, axes = _shifts(x, shift, axis)
    flat = x.reshape(-1) if axis is None else x
    # Every shift is taken within its axis first: numpy would compute with 64 bits.
    return np.roll(flat, [by % (flat.shape[at] or 1) for by, at in zip(shifts, axes)], axes).reshape(x.shape)


def _shifts(x: Known, shift: object, axis: object) -> Tuple[Tuple[int, ...], Tuple[int, ...]]:
    shifts = check.integers(shift, "shift")
    if axis is None:
        axes: Tuple[int, ...] = (0,)
    else:
        axes = tuple(check.axis(at, len(x.shape)) for at in check.integers(axis, "axis"))
    if len(shifts) == 1:
        shifts *= len(axes)
    if len(shifts) != len(axes):
        raise ValueError(f"{len(shifts)} shifts for {len(axes)} axes")
    return shifts, axes


def _roll_rule(x: Spec, /, *, shift: object, axis: object = None) -> Spec:
    _shifts(x, shift, axis)
    return x


def _permute_dims(x: Array, /, *, axes: object) -> Array:
    return x.transpose(_order(axes, x.ndim))


def _order(axes: object, ndim: int) -> Tuple[int, ...]:
    order = check.axes(check.integers(axes, "axes"), ndim, "axes")
    if len(order) != ndim:
        raise ValueError(f"axes must name each of {ndim} dimensions, not {list(order)}")
    return order


def _permute_dims_rule(x: Spec, /, *, axes: object) -> Spec:
    return Spec(x.dtype, tuple(x.shape[at] for at in _order(axes, len(x.shape))))


def _moved(ndim: int, source: object, destination: object) -> Tuple[int, ...]:
    """The permutation that brings each source axis to its destination, the others in their order."""
    come, go = (check.integers(value, what) for value, what in ((source, "source"), (destination, "destination")))
    come, go = check.axes(come, ndim, "source"), check.axes(go, ndim, "destination")
    if len(come) != len(go):
        raise ValueError(f"{len(come)} sources for {len(go)} destinations")
    order = [at for at in range(ndim) if at not in come]
    for target, at in sorted(zip(go, come)):
        order.insert(target, at)
    return tuple(order)


def _moveaxis(x: Array, /, *, source: object, destination: object) -> Array:
    return x.transpose(_moved(x.ndim, source, destination))


def _moveaxis_rule(x: Spec, /, *, source: object, destination: object) -> Spec:
    return Spec(x.dtype, tuple(x.shape[at] for at in _moved(len(x.shape), source, destination)))


def _matrix_transpose(x: Array, /) -> Array:
    matrices(x.shape)
    return x.swapaxes(-1, -2)


def _matrix_transpose_rule(x: Spec, /) -> Spec:
    stack, rows, columns = matrices(x.shape)
    return Spec(x.dtype, (*stack, columns, rows))


def _reshape(x: Array, /, *, shape: object, copy: object = None) -> Array:
    return x.reshape(whole(_reshape_rule(x, shape=shape, copy=copy)))


def _reshape_rule(x: Known, /, *, shape: object, copy: object = None) -> Spec:
    if copy is not None:
        check.boolean(copy, "copy")
    wanted = check.integers(shape, "shape")
    if any(dim < -1 for dim in wanted) or wanted.count(-1) > 1:
        raise ValueError(f"cannot reshape to {show(wanted)}: one dimension at most may be -1, none less")
    size, known = product(x.shape), product(dim for dim in wanted if dim != -1) or 0
    if -1 not in wanted:
        fits, missing = size is None or size == known, None
    else:
        fits = size is None or (known > 0 and size % known == 0)
        missing = size // known if fits and size is not None else None
    if not fits:
        raise ValueError(f"cannot reshape {show(x.shape)} to {show(wanted)}: {size} elements")
    return Spec(x.dtype, tuple(missing if dim == -1 else dim for dim in wanted))


def _tile(x: Array, /, *, repetitions: object) -> Any:
    spec = _tile_rule(x, repetitions=repetitions)
    # numpy would repeat axis by axis, however much, before it came to an axis of size 0.
    if product(spec.shape) == 0:
        return np.empty(whole(spec), spec.dtype)
    return np.tile(x, check.shape(repetitions, "repetitions"))


def _tile_rule(x: Known, /, *, repetitions: object) -> Spec:
    times = check.shape(repetitions, "repetitions")
    ndim = max(len(times), len(x.shape))
    shape = (1,) * (ndim - len(x.shape)) + tuple(x.shape)
    times = (1,) * (ndim - len(times)) + times
    return Spec(x.dtype, tuple(0 if by == 0 else None if dim is None else dim * by for dim, by in zip(shape, times)))


def _repeat(x: Array, counts: Optional[Array] = None, /, *, repeats: object = None, axis: object = None) -> Any:
    spec = _repeat_rule(x, counts, repeats=repeats, axis=axis)
    at = check.optional_axis(axis, x.ndim)
    if counts is None:
        return np.repeat(x, check.count(repeats, "repeats"), at)
    if counts.size and int(counts.min()) < 0:
        raise ValueError("counts must not be negative")
    _check_repeated(x, counts, at, spec.shape)
    return np.repeat(x, counts.astype(np.intp), at)


def _check_repeated(x: Array, counts: Array, at: Optional[int], shape: Shape) -> None:
    # Python's ints cannot overflow; a float is exact enough to spare them in the usual case.
    total: Union[int, float] = float(counts.sum(dtype=dt.FLOAT64))
    if total < 1 << 50:
        total = int(counts.sum(dtype=dt.INT64))
    if counts.size == 1:
        total *= x.size if at is None else x.shape[at]
    beside = product(dim for dim in shape if dim is not None) or 0
    if total * max(beside, 1) * x.dtype.itemsize > MAX_OUTPUT_BYTES:
        raise ValueError(f"counts sum to {total}: past the limit of {MAX_OUTPUT_BYTES} bytes")


def _repeat_cost(arrays: Sequence[Known], params: Mapping[str, Any]) -> int:
    """What only the counts can tell, where they are at hand."""
    counts = arrays[1] if len(arrays) == 2 else None
    if not isinstance(counts, np.ndarray) or counts.dtype.kind not in dt.INTEGER:
        return linear(arrays, params)
    most = min(max(0.0, float(counts.sum(dtype=dt.FLOAT64))), float(MAX_OUTPUT_BYTES))
    return int(most) * linear(arrays[:1], params) // max(1, counts.size)


def _repeat_rule(x: Known, counts: Optional[Known] = None, /, *, repeats: object = None, axis: object = None) -> Spec:
    shape: Shape = x.shape if axis is not None else (product(x.shape),)
    at = 0 if axis is None else check.axis(axis, len(shape))
    if (counts is None) == (repeats is None):
        raise TypeError("needs either an array of counts or repeats, an int")
    if counts is None:
        size, times = shape[at], check.count(repeats, "repeats")
        return Spec(x.dtype, replace(shape, at, None if size is None else size * times))
    dt.require(counts.dtype, dt.INTEGER)
    if len(counts.shape) > 1 or not (counts.shape in ((), (1,)) or same(counts.shape[0], shape[at])):
        raise ValueError(f"counts of shape {show(counts.shape)} for {shape[at]} elements")
    return Spec(x.dtype, replace(shape, at, None))


define("broadcast_to", _broadcast_to, _broadcast_to_rule, expands=True)
define("broadcast_arrays", _broadcast_arrays, _broadcast_arrays_rule, outputs=None, expands=True, meeting=slice(0))
define("concat", _concat, _concat_rule, expands=True)
define("stack", _stack, _stack_rule, expands=True)
define("unstack", _unstack, _unstack_rule, outputs=None)
define("expand_dims", _expand_dims, _expand_dims_rule, expands=True)
define("squeeze", _squeeze, _squeeze_rule)
define("flip", _flip, _flip_rule)
define("roll", _roll, _roll_rule)
define("permute_dims", _permute_dims, _permute_dims_rule)
define("moveaxis", _moveaxis, _moveaxis_rule)
define("matrix_transpose", _matrix_transpose, _matrix_transpose_rule)
define("reshape", _reshape, _reshape_rule, expands=True)
define("tile", _tile, _tile_rule, expands=True)
define("repeat", _repeat, _repeat_rule, expands=True, cost=_repeat_cost, meeting=slice(1))
