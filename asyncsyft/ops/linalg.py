"""The standard's linear algebra, under dotted names as ``linalg.solve``.

It computes in floating point: integers become float64 first. Products are in ``products.py``.
"""

from __future__ import annotations

import math
from functools import wraps
from typing import Any, Callable, List, Mapping, Sequence, Tuple

import numpy as np

from ..tensor import Array, DType
from . import dtypes as dt
from . import params as check
from .products import numeric
from .shapes import Dim, broadcast, least, matrices, reduce, same, show, square
from .table import Known, Shape, Spec, define, whole

_add: Any = np.add.reduce
_greatest: Any = np.maximum.reduce
_least: Any = np.minimum.reduce
Function = Callable[..., Any]


def _floats(x: Array) -> Array:
    return x.astype(dt.floating(x.dtype), copy=False)


def _cubic(arrays: Sequence[Known], params: Mapping[str, Any]) -> int:
    """A decomposition: elements times the smaller side, and some."""
    shape = arrays[0].shape if arrays else ()
    return math.prod(dim or 0 for dim in shape) * (min(dim or 0 for dim in shape[-2:]) if len(shape) > 1 else 1)


def _power_cost(arrays: Sequence[Known], params: Mapping[str, Any]) -> int:
    n = params.get("n")
    return _cubic(arrays, params) * (n.bit_length() + 1 if type(n) is int else 1) // 8


def _offset(x: Known, offset: object) -> Tuple[Shape, int, Dim]:
    """(stack, offset, length) of a diagonal, the offset no further outside than the corners."""
    stack, rows, columns = matrices(x.shape)
    by = check.integer(offset, "offset")
    if rows is None or columns is None:
        return stack, by, None
    by = max(-rows, min(columns, by))
    return stack, by, max(0, min(rows + min(by, 0), columns - max(by, 0)))


def _diagonal(x: Array, /, *, offset: object = 0) -> Any:
    return np.diagonal(x, _offset(x, offset)[1], -2, -1)


def _diagonal_rule(x: Spec, /, *, offset: object = 0) -> Spec:
    stack, _, size = _offset(x, offset)
    return Spec(x.dtype, (*stack, size))


def _trace(x: Array, /, *, offset: object = 0, dtype: object = None) -> Any:
    wanted = _trace_rule(x, offset=offset, dtype=dtype).dtype
    return _add(_diagonal(x, offset=offset), -1, wanted)


def _trace_rule(x: Known, /, *, offset: object = 0, dtype: object = None) -> Spec:
    wanted = dt.parse_dtype(dtype, dt.total_of(dt.require(x.dtype, dt.NUMERIC)))
    if wanted.kind == "b" or (x.dtype.kind == "c" and wanted.kind != "c"):
        raise TypeError(f"{x.dtype} has no total of dtype {wanted}")
    return Spec(wanted, _offset(x, offset)[0])


def _solving(name: str, run: Function) -> Function:
    """``run`` with numpy's LinAlgError as a ValueError, which it is only in numpy 2."""

    @wraps(run)
    def solve(*arrays: Array, **params: object) -> Any:
        try:
            return run(*arrays, **params)
        except np.linalg.LinAlgError as error:
            raise ValueError(f"{name}: {error}") from None

    return solve


def _solve(x1: Array, x2: Array, /) -> Any:
    _solve_rule(x1, x2)
    dtype = dt.floating(numeric(x1, x2))
    b = x2 if x2.ndim > 1 else x2[:, None]
    # numpy 1 takes a right side of one dimension less for a stack of vectors; the standard knows none.
    b = b[(None,) * (x1.ndim - b.ndim)]
    result = np.linalg.solve(x1.astype(dtype, copy=False), b.astype(dtype, copy=False))
    return result if x2.ndim > 1 else result[..., 0]


def _solve_rule(x1: Known, x2: Known, /) -> Spec:
    dtype = dt.floating(numeric(x1, x2))
    stack, size = square(x1.shape)
    if not len(x2.shape):
        raise ValueError("the right side is a 0-d array")
    beside, rows, columns = ((), x2.shape[0], None) if len(x2.shape) == 1 else matrices(x2.shape)
    if not same(size, rows):
        raise ValueError(f"shapes {show(x1.shape)} and {show(x2.shape)} do not match: {size} != {rows}")
    shape = (*broadcast(stack, beside), size)
    return Spec(dtype, shape if len(x2.shape) == 1 else (*shape, columns))


def _keep_square(x: Known, /) -> Spec:
    square(x.shape)
    return Spec(dt.floating(x.dtype), x.shape)


def _inv(x: Array, /) -> Any:
    _keep_square(x)
    return np.linalg.inv(_floats(x))


