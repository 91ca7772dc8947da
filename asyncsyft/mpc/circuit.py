"""Records what is to be computed on secrets, as gates: forms and scales are decided here. No I/O, no data but public.

A ``Node`` is a value that does not exist yet: a public constant, a *wire* (masked, known to all under its mask), a
*loose* sum of parts, or a bit. Its real number is its integer divided by 2^scale. Products are left at the scale of
both factors together, and loose, until something needs them otherwise: so sums of products cost one opening, and a
product that is only revealed costs none.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Deque, List, Optional, Sequence, Tuple

import numpy as np

from . import fixed, ring
from .gates.comparing import BELOW, EQUAL, digits_of, fold_of
from .gates.linear import LINEAR, MOVES
from .machine import Gate
from .node import BIT, CARRIED, LOOSE, PLANES, PUBLIC, WIRE, Node, Shape, joined, plain, stays
from .schedule import schedule

__all__ = ["Circuit"]

#: Up to so many bits what a rescaling carried is zero modulo 2^64 when it meets another's.
MAX_CARRIED = 32
#: Bits of a number without its sign.
UNSIGNED = 63


class Circuit:
    """Gates, as they are recorded; ``bits`` is the number of fractional bits that products are rescaled to."""

    def __init__(self, bits: int) -> None:
        """Raises: ValueError for bits that leave no room for whole numbers."""
        if not 0 <= bits <= fixed.MAX_BITS:
            raise ValueError(f"fractional bits are 0 to {fixed.MAX_BITS}, not {bits}")
        self.bits = bits
        self.gates: List[Gate] = []
        #: Numbers of nodes that nobody holds any more. Finalizers run anywhere: they only append.
        self.dropped: Deque[int] = deque()
        #: Elements that the gates recorded make, about; products of matrices count each of their steps.
        self.work = 0
        self._last = 0

    def gate(
        self,
        op: str,
        ins: Sequence[Node],
        params: Sequence[Any],
        shape: Shape,
        scale: int,
        form: str,
        settled: bool = True,
    ) -> Node:
        """Record a gate; its result."""
        self._last += 1
        self.gates.append(Gate(op, self._last, tuple(node.number for node in ins), tuple(params)))
        node = Node(self, self._last, shape, scale, form, settled)
        self.work += node.size
        return node

    @property
    def last(self) -> int:
        """The number of the last gate recorded."""
        return self._last

    def take(self) -> Tuple[List[Gate], List[int]]:
        """What was recorded, in the order to run it, and the numbers that are forgotten afterwards."""
        gates, self.gates, self.work = self.gates, [], 0
        dead = set()
        while self.dropped:
            dead.add(self.dropped.popleft())
        return schedule(gates, dead)

    # Values from outside, and to outside.

    def public(self, values: Any, scale: Optional[int] = None) -> Node:
        """A constant that everybody may know; whole numbers have no fractional bits unless ``scale`` says so."""
        array = np.asarray(values)
        if scale is None:
            scale = 0 if array.dtype.kind in "iubO" else self.bits
        encoded = fixed.encode(array, scale)
        return self.gate("public", (), (encoded,), array.shape, scale, PUBLIC)

    def input(self, owner: int, shape: Shape, scale: int) -> Node:
        """A secret of the driver (-1), or of the party of that index."""
        node = self.gate("input", (), (), shape, scale, WIRE)
        self.gates[-1] = self.gates[-1]._replace(params=(node.number, owner, shape))
        return node

    def reveal(self, node: Node, to: int) -> int:
        """Tell a result to the driver (-1) or a party; the number under which its shares come."""
        node = self.number(node)
        if not node.settled:
            node = self.settle(node)
        told = self.gate("reveal", (node,), (), node.shape, node.scale, PUBLIC)
        self.gates[-1] = self.gates[-1]._replace(params=(told.number, to))
        return told.number

    # Forms.

    def number(self, node: Node) -> Node:
        """A bit as the number 0 or 1; numbers as they are."""
        if node.form != BIT:
            return node
        return node.once("number", lambda: self.gate("number", (node,), (), node.shape, 0, LOOSE))

    def settle(self, node: Node) -> Node:
        return node.once("settled", lambda: self.gate("settle", (node,), (), node.shape, node.scale, node.form))

    def wire(self, node: Node) -> Node:
        """The value as a wire, at the scale that it has; its mask may not be shared."""
        node = self.number(node)
        if node.form not in (LOOSE, CARRIED):
            return node
        return node.once(
            "wire", lambda: self.gate("open", (node,), (node.shape,), node.shape, node.scale, WIRE, node.settled)
        )

    def rescale(self, node: Node, scale: Optional[int] = None) -> Node:
        """The value with at most so many fractional bits (the circuit's); exact to one unit in the last place."""
        scale = self.bits if scale is None else scale
        bits = node.scale - scale
        if node.form in (BIT, PUBLIC) or bits <= 0:
            return node
        wire = self.wire(node)
        form = CARRIED if bits <= MAX_CARRIED else LOOSE
        return node.once(f"scale {scale}", lambda: self.gate("trunc", (wire,), (bits,), wire.shape, scale, form))

    def factor(self, node: Node) -> Node:
        """The value as products want it: a wire of at most the circuit's scale, its mask shared."""
        wire = self.wire(self.rescale(node))
        return wire if wire.settled else self.settle(wire)

    def element_factor(self, node: Node) -> Node:
        """The value as elementwise products want it: what was just rescaled need not be opened."""
        return self.opened(self.rescale(self.number(node)))

    def opened(self, node: Node) -> Node:
        """A wire whose mask is shared, or what is as good as one in an elementwise product."""
        if node.form == CARRIED and not node.has("wire"):
            return node
        wire = self.wire(node)
        return wire if wire.settled else self.settle(wire)

    def expects(self, x: Node, least: float, most: float) -> None:
        """What a function is right for: compared where somebody looks, as ``checked`` does."""

    def strayed(self) -> Optional[Node]:
        """A bit: whether anything has left its range so far. None where nobody looks."""
        return None

    # Linear operations.

    def linear(self, name: str, node: Node, *params: Any) -> Node:
        """One of ``gates.linear.LINEAR``, of one value."""
        node = node if name in MOVES else self.number(node)
        shape = node.shape if name in ("neg", "shift") else LINEAR[name](_probe(node.shape), *params).shape
        keeps = name in MOVES or name == "neg"
        return self.gate(name, (node,), params, shape, node.scale, node.form if keeps else plain(node), node.settled)

    def halved(self, node: Node) -> Node:
        """Half the value: the same integer, with one more fractional bit."""
        return self.gate("reshape", (node,), (node.shape,), node.shape, node.scale + 1, node.form, node.settled)

    def at_scale(self, node: Node, scale: int) -> Node:
        """The value with more fractional bits."""
        if node.scale == scale:
            return node
        more = scale - node.scale
        return self.gate("shift", (node,), (more,), node.shape, scale, plain(node), node.settled)

    def broadcast(self, node: Node, shape: Shape) -> Node:
        return node if node.shape == shape else self.linear("broadcast", node, shape)

    def add(self, a: Node, b: Node, op: str = "add") -> Node:
        """a + b, or with ``op`` "sub" a - b."""
        shape = np.broadcast_shapes(a.shape, b.shape)
        scale = max(a.scale, b.scale)
        if a.scale != b.scale and scale > 2 * self.bits:  # there may be no room for the other one at that scale
            a, b = self.rescale(a), self.rescale(b)
            scale = max(a.scale, b.scale)
        a, b = (self.broadcast(self.at_scale(self.number(node), scale), shape) for node in (a, b))
        if CARRIED in (a.form, b.form) and stays(b if a.form == CARRIED else a):
            return self.gate(op, (a, b), (), shape, scale, CARRIED)
        return self.gate(op, (a, b), (), shape, scale, *joined((a, b)))

    def sub(self, a: Node, b: Node) -> Node:
        return self.add(a, b, "sub")

    def concat(self, nodes: Sequence[Node], axis: int) -> Node:
        scale = max(node.scale for node in nodes)
        aligned = [self.at_scale(self.number(node), scale) for node in nodes]
        shapes = [node.shape for node in aligned]
        shape = np.concatenate([_probe(shape) for shape in shapes], axis).shape
        return self.gate("concat", aligned, (axis, shapes), shape, scale, *joined(aligned))

    # Products.

    def mul(self, a: Node, b: Node) -> Node:
        shape = np.broadcast_shapes(a.shape, b.shape)
        if a.form == BIT or b.form == BIT:
            return self._times_bit(a, b, shape)
        if PUBLIC in (a.form, b.form):
            a, b = (b, a) if a.form == PUBLIC else (a, b)
            return self.scaled(a, b)
        a, b = self.element_factor(a), self.element_factor(b)
        return self.product(self.broadcast(a, shape), self.broadcast(b, shape), "mul")

    def product(self, a: Node, b: Node, kind: str) -> Node:
        """The product of two wires at whatever scales they have: the caller knows that there is room for it."""
        a, b = (self.opened(node) for node in (a, b))
        if kind == "matmul":
            self.work += a.size * b.shape[-1] >> 2
            shape = ring.matmul_shape(a.shape, b.shape)
        else:
            shape = np.broadcast_shapes(a.shape, b.shape)
        return self.gate("product", (a, b), (kind,), shape, a.scale + b.scale, LOOSE, False)

    def _times_bit(self, a: Node, b: Node, shape: Shape) -> Node:
        a, b = (a, b) if a.form == BIT else (b, a)
        if b.form == PUBLIC:
            return self.scaled(self.number(a), b)
        return self.choose(self.broadcast(a, shape), self.broadcast(self.number(b), shape))

    def scaled(self, a: Node, b: Node) -> Node:
        """A value times a public one."""
        shape = np.broadcast_shapes(a.shape, b.shape)
        a = self.broadcast(self._for_public(self.number(a), b), shape)
        return self.gate("scale", (a, b), (), shape, a.scale + b.scale, plain(a), a.settled)

    def scaled_by(self, a: Node, factor: float, bits: int) -> Node:
        """A value times a number that has so many fractional bits; the caller knows that there is room for it."""
        b = self.public(np.full((1,) * len(a.shape), factor), bits)
        return self.gate("scale", (a, b), (), a.shape, a.scale + bits, plain(a), a.settled)

    def scaled_exactly(self, a: Node, b: Node, shape: Shape) -> Node:
        """A value times a public one, of the same shape when broadcast, at whatever scales they have."""
        return self.gate("scale", (a, b), (), shape, a.scale + b.scale, plain(a), a.settled)

    def _for_public(self, a: Node, b: Node) -> Node:
        return self.rescale(a) if b.scale and a.scale > self.bits else a

    def matmul(self, a: Node, b: Node) -> Node:
        shape = ring.matmul_shape(a.shape, b.shape)
        a, b = self.number(a), self.number(b)
        if PUBLIC in (a.form, b.form):
            secret, public = (b, a) if a.form == PUBLIC else (a, b)
            secret = self._for_public(secret, public)
            pair = (public, secret) if a.form == PUBLIC else (secret, public)
            scale = secret.scale + public.scale
            return self.gate("matmul_public", pair, (), shape, scale, plain(secret), secret.settled)
        return self.product(self.factor(a), self.factor(b), "matmul")

    # Comparisons.

    def compare(self, node: Node, kind: str = BELOW, bits: int = 0, low: int = 0) -> Node:
        """A bit: whether a value is negative (``below``), whether it is zero (``equal``).

        With ``bits``: whether the lowest bits of its delta are below those of its mask. With ``low``, so many bits are
        not looked at: the answer may be wrong for what is nearer than 2^low to 0, 2^63 and -2^63.
        """
        wire = self.wire(node)
        wide = (bits or (64 if kind == EQUAL else UNSIGNED)) - low
        planes = self.gate("lookup", (wire,), (kind, wide, *([low] if low else [])), wire.shape, 0, PLANES)
        digits = digits_of(wide)
        while digits > 1:
            planes = self.gate("fold", (planes,), (kind,), wire.shape, 0, PLANES)
            digits //= fold_of(digits)
        ins = (planes, wire) if kind == BELOW and not bits else (planes,)
        return self.gate("bit", ins, (wire.shape,), wire.shape, 0, BIT)

    def flip(self, bit: Node) -> Node:
        """Not a bit."""
        return self.gate("flip", (bit,), (), bit.shape, 0, BIT)

    def choose(self, bit: Node, node: Node) -> Node:
        """The value where the bit is 1, zero where it is 0; rescaled on the way, at no cost in hops."""
        wire = self.wire(node)
        bits = max(0, wire.scale - self.bits)
        return self.gate("choose", (bit, wire), (bits,), wire.shape, wire.scale - bits, LOOSE)


def _probe(shape: Shape) -> Any:
    """An array of that shape, by which what an operation makes of it is found; of bytes, in case it is copied."""
    return np.broadcast_to(np.zeros((), np.uint8), shape)
