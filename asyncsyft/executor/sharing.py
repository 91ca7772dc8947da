"""Whose objects are whose: a search finds the worker's data, the driver's own, and what others let it have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

from ..errors import LimitExceeded, Refused
from ..identity import KEY, key_text
from ..keeping import Keepable, Key
from ..privacy import Guard, Held, Private, public
from ..program import MAX_NAME, Step
from ..protocol import Conversation
from ..store import Space, Title
from ..wire import Failure
from . import kept, telling
from .job import MAX_QUERY, Job

if TYPE_CHECKING:
    from .lanes import Executor

#: What somebody may be let have: the tensor as it is, or one that may be computed on and not seen.
GET, USE = "get", "use"
#: Who may be let have one object, and how many of one driver's are shared: every search looks at them.
MAX_GRANTS, MAX_SHARED = 64, 1 << 12

_UNTITLED = Title("", ())


class Match(NamedTuple):
    """A tensor that a search found; what it stands for of all that its worker keeps, and whose it is, if another's."""

    value: Held
    title: Optional[Title]
    entry: Optional[Tuple[Key, Keepable]] = None
    owner: str = ""


def search(executor: Executor, job: Job, step: Step) -> None:
    """Aliases for what bears the name or the tags."""
    wanted, base, most, owner = (step.params.get(name) for name in ("query", "base", "most", "owner"))
    if type(wanted) is not list or any(type(tag) is not str or len(tag) > MAX_NAME for tag in wanted):
        raise Refused(f"a query is a list of texts, of at most {MAX_NAME} characters")
    if len(wanted) > MAX_QUERY:  # each is written down
        raise LimitExceeded(f"a query has at most {MAX_QUERY} texts")
    base, most = job.check_free(base, most)
    matches = [*([] if owner is not None else _known(executor, job, wanted)), *_shared(executor, job, wanted, owner)]
    told: List[Dict[str, Any]] = []
    for alias, match in enumerate(matches[:most], base):
        about = {**telling.describe(executor, match.value, match.title), "id": alias}
        told.append({**about, "owner": match.owner} if match.owner else about)
    job.values.append((job.index, telling.pack(told)))
    names = [about["name"] for about in told]
    executor.releases.note(job, job.index, "search", query=wanted, names=names, outcome="found", careless=True)
    for alias, match in enumerate(matches[:most], base):
        job.space.keep(alias, match.value)
        if match.entry is not None:
            job.space.kept[alias] = match.entry


def _known(executor: Executor, job: Job, wanted: List[str]) -> List[Match]:
    """The worker's own data, the driver's tensors, and what is kept for it."""
    found: List[Match] = []
    known: Set[Key] = set()
    for space in (executor.store.own, job.space):
        for number in space.named(wanted):
            value = space.tensor(number)
            if value is None:
                continue  # a program in a thread has just deleted it
            entry = space.kept.get(number)
            known |= {entry[0]} if entry is not None and executor.store.is_kept(entry) else set()
            found.append(Match(value, space.titles.get(number), entry))
    for key, held in kept.search(job, executor.store, wanted):
        if key not in known:
            found.append(Match(held.array, Title(key.name, held.tags), (key, held)))
    return found


def _shared(executor: Executor, job: Job, wanted: List[str], owner: Any) -> Iterator[Match]:
    """What other drivers let this one have, or the one of them that it names."""
    for space in list(executor.store.spaces.values()):
        if not space.grants or space is job.space or owner not in (None, space.owner):
            continue
        names = _names(job.conversation, space.sealed)
        for number, grants in list(space.grants.items()):
            right = next((grants[name] for name in names if name in grants), "")
            value, title = space.tensor(number), space.titles.get(number, _UNTITLED)
            if right and value is not None and set(wanted) <= {title.name, *title.tags}:
                yield Match(_lent(space, number, value, title) if right == USE else value, title, owner=space.owner)


def _names(conversation: Conversation, sealed: bool) -> List[str]:
    """As what a driver is allowed things; ``sealed``: that was said so, and of keys no relay is believed.

    Whoever is called what a key is has not proved that key.
    """
    names = [] if conversation.name.startswith(KEY) else [conversation.name]
    has_key = conversation.key and (conversation.seal is not None or not sealed)
    return [*names, key_text(conversation.key)] if has_key else names


def _lent(space: Space, number: int, value: Held, title: Title) -> Held:
    """A tensor that may be computed on: nobody but its owner, who has it, lets out what is made of it."""
    label = frozenset([f"driver {space.owner}/{title.name or number}"])
    return Private(public(value), Guard(label | value.guard.labels if isinstance(value, Private) else label))


def allow(executor: Executor, job: Job, step: Step) -> None:
    """Let somebody find a tensor by a search, by the name or the key that they prove."""
    value, (to, right) = telling.found(job, step), (step.params.get("to"), step.params.get("right", GET))
    if type(to) is not str or not 0 < len(to) <= MAX_NAME or right not in (GET, USE):
        raise Refused(f'a tensor is shared with a name, or a key, for "{GET}" or "{USE}"')
    if isinstance(value, Failure):
        return
    number: int = step.inputs[0]  # type: ignore[assignment]
    if number not in job.space.grants and len(job.space.grants) >= MAX_SHARED:
        raise LimitExceeded(f"a driver shares at most {MAX_SHARED} tensors")
    grants = job.space.grants.setdefault(number, {})
    if to not in grants and len(grants) >= MAX_GRANTS:
        raise LimitExceeded(f"a tensor is shared with at most {MAX_GRANTS}")
    grants[to], job.space.owner, job.space.sealed = right, job.conversation.name, job.conversation.seal is not None
    job.space.titles.setdefault(number, _UNTITLED)
    executor.releases.note(job, job.index, "allow", value, to=to, right=right, outcome="done", careless=True)


def disallow(executor: Executor, job: Job, step: Step) -> None:
    """Let somebody find it no more; aliases that they have are theirs."""
    value, to = telling.found(job, step), step.params.get("to")
    grants = job.space.grants.get(step.inputs[0], {})  # type: ignore[arg-type]
    if (type(to) is not str or grants.pop(to, None) is None) and not isinstance(value, Failure):
        raise Refused(f"it is not shared with {to!r:.80}")
    if not isinstance(value, Failure):
        executor.releases.note(job, job.index, "disallow", value, to=to, outcome="done", careless=True)