def _det(x: Array, /) -> Any:
    return np.linalg.det(_floats(x))


def _det_rule(x: Spec, /) -> Spec:
    return Spec(dt.floating(x.dtype), square(x.shape)[0])


def _slogdet(x: Array, /) -> Tuple[Any, ...]:
    return tuple(np.linalg.slogdet(_floats(x)))


def _slogdet_rule(x: Spec, /) -> Tuple[Spec, Spec]:
    sign = _det_rule(x)
    return sign, Spec(dt.real_of(sign.dtype), sign.shape)


def _cholesky(x: Array, /, *, upper: object = False) -> Any:
    lower = np.linalg.cholesky(_floats(x))
    return np.conjugate(lower.swapaxes(-1, -2)) if check.boolean(upper, "upper") else lower


def _cholesky_rule(x: Spec, /, *, upper: object = False) -> Spec:
    check.boolean(upper, "upper")
    return _keep_square(x)


def _eigh(x: Array, /) -> Tuple[Any, ...]:
    return tuple(np.linalg.eigh(_floats(x)))


def _eigh_rule(x: Spec, /) -> Tuple[Spec, Spec]:
    return _eigvalsh_rule(x), _keep_square(x)


def _eigvalsh(x: Array, /) -> Any:
    return np.linalg.eigvalsh(_floats(x))


def _eigvalsh_rule(x: Spec, /) -> Spec:
    stack, size = square(x.shape)
    return Spec(dt.real_of(dt.floating(x.dtype)), (*stack, size))


def _matrix_power(x: Array, /, *, n: object) -> Any:
    square(x.shape)
    power = check.integer(n, "n")
    dt.require(x.dtype, dt.NUMERIC)
    return np.linalg.matrix_power(_floats(x) if power < 0 else x, power)


def _matrix_power_rule(x: Spec, /, *, n: object) -> Spec:
    square(x.shape)
    dtype = dt.require(x.dtype, dt.NUMERIC)
    return Spec(dt.floating(dtype) if check.integer(n, "n") < 0 else dtype, x.shape)


_ORDERS = (1, -1, 2, -2, math.inf, -math.inf)


def _matrix_order(ord: object) -> Any:
    if type(ord) is str:
        return check.choice(ord, ("fro", "nuc"), "ord")
    if check.number(ord, "ord") not in _ORDERS:
        raise ValueError(f"ord must be 'fro', 'nuc' or one of {', '.join(map(str, _ORDERS))}")
    return ord


def _matrix_norm(x: Array, /, *, keepdims: object = False, ord: object = "fro") -> Any:
    spec = _matrix_norm_rule(x, keepdims=keepdims, ord=ord)
    # There is no largest of nothing, on which numpy raises; as the norm of a space of one point it is 0.
    if 0 in x.shape[-2:]:
        return np.zeros(whole(spec), spec.dtype)
    if 0 in x.shape:
        return np.empty(whole(spec), spec.dtype)
    norm = np.linalg.norm(_floats(x), _matrix_order(ord), (-2, -1), bool(keepdims))
    return np.asarray(norm).astype(spec.dtype, copy=False)


def _matrix_norm_rule(x: Known, /, *, keepdims: object = False, ord: object = "fro") -> Spec:
    stack, _, _ = matrices(x.shape)
    _matrix_order(ord)
    shape = (*stack, 1, 1) if check.boolean(keepdims, "keepdims") else stack
    return Spec(dt.real_of(dt.floating(x.dtype)), shape)


def _vector_norm(x: Array, /, *, axis: object = None, keepdims: object = False, ord: object = 2) -> Any:
    spec = _vector_norm_rule(x, axis=axis, keepdims=keepdims, ord=ord)
    axes, order, keep = check.axes(axis, x.ndim), check.number(ord, "ord"), bool(keepdims)
    sizes = np.absolute(_floats(x))
    if order == 0:
        return _add(sizes != 0, axes, spec.dtype, None, keep)
    if math.isinf(order):
        fold, initial = (_greatest, 0) if order > 0 else (_least, math.inf)
        return fold(sizes, axes, None, None, keep, initial)
    one = spec.dtype.type
    powers = np.square(sizes) if order == 2 else np.power(sizes, one(order))
    total = _add(powers, axes, spec.dtype, None, keep)
    return np.sqrt(total) if order == 2 else np.power(total, one(1 / order))


def _vector_norm_rule(x: Known, /, *, axis: object = None, keepdims: object = False, ord: object = 2) -> Spec:
    if math.isnan(check.number(ord, "ord")):
        raise ValueError("ord must not be NaN")
    shape = reduce(x.shape, check.axes(axis, len(x.shape)), check.boolean(keepdims, "keepdims"))
    return Spec(dt.real_of(dt.floating(x.dtype)), shape)


