"""Functions of numpy that are no single op under another name: with numpy's defaults, made of the ops of the table.

Each takes numpy's parameters, as ``numpy_face.py`` has renamed them.
"""

from __future__ import annotations

from typing import Any, List, Optional, Sequence, Tuple

import numpy as np

from . import dtypes
from .handle import Handle
from .steps import do


def array(value: Any) -> Any:
    """An argument that numpy takes for an array: lists become one."""
    return np.asarray(value) if isinstance(value, (list, tuple)) else value


def truth(value: Any) -> Any:
    """Whether each element is other than zero."""
    if isinstance(value, Handle):
        return value if value.dtype.kind == "b" else do("astype", value, np.bool_)
    return np.asarray(value, np.bool_)


def _flat(x: Any) -> Any:
    return do("reshape", x, (-1,)) if isinstance(x, Handle) else np.ravel(x)


def _along(x: Any, axis: Optional[int]) -> Tuple[Any, int]:
    """What is folded or ordered: all elements in a row if no axis is named."""
    return (_flat(x), 0) if axis is None else (x, axis)


def cumsum(x: Any, axis: Optional[int] = None, dtype: Any = None) -> Any:
    x, axis = _along(x, axis)
    return do("cumulative_sum", x, axis=axis, dtype=dtype)


def cumprod(x: Any, axis: Optional[int] = None, dtype: Any = None) -> Any:
    x, axis = _along(x, axis)
    return do("cumulative_prod", x, axis=axis, dtype=dtype)


def sort(x: Any, axis: Optional[int] = -1) -> Any:
    x, axis = _along(x, axis)
    return do("sort", x, axis=axis)


def argsort(x: Any, axis: Optional[int] = -1) -> Any:
    x, axis = _along(x, axis)
    return do("argsort", x, axis=axis)


def take(x: Any, indices: Any, axis: Optional[int] = None) -> Any:
    x, axis = _along(x, axis)
    return do("take", x, _indices(indices), axis=axis)


def take_along_axis(x: Any, indices: Any, axis: Optional[int] = -1) -> Any:
    x, axis = _along(x, axis)
    return do("take_along_axis", x, indices, axis=axis)


def _indices(indices: Any) -> Any:
    return indices if isinstance(indices, Handle) else np.asarray(indices, None if np.size(indices) else np.int64)


def searchsorted(x1: Any, x2: Any, side: str = "left", sorter: Any = None) -> Any:
    more = {} if sorter is None else {"sorter": array(sorter)}
    return do("searchsorted", array(x1), array(x2), side=side, **more)


def _joined(op: str, arrays: Sequence[Any], dtype: Any, **params: Any) -> Any:
    if isinstance(arrays, Handle):
        arrays = list(arrays)
    result = do(op, [array(item) for item in arrays], **params)
    return result if dtype is None else do("astype", result, dtype)


def concat(arrays: Sequence[Any], axis: Optional[int] = 0, dtype: Any = None) -> Any:
    return _joined("concat", arrays, dtype, axis=axis)


def stack(arrays: Sequence[Any], axis: int = 0, dtype: Any = None) -> Any:
    return _joined("stack", arrays, dtype, axis=axis)


def vstack(arrays: Sequence[Any], dtype: Any = None) -> Any:
    return _joined("concat", [_at_least(item, 2) for item in arrays], dtype, axis=0)


def hstack(arrays: Sequence[Any], dtype: Any = None) -> Any:
    parts = [_at_least(item, 1) for item in arrays]
    return _joined("concat", parts, dtype, axis=0 if parts and parts[0].ndim == 1 else 1)


def _at_least(x: Any, ndim: int) -> Any:
    x = x if isinstance(x, Handle) else np.asarray(x)
    missing = tuple(range(ndim - x.ndim))
    if not missing:
        return x
    return do("expand_dims", x, axis=missing) if isinstance(x, Handle) else np.expand_dims(x, missing)


def transpose(x: Any, axes: Optional[Sequence[int]] = None) -> Any:
    return do("permute_dims", x, axes=tuple(range(x.ndim - 1, -1, -1) if axes is None else axes))


def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    order = list(range(x.ndim))
    order[axis1], order[axis2] = order[axis2], order[axis1]
    return do("permute_dims", x, axes=tuple(order))


def reshape(x: Any, shape: Any, order: str = "C", copy: Optional[bool] = None) -> Any:
    _check_order(order)
    return do("reshape", x, shape=shape, copy=copy)


