"""Which dtype comes out: promotion between arrays, and what a Python scalar becomes next to an array.

The table is our own, since numpy 1 and numpy 2 promote differently. It knows no op and looks at no value of an array.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, FrozenSet, Iterable, Optional, Sequence, Tuple, Union

import numpy as np

from ..tensor import DTYPES, DType, descriptor

Scalar = Union[bool, int, float, complex]

BOOL, INT64, UINT64, FLOAT32, FLOAT64, COMPLEX64, COMPLEX128 = (
    DTYPES[descr] for descr in ("|b1", "<i8", "<u8", "<f4", "<f8", "<c8", "<c16")
)

# numpy's kind letters, as the sets that the ops accept.
BITS, INTEGER, REAL_FLOAT, FLOATING, REAL, NUMERIC, ANY = "biu", "iu", "f", "fc", "iuf", "iufc", "biufc"
_NAMES = {
    "b": "bool",
    BITS: "bool or integer",
    INTEGER: "integer",
    REAL_FLOAT: "real floating-point",
    FLOATING: "floating-point",
    REAL: "real-valued (integer or floating-point)",
    NUMERIC: "numeric",
    "c": "complex",
    "biuf": "bool, integer or real floating-point",
}
_ORDER = {"b": 0, "i": 1, "u": 1, "f": 2, "c": 3}


def result_type(*dtypes: DType) -> DType:
    """The dtype in which arrays of these dtypes meet; a 0-d array counts like any other, its value never does.

    Kinds are ordered bool < integer < floating < complex. Different kinds: the higher kind's dtype wins (int64 and
    float32 give float32, bool and int8 give int8), but float64 with complex64 gives complex128, which keeps the larger
    precision. Same kind: the larger; signed with unsigned integers: the smallest signed integer that holds both.

    Raises: TypeError for uint64 with a signed integer, which no integer dtype holds, and for no dtypes at all.
    """
    if not dtypes:
        raise TypeError("result_type needs at least one dtype")
    return _result_type(frozenset(dtypes))


@lru_cache(maxsize=1024)
def _result_type(dtypes: FrozenSet[DType]) -> DType:
    for dtype in dtypes:
        descriptor(dtype)
    highest = max(_ORDER[dtype.kind] for dtype in dtypes)
    if highest == _ORDER["b"]:
        return BOOL
    if highest == _ORDER["i"]:
        return _integer_type([dtype for dtype in dtypes if dtype.kind in INTEGER])
    double = any(real_of(dtype) == FLOAT64 for dtype in dtypes)
    if highest == _ORDER["f"]:
        return FLOAT64 if double else FLOAT32
    return COMPLEX128 if double else COMPLEX64


def _integer_type(dtypes: Iterable[DType]) -> DType:
    signed = max((d.itemsize for d in dtypes if d.kind == "i"), default=0)
    unsigned = max((d.itemsize for d in dtypes if d.kind == "u"), default=0)
    if not signed:
        return np.dtype(f"u{unsigned}")
    size = max(signed, 2 * unsigned)
    if size > 8:
        raise TypeError("uint64 and a signed integer have no common dtype: astype one of them first")
    return np.dtype(f"i{size}")


def scalar_dtype(value: Scalar, like: Optional[DType] = None) -> DType:
    """The dtype of a Python scalar next to an array of dtype ``like`` (None: with no array at hand, the default dtype).

    It takes the array's dtype unless its kind is higher: an int with bool arrays is int64, a float with integers or
    bools float64, a complex number with reals the complex dtype of their precision.

    Raises: OverflowError for an int that its integer dtype cannot hold, TypeError for what is not a Python scalar.
    """
    kind = {bool: "b", int: "i", float: "f", complex: "c"}.get(type(value))
    if kind is None:
        raise TypeError(f"not a Python scalar: {type(value).__name__}")
    default = {"b": BOOL, "i": INT64, "f": FLOAT64, "c": COMPLEX128}[kind]
    if like is None:
        dtype = default
    elif _ORDER[like.kind] >= _ORDER[kind]:
        dtype = like
    else:
        dtype = COMPLEX64 if kind == "c" and like == FLOAT32 else default
    if isinstance(value, int) and dtype.kind in INTEGER:
        _check_range(value, dtype)
    return dtype


def _check_range(value: int, dtype: DType) -> None:
    limits = np.iinfo(dtype)
    if not limits.min <= value <= limits.max:
        raise OverflowError(f"{value} is out of the range of {dtype}: {limits.min} to {limits.max}")


def require(dtype: DType, kinds: str) -> DType:
    """The dtype, if it is of one of these kinds. Raises: TypeError."""
    if dtype.kind not in kinds:
        raise TypeError(f"needs {_NAMES[kinds]} arrays, not {dtype}")
    return dtype


def floating(dtype: DType, kinds: str = FLOATING) -> DType:
    """The dtype in which an op that needs floating point computes: integers become float64. Raises: TypeError."""
    if dtype.kind in INTEGER:
        return FLOAT64
    if dtype.kind not in kinds:
        raise TypeError(f"needs integer or {_NAMES[kinds]} arrays, not {dtype}")
    return dtype


def real_of(dtype: DType) -> DType:
    """The dtype of the absolute value: complex64 -> float32, complex128 -> float64, others themselves."""
    return {COMPLEX64: FLOAT32, COMPLEX128: FLOAT64}.get(dtype, dtype)


def complex_of(dtype: DType) -> DType:
    """The complex dtype of a floating-point dtype's precision; complex dtypes themselves."""
    return {FLOAT32: COMPLEX64, FLOAT64: COMPLEX128}.get(dtype, dtype)


def total_of(dtype: DType) -> DType:
    """The dtype of a sum: int64 or uint64 for the smaller integers (int64 for bools), others themselves."""
    return {"b": INT64, "i": INT64, "u": UINT64}.get(dtype.kind, dtype)


def parse_dtype(value: object, default: Optional[DType] = None) -> DType:
    """The dtype that a parameter from the network names by descriptor ("<f4"), or ``default`` for None.

    Raises: TypeError.
    """
    if value is None and default is not None:
        return default
    dtype = DTYPES.get(value) if type(value) is str else None
    if dtype is None:
        raise TypeError(f"dtype must be one of {', '.join(DTYPES)}, not {str(value)[:40]!r}")
    return dtype


def describe(value: Any) -> str:
    """The descriptor of whatever a user calls a dtype: a dtype, a type, a name. Raises: TypeError."""
    if isinstance(value, str) and value in DTYPES:
        return value
    return descriptor(np.dtype(value))


def meet(operands: Sequence[Union[DType, Scalar]]) -> Tuple[DType, ...]:
    """The dtypes of operands that meet: arrays (given as dtypes) keep theirs, Python scalars take the arrays'.

    Raises: as ``result_type`` and ``scalar_dtype``.
    """
    arrays = [item for item in operands if isinstance(item, np.dtype)]
    if not arrays:
        arrays = [scalar_dtype(item) for item in operands if not isinstance(item, np.dtype)]
    like = result_type(*arrays)
    return tuple(item if isinstance(item, np.dtype) else scalar_dtype(item, like) for item in operands)
