"""Arithmetic, comparisons and logic: operands meet in a dtype as torch 1.4 has it."""

from __future__ import annotations

import math
from typing import Any

import torch

from asyncsyft import RemoteTensor
from asyncsyft.remote.steps import do

from . import dtypes as dt
from .dtypes import Operand, cast, operand, result_type
from .table import function, method

_BOOLS = {"add": "logical_or", "multiply": "logical_and"}


def _pair(op: str, name: str, x: Operand, y: Operand) -> RemoteTensor:
    """An op of the array API on operands that meet as torch's do."""
    dtype = result_type(name, x, y)
    if dtype == dt.BOOL:
        op = _BOOLS.get(op, op)
    result: RemoteTensor = do(op, operand(x, dtype), operand(y, dtype))
    return result


def _scaled(name: str, other: Operand, alpha: Any) -> Operand:
    if alpha == 1 or getattr(other, "dtype", None) == dt.BOOL:
        return other
    return _pair("multiply", name, other, alpha) if isinstance(other, RemoteTensor) else other * alpha


@method("add", "__add__", "__radd__")
def add(self: RemoteTensor, other: Operand, *, alpha: Any = 1) -> RemoteTensor:
    return _pair("add", "add", self, _scaled("add", other, alpha))


def no_bools(name: str, *operands: Operand) -> None:
    """Raises: RuntimeError if one of these is a bool, or a tensor of them."""
    for value in operands:
        if dt.dtype_of(value, name) is torch.bool:
            raise RuntimeError(f"{name}: not for bool tensors; use ~ or ^ for the opposite")


@method("sub", "__sub__")
def sub(self: RemoteTensor, other: Operand, *, alpha: Any = 1) -> RemoteTensor:
    no_bools("sub", self, other)
    return _pair("subtract", "sub", self, _scaled("sub", other, alpha))


@method("rsub", "__rsub__")
def rsub(self: RemoteTensor, other: Operand, *, alpha: Any = 1) -> RemoteTensor:
    no_bools("rsub", self, other)
    return _pair("subtract", "rsub", other, _scaled("rsub", self, alpha))


@method("mul", "__mul__", "__rmul__")
def mul(self: RemoteTensor, other: Operand) -> RemoteTensor:
    return _pair("multiply", "mul", self, other)


def _quotient(name: str, x: Operand, y: Operand) -> RemoteTensor:
    """Whole numbers are divided as C does it: towards zero."""
    dtype = result_type(name, x, y)
    if dtype.kind == "f":
        return do("divide", operand(x, dtype), operand(y, dtype))
    if dtype == dt.BOOL:
        raise RuntimeError(f"{name}: not for bool tensors")
    if not isinstance(y, RemoteTensor) and y == 0:
        raise RuntimeError(f"{name}: ZeroDivisionError")
    one, two = operand(x, dtype), operand(y, dtype)
    if dtype.kind == "u":
        return do("floor_divide", one, two)
    # What the quotient leaves, with the sign of the dividend, is taken away before.
    rest = _rest(one, two)
    return do("floor_divide", do("subtract", one, rest), two)


def _rest(x: Operand, y: Operand) -> RemoteTensor:
    """The remainder with the sign of the dividend; at least one of them is a tensor, and both are of one dtype."""
    one = do("remainder", _abs(x), _abs(y))
    return do("multiply", one, _sign(x))


def _abs(x: Operand) -> Operand:
    return do("abs", x) if isinstance(x, RemoteTensor) else abs(x)


def _sign(x: Operand) -> Operand:
    if isinstance(x, RemoteTensor):
        return do("sign", x)
    return type(x)(math.copysign(1, x)) if x else x


@method("div", "__div__", "__truediv__")
def div(self: RemoteTensor, other: Operand) -> RemoteTensor:
    return _quotient("div", self, other)


@method("__rdiv__", "__rtruediv__")
def rdiv(self: RemoteTensor, other: Operand) -> RemoteTensor:
    return _quotient("__rtruediv__", other, self)


def _truncated(x: RemoteTensor) -> RemoteTensor:
    return do("trunc", x) if x.dtype.kind == "f" else x


@method("floor_divide", "__floordiv__")
def floor_divide(self: RemoteTensor, other: Operand) -> RemoteTensor:
    return _truncated(_quotient("__floordiv__", self, other))


