"""Steps and programs as data, to and from the plain lists that travel.

A step is ``[op, outs, inputs]`` or ``[op, outs, inputs, params]``: ``outs`` an object id or a list of them, ``inputs``
a list of object ids and literals (``[descriptor, value]``), ``params`` a map of plain values. This module knows their
form; it does not know which ops there are.
"""

from __future__ import annotations

import itertools
import reprlib
from typing import Any, Dict, List, NamedTuple, Tuple, Union

import msgpack
import numpy as np

from .errors import LimitExceeded, Refused, in_short
from .tensor import DTYPES, Array, DType
from .wire import MAX_ID, MAX_LIST

#: A program of the recorder closes at this many steps; a worker accepts ``MAX_STEPS``.
BATCH_STEPS = 1024
MAX_STEPS = 1 << 11
#: A plan has at most this many inputs, constants, outputs and names of its state, of each: a call names them in a list.
MAX_GIVEN = 1 << 11
#: A worker accepts plans of this many steps unless told otherwise; packed, they take so many bytes a step on average.
MAX_PLAN_STEPS = 1 << 14
STEP_BYTES, HEAD_BYTES = 128, 1 << 16
#: Characters of the name of a plan, of a state, and of each array in it.
MAX_NAME = 256

#: Steps that are no ops on arrays: the executor has a function for each.
PUT, GET, DELETE, INFO, TAG, SEARCH, STATS = "put", "get", "delete", "info", "tag", "search", "stats"
# A move: the source offers a tensor under a ticket, the destination fetches it, by a claim of its own at the source.
MOVE, FETCH, CLAIM = "move", "fetch", "claim"
#: What the worker keeps of an earlier life of the driver, or of its own.
RECALL = "recall"
#: Who else may have a tensor, and who not any more.
ALLOW, DISALLOW = "allow", "disallow"
#: Plans: storing one, the state that it keeps, a call; what a state holds read out, and bound anew; a list of all.
PLAN, STATE, CALL, READ, BIND, PLANS = "plan", "state", "call", "read", "bind", "plans"
#: MPC sessions: opened, run, revealed and closed by a driver; who cannot dial; seeds and correlations of the dealer;
#: what parties open, and tell of results to the one who may know them.
SESSION_STEPS = tuple(
    f"mpc.{verb}" for verb in ("open", "run", "input", "reveal", "close", "apart", "seeds", "deal", "opened", "told")
)

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

    def pack(self) -> bytes:
        """As it travels: a msgpack map of all but the steps, of which it has the number, and then the steps."""
        head = {**self._asdict(), "steps": len(self.steps)}
        return b"".join([msgpack.packb(head), *(msgpack.packb(plain(step)) for step in self.steps)])


def unpack_plan(packed: Union[bytes, memoryview], max_steps: int) -> PlanData:
    """A plan from the network, checked: registers are written once, in turn, before they are read.

    Raises: Refused, LimitExceeded if it is longer than that, or larger than ``STEP_BYTES`` a step.
    """
    most = HEAD_BYTES + max_steps * STEP_BYTES
    if len(packed) > most:
        raise LimitExceeded(f"a plan of {len(packed)} bytes is past this worker's limit of {most}")
    unpacker = msgpack.Unpacker(strict_map_key=True, max_array_len=MAX_LIST, max_buffer_size=len(packed) or 1)
    unpacker.feed(packed)
    try:
        head: Any = next(unpacker, None)
        data = _head(head)
        if head["steps"] > max_steps:
            raise LimitExceeded(f"a plan of {head['steps']} steps is past this worker's limit of {max_steps}")
        written = data.inputs + len(data.state) + data.constants
        for _ in range(head["steps"]):
            data.steps.append(_plan_step(next(unpacker, None), written))
            written += len(data.steps[-1].outs)
        if unpacker.tell() != len(packed):
            raise ValueError("there is more after the last step")
    # msgpack lets these out of hostile bytes.
    except (ValueError, RecursionError, MemoryError, TypeError, OverflowError) as error:
        raise Refused(f"a plan is a sequence of msgpack: {in_short(error)}") from None
    for register in (*data.outputs, *data.updates.values()):
        if type(register) is not int or not 0 <= register < written:
            raise Refused(f"register {reprlib.repr(register)} is never written")
    return data


def _head(plain: Any) -> PlanData:
    if type(plain) is not dict:
        raise Refused("a plan begins with a map")
    name, version = plain.get("name"), plain.get("version")
    outputs, updates = plain.get("outputs"), plain.get("updates")
    inputs, constants = _count(plain.get("inputs"), "inputs"), _count(plain.get("constants"), "constants")
    if type(name) is not str or len(name) > MAX_NAME or type(version) is not int or not 0 <= version <= MAX_ID:
        raise Refused(f"a plan has a name of at most {MAX_NAME} characters, and a whole number as its version")
    if type(plain.get("steps")) is not int or plain["steps"] < 0:
        raise Refused("a plan says how many steps it has")
    state = check_names(plain.get("state"))
    if type(outputs) is not list or type(updates) is not dict or not set(updates) <= set(state):
        raise Refused("a plan has outputs, and updates of its state")
    _count(len(outputs), "outputs")
    return PlanData(name, version, inputs, state, constants, [], outputs, updates)


def check_names(names: Any) -> List[str]:
    """The names of a state. Raises: Refused if they are something else."""
    if type(names) is not list or any(type(name) is not str or len(name) > MAX_NAME for name in names):
        raise Refused(f"a state has names, texts of at most {MAX_NAME} characters")
    if len(set(names)) != len(names):
        raise Refused("a state has each name once")
    _count(len(names), "names")
    return names


def _plan_step(raw: Any, written: int) -> Step:
    step = check(raw)
    for item in step.inputs:
        if isinstance(item, int) and item >= written:
            raise Refused(f"register {item} is read before it is written")
    for out, expected in zip(step.outs, itertools.count(written)):
        if out != expected:
            raise Refused(f"register {out} is written {'twice' if out < written else f'before {expected}'}")
    return step


def _count(value: Any, what: str) -> int:
    if type(value) is not int or not 0 <= value <= MAX_GIVEN:
        raise Refused(f"{what}: not a number from 0 to {MAX_GIVEN}: {reprlib.repr(value)}")
    return value


def plain(step: Step) -> List[Any]:
    """A step as it travels."""
    return [
        step.op,
        list(step.outs),
        [_plain_input(item) for item in step.inputs],
        *([step.params] * bool(step.params)),
    ]


def _plain_input(item: Union[int, Array]) -> Input:
    return item if isinstance(item, int) else literal(item.item(), item.dtype)