def _svdvals(x: Array, /) -> Any:
    matrices(x.shape)
    return np.linalg.svd(_floats(x), compute_uv=False)


def _svdvals_rule(x: Spec, /) -> Spec:
    stack, rows, columns = matrices(x.shape)
    return Spec(dt.real_of(dt.floating(x.dtype)), (*stack, least(rows, columns)))


def _svd(x: Array, /, *, full_matrices: object = True) -> Tuple[Any, ...]:
    matrices(x.shape)
    return tuple(np.linalg.svd(_floats(x), check.boolean(full_matrices, "full_matrices")))


def _svd_rule(x: Spec, /, *, full_matrices: object = True) -> Tuple[Spec, Spec, Spec]:
    stack, rows, columns = matrices(x.shape)
    dtype, values = dt.floating(x.dtype), _svdvals_rule(x)
    inner = (rows, columns) if check.boolean(full_matrices, "full_matrices") else (values.shape[-1],) * 2
    return Spec(dtype, (*stack, rows, inner[0])), values, Spec(dtype, (*stack, inner[1], columns))


def _qr(x: Array, /, *, mode: object = "reduced") -> Tuple[Any, ...]:
    matrices(x.shape)
    kind: Any = check.choice(mode, ("reduced", "complete"), "mode")
    return tuple(np.linalg.qr(_floats(x), kind))


def _qr_rule(x: Spec, /, *, mode: object = "reduced") -> Tuple[Spec, Spec]:
    stack, rows, columns = matrices(x.shape)
    reduced = check.choice(mode, ("reduced", "complete"), "mode") == "reduced"
    inner = least(rows, columns) if reduced else rows
    dtype = dt.floating(x.dtype)
    return Spec(dtype, (*stack, rows, inner)), Spec(dtype, (*stack, inner, columns))


def _tolerance(x: Known, rtol: object, dtype: DType) -> float:
    if rtol is not None:
        return check.finite(rtol, "rtol")
    return max(dim or 0 for dim in x.shape[-2:]) * float(np.finfo(dtype).eps)


def _matrix_rank(x: Array, /, *, rtol: object = None) -> Any:
    values = _svdvals(x)
    relative = values.dtype.type(_tolerance(x, rtol, values.dtype))
    return _add(values > relative * _greatest(values, -1, None, None, True, 0), -1, dt.INT64)


def _matrix_rank_rule(x: Spec, /, *, rtol: object = None) -> Spec:
    stack, _, _ = matrices(x.shape)
    _tolerance(x, rtol, dt.floating(x.dtype))
    return Spec(dt.INT64, stack)


def _pinv(x: Array, /, *, rtol: object = None) -> Any:
    matrices(x.shape)
    floats = _floats(x)
    return np.linalg.pinv(floats, _tolerance(x, rtol, floats.dtype))


def _pinv_rule(x: Spec, /, *, rtol: object = None) -> Spec:
    stack, rows, columns = matrices(x.shape)
    dtype = dt.floating(x.dtype)
    _tolerance(x, rtol, dtype)
    return Spec(dtype, (*stack, columns, rows))


define("linalg.diagonal", _diagonal, _diagonal_rule)
define("linalg.trace", _trace, _trace_rule, expands=True)
define("linalg.vector_norm", _vector_norm, _vector_norm_rule, expands=True)

_DECOMPOSITIONS: List[Tuple[str, Function, Function, int, bool]] = [
    ("cholesky", _cholesky, _cholesky_rule, 1, False),
    ("det", _det, _det_rule, 1, True),
    ("eigh", _eigh, _eigh_rule, 2, False),
    ("eigvalsh", _eigvalsh, _eigvalsh_rule, 1, False),
    ("inv", _inv, _keep_square, 1, False),
    ("matrix_norm", _matrix_norm, _matrix_norm_rule, 1, True),
    ("matrix_rank", _matrix_rank, _matrix_rank_rule, 1, True),
    ("pinv", _pinv, _pinv_rule, 1, False),
    ("qr", _qr, _qr_rule, 2, True),
    ("slogdet", _slogdet, _slogdet_rule, 2, True),
    ("solve", _solve, _solve_rule, 1, True),
    ("svd", _svd, _svd_rule, 3, True),
    ("svdvals", _svdvals, _svdvals_rule, 1, False),
]
for _name, _run, _rule, _outputs, _expands in _DECOMPOSITIONS:
    _name = f"linalg.{_name}"
    define(_name, _solving(_name, _run), _rule, outputs=_outputs, expands=_expands, cost=_cubic)
define("linalg.matrix_power", _solving("linalg.matrix_power", _matrix_power), _matrix_power_rule, cost=_power_cost)