@method("__rfloordiv__")
def rfloor_divide(self: RemoteTensor, other: Operand) -> RemoteTensor:
    return _truncated(_quotient("__rfloordiv__", other, self))


@method("remainder", "__mod__")
def remainder(self: RemoteTensor, other: Operand) -> RemoteTensor:
    dtype = _beside("remainder", self, other)
    return do("remainder", self, operand(other, dtype))


@method("fmod")
def fmod(self: RemoteTensor, other: Operand) -> RemoteTensor:
    dtype = _beside("fmod", self, other)
    return _rest(self, operand(other, dtype))


def _beside(name: str, self: RemoteTensor, other: Operand) -> Any:
    """The dtype of the tensor, in which these ops work: torch 1.4 promotes nothing here."""
    if self.dtype == dt.BOOL:
        raise RuntimeError(f"{name}: not for bool tensors")
    if isinstance(other, RemoteTensor):
        dt.alike(name, self, other)
    return self.dtype


@method("pow", "__pow__")
def power(self: RemoteTensor, exponent: Operand) -> RemoteTensor:
    return _power("pow", self, exponent)


@method("__rpow__")
def rpower(self: RemoteTensor, other: Operand) -> RemoteTensor:
    return _power("__rpow__", other, self)


@function("pow")
def power_of(self: Operand, exponent: Operand) -> RemoteTensor:
    return _power("pow", self, exponent)


def _power(name: str, base: Operand, exponent: Operand) -> RemoteTensor:
    dtype = result_type(name, base, exponent)
    if dt.BOOL in (dtype, getattr(base, "dtype", None)):
        raise RuntimeError(f"{name}: not for bool tensors")
    if isinstance(base, RemoteTensor) and type(exponent) is float and base.dtype.kind in "iu":
        return do("astype", do("pow", cast(base, dt.FLOAT64), exponent), base.dtype)
    if dtype.kind in "iu" and not isinstance(exponent, RemoteTensor) and exponent < 0:
        raise RuntimeError(f"{name}: Integers to negative integer powers are not allowed.")
    return do("pow", operand(base, dtype), operand(exponent, dtype))


# Comparisons and logic.


def _comparison(op: str, *names: str) -> None:
    @method(*names)
    def compare(self: RemoteTensor, other: Operand) -> RemoteTensor:
        dtype = result_type(names[0], self, other)
        one, two = operand(self, dtype), operand(other, dtype)
        if dtype == dt.BOOL and op not in ("equal", "not_equal"):  # order is one of numbers
            one, two = operand(one, dt.UINT8), operand(two, dt.UINT8)
        return do(op, one, two)


for _op, _name in {
    "equal": "eq",
    "not_equal": "ne",
    "less": "lt",
    "less_equal": "le",
    "greater": "gt",
    "greater_equal": "ge",
}.items():
    _comparison(_op, _name, f"__{_name}__")


def _bitwise(op: str, *names: str) -> None:
    @method(*names)
    def combine(self: RemoteTensor, other: Operand) -> RemoteTensor:
        if self.dtype.kind == "f":
            raise RuntimeError(f"{names[0]}: not for tensors of floating point")
        if isinstance(other, RemoteTensor):
            dt.alike(names[0], self, other)
        return do(op, self, operand(other, self.dtype))


_bitwise("bitwise_and", "__and__", "__rand__")
_bitwise("bitwise_or", "__or__", "__ror__")
_bitwise("bitwise_xor", "__xor__", "__rxor__", "bitwise_xor")


@method("bitwise_not", "__invert__")
def bitwise_not(self: RemoteTensor) -> RemoteTensor:
    if self.dtype.kind == "f":
        raise RuntimeError("bitwise_not: not for tensors of floating point")
    return do("bitwise_invert", self)


def truth(x: RemoteTensor) -> RemoteTensor:
    """Where it is not 0."""
    return x if x.dtype == dt.BOOL else do("not_equal", x, operand(0, x.dtype))


@method("logical_not")
def logical_not(self: RemoteTensor) -> RemoteTensor:
    return do("logical_not", truth(self))


@method("logical_xor")
def logical_xor(self: RemoteTensor, other: RemoteTensor) -> RemoteTensor:
    return do("logical_xor", truth(self), truth(other))
