"""Steps that are neither ops on arrays nor answered by the space alone: they need the loop, the store, other peers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, FrozenSet, List

import msgpack
import numpy as np

from .. import program, tensor, wire
from ..errors import LimitExceeded, Refused, UnknownObject
from ..program import Step
from ..store import MAX_OBJECTS, Label
from ..tensor import Array
from ..wire import Failure
from .job import Job, raw_op, raw_outs

if TYPE_CHECKING:
    from .lanes import Executor

#: Tags of one object, and characters of each.
MAX_TAGS, MAX_TAG = 32, 256
#: Objects that one search gives.
MAX_FOUND = 1024


def loop_step(executor: Executor, job: Job) -> None:
    """Run the step at which ``job`` stands, and move it on."""
    raw = job.steps[job.index]
    try:
        step = program.check(raw)
        LOOP_STEPS_TABLE[step.op](executor, job, step)
    except Exception as error:  # noqa: BLE001 - hostile parameters are a failure of this step alone
        op = raw_op(raw)
        job.fail(job.index, error, op, raw_outs(raw) if op == program.FETCH else ())
    job.index += 1


def _found(job: Job, step: Step) -> Any:
    """The outcome of the one object that a step names. Raises: UnknownObject."""
    (number,) = step.inputs
    outcome = job.space.outcome(number) if isinstance(number, int) else None
    if outcome is None:
        raise UnknownObject(f"no object {number!r:.40}")
    if not isinstance(outcome, (np.ndarray, Failure)):
        raise Refused(f"object {number} is no tensor")
    return outcome


def _info(executor: Executor, job: Job, step: Step) -> None:
    array = _found(job, step)
    if isinstance(array, Failure):
        job.skip(job.index, array, (), answer=True)
        return
    label = job.space.labels.get(step.inputs[0])  # type: ignore[arg-type]
    job.values.append((job.index, _pack(describe(array, label))))


def _pack(document: Any) -> bytes:
    """A document that answers a step. Raises: LimitExceeded if it is larger than a chunk."""
    data: bytes = msgpack.packb(document)
    if len(data) > wire.CHUNK:
        raise LimitExceeded(f"an answer of {len(data)} bytes is past the limit of {wire.CHUNK}: ask for less")
    return data


def describe(array: Array, label: Any) -> Dict[str, Any]:
    """What ``info`` and ``search`` tell of an object: never its contents."""
    name, tags = label or ("", ())
    return {
        "dtype": tensor.descriptor(array.dtype),
        "shape": list(array.shape),
        "nbytes": array.nbytes,
        "name": name,
        "tags": list(tags),
    }


def _tag(executor: Executor, job: Job, step: Step) -> None:
    outcome = _found(job, step)
    name, tags = step.params.get("name", ""), step.params.get("tags", [])
    texts = [name, *tags] if type(tags) is list else [None]
    if len(texts) > 1 + MAX_TAGS or any(type(text) is not str or len(text) > MAX_TAG for text in texts):
        raise Refused(f"a name and at most {MAX_TAGS} tags are texts of at most {MAX_TAG} characters")
    if not isinstance(outcome, Failure):
        job.space.labels[step.inputs[0]] = Label(name, tuple(tags))  # type: ignore[index]


def _search(executor: Executor, job: Job, step: Step) -> None:
    """Aliases for what bears the name or the tags: of the worker's own data, and of the asking driver's."""
    wanted, base, most = (step.params.get(name) for name in ("query", "base", "most"))
    if type(wanted) is not list or any(type(tag) is not str for tag in wanted):
        raise Refused("a query is a list of texts")
    if type(base) is not int or type(most) is not int or not 0 <= most <= MAX_FOUND:
        raise Refused(f"a search gives at most {MAX_FOUND} objects, from an id on")
    if not 0 < base <= wire.MAX_ID - most or any(job.space.knows(alias) for alias in range(base, base + most)):
        raise Refused(f"the {most} ids from {base} on are not free")
    if job.space.taken + most > MAX_OBJECTS:
        raise LimitExceeded(f"one driver holds at most {MAX_OBJECTS} objects at a worker")
    arrays: List[Array] = []
    found: List[Dict[str, Any]] = []
    for number, space in [(n, at) for at in (executor.store.own, job.space) for n in at.named(wanted)][:most]:
        array = space.objects.get(number)
        if array is None:
            continue  # a program in a thread has just deleted it
        found.append({**describe(array, space.labels.get(number)), "id": base + len(arrays)})
        arrays.append(array)
    job.values.append((job.index, _pack(found)))
    for alias, array in enumerate(arrays, base):
        job.space.keep(alias, array)


def _stats(executor: Executor, job: Job, step: Step) -> None:
    store = executor.store
    counts = {"steps": executor.steps_run, "jobs": len(executor.jobs), "objects": store.objects, "bytes": store.nbytes}
    job.values.append((job.index, _pack({**counts, "limit": store.limit, **executor.counts()})))


def _plans(executor: Executor, job: Job, step: Step) -> None:
    """The plans and states of the asking driver."""
    listed = [{"id": number, **thing.describe()} for number, thing in list(job.space.things.items())]
    job.values.append((job.index, _pack(listed)))


def _move(executor: Executor, job: Job, step: Step) -> None:
    executor.moves.offer(job, _found(job, step), step.params)


def _fetch(executor: Executor, job: Job, step: Step) -> None:
    (out,) = step.outs
    job.check_new(step.outs)
    executor.moves.fetch(job, out, step.params)


def _claim(executor: Executor, job: Job, step: Step) -> None:
    executor.moves.claim(job, step.params)


LOOP_STEPS_TABLE: Dict[str, Callable[[Executor, Job, Step], None]] = {
    program.INFO: _info,
    program.TAG: _tag,
    program.SEARCH: _search,
    program.STATS: _stats,
    program.PLANS: _plans,
    program.MOVE: _move,
    program.FETCH: _fetch,
    program.CLAIM: _claim,
}
LOOP_STEPS: FrozenSet[str] = frozenset(LOOP_STEPS_TABLE)
