"""A user's call as array inputs and plain parameters, as they travel in a step.

It knows the few ops whose calls in the standard mix arrays and parameters; it runs nothing.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, Sequence, Tuple, Union

import numpy as np

from ..tensor import DType
from . import dtypes as dt
from .indexing import encode_key
from .table import REQUIRED, Op, check_call, find

IsArray = Callable[[Any], bool]
Bound = Tuple[List[Any], Dict[str, Any]]

_SCALARS = (bool, int, float, complex)
#: Ops that take their arrays as one list; the other variadic ones take them one by one.
_LISTED = ("concat", "stack")


def bind(name: str, args: Sequence[Any], kwargs: Mapping[str, Any], is_array: IsArray) -> Bound:
    """Split a call as the standard writes it: the array inputs in order (arrays or Python scalars), and the params.

    Params come out plain: tuples as lists, dtypes as descriptors, numpy's scalars as Python's, defaults left out.

    Raises: TypeError, naming the op's signature, for unknown parameters or a wrong number of arrays.
    """
    op = find(name)
    arrays, params = _SPECIAL.get(name, _bind)(op, list(args), dict(kwargs), is_array)
    arrays = [_input(op, value, is_array) for value in arrays]
    params = {key: plain(value, key) for key, value in params.items()}
    params = {key: value for key, value in params.items() if not _is_default(op, key, value)}
    check_call(op, len(arrays), params)
    return arrays, params


def scalar_dtypes(name: str, inputs: Sequence[Union[DType, dt.Scalar]], params: Mapping[str, Any]) -> Tuple[DType, ...]:
    """The dtype of each input of a bound call, arrays given by their dtype: what its Python scalars become.

    Raises: as ``scalar_dtype``.
    """
    meeting = find(name).meeting
    given = params.get("dtype")
    if name in ("full", "full_like") and given is not None and type(inputs[-1]) in _SCALARS:
        value: Any = inputs[-1]
        return (*inputs[:-1], dt.scalar_dtype(value, dt.parse_dtype(given)))  # type: ignore[arg-type]
    together = range(len(inputs))[meeting]
    met = iter(dt.meet(inputs[meeting]) if together else ())
    return tuple(next(met) if at in together else _own_dtype(item) for at, item in enumerate(inputs))


def _own_dtype(item: Union[DType, dt.Scalar]) -> DType:
    return item if isinstance(item, np.dtype) else dt.scalar_dtype(item)


def plain(value: Any, name: str = "") -> Any:
    """A parameter as it travels: None, bool, int, float, str, or a list of them. Raises: TypeError."""
    if name == "dtype" and value is not None:
        return dt.describe(value)
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value)
    raise TypeError(f"parameter {name or 'value'} cannot be {type(value).__name__}")


def _is_default(op: Op, name: str, value: Any) -> bool:
    default = op.params.get(name, REQUIRED)
    return type(value) is type(default) and bool(value == default)


def _input(op: Op, value: Any, is_array: IsArray) -> Any:
    if is_array(value) or type(value) in _SCALARS:
        return value
    if isinstance(value, (np.ndarray, np.generic)):
        return np.asarray(value)
    raise TypeError(f"{op!r}: {type(value).__name__} is neither an array nor a scalar")


def _bind(op: Op, args: List[Any], kwargs: Dict[str, Any], is_array: IsArray) -> Bound:
    """Arrays first, then the params in their order; both may be given by name."""
    if op.max_arrays is None:
        return _bind_many(op, args, kwargs)
    names = [*op.arrays, *op.params]
    if len(args) > len(names):
        raise TypeError(f"{op!r} takes at most {len(names)} arguments, not {len(args)}")
    given = dict(zip(names, args))
    for name, value in kwargs.items():
        if name not in names:
            raise TypeError(f"{op!r} has no parameter {name!r}")
        if name in given:
            raise TypeError(f"{op!r} was given {name!r} twice")
        given[name] = value
    arrays = [given.pop(name) for name in op.arrays if name in given]
    while len(arrays) > op.min_arrays and arrays[-1] is None:
        arrays.pop()
    return arrays, given


def _bind_many(op: Op, args: List[Any], kwargs: Dict[str, Any]) -> Bound:
    if op.name not in _LISTED:
        return args, kwargs
    if not args or not isinstance(args[0], (list, tuple)):
        raise TypeError(f"{op!r} takes a list of arrays")
    if len(args) > 2 or (len(args) == 2 and "axis" in kwargs):
        raise TypeError(f"{op!r} takes a list of arrays and an axis")
    return list(args[0]), {**kwargs, **({"axis": args[1]} if len(args) == 2 else {})}


def _bind_pair(names: Tuple[str, str], leading: bool) -> Callable[..., Bound]:
    """``clip`` and ``diff``: two optional arrays, of which a single one says by ``only`` which it is."""

    def bind_pair(op: Op, args: List[Any], kwargs: Dict[str, Any], is_array: IsArray) -> Bound:
        ends = {name: kwargs.pop(name) for name in names if name in kwargs}
        if leading:
            for name, value in zip(names, args[1:3]):
                if name in ends:
                    raise TypeError(f"{op!r} was given {name!r} twice")
                ends[name] = value
            args[1:3] = []
        rest = [name for name in op.params if name != "only"]
        if len(args) > 1 + len(rest):
            raise TypeError(f"{op!r} was given too many arguments")
        kwargs = {**dict(zip(rest, args[1:])), **kwargs}
        given = [name for name in names if ends.get(name) is not None]
        params = {**kwargs, "only": given[0]} if len(given) == 1 else kwargs
        return [*args[:1], *(ends[name] for name in given)], params

    return bind_pair


def _bind_full(op: Op, args: List[Any], kwargs: Dict[str, Any], is_array: IsArray) -> Bound:
    """``full(shape, fill_value)``: the value is an input, since it may be complex, or an array elsewhere."""
    names = ("shape", "fill_value", "dtype") if op.name == "full" else ("x", "fill_value", "dtype")
    given = {**dict(zip(names, args)), **kwargs}
    complete = "fill_value" in given and names[0] in given
    if len(args) > len(names) or len(given) != len(args) + len(kwargs) or not complete:
        raise TypeError(f"{op.name}({', '.join(names)}=None) was given {len(args)} arguments and {sorted(kwargs)}")
    value = given.pop("fill_value")
    return ([value], given) if op.name == "full" else ([given.pop("x"), value], given)


def _bind_repeat(op: Op, args: List[Any], kwargs: Dict[str, Any], is_array: IsArray) -> Bound:
    """``repeat(x, repeats)``: repeats is an int, or an array of counts."""
    given = {**dict(zip(("x", "repeats", "axis"), args)), **kwargs}
    if len(args) > 3 or len(given) != len(args) + len(kwargs) or "x" not in given:
        raise TypeError(f"{op!r} takes an array, repeats and an axis")
    arrays = [given.pop("x")]
    repeats = given.get("repeats")
    if isinstance(repeats, (list, tuple)):
        repeats = np.asarray(repeats, None if repeats else np.int64)
    if isinstance(repeats, np.ndarray) or (repeats is not None and is_array(repeats)):
        arrays.append(repeats)
        del given["repeats"]
    return arrays, given


def _bind_item(op: Op, args: List[Any], kwargs: Dict[str, Any], is_array: IsArray) -> Bound:
    """``getitem(x, key)`` and ``setitem(x, key, value)``: index arrays follow the other inputs."""
    if kwargs or len(args) != (2 if op.name == "getitem" else 3):
        raise TypeError(f"{op.name}({'x, key' if op.name == 'getitem' else 'x, key, value'}) takes no other arguments")
    key, indices = encode_key(args[1], is_array)
    return [args[0], *args[2:], *indices], {"key": key}


_SPECIAL: Dict[str, Callable[[Op, List[Any], Dict[str, Any], IsArray], Bound]] = {
    "clip": _bind_pair(("min", "max"), True),
    "diff": _bind_pair(("prepend", "append"), False),
    "full": _bind_full,
    "full_like": _bind_full,
    "repeat": _bind_repeat,
    "getitem": _bind_item,
    "setitem": _bind_item,
}
