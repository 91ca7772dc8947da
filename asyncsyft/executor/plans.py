"""Stored plans and states at a worker: a plan is checked once, compiled for the shapes and dtypes that come, and run.

It knows no jobs and no store: what a call may cost is told by its ``Code``, before it begins.
"""

from __future__ import annotations

from operator import length_hint
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from .. import ops
from ..errors import AsyncSyftError, LimitExceeded, OpFailed, Refused, UnknownOp
from ..keeping import Key, Record
from ..ops import Spec
from ..privacy import Held, Private
from ..program import PlanData
from ..tensor import Array
from .compiling import FREE, ONE, Code, Instruction, compile_plan

#: Signatures (shapes and dtypes of the inputs) that one plan is kept compiled for, and instructions of them together.
MAX_CODES, MAX_INSTRUCTIONS = 64, 1 << 16
#: What a step of a plan, and its instructions, take up at a worker.
STEP_MEMORY = 512


class State:
    """What plans of one model keep between calls: arrays by name, rebound and never written into."""

    __slots__ = ("name", "arrays", "version", "marks", "key", "is_private")

    def __init__(self, name: str, arrays: Dict[str, Held]) -> None:
        self.name, self.arrays = name, arrays
        #: Whether any of its arrays is.
        self.is_private = any(isinstance(array, Private) for array in arrays.values())
        self.version = 1
        #: By which drivers know it as their own, and under what it is kept beyond their lives, if it is.
        self.marks: Tuple[bytes, ...] = ()
        self.key: Optional[Key] = None

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return sum([array.nbytes for array in self.arrays.values()])

    def describe(self) -> Dict[str, Any]:
        """As a list of what a worker holds shows it."""
        arrays = {name: [array.dtype.name, list(array.shape)] for name, array in self.arrays.items()}
        return {"kind": "state", "name": self.name, "version": self.version, "nbytes": self.nbytes, "arrays": arrays}

    def is_like(self, other: State) -> bool:
        """Whether another has the same names, dtypes and shapes."""
        forms = [{name: (a.dtype, a.shape) for name, a in one.arrays.items()} for one in (self, other)]
        return forms[0] == forms[1]

    def record(self) -> Record:
        """As it is kept."""
        about = {"version": self.version, "marks": list(self.marks)}  # first: it may be updated meanwhile
        return Record.of(about, self.arrays)

    def update(self, arrays: Mapping[str, Held]) -> None:
        """Bind names anew, all or none. Raises: Refused for another name, dtype or shape than it has."""
        for name, array in arrays.items():
            before = self.arrays.get(name)
            if before is None:
                raise Refused(f"the state {self.name!r} has no {name!r:.60}")
            if array.dtype != before.dtype or array.shape != before.shape:
                raise Refused(
                    f"{name!r} of the state {self.name!r} is {before.dtype}{list(before.shape)},"
                    f" not {array.dtype}{list(array.shape)}"
                )
        self.is_private |= any(isinstance(array, Private) for array in arrays.values())
        self.arrays = {**self.arrays, **arrays}
        self.version += 1


