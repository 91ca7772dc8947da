"""What operators on a secret record: arithmetic, comparisons, and the logic of bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from .node import BIT, Node

__all__ = ["OPEN", "Operators"]

#: What stands for public numbers in an expression.
OPEN = (int, float, list, tuple, np.ndarray, np.generic)


class Operators:
    """The operators of a secret, which says how one is recorded."""

    __slots__ = ()
    mpc: Any
    node: Node

    def _two(self, name: str, value: Any, swapped: bool = False) -> Any:
        """What a function of this and another value is; NotImplemented if that is none."""
        raise NotImplementedError

    def _one(self, name: str, *params: Any) -> Any:
        raise NotImplementedError

    def _linear(self, name: str, *params: Any) -> Any:
        raise NotImplementedError

    def _new(self, node: Node) -> Any:
        raise NotImplementedError

    def reciprocal(self) -> Any:
        raise NotImplementedError

    # Arithmetic.

    def __add__(self, other: Any) -> Any:
        return self._two("add", other)

    def __radd__(self, other: Any) -> Any:
        return self._two("add", other, True)

    def __sub__(self, other: Any) -> Any:
        return self._two("sub", other)

    def __rsub__(self, other: Any) -> Any:
        return self._two("sub", other, True)

    def __mul__(self, other: Any) -> Any:
        return self._two("mul", other)

    def __rmul__(self, other: Any) -> Any:
        return self._two("mul", other, True)

    def __matmul__(self, other: Any) -> Any:
        return self._two("matmul", other)

    def __rmatmul__(self, other: Any) -> Any:
        return self._two("matmul", other, True)

    def __neg__(self) -> Any:
        return self._linear("neg")

    def __pos__(self) -> Any:
        return self

    def __pow__(self, power: int) -> Any:
        """A whole power from 1 on, by squaring."""
        if not isinstance(power, (int, np.integer)) or power < 1:
            raise TypeError(f"powers are whole and at least 1, not {power!r}")
        half = self ** (power // 2) if power > 1 else self
        return self if power == 1 else half * half * self if power % 2 else half * half

    def __truediv__(self, other: Any) -> Any:
        if isinstance(other, Operators):
            return self * other.reciprocal()
        if not isinstance(other, OPEN):
            return NotImplemented
        return self._one("quotient", np.asarray(other, np.float64))

    def __rtruediv__(self, other: Any) -> Any:
        return self.reciprocal() * other

    # Comparisons: secret bits.

    def __lt__(self, other: Any) -> Any:
        return self._two("less", other)

    def __gt__(self, other: Any) -> Any:
        return self._two("less", other, True)

    def __le__(self, other: Any) -> Any:
        return ~(self > other)

    def __ge__(self, other: Any) -> Any:
        return ~(self < other)

    def __eq__(self, other: Any) -> Any:
        return self._two("equal", other)

    def __ne__(self, other: Any) -> Any:
        equal = self == other
        return equal if equal is NotImplemented else ~equal

    def __invert__(self) -> Any:
        """Not a bit. Raises: TypeError for what is no bit."""
        return self._new(self.mpc.circuit.flip(self._bit("~")))

    def __and__(self, other: Any) -> Any:
        """Both bits. Raises: TypeError for what is no bit."""
        return self._bits("&", other) > 1

    def __or__(self, other: Any) -> Any:
        return self._bits("|", other) > 0

    def __xor__(self, other: Any) -> Any:
        return self._bits("^", other) == 1

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def _bits(self, sign: str, other: Any) -> Any:
        """How many of two bits are 1; the other may be public."""
        if isinstance(other, Operators):
            other._bit(sign)
        elif np.asarray(other).dtype != bool:
            raise TypeError(f"{sign} is for what comparisons gave, and for booleans")
        self._bit(sign)
        return self + other

    def _bit(self, sign: str) -> Node:
        if self.node.form != BIT:
            raise TypeError(f"{sign} is for what a comparison gave, which is 0 or 1")
        return self.node
