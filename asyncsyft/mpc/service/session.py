"""What a session is to a member of it, party or dealer: who the others are, the batches to run, and how it ends."""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Deque,
    Dict,
    Generator,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Set,
    Tuple,
)

import anyio
import anyio.lowlevel
import msgpack
import numpy as np

from ... import wire
from ...errors import AsyncSyftError, OpFailed, Refused, SessionError
from ...executor.job import Job
from ...protocol import Conversation, Request
from ...waiting import Slot
from ...wire import Failure
from ..machine import Gate, Machine
from ..packing import unpack
from ..watch import Watch
from .meetings import Meetings

if TYPE_CHECKING:
    from .sessions import Sessions

logger = logging.getLogger(__name__)

#: The dealer's place among the members; the parties' are 0, 1, ...
DEALER = -1
#: Bytes of one message between members: as many as a frame takes, since each costs both ends a turn.
PIECE = wire.MAX_FRAME - 4096
#: Batches that wait for one that comes before them.
MAX_AHEAD = 1 << 10
NOTHING = np.empty(0, np.uint8)


class Member(NamedTuple):
    """One who takes part: incarnation, the key for which all said to it is sealed, if any, where it listens, name."""

    life: bytes
    key: bytes
    urls: Tuple[str, ...] = ()
    name: str = ""


class Batch(NamedTuple):
    """Gates to run, as bytes, what comes from outside by number, the numbers to forget then, and the job to answer.

    ``watched``: what each gate costs is told; ``late``: inputs that come by themselves.
    """

    packed: bytes
    inputs: Dict[int, Any]
    drop: List[int]
    watched: bool
    late: Set[int]
    job: Job
    step: int


def following(run: Generator[Any, Any, Any], told: Any = None) -> Any:
    """A machine's next event; None when it is done."""
    try:
        return run.send(told)
    except StopIteration:
        return None