def ravel(x: Any, order: str = "C") -> Any:
    _check_order(order)
    return _flat(x)


def _check_order(order: str) -> None:
    if order != "C":
        raise TypeError(f"remote tensors have C order, not {order!r}: transpose first")


def squeeze(x: Any, axis: Any = None) -> Any:
    if axis is None:
        if None in x.shape:
            raise TypeError("which axes have size 1 is not known yet: await x.info() first, or name them")
        axis = tuple(at for at, size in enumerate(x.shape) if size == 1)
    return do("squeeze", x, axis=axis)


def broadcast_arrays(*arrays: Any, subok: bool = False) -> Any:
    return do("broadcast_arrays", *map(array, arrays))


def meshgrid(*arrays: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> Any:
    if sparse:
        raise TypeError("np.meshgrid takes no sparse= for remote tensors")
    return do("meshgrid", *map(array, arrays), indexing=indexing)


_MISSING: Any = object()


def where(condition: Any, x: Any = _MISSING, y: Any = _MISSING) -> Any:
    if x is _MISSING and y is _MISSING:
        return do("nonzero", condition)
    if x is _MISSING or y is _MISSING:
        raise ValueError("np.where takes both x and y, or neither")
    return do("where", truth(condition), array(x), array(y))


def rounded(x: Any, decimals: int = 0) -> Any:
    if decimals != 0:
        raise TypeError("remote tensors are rounded to integers: multiply first, and divide after")
    return do("round", x)


def copy(x: Any) -> Any:
    return do("astype", x, x.dtype)


# What needs no step.


def shape(x: Any) -> Tuple[Optional[int], ...]:
    return x.shape  # type: ignore[no-any-return]


def ndim(x: Any) -> int:
    return x.ndim  # type: ignore[no-any-return]


def size(x: Any, axis: Optional[int] = None) -> Optional[int]:
    return x.size if axis is None else x.shape[axis]  # type: ignore[no-any-return]


def iscomplexobj(x: Any) -> bool:
    return x.dtype.kind == "c"  # type: ignore[no-any-return]


def isrealobj(x: Any) -> bool:
    return x.dtype.kind != "c"  # type: ignore[no-any-return]


def result_type(*arrays_and_dtypes: Any) -> Any:
    return dtypes.result_type(*arrays_and_dtypes)


# Linear algebra.


def dot(x: Any, other: Any) -> Any:
    x, other = array(x), array(other)
    if not np.ndim(x) or not np.ndim(other):
        return do("multiply", x, other)
    if np.ndim(other) <= 2:
        return do("matmul", x, other)
    return do("tensordot", x, other, axes=((-1,), (-2,)))


def outer(x1: Any, x2: Any) -> Any:
    return do("linalg.outer", _flat(x1), _flat(x2))


def _matrices(x: Any, axis1: int, axis2: int) -> Any:
    """The same with two axes at the end."""
    return (
        x
        if (axis1 % x.ndim, axis2 % x.ndim) == (x.ndim - 2, x.ndim - 1)
        else do("moveaxis", x, (axis1, axis2), (-2, -1))
    )


def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None) -> Any:
    return do("linalg.trace", _matrices(x, axis1, axis2), offset=offset, dtype=dtype)


def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    return do("linalg.diagonal", _matrices(x, axis1, axis2), offset=offset)


def svd(x: Any, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    return do("linalg.svd", x, full_matrices=full_matrices) if compute_uv else do("linalg.svdvals", x)


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """Of a vector or of matrices, as numpy chooses: by the number of axes."""
    axes: List[int] = list(range(x.ndim)) if axis is None else list(axis) if isinstance(axis, tuple) else [axis]
    if ord is None or len(axes) == 1:
        order = 2 if ord is None else ord
        return do("linalg.vector_norm", x, axis=tuple(axes), keepdims=keepdims, ord=order)
    if len(axes) != 2:
        raise ValueError("the norm of that order is one of a vector or a matrix: name one axis or two")
    if not keepdims:
        return do("linalg.matrix_norm", _matrices(x, *axes), ord=ord)
    if sorted(at % x.ndim for at in axes) != [x.ndim - 2, x.ndim - 1]:
        raise TypeError("np.linalg.norm takes keepdims= for the last two axes only, for remote tensors")
    return do("linalg.matrix_norm", _matrices(x, *axes), ord=ord, keepdims=True)
