"""Ops that make one number of many, along some dimensions or all; sorting, and sums that run along."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Tuple, Union

from asyncsyft import RemoteTensor
from asyncsyft.remote.steps import do

from . import dtypes as dt
from .arithmetic import sub
from .dtypes import cast, floating
from .errors import NotTranslated
from .functions import absolute
from .table import dimension, function, method

Dim = Union[int, List[int], Tuple[int, ...], None]


def _dims(x: RemoteTensor, dim: Dim) -> Dict[str, Any]:
    """The axes of an op; none given, or none at all, means all of them."""
    given = [dim] if isinstance(dim, int) else list(dim or ())
    found = [dimension(one, x.ndim) for one in given]
    return {"axis": tuple(found) if found and x.ndim else None}


def _reduce(op: str, x: RemoteTensor, dim: Dim, keepdim: bool, **params: Any) -> RemoteTensor:
    return do(op, x, **_dims(x, dim), keepdims=bool(keepdim), **params)


def _along(op: str, x: RemoteTensor, dim: Any, keepdim: bool = False) -> RemoteTensor:
    """A reduction along one dimension, which must be there."""
    axis = dimension(dim, x.ndim)
    if not x.ndim:
        return do(op, x)
    return do(op, x, axis=axis, keepdims=bool(keepdim))


def _total(op: str, x: RemoteTensor, dim: Dim, keepdim: bool, dtype: Any) -> RemoteTensor:
    """Whole numbers are summed as int64."""
    if dtype is not None:
        x = cast(x, dt.neutral(dtype, op))
    out = dt.INT64 if x.dtype.kind in "biu" and dtype is None else x.dtype
    return _reduce(op, x, dim, keepdim, dtype=out)


@method("sum")
def total(self: RemoteTensor, dim: Dim = None, keepdim: bool = False, *, dtype: Any = None) -> RemoteTensor:
    return _total("sum", self, dim, keepdim, dtype)


@method("prod")
def product(self: RemoteTensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> RemoteTensor:
    return _total("prod", self, dim, keepdim, dtype)


@method("mean")
def mean(self: RemoteTensor, dim: Dim = None, keepdim: bool = False, *, dtype: Any = None) -> RemoteTensor:
    x = self if dtype is None else cast(self, dt.neutral(dtype, "mean"))
    return _reduce("mean", floating("mean", x), dim, keepdim)


def _spread(op: str) -> Callable[..., RemoteTensor]:
    def measure(self: RemoteTensor, *args: Any, **kwargs: Any) -> RemoteTensor:
        dim, unbiased, keepdim = _spread_arguments(*args, **kwargs)
        return _reduce(op, floating(op, self), dim, keepdim, correction=1 if unbiased else 0)

    return measure


def _spread_arguments(*args: Any, dim: Dim = None, unbiased: bool = True, keepdim: bool = False) -> Tuple[Any, ...]:
    """``std(unbiased)`` or ``std(dim, unbiased, keepdim)``."""
    if args and type(args[0]) is bool:
        return dim, args[0], keepdim
    return tuple(args) + (dim, unbiased, keepdim)[len(args) :]


method("std")(_spread("std"))
method("var")(_spread("var"))


def _numeric(work: Callable[..., RemoteTensor], op: str, *args: Any) -> RemoteTensor:
    """An op that compares, with bools as the numbers 0 and 1."""
    if args[0].dtype != dt.BOOL:
        return work(op, *args)
    return cast(work(op, *(_comparable(x) if isinstance(x, RemoteTensor) else x for x in args)), dt.BOOL)


def _comparable(x: RemoteTensor) -> RemoteTensor:
    return cast(x, dt.UINT8) if x.dtype == dt.BOOL else x


def _extreme(op: str) -> None:
    """``max()`` is a number, ``max(dim)`` the numbers and where they are, ``max(other)`` the larger of two."""

    @method(op)
    def extreme(self: RemoteTensor, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
        other = dim if isinstance(dim, RemoteTensor) else other
        if isinstance(other, RemoteTensor):
            dt.alike(op, self, other)
            return _numeric(do, f"{op}imum", self, other)
        if dim is None:
            return _numeric(do, op, self)
        if 0 in self.shape:
            raise RuntimeError(f"cannot perform reduction function {op} on tensor with no elements")
        at = _along(f"arg{op}", _comparable(self), dim, keepdim)
        return _numeric(_along, op, self, dim, keepdim), cast(at, dt.INT64)

    @method(f"{op}_values", f"a{op}")
    def values(self: RemoteTensor, dim: Dim, keepdim: bool = False) -> RemoteTensor:
        return _numeric(_reduce, op, self, dim, keepdim)

    @method(f"arg{op}")
    def where(self: RemoteTensor, dim: Optional[int] = None, keepdim: bool = False) -> RemoteTensor:
        if dim is None:
            return do(f"arg{op}", _comparable(self))
        if 0 in self.shape:
            raise RuntimeError(f"cannot perform reduction function arg{op} on a tensor with no elements")
        return _along(f"arg{op}", _comparable(self), dim, keepdim)


_extreme("max")
_extreme("min")


def _truths(op: str) -> None:
    @method(op)
    def truths(self: RemoteTensor, dim: Any = None, keepdim: bool = False) -> RemoteTensor:
        if self.dtype not in (dt.BOOL, dt.UINT8):
            raise RuntimeError(f"{op}: only for bool and uint8 tensors")
        return cast(_reduce(op, self, dim, keepdim), self.dtype)


_truths("all")
_truths("any")


@method("norm")
def norm(self: RemoteTensor, p: Any = "fro", dim: Dim = None, keepdim: bool = False, dtype: Any = None) -> RemoteTensor:
    x = floating("norm", self if dtype is None else cast(self, dt.neutral(dtype, "norm")))
    if p == "nuc":
        raise NotTranslated("norm", "the nuclear norm")
    order = 2 if p in ("fro", None) else float(p)
    return _reduce("linalg.vector_norm", x, dim, keepdim, ord=order)


@method("dist")
def dist(self: RemoteTensor, other: RemoteTensor, p: Any = 2) -> RemoteTensor:
    return norm(sub(self, other), p)


@method("logsumexp")
def logsumexp(self: RemoteTensor, dim: Dim, keepdim: bool = False) -> RemoteTensor:
    if 0 in self.shape:
        return do("log", _reduce("sum", do("exp", floating("logsumexp", self)), dim, keepdim))
    most = _reduce("max", floating("logsumexp", self), dim, True)
    total = _reduce("sum", do("exp", do("subtract", self, most)), dim, True)
    result = do("add", do("log", total), most)
    return result if keepdim or not self.ndim else _reduce("max", result, dim, False)


def _cumulative(name: str, op: str) -> None:
    @method(name)
    def run(self: RemoteTensor, dim: int, *, dtype: Any = None) -> RemoteTensor:
        x = self if dtype is None else cast(self, dt.neutral(dtype, name))
        out = dt.INT64 if x.dtype.kind in "biu" and dtype is None else x.dtype
        axis = dimension(dim, x.ndim)
        return do(op, x, axis=axis, dtype=out) if x.ndim else cast(x, out)


_cumulative("cumsum", "cumulative_sum")
_cumulative("cumprod", "cumulative_prod")


# Order.


@method("argsort")
def argsort(self: RemoteTensor, dim: int = -1, descending: bool = False) -> RemoteTensor:
    axis = dimension(dim, self.ndim)
    if not self.ndim:
        return do("zeros_like", self, dtype=dt.INT64)
    return do("argsort", self, axis=axis, descending=bool(descending))


@method("sort")
def sort(self: RemoteTensor, dim: int = -1, descending: bool = False) -> Tuple[RemoteTensor, RemoteTensor]:
    order = argsort(self, dim, descending)
    if not self.ndim:
        return self.copy(), order
    return do("take_along_axis", self, order, axis=dimension(dim, self.ndim)), order


@method("topk")
def topk(
    self: RemoteTensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> Tuple[RemoteTensor, RemoteTensor]:
    axis = dimension(dim, self.ndim)
    values, order = sort(self, dim, largest)
    size = self.shape[axis] if self.ndim else 1
    if type(k) is not int or not 0 <= k <= (size or 0):
        raise RuntimeError(f"topk: {k} of {size}")
    key = (slice(None),) * axis + (slice(0, k),)
    return (values[key], order[key]) if self.ndim else (values, order)


# Losses.


def _reduced(values: RemoteTensor, reduction: str, name: str) -> RemoteTensor:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{name}: {reduction} is no reduction")
    return values if reduction == "none" else do(reduction, values)


@function("mse_loss")
def mse_loss(
    input: RemoteTensor, target: RemoteTensor, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
) -> RemoteTensor:
    apart = sub(floating("mse_loss", input), target)
    return _reduced(do("multiply", apart, apart), reduction, "mse_loss")


@function("l1_loss")
def l1_loss(
    input: RemoteTensor, target: RemoteTensor, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
) -> RemoteTensor:
    return _reduced(absolute(sub(floating("l1_loss", input), target)), reduction, "l1_loss")