class StoredPlan:
    """A plan as a worker holds it."""

    __slots__ = ("data", "constants", "about", "calls", "_literals", "_codes")

    def __init__(self, data: PlanData, constants: List[Array], about: bytes = b"") -> None:
        """Raises: UnknownOp, Refused for a step that no worker could run, or a wrong number of constants."""
        for index, step in enumerate(data.steps):
            op = ops.OPS.get(step.op)
            if op is None:
                raise UnknownOp(f"step {index} of plan {data.name!r}: no such op: {step.op[:60]!r}")
            try:
                ops.check_call(op, len(step.inputs), step.params)
            except TypeError as error:
                raise Refused(f"step {index} of plan {data.name!r}: {error}") from None
        if len(constants) != data.constants:
            raise Refused(f"plan {data.name!r} has {data.constants} constants, {len(constants)} came")
        self.data = data
        self.constants = constants
        #: What its driver wants told again.
        self.about = about
        # Literals are constants too: their registers follow those of the constants.
        self._literals = [item for step in data.steps for item in step.inputs if not isinstance(item, int)]
        self.calls = 0
        self._codes: Dict[Any, Code] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of its constants and its steps."""
        return sum([array.nbytes for array in self.constants]) + len(self.data.steps) * STEP_MEMORY

    def describe(self) -> Dict[str, Any]:
        """As a list of what a worker holds shows it."""
        data = self.data
        counts = {"steps": len(data.steps), "inputs": data.inputs, "calls": self.calls, "nbytes": self.nbytes}
        return {"kind": "plan", "name": data.name, "version": data.version, "state": data.state, **counts}

    def record(self) -> Record:
        """As it is kept: the packed form, and the constants."""
        arrays = [np.frombuffer(self.data.pack(), np.uint8), *self.constants]
        return Record({}, {str(at): array for at, array in enumerate(arrays)})

    def given(self, inputs: List[Any], state: Optional[State]) -> List[Any]:
        """The first registers of a call: the inputs and the state. Raises: Refused for a wrong number."""
        data = self.data
        if len(inputs) != data.inputs:
            raise Refused(f"plan {data.name!r} takes {data.inputs} inputs, not {len(inputs)}")
        if not data.state:
            return inputs
        held = state.arrays if state is not None else {}
        missing = [name for name in data.state if name not in held]
        if missing:
            raise Refused(f"plan {data.name!r} needs a state with {missing[0]!r}")
        return inputs + [held[name] for name in data.state]

    def code(self, given: Sequence[Held]) -> Optional[Code]:
        """The plan compiled for what is given, if it was before."""
        return self._codes.get(tuple([(array.dtype, array.shape) for array in given]))

    def compile(self, given: Sequence[Held]) -> Code:
        """Compile for what is given. Raises: OpFailed naming the step whose inputs do not fit."""
        known = [*given, *self.constants, *self._literals]
        code = compile_plan(self.data, [Spec(array.dtype, array.shape) for array in known], self.failed)
        size = len(code.instructions) + sum([len(one.instructions) for one in list(self._codes.values())])
        if len(self._codes) >= MAX_CODES or size > MAX_INSTRUCTIONS:
            self._codes.clear()
        self._codes[tuple([(array.dtype, array.shape) for array in given])] = code
        return code

    def run(self, code: Code, given: List[Array], room: int, check: Optional[Callable[[], None]] = None) -> List[Any]:
        """The registers after a call; ``room`` bytes are left for results whose sizes only the data can tell.

        ``check`` is called before each step, where it matters. Raises: OpFailed or LimitExceeded naming the step that
        raised.
        """
        registers: List[Any] = [*given, *self.constants, *self._literals]
        registers += [None] * (code.registers - len(registers) - 1)
        registers.append(room)
        instructions = iter(code.instructions)
        try:
            for function, out, one, two in instructions if check is None else _checked(instructions, check):
                if two >= 0:
                    registers[out] = function(registers[one], registers[two])
                elif two == FREE:
                    registers[out] = None
                elif two == ONE:
                    registers[out] = function(registers[one])
                else:
                    function(registers)
        except Exception as error:  # noqa: BLE001 - whatever an op raises is a failure of this call
            at = len(code.instructions) - length_hint(instructions) - 1
            raise self.failed(code.steps[at], error) from None
        self.calls += 1
        return registers

    def failed(self, index: int, error: Exception) -> AsyncSyftError:
        """The failure of one step, for the driver that wrote it: its ``op`` says which, as "call/17/linalg.inv"."""
        name = self.data.steps[index].op
        message, op = f"step {index} of plan {self.data.name!r}: {error}", f"call/{index}/{name}"
        if isinstance(error, LimitExceeded):
            return LimitExceeded(message, op=op)
        return OpFailed(message, op=op, kind=type(error).__name__)


def _checked(instructions: Iterator[Instruction], check: Callable[[], None]) -> Iterator[Instruction]:
    for instruction in instructions:
        check()
        yield instruction
