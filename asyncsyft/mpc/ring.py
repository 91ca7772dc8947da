"""Arithmetic in Z_2^64 on numpy arrays of uint64, exact to the last bit. It knows no secrets and no fractions.

numpy's own integer matmul has no blocking and is slow from about 64 rows on. Here a product of matrices goes through
torch's int64 matmul where torch is installed, and otherwise through float64 BLAS in limbs: signed digits of 22, 22 and
20 bits, five products (Karatsuba for the middle pair; what lies above 2^64 vanishes), in blocks of the inner dimension
so short that every sum stays below 2^53.
"""

from __future__ import annotations

import importlib
import math
from functools import lru_cache
from typing import Any, Optional, Tuple

import numpy as np

__all__ = ["DTYPE", "Ring", "add", "matmul", "matmul_shape", "mul", "neg", "patches", "ring", "shift", "sub", "total"]

Ring = np.ndarray  # of DTYPE
DTYPE = np.dtype("<u8")

#: Bits of the two lower digits; the highest has what is left.
DIGIT = 22
#: Longest inner dimension of one float product: 512 products of two 23-bit sums of digits stay below 2^53.
BLOCK = 512
#: Fewer rows, columns or steps than this, and numpy's own product is the fastest.
FEW = 5
SMALL = 64**3


def ring(values: Any) -> Ring:
    """Integers, of any integer dtype or Python's, modulo 2^64. Raises: TypeError for what is not integers."""
    array = np.asarray(values)
    if array.dtype == object:
        flat = [int(value) & 0xFFFFFFFFFFFFFFFF for value in array.ravel()]
        return np.array(flat, DTYPE).reshape(array.shape)
    if array.dtype.kind not in "iub":
        raise TypeError(f"integers are wanted, not {array.dtype}")
    return array.astype(DTYPE)


# Functions, not operators: an operator on what numpy makes of an array without dimensions warns when it wraps.


def add(a: Any, b: Any) -> Ring:
    return np.asarray(np.add(a, b, dtype=DTYPE))


def sub(a: Any, b: Any) -> Ring:
    return np.asarray(np.subtract(a, b, dtype=DTYPE))


def mul(a: Any, b: Any) -> Ring:
    return np.asarray(np.multiply(a, b, dtype=DTYPE))


def neg(a: Any) -> Ring:
    return np.asarray(np.negative(a, dtype=DTYPE))


def shift(a: Any, bits: int) -> Ring:
    """``a`` times 2^``bits``."""
    return np.asarray(np.left_shift(a, np.uint64(bits), dtype=DTYPE))


def total(a: Ring, axis: Optional[Tuple[int, ...]] = None, keepdims: bool = False) -> Ring:
    """The sum over axes (all of them by default)."""
    return np.asarray(np.sum(a, axis=axis, keepdims=keepdims, dtype=DTYPE))


def matmul_shape(a: Tuple[int, ...], b: Tuple[int, ...]) -> Tuple[int, ...]:
    """The shape of a product of matrices of these shapes. Raises: ValueError if they do not fit."""
    if not a or not b or a[-1] != b[-2 if len(b) > 1 else 0]:
        raise ValueError(f"matmul of {a} and {b}")
    return (*np.broadcast_shapes(a[:-2], b[:-2]), *a[-2:-1], *(b[-1:] if len(b) > 1 else ()))


def matmul(a: Ring, b: Ring) -> Ring:
    """``a @ b``, with numpy's rules for one dimension and for stacks of matrices. Raises: ValueError for shapes."""
    matmul_shape(a.shape, b.shape)
    if a.ndim == 1 or b.ndim == 1:
        whole = matmul(a[None] if a.ndim == 1 else a, b[:, None] if b.ndim == 1 else b)
        whole = whole[..., 0] if b.ndim == 1 else whole
        return np.asarray(whole[..., 0, :] if a.ndim == 1 and b.ndim > 1 else whole[..., 0] if a.ndim == 1 else whole)
    if b.ndim == 2:  # one product instead of a stack of them
        return _flat(a.reshape(math.prod(a.shape[:-1]), a.shape[-1]), b).reshape(a.shape[:-1] + b.shape[-1:])
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    count = math.prod(lead)
    left = np.broadcast_to(a, lead + a.shape[-2:]).reshape((count, *a.shape[-2:]))
    right = np.broadcast_to(b, lead + b.shape[-2:]).reshape((count, *b.shape[-2:]))
    out = np.empty((count, a.shape[-2], b.shape[-1]), DTYPE)
    for index in range(count):
        out[index] = _flat(left[index], right[index])
    return out.reshape((*lead, a.shape[-2], b.shape[-1]))


