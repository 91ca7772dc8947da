"""numpy's protocols: ``np.add(x, y)``, ``np.sum(x, axis=0)`` and their like record steps.

Its table says which op a numpy function is, and how numpy's parameters are called there; what is no plain renaming is
in ``numpy_functions.py``. Whatever is in neither would need the data here, and is refused.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, NamedTuple, NoReturn, Optional, Sequence, Tuple, Union

import numpy as np

from . import numpy_functions as fn
from .handle import Handle
from .steps import do

dot, squeeze = fn.dot, fn.squeeze

_SAME_NAME = """add bitwise_and bitwise_or bitwise_xor ceil copysign cos cosh divide equal exp expm1 floor floor_divide
    greater greater_equal hypot isfinite isinf isnan less less_equal log log10 log1p log2 logaddexp matmul maximum
    minimum multiply negative nextafter not_equal positive reciprocal remainder sign signbit sin sinh sqrt square
    subtract tan tanh trunc vecdot"""
_OTHER_NAME = {
    "absolute": "abs", "arccos": "acos", "arccosh": "acosh", "arcsin": "asin", "arcsinh": "asinh", "arctan": "atan",
    "arctan2": "atan2", "arctanh": "atanh", "conjugate": "conj", "invert": "bitwise_invert",
    "left_shift": "bitwise_left_shift", "power": "pow", "right_shift": "bitwise_right_shift", "rint": "round",
}  # fmt: skip
_UFUNCS: Dict[Any, str] = {
    getattr(np, name): op
    for name, op in {**{name: name for name in _SAME_NAME.split()}, **_OTHER_NAME}.items()
    if isinstance(getattr(np, name, None), np.ufunc)
}
#: Ufuncs that numpy applies to numbers as well, by their truth.
_LOGICAL: Dict[Any, str] = {
    getattr(np, name): name for name in ("logical_and", "logical_or", "logical_xor", "logical_not")
}
_REDUCTIONS: Dict[Any, str] = {
    np.add: "sum", np.multiply: "prod", np.maximum: "max", np.minimum: "min",
    np.logical_and: "all", np.logical_or: "any",
}  # fmt: skip
_RUNNING: Dict[Any, str] = {np.add: "cumulative_sum", np.multiply: "cumulative_prod"}


def ufunc(function: Any, method: str, inputs: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What ``__array_ufunc__`` does: a step of the op that the ufunc is. Raises: TypeError if it is none."""
    name = f"np.{function.__name__}" + ("" if method == "__call__" else f".{method}")
    kwargs = {key: value for key, value in kwargs.items() if value is not None or key == "axis"}
    if method == "__call__" and function in _LOGICAL and not kwargs:
        return do(_LOGICAL[function], *map(fn.truth, inputs))
    if method == "__call__" and function in _UFUNCS:
        _check(name, kwargs, ("axis",) if function.__name__ == "vecdot" else ())
        return do(_UFUNCS[function], *map(fn.array, inputs), **kwargs)
    if method == "reduce" and function in _REDUCTIONS and len(inputs) == 1:
        total = function in _RUNNING
        _check(name, kwargs, ("axis", "dtype", "keepdims") if total else ("axis", "keepdims"))
        return do(_REDUCTIONS[function], inputs[0], **{"axis": 0, **kwargs})
    if method == "accumulate" and function in _RUNNING and len(inputs) == 1:
        _check(name, kwargs, ("axis", "dtype"))
        return do(_RUNNING[function], inputs[0], **{"axis": 0, **kwargs})
    return _no_step(name)


def _check(name: str, given: Mapping[str, Any], known: Tuple[str, ...]) -> None:
    for key in given:
        if key not in known:
            raise TypeError(f"{name} takes no {key}= for remote tensors: objects are written once, and whole")


def _no_step(name: str) -> NoReturn:
    raise TypeError(f"{name} is no op that a worker has: await x.get() brings the data here")


class Rule(NamedTuple):
    """How a numpy function is called, and what does it: an op, or a function that takes numpy's parameters."""

    does: Union[str, Callable[..., Any]]
    #: numpy's parameters in their order, each with its name here; "" for what makes no difference, None if refused.
    params: Optional[Dict[str, Optional[str]]]
    positional: List[str]


