"""What programs do with what their worker keeps beyond the life of a driver: name, find again, change, forget.

It belongs to whoever proves the same lasting key, or, for those without one, bears the same name.
"""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

from .. import program, tensor
from ..errors import LimitExceeded, Refused
from ..keeping import Keepable, Key, Named, Record
from ..protocol import Conversation
from ..store import Label, Store
from ..tensor import Array
from .job import Job
from .plans import State, StoredPlan

ARRAY, PLAN, STATE = "array", "plan", "state"
#: Bytes that a driver may want told again of a plan, and of the mark by which it knows its own state.
MAX_ABOUT, MAX_MARK = 1 << 16, 64


def owner_of(conversation: Conversation) -> bytes:
    """Who the far end is in all of its lives: its key if it has a lasting one, else its name."""
    if conversation.key and conversation.their_can.get("lasting") is True:
        return b"key " + conversation.key
    return b"name " + conversation.name.encode()


def is_of(job: Job, number: int, key: Key, held: Keepable) -> None:
    """Note that an object of the job's driver stands for something that is kept."""
    job.space.kept[number] = (key, held)


def name(job: Job, store: Store, number: int, array: Array, label: Label) -> None:
    """An object was given a name, which may be none. Raises: LimitExceeded."""
    if store.kept is None:
        return
    before = job.space.kept.get(number)
    key = Key(owner_of(job.conversation), ARRAY, label.name)
    if label.name:
        if before is None or before[0] != key:
            store.check_room(array.nbytes)
        held = Named(array, label.tags)
        store.kept.put(key, held)
        is_of(job, number, key, held)
        job.unwritten = job.index
    if before is not None and before[0] != key:
        store.kept.drop(*before)
        job.unwritten = job.index
        if not label.name:
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
    store.check_room(stored.nbytes)
    owner = owner_of(job.conversation)
    for key, held in store.kept.of(owner, PLAN, stored.data.name):
        if isinstance(held, StoredPlan) and held.data.version != stored.data.version:
            store.kept.drop(key, held)
    key = Key(owner, PLAN, stored.data.name, stored.about)
    store.kept.put(key, stored)
    is_of(job, number, key, stored)
    job.unwritten = job.index


def state(job: Job, store: Store, number: int, made: State) -> State:
    """A state was stored: the same one as it is kept, if the driver's mark says that it is the same, or this one."""
    if store.kept is None or not made.name:
        return made
    key = Key(owner_of(job.conversation), STATE, made.name)
    held = store.kept.find(key)
    if not (isinstance(held, State) and made.mark and held.mark == made.mark and held.is_like(made)):
        store.check_room(made.nbytes)
        made.key, held = key, made
        store.kept.put(key, made)
        job.unwritten = job.index
    is_of(job, number, key, held)
    return held


def changed(job: Job, store: Store, one: State) -> None:
    """A state was bound anew."""
    if store.kept is not None and one.key is not None:
        store.kept.touch(one.key, one)
        job.unwritten = job.index


def forget(job: Job, store: Store, number: Any) -> None:
    """The driver wants what an object stands for to be kept no more."""
    entry = job.space.kept.get(number)
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
            if _mark(params):
                held.mark = _mark(params)
                changed(job, store, held)
        if at + len(objects) > base + most:
            raise LimitExceeded(f"{kind} {name!r:.80} needs more than {most} ids")
        found.append((entry, key, held, objects))
        at += len(objects)
    for entry, key, held, objects in found:
        for number, thing in enumerate(objects, entry["id"]):
            job.space.keep(number, thing)
        is_of(job, entry["id"], key, held)
    return [entry for entry, *_ in found]


def about(params: Dict[str, Any]) -> bytes:
    """What the driver wants told again of a plan. Raises: Refused."""
    return _short(params, "about", MAX_ABOUT)


def _mark(params: Dict[str, Any]) -> bytes:
    return _short(params, "mark", MAX_MARK)


def marked(made: State, params: Dict[str, Any]) -> State:
    """A state with the mark that its driver gave it. Raises: Refused."""
    made.mark = _mark(params)
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
        arrays = record.arrays
        if key.kind == ARRAY:
            return Named(arrays[""], tuple(record.about["tags"]))
        if key.kind == STATE:
            made = State(key.name, arrays)
            made.version, made.mark, made.key = record.about["version"], record.about["mark"], key
            return made
        packed, *constants = arrays.values()
        data = program.unpack_plan(tensor.raw(packed), self._store.max_plan_steps)
        return StoredPlan(data, constants, key.part)
