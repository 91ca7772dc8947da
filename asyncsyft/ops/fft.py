"""The standard's Fourier transforms, under dotted names as ``fft.rfft``.

float32 and complex64 stay of single precision, which numpy 1 widens; integers become float64 first.
"""

from __future__ import annotations

from typing import Any, Mapping, Sequence, Tuple

import numpy as np

from ..tensor import Array
from . import dtypes as dt
from . import params as check
from .shapes import Dim, replace
from .table import Known, Shape, Spec, define, linear


def _transforming(arrays: Sequence[Known], params: Mapping[str, Any]) -> int:
    size, n = linear(arrays, params), params.get("n")
    size = max(size, n if type(n) is int else 0)
    return size * size.bit_length()


def _norm(norm: object) -> Any:
    return check.choice(norm, ("backward", "ortho", "forward"), "norm")


def _length(n: object, size: Dim, real_out: bool) -> Dim:
    """How many points are transformed; from half a spectrum of ``size`` an even number. Raises: ValueError."""
    if n is not None:
        size = check.count(n, "n")
    elif real_out and size is not None:
        size = 2 * (size - 1)
    if size is not None and size < 1:
        raise ValueError("needs at least one point")
    return size


def _define_line(name: str, function: Any, takes: str, gives: str, halves: bool = False) -> None:
    """A transform along one axis; ``halves`` if it gives half a spectrum of real points."""

    def run(x: Array, /, *, n: object = None, axis: object = -1, norm: object = "backward") -> Any:
        spec = rule(x, n=n, axis=axis, norm=norm)
        floats = x.astype(dt.floating(x.dtype), copy=False)
        return function(floats, n, check.axis(axis, x.ndim), norm).astype(spec.dtype, copy=False)

    def rule(x: Known, /, *, n: object = None, axis: object = -1, norm: object = "backward") -> Spec:
        dtype = dt.floating(x.dtype, takes)
        _norm(norm)
        at = check.axis(axis, len(x.shape))
        size = _length(n, x.shape[at], gives == "f")
        if halves and size is not None:
            size = size // 2 + 1
        return Spec(dt.real_of(dtype) if gives == "f" else dt.complex_of(dtype), replace(x.shape, at, size))

    define(name, run, rule, expands=True, cost=_transforming)


def _grid(x: Known, s: object, axes: object, real_out: bool) -> Tuple[Tuple[Dim, ...], Tuple[int, ...]]:
    """The points along each transformed axis, and these axes. Raises: TypeError, ValueError, IndexError."""
    ndim = len(x.shape)
    wanted = None if s is None else check.integers(s, "s")
    if axes is None and wanted is not None:
        if len(wanted) > ndim:
            raise ValueError(f"s has {len(wanted)} entries for {ndim} dimensions")
        found = tuple(range(ndim - len(wanted), ndim))
    else:
        found = check.axes(axes, ndim, "axes")
    if not found:
        raise ValueError("needs at least one axis")
    if wanted is not None and len(wanted) != len(found):
        raise ValueError(f"s has {len(wanted)} entries for {len(found)} axes")
    sizes = [
        _length(None if wanted is None else wanted[at], x.shape[axis], real_out and at == len(found) - 1)
        for at, axis in enumerate(found)
    ]
    return tuple(sizes), found


def _cropped(x: Array, sizes: Tuple[Dim, ...], axes: Tuple[int, ...], real_out: bool) -> Array:
    """The part that is transformed: numpy would grow one axis before it came to cut another."""
    key = [slice(None)] * x.ndim
    for at, (size, axis) in enumerate(zip(sizes, axes)):
        last = real_out and at == len(axes) - 1
        key[axis] = slice((size or 0) // 2 + 1 if last else size)
    return x[tuple(key)]


def _define_grid(name: str, function: Any, takes: str, gives: str, halves: bool = False) -> None:
    """A transform along several axes, the last of which has half a spectrum on one side of a real transform."""
    real_out = gives == "f"

    def run(x: Array, /, *, s: object = None, axes: object = None, norm: object = "backward") -> Any:
        spec = rule(x, s=s, axes=axes, norm=norm)
        sizes, found = _grid(x, s, axes, real_out)
        floats = _cropped(x, sizes, found, real_out).astype(dt.floating(x.dtype), copy=False)
        return function(floats, sizes, found, norm).astype(spec.dtype, copy=False)

    def rule(x: Known, /, *, s: object = None, axes: object = None, norm: object = "backward") -> Spec:
        dtype = dt.floating(x.dtype, takes)
        _norm(norm)
        sizes, found = _grid(x, s, axes, real_out)
        shape: Shape = x.shape
        for size, at in zip(sizes, found):
            shape = replace(shape, at, size)
        last = shape[found[-1]]
        if halves and last is not None:
            shape = replace(shape, found[-1], last // 2 + 1)
        return Spec(dt.real_of(dtype) if real_out else dt.complex_of(dtype), shape)

    define(name, run, rule, expands=True, cost=_transforming)


def _define_frequencies(name: str, function: Any, halves: bool) -> None:
    def run(*, n: object, d: object = 1.0, dtype: object = None) -> Any:
        spec = rule(n=n, d=d, dtype=dtype)
        return function(n, check.finite(d, "d")).astype(spec.dtype, copy=False)

    def rule(*, n: object, d: object = 1.0, dtype: object = None) -> Spec:
        wanted = dt.require(dt.parse_dtype(dtype, dt.FLOAT64), dt.REAL_FLOAT)
        size = check.count(n, "n")
        if size == 0 or check.finite(d, "d") == 0:
            raise ValueError("n and d must not be 0")
        return Spec(wanted, (size // 2 + 1 if halves else size,))

    define(name, run, rule, expands=True)


def _define_shift(name: str, function: Any) -> None:
    def run(x: Array, /, *, axes: object = None) -> Any:
        found = rule_axes(x, axes)
        return function(x, found) if found else x

    def rule_axes(x: Known, axes: object) -> Tuple[int, ...]:
        dt.require(x.dtype, dt.NUMERIC)
        return check.axes(axes, len(x.shape), "axes")

    def rule(x: Spec, /, *, axes: object = None) -> Spec:
        rule_axes(x, axes)
        return x

    define(name, run, rule)


_define_line("fft.fft", np.fft.fft, dt.FLOATING, "c")
_define_line("fft.ifft", np.fft.ifft, dt.FLOATING, "c")
_define_line("fft.rfft", np.fft.rfft, dt.REAL_FLOAT, "c", halves=True)
_define_line("fft.irfft", np.fft.irfft, dt.FLOATING, "f")
_define_line("fft.hfft", np.fft.hfft, dt.FLOATING, "f")
_define_line("fft.ihfft", np.fft.ihfft, dt.REAL_FLOAT, "c", halves=True)
_define_grid("fft.fftn", np.fft.fftn, dt.FLOATING, "c")
_define_grid("fft.ifftn", np.fft.ifftn, dt.FLOATING, "c")
_define_grid("fft.rfftn", np.fft.rfftn, dt.REAL_FLOAT, "c", halves=True)
_define_grid("fft.irfftn", np.fft.irfftn, dt.FLOATING, "f")
_define_frequencies("fft.fftfreq", np.fft.fftfreq, False)
_define_frequencies("fft.rfftfreq", np.fft.rfftfreq, True)
_define_shift("fft.fftshift", np.fft.fftshift)
_define_shift("fft.ifftshift", np.fft.ifftshift)
