"""What Python is to get at once: sizes, which are known here, and numbers, for which the data must come."""

from __future__ import annotations

from typing import Any, Callable, Optional

import numpy as np

from asyncsyft import RemoteTensor

from .errors import NotTranslated
from .table import Asked, dimension, method


@method("numel", "nelement")
def numel(self: RemoteTensor) -> Optional[int]:
    return self.size


@method("dim", "ndimension")
def dim(self: RemoteTensor) -> int:
    return self.ndim


@method("size")
def size(self: RemoteTensor, dim: Any = None) -> Any:
    return list(self.shape) if dim is None else self.shape[dimension(dim, self.ndim)]


@method("__len__")
def length(self: RemoteTensor) -> Any:
    if not self.ndim:
        raise TypeError("len() of a 0-d tensor")
    return self.shape[0]


@method("is_floating_point")
def is_floating_point(self: RemoteTensor) -> bool:
    return self.dtype.kind == "f"


@method("is_contiguous", "is_same_size")
def is_alike(self: RemoteTensor, other: Any = None) -> bool:
    return other is None or tuple(self.shape) == tuple(other.shape)


def _number(name: str, kind: Callable[[Any], Any]) -> None:
    @method(name)
    def ask(self: RemoteTensor) -> Asked:
        if numel(self) != 1:
            if name == "__bool__":
                raise RuntimeError("bool value of Tensor with more than one value is ambiguous")
            raise ValueError("only one element tensors can be converted to Python scalars")
        return Asked(self, lambda array: kind(array.reshape(-1)[0].item()))


_number("item", lambda value: value)
_number("__bool__", bool)
_number("__int__", int)
_number("__float__", float)
_number("__index__", int)


@method("tolist")
def tolist(self: RemoteTensor) -> Any:
    return Asked(self, np.ndarray.tolist)


@method("equal")
def equal(self: RemoteTensor, other: RemoteTensor) -> Any:
    if tuple(self.shape) != tuple(other.shape):
        return False
    if self.dtype != other.dtype:
        raise RuntimeError(f"equal: expected tensors of one dtype, not of {self.dtype} and {other.dtype}")
    return Asked((self == other).all(), bool)


@method("allclose")
def allclose(
    self: RemoteTensor, other: RemoteTensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> Any:
    if equal_nan:
        raise NotTranslated("allclose", "equal_nan=True")
    near = abs(self - other) <= abs(other) * rtol + atol
    return Asked((near | (self == other)).all(), bool)
