"""What programs do with what their worker keeps beyond the life of a driver: name, find again, change, forget.

It belongs to whoever proves the same lasting key, or, for those without one, bears the same name. In the clear it is a
relay that says who has which key: what was kept in a sealed conversation is found in sealed ones alone.
"""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

from .. import program, tensor
from ..errors import LimitExceeded, Refused
from ..keeping import Keepable, Key, Named, Record
from ..privacy import Held
from ..protocol import Conversation
from ..store import Store, Title
from .job import Job
from .plans import State, StoredPlan

ARRAY, PLAN, STATE = "array", "plan", "state"
#: Bytes that a driver may want told again of a plan, and of a mark by which it knows a state as its own; how many marks
#: a state has, the oldest being forgotten.
MAX_ABOUT, MAX_MARK, MAX_MARKS = 1 << 16, 64, 16


def owner_of(conversation: Conversation) -> bytes:
    """Who the far end is in all of its lives: its key if it has a lasting one, else its name."""
    if conversation.key and conversation.their_can.get("lasting") is True:
        return (b"key " if conversation.seal is None else b"sealed ") + conversation.key
    return b"name " + conversation.name.encode()


def _keep(job: Job, store: Store, number: int, key: Key, held: Keepable) -> None:
    """Keep what an object of the job's driver stands for. Raises: LimitExceeded."""
    assert store.kept is not None
    store.check_room(max(store.kept.growth(key, held), 0))
    store.kept.put(key, held)
    job.space.kept[number] = (key, held)
    job.unwritten = job.index


def name(job: Job, store: Store, number: int, value: Held, title: Title) -> None:
    """An object was given a name, which may be none. Raises: LimitExceeded."""
    if store.kept is None:
        return
    before = job.space.kept.get(number)
    key = Key(owner_of(job.conversation), ARRAY, title.name)
    if title.name:
        _keep(job, store, number, key, Named(value, title.tags))
    if before is not None and before[0] != key:
        store.kept.drop(*before)
        job.unwritten = job.index
        if not title.name:
            del job.space.kept[number]


def search(job: Job, store: Store, wanted: List[str]) -> List[Tuple[Key, Named]]:
    """Tensors that are kept for the driver and bear all of these as their name or as tags; the oldest first."""
    if store.kept is None:
        return []
    kept = store.kept.of(owner_of(job.conversation), ARRAY)
    return [(k, held) for k, held in kept if isinstance(held, Named) and set(wanted) <= {k.name, *held.tags}]


def others(job: Job, store: Store) -> List[Dict[str, Any]]:
    """The plans and states that are kept for the driver and have no id in its space: what they are."""
    if store.kept is None:
        return []
    here = set(map(id, job.space.things.values()))
    kept = [held for kind in (PLAN, STATE) for _, held in store.kept.of(owner_of(job.conversation), kind)]
    return [{"id": 0, **h.describe()} for h in kept if isinstance(h, (State, StoredPlan)) and id(h) not in here]


def plan(job: Job, store: Store, number: int, stored: StoredPlan) -> None:
    """A plan was stored: it is kept with all that were recorded of the same version, and instead of other versions."""
    if store.kept is None or not stored.data.name or not stored.about:
        return
    owner = owner_of(job.conversation)
    _keep(job, store, number, Key(owner, PLAN, stored.data.name, stored.about), stored)
    for key, held in store.kept.of(owner, PLAN, stored.data.name):
        if isinstance(held, StoredPlan) and held.data.version != stored.data.version:
            store.kept.drop(key, held)


def state(job: Job, store: Store, number: int, made: State) -> State:
    """A state was stored: the same one as it is kept, if the driver's mark says that it is the same, or this one."""
    if store.kept is None or not made.name:
        return made
    key = Key(owner_of(job.conversation), STATE, made.name)
    held = store.kept.find(key)
    if isinstance(held, State) and set(held.marks) & set(made.marks) and held.is_like(made):
        job.space.kept[number] = (key, held)
        return held
    _keep(job, store, number, key, made)
    made.key = key
    return made


def changed(job: Job, store: Store, one: State) -> None:
    """A state was bound anew."""
    if store.kept is not None and one.key is not None:
        store.kept.touch(one.key, one)
        job.unwritten = job.index


def forget(job: Job, store: Store, number: Any) -> None:
    """The driver wants what an object stands for to be kept no more."""
    entry = job.space.kept.get(number) if type(number) is int else None
    if store.kept is not None and entry is not None:
        store.kept.drop(*entry)
        job.unwritten = job.index


def recall(job: Job, store: Store, params: Dict[str, Any]) -> List[Dict[str, Any]]:
    """Give the driver ids for the plan or the state that is kept for it under a name; what they are.

    Of a plan, each recording gets an id, its packed form the next, its constants those after it; the latest first.
    Raises: Refused, LimitExceeded.
    """
    kind, name, base, most = (params.get(word) for word in ("kind", "name", "base", "most"))
    if kind not in (PLAN, STATE) or type(name) is not str:
        raise Refused("what is recalled is a plan or a state, by its name")
    base, most = job.check_free(base, most)
    at, found = base, []
    kept = store.kept.of(owner_of(job.conversation), kind, name) if store.kept is not None else []
    for key, held in reversed(kept):
        entry: Dict[str, Any] = {"id": at}
        objects: List[Any] = [held]
        if isinstance(held, StoredPlan):
            entry.update(held.describe(), about=held.about, constants=len(held.constants))
            objects += held.record().arrays.values()
        elif isinstance(held, State):
            entry.update(held.describe())
            marks = _marks(params)
            if marks:
                held.marks = (*marks, *[mark for mark in held.marks if mark not in marks])[:MAX_MARKS]
                changed(job, store, held)
        if at + len(objects) > base + most:
            raise LimitExceeded(f"{kind} {name!r:.80} needs more than {most} ids")
        found.append((entry, key, held, objects))
        at += len(objects)
    for entry, key, held, objects in found:
        for number, thing in enumerate(objects, entry["id"]):
            job.space.keep(number, thing)
        job.space.kept[entry["id"]] = (key, held)
    return [entry for entry, *_ in found]


def about(params: Dict[str, Any]) -> bytes:
    """What the driver wants told again of a plan. Raises: Refused."""
    return _short(params, "about", MAX_ABOUT)


def _marks(params: Dict[str, Any]) -> Tuple[bytes, ...]:
    mark = _short(params, "mark", MAX_MARK)
    return (mark,) if mark else ()


def marked(made: State, params: Dict[str, Any]) -> State:
    """A state with the mark that its driver gave it. Raises: Refused."""
    made.marks = _marks(params)
    return made


def _short(params: Dict[str, Any], word: str, most: int) -> bytes:
    value = params.get(word, b"")
    if type(value) is not bytes or len(value) > most:
        raise Refused(f"{word!r} is at most {most} bytes: {value!r:.40}")
    return value


class Revive:
    """Makes of records what they were."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __call__(self, key: Key, record: Record) -> Keepable:
        """Raises: AsyncSyftError, TypeError, KeyError for what this worker cannot use."""
        if key.kind == ARRAY:
            return Named(record.values()[""], tuple(record.about["tags"]))
        if key.kind == STATE:
            made = State(key.name, record.values())
            made.version, made.marks, made.key = record.about["version"], tuple(record.about["marks"]), key
            return made
        packed, *constants = record.arrays.values()
        data = program.unpack_plan(tensor.raw(packed), self._store.max_plan_steps)
        return StoredPlan(data, constants, key.part)
