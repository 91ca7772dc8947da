"""A circuit that looks at what it computes: whether a value, or the argument of a function, has left its range."""

from __future__ import annotations

from typing import Any, Optional

import numpy as np

from . import fixed, ring
from .circuit import Circuit
from .gates.comparing import BELOW
from .node import BIT, PUBLIC, Node

__all__ = ["Checked"]

#: Bits of a number that are not looked at: an end of the range is known to one part in 2^15 of it, and a look is cheap.
ROUGH = 47


class Checked(Circuit):
    """Compares wherever it rescales, at a third of what a ``relu`` costs there.

    A value between 2^62 and 2^63 is always found, unless it is nearer than 2^47 to one of them. One that is larger has
    wrapped, to anywhere, and is found every other time. Of all that was found one bit is told.
    """

    def __init__(self, bits: int) -> None:
        super().__init__(bits)
        self._strays: Optional[Node] = None

    def strayed(self) -> Optional[Node]:
        """A bit: whether anything has left its range so far. None if nothing was looked at."""
        if self._strays is None:
            return None
        zero = self.public(np.array(0))
        return self.compare(self.sub(zero, self._strays), BELOW)

    def rescale(self, node: Node, scale: Optional[int] = None) -> Node:
        if node.form not in (BIT, PUBLIC) and node.scale > (self.bits if scale is None else scale):
            self._look(self.wire(node))
        return super().rescale(node, scale)

    def choose(self, bit: Node, node: Node) -> Node:
        if node.scale > self.bits:
            self._look(self.wire(node))
        return super().choose(bit, node)

    def reveal(self, node: Node, to: int) -> int:
        if node.form not in (BIT, PUBLIC) and node.scale > self.bits:
            self._look(self.wire(node))
        return super().reveal(node, to)

    def expects(self, x: Node, least: float, most: float) -> None:
        for limit, swapped in ((least, False), (most, True)):
            edge = self.public(np.broadcast_to(np.asarray(limit, float), x.shape), x.scale)
            self._note(self.compare(self.sub(edge, x) if swapped else self.sub(x, edge), BELOW))

    def _look(self, wire: Node) -> None:
        wire.once("looked", lambda: self._beyond(wire))

    def _beyond(self, wire: Node) -> Node:
        """One comparison for both ends: with 2^62 - 1 added, what is beyond either has the highest bit."""
        edge: Any = np.broadcast_to(ring.ring(np.array(fixed.RANGE - 1)), wire.shape)
        public = self.gate("public", (), (edge,), wire.shape, wire.scale, PUBLIC)
        beyond = self.compare(self.add(wire, public), BELOW, low=ROUGH)
        self._note(beyond)
        return beyond

    def _note(self, bit: Node) -> None:
        count = self.linear("sum", bit, tuple(range(len(bit.shape))), False)
        self._strays = count if self._strays is None else self.add(self._strays, count)
