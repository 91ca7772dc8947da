"""Steps that are neither ops on arrays nor answered by the space alone: they need the loop, the store or other peers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, FrozenSet, List

from .. import program, tensor
from ..errors import Refused, UnknownObject, UnknownOp
from ..program import Step
from ..store import Label, Space
from ..tensor import Array
from ..wire import Failure
from .job import Job, raw_op

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
        job.fail(job.index, error, raw_op(raw), ())
    job.index += 1


def _found(job: Job, step: Step) -> Any:
    """The outcome of the one object that a step names. Raises: UnknownObject."""
    (number,) = step.inputs
    outcome = job.space.outcome(number) if isinstance(number, int) else None
    if outcome is None:
        raise UnknownObject(f"no object {number!r:.40}")
    return outcome


def _info(executor: Executor, job: Job, step: Step) -> None:
    array = _found(job, step)
    if isinstance(array, Failure):
        job.skip(job.index, array, (), answer=True)
        return
    job.values.append((job.index, describe(array, job.space.labels.get(step.inputs[0]))))  # type: ignore[call-overload]


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
    _found(job, step)
    name, tags = step.params.get("name", ""), step.params.get("tags", [])
    if type(tags) is not list or len(tags) > MAX_TAGS or any(type(t) is not str or len(t) > MAX_TAG for t in [name, *tags]):
        raise Refused(f"a name and at most {MAX_TAGS} tags are texts of at most {MAX_TAG} characters")
    job.space.labels[step.inputs[0]] = Label(name, tuple(tags))  # type: ignore[index]


def _search(executor: Executor, job: Job, step: Step) -> None:
    """Aliases for what bears the name or the tags: of the worker's own data, and of the asking driver's."""
    wanted, base = step.params.get("query"), step.params.get("base")
    most = step.params.get("most")
    if type(wanted) is not list or any(type(tag) is not str for tag in wanted):
        raise Refused("a query is a list of texts")
    if type(base) is not int or type(most) is not int or not 0 <= most <= MAX_FOUND or base < 0:
        raise Refused(f"a search gives at most {MAX_FOUND} objects, from an id on")
    found: List[Dict[str, Any]] = []
    spaces: List[Space] = [executor.store.own, job.space]
    for number, space in [(n, space) for space in spaces for n in space.named(wanted)][:most]:
        alias = base + len(found)
        if job.space.knows(alias):
            raise Refused(f"object {alias} is there already")
        array, label = space.objects[number], space.labels[number]
        job.space.keep(alias, array)
        found.append({**describe(array, label), "id": alias})
    job.values.append((job.index, found))


def _stats(executor: Executor, job: Job, step: Step) -> None:
    store = executor.store
    counts = {"steps": executor.steps_run, "jobs": len(executor.jobs), "objects": store.objects, "bytes": store.nbytes}
    job.values.append((job.index, {**counts, "limit": store.limit}))


def _move(executor: Executor, job: Job, step: Step) -> None:
    executor.moves.offer(job, _found(job, step), step.params)


def _fetch(executor: Executor, job: Job, step: Step) -> None:
    (out,) = step.outs
    if job.space.knows(out) and out not in job.made:
        raise Refused(f"object {out} is there already")
    executor.moves.fetch(job, out, step.params)


def _claim(executor: Executor, job: Job, step: Step) -> None:
    executor.moves.claim(job, step.params)


LOOP_STEPS_TABLE: Dict[str, Callable[[Executor, Job, Step], None]] = {
    program.INFO: _info,
    program.TAG: _tag,
    program.SEARCH: _search,
    program.STATS: _stats,
    program.MOVE: _move,
    program.FETCH: _fetch,
    program.CLAIM: _claim,
}
LOOP_STEPS: FrozenSet[str] = frozenset(LOOP_STEPS_TABLE)
