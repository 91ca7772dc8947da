"""Ops that leave the elements and change their places: shapes, orders of dimensions, parts, and what joins tensors."""

from __future__ import annotations

import math
from typing import Any, List, Optional, Sequence, Tuple, Union

from asyncsyft import RemoteTensor
from asyncsyft.remote.steps import do

from . import dtypes as dt
from .table import dimension, function, ints, method


@method("view", "reshape", view=True)
def reshape(self: RemoteTensor, *shape: Any) -> RemoteTensor:
    return do("reshape", self, tuple(ints(shape)))


@function("reshape")
def reshaped(input: RemoteTensor, shape: Any) -> RemoteTensor:
    return reshape(input, shape)


@method("view_as", "reshape_as", view=True)
def view_as(self: RemoteTensor, other: RemoteTensor) -> RemoteTensor:
    return do("reshape", self, tuple(other.shape))


@method("flatten", view=True)
def flatten(self: RemoteTensor, start_dim: int = 0, end_dim: int = -1) -> RemoteTensor:
    first, last = dimension(start_dim, self.ndim), dimension(end_dim, self.ndim)
    if first > last:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if not self.ndim:
        return do("reshape", self, (1,))
    sizes: List[Any] = list(self.shape)
    return do("reshape", self, (*sizes[:first], math.prod(sizes[first : last + 1]), *sizes[last + 1 :]))


@method("unsqueeze", view=True)
def unsqueeze(self: RemoteTensor, dim: int) -> RemoteTensor:
    return do("expand_dims", self, axis=dimension(dim, self.ndim + 1))


@method("squeeze", view=True)
def squeeze(self: RemoteTensor, dim: Optional[int] = None) -> RemoteTensor:
    if dim is None:
        axes = tuple(at for at, size in enumerate(self.shape) if size == 1)
    else:
        at = dimension(dim, self.ndim)
        axes = (at,) if self.ndim and self.shape[at] == 1 else ()
    return do("squeeze", self, axis=axes) if axes else self


@method("transpose", view=True)
def transpose(self: RemoteTensor, dim0: int, dim1: int) -> RemoteTensor:
    one, two = dimension(dim0, self.ndim), dimension(dim1, self.ndim)
    order = list(range(self.ndim))
    if order:
        order[one], order[two] = two, one
    return do("permute_dims", self, tuple(order))


@method("t", view=True)
def t(self: RemoteTensor) -> RemoteTensor:
    if self.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {self.ndim}D")
    return transpose(self, 0, 1) if self.ndim == 2 else self


@method("permute", view=True)
def permute(self: RemoteTensor, *dims: Any) -> RemoteTensor:
    given = ints(dims)
    if len(given) != self.ndim:
        raise RuntimeError("number of dims don't match in permute")
    return do("permute_dims", self, tuple(dimension(dim, self.ndim) for dim in given))


@method("expand", view=True)
def expand(self: RemoteTensor, *size: Any, implicit: bool = False) -> RemoteTensor:
    """-1 keeps a size."""
    given = ints(size)
    new = len(given) - self.ndim
    if new < 0 or -1 in given[:new]:
        raise RuntimeError(f"expand: sizes {given} for a tensor of shape {list(self.shape)}")
    sizes = [self.shape[at - new] if one == -1 else one for at, one in enumerate(given)]
    return do("broadcast_to", self, tuple(sizes))


@method("expand_as", view=True)
def expand_as(self: RemoteTensor, other: RemoteTensor) -> RemoteTensor:
    return do("broadcast_to", self, tuple(other.shape))


@method("repeat")
def repeat(self: RemoteTensor, *sizes: Any) -> RemoteTensor:
    given = ints(sizes)
    if len(given) < self.ndim:
        raise RuntimeError("Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor")
    return do("tile", self, tuple(given))


@method("flip")
def flip(self: RemoteTensor, *dims: Any) -> RemoteTensor:
    axes = tuple(dimension(dim, self.ndim) for dim in ints(dims))
    return do("flip", self, axis=axes) if axes and self.ndim else self.copy()


