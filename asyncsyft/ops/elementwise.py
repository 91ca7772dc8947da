"""Element-wise ops: the inputs are broadcast, meet in one dtype, and the function is applied to each element.

Three tables (one input, two inputs, functions of floating point) say which dtypes an op takes and what it gives; two
factories make its ``run`` and its rule from that. Integers given to a function of floating point become float64.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional, Tuple

import numpy as np

from ..tensor import DTYPES, Array, DType
from . import dtypes as dt
from . import params as check
from .shapes import broadcast
from .table import Spec, define

# For one pair of input dtypes (or one input dtype): the dtype to compute in, and the one that comes out.
Plan = Tuple[DType, DType]
Choose = Callable[[DType], Plan]
Function = Callable[..., Any]


def _keeps(kinds: str) -> Choose:
    return lambda dtype: (dt.require(dtype, kinds), dtype)


def _tells(kinds: str) -> Choose:
    return lambda dtype: (dt.require(dtype, kinds), dt.BOOL)


def _measures(kinds: str) -> Choose:
    return lambda dtype: (dt.require(dtype, kinds), dt.real_of(dtype))


def _floats(kinds: str) -> Choose:
    return lambda dtype: (dt.floating(dtype, kinds), dt.floating(dtype, kinds))


def _plans(choose: Choose) -> Dict[DType, Plan]:
    plans = {}
    for dtype in DTYPES.values():
        try:
            plans[dtype] = choose(dtype)
        except TypeError:
            continue
    return plans


def _unary(name: str, function: Function, choose: Choose) -> None:
    plans = _plans(choose)
    direct = {dtype: function for dtype, (compute, _) in plans.items() if compute == dtype}

    def run(x: Array, /) -> Any:
        if x.dtype in direct:
            return function(x)
        return function(x.astype(choose(x.dtype)[0]))

    def rule(x: Spec, /) -> Spec:
        return Spec(choose(x.dtype)[1], x.shape)

    define(name, run, rule, direct=direct)


def _binary(name: str, function: Function, choose: Choose) -> None:
    plans = _plans(choose)
    direct = {dtype: function for dtype, (compute, _) in plans.items() if compute == dtype}
    compute_in: Dict[Tuple[DType, DType], DType] = {}

    def run(x1: Array, x2: Array, /) -> Any:
        dtype = x1.dtype
        if dtype is x2.dtype and dtype in direct:
            return function(x1, x2)
        pair = (dtype, x2.dtype)
        compute = compute_in.get(pair)
        if compute is None:
            compute_in[pair] = compute = choose(dt.result_type(*pair))[0]
        return function(x1.astype(compute, copy=False), x2.astype(compute, copy=False))

    def rule(x1: Spec, x2: Spec, /) -> Spec:
        return Spec(choose(dt.result_type(x1.dtype, x2.dtype))[1], broadcast(x1.shape, x2.shape))

    define(name, run, rule, direct=direct)


def _shift(name: str, function: Function) -> None:
    """Both must be integers: a bool would otherwise become one by promotion."""
    both = _keeps(dt.INTEGER)

    def run(x1: Array, x2: Array, /) -> Any:
        compute = rule(Spec(x1.dtype, ()), Spec(x2.dtype, ())).dtype
        return function(x1.astype(compute, copy=False), x2.astype(compute, copy=False))

    def rule(x1: Spec, x2: Spec, /) -> Spec:
        dtype = dt.result_type(both(x1.dtype)[0], both(x2.dtype)[0])
        return Spec(dtype, broadcast(x1.shape, x2.shape))

    define(name, run, rule)


def _on_floats(function: Function) -> Function:
    """Integers are already whole (and numpy 1 would turn them into floats)."""
    return lambda x: x if x.dtype.kind in dt.INTEGER else function(x)


def _sign(x: Array) -> Any:
    # numpy 1 gives the sign of the real part; the standard says x / |x|.
    if x.dtype.kind != "c":
        return np.sign(x)
    return np.where(x == 0, x.dtype.type(0), x / np.abs(x))


def _where_real(function: Function) -> Function:
    return lambda x: function(x) if x.dtype.kind == "c" else x


_UNARY: Dict[str, Tuple[Function, Choose]] = {
    "abs": (np.absolute, _measures(dt.NUMERIC)),
    "bitwise_invert": (np.invert, _keeps(dt.BITS)),
    "ceil": (_on_floats(np.ceil), _keeps(dt.REAL)),
    "conj": (_where_real(np.conjugate), _keeps(dt.NUMERIC)),
    "floor": (_on_floats(np.floor), _keeps(dt.REAL)),
    "imag": (np.imag, _measures("c")),
    "isfinite": (np.isfinite, _tells(dt.NUMERIC)),
    "isinf": (np.isinf, _tells(dt.NUMERIC)),
    "isnan": (np.isnan, _tells(dt.NUMERIC)),
    "logical_not": (np.logical_not, _tells("b")),
    "negative": (np.negative, _keeps(dt.NUMERIC)),
    "positive": (np.positive, _keeps(dt.NUMERIC)),
    "real": (_where_real(np.real), _measures(dt.NUMERIC)),
    "round": (_on_floats(np.rint), _keeps(dt.NUMERIC)),
    "sign": (_sign, _keeps(dt.NUMERIC)),
    "signbit": (np.signbit, _tells(dt.REAL_FLOAT)),
    "square": (np.square, _keeps(dt.NUMERIC)),
    "trunc": (_on_floats(np.trunc), _keeps(dt.REAL)),
}
_OF_FLOATS: Dict[str, Function] = {
    "acos": np.arccos,
    "acosh": np.arccosh,
    "asin": np.arcsin,
    "asinh": np.arcsinh,
    "atan": np.arctan,
    "atanh": np.arctanh,
    "cos": np.cos,
    "cosh": np.cosh,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log10": np.log10,
    "log1p": np.log1p,
    "log2": np.log2,
    "reciprocal": np.reciprocal,
    "sin": np.sin,
    "sinh": np.sinh,
    "sqrt": np.sqrt,
    "tan": np.tan,
    "tanh": np.tanh,
}
_BINARY: Dict[str, Tuple[Function, Choose]] = {
    "add": (np.add, _keeps(dt.NUMERIC)),
    "atan2": (np.arctan2, _floats(dt.REAL_FLOAT)),
    "bitwise_and": (np.bitwise_and, _keeps(dt.BITS)),
    "bitwise_or": (np.bitwise_or, _keeps(dt.BITS)),
    "bitwise_xor": (np.bitwise_xor, _keeps(dt.BITS)),
    "copysign": (np.copysign, _floats(dt.REAL_FLOAT)),
    "divide": (np.true_divide, _floats(dt.FLOATING)),
    "equal": (np.equal, _tells(dt.ANY)),
    "floor_divide": (np.floor_divide, _keeps(dt.REAL)),
    "greater": (np.greater, _tells(dt.REAL)),
    "greater_equal": (np.greater_equal, _tells(dt.REAL)),
    "hypot": (np.hypot, _floats(dt.REAL_FLOAT)),
    "less": (np.less, _tells(dt.REAL)),
    "less_equal": (np.less_equal, _tells(dt.REAL)),
    "logaddexp": (np.logaddexp, _floats(dt.REAL_FLOAT)),
    "logical_and": (np.logical_and, _tells("b")),
    "logical_or": (np.logical_or, _tells("b")),
    "logical_xor": (np.logical_xor, _tells("b")),
    "maximum": (np.maximum, _keeps(dt.REAL)),
    "minimum": (np.minimum, _keeps(dt.REAL)),
    "multiply": (np.multiply, _keeps(dt.NUMERIC)),
    "nextafter": (np.nextafter, _floats(dt.REAL_FLOAT)),
    "not_equal": (np.not_equal, _tells(dt.ANY)),
    "pow": (np.power, _keeps(dt.NUMERIC)),
    "remainder": (np.remainder, _keeps(dt.REAL)),
    "subtract": (np.subtract, _keeps(dt.NUMERIC)),
}

for _name, (_function, _choose) in _UNARY.items():
    _unary(_name, _function, _choose)
for _name, _function in _OF_FLOATS.items():
    _unary(_name, _function, _floats(dt.FLOATING))
for _name, (_function, _choose) in _BINARY.items():
    _binary(_name, _function, _choose)
_shift("bitwise_left_shift", np.left_shift)
_shift("bitwise_right_shift", np.right_shift)


def _bounds(low: Any, high: Any, only: object) -> Tuple[Any, Any]:
    """Which of the further inputs of ``clip`` bounds from where: a single one is what ``only`` says."""
    if check.choice(only, ("min", "max"), "only") == "max" and high is None:
        return None, low
    return low, high


def _clip(x: Array, low: Optional[Array] = None, high: Optional[Array] = None, /, *, only: object = "min") -> Any:
    low, high = _bounds(low, high, only)
    bounds = [bound for bound in (low, high) if bound is not None]
    compute = dt.result_type(*(dt.require(array.dtype, dt.REAL) for array in (x, *bounds)))
    result: Any = x.astype(compute, copy=False)
    if low is not None:
        result = np.maximum(result, low.astype(compute, copy=False))
    if high is not None:
        result = np.minimum(result, high.astype(compute, copy=False))
    return result.astype(x.dtype, copy=False)


def _clip_rule(x: Spec, low: Optional[Spec] = None, high: Optional[Spec] = None, /, *, only: object = "min") -> Spec:
    known = [spec for spec in (x, *_bounds(low, high, only)) if spec is not None]
    dt.result_type(*(dt.require(spec.dtype, dt.REAL) for spec in known))
    return Spec(x.dtype, broadcast(*(spec.shape for spec in known)))


def _where(condition: Array, x1: Array, x2: Array, /) -> Any:
    dt.require(condition.dtype, "b")
    dtype = x1.dtype
    if dtype is not x2.dtype:
        dtype = dt.result_type(dtype, x2.dtype)
        x1, x2 = x1.astype(dtype, copy=False), x2.astype(dtype, copy=False)
    return np.where(condition, x1, x2)


def _where_rule(condition: Spec, x1: Spec, x2: Spec, /) -> Spec:
    dt.require(condition.dtype, "b")
    return Spec(dt.result_type(x1.dtype, x2.dtype), broadcast(condition.shape, x1.shape, x2.shape))


def _astype(x: Array, /, *, dtype: object, copy: object = True) -> Array:
    wanted = _astype_rule(Spec(x.dtype, x.shape), dtype=dtype, copy=copy).dtype
    # Objects are written once, so that nobody can tell a copy from the array itself.
    return x.astype(wanted, copy=False)


def _astype_rule(x: Spec, /, *, dtype: object, copy: object = True) -> Spec:
    wanted = dt.parse_dtype(dtype)
    check.boolean(copy, "copy")
    if x.dtype.kind == "c" and wanted.kind not in "cb":
        raise TypeError(f"{x.dtype} has no cast to {wanted}: take real, imag or abs first")
    return Spec(wanted, x.shape)


define("clip", _clip, _clip_rule)
define("where", _where, _where_rule, meeting=slice(1, None))
define("astype", _astype, _astype_rule)
