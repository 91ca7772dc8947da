"""Functions of analysis, approximated. u below is 2^-bits of the circuit."""

from __future__ import annotations

from functools import lru_cache
from typing import Sequence, Tuple

import numpy as np

from ..circuit import Circuit
from ..gates.comparing import BELOW
from ..gates.waves import LEFT, RIGHT, SPAN, WAVE
from ..node import BIT, Node
from .comparing import negative, top

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
