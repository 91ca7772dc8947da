"""What a function takes and gives: tensors among other values, taken out of lists, tuples and maps and put back.

It knows no plan.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterator, List, Mapping, Sequence, Tuple

import numpy as np

from ..ops import Spec
from ..remote import RemoteTensor

Rebuild = Callable[[Sequence[Any]], Dict[str, Any]]


class _Hole:
    """Where a tensor stood."""


_HOLE = _Hole()


def split(arguments: Mapping[str, Any]) -> Tuple[List[Any], Any, Rebuild]:
    """Arguments as tensors, a key for all that is static, and the way back with other tensors in their places.

    Raises: TypeError for a static argument that is not hashable, since nobody could tell whether it is the same again.
    """
    tensors: List[Any] = []
    form, key = {}, []
    for name, value in arguments.items():
        form[name] = _take(value, tensors)
        try:
            part = _key(form[name])
            hash(part)
        except TypeError:
            raise TypeError(
                f"argument {name!r}: {type(value).__name__} is neither a tensor nor a hashable static value"
            ) from None
        key.append((name, part))

    def rebuild(values: Sequence[Any]) -> Dict[str, Any]:
        rest = iter(values)
        return {name: _put_back(value, rest) for name, value in form.items()}

    return tensors, tuple(key), rebuild


def _take(value: Any, tensors: List[Any]) -> Any:
    if isinstance(value, (RemoteTensor, Spec, np.ndarray)):
        tensors.append(value)
        return _HOLE
    if type(value) in (list, tuple):
        return type(value)([_take(item, tensors) for item in value])
    if type(value) is dict:
        return {name: _take(item, tensors) for name, item in value.items()}
    return value


def _put_back(value: Any, rest: Iterator[Any]) -> Any:
    if value is _HOLE:
        return next(rest)
    if type(value) in (list, tuple):
        return type(value)([_put_back(item, rest) for item in value])
    if type(value) is dict:
        return {name: _put_back(item, rest) for name, item in value.items()}
    return value


def _key(value: Any) -> Any:
    """What is equal only for the same value of the same type: not for 1, 1.0 and True, nor for 0.0 and -0.0."""
    kind = type(value)
    if kind in (list, tuple):
        return kind, tuple([_key(item) for item in value])
    if kind is dict:
        return kind, tuple([(_key(name), _key(item)) for name, item in value.items()])
    if kind in (float, complex):
        return kind, repr(value)
    if isinstance(value, np.generic):
        return kind, value.tobytes()
    return kind, value


def flatten(result: Any) -> Tuple[Any, List[Any]]:
    """A result as (form, what stands in it as "*"); see ``Recorded.form``."""
    if result is None:
        return None, []
    if isinstance(result, dict):
        for name in result:
            if type(name) is not str:
                raise TypeError(f"a plan returns maps by name, not by {name!r:.40}")
        parts = {name: flatten(item) for name, item in result.items()}
        return {name: form for name, (form, _) in parts.items()}, [t for _, ts in parts.values() for t in ts]
    if isinstance(result, (list, tuple)):
        pairs = [flatten(item) for item in result]
        kind = "()" if isinstance(result, tuple) else "[]"
        return [kind, *(form for form, _ in pairs)], [t for _, ts in pairs for t in ts]
    return "*", [result]


def build(form: Any, tensors: Sequence[RemoteTensor]) -> Any:
    """A result of that form."""
    return _build(form, iter(tensors))


def _build(form: Any, rest: Iterator[RemoteTensor]) -> Any:
    if form is None:
        return None
    if isinstance(form, dict):
        return {name: _build(part, rest) for name, part in form.items()}
    if isinstance(form, list):
        items = [_build(part, rest) for part in form[1:]]
        return tuple(items) if form[0] == "()" else items
    return next(rest)
