"""Stored plans at a worker: checked once, compiled for the shapes and dtypes that come, run without looking back.

A plan is a program over registers. Compiling infers every step, so that a call knows its cost and its widest point
before it begins, and lets a result take the place of one that nobody reads again.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

import numpy as np

from .. import ops
from ..errors import LimitExceeded, OpFailed, Refused, UnknownOp
from ..ops import Spec
from ..program import PlanData, Step
from ..tensor import Array

#: Signatures (shapes and dtypes of the inputs) that one plan is kept compiled for.
MAX_CODES = 64
#: Steps above which a plan is compiled in a thread: about 2 ms.
LONG = 500

# Kinds of instructions.
_TWO, _ONE, _MANY, _FREE = range(4)
Instruction = Tuple[int, Any, Any, int, int]


class Code(NamedTuple):
    """A plan compiled for one signature: instructions, where each came from, and what a call costs.

    ``cost`` is in elements touched, None if only the data can tell; ``peak`` the most bytes held at once by results.
    """

    instructions: List[Instruction]
    steps: List[int]
    registers: int
    outputs: List[int]
    updates: Dict[str, int]
    cost: Optional[int]
    peak: int


class State:
    """What plans of one model keep between calls: arrays by name, rebound and never written into."""

    __slots__ = ("name", "arrays", "version")

    def __init__(self, name: str, arrays: Dict[str, Array]) -> None:
        self.name, self.arrays = name, arrays
        self.version = 1

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return sum(array.nbytes for array in self.arrays.values())

    def describe(self) -> Dict[str, Any]:
        """As a list of what a worker holds shows it."""
        arrays = {name: [array.dtype.name, list(array.shape)] for name, array in self.arrays.items()}
        return {"kind": "state", "name": self.name, "version": self.version, "nbytes": self.nbytes, "arrays": arrays}

    def update(self, arrays: Dict[str, Array]) -> None:
        """Bind names anew. Raises: Refused for a name that it does not have."""
        unknown = sorted(set(arrays) - set(self.arrays))
        if unknown:
            raise Refused(f"the state {self.name!r} has no {unknown[0]!r}")
        self.arrays = {**self.arrays, **arrays}
        self.version += 1


class StoredPlan:
    """A plan as a worker holds it."""

    __slots__ = ("data", "constants", "calls", "_codes")

    def __init__(self, data: PlanData, constants: List[Array], max_steps: int) -> None:
        """Raises: LimitExceeded if it is too long for this worker, UnknownOp, Refused."""
        if len(data.steps) > max_steps:
            raise LimitExceeded(f"a plan of {len(data.steps)} steps is past this worker's limit of {max_steps}")
        for step in data.steps:
            if step.op not in ops.OPS:
                raise UnknownOp(f"no such op: {step.op[:60]!r}")
        if len(constants) != data.constants:
            raise Refused(f"the plan has {data.constants} constants, {len(constants)} came")
        self.data = data
        self.constants = constants + [item for step in data.steps for item in step.inputs if not isinstance(item, int)]
        self.calls = 0
        self._codes: Dict[Tuple[Spec, ...], Code] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of its constants."""
        return sum(array.nbytes for array in self.constants)

    def describe(self) -> Dict[str, Any]:
        """As a list of what a worker holds shows it."""
        data = self.data
        counts = {"steps": len(data.steps), "inputs": data.inputs, "calls": self.calls, "nbytes": self.nbytes}
        return {"kind": "plan", "name": data.name, "version": data.version, "state": data.state, **counts}

    def is_long_to_compile(self, given: Sequence[Array]) -> bool:
        """Whether compiling for what is given would hold up the loop."""
        return len(self.data.steps) > LONG and tuple(map(ops.spec_of, given)) not in self._codes

    def given(self, inputs: Sequence[Array], state: Optional[State]) -> List[Array]:
        """The first registers of a call: inputs, state, constants. Raises: Refused for a wrong number."""
        if len(inputs) != self.data.inputs:
            raise Refused(f"plan {self.data.name!r} takes {self.data.inputs} inputs, not {len(inputs)}")
        held = state.arrays if state is not None else {}
        missing = [name for name in self.data.state if name not in held]
        if missing:
            raise Refused(f"plan {self.data.name!r} needs the state {missing[0]!r}")
        return [*inputs, *(held[name] for name in self.data.state), *self.constants]

    def code(self, given: Sequence[Array]) -> Code:
        """The plan compiled for what is given. Raises: OpFailed naming the step whose inputs do not fit."""
        signature = tuple(map(ops.spec_of, given))
        code = self._codes.get(signature)
        if code is None:
            if len(self._codes) >= MAX_CODES:
                self._codes.clear()
            code = self._codes[signature] = _Compiler(self.data, signature).compile()
        return code

    def run(self, code: Code, given: List[Array]) -> List[Array]:
        """The registers after a call. Raises: OpFailed naming the step that raised."""
        registers: List[Any] = given + [None] * (code.registers - len(given))
        at = 0
        try:
            for at, (kind, function, out, one, two) in enumerate(code.instructions):  # noqa: B007 - read on failure
                if kind == _TWO:
                    registers[out] = function(registers[one], registers[two])
                elif kind == _FREE:
                    registers[out] = None
                elif kind == _ONE:
                    registers[out] = function(registers[one])
                else:
                    function(registers)
        except Exception as error:  # noqa: BLE001 - whatever an op raises is a failure of this call
            raise failed(self.data, code.steps[at], error) from None
        self.calls += 1
        return registers


