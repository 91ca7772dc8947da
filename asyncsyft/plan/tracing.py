"""What stands for tensors and their worker while a function is recorded: its steps become those of a plan.

There are no values here, only dtypes and shapes; what would need a value is refused. It knows no worker.
"""

from __future__ import annotations

import itertools
import sys
from collections import deque
from typing import Any, Callable, Deque, Dict, List, NoReturn, Optional, Sequence, Tuple, cast

from .. import ops, program
from ..errors import LocalProtocolError
from ..ops import Spec
from ..program import PlanData, Step
from ..remote import Recorder, RemoteTensor
from ..remote.failures import Origin
from ..tensor import Array
from .data import Recorded
from .state import Bound, State


class Tracer:
    """Takes the place of a recorder. Registers are counted from 1 on, since 0 is no id: inputs, state, what comes."""

    relay = b""
    lost = None

    def __init__(self, name: str, inputs: Sequence[Spec], state: Optional[State]) -> None:
        self.plan, self.worker = name, f"plan {name}"
        self.state, self.done = state, False
        self.steps: List[List[Any]] = []
        self.origins: List[Origin] = []
        self.constants: Dict[Any, Tuple[int, Array]] = {}
        self.forgotten: Deque[int] = deque(maxlen=0)
        self._ids = itertools.count(1)
        self.inputs = [self.handle(self.new_id(), spec) for spec in inputs]
        self.specs = state.specs if state is not None else {}
        self.held = {name: self.handle(self.new_id(), spec) for name, spec in self.specs.items()}
        self._before = {name: handle.id for name, handle in self.held.items()}
        self.bound = Bound(self.specs, self.held)

    def handle(self, number: int, spec: Spec) -> RemoteTensor:
        """A tensor of the plan."""
        return Traced(cast(Recorder, self), number, spec)

    def constant(self, array: Array) -> RemoteTensor:
        """A tensor of the plan that is always the same."""
        return self.handle(self.put(array), ops.spec_of(array))

    # What a recorder does.

    def new_id(self) -> int:
        return next(self._ids)

    def record(self, step: Sequence[Any], depth: int = 2, slot: Any = None, plan: Any = None) -> int:
        op, outs, inputs, *params = step
        if op not in ops.OPS:
            refuse(self, repr(op))
        if self.done:
            raise LocalProtocolError(f"{self.worker} is recorded: this tensor was a part of its recording only")
        self.steps.append([op, outs, list(inputs), *params])
        frame = sys._getframe(depth)
        self.origins.append((frame.f_code, frame.f_lasti))
        return len(self.steps) - 1

    def put(self, array: Array, depth: int = 2) -> int:
        key = (array.dtype, array.shape, array.tobytes())
        found = self.constants.get(key)
        if found is None:
            found = self.constants[key] = (self.new_id(), array.copy())
        return found[0]

    def ask(self, step: Sequence[Any], depth: int = 2, slot: Any = None) -> NoReturn:
        refuse(self, repr(step[0]))

    # What becomes of it.

    def replay(self, recorded: Recorded, inputs: Sequence[RemoteTensor], depth: int) -> List[RemoteTensor]:
        """Record the steps of another plan as steps of this one; its outputs."""
        ids = [handle.live_id() for handle in inputs] + [self.put(array) for array in recorded.constants]
        for step in recorded.data.steps:
            _, _, inputs_of, *params = program.plain(step)
            outs = [self.new_id() for _ in step.outs]
            self.record([step.op, outs, [ids[i] if type(i) is int else i for i in inputs_of], *params], depth + 1)
            ids += outs
        specs = recorded.outputs_for([handle.spec for handle in inputs], self.specs)
        return [self.handle(ids[register], spec) for register, spec in zip(recorded.data.outputs, specs)]

    def arrange(self, outputs: Sequence[RemoteTensor], form: Any, version: int) -> Recorded:
        """Drop what nothing needs, and count the registers anew: inputs, state, constants, results."""
        self.done = True
        updates = {name: handle.id for name, handle in self.held.items() if handle.id != self._before[name]}
        needed = {handle.id for handle in outputs} | set(updates.values())
        kept: List[Tuple[Step, Origin]] = []
        for raw, origin in zip(reversed(self.steps), reversed(self.origins)):
            step = program.check(raw)
            if not needed.isdisjoint(step.outs):
                kept.append((step, origin))
                needed.update([item for item in step.inputs if isinstance(item, int)])
        kept.reverse()
        state = [name for name, number in self._before.items() if number in needed or name in updates]
        constants = [(number, array) for number, array in self.constants.values() if number in needed]
        order = [*range(1, len(self.inputs) + 1), *(self._before[name] for name in state)]
        order += [number for number, _ in constants]
        order += [out for step, _ in kept for out in step.outs]
        new = {number: register for register, number in enumerate(order)}
        data = PlanData(
            self.plan,
            version,
            len(self.inputs),
            state,
            len(constants),
            [_renamed(step, new) for step, _ in kept],
            [new[handle.id] for handle in outputs],
            {name: new[number] for name, number in updates.items()},
        )
        arrays, inputs = [array for _, array in constants], [handle.spec for handle in self.inputs]
        made = Recorded(data, arrays, inputs, [h.spec for h in outputs], form, [origin for _, origin in kept])
        made.state_name = self.state.name if self.state is not None else ""
        return made


def _renamed(step: Step, new: Dict[int, int]) -> Step:
    inputs = tuple([new[item] if isinstance(item, int) else item for item in step.inputs])
    return Step(step.op, tuple([new[out] for out in step.outs]), inputs, step.params)


def refuse(tracer: Any, what: str) -> NoReturn:
    """Raises: LocalProtocolError."""
    raise LocalProtocolError(
        f"{what} has no place in {tracer.worker}: while it is recorded there are no values, only shapes and dtypes"
    )


def _no_place(what: str) -> Callable[..., NoReturn]:
    def method(self: Traced, *args: Any, **kwargs: Any) -> NoReturn:
        refuse(self.recorder, what)

    return method


def _no_value(what: str) -> Callable[..., NoReturn]:
    def method(self: Traced, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(
            f"{what} needs the value of a tensor, and while {self.worker} is recorded there is none:"
            " use xp.where, or take a Python value as an argument, for each of which the plan is recorded"
        )

    return method


class Traced(RemoteTensor):
    """A tensor of a plan that is being recorded: all operations, no values."""

    __slots__ = ()

    get = _no_place("await x.get()")
    info = _no_place("await x.info()")
    delete = _no_place("x.delete()")
    move = _no_place("x.move()")
    tag = _no_place("x.tag()")
    __bool__ = _no_value("a truth value")
    __int__ = _no_value("int()")
    __float__ = _no_value("float()")
    __complex__ = _no_value("complex()")
    __index__ = _no_value("an index")
    __contains__ = _no_value("'in'")
    __array__ = _no_value("a numpy array")
    item = _no_value("item()")
    tolist = _no_value("tolist()")

    def __len__(self) -> int:
        if self.spec.shape and self.spec.shape[0] is None:
            raise TypeError(f"the length is unknown: {self.worker} is recorded for any, and x.shape[0] is None")
        return super().__len__()


def tracer_of(values: Sequence[Any]) -> Optional[Tracer]:
    """The tracer of the plan that is being recorded, if one of these is a tensor of it."""
    for value in values:
        if type(value) is Traced:
            return cast(Tracer, value.recorder)
    return None
