"""``x[key]``, ``x[key] = value``, and what picks elements by their places."""

from __future__ import annotations

from typing import Any, Tuple

import numpy as np

from asyncsyft import RemoteTensor
from asyncsyft.remote.steps import do

from . import dtypes as dt
from .dtypes import Operand, cast, operand
from .errors import NotTranslated
from .table import dimension, in_place, method


def _key(key: Any, name: str) -> Tuple[Any, ...]:
    """A key of torch's as the array API takes it. Raises: NotTranslated, ValueError for steps below 1."""
    if isinstance(key, list) and any(isinstance(item, (slice, type(None), type(...), RemoteTensor)) for item in key):
        key = tuple(key)  # torch takes such a list for a tuple
    return tuple(_entry(item, name) for item in (key if isinstance(key, tuple) else (key,)))


def _entry(item: Any, name: str) -> Any:
    if isinstance(item, slice):
        if item.step is not None and item.step <= 0:
            raise ValueError("negative step not yet supported")
        return item
    if item is None or item is Ellipsis or type(item) is int:
        return item
    if isinstance(item, RemoteTensor):
        if item.dtype.kind == "f":
            raise IndexError("tensors used as indices must be long, byte or bool tensors")
        return cast(item, dt.BOOL) if item.dtype == dt.UINT8 else item
    if isinstance(item, (list, tuple)):
        return np.asarray(item, None if len(item) else np.int64)
    raise NotTranslated(name, f"an index that is a {type(item).__name__}")


@method("__getitem__", view=True)
def getitem(self: RemoteTensor, key: Any) -> RemoteTensor:
    found = _key(key, "__getitem__")
    if not self.ndim and not any(isinstance(item, (RemoteTensor, np.ndarray)) for item in found):
        for item in found:
            if type(item) is int or isinstance(item, slice):
                raise IndexError("invalid index of a 0-dim tensor. Use tensor.item() to convert to a Python number")
    return do("getitem", self, found)


@in_place("__setitem__")
def setitem(self: RemoteTensor, key: Any, value: Operand) -> RemoteTensor:
    return do("setitem", self, _key(key, "__setitem__"), operand(value, self.dtype))


@method("index_select")
def index_select(self: RemoteTensor, dim: int, index: RemoteTensor) -> RemoteTensor:
    if index.ndim > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")
    flat = index if index.ndim else do("reshape", index, (1,))
    whole = self if self.ndim else do("reshape", self, (1,))
    return do("take", whole, flat, axis=dimension(dim, self.ndim))


@method("take")
def take(self: RemoteTensor, index: RemoteTensor) -> RemoteTensor:
    return do("reshape", self, (-1,))[index]


@method("masked_select")
def masked_select(self: RemoteTensor, mask: RemoteTensor) -> RemoteTensor:
    whole, truth = do("broadcast_arrays", self, cast(mask, dt.BOOL))
    return whole[truth]


@method("gather")
def gather(self: RemoteTensor, dim: int, index: RemoteTensor, *, sparse_grad: bool = False) -> RemoteTensor:
    axis = dimension(dim, self.ndim)
    if not self.ndim:
        return do("broadcast_to", self, tuple(index.shape))
    if index.ndim != self.ndim:
        raise RuntimeError("gather: Index tensor must have same dimensions as input tensor")
    # The index may be smaller than the tensor beside the dimension.
    whole = self[tuple(slice(None) if at == axis else slice(0, size) for at, size in enumerate(index.shape))]
    return do("take_along_axis", whole, index, axis=axis)


@method("nonzero")
def nonzero(self: RemoteTensor, as_tuple: bool = False) -> Any:
    if not self.ndim:
        raise NotTranslated("nonzero", "of a tensor without dimensions")
    found = do("nonzero", self)
    return found if as_tuple else do("stack", list(found), axis=1)


@method("index_fill")
def index_fill(self: RemoteTensor, dim: int, index: RemoteTensor, value: Operand) -> RemoteTensor:
    key = (slice(None),) * dimension(dim, self.ndim) + (index,)
    return do("setitem", self, key, operand(value, self.dtype))
