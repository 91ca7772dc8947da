"""Tensors of another dtype, tensors like another, and what is written into one as a whole."""

from __future__ import annotations

from typing import Any, Callable

import torch

from asyncsyft import RemoteTensor
from asyncsyft.remote.steps import do

from . import dtypes as dt
from .dtypes import Operand, cast, operand
from .errors import NotTranslated
from .table import in_place, ints, method


def _converted(x: RemoteTensor, dtype: Any, name: str) -> RemoteTensor:
    return cast(x, dt.neutral(dtype, name))


def _conversion(name: str, dtype: Any) -> None:
    @method(name, view=True)  # where the dtype is that already, it is the tensor itself
    def convert(self: RemoteTensor) -> RemoteTensor:
        return _converted(self, dtype, name)


for _name, _dtype in {
    "bool": torch.bool,
    "byte": torch.uint8,
    "char": torch.int8,
    "short": torch.int16,
    "int": torch.int32,
    "long": torch.int64,
    "float": torch.float32,
    "double": torch.float64,
    "half": torch.float16,
}.items():
    _conversion(_name, _dtype)


@method("to", view=True)
def to(self: RemoteTensor, *args: Any, dtype: Any = None, device: Any = None, **options: Any) -> RemoteTensor:
    for value in args:
        if isinstance(value, RemoteTensor):
            return cast(self, value.dtype)
        if isinstance(value, torch.dtype):
            dtype = value
        elif type(value) is not bool:
            device = value
    if device is not None and torch.device(device).type != "cpu":
        raise NotTranslated("to", f"a worker without PySyft has no {device}")
    return self if dtype is None else _converted(self, dtype, "to")


@method("cpu", "detach", "contiguous", "data", view=True)
def same(self: RemoteTensor) -> RemoteTensor:
    return self


@method("type", view=True)
def type_(self: RemoteTensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    if dtype is None:
        return torch.empty(0, dtype=dt.of_torch(self.dtype, "type")).type()
    if not isinstance(dtype, torch.dtype):
        raise NotTranslated("type", f"{dtype!r:.40}; give a torch.dtype")
    return _converted(self, dtype, "type")


@method("type_as", view=True)
def type_as(self: RemoteTensor, other: RemoteTensor) -> RemoteTensor:
    return cast(self, other.dtype)


@method("clone", "copy")
def clone(self: RemoteTensor, *, memory_format: Any = None) -> RemoteTensor:
    return self.copy()


# What is written in place.


@in_place("zero_")
def zero_(self: RemoteTensor) -> RemoteTensor:
    return do("zeros_like", self)


@in_place("fill_")
def fill_(self: RemoteTensor, value: Operand) -> RemoteTensor:
    if isinstance(value, RemoteTensor):
        return do("broadcast_to", cast(value, self.dtype), tuple(self.shape))
    return do("full_like", self, operand(value, self.dtype))


@in_place("copy_")
def copy_(self: RemoteTensor, src: RemoteTensor, non_blocking: bool = False) -> RemoteTensor:
    return do("broadcast_to", cast(src, self.dtype), tuple(self.shape))


# What makes tensors like one.


def _like(op: str, name: str) -> None:
    @method(name)
    def make(self: RemoteTensor, dtype: Any = None, requires_grad: bool = False, **options: Any) -> RemoteTensor:
        return do(op, self, dtype=self.dtype if dtype is None else dt.neutral(dtype, name))


for _name in ("zeros_like", "ones_like", "empty_like"):
    _like(_name, _name)


@method("full_like")
def full_like(self: RemoteTensor, fill_value: Operand, dtype: Any = None, **options: Any) -> RemoteTensor:
    made = self.dtype if dtype is None else dt.neutral(dtype, "full_like")
    return do("full_like", self, operand(fill_value, made), dtype=made)


Maker = Callable[..., RemoteTensor]


def _new(op: str, name: str) -> None:
    @method(name)
    def make(self: RemoteTensor, *size: Any, dtype: Any = None, **options: Any) -> RemoteTensor:
        made = self.dtype if dtype is None else dt.neutral(dtype, name)
        maker: Maker = getattr(self.__array_namespace__(), op)
        return maker(tuple(ints(size)), dtype=made)


for _name in ("zeros", "ones", "empty"):
    _new(_name, f"new_{_name}")
