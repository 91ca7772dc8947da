"""The operators of the array API, each of which records a step.

In-place forms (``x += y``) are Python's own: they bind the name to a new tensor. It knows nothing but names.
"""

from __future__ import annotations

from typing import Any, TypeVar

from .handle import Handle
from .steps import Operand, binary, reflected, unary

Own = TypeVar("Own", bound="Operators")


class Operators(Handle):
    """A handle with operators: on tensors of one worker, Python scalars, and numpy arrays of at most 256 KiB."""

    __slots__ = ()

    def __add__(self: Own, other: Operand) -> Own:
        return binary("add", self, other)

    def __sub__(self: Own, other: Operand) -> Own:
        return binary("subtract", self, other)

    def __mul__(self: Own, other: Operand) -> Own:
        return binary("multiply", self, other)

    def __truediv__(self: Own, other: Operand) -> Own:
        return binary("divide", self, other)

    def __floordiv__(self: Own, other: Operand) -> Own:
        return binary("floor_divide", self, other)

    def __mod__(self: Own, other: Operand) -> Own:
        return binary("remainder", self, other)

    def __pow__(self: Own, other: Operand) -> Own:
        return binary("pow", self, other)

    def __matmul__(self: Own, other: Operand) -> Own:
        return binary("matmul", self, other)

    def __and__(self: Own, other: Operand) -> Own:
        return binary("bitwise_and", self, other)

    def __or__(self: Own, other: Operand) -> Own:
        return binary("bitwise_or", self, other)

    def __xor__(self: Own, other: Operand) -> Own:
        return binary("bitwise_xor", self, other)

    def __lshift__(self: Own, other: Operand) -> Own:
        return binary("bitwise_left_shift", self, other)

    def __rshift__(self: Own, other: Operand) -> Own:
        return binary("bitwise_right_shift", self, other)

    def __radd__(self: Own, other: Operand) -> Own:
        return reflected("add", self, other)

    def __rsub__(self: Own, other: Operand) -> Own:
        return reflected("subtract", self, other)

    def __rmul__(self: Own, other: Operand) -> Own:
        return reflected("multiply", self, other)

    def __rtruediv__(self: Own, other: Operand) -> Own:
        return reflected("divide", self, other)

    def __rfloordiv__(self: Own, other: Operand) -> Own:
        return reflected("floor_divide", self, other)

    def __rmod__(self: Own, other: Operand) -> Own:
        return reflected("remainder", self, other)

    def __rpow__(self: Own, other: Operand) -> Own:
        return reflected("pow", self, other)

    def __rmatmul__(self: Own, other: Operand) -> Own:
        return reflected("matmul", self, other)

    def __rand__(self: Own, other: Operand) -> Own:
        return reflected("bitwise_and", self, other)

    def __ror__(self: Own, other: Operand) -> Own:
        return reflected("bitwise_or", self, other)

    def __rxor__(self: Own, other: Operand) -> Own:
        return reflected("bitwise_xor", self, other)

    def __rlshift__(self: Own, other: Operand) -> Own:
        return reflected("bitwise_left_shift", self, other)

    def __rrshift__(self: Own, other: Operand) -> Own:
        return reflected("bitwise_right_shift", self, other)

    def __eq__(self: Own, other: Any) -> Own:  # type: ignore[override]
        return binary("equal", self, other)

    def __ne__(self: Own, other: Any) -> Own:  # type: ignore[override]
        return binary("not_equal", self, other)

    def __lt__(self: Own, other: Operand) -> Own:
        return binary("less", self, other)

    def __le__(self: Own, other: Operand) -> Own:
        return binary("less_equal", self, other)

    def __gt__(self: Own, other: Operand) -> Own:
        return binary("greater", self, other)

    def __ge__(self: Own, other: Operand) -> Own:
        return binary("greater_equal", self, other)

    # By identity: a dict or a set finds a tensor without comparing, as a comparison would record a step.
    __hash__ = Handle.__hash__

    def __neg__(self: Own) -> Own:
        return unary("negative", self)

    def __pos__(self: Own) -> Own:
        return unary("positive", self)

    def __abs__(self: Own) -> Own:
        return unary("abs", self)

    def __invert__(self: Own) -> Own:
        return unary("bitwise_invert", self)
