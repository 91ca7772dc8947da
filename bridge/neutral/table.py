"""The table of what is translated: torch's names of methods and functions, and what does the same in array-API ops.

The other modules of this folder fill it. Each entry is a function with torch's own parameters, on remote tensors and
numbers; it gives remote tensors (one, or a tuple), or what Python is to get at once (``Asked`` if the data must come).
"""

from __future__ import annotations

import inspect
from functools import lru_cache
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Sequence, Set, Tuple

import numpy as np

from asyncsyft import RemoteTensor

from .dtypes import can_cast, cast
from .errors import NotTranslated

Function = Callable[..., Any]


class Asked(NamedTuple):
    """A value that needs the data: of which tensor, and what is made of it."""

    tensor: RemoteTensor
    make: Callable[[np.ndarray], Any]


METHODS: Dict[str, Function] = {}
#: Functions of torch that are no methods, or begin with another argument.
FUNCTIONS: Dict[str, Function] = {}
#: Methods whose results are views: they share their memory with the tensor that they are of.
VIEWS: Set[str] = set()
#: Methods that change a tensor in a way of their own; for others, ``add_`` is ``add`` into the same tensor.
IN_PLACE: Dict[str, Function] = {}
#: Those that change the shape as well.
RESHAPING = {"t_", "transpose_", "squeeze_", "unsqueeze_"}

_PREFIXES = ("torch.nn.functional.", "torch.functional.", "torch.tensor.", "torch.Tensor.", "torch.")
#: Parameters that torch has two names for.
_NAMES = {"axis": "dim", "keepdims": "keepdim"}


def method(*names: str, view: bool = False) -> Callable[[Function], Function]:
    """Put a function in the table under these names of methods; ``torch.name(x, ...)`` is the same."""

    def enter(function: Function) -> Function:
        for name in names:
            METHODS[name] = function
        if view:
            VIEWS.update(names)
        return function

    return enter


def function(*names: str) -> Callable[[Function], Function]:
    """Put a function in the table under these names of functions, without what is before the last dot."""

    def enter(made: Function) -> Function:
        for name in names:
            FUNCTIONS[name] = made
        return made

    return enter


def in_place(*names: str) -> Callable[[Function], Function]:
    """Put in the table what gives the new contents of a tensor that is changed in place."""

    def enter(made: Function) -> Function:
        for name in names:
            IN_PLACE[name] = made
        return made

    return enter


def changes(name: str) -> bool:
    """Whether a method changes its tensor: it ends in one underscore, or is an assignment's."""
    return name in IN_PLACE or (name.endswith("_") and not name.endswith("__")) or name in _ASSIGNMENTS


def call(name: str, x: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What a method (of ``x``), or a function (``x`` is None) gives.

    Raises: NotTranslated, TypeError for arguments that do not fit, what torch raises for wrong ones.
    """
    if x is not None:
        found = METHODS.get(name)
        return _apply(name, found, [x, *args], kwargs)
    prefix = next((prefix for prefix in _PREFIXES if name.startswith(prefix)), None)
    short = name[len(prefix) :] if prefix else name
    if prefix is None or changes(short):
        raise NotTranslated(name)
    return _apply(name, FUNCTIONS.get(short) or METHODS.get(short), args, kwargs)


def changed(name: str, x: RemoteTensor, args: Sequence[Any], kwargs: Mapping[str, Any]) -> RemoteTensor:
    """The new contents of ``x``. Raises: as ``call``; RuntimeError if they do not fit into it."""
    own = IN_PLACE.get(name)
    if own is not None:
        result: RemoteTensor = _apply(name, own, [x, *args], kwargs)
    else:
        plain = _ASSIGNMENTS.get(name) or name[:-1]
        result = _apply(name, METHODS.get(plain), [x, *args], kwargs)
    if not isinstance(result, RemoteTensor):
        raise NotTranslated(name)
    if name in RESHAPING:
        return result
    if result.shape != x.shape and None not in result.shape + x.shape:
        raise RuntimeError(f"{name}: a result of shape {list(result.shape)} does not fit in one of {list(x.shape)}")
    if not can_cast(result.dtype, x.dtype) and own is None:
        raise RuntimeError(f"{name}: a result of {result.dtype} does not fit in a tensor of {x.dtype}")
    return cast(result, x.dtype)


def assigns(name: str) -> bool:
    """Whether it is what Python makes of ``x += y``: the tensor is changed, and is the result too."""
    return name in _ASSIGNMENTS


def shares(name: str) -> bool:
    """Whether what a method or function gives may be the memory of its tensor."""
    return name.rpartition(".")[2] in VIEWS


def _apply(name: str, found: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    if found is None:
        raise NotTranslated(name)
    signature = _signature(found)
    named = {_NAMES.get(key, key) if key not in signature.parameters else key: v for key, v in kwargs.items()}
    positional: List[Any] = list(args)
    if "input" in named and "input" not in signature.parameters:
        positional.insert(0, named.pop("input"))
    out = named.pop("out", None)
    if out is not None:
        raise NotTranslated(name, "out= is not possible where tensors are written once")
    try:
        signature.bind(*positional, **named)
    except TypeError as error:
        raise TypeError(f"{name}: {error}") from None
    return found(*positional, **named)


_signature = lru_cache(maxsize=None)(inspect.signature)

_ASSIGNMENTS = {
    f"__i{name}__": f"__{name}__"
    for name in "add sub mul truediv div floordiv mod pow matmul and or xor lshift rshift".split()  # noqa: SIM905
}


def ints(values: Tuple[Any, ...]) -> List[int]:
    """Sizes given one by one, or all as one sequence."""
    given = values[0] if len(values) == 1 and isinstance(values[0], (tuple, list)) else values
    if not all(type(value) is int for value in given):
        raise TypeError(f"sizes must be ints, not {given!r:.80}")
    return list(given)


def dimension(value: Any, ndim: int) -> int:
    """A dimension, counted from the first. Raises: IndexError, TypeError."""
    if type(value) is not int:
        raise TypeError(f"a dimension must be an int, not {type(value).__name__}")
    count = max(ndim, 1)  # torch takes 0 and -1 for a tensor without dimensions
    if not -count <= value < count:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-count}, {count - 1}], but got {value})"
        )
    return value % count
