"""What a driver sees to before workers take part in a session: seals, lanes, and where each of them listens."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import Any, AsyncIterator, List, Sequence, Set
from weakref import WeakKeyDictionary

from ..driver import Driver, RemoteWorker
from ..errors import AsyncSyftError, Refused, SessionError
from ..peer import split_address
from ..protocol import Conversation
from ..transport import memory_pair
from ..worker import Worker
from .service import FIRST_LANE, MAX_SESSIONS

__all__ = ["check_sealed", "described", "give_lane", "own_dealer", "take_lane"]

#: Lanes of sessions: one driver may have as many with one worker as that has at all.
LANES = MAX_SESSIONS
#: Hosts of those who listen on all addresses of their machine, which says nothing to others.
ANYWHERE = ("0.0.0.0", "::")

#: The lanes that sessions of this process have.
_lanes: WeakKeyDictionary[Conversation, Set[int]] = WeakKeyDictionary()


def check_sealed(workers: Sequence[RemoteWorker], insecure: bool) -> None:
    """Raises: Refused if whoever carries what is said to one of them could read it."""
    for worker in workers:
        talk = worker.conversation
        road = worker.driver.peer.conversations.roads.get(talk)
        here = road is not None and road.link.transport.remote == "memory"
        if not talk.expects and not here and not insecure:
            raise Refused(
                f"what is said to {worker.name} is not sealed: name its key in known_peers, or say insecure=True"
            )


@asynccontextmanager
async def own_dealer(driver: Driver) -> AsyncIterator[RemoteWorker]:
    """A worker in the driver's own process, to deal: it is at the driver's relay, if there is one, as the parties are.

    Raises: Refused, LinkError.
    """
    relay = driver.relay_dial if any(road.is_relayed for road in driver.peer.roads) else None
    async with Worker(f"{driver.peer.name}-dealer", relay, insecure=True) as worker:
        if relay is None:
            near, far = memory_pair()
            worker.peer.tasks.start_soon(worker.serve, far)
            await driver.peer.join(near)
        (found,) = await driver.wait_for(worker.name)
        yield found


async def described(worker: RemoteWorker) -> List[Any]:
    """A member, as the others are told of it: incarnation, key, where it listens, name. Raises: SessionError."""
    talk = worker.conversation
    try:
        if not talk.greeted:
            await worker.stats()  # what it can do comes before its first answer
    except AsyncSyftError as error:
        raise SessionError(f"{worker.name} is lost: {error}") from error
    url = talk.their_can.get("url")
    urls = [_from_here(worker, url)] if type(url) is str else []
    return [talk.theirs, talk.expects, [url for url in urls if url], worker.name]


def _from_here(worker: RemoteWorker, url: str) -> str:
    """Where it says that it listens; for all addresses the one at which this driver dialled it, if it did."""
    scheme, _, address = url.partition("://")
    try:
        host, port = split_address(address)
    except ValueError:
        return url
    if host not in ANYWHERE:
        return url
    road = worker.driver.peer.conversations.roads.get(worker.conversation)
    if road is None or road.is_relayed or road.admit is not None:
        return ""
    return f"{scheme}://{road.link.transport.remote.rpartition(':')[0]}:{port}"


def take_lane(workers: Sequence[RemoteWorker]) -> int:
    """A lane that no other session has with any of these. Raises: SessionError."""
    talks = [worker.conversation for worker in workers]
    taken = set().union(*(_lanes.setdefault(talk, set()) for talk in talks))
    free = [lane for lane in range(FIRST_LANE, FIRST_LANE + LANES) if lane not in taken]
    if not free:
        raise SessionError(f"{LANES} sessions are open with one worker")
    for talk in talks:
        _lanes[talk].add(free[0])
    return free[0]


def give_lane(workers: Sequence[RemoteWorker], lane: int) -> None:
    """A session does not need its lane any more."""
    for worker in workers:
        _lanes.get(worker.conversation, set()).discard(lane)
