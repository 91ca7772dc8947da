"""Steps and programs as data, to and from the plain lists that travel.

A step is ``[op, outs, inputs]`` or ``[op, outs, inputs, params]``: ``outs`` an object id or a list of them, ``inputs``
a list of object ids and literals (``[descriptor, value]``), ``params`` a map of plain values. This module knows their
form; it does not know which ops there are.
"""

from __future__ import annotations

import reprlib
from typing import Any, Dict, List, NamedTuple, Set, Tuple, Union

import numpy as np

from .errors import LimitExceeded, Refused
from .tensor import DTYPES, Array, DType
from .wire import MAX_ID

#: A program of the recorder closes at this many steps; a worker accepts ``MAX_STEPS``.
BATCH_STEPS = 1024
MAX_STEPS = 1 << 11

#: Steps that are no ops on arrays: the executor has a function for each.
PUT, GET, DELETE, INFO, TAG, SEARCH, STATS = "put", "get", "delete", "info", "tag", "search", "stats"
# A move: the source offers a tensor under a ticket, the destination fetches it, by a claim of its own at the source.
MOVE, FETCH, CLAIM = "move", "fetch", "claim"
#: Plans: storing one, the state that it keeps, a call; what a state holds read out, and bound anew; a list of all.
PLAN, STATE, CALL, READ, BIND, PLANS = "plan", "state", "call", "read", "bind", "plans"

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
            value = complex(_number(real, "f"), _number(imag, "f"))
        _number(value, dtype.kind)
        if dtype.kind in "fc" and max(abs(value.real), abs(value.imag)) > _LARGE:
            with np.errstate(over="ignore"):
                return np.array(value, dtype)
        array = np.array(value, dtype)
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise Refused(f"not a literal: {reprlib.repr(item)} ({type(error).__name__})") from None
    # numpy before version 2 wraps a number that is out of range.
    if dtype.kind in "iu" and array.item() != value:
        raise Refused(f"not a literal: {value} is out of range for {dtype.name}")
    return array


#: About the largest float32: what is larger becomes infinite there, and numpy would warn.
_LARGE = 3e38
#: Per kind of dtype, the types of a literal's value.
_TYPES = {"b": (bool,), "i": (int,), "u": (int,), "f": (float, int), "c": (complex,)}


def _number(value: Any, kind: str) -> Any:
    if type(value) not in _TYPES[kind]:
        raise TypeError("not a number of that dtype")
    return value


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
        raise Refused(f"not an object id: {reprlib.repr(value)}")
    return value


class PlanData(NamedTuple):
    """A recorded program with parameters: steps over registers, each written once.

    Registers count up: first the inputs, then the state by name, then the constants, then what the steps make.
    """

    name: str
    version: int
    inputs: int
    state: List[str]
    constants: int
    steps: List[Step]
    outputs: List[int]
    updates: Dict[str, int]

    def plain(self) -> Dict[str, Any]:
        """As it travels."""
        steps = [
            [
                step.op,
                list(step.outs),
                [_plain_input(item) for item in step.inputs],
                *([step.params] if step.params else []),
            ]
            for step in self.steps
        ]
        return {**self._asdict(), "steps": steps}


def check_plan(plain: Any) -> PlanData:
    """A plan from the network, checked: every register is written once, before it is read. Raises: Refused."""
    if type(plain) is not dict:
        raise Refused("a plan is a map")
    name, state, steps = plain.get("name"), plain.get("state"), plain.get("steps")
    outputs, updates = plain.get("outputs"), plain.get("updates")
    version, inputs, constants = (_count(plain.get(key), key) for key in ("version", "inputs", "constants"))
    if type(name) is not str or len(name) > 256:
        raise Refused("the name of a plan is a text of at most 256 characters")
    if type(state) is not list or any(type(item) is not str for item in state) or len(set(state)) != len(state):
        raise Refused("the state of a plan is a list of different names")
    if (
        type(steps) is not list
        or type(outputs) is not list
        or type(updates) is not dict
        or not set(updates) <= set(state)
    ):
        raise Refused("a plan has steps, outputs, and updates of its state")
    written = set(range(inputs + len(state) + constants))
    checked = [_check_plan_step(step, written) for step in steps]
    for register in (*outputs, *updates.values()):
        if type(register) is not int or register not in written:
            raise Refused(f"register {register!r:.40} is never written")
    return PlanData(name, version, inputs, state, constants, checked, outputs, updates)


def _check_plan_step(raw: Any, written: Set[int]) -> Step:
    step = check(raw)
    for item in step.inputs:
        if isinstance(item, int) and item not in written:
            raise Refused(f"register {item} is read before it is written")
    for out in step.outs:
        if out in written:
            raise Refused(f"register {out} is written twice")
        written.add(out)
    return step


def _count(value: Any, what: str) -> int:
    if type(value) is not int or not 0 <= value <= MAX_STEPS:
        raise Refused(f"{what}: not a number from 0 to {MAX_STEPS}: {value!r:.40}")
    return value


def _plain_input(item: Union[int, Array]) -> Input:
    return item if isinstance(item, int) else literal(item.item(), item.dtype)
