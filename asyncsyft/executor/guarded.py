"""Steps with private inputs: their results are private too, and nothing that is answered depends on what they hold.

Shapes, dtypes and errors are told as far as they follow from shapes and dtypes. An op that fails because of the values
gives NaN (0 where there is none): a failure would be a bit of them, and a driver can ask for many.
"""

from __future__ import annotations

import logging
from typing import Dict, List, Sequence, Tuple

import numpy as np

from .. import ops, program
from ..errors import AsyncSyftError, Refused
from ..ops import Spec
from ..ops.table import whole
from ..privacy import Held, Private, passed, public
from ..program import Step
from ..store import Store
from ..tensor import Array
from . import kept
from .compiling import Code, own
from .finding import LONG, Heavy, NeedsLoop, count_work, held, held_inputs
from .job import Job
from .plans import State, StoredPlan

logger = logging.getLogger(__name__)


def do(job: Job, store: Store, step: Step, inline: bool) -> None:
    """Do a step of which an input is private. Raises: Refused for what would show it, and as the public way does."""
    if step.op == program.GET:
        raise NeedsLoop  # what its owner allows is asked there
    if step.op == program.CALL:
        _call(job, store, step, inline)
    elif step.op in ops.OPS:
        _apply(job, store, step, inline)
    else:
        raise Refused(f"{step.op} takes no private data: give it to the call instead")


def _apply(job: Job, store: Store, step: Step, inline: bool) -> None:
    op = ops.OPS[step.op]
    values = held_inputs(job, step.inputs)
    specs = _inferred(step, values)
    nbytes = sum([spec.nbytes or 0 for spec in specs])
    store.check_room(nbytes, job.space)
    count_work(job, max(op.cost([public(value) for value in values], step.params), nbytes >> 3), inline)
    for out, result in zip(step.outs, compute(step, values, specs)):
        job.space.keep(out, result)


def _inferred(step: Step, values: Sequence[Held]) -> Sequence[Spec]:
    """What comes out. Raises: what is wrong with the inputs' shapes and dtypes, Refused if only values could tell."""
    specs = ops.infer(step.op, tuple([Spec(value.dtype, value.shape) for value in values]), step.params)
    if any(None in spec.shape for spec in specs):
        raise Refused(f"{step.op}: the shape of its result would show what private data holds")
    if len(specs) != len(step.outs):
        raise Refused(f"{step.op} gives {len(specs)} results where the step names {len(step.outs)}")
    return specs


def compute(step: Step, values: Sequence[Held], specs: Sequence[Spec]) -> List[Held]:
    """The results of an op on values of which one at least is private."""
    guard = passed(step.op, values, step.params, specs)
    return [Private(array, guard) for array in _arrays(step, values, specs)]


def _arrays(step: Step, values: Sequence[Held], specs: Sequence[Spec]) -> List[Array]:
    try:
        results = ops.OPS[step.op].run(*[public(value) for value in values], **step.params)
    except Exception as error:  # noqa: BLE001 - what an op raises depends on what is private
        logger.info("%s failed on private data: %s", step.op, type(error).__name__)
        return [_nothing(spec) for spec in specs]
    return [own(result) for result in (results if isinstance(results, (tuple, list)) else (results,))]


def _nothing(spec: Spec) -> Array:
    return np.full(whole(spec), np.nan if spec.dtype.kind in "fc" else 0, spec.dtype)


# Plans.


def check_outs(plan: StoredPlan, step: Step) -> None:
    """Raises: Refused unless a call names as many results as its plan has."""
    if len(step.outs) != len(plan.data.outputs):
        raise Refused(f"plan {plan.data.name!r} has {len(plan.data.outputs)} results, the call names {len(step.outs)}")


def prepared(job: Job, store: Store, plan: StoredPlan, given: Sequence[Held], inline: bool) -> Tuple[Code, int]:
    """The plan compiled for what is given, and the bytes that there is room for. Raises: Heavy, LimitExceeded."""
    code = plan.code(given)
    if code is None:
        if inline and len(plan.data.steps) > LONG:
            raise Heavy
        code = plan.compile(given)
    count_work(job, code.cost, inline)
    room = store.room(job.space)
    if code.peak > room:
        store.check_room(code.peak, job.space)
    return code, room


def _call(job: Job, store: Store, step: Step, inline: bool) -> None:
    number, *rest = step.inputs
    plan = held(job, number, StoredPlan)
    state = held(job, rest.pop(0), State) if step.params.get("state") and rest else None
    given = plan.given(held_inputs(job, rest), state)
    check_outs(plan, step)
    prepared(job, store, plan, given, inline)  # refused here is what cannot work, before anything is done
    registers = _Run(job, store, plan, given).run()
    job.plan_steps += len(plan.data.steps)
    plan.calls += 1
    if plan.data.updates and state is not None:
        state.update({name: registers[register] for name, register in plan.data.updates.items()})
        kept.changed(job, store, state)
    for out, register in zip(step.outs, plan.data.outputs):
        job.space.keep(out, registers[register])


class _Run:
    """A call of a plan, step by step: what is private is known of each register by itself."""

    def __init__(self, job: Job, store: Store, plan: StoredPlan, given: Sequence[Held]) -> None:
        self.job, self.store, self.plan = job, store, plan
        self.registers: Dict[int, Held] = dict(enumerate([*given, *plan.constants]))
        self.given, self.made = len(self.registers), 0  # registers that were there; bytes of those that were not
        self.last: Dict[int, int] = {}
        for index, step in enumerate(plan.data.steps):
            self.last.update({item: index for item in (*step.inputs, *step.outs) if isinstance(item, int)})
        for register in (*plan.data.outputs, *plan.data.updates.values()):
            self.last[register] = len(plan.data.steps)

    def run(self) -> Dict[int, Held]:
        """The registers that are outputs or updates, among others. Raises: OpFailed naming the step, LimitExceeded."""
        for index, step in enumerate(self.plan.data.steps):
            try:
                self._step(step)
            except Exception as error:  # noqa: BLE001 - whatever an op raises is a failure of this call
                raise self._failed(index, error) from None
            for item in {item for item in (*step.inputs, *step.outs) if isinstance(item, int)}:
                if item >= self.given and self.last[item] == index:
                    self.made -= self.registers.pop(item).nbytes
        return self.registers

    def _step(self, step: Step) -> None:
        values = [self.registers[item] if isinstance(item, int) else item for item in step.inputs]
        private = any(type(value) is Private for value in values)
        self.job.check_time()
        results: Sequence[Held]
        if private:
            specs = _inferred(step, values)
            self.store.check_room(self.made + sum([spec.nbytes or 0 for spec in specs]), self.job.space)
            results = compute(step, values, specs)
        else:
            results = [own(result) for result in ops.run(step.op, values, step.params)]  # type: ignore[arg-type]
            self.store.check_room(self.made + sum([result.nbytes for result in results]), self.job.space)
        for out, result in zip(step.outs, results):
            self.registers[out] = result
            self.made += result.nbytes

    def _failed(self, index: int, error: Exception) -> AsyncSyftError:
        failed = self.plan.failed(index, error)
        if isinstance(error, Refused):
            return Refused(failed.args[0], op=f"call/{index}/{self.plan.data.steps[index].op}")
        return failed
