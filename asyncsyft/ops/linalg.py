"""The standard's linear algebra, under dotted names as ``linalg.solve``.

It computes in floating point: integers become float64 first. Products are in ``products.py``, norms in ``norms.py``.
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
from .shapes import Dim, broadcast, least, matrices, same, show, square
from .table import Cost, Known, Shape, Spec, define

_add: Any = np.add.reduce
_greatest: Any = np.maximum.reduce
Function = Callable[..., Any]


def floats(x: Array) -> Array:
    """The array in the dtype in which linear algebra computes. Raises: TypeError."""
    return x.astype(dt.floating(x.dtype), copy=False)


def cubic(arrays: Sequence[Known], params: Mapping[str, Any]) -> int:
    """A decomposition: elements times the smaller side, and some."""
    shape = arrays[0].shape if arrays else ()
    return math.prod(dim or 0 for dim in shape) * (min(dim or 0 for dim in shape[-2:]) if len(shape) > 1 else 1)


def _solve_cost(arrays: Sequence[Known], params: Mapping[str, Any]) -> int:
    """A decomposition for each matrix that the two stacks make, broadcast, and as much for each right side."""
    if len(arrays) != 2 or len(arrays[0].shape) < 2 or not arrays[1].shape:
        return 0
    a, b = arrays[0].shape, arrays[1].shape
    stack = math.prod(dim or 0 for dim in broadcast(a[:-2], b[:-2]))
    size, sides = a[-1] or 0, (b[-1] or 0) if len(b) > 1 else 1
    return stack * size * size * (size + sides)


def _power_cost(arrays: Sequence[Known], params: Mapping[str, Any]) -> int:
    n = params.get("n")
    return cubic(arrays, params) * (n.bit_length() + 1 if type(n) is int else 1) // 8


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


def solving(name: str, run: Function) -> Function:
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
    return np.linalg.inv(floats(x))


def _det(x: Array, /) -> Any:
    return np.linalg.det(floats(x))


def _det_rule(x: Spec, /) -> Spec:
    return Spec(dt.floating(x.dtype), square(x.shape)[0])


def _slogdet(x: Array, /) -> Tuple[Any, ...]:
    return tuple(np.linalg.slogdet(floats(x)))


def _slogdet_rule(x: Spec, /) -> Tuple[Spec, Spec]:
    sign = _det_rule(x)
    return sign, Spec(dt.real_of(sign.dtype), sign.shape)


def _cholesky(x: Array, /, *, upper: object = False) -> Any:
    lower = np.linalg.cholesky(floats(x))
    return np.conjugate(lower.swapaxes(-1, -2)) if check.boolean(upper, "upper") else lower


def _cholesky_rule(x: Spec, /, *, upper: object = False) -> Spec:
    check.boolean(upper, "upper")
    return _keep_square(x)


def _eigh(x: Array, /) -> Tuple[Any, ...]:
    return tuple(np.linalg.eigh(floats(x)))


def _eigh_rule(x: Spec, /) -> Tuple[Spec, Spec]:
    return _eigvalsh_rule(x), _keep_square(x)


def _eigvalsh(x: Array, /) -> Any:
    return np.linalg.eigvalsh(floats(x))


def _eigvalsh_rule(x: Spec, /) -> Spec:
    stack, size = square(x.shape)
    return Spec(dt.real_of(dt.floating(x.dtype)), (*stack, size))


def _matrix_power(x: Array, /, *, n: object) -> Any:
    square(x.shape)
    power = check.integer(n, "n")
    dt.require(x.dtype, dt.NUMERIC)
    return np.linalg.matrix_power(floats(x) if power < 0 else x, power)


def _matrix_power_rule(x: Spec, /, *, n: object) -> Spec:
    square(x.shape)
    dtype = dt.require(x.dtype, dt.NUMERIC)
    return Spec(dt.floating(dtype) if check.integer(n, "n") < 0 else dtype, x.shape)


def _svdvals(x: Array, /) -> Any:
    matrices(x.shape)
    return np.linalg.svd(floats(x), compute_uv=False)


def _svdvals_rule(x: Spec, /) -> Spec:
    stack, rows, columns = matrices(x.shape)
    return Spec(dt.real_of(dt.floating(x.dtype)), (*stack, least(rows, columns)))


def _bounded(x: Array) -> Array:
    """The array as floats: with an infinite entry some of LAPACK's builds would look for its vectors for ever."""
    matrix = floats(x)
    if not np.isfinite(matrix).all():
        raise np.linalg.LinAlgError("it does not converge: entries are infinite, or not numbers")
    return matrix


def _svd(x: Array, /, *, full_matrices: object = True) -> Tuple[Any, ...]:
    matrices(x.shape)
    return tuple(np.linalg.svd(_bounded(x), check.boolean(full_matrices, "full_matrices")))


def _svd_rule(x: Spec, /, *, full_matrices: object = True) -> Tuple[Spec, Spec, Spec]:
    stack, rows, columns = matrices(x.shape)
    dtype, values = dt.floating(x.dtype), _svdvals_rule(x)
    inner = (rows, columns) if check.boolean(full_matrices, "full_matrices") else (values.shape[-1],) * 2
    return Spec(dtype, (*stack, rows, inner[0])), values, Spec(dtype, (*stack, inner[1], columns))


def _qr(x: Array, /, *, mode: object = "reduced") -> Tuple[Any, ...]:
    matrices(x.shape)
    kind: Any = check.choice(mode, ("reduced", "complete"), "mode")
    return tuple(np.linalg.qr(floats(x), kind))


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
    matrix = _bounded(x)
    return np.linalg.pinv(matrix, _tolerance(x, rtol, matrix.dtype))


def _pinv_rule(x: Spec, /, *, rtol: object = None) -> Spec:
    stack, rows, columns = matrices(x.shape)
    dtype = dt.floating(x.dtype)
    _tolerance(x, rtol, dtype)
    return Spec(dtype, (*stack, columns, rows))


define("linalg.diagonal", _diagonal, _diagonal_rule)
define("linalg.trace", _trace, _trace_rule, expands=True)

_DECOMPOSITIONS: List[Tuple[str, Function, Function, int, bool, Cost]] = [
    ("cholesky", _cholesky, _cholesky_rule, 1, False, cubic),
    ("det", _det, _det_rule, 1, True, cubic),
    ("eigh", _eigh, _eigh_rule, 2, False, cubic),
    ("eigvalsh", _eigvalsh, _eigvalsh_rule, 1, False, cubic),
    ("inv", _inv, _keep_square, 1, False, cubic),
    ("matrix_power", _matrix_power, _matrix_power_rule, 1, False, _power_cost),
    ("matrix_rank", _matrix_rank, _matrix_rank_rule, 1, True, cubic),
    ("pinv", _pinv, _pinv_rule, 1, False, cubic),
    ("qr", _qr, _qr_rule, 2, True, cubic),
    ("slogdet", _slogdet, _slogdet_rule, 2, True, cubic),
    ("solve", _solve, _solve_rule, 1, True, _solve_cost),
    ("svd", _svd, _svd_rule, 3, True, cubic),
    ("svdvals", _svdvals, _svdvals_rule, 1, False, cubic),
]
for _name, _run, _rule, _outputs, _expands, _cost in _DECOMPOSITIONS:
    _name = f"linalg.{_name}"
    define(_name, solving(_name, _run), _rule, outputs=_outputs, expands=_expands, cost=_cost)
