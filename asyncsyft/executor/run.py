"""Runs the steps of a job on arrays: find, apply, keep. It may run in a thread: it touches the job and its space only.

Small element-wise steps take a short way; everything else is checked, inferred and measured first.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List

import numpy as np

from .. import ops, program, tensor
from ..errors import Cancelled, Refused, RemoteError, UnknownObject, UnknownOp
from ..privacy import Held
from ..program import DELETE, GET, Step
from ..store import MAX_OBJECTS, Store
from ..wire import MAX_ID
from . import guarded, kept
from .compiling import own
from .finding import HEAVY_PROGRAM, Heavy, IsPrivate, NeedsLoop, Poisoned, count_work, held, held_inputs, open_inputs
from .guarded import check_outs, prepared
from .job import Job, raw_op, raw_outs
from .plans import STEP_MEMORY, State, StoredPlan
from .steps import LOOP_STEPS

#: Packed bytes of a plan that are checked in a thread: about 2 ms.
LONG_PACKED = 8000
#: Elements up to which a step takes the short way.
SMALL = 1 << 12

_SHORT: Dict[str, Callable[..., Any]] = {
    name: op.run
    for name, op in ops.OPS.items()
    if op.min_arrays == op.max_arrays == 2 and not op.params and not op.heavy and not op.expands and op.outputs == 1
}


def run(job: Job, store: Store, inline: bool) -> bool:
    """Run steps from ``job.index`` on; False if it stopped before one that is not for here; ``job.index`` says which.

    Not for here is what only the loop can do, and inline also heavy work.
    """
    space, steps, values, cancelled, short = job.space, job.steps, job.values, job.cancelled, _SHORT
    objects, poisons, things, pending = space.objects, space.poisons, space.things, space.pending
    room, grown = store.room(space), 0
    for index in range(job.index, len(steps)):
        step = steps[index]
        # The short way: a small element-wise op on two arrays that are here, a get, a delete. Whatever is unusual
        # raises or falls through, and goes the long way.
        try:
            if len(step) == 3 and not pending and not cancelled:
                op, out, inputs = step
                if op == GET:
                    (one,) = inputs
                    values.append((index, objects[one]))
                    continue
                if op == DELETE:
                    if space.delete_arrays(inputs):
                        continue
                else:
                    one, two = inputs
                    a, b = objects[one], objects[two]
                    if (
                        a.size <= SMALL
                        and a.shape == b.shape
                        and type(out) is int
                        and 0 < out <= MAX_ID
                        and out not in poisons
                        and out not in things
                        and len(objects) < MAX_OBJECTS
                    ):
                        result = short[op](a, b)
                        if (
                            type(result) is np.ndarray
                            and grown + (nbytes := result.nbytes) <= room
                            and objects.setdefault(out, result) is result
                        ):
                            grown += nbytes
                            continue
        except Exception:  # noqa: BLE001 - the long way meets it again, and answers it
            pass
        job.index = index
        space.grow(grown)
        try:
            _step(job, store, step, inline)
        except (Heavy, NeedsLoop):
            return False
        room, grown = store.room(space), 0
    job.index = len(steps)
    space.grow(grown)
    return True


def _step(job: Job, store: Store, raw: Any, inline: bool) -> None:
    op = raw_op(raw)
    outs = raw_outs(raw) if op not in _NO_RESULT else ()
    try:
        if job.index in job.announced:
            return  # its chunks are on their way, or here, or it failed
        step = program.check(raw)
        outs = step.outs if op not in _NO_RESULT else ()
        if job.index in job.cancelled:
            raise Cancelled("cancelled before it began")
        job.check_new(outs)
        try:
            _do(job, store, step, inline)
        except IsPrivate:
            guarded.do(job, store, step, inline)
    except (Heavy, NeedsLoop):
        raise
    except Poisoned as poisoned:
        job.skip(job.index, poisoned.cause, outs, answer=op in _NO_RESULT)
    except Exception as error:  # noqa: BLE001 - whatever an op raises on hostile input is a failure of this step alone
        within = error.op if isinstance(error, RemoteError) else None  # a plan says which of its steps it was
        job.fail(job.index, error, within or op, outs)


def _do(job: Job, store: Store, step: Step, inline: bool) -> None:
    op = step.op
    special = _SPECIAL.get(op)
    if special is not None:
        special(job, store, step)
    elif op in _CAN_BE_HEAVY:
        _CAN_BE_HEAVY[op](job, store, step, inline)
    elif op in ops.OPS:
        _apply(job, store, step, inline)
    elif op in LOOP_STEPS:
        raise NeedsLoop
    else:
        raise UnknownOp(f"no such op: {op[:60]!r}")


def _apply(job: Job, store: Store, step: Step, inline: bool) -> None:
    op = ops.OPS[step.op]
    arrays = open_inputs(job, step.inputs)
    cost = op.cost(arrays, step.params)
    if op.expands or any(a.shape != arrays[0].shape for a in arrays):
        specs = ops.infer(step.op, tuple(map(ops.spec_of, arrays)), step.params)
        nbytes = sum(spec.nbytes or 0 for spec in specs)
        cost = max(cost, nbytes >> 3)
        store.check_room(nbytes, job.space)
    elif cost > SMALL:
        store.check_room(arrays[0].nbytes, job.space)
    count_work(job, cost, inline)
    results = op.run(*arrays, **step.params)
    if not isinstance(results, (tuple, list)):
        results = (results,)
    if len(results) != len(step.outs):
        raise Refused(f"{step.op} gives {len(results)} results where the step names {len(step.outs)}")
    mine = [own(result) for result in results]
    store.check_room(sum([result.nbytes for result in mine]), job.space)
    for out, result in zip(step.outs, mine):
        job.space.keep(out, result)


# Steps that are no ops on arrays, and need no loop.


def _put(job: Job, store: Store, step: Step) -> None:
    params = step.params
    (out,) = step.outs
    dtype, shape, nbytes = tensor.check_descr(params.get("dtype"), params.get("shape"))
    store.check_room(nbytes, job.space)
    at = params.get("at")
    if type(at) is not int or at < 0 or at & 7 or at + nbytes > len(job.body):
        raise Refused(f"a put of {nbytes} bytes at {at!r:.20} of a body of {len(job.body)}")
    job.space.keep(out, tensor.copy_at(dtype, shape, nbytes, memoryview(job.body), at))


def _get(job: Job, store: Store, step: Step) -> None:
    (array,) = open_inputs(job, step.inputs)
    job.compress(step.params)
    job.values.append((job.index, array))


def _delete(job: Job, store: Store, step: Step) -> None:
    if step.params.get("kept") is True:
        for number in step.inputs:
            kept.forget(job, store, number)
    unknown = [number for number in step.inputs if type(number) is not int or not job.space.delete(number)]
    if unknown:
        raise UnknownObject(f"no object {unknown[0]!r:.20} to delete")


# Plans and their states.


def _plan(job: Job, store: Store, step: Step, inline: bool) -> None:
    """Store a plan: inputs are its packed form, as bytes in a tensor, and its constants."""
    (out,) = step.outs
    packed, *constants = open_inputs(job, step.inputs)
    if packed.dtype != np.uint8 or packed.ndim != 1 or not packed.flags.c_contiguous:
        raise Refused("a plan comes as a tensor of bytes")
    if inline and packed.nbytes > LONG_PACKED:
        raise Heavy
    data = program.unpack_plan(tensor.raw(packed), store.max_plan_steps)
    plan = StoredPlan(data, constants, kept.about(step.params))
    store.check_room(len(data.steps) * STEP_MEMORY, job.space)  # its constants are held already, and shared
    kept.plan(job, store, out, plan)
    job.space.keep(out, plan)


def _state(job: Job, store: Store, step: Step) -> None:
    (out,) = step.outs
    names, name = step.params.get("names"), step.params.get("name")
    if type(name) is not str or len(name) > program.MAX_NAME:
        raise Refused(f"a state has a name of at most {program.MAX_NAME} characters")
    state = kept.marked(State(name, _by_name(names, held_inputs(job, step.inputs))), step.params)
    job.space.keep(out, kept.state(job, store, out, state))


def _by_name(names: Any, arrays: List[Held]) -> Dict[str, Held]:
    names = program.check_names(names)
    if len(names) != len(arrays):
        raise Refused(f"{len(names)} names for {len(arrays)} arrays")
    return dict(zip(names, arrays))


def _read(job: Job, store: Store, step: Step) -> None:
    (number,) = step.inputs
    arrays = held(job, number, State).arrays
    names = program.check_names(step.params.get("names"))
    if len(names) != len(step.outs) or any(name not in arrays for name in names):
        raise Refused("a read names as many arrays of the state as it has results")
    for out, name in zip(step.outs, names):
        job.space.keep(out, arrays[name])


def _bind(job: Job, store: Store, step: Step) -> None:
    number, *rest = step.inputs
    state = held(job, number, State)
    state.update(_by_name(step.params.get("names"), held_inputs(job, rest)))
    kept.changed(job, store, state)


def _call(job: Job, store: Store, step: Step, inline: bool) -> None:
    """Run a stored plan: inputs are the plan, its state if ``params`` say that it has one, and the plan's inputs."""
    number, *rest = step.inputs
    plan = held(job, number, StoredPlan)
    state = held(job, rest.pop(0), State) if step.params.get("state") and rest else None
    if state is not None and state.is_private:
        raise IsPrivate
    given = plan.given(open_inputs(job, rest), state)
    check_outs(plan, step)
    code, room = prepared(job, store, plan, given, inline)
    long = not inline and (code.cost is None or code.cost > HEAVY_PROGRAM)  # else the time is looked at between calls
    registers = plan.run(code, given, room, job.check_time if long else None)
    job.plan_steps += len(plan.data.steps)
    results = [own(registers[place]) for place in code.outputs]
    if code.cost is None:
        store.check_room(sum([result.nbytes for result in results]), job.space)
    if code.updates and state is not None:
        state.update({name: own(registers[place]) for name, place in code.updates.items()})
        kept.changed(job, store, state)
    for out, result in zip(step.outs, results):
        job.space.keep(out, result)


_SPECIAL: Dict[str, Callable[[Job, Store, Step], None]] = {
    program.PUT: _put,
    program.GET: _get,
    program.DELETE: _delete,
    program.STATE: _state,
    program.READ: _read,
    program.BIND: _bind,
}
#: Steps that may be too much for the loop; an op on arrays may, too.
_CAN_BE_HEAVY: Dict[str, Callable[[Job, Store, Step, bool], None]] = {program.PLAN: _plan, program.CALL: _call}
#: Steps whose outs are no results: they owe an answer of their own, or nothing.
_NO_RESULT = frozenset(
    (
        program.GET,
        program.DELETE,
        program.INFO,
        program.TAG,
        program.SEARCH,
        program.STATS,
        program.PLANS,
        program.RECALL,
        program.MOVE,
        program.CLAIM,
        program.ALLOW,
        program.DISALLOW,
    )
)
