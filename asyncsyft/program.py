"""Steps and programs as data, to and from the plain lists that travel.

A step is ``[op, outs, inputs]`` or ``[op, outs, inputs, params]``: ``outs`` an object id or a list of them, ``inputs``
a list of object ids and literals (``[descriptor, value]``), ``params`` a map of plain values. This module knows their
form; it does not know which ops there are.
"""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Tuple, Union

import numpy as np

from .errors import LimitExceeded, Refused
from .tensor import DTYPES, Array, DType
from .wire import MAX_ID

#: A program of the recorder closes at this many steps; a worker accepts ``MAX_STEPS``.
BATCH_STEPS = 1024
MAX_STEPS = 1 << 14

#: Steps that are no ops on arrays: the executor has a function for each.
PUT, GET, DELETE, INFO, TAG, SEARCH, STATS = "put", "get", "delete", "info", "tag", "search", "stats"
# A move: the source offers a tensor under a ticket, the destination fetches it, by a claim of its own at the source.
MOVE, FETCH, CLAIM = "move", "fetch", "claim"

Input = Union[int, List[Any]]


class Step(NamedTuple):
    """One op, the ids that its results get, its inputs (ids, or 0-d arrays for literals) and its parameters."""

    op: str
    outs: Tuple[int, ...]
    inputs: Tuple[Union[int, Array], ...]
    params: Dict[str, Any]


def literal(value: Union[bool, int, float, complex], dtype: DType) -> List[Any]:
    """A Python scalar as an input of a step, with the dtype that it takes there."""
    if dtype.kind == "c":
        value = complex(value)
        return [dtype.str, [value.real, value.imag]]
    if dtype.kind == "f":
        return [dtype.str, float(value)]  # type: ignore[arg-type]
    return [dtype.str, bool(value) if dtype.kind == "b" else int(value)]  # type: ignore[arg-type]


def literal_array(item: Any) -> Array:
    """The 0-d array that a literal from the network stands for. Raises: Refused."""
    try:
        descr, value = item
        dtype = DTYPES[descr]
        if dtype.kind == "c":
            real, imag = value
            value = complex(real, imag)
        elif type(value) not in (bool, int, float):
            raise TypeError("not a number")
        return np.array(value, dtype)
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise Refused(f"not a literal: {item!r:.60} ({error!r:.80})") from None


def check(step: Any) -> Step:
    """A step from the network, checked. Raises: Refused, saying what is wrong with it."""
    if type(step) is not list or not 3 <= len(step) <= 4:
        raise Refused("a step is a list of op, outs, inputs and perhaps params")
    op, outs, inputs = step[:3]
    params = step[3] if len(step) == 4 else {}
    if type(op) is not str or type(inputs) is not list or type(params) is not dict:
        raise Refused("a step is a text (op), outs, a list (inputs) and perhaps a map (params)")
    if type(outs) is not list:
        outs = [outs]
    checked = tuple(_id(i) if type(i) is int else literal_array(i) for i in inputs)
    return Step(op, tuple(_id(out) for out in outs), checked, params)


def check_length(steps: List[Any]) -> None:
    """Raises: LimitExceeded for a program of more than ``MAX_STEPS``."""
    if len(steps) > MAX_STEPS:
        raise LimitExceeded(f"a program of {len(steps)} steps is past the limit of {MAX_STEPS}")


def _id(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MAX_ID:
        raise Refused(f"not an object id: {value!r:.40}")
    return value
