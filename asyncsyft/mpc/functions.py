"""Functions of secrets, made of the gates that a circuit has. Each says what it approximates, how well and how far.

Errors are beside those of the fixed point: u below is 2^-bits of the circuit.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, List, Optional, Sequence, Tuple

import numpy as np

from .circuit import Circuit
from .gates.comparing import BELOW, EQUAL
from .gates.waves import LEFT, RIGHT, SPAN, WAVE
from .node import BIT, PUBLIC, Node

__all__ = [
    "absolute",
    "argmax",
    "conv2d",
    "equal",
    "exp",
    "less",
    "maximum",
    "mean",
    "negative",
    "patches",
    "quotient",
    "reciprocal",
    "relu",
    "sigmoid",
    "softmax",
    "sqrt",
    "tanh",
    "top",
    "where",
]

#: Beyond, a sigmoid is 0 or 1 to 1.7e-5; within, sixteen sines of period 32 are as near to it as 1.1e-5.
FLAT, PERIOD, SINES = 11, 5, 16
#: Fractional bits of an exponent of two, of its logarithm's constant, and of a factor that makes a number about 1.
FINE, CONSTANT, NORMAL = 20, 24, 28
#: Fractional bits within a reciprocal and a root.
PRECISE = 24
#: Reciprocals and roots are right for numbers from 2^-8 to 2^15.
LOWEST, HIGHEST = -8, 15
#: An exponent is so small at most, or its product with log2 e has no room.
LEAST_POWER = -(2.0**20)
LOG2E = 1.4426950408889634


# Comparing. Exact.


def negative(c: Circuit, x: Node) -> Node:
    """Whether x < 0."""
    return c.compare(x, BELOW)


def less(c: Circuit, x: Node, y: Node) -> Node:
    """Whether x < y; both below 2^62 as integers."""
    return c.compare(c.sub(x, y), BELOW)


def equal(c: Circuit, x: Node, y: Node) -> Node:
    return c.compare(c.sub(x, y), EQUAL)


def where(c: Circuit, bit: Node, x: Node, y: Node) -> Node:
    """x where the bit is 1, y elsewhere."""
    difference = c.sub(x, y)
    shape = np.broadcast_shapes(bit.shape, difference.shape)
    chosen = c.choose(c.broadcast(bit, shape), c.broadcast(difference, shape))
    return c.add(chosen, y)


def relu(c: Circuit, x: Node) -> Node:
    wire = c.wire(x)
    return c.choose(c.flip(negative(c, wire)), wire)


def absolute(c: Circuit, x: Node) -> Node:
    """|x| = x - 2 min(x, 0)."""
    wire = c.wire(x)
    return c.sub(c.rescale(wire), c.linear("shift", c.choose(negative(c, wire), wire), 1))


def maximum(c: Circuit, x: Node, y: Node) -> Node:
    return c.add(y, relu(c, c.sub(x, y)))


# Reducing: one comparison after another, log2 n times.


def _item(axis: int, start: Optional[int], stop: Optional[int], step: int = 1) -> List[Any]:
    return [["slice", None, None, None]] * axis + [["slice", start, stop, step]]


def top(c: Circuit, x: Node, axis: int, keepdims: bool, want: str = "max") -> Node:
    """The largest along an axis; ``want`` "argmax": where it is, the first of equals. Raises: ValueError if empty."""
    count = x.shape[axis]
    if not count:
        raise ValueError("the largest of nothing")
    at: Optional[Node] = None
    if want == "argmax":
        shape = [1] * len(x.shape)
        shape[axis] = count
        numbers = c.public(np.broadcast_to(np.arange(count).reshape(shape), x.shape).copy())
        at = numbers
    x = c.number(x)
    while x.shape[axis] > 1:
        x, at = _round(c, x, at, axis)
    result = x if at is None else at
    return result if keepdims else c.linear("reshape", result, x.shape[:axis] + x.shape[axis + 1 :])


def _round(c: Circuit, x: Node, at: Optional[Node], axis: int) -> Tuple[Node, Optional[Node]]:
    count = x.shape[axis]
    even, odd = _item(axis, 0, count // 2 * 2, 2), _item(axis, 1, None, 2)
    x = c.wire(x)  # once, for all that is taken from it
    left, right = c.linear("index", x, *even), c.linear("index", x, *odd)
    gain = c.wire(c.sub(right, left))
    higher = c.compare(c.linear("neg", gain), BELOW)
    winners = c.add(left, c.choose(higher, gain))
    places = None
    if at is not None:
        first, second = c.linear("index", at, *even), c.linear("index", at, *odd)
        places = c.add(first, c.mul(higher, c.sub(second, first)))
    if count % 2:
        winners = c.concat([winners, c.linear("index", x, *_item(axis, count - 1, None))], axis)
        if at is not None and places is not None:
            places = c.concat([places, c.linear("index", at, *_item(axis, count - 1, None))], axis)
    return winners, places


def argmax(c: Circuit, x: Node, axis: int, keepdims: bool = False) -> Node:
    return top(c, x, axis, keepdims, "argmax")


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


# Functions of analysis.


@lru_cache(maxsize=None)
def _sigmoid_factors() -> Tuple[float, ...]:
    x = np.linspace(-FLAT, FLAT, 4001)
    table = np.sin(2 * np.pi * np.outer(x, np.arange(1, SINES + 1)) / (1 << PERIOD))
    found, *_ = np.linalg.lstsq(table, 1 / (1 + np.exp(-x)) - 0.5, rcond=1e-9)
    return tuple(float(factor) for factor in found)


def sigmoid(c: Circuit, x: Node) -> Node:
    """1 / (1 + e^-x), for every x: within 2e-5 and 2 u."""
    return _waves(c, c.wire(c.rescale(x)), 1.0, 0.5)


def tanh(c: Circuit, x: Node) -> Node:
    """2 sigmoid(2x) - 1, for every x: within 4e-5 and 2 u."""
    wire = c.wire(c.rescale(x))
    return _waves(c, c.linear("shift", wire, 1), 2.0, 0.0)


def _waves(c: Circuit, wire: Node, height: float, middle: float) -> Node:
    """``height`` (sigmoid - 1/2) + ``middle``."""
    factors = tuple(height * factor for factor in _sigmoid_factors())
    period = wire.scale + PERIOD
    near = c.gate("sines", (wire,), (period, factors), wire.shape, 2 * WAVE, "loose")
    edge = c.public(np.full(wire.shape, FLAT), wire.scale)
    low = c.compare(c.add(wire, edge), BELOW)
    high = c.flip(c.compare(c.sub(wire, edge), BELOW))
    within = c.flip(c.gate("differ", (low, high), (), wire.shape, 0, BIT))
    ends = c.sub(c.number(high), c.number(low))
    half = c.public(np.asarray(height / 2), c.bits)
    out = c.add(c.choose(within, near), c.scaled(ends, half))
    return c.add(out, c.public(np.full(wire.shape, middle), c.bits)) if middle else out


def exp(c: Circuit, x: Node) -> Node:
    """e^x for x below 11, 0 for x from -2^20 to -11: relatively within 4e-5, and 2 u."""
    x = c.rescale(x)
    c.expects(x, LEAST_POWER, FLAT)
    half = _power(c, c.scaled_by(x, LOG2E / 2, CONSTANT), 8)
    return c.mul(half, half)


def _power(c: Circuit, x: Node, up: int) -> Node:
    """2^x for x from -``up`` to 16 - ``up``; 0 below: relatively within 2^-17, and 2 u."""
    fine = c.rescale(x, FINE)
    wire = c.wire(c.add(fine, c.public(np.full(fine.shape, up), FINE)))
    wrapped = c.compare(wire, BELOW, FINE + SPAN)
    value = c.gate("power", (wrapped, wire), (FINE,), wire.shape, LEFT + RIGHT + up, "loose")
    return c.choose(c.flip(c.compare(wire, BELOW)), value)


def softmax(c: Circuit, x: Node, axis: int) -> Node:
    """e^(x - max) / the sum of these, along an axis of up to 2^14: within 1e-4 and 4 u."""
    x = c.wire(c.rescale(x))
    below = c.sub(x, top(c, x, axis, True))
    powers = c.wire(_power(c, c.scaled_by(c.rescale(below), LOG2E, CONSTANT), 15))  # none is above e^0, and what is
    return c.mul(powers, reciprocal(c, c.linear("sum", powers, (axis,), True), lowest=0))  # below e^-10 is no matter


def _stacked_at_least(c: Circuit, x: Node, limits: Sequence[float]) -> Node:
    """Whether x is at least each of the limits, as numbers: (limits, ...)."""
    levels = np.asarray(limits).reshape((-1,) + (1,) * len(x.shape))
    return c.number(c.flip(c.compare(c.sub(x, c.public(levels, x.scale)), BELOW)))


def _staircase(c: Circuit, at_least: Node, values: Sequence[float]) -> Node:
    """``values[k]`` where the first k limits are passed, with ``NORMAL`` fractional bits."""
    steps = np.diff(np.asarray(values)).reshape((-1,) + (1,) * (len(at_least.shape) - 1))
    risen = c.linear("sum", c.scaled(at_least, c.public(steps, NORMAL)), (0,), False)
    return c.wire(c.add(risen, c.public(np.full(risen.shape, values[0]), NORMAL)))


def _fine(c: Circuit, a: Node, b: Node) -> Node:
    """The product of two, with ``PRECISE`` bits."""
    return c.rescale(c.product(a, b, "mul"), PRECISE)


def _constant(c: Circuit, like: Node, value: float, scale: int) -> Node:
    return c.public(np.full(like.shape, value), scale)


def reciprocal(c: Circuit, x: Node, lowest: int = LOWEST) -> Node:
    """1 / x for |x| from 2^-8 to 2^15: relatively within 2^-20, and 2 u.

    x is brought to [1/2, 1) by a power of two that comparisons find; there 1 / m = y (1 + e) (1 + e^2) (1 + e^4) for
    e = 1 - m y and a straight line y, with an error of e^8 < 2e-10.
    """
    if lowest == LOWEST:  # the sign is set aside
        wire = c.wire(c.rescale(x))
        below = negative(c, wire)
        size = c.wire(c.sub(wire, c.linear("shift", c.choose(below, wire), 1)))
        c.expects(size, 2.0**LOWEST, 2.0**HIGHEST)
        positive = _reciprocal(c, size, lowest)
        return c.sub(positive, c.linear("shift", c.choose(below, positive), 1))
    return _reciprocal(c, c.wire(c.rescale(x)), lowest)


def _reciprocal(c: Circuit, x: Node, lowest: int) -> Node:
    places = range(lowest, HIGHEST)
    reached = _stacked_at_least(c, x, [2.0**place for place in places[1:]])
    unit = _staircase(c, reached, [2.0 ** -(place + 1) for place in places])
    m = _fine(c, x, unit)
    y = _line(c, m, 48 / 17, 32 / 17)
    one = _constant(c, m, 1.0, PRECISE)
    e = c.sub(one, _fine(c, m, y))
    for turn in range(3):
        y, e = _fine(c, y, c.add(one, e)), _fine(c, e, e) if turn < 2 else e
    return c.rescale(c.product(y, unit, "mul"))


def _line(c: Circuit, m: Node, height: float, slope: float) -> Node:
    """``height`` - ``slope`` m."""
    return c.sub(_constant(c, m, height, PRECISE), c.rescale(c.scaled_by(m, slope, PRECISE), PRECISE))


def sqrt(c: Circuit, x: Node) -> Node:
    """The square root, for x from 2^-8 to 2^14, and of 0: relatively within 1e-5, and 2 u.

    x is brought to [1/4, 1) by a power of four. There g goes to the root of m and h to its reciprocal, from a straight
    line h and g = m h: both times 3/2 - g h / 2 (Goldschmidt), the error of 0.1 becomes 2e-7 in three turns.
    """
    x = c.wire(c.rescale(x))
    c.expects(x, 0, 4.0 ** (HIGHEST // 2))
    places = range(LOWEST // 2, HIGHEST // 2)
    reached = _stacked_at_least(c, x, [4.0**place for place in places[1:]])
    unit = _staircase(c, reached, [4.0 ** -(place + 1) for place in places])
    root = _staircase(c, reached, [2.0 ** (place + 1) for place in places])
    m = _fine(c, x, unit)
    h = _line(c, m, 2.1, 1.15)
    g = _fine(c, m, h)
    for turn in range(3):
        rest = c.sub(_constant(c, m, 1.5, PRECISE + 1), c.halved(_fine(c, g, h)))
        g, h = _fine(c, g, rest), _fine(c, h, rest) if turn < 2 else h
    return c.rescale(c.product(g, root, "mul"))