class Session:
    """One session at one member. The driver that opened it owns it."""

    machine: Machine

    def __init__(self, sessions: Sessions, name: bytes, owner: Conversation, members: Dict[int, Member]) -> None:
        self.sessions, self.name, self.owner, self.members = sessions, name, owner, members
        self.slot = sessions.slot
        self.error: Optional[SessionError] = None
        self.talks: Dict[int, Conversation] = {}
        self.places = {member.life: place for place, member in members.items()}
        self.scope = anyio.CancelScope()
        self._early: Dict[int, Batch] = {}
        self._batches: Deque[Batch] = deque()
        self._next = 0
        self._wanted: Optional[Slot[None]] = None
        self.is_begun = False
        #: Seconds that a party waits for the dealer before the session ends; None: as long as it is linked.
        self.patience: Optional[float] = None
        self._open: Dict[Tuple[Job, int], None] = {}  # (job, step) whose answer is owed
        self._apart: Dict[int, Slot[bool]] = {}  # set when a member that is to dial this one says that it cannot
        #: The driver's step that opened it, answered when all members have heard of each other.
        self.greeting: List[Tuple[Job, int]] = []

    @property
    def held(self) -> int:
        """Bytes of its values, and of what came for it and is not used yet."""
        return self.machine.held if self.is_begun else 0

    # Batches, in the order of the driver.

    def add(self, number: int, batch: Batch) -> None:
        """Run a batch after those before it. Raises: SessionError for a number that was there."""
        if number < self._next or number in self._early or len(self._early) >= MAX_AHEAD:
            raise SessionError(f"batch {number} where {self._next} is due")
        self.owe(batch.job, batch.step)
        self._early[number] = batch
        while self._next in self._early:
            self._batches.append(self._early.pop(self._next))
            self._next += 1
        if self._wanted is not None:
            self._wanted.set(None)

    async def work(self) -> None:
        """Run batches until the session ends."""
        with self.scope:
            try:
                if self.sessions.meetings is not None:
                    await self._meet(self.sessions.meetings)
                await self.begin()
                self.is_begun = True
                for job, step in self.greeting:
                    self.pay(job, step)
                while True:
                    await self._do(await self._due())
            except (SessionError, Refused) as error:
                self.fail(SessionError(*error.args))
            except Exception as error:  # hostile gates may raise anything: they cost their session
                logger.warning("a session failed", exc_info=True)
                self.fail(SessionError(f"{type(error).__name__}: {error}"))

    async def _do(self, batch: Batch) -> None:
        machine = self.machine
        machine.room = self.sessions.room_for(self)
        machine.watch = Watch(time.perf_counter) if batch.watched else None
        await self.run(batch, unpack(batch.packed))
        machine.drop(batch.drop)
        told: Dict[str, Any] = self.counts()
        if machine.watch is not None:
            told["notes"] = machine.watch.take()
        batch.job.values.append((batch.step, msgpack.packb(told)))
        self.pay(batch.job, batch.step)

    async def _due(self) -> Batch:
        while not self._batches:
            self._wanted = self.slot()
            await self._wanted
            self._wanted = None
        return self._batches.popleft()

    async def begin(self) -> None:
        """Make the machine, and the acquaintance of the others."""
        raise NotImplementedError

    async def run(self, batch: Batch, gates: List[Gate]) -> None:
        """Run the gates of a batch."""
        raise NotImplementedError

    def counts(self) -> Dict[str, int]:
        """What the driver is told after each batch: all since the session began."""
        raise NotImplementedError

    # Answers that are owed.

    def owe(self, job: Job, step: int) -> None:
        """A step is answered later."""
        job.outstanding += 1
        self._open[job, step] = None

    def later(self, job: Job, step: int) -> Callable[[], None]:
        """Owe the answer to a step; what answers it."""
        self.owe(job, step)
        return lambda: self.pay(job, step)

    def pay(self, job: Job, step: int, error: Optional[SessionError] = None) -> None:
        """Answer it now."""
        if (job, step) in self._open:
            del self._open[job, step]
            if error is not None:
                job.fail(step, OpFailed(str(error), kind=SessionError.__name__), "", ())
            self.sessions.executor.answered_later(job)

    # Others.

    async def _meet(self, meetings: Meetings) -> None:
        """Link directly with those that listen, or to whom this worker listens."""
        mine = next(member for member in self.members.values() if member.life == self.sessions.life)
        async with anyio.create_task_group() as tasks:
            for place, other in self.members.items():
                if other is mine or meetings.linked(other.life):
                    continue
                if other.urls and (not mine.urls or mine.life < other.life):
                    tasks.start_soon(self._reach, meetings, place, other)
                elif mine.urls:
                    tasks.start_soon(meetings.expect, other.life, self._apart.setdefault(place, self.slot()))

    async def _reach(self, meetings: Meetings, place: int, other: Member) -> None:
        if await meetings.reach(other.life, other.urls) or self.error is not None:
            return
        if meetings.has_relay:
            self.say(place, "mpc.apart", {})
        else:
            self.fail(SessionError(f"{self.who(place)} is not to be reached by {self.sessions.executor.worker}"))

    def apart(self, place: int) -> None:
        """A member says that it cannot dial this one."""
        self._apart.setdefault(place, self.slot()).set(False)

    def talk(self, place: int) -> Conversation:
        """The conversation with a member. Raises: SessionError if it is gone."""
        talk = self.talks.get(place)
        if talk is None:
            member = self.members[place]
            converse = self.sessions.executor.converse
            if converse is None:
                raise SessionError("this worker has no road to others")
            try:
                talk = self.talks[place] = converse(member.life, member.key)
            except Refused as error:
                raise SessionError(str(error)) from None
        return talk

    def say(self, place: int, op: str, params: Dict[str, Any], body: Sequence[Any] = (), size: int = 0) -> None:
        """Send a member one step, and bytes with it."""
        talk = self.talk(place)
        request = Said(self, place, size)
        lane = self.sessions.lane(self.name, talk)
        try:
            talk.ask(request, [[op, [], [], {"session": self.name, **params}]], list(body), lane)
        except AsyncSyftError as error:
            request.lost(error)

    def say_all(self, place: int, op: str, params: Dict[str, Any], pieces: Sequence[Any]) -> None:
        """Send a member an array of bytes, in as many steps as it takes."""
        total = sum(piece.nbytes for piece in pieces)
        if total <= PIECE:
            whole: Any = pieces[0] if len(pieces) == 1 else np.concatenate([*pieces, NOTHING])
            self.say(place, op, {**params, "at": 0, "total": total}, [memoryview(whole)], total)
            return
        at = 0
        for piece in pieces:
            for start in range(0, piece.nbytes, PIECE):
                part = memoryview(piece)[start : start + PIECE]
                self.say(place, op, {**params, "at": at, "total": total}, [part], len(part))
                at += len(part)

    def answered(self, place: int, size: int) -> None:
        """A member took what was sent."""

    # The end.

    def who(self, place: int) -> str:
        """A member, for people."""
        return f"{'the dealer' if place == DEALER else f'party {place}'} ({self.members[place].name})"

    def left(self, place: int, error: AsyncSyftError) -> None:
        self.fail(SessionError(f"{self.who(place)} is lost: {error}"))

    def fail(self, error: SessionError, told_by: Optional[bytes] = None) -> None:
        """End the session, and say why to all who wait for it and take part in it. Idempotent."""
        if self.error is not None:
            return
        self.error = error
        for job, step in list(self._open):
            self.pay(job, step, error)
        for place, member in self.members.items():
            if member.life not in (self.sessions.life, told_by):
                try:
                    self.say(place, "mpc.close", {"reason": str(error)[:1000]})
                except SessionError:
                    continue
        self.sessions.over(self)
        self.scope.cancel()


class Said(Request):
    """A step that one member told another; whether it was understood is all that comes back."""

    def __init__(self, session: Session, place: int, size: int) -> None:
        self.session, self.place, self.size = session, place, size

    def failed(self, failure: Failure) -> None:
        self.session.fail(SessionError(failure.message))

    def settled(self) -> None:
        self.session.answered(self.place, self.size)

    def lost(self, error: AsyncSyftError) -> None:
        self.session.left(self.place, error)
