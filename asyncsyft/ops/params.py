"""Parameters from the network: each function gives a value that is safe to hand to numpy, or raises.

Only None, bool, int, float, str and lists of them arrive; none of them is trusted. It knows no op.
"""

from __future__ import annotations

import math
from typing import Optional, Tuple

from ..tensor import MAX_DIMS

_INT64 = 1 << 63


def integer(value: object, what: str) -> int:
    """An int that fits in 64 bits, and is no bool. Raises: TypeError, OverflowError."""
    if type(value) is not int:
        raise TypeError(f"{what} must be an int, not {type(value).__name__}")
    if not -_INT64 <= value < _INT64:
        raise OverflowError(f"{what} does not fit in 64 bits")
    return value


def count(value: object, what: str) -> int:
    """An int of at least 0. Raises: TypeError, ValueError, OverflowError."""
    number = integer(value, what)
    if number < 0:
        raise ValueError(f"{what} must not be negative, as {number} is")
    return number


def boolean(value: object, what: str) -> bool:
    """A bool and nothing that only looks like one. Raises: TypeError."""
    if type(value) is not bool:
        raise TypeError(f"{what} must be a bool, not {type(value).__name__}")
    return value


def number(value: object, what: str) -> float:
    """An int or float. Raises: TypeError."""
    if type(value) is not int and type(value) is not float:
        raise TypeError(f"{what} must be a number, not {type(value).__name__}")
    return value


def finite(value: object, what: str) -> float:
    """An int or float that is neither infinite nor NaN. Raises: TypeError, ValueError, OverflowError."""
    checked = number(value, what)
    if not math.isfinite(checked):
        raise ValueError(f"{what} must be finite")
    return checked


def choice(value: object, options: Tuple[str, ...], what: str) -> str:
    """One of these words. Raises: TypeError, ValueError."""
    if type(value) is not str:
        raise TypeError(f"{what} must be one of {', '.join(options)}, not {type(value).__name__}")
    if value not in options:
        raise ValueError(f"{what} must be one of {', '.join(options)}, not {value[:40]!r}")
    return value


def integers(value: object, what: str) -> Tuple[int, ...]:
    """An int or a list of ints, no more than a shape can have. Raises: TypeError, ValueError, OverflowError."""
    if type(value) is int:
        return (integer(value, what),)
    if type(value) is not list and type(value) is not tuple:
        raise TypeError(f"{what} must be an int or a list of ints, not {type(value).__name__}")
    if len(value) > MAX_DIMS:
        raise ValueError(f"{what} has {len(value)} entries; the most is {MAX_DIMS}")
    return tuple(integer(item, what) for item in value)


def shape(value: object, what: str = "shape") -> Tuple[int, ...]:
    """A shape: dimensions of at least 0. Raises: TypeError, ValueError, OverflowError."""
    return tuple(count(dim, what) for dim in integers(value, what))


def axis(value: object, ndim: int, what: str = "axis") -> int:
    """An axis of an array of ``ndim`` dimensions, counted from 0. Raises: TypeError, IndexError."""
    if type(value) is not int:
        raise TypeError(f"{what} must be an int, not {type(value).__name__}")
    if not -ndim <= value < ndim:
        raise IndexError(f"{what} {value} is out of range for an array of {ndim} dimensions")
    return value % ndim


def axes(value: object, ndim: int, what: str = "axis") -> Tuple[int, ...]:
    """Axes, each named once; None for all of them. Raises: TypeError, ValueError, IndexError."""
    if value is None:
        return tuple(range(ndim))
    if type(value) is int and -ndim <= value < ndim:
        return (value % ndim,)
    found = tuple(axis(item, ndim, what) for item in integers(value, what))
    if len(set(found)) != len(found):
        raise ValueError(f"{what} names a dimension twice: {list(found)}")
    return found


def optional_axis(value: object, ndim: int) -> Optional[int]:
    """An axis from 0, or None. Raises: as ``axis``."""
    return None if value is None else axis(value, ndim)
