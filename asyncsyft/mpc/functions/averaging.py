"""Averages, quotients by what is public, and the linear functions of images."""

from __future__ import annotations

import math
from typing import Any, Sequence, Tuple

import numpy as np

from ..circuit import Circuit
from ..node import PUBLIC, Node


def mean(c: Circuit, x: Node, axes: Tuple[int, ...], keepdims: bool) -> Node:
    """The sum, times 1 / n with so many bits that the quotient is right to u, relatively."""
    count = int(np.prod([x.shape[axis] for axis in axes], dtype=np.int64))
    whole = c.linear("sum", c.rescale(x), axes, keepdims)
    bits = c.bits + max(1, count).bit_length()
    return c.rescale(c.scaled_by(whole, 1.0 / count, bits))


def quotient(c: Circuit, x: Node, by: Any) -> Node:
    """x / a public array, with so many bits of its reciprocal that the quotient is right to u, relatively."""
    if not np.all(by):
        raise ZeroDivisionError("a secret is divided by zero")
    bits = c.bits + max(1, math.ceil(float(np.log2(np.max(np.abs(by), initial=1.0)))) + 1)
    whole = c.rescale(c.number(x))
    shape = np.broadcast_shapes(x.shape, by.shape)
    factor = c.public(1.0 / by, bits)
    whole = c.broadcast(whole, shape)
    return c.rescale(c.scaled_exactly(whole, factor, shape))


# Images.


def patches(c: Circuit, x: Node, size: Sequence[int], stride: Sequence[int], padding: Sequence[int]) -> Node:
    """(n, c, h, w) -> (n, oh, ow, c * size)."""
    return c.linear("patches", x, tuple(size), tuple(stride), tuple(padding))


def conv2d(c: Circuit, x: Node, kernels: Node, stride: Sequence[int], padding: Sequence[int]) -> Node:
    """x (n, c, h, w), kernels (o, c, kh, kw) -> (n, o, oh, ow). Raises: ValueError for shapes that do not fit."""
    if len(x.shape) != 4 or len(kernels.shape) != 4 or x.shape[1] != kernels.shape[1]:
        raise ValueError(f"conv2d of {x.shape} with kernels {kernels.shape}")
    seen = patches(c, x if x.form == PUBLIC else c.factor(x), kernels.shape[2:], stride, padding)
    flat = c.linear("reshape", kernels, (kernels.shape[0], int(np.prod(kernels.shape[1:], dtype=np.int64))))
    lines = c.linear("reshape", seen, (int(np.prod(seen.shape[:3], dtype=np.int64)), seen.shape[3]))
    out = c.matmul(lines, c.linear("transpose", flat, (1, 0)))
    return c.linear("transpose", c.linear("reshape", out, (*seen.shape[:3], kernels.shape[0])), (0, 3, 1, 2))
