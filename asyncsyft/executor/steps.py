"""Steps that are neither ops on arrays nor answered by the space alone: they need the loop, the store, other peers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, FrozenSet, List, Tuple

from .. import program
from ..errors import Refused, UnknownOp
from ..privacy import Private
from ..program import Step
from ..store import Title
from ..wire import Failure
from . import kept, sharing, telling
from .job import Job, raw_op, raw_outs

if TYPE_CHECKING:
    from .lanes import Executor

#: Tags of one object, and characters of each.
MAX_TAGS, MAX_TAG = 32, 256


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


def _info(executor: Executor, job: Job, step: Step) -> None:
    value = telling.found(job, step)
    if isinstance(value, Failure):
        job.skip(job.index, value, (), answer=True)
        return
    title = job.space.titles.get(step.inputs[0])  # type: ignore[arg-type]
    job.values.append((job.index, telling.pack(telling.describe(executor, value, title))))


def _tag(executor: Executor, job: Job, step: Step) -> None:
    outcome = telling.found(job, step)
    name, tags = step.params.get("name", ""), step.params.get("tags", [])
    texts = [name, *tags] if type(tags) is list else [None]
    if len(texts) > 1 + MAX_TAGS or any(type(text) is not str or len(text) > MAX_TAG for text in texts):
        raise Refused(f"a name and at most {MAX_TAGS} tags are texts of at most {MAX_TAG} characters")
    if not isinstance(outcome, Failure):
        number: int = step.inputs[0]  # type: ignore[assignment]
        title = Title(name, tuple(tags))
        kept.name(job, executor.store, number, outcome, title)
        job.space.titles[number] = title


def _stats(executor: Executor, job: Job, step: Step) -> None:
    store = executor.store
    counts = {"steps": executor.steps_run, "jobs": len(executor.jobs), "objects": store.objects, "bytes": store.nbytes}
    job.values.append((job.index, telling.pack({**counts, "limit": store.limit, **executor.counts()})))


def _stored(job: Job) -> List[Tuple[int, Any]]:
    return [(number, thing) for number, thing in list(job.space.things.items()) if not isinstance(thing, Private)]


def _plans(executor: Executor, job: Job, step: Step) -> None:
    """The plans and states of the asking driver, and those that are kept for it."""
    listed = [{"id": number, **thing.describe()} for number, thing in _stored(job)]
    listed += kept.others(job, executor.store)
    job.values.append((job.index, telling.pack(listed)))


def _recall(executor: Executor, job: Job, step: Step) -> None:
    job.values.append((job.index, telling.pack(kept.recall(job, executor.store, step.params))))


def _move(executor: Executor, job: Job, step: Step) -> None:
    value = telling.found(job, step)
    if isinstance(value, Private):
        executor.releases.move(job, step, value)
    else:
        executor.moves.offer(job, value, step.params)
        if not isinstance(value, Failure):
            executor.releases.note(job, job.index, program.MOVE, value, outcome="offered", careless=True)


def _get(executor: Executor, job: Job, step: Step) -> None:
    """Of a private tensor: all others are answered without the loop."""
    value = telling.found(job, step)
    job.compress(step.params)
    if isinstance(value, Private):
        executor.releases.get(job, step, value)
    elif isinstance(value, Failure):
        job.skip(job.index, value, (), answer=True)
    else:
        job.values.append((job.index, value))


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
    program.GET: _get,
    program.SEARCH: sharing.search,
    program.ALLOW: sharing.allow,
    program.DISALLOW: sharing.disallow,
    program.STATS: _stats,
    program.PLANS: _plans,
    program.RECALL: _recall,
    program.MOVE: _move,
    program.FETCH: _fetch,
    program.CLAIM: _claim,
    **dict.fromkeys(program.SESSION_STEPS, _session),
}
LOOP_STEPS: FrozenSet[str] = frozenset(LOOP_STEPS_TABLE)