class _Compiler:
    """One compilation: inference of each step, then places for the results."""

    def __init__(self, data: PlanData, signature: Tuple[Spec, ...]) -> None:
        self.data = data
        given = data.inputs + len(data.state) + data.constants
        self.specs: Dict[int, Spec] = dict(enumerate(signature[:given]))
        self.place: Dict[int, int] = {register: register for register in range(given)}
        self.literals = list(range(given, len(signature)))  # places of the literals, in the order of the steps
        self.literal_specs = list(signature[given:])
        self.registers = len(signature)
        self.free: List[int] = []
        self.last: Dict[int, int] = {}
        self.instructions: List[Instruction] = []
        self.steps: List[int] = []
        self.cost: Optional[int] = 0
        self.held = self.peak = 0

    def compile(self) -> Code:
        data = self.data
        for index, step in enumerate(data.steps):
            for register in (*step.inputs, *step.outs):
                if isinstance(register, int):
                    self.last[register] = index
        for register in (*data.outputs, *data.updates.values()):
            self.last[register] = len(data.steps)
        for index, step in enumerate(data.steps):
            self._step(index, step)
        return Code(
            self.instructions,
            self.steps,
            self.registers,
            [self.place[register] for register in data.outputs],
            {name: self.place[register] for name, register in data.updates.items()},
            self.cost,
            self.peak,
        )

    def _step(self, index: int, step: Step) -> None:
        op = ops.OPS[step.op]
        places, specs = [], []
        for item in step.inputs:
            if isinstance(item, int):
                places.append(self.place[item])
                specs.append(self.specs[item])
            else:
                places.append(self.literals.pop(0))
                specs.append(self.literal_specs.pop(0))
        try:
            results = ops.infer(step.op, tuple(specs), step.params)
        except (TypeError, ValueError, IndexError, OverflowError) as error:
            raise failed(self.data, index, error) from None
        if len(results) != len(step.outs):
            raise failed(self.data, index, TypeError(f"{len(results)} results, the plan names {len(step.outs)}"))
        self._count(op, specs, results, step.params)
        dying = {item for item in step.inputs if isinstance(item, int) and self.last[item] == index}
        self._release(dying)
        outs = [self._place(out, spec) for out, spec in zip(step.outs, results)]
        self._emit(index, op, places, outs, step.params, results)
        for place in sorted({self.place[item] for item in dying} - set(outs)):
            self._instruction(index, (_FREE, None, place, 0, 0))
        self._release({out for out in step.outs if self.last[out] == index})

    def _count(self, op: ops.Op, specs: List[Spec], results: Sequence[Spec], params: Any) -> None:
        sizes = [spec.nbytes for spec in (*specs, *results)]
        if self.cost is not None:
            known = None not in sizes
            self.cost = self.cost + max(op.cost(specs, params), sum(filter(None, sizes)) >> 4) if known else None

    def _release(self, registers: Set[int]) -> None:
        for register in registers:
            self.free.append(self.place[register])
            if register >= self.data.inputs + len(self.data.state) + self.data.constants:
                self.held -= self.specs[register].nbytes or 0

    def _place(self, register: int, spec: Spec) -> int:
        place = self.free.pop() if self.free else self.registers
        self.registers = max(self.registers, place + 1)
        self.place[register], self.specs[register] = place, spec
        self.held += spec.nbytes or 0
        self.peak = max(self.peak, self.held)
        return place

    def _emit(
        self, index: int, op: ops.Op, places: List[int], outs: List[int], params: Dict[str, Any], specs: Sequence[Spec]
    ) -> None:
        # A function of numpy gives a scalar where the standard has a 0-d array: those go the longer way.
        short = not params and len(outs) == 1 and specs[0].shape != ()
        if short and len(places) == 2:
            self._instruction(index, (_TWO, op.run, outs[0], places[0], places[1]))
        elif short and len(places) == 1:
            self._instruction(index, (_ONE, op.run, outs[0], places[0], 0))
        else:
            self._instruction(index, (_MANY, _many(op.run, places, outs, params), outs[0] if outs else 0, 0, 0))

    def _instruction(self, index: int, instruction: Instruction) -> None:
        self.instructions.append(instruction)
        self.steps.append(index)


def _many(run: Callable[..., Any], places: List[int], outs: List[int], params: Dict[str, Any]) -> Callable[..., None]:
    def apply(registers: List[Any]) -> None:
        results = run(*[registers[place] for place in places], **params)
        if not isinstance(results, (tuple, list)):
            results = (results,)
        if len(results) != len(outs):
            raise TypeError(f"{len(results)} results, the plan names {len(outs)}")
        for out, result in zip(outs, results):
            registers[out] = np.asarray(result)

    return apply


def failed(data: PlanData, index: int, error: Exception) -> OpFailed:
    """The failure of one step of a plan, for the driver that wrote it."""
    step = data.steps[index]
    return OpFailed(f"step {index} of plan {data.name!r} ({step.op}): {error}", kind=type(error).__name__)
