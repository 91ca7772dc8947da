"""Functions that compare: exact."""

from __future__ import annotations

from typing import Any, List, Optional, Tuple

import numpy as np

from ..circuit import Circuit
from ..gates.comparing import BELOW, EQUAL
from ..node import Node


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
