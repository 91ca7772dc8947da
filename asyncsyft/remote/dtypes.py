"""The array API's functions on dtypes, and what is asked of a namespace: what needs no step. It records nothing."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple

import numpy as np

from .. import ops
from ..tensor import DTYPES, MAX_DIMS, DType
from .handle import Handle

_KINDS = {
    "bool": "b",
    "signed integer": "i",
    "unsigned integer": "u",
    "integral": "iu",
    "real floating": "f",
    "complex floating": "c",
    "numeric": "iufc",
}
_SCALARS = (bool, int, float, complex)


class FloatInfo(NamedTuple):
    """What ``finfo`` gives, as Python floats."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: DType


class IntInfo(NamedTuple):
    """What ``iinfo`` gives."""

    bits: int
    max: int
    min: int
    dtype: DType


def as_dtype(value: Any) -> DType:
    """The dtype of a tensor or an array, or what else names one. Raises: TypeError for one that does not travel."""
    dtype = np.dtype(value.dtype if isinstance(value, (Handle, np.ndarray, np.generic)) else value)
    if dtype not in DTYPES.values():
        raise TypeError(f"{dtype} is no dtype of the array API")
    return dtype


def isdtype(dtype: Any, kind: Any) -> bool:
    """Whether a dtype is of a kind: a name of the standard's ("real floating"), a dtype, or a tuple of them."""
    if isinstance(kind, tuple):
        return any(isdtype(dtype, one) for one in kind)
    if isinstance(kind, str) and kind in _KINDS:
        return as_dtype(dtype).kind in _KINDS[kind]
    if isinstance(kind, str):
        raise ValueError(f"no kind {kind!r} of dtypes; kinds: {', '.join(_KINDS)}")
    return as_dtype(dtype) == as_dtype(kind)


def result_type(*arrays_and_dtypes: Any) -> DType:
    """The dtype in which tensors, dtypes and Python scalars meet. Raises: TypeError if there is none."""
    known = [as_dtype(item) for item in arrays_and_dtypes if type(item) not in _SCALARS]
    if not known:
        raise TypeError("result_type needs at least one tensor or dtype")
    like = ops.result_type(*known)
    scalars = (ops.scalar_dtype(item, like) for item in arrays_and_dtypes if type(item) in _SCALARS)
    return ops.result_type(like, *scalars)


def can_cast(from_: Any, to: Any, /) -> bool:
    """Whether promotion leads from one dtype to another."""
    try:
        return ops.result_type(as_dtype(from_), as_dtype(to)) == as_dtype(to)
    except TypeError:  # uint64 and signed integers meet nowhere
        return False


def finfo(type: Any, /) -> FloatInfo:
    """The limits of a floating-point dtype. Raises: ValueError for other dtypes."""
    info = np.finfo(as_dtype(type))
    eps, most, least, tiny = (float(value) for value in (info.eps, info.max, info.min, info.tiny))
    return FloatInfo(info.bits, eps, most, least, tiny, np.dtype(info.dtype))


def iinfo(type: Any, /) -> IntInfo:
    """The limits of an integer dtype. Raises: ValueError for other dtypes."""
    info = np.iinfo(as_dtype(type))
    return IntInfo(info.bits, int(info.max), int(info.min), np.dtype(info.dtype))


class Info:
    """What ``__array_namespace_info__`` gives; ``device`` is the worker's name."""

    def __init__(self, device: str) -> None:
        self._device = device

    def capabilities(self) -> Dict[str, Any]:
        """Shapes may depend on data, and are None then until ``await x.info()``."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": MAX_DIMS}

    def default_device(self) -> str:
        """The worker of this namespace."""
        return self._device

    def devices(self) -> List[str]:
        """The worker of this namespace: ``driver.workers`` has all."""
        return [self._device]

    def default_dtypes(self, *, device: Any = None) -> Dict[str, DType]:
        """What creation functions make of bare numbers."""
        names = ("real floating", "complex floating", "integral", "indexing")
        return dict(zip(names, map(np.dtype, ("float64", "complex128", "int64", "int64"))))

    def dtypes(self, *, device: Any = None, kind: Any = None) -> Dict[str, DType]:
        """The dtypes by name, of a kind or all."""
        return {dtype.name: dtype for dtype in DTYPES.values() if kind is None or isdtype(dtype, kind)}
