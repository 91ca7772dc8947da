"""Compiles a plan for one signature: every step inferred, every result given a place, every place emptied in time.

So a call knows its cost and its widest point before it begins. It runs nothing, and knows no constants but their specs.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from .. import ops
from ..errors import LimitExceeded
from ..ops import Op, Spec
from ..program import PlanData, Step
from ..tensor import Array

#: What the last number of an instruction says if it is no register: one input, a place to empty, anything else.
ONE, FREE, MANY = -1, -2, -3
#: (function, place of the result, place of the first input, place of the second input or one of the above)
Instruction = Tuple[Any, int, int, int]
#: What a step costs at least, in elements touched: about 0.5 us.
STEP_COST = 32
#: A result that views less than this part of a larger array is copied, or it would keep all of it alive.
VIEW_PART = 2

Failed = Callable[[int, Exception], Exception]


class Code(NamedTuple):
    """A plan compiled for one signature: instructions, the step of each, and what a call costs.

    ``registers`` counts one more than there are places: the last says how much room there is.
    ``cost`` is in elements touched, None if only the data can tell; ``peak`` the most bytes that results, made and
    being made, hold at once, without those of unknown size.
    """

    instructions: List[Instruction]
    steps: List[int]
    registers: int
    outputs: List[int]
    updates: Dict[str, int]
    cost: Optional[int]
    peak: int


def compile_plan(data: PlanData, given: List[Spec], failed: Failed) -> Code:
    """Compile for inputs, state, constants and literals of these specs.

    Raises: what ``failed`` makes of a step whose inputs do not fit, and of why.
    """
    return _Compiler(data, given, failed).compile()


def own(result: Any) -> Array:
    """A result as an array of its own: no scalar, no small view that keeps a large array alive."""
    array: Array = np.asarray(result)
    base = array.base
    if isinstance(base, np.ndarray) and array.nbytes * VIEW_PART < base.nbytes:
        return array.copy()
    return array


class _Compiler:
    def __init__(self, data: PlanData, given: List[Spec], failed: Failed) -> None:
        self.data, self.failed = data, failed
        self.named = data.inputs + len(data.state) + data.constants
        self.specs: Dict[int, Spec] = dict(enumerate(given[: self.named]))
        self.place: Dict[int, int] = {register: register for register in range(self.named)}
        self.literals = zip(range(self.named, len(given)), given[self.named :])  # in the order of the steps
        self.given = self.places = len(given)  # these keep their places: somebody else holds them anyway
        self.free: List[int] = []
        self.last: Dict[int, int] = {}  # the step after which a register is not read any more
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
        outputs = [self.place[register] for register in data.outputs]
        updates = {name: self.place[register] for name, register in data.updates.items()}
        return Code(self.instructions, self.steps, self.places + 1, outputs, updates, self.cost, self.peak)

    def _step(self, index: int, step: Step) -> None:
        op = ops.OPS[step.op]
        places, specs = [], []
        for item in step.inputs:
            place, spec = (self.place[item], self.specs[item]) if isinstance(item, int) else next(self.literals)
            places.append(place)
            specs.append(spec)
        try:
            results = ops.infer(step.op, tuple(specs), step.params)
            if len(results) != len(step.outs):
                raise TypeError(f"{len(results)} results, the plan names {len(step.outs)}")
        except (TypeError, ValueError, IndexError, OverflowError) as error:
            raise self.failed(index, error) from None
        self._count(op, specs, results, step.params)
        made = [item for item in step.inputs if isinstance(item, int) and item >= self.named]
        dying = {item for item in made if self.last[item] == index}
        # A result may take the place of what dies here: while it is being made both are there.
        self.free.extend(self.place[item] for item in dying)
        outs = [self._place(out, spec) for out, spec in zip(step.outs, results)]
        self._emit(index, op, places, outs, step.params, specs, results)
        unread = {out for out in step.outs if self.last[out] == index}
        empty = {self.place[item] for item in dying} - set(outs) | {self.place[out] for out in unread}
        self.free.extend(self.place[out] for out in unread)
        for place in sorted(empty):
            self._instruction(index, (None, place, 0, FREE))
        self.held -= sum([self.specs[register].nbytes or 0 for register in dying | unread])

    def _count(self, op: Op, specs: List[Spec], results: Sequence[Spec], params: Any) -> None:
        sizes = [spec.nbytes for spec in (*specs, *results)]
        if None in sizes:
            self.cost = None
        elif self.cost is not None:
            self.cost += max(STEP_COST, op.cost(specs, params), sum(filter(None, sizes)) >> 4)

    def _place(self, register: int, spec: Spec) -> int:
        place = self.free.pop() if self.free else self.places
        self.places = max(self.places, place + 1)
        self.place[register], self.specs[register] = place, spec
        self.held += spec.nbytes or 0
        self.peak = max(self.peak, self.held)
        return place

    def _emit(
        self,
        index: int,
        op: Op,
        places: List[int],
        outs: List[int],
        params: Dict[str, Any],
        specs: List[Spec],
        results: Sequence[Spec],
    ) -> None:
        # A function of numpy gives a scalar where the standard has a 0-d array: those go the longer way.
        if op.direct and len(places) <= 2 and not params and results[0].shape != () and results[0].nbytes is not None:
            function = op.direct.get(specs[0].dtype) if specs[0].dtype == specs[-1].dtype else None
            two = places[1] if len(places) == 2 else ONE
            self._instruction(index, (function or op.run, outs[0], places[0], two))
        elif None in [spec.nbytes for spec in results]:
            self._instruction(index, (_careful(op, places, outs, params, self.given), 0, 0, MANY))
        else:
            self._instruction(index, (_many(op, places, outs, params), 0, 0, MANY))

    def _instruction(self, index: int, instruction: Instruction) -> None:
        self.instructions.append(instruction)
        self.steps.append(index)


def _many(op: Op, places: List[int], outs: List[int], params: Dict[str, Any]) -> Callable[[List[Any]], None]:
    run = op.run

    def apply(registers: List[Any]) -> None:
        results = run(*[registers[place] for place in places], **params)
        if not isinstance(results, (tuple, list)):
            results = (results,)
        for out, result in zip(outs, results):
            registers[out] = own(result)

    return apply


def _careful(
    op: Op, places: List[int], outs: List[int], params: Dict[str, Any], given: int
) -> Callable[[List[Any]], None]:
    """A step whose results have no size before the data is there: it is inferred again, and measured, when it runs."""
    apply = _many(op, places, outs, params)

    def infer_and_apply(registers: List[Any]) -> None:
        specs = ops.infer(op.name, tuple([ops.spec_of(registers[place]) for place in places]), params)
        held = sum([array.nbytes for array in registers[given:-1] if array is not None])
        nbytes = held + sum([spec.nbytes or 0 for spec in specs])
        if nbytes > registers[-1]:
            raise LimitExceeded(f"{nbytes} bytes of results where there is room for {registers[-1]}")
        apply(registers)

    return infer_and_apply
