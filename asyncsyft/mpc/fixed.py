"""Fractions as integers modulo 2^64: the nearest to x * 2^bits. What does not fit is refused, never wrapped."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import SessionError
from .ring import DTYPE, Ring, ring

__all__ = ["MAX_BITS", "RANGE", "decode", "encode"]

#: Values are kept below 2^62, so that a rescaling never meets the end of the ring.
RANGE = 1 << 62
#: Fractional bits that a session may choose: the product of two values still has room for its whole part.
MAX_BITS = 28


def encode(values: Any, bits: int) -> Ring:
    """Numbers as integers with ``bits`` fractional bits, rounded to the nearest, halves to the even one.

    Raises: TypeError for what is not numbers; SessionError for NaN, infinity, and what is 2^62 or more when encoded.
    """
    array = np.asarray(values)
    if array.dtype.kind in "iubO":
        return _whole(array, bits)
    if array.dtype.kind != "f":
        raise TypeError(f"numbers are wanted, not {array.dtype}")
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.rint(np.ldexp(array.astype(np.float64), bits))
        if not np.all(np.abs(scaled) < RANGE):
            raise SessionError(f"a value is NaN, infinite, or not below 2^62 when it has {bits} fractional bits")
    return np.asarray(scaled.astype(np.int64)).view(DTYPE)


def _whole(array: Any, bits: int) -> Ring:
    if array.size and not (int(array.max()) << bits < RANGE and int(array.min()) << bits > -RANGE):
        raise SessionError(f"a value is not below 2^62 when it has {bits} fractional bits")
    return np.asarray(np.left_shift(ring(array), np.uint64(bits), dtype=DTYPE))


def decode(values: Ring, bits: int) -> Any:
    """The numbers, float64; int64 where there are no fractional bits.

    Raises: SessionError for what is 2^62 or more, which no value in range comes to.
    """
    signed = np.asarray(values, DTYPE).view(np.int64)
    if np.any((signed >= RANGE) | (signed <= -RANGE)):
        raise SessionError(f"a result left the range: it is not below 2^62 with its {bits} fractional bits")
    return np.ldexp(signed.astype(np.float64), -bits) if bits else signed
