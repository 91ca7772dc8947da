"""The rules of shapes that several ops share; None is a dimension that only the data can tell.

It knows no dtypes and no op by name.
"""

from __future__ import annotations

from typing import Iterable, List, Optional, Tuple

from .table import Shape

Dim = Optional[int]


def broadcast(*shapes: Shape) -> Shape:
    """The shape to which all of these broadcast. Raises: ValueError."""
    ndim = max(map(len, shapes), default=0)
    result: List[Dim] = [1] * ndim
    for shape in shapes:
        for at, dim in enumerate(shape, ndim - len(shape)):
            result[at] = _meet(result[at], dim, shapes)
    return tuple(result)


def _meet(a: Dim, b: Dim, shapes: Iterable[Shape]) -> Dim:
    if a == b or b == 1:
        return a
    if a == 1:
        return b
    if a is None or b is None:
        # An unknown dimension next to a known one other than 1 must be 1 or the same.
        return b if a is None else a
    raise ValueError(f"shapes {' and '.join(map(show, shapes))} do not broadcast: {a} against {b}")


def show(shape: Shape) -> str:
    """A shape as users write it."""
    return str(tuple(shape))


def same(a: Dim, b: Dim) -> bool:
    """Whether two dimensions can be equal."""
    return a is None or b is None or a == b


def reduce(shape: Shape, axes: Tuple[int, ...], keepdims: bool) -> Shape:
    """What is left of a shape when these axes are folded."""
    if keepdims:
        return tuple(1 if at in axes else dim for at, dim in enumerate(shape))
    return tuple(dim for at, dim in enumerate(shape) if at not in axes)


def product(dims: Iterable[Dim]) -> Dim:
    """How many elements these dimensions hold, None if unknown."""
    total = 1
    unknown = False
    for dim in dims:
        if dim is None:
            unknown = True
        else:
            total *= dim
    return None if unknown and total else total


def replace(shape: Shape, axis: int, *dims: Dim) -> Shape:
    """The shape with one axis replaced by these dimensions."""
    return (*shape[:axis], *dims, *shape[axis + 1 :])


def matmul(a: Shape, b: Shape) -> Shape:
    """The shape of a matrix product, vectors included. Raises: ValueError."""
    if not a or not b:
        raise ValueError("a 0-d array has no matrix product: multiply it instead")
    inner, other = a[-1], b[-2] if len(b) > 1 else b[0]
    if not same(inner, other):
        raise ValueError(f"shapes {show(a)} and {show(b)} do not match: {inner} != {other}")
    rows = a[-2:-1]
    columns = b[-1:] if len(b) > 1 else ()
    return broadcast(a[:-2], b[:-2]) + rows + columns


def matrices(shape: Shape) -> Tuple[Shape, Dim, Dim]:
    """A stack of matrices as (stack, rows, columns). Raises: ValueError."""
    if len(shape) < 2:
        raise ValueError(f"needs at least 2 dimensions, not shape {show(shape)}")
    return shape[:-2], shape[-2], shape[-1]


def square(shape: Shape) -> Tuple[Shape, Dim]:
    """A stack of square matrices as (stack, size). Raises: ValueError."""
    stack, rows, columns = matrices(shape)
    if not same(rows, columns):
        raise ValueError(f"needs square matrices, not shape {show(shape)}")
    return stack, rows if columns is None else columns


def least(a: Dim, b: Dim) -> Dim:
    """The smaller of two dimensions; unknown unless one of them is 0."""
    if a is None or b is None:
        return 0 if 0 in (a, b) else None
    return min(a, b)