def _rule(does: Union[str, Callable[..., Any]], params: Optional[str]) -> Rule:
    """From ``"a=x axis -out ~order new|old=name"``: renamed, kept, refused, without meaning here, two names for one."""
    names: Dict[str, Optional[str]] = {}
    positional = []
    for item in (params or "").split():
        theirs, _, mine = item.partition("=")
        first, *others = theirs.lstrip("-~").split("|")
        for name in (first, *others):
            names[name] = None if item[0] == "-" else "" if item[0] == "~" else mine or first
        positional.append(first)
    return Rule(does, names if params is not None else None, positional)


_NO_VALUE = getattr(np, "_NoValue", None)


def function(func: Any, types: Any, args: Tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """What ``__array_function__`` does: a step of the op that the function is. Raises: TypeError if it is none."""
    name = f"{func.__module__}.{func.__name__}".replace("numpy", "np", 1)
    rule = _RULES.get(func)
    if rule is None:
        return _no_step(name)
    if not all(issubclass(kind, (Handle, np.ndarray)) for kind in types):
        return NotImplemented
    if rule.params is None:
        return rule.does(*args, **kwargs)  # type: ignore[operator]
    given = _translated(name, rule, rule.params, args, kwargs)
    if not isinstance(rule.does, str):
        return rule.does(**given)
    first = [given.pop("x")] if "x" in given else []  # positional only, in the standard
    return do(rule.does, *first, **given)


def _translated(
    name: str, rule: Rule, params: Dict[str, Optional[str]], args: Tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Dict[str, Any]:
    given: Dict[str, Any] = {}
    for theirs, value in (*zip(rule.positional, args), *kwargs.items()):
        mine = params.get(theirs)
        if value is _NO_VALUE or mine == "":
            continue
        if mine is None:
            if value is not None:
                raise TypeError(f"{name} takes no {theirs}= for remote tensors: await x.get() brings the data here")
        elif mine[-1] != "?":
            given[mine] = value
        elif value is not None:
            given[mine[:-1]] = value
    return given


_TABLE: Dict[str, Tuple[Union[str, Callable[..., Any]], Optional[str]]] = {
    "sum prod": ("=", "a=x axis dtype -out keepdims -initial -where"),
    "max min": ("=", "a=x axis -out keepdims -initial -where"),
    "amax": ("max", "a=x axis -out keepdims -initial -where"),
    "amin": ("min", "a=x axis -out keepdims -initial -where"),
    "mean": ("mean", "a=x axis -dtype -out keepdims -where"),
    "std var": ("=", "a=x axis -dtype -out ddof|correction=correction keepdims -where -mean"),
    "all any": ("=", "a=x axis -out keepdims -where"),
    "argmax argmin": ("=", "a=x axis -out keepdims"),
    "count_nonzero": ("count_nonzero", "a=x axis keepdims"),
    "cumsum": (fn.cumsum, "a=x axis dtype -out"),
    "cumprod": (fn.cumprod, "a=x axis dtype -out"),
    "cumulative_sum cumulative_prod": ("=", "x axis dtype -out include_initial"),
    # Shapes.
    "concatenate concat": (fn.concat, "arrays axis -out dtype ~casting"),
    "stack": (fn.stack, "arrays axis -out dtype ~casting"),
    "vstack": (fn.vstack, "tup=arrays dtype ~casting"),
    "hstack": (fn.hstack, "tup=arrays dtype ~casting"),
    "transpose permute_dims": (fn.transpose, "a=x axes"),
    "matrix_transpose": ("matrix_transpose", "x"),
    "reshape": (fn.reshape, "a=x shape|newshape=shape order copy"),
    "ravel": (fn.ravel, "a=x order"),
    "expand_dims": ("expand_dims", "a=x axis"),
    "squeeze": (fn.squeeze, "a=x axis"),
    "flip": ("flip", "m=x axis"),
    "roll": ("roll", "a=x shift axis"),
    "moveaxis": ("moveaxis", "a=x source destination"),
    "swapaxes": (fn.swapaxes, "a=x axis1 axis2"),
    "broadcast_to": ("broadcast_to", "array=x shape ~subok"),
    "broadcast_arrays": (fn.broadcast_arrays, None),
    "tile": ("tile", "A=x reps=repetitions"),
    "repeat": ("repeat", "a=x repeats axis"),
    "unstack": ("unstack", "x axis"),
    "meshgrid": (fn.meshgrid, None),
    # Choosing and ordering.
    "where": (fn.where, "condition x y"),
    "nonzero": ("nonzero", "a=x"),
    "take": (fn.take, "a=x indices axis -out -mode"),
    "take_along_axis": (fn.take_along_axis, "arr=x indices axis"),
    "sort": (fn.sort, "a=x axis ~kind -order ~stable"),
    "argsort": (fn.argsort, "a=x axis ~kind -order ~stable"),
    "searchsorted": (fn.searchsorted, "a=x1 v=x2 side sorter"),
    "unique_all unique_counts unique_inverse unique_values": ("=", "x"),
    "diff": ("diff", "a=x n axis prepend append"),
    # Elements.
    "clip": ("clip", "a=x a_min|min=min a_max|max=max -out"),
    "round around round_": (fn.rounded, "a=x decimals -out"),
    "real imag": ("=", "val=x"),
    "tril triu": ("=", "m=x k"),
    "zeros_like ones_like empty_like": ("=", "a=x dtype ~order ~subok -shape"),
    "full_like": ("full_like", "a=x fill_value dtype ~order ~subok -shape"),
    "copy": (fn.copy, "a=x ~order ~subok"),
    "astype": ("astype", "x dtype ~copy"),
    # What needs no step.
    "shape": (fn.shape, "a=x"),
    "ndim": (fn.ndim, "a=x"),
    "size": (fn.size, "a=x axis"),
    "iscomplexobj": (fn.iscomplexobj, "x"),
    "isrealobj": (fn.isrealobj, "x"),
    "result_type": (fn.result_type, None),
    # Linear algebra.
    "dot": (fn.dot, "a=x b=other -out"),
    "outer linalg.outer": (fn.outer, "a|x1=x1 b|x2=x2 -out"),
    "tensordot linalg.tensordot": ("tensordot", "a|x1=x1 b|x2=x2 axes"),
    "trace": (fn.trace, "a=x offset axis1 axis2 dtype -out"),
    "diagonal": (fn.diagonal, "a=x offset axis1 axis2"),
    "cross": ("linalg.cross", "a=x1 b=x2 -axisa -axisb -axisc axis"),
    "linalg.cross": ("linalg.cross", "x1 x2 axis"),
    "linalg.solve": ("=", "a=x1 b=x2"),
    "linalg.inv linalg.det linalg.slogdet": ("=", "a=x"),
    "linalg.eigh linalg.eigvalsh": ("=", "a=x -UPLO"),
    "linalg.cholesky": ("=", "a=x upper"),
    "linalg.qr": ("=", "a=x mode"),
    "linalg.svd": (fn.svd, "a=x full_matrices compute_uv -hermitian"),
    "linalg.svdvals": ("=", "x"),
    "linalg.pinv": ("=", "a=x rcond|rtol=rtol -hermitian"),
    "linalg.matrix_rank": ("=", "A|M=x -tol -hermitian rtol"),
    "linalg.matrix_power": ("=", "a=x n"),
    "linalg.norm": (fn.norm, "x ord axis keepdims"),
    "linalg.matrix_norm": ("=", "x keepdims ord"),
    "linalg.vector_norm": ("=", "x axis keepdims ord"),
    "linalg.trace": ("=", "x offset dtype"),
    "linalg.diagonal": ("=", "x offset"),
    "linalg.matmul": ("matmul", "x1 x2"),
    "linalg.vecdot": ("vecdot", "x1 x2 axis"),
    "linalg.matrix_transpose": ("matrix_transpose", "x"),
    # Fourier transforms.
    "fft.fft fft.ifft fft.rfft fft.irfft fft.hfft fft.ihfft": ("=", "a=x n axis norm=norm? -out"),
    "fft.fftn fft.ifftn fft.rfftn fft.irfftn": ("=", "a=x s axes norm=norm? -out"),
    "fft.fftshift fft.ifftshift": ("=", "x axes"),
}


def _found(name: str) -> Any:
    """numpy's function of that name, if this numpy has it."""
    part: Any = np
    for piece in name.split("."):
        part = getattr(part, piece, None)
    return part


def _rules() -> Dict[Any, Rule]:
    rules = {}
    for names, (does, params) in _TABLE.items():
        for name in names.split():
            if _found(name) is not None:
                rules[_found(name)] = _rule(name if does == "=" else does, params)
    return rules


_RULES = _rules()