def _flat(a: Ring, b: Ring) -> Ring:
    rows, inner = a.shape
    columns = b.shape[1]
    if min(rows, columns) < FEW or rows * inner * columns < SMALL:
        if rows < columns:  # numpy walks along the rows of its second operand, and is fast on few rows only
            return np.asarray(np.matmul(a, b))
        return np.asarray(np.matmul(np.ascontiguousarray(b.T), np.ascontiguousarray(a.T)).T)
    torch = _torch()
    if torch is not None:
        left, right = (torch.from_numpy(np.ascontiguousarray(part).view(np.int64)) for part in (a, b))
        return np.asarray(torch.matmul(left, right).numpy().view(DTYPE))
    return by_limbs(a, b)


@lru_cache(maxsize=None)
def _torch() -> Optional[Any]:
    """torch, if it is installed and multiplies integers; looked for when the first large product needs it."""
    try:
        torch = importlib.import_module("torch")
        two = torch.tensor([[2**33]])
        return torch if int(torch.matmul(two, two)[0, 0]) == 4 * 2**64 % 2**64 else None
    except (ImportError, RuntimeError, AttributeError):
        return None


def by_limbs(a: Ring, b: Ring) -> Ring:
    """The product of two matrices through float64: exact."""
    out = np.zeros((a.shape[0], b.shape[1]), DTYPE)
    for start in range(0, a.shape[1], BLOCK):
        a0, a1, a2 = _digits(a[:, start : start + BLOCK])
        b0, b1, b2 = _digits(b[start : start + BLOCK])
        low, middle = a0 @ b0, a1 @ b1
        cross = (a0 + a1) @ (b0 + b1) - low - middle
        high = a0 @ b2 + a2 @ b0 + middle
        out += _integers(low)
        out += _integers(cross) << np.uint64(DIGIT)
        out += _integers(high) << np.uint64(2 * DIGIT)
    return out


def _digits(a: Ring) -> Tuple[Any, Any, Any]:
    """Signed digits a0 + 2^22 a1 + 2^44 a2, as float64; the two lower ones in [-2^21, 2^21), the highest in 20 bits."""
    half, mask = np.uint64(1 << (DIGIT - 1)), np.uint64((1 << DIGIT) - 1)
    a0 = ((a + half) & mask).view(np.int64) - np.int64(half)
    rest = (a - a0.view(DTYPE)) >> np.uint64(DIGIT)
    a1 = ((rest + half) & mask).view(np.int64) - np.int64(half)
    top = ((rest - a1.view(DTYPE)) >> np.uint64(DIGIT)) << np.uint64(2 * DIGIT)
    a2 = top.view(np.int64) >> np.int64(2 * DIGIT)
    return a0.astype(np.float64), a1.astype(np.float64), a2.astype(np.float64)


def _integers(a: Any) -> Ring:
    return np.asarray(a.astype(np.int64).view(DTYPE))


def patches(a: Ring, size: Tuple[int, int], stride: Tuple[int, int], padding: Tuple[int, int]) -> Ring:
    """What a window of ``size`` sees as it goes over ``a``: (n, c, h, w) -> (n, oh, ow, c * size).

    A convolution is the product of this with the kernels laid out as a matrix. Raises: ValueError.
    """
    a = np.pad(a, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))
    if a.shape[2] < size[0] or a.shape[3] < size[1]:
        raise ValueError(f"a window of {size} on an image of {a.shape[2:]}")
    seen = np.lib.stride_tricks.sliding_window_view(a, size, axis=(2, 3))[:, :, :: stride[0], :: stride[1]]
    seen = seen.transpose(0, 2, 3, 1, 4, 5)
    return np.ascontiguousarray(seen).reshape((*seen.shape[:3], math.prod(seen.shape[3:])))