@method("roll")
def roll(self: RemoteTensor, shifts: Any, dims: Any = None) -> RemoteTensor:
    steps = [shifts] if type(shifts) is int else list(shifts)
    if dims is None or not (type(dims) is int or len(dims)):
        return do("roll", self, steps[0], axis=None)
    axes = [dimension(dim, self.ndim) for dim in ([dims] if type(dims) is int else dims)]
    return do("roll", self, tuple(steps), axis=tuple(axes))


@method("tril")
def tril(self: RemoteTensor, diagonal: int = 0) -> RemoteTensor:
    return do("tril", self, k=diagonal)


@method("triu")
def triu(self: RemoteTensor, diagonal: int = 0) -> RemoteTensor:
    return do("triu", self, k=diagonal)


# Parts.


def part(x: RemoteTensor, dim: int, start: int, length: int) -> RemoteTensor:
    """``length`` elements along a dimension."""
    return x[(slice(None),) * dim + (slice(start, start + length),)]


@method("narrow", view=True)
def narrow(self: RemoteTensor, dim: int, start: int, length: int) -> RemoteTensor:
    axis = dimension(dim, self.ndim)
    size = self.shape[axis] if self.ndim else None
    if size is None or length < 0 or not -size <= start <= size:
        raise RuntimeError(f"narrow: start {start} and length {length} for a size of {size}")
    begin = start + size if start < 0 else start
    if begin + length > size:
        raise RuntimeError(f"start ({begin}) + length ({length}) exceeds dimension size ({size}).")
    return part(self, axis, begin, length)


@method("select", view=True)
def select(self: RemoteTensor, dim: int, index: int) -> RemoteTensor:
    return self[(slice(None),) * dimension(dim, self.ndim) + (index,)]


@method("split", view=True)
def split(self: RemoteTensor, split_size: Union[int, Sequence[int]], dim: int = 0) -> Tuple[RemoteTensor, ...]:
    axis = dimension(dim, self.ndim)
    size = _size(self, axis, "split")
    if isinstance(split_size, int):
        if split_size <= 0 and size:
            raise RuntimeError(f"split: a size of {split_size}")
        count = max(-(-size // split_size), 1) if split_size else 1
        lengths = [min(split_size, size - at * split_size) for at in range(count)]
    else:
        lengths = list(split_size)
        if sum(lengths) != size:
            raise RuntimeError(f"split_with_sizes expects split_sizes to sum exactly to {size}, not {lengths}")
    starts = [sum(lengths[:at]) for at in range(len(lengths))]
    return tuple(part(self, axis, start, length) for start, length in zip(starts, lengths))


@method("chunk", view=True)
def chunk(self: RemoteTensor, chunks: int, dim: int = 0) -> Tuple[RemoteTensor, ...]:
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    size = _size(self, dimension(dim, self.ndim), "chunk")
    return split(self, -(-size // chunks), dim) if size else (self,) * chunks


@method("unbind", view=True)
def unbind(self: RemoteTensor, dim: int = 0) -> Tuple[RemoteTensor, ...]:
    axis = dimension(dim, self.ndim)
    return tuple(self[(slice(None),) * axis + (at,)] for at in range(_size(self, axis, "unbind")))


def _size(x: RemoteTensor, axis: int, name: str) -> int:
    if not x.ndim:
        raise RuntimeError(f"{name}: expects at least a 1-dimensional tensor")
    size = x.shape[axis]
    assert size is not None  # who calls has asked for what was unknown
    return size


# What joins tensors.


def _joined(name: str, tensors: Sequence[RemoteTensor]) -> List[RemoteTensor]:
    found = list(tensors)
    if not found:
        raise RuntimeError(f"{name}: expected a non-empty list of tensors")
    dt.alike(name, *found)
    return found


@function("cat")
def cat(tensors: Sequence[RemoteTensor], dim: int = 0) -> RemoteTensor:
    found = _joined("cat", tensors)
    # torch ignores what is empty and of one dimension, whatever the others are.
    kept = [x for x in found if tuple(x.shape) != (0,)] or found[:1]
    if any(not x.ndim for x in kept):
        raise RuntimeError("zero-dimensional tensor cannot be concatenated")
    return do("concat", kept, axis=dimension(dim, kept[0].ndim))


@function("stack")
def stack(tensors: Sequence[RemoteTensor], dim: int = 0) -> RemoteTensor:
    found = _joined("stack", tensors)
    return do("stack", found, axis=dimension(dim, found[0].ndim + 1))
