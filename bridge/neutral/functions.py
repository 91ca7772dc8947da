"""Functions of each element: of floating point, those that cut off, and those that take several tensors."""

from __future__ import annotations

from typing import Any, Optional

from asyncsyft import RemoteTensor
from asyncsyft.remote.steps import do

from . import dtypes as dt
from .arithmetic import add, div, mul, no_bools, sub, truth
from .dtypes import Operand, cast, floating, operand
from .errors import NotTranslated
from .table import dimension, function, method


def _unary(op: str, *names: str) -> None:
    @method(*names)
    def of_floats(self: RemoteTensor) -> RemoteTensor:
        return do(op, floating(names[0], self))


for _name in "exp expm1 log log10 log1p log2 sqrt sin cos tan sinh cosh tanh reciprocal trunc floor ceil round".split():  # noqa: SIM905
    _unary(_name, _name)
for _name in ("sin", "cos", "tan"):
    _unary(f"a{_name}", f"a{_name}")


@method("neg", "__neg__")
def neg(self: RemoteTensor) -> RemoteTensor:
    no_bools("neg", self)
    if self.dtype.kind == "u":
        return do("subtract", 0, self)
    return do("negative", self)


@method("abs", "__abs__")
def absolute(self: RemoteTensor) -> RemoteTensor:
    no_bools("abs", self)
    return do("abs", self)


@method("sign")
def sign(self: RemoteTensor) -> RemoteTensor:
    return self.copy() if self.dtype == dt.BOOL else do("sign", self)


@method("frac")
def frac(self: RemoteTensor) -> RemoteTensor:
    return do("subtract", floating("frac", self), do("trunc", self))


@method("rsqrt")
def rsqrt(self: RemoteTensor) -> RemoteTensor:
    return do("reciprocal", do("sqrt", floating("rsqrt", self)))


@method("sigmoid")
def sigmoid(self: RemoteTensor) -> RemoteTensor:
    decay = do("exp", do("negative", floating("sigmoid", self)))
    return do("reciprocal", do("add", decay, 1.0))


@method("relu")
def relu(self: RemoteTensor, inplace: bool = False) -> RemoteTensor:
    no_bools("relu", self)
    if inplace:
        raise NotTranslated("relu", "inplace=True; x.relu_() is known")
    return do("maximum", self, operand(0, self.dtype))


@function("leaky_relu")
def leaky_relu(input: RemoteTensor, negative_slope: float = 0.01, inplace: bool = False) -> RemoteTensor:
    if inplace:
        raise NotTranslated("leaky_relu", "inplace=True")
    below = do("multiply", floating("leaky_relu", input), float(negative_slope))
    return do("where", do("greater", input, 0.0), input, below)


def _softmax(name: str, x: RemoteTensor, dim: Optional[int], dtype: Any) -> RemoteTensor:
    if type(dim) is not int:
        raise NotTranslated(name, "dim must be said")
    dim = dimension(dim, x.ndim)
    if 0 in x.shape:
        return x.copy()
    x = floating(name, x if dtype is None else cast(x, dt.neutral(dtype, name)))
    shifted = do("subtract", x, do("max", x, axis=dim, keepdims=True)) if x.ndim else do("subtract", x, x)
    total = do("sum", do("exp", shifted), axis=dim if x.ndim else None, keepdims=True)
    if name == "log_softmax":
        return do("subtract", shifted, do("log", total))
    return do("divide", do("exp", shifted), total)


@method("softmax")
def softmax(self: RemoteTensor, dim: Optional[int] = None, dtype: Any = None, _stacklevel: int = 3) -> RemoteTensor:
    return _softmax("softmax", self, dim, dtype)


@method("log_softmax")
def log_softmax(self: RemoteTensor, dim: Optional[int] = None, dtype: Any = None, _stacklevel: int = 3) -> RemoteTensor:
    return _softmax("log_softmax", self, dim, dtype)


@method("clamp")
def clamp(self: RemoteTensor, min: Optional[Operand] = None, max: Optional[Operand] = None) -> RemoteTensor:
    if min is None and max is None:
        raise RuntimeError("clamp: at least one of min and max must be said")
    x: Any = self
    if min is not None:
        x = do("maximum", x, operand(min, self.dtype))
    return x if max is None else do("minimum", x, operand(max, self.dtype))


@method("clamp_min")
def clamp_min(self: RemoteTensor, min: Operand) -> RemoteTensor:
    return clamp(self, min)


@method("clamp_max")
def clamp_max(self: RemoteTensor, max: Operand) -> RemoteTensor:
    return clamp(self, None, max)


# Functions of several.


@method("atan2")
def atan2(self: RemoteTensor, other: RemoteTensor) -> RemoteTensor:
    dt.alike("atan2", floating("atan2", self), other)
    return do("atan2", self, other)


@method("lerp")
def lerp(self: RemoteTensor, end: RemoteTensor, weight: Operand) -> RemoteTensor:
    step = do("multiply", sub(floating("lerp", end), floating("lerp", self)), operand(weight, self.dtype))
    return do("add", self, step)


@method("addcmul")
def addcmul(self: RemoteTensor, tensor1: RemoteTensor, tensor2: RemoteTensor, *, value: Any = 1) -> RemoteTensor:
    return add(self, mul(tensor1, tensor2), alpha=value)


@method("addcdiv")
def addcdiv(self: RemoteTensor, tensor1: RemoteTensor, tensor2: RemoteTensor, *, value: Any = 1) -> RemoteTensor:
    return add(self, div(tensor1, tensor2), alpha=value)


@function("where")
def where(condition: RemoteTensor, input: RemoteTensor, other: RemoteTensor) -> RemoteTensor:
    dt.alike("where", input, other)
    return do("where", truth(condition), input, other)


@method("where")
def where_of(self: RemoteTensor, condition: RemoteTensor, other: RemoteTensor) -> RemoteTensor:
    return where(condition, self, other)


@method("masked_fill")
def masked_fill(self: RemoteTensor, mask: RemoteTensor, value: Operand) -> RemoteTensor:
    return do("where", truth(mask), operand(value, self.dtype), self)
