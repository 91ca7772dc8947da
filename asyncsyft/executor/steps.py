"""Steps that are neither ops on arrays nor answered by the space alone: they need the loop, the store, other peers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, FrozenSet, List, Optional, Set, Tuple

import msgpack
import numpy as np

from .. import program, tensor, wire
from ..errors import LimitExceeded, Refused, UnknownObject, UnknownOp
from ..keeping import Keepable, Key
from ..program import Step
from ..store import Label
from ..tensor import Array
from ..wire import Failure
from . import kept
from .job import Job, raw_op, raw_outs

if TYPE_CHECKING:
    from .lanes import Executor

#: Tags of one object, and characters of each.
MAX_TAGS, MAX_TAG = 32, 256

#: What an object stands for of all that its worker keeps.
Entry = Tuple[Key, Keepable]


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
        number: int = step.inputs[0]  # type: ignore[assignment]
        label = Label(name, tuple(tags))
        kept.name(job, executor.store, number, outcome, label)
        job.space.labels[number] = label


def _search(executor: Executor, job: Job, step: Step) -> None:
    """Aliases for what bears the name or the tags: the worker's own data, the driver's, and what is kept for it."""
    wanted, base, most = (step.params.get(name) for name in ("query", "base", "most"))
    if type(wanted) is not list or any(type(tag) is not str for tag in wanted):
        raise Refused("a query is a list of texts")
    base, most = job.check_free(base, most)
    found = _labelled(executor, job, wanted)[:most]
    told = [{**describe(array, label), "id": alias} for alias, (array, label, _) in enumerate(found, base)]
    job.values.append((job.index, _pack(told)))
    for alias, (array, _, entry) in enumerate(found, base):
        job.space.keep(alias, array)
        if entry is not None:
            job.space.kept[alias] = entry


def _labelled(executor: Executor, job: Job, wanted: List[str]) -> List[Tuple[Array, Optional[Label], Optional[Entry]]]:
    """What bears these as name or tags: tensors, their labels, and what they stand for of what is kept."""
    found: List[Tuple[Array, Optional[Label], Optional[Entry]]] = []
    known: Set[Key] = set()
    for space in (executor.store.own, job.space):
        for number in space.named(wanted):
            array = space.objects.get(number)
            if array is None:
                continue  # a program in a thread has just deleted it
            entry = space.kept.get(number)
            known |= {entry[0]} if entry is not None and executor.store.is_kept(entry) else set()
            found.append((array, space.labels.get(number), entry))
    for key, held in kept.search(job, executor.store, wanted):
        if key not in known:
            found.append((held.array, Label(key.name, held.tags), (key, held)))
    return found


def _stats(executor: Executor, job: Job, step: Step) -> None:
    store = executor.store
    counts = {"steps": executor.steps_run, "jobs": len(executor.jobs), "objects": store.objects, "bytes": store.nbytes}
    job.values.append((job.index, _pack({**counts, "limit": store.limit, **executor.counts()})))


def _plans(executor: Executor, job: Job, step: Step) -> None:
    """The plans and states of the asking driver, and those that are kept for it."""
    listed = [{"id": number, **thing.describe()} for number, thing in list(job.space.things.items())]
    listed += kept.others(job, executor.store)
    job.values.append((job.index, _pack(listed)))


def _recall(executor: Executor, job: Job, step: Step) -> None:
    job.values.append((job.index, _pack(kept.recall(job, executor.store, step.params))))


def _move(executor: Executor, job: Job, step: Step) -> None:
    executor.moves.offer(job, _found(job, step), step.params)


def _fetch(executor: Executor, job: Job, step: Step) -> None:
    (out,) = step.outs
    job.check_new(step.outs)
    executor.moves.fetch(job, out, step.params)


def _claim(executor: Executor, job: Job, step: Step) -> None:
    executor.moves.claim(job, step.params)


def _session(executor: Executor, job: Job, step: Step) -> None:
    if executor.sessions is None:
        raise UnknownOp(f"no such op: {step.op!r}")
    executor.sessions.step(job, step)


LOOP_STEPS_TABLE: Dict[str, Callable[[Executor, Job, Step], None]] = {
    program.INFO: _info,
    program.TAG: _tag,
    program.SEARCH: _search,
    program.STATS: _stats,
    program.PLANS: _plans,
    program.RECALL: _recall,
    program.MOVE: _move,
    program.FETCH: _fetch,
    program.CLAIM: _claim,
    **dict.fromkeys(program.SESSION_STEPS, _session),
}
LOOP_STEPS: FrozenSet[str] = frozenset(LOOP_STEPS_TABLE)
