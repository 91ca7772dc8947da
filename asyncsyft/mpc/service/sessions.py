"""The sessions of a worker, by name; what others say to them is checked here, and handed on.

Every member hears of a session from the driver, and from other members, in any order: what comes too early is kept, a
little of it, and said again when the session is there.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

import numpy as np

from ...errors import LimitExceeded, Refused, SessionError
from ...executor import Executor
from ...executor.job import Job
from ...privacy import Private
from ...program import Step
from ...protocol import Conversation
from ...waiting import Slot, slot_class
from ..prg import SEED_SIZE
from .dealer import DealerSession
from .meetings import Meetings
from .party import PartySession
from .reading import array_of, batch_of, bytes_of, inputs_of, int_of, member_of, patience_of
from .session import DEALER, Member, Session

#: Sessions at once, and parties in each.
MAX_SESSIONS, MAX_PARTIES = 256, 64
#: What is kept of messages for sessions that are not open yet, of each peer: messages, and bytes.
MAX_EARLY, EARLY_BYTES = 1 << 10, 1 << 22
NAME_SIZE = 16
#: How members speak to each other: changed with whatever they must do alike, gates, draws and messages. It is told by
#: the driver, and one who speaks otherwise takes no part: what they came to together would be noise.
FORM = 2
#: An array of so many bytes, made and forgotten, lets glibc keep as much memory as it ever would: from then on what
#: sessions make and forget, megabytes a step, does not come from the system anew each time. Elsewhere it does nothing.
KEEPING = (1 << 25) - (1 << 13)
#: An opening of at most so many bytes is answered with later ones: the party keeps it until then, and waits for none.
SMALL = 1 << 17
#: The first lane of sessions: below are those of ordinary requests, and of those made while serving others.
FIRST_LANE = 512


class Early(NamedTuple):
    job: Job
    step: int
    request: Step
    body: bytes


class Sessions:
    """All sessions in which a worker takes part."""

    def __init__(self, executor: Executor, life: bytes, meetings: Optional[Meetings] = None) -> None:
        self.executor, self.life, self.meetings = executor, life, meetings
        executor.store.lent = self.held
        self.open: Dict[bytes, Session] = {}
        #: What this worker alone was told, by name.
        self.results: Dict[str, Any] = {}
        self._waiting: Dict[str, List[Slot[Any]]] = {}
        self._early: Dict[bytes, List[Early]] = {}
        self._kept: Dict[Conversation, Tuple[int, int]] = {}  # messages and bytes of each peer among these
        self._ended: OrderedDict[bytes, str] = OrderedDict()
        self._lanes: Dict[Conversation, Dict[bytes, int]] = {}

    @property
    def slot(self) -> Callable[[], Slot[Any]]:
        return slot_class()

    # What is said.

    def step(self, job: Job, step: Step) -> None:
        """A step whose name begins with ``mpc.``. Raises: Refused, LimitExceeded, SessionError."""
        name = bytes_of(step.params.get("session"), NAME_SIZE)
        if step.op == "mpc.open":
            self._open(name, job, step.params)
            return
        session = self.open.get(name)
        if session is None:
            self._keep(name, job, step)
            return
        try:
            self._hand(session, job, job.index, step, memoryview(job.body))
        except SessionError as error:
            session.fail(error)
            raise
        except (TypeError, KeyError, ValueError) as error:
            session.fail(SessionError(f"not understood: {type(error).__name__} in {step.op}"))
            raise

    def _keep(self, name: bytes, job: Job, step: Step) -> None:
        if name in self._ended:
            if step.op != "mpc.close":
                raise SessionError(self._ended[name])
            return
        early = Early(job, job.index, step, bytes(job.body))
        count, size = self._kept.get(job.conversation, (0, 0))
        if count >= MAX_EARLY or size + len(early.body) > EARLY_BYTES:
            raise LimitExceeded("too much was said to sessions that are not open")
        self._kept[job.conversation] = count + 1, size + len(early.body)
        self._early.setdefault(name, []).append(early)
        job.outstanding += 1

    def _forget(self, early: Early) -> None:
        count, size = self._kept.pop(early.job.conversation)
        if count > 1:
            self._kept[early.job.conversation] = count - 1, size - len(early.body)

    def room_for(self, session: Session) -> int:
        """Bytes that the values of a session may take: what the worker may hold, without what others do."""
        store = self.executor.store
        return max(0, store.limit - store.nbytes - self.held(session))

    def held(self, but: Optional[Session] = None) -> int:
        """Bytes of the values of all sessions but one."""
        if not self.open:  # asked for each tensor that the worker stores
            return 0
        return sum(session.held for session in list(self.open.values()) if session is not but)

    def _replay(self, session: Session) -> None:
        for early in self._early.pop(session.name, ()):
            self._forget(early)
            try:
                if session.error is not None:
                    raise session.error
                self._hand(session, early.job, early.step, early.request, memoryview(early.body))
            except Exception as error:  # noqa: BLE001 - hostile parameters end the session
                early.job.fail(early.step, error, early.request.op, ())
                session.fail(error if isinstance(error, SessionError) else SessionError(f"not understood: {error}"))
            self.executor.answered_later(early.job)

    def _hand(self, session: Session, job: Job, index: int, step: Step, body: memoryview) -> None:
        params, sender = step.params, job.conversation.theirs
        place = session.places.get(sender, DEALER - 1)
        if sender == session.owner.theirs and self._of_driver(session, job, index, step):
            return
        if step.op == "mpc.close" and (sender == session.owner.theirs or place >= DEALER):
            session.fail(SessionError(str(params.get("reason", ""))[:1000] or "the session was closed"), sender)
        elif step.op == "mpc.apart" and place >= DEALER:
            session.apart(place)
        elif not isinstance(session, PartySession) or place < DEALER:
            raise Refused(f"{step.op} is not for this member, or not from that one")
        elif step.op == "mpc.opened":
            hop, at, total = int_of(params["hop"]), int_of(params["at"]), int_of(params["total"])
            job.patient = total <= SMALL
            session.opened(place, hop, at, total, body, job, index)
        elif step.op == "mpc.deal":
            session.dealt(place, int_of(params["at"]), int_of(params["total"]), body, job, index)
        elif step.op == "mpc.told":
            number, at, total = int_of(params["number"]), int_of(params["at"]), int_of(params["total"])
            session.told(place, number, at, total, body, job, index)
        elif step.op == "mpc.seeds":
            session.seeds(place, params["own"], params["before"], params["after"])
        else:
            raise Refused(f"{step.op} is not for members")

    def _of_driver(self, session: Session, job: Job, index: int, step: Step) -> bool:
        params = step.params
        if step.op == "mpc.run":
            session.add(int_of(params["batch"]), batch_of(job, index, step, self._arrays(job, step.inputs[1:])))
        elif step.op == "mpc.input" and isinstance(session, PartySession):
            for number, array in inputs_of(step, self._arrays(job, step.inputs)).items():
                session.given(number, array)
        elif step.op == "mpc.reveal" and isinstance(session, PartySession):
            if "name" in params:
                session.learn(int_of(params["number"]), str(params["name"]), int_of(params["bits"]), job, index)
            else:
                session.reveal(int_of(params["number"]), job, index)
        else:
            return False
        return True

    def _arrays(self, job: Job, numbers: Sequence[Any]) -> List[Any]:
        """What a step gives to a session. Raises: SessionError for what is no tensor, or may not be shared."""
        return [self._array(job, number) for number in numbers]

    def _array(self, job: Job, number: Any) -> Any:
        found = job.space.outcome(number) if type(number) is int else None
        if isinstance(found, Private):
            held = sorted(found.guard.labels - self.executor.store.shareable)
            if held:
                raise SessionError(f"object {number} depends on {held[0]}, which is private and not to be shared")
            self.executor.releases.note(job, job.index, "share", found, outcome="done", decided=True)
            return found.array
        return array_of(job, number)

    def _open(self, name: bytes, job: Job, params: Any) -> None:
        if name in self.open or name in self._ended or len(self.open) >= MAX_SESSIONS:
            raise Refused("that session is open, or over, or there are too many")
        members, place = self._members(params)
        seeds = [bytes_of(seed, SEED_SIZE) for seed in params.get("seeds", ())]
        if len(seeds) != (len(members) - 1 if place == DEALER else 1):
            raise Refused("the dealer knows the seeds of all inputs, a party its own")
        session: Session
        if place == DEALER:
            session = DealerSession(self, name, job.conversation, members, seeds)
        else:
            session = PartySession(self, name, job.conversation, members, place, seeds[0])
        session.patience = patience_of(params.get("patience"))
        self.open[name] = session
        np.empty(KEEPING, np.uint8)
        session.owe(job, job.index)
        session.greeting.append((job, job.index))
        assert self.executor.tasks is not None
        self.executor.tasks.start_soon(session.work)
        self._replay(session)

    def _members(self, params: Any) -> Tuple[Dict[int, Member], int]:
        """Who takes part in a session, by place, and which of them this worker is. Raises: Refused."""
        if params.get("form") != FORM:
            raise Refused(f"members of sessions speak form {FORM} here: all need versions that do")
        parties, place = params.get("parties"), int_of(params.get("place"))
        if type(parties) is not list or not 2 <= len(parties) <= MAX_PARTIES:
            raise Refused(f"a session has 2 to {MAX_PARTIES} parties")
        members = {index: member_of(each) for index, each in enumerate(parties)}
        members[DEALER] = member_of(params.get("dealer"))
        lives = {member.life for member in members.values()}
        if place not in members or members[place].life != self.life or len(lives) < len(members):
            raise Refused("the members of a session are different workers, and this one has its place among them")
        return members, place

    # Lanes: each session has one of its own in each conversation.

    def lane(self, name: bytes, conversation: Conversation) -> int:
        """The lane in which a session talks to a peer."""
        lanes = self._lanes.setdefault(conversation, {})
        if name not in lanes:
            taken: Set[int] = set(lanes.values())
            lanes[name] = next(lane for lane in range(FIRST_LANE, FIRST_LANE + MAX_SESSIONS + 1) if lane not in taken)
        return lanes[name]

    # Ends.

    def over(self, session: Session) -> None:
        """A session has ended."""
        self.open.pop(session.name, None)
        self._ended[session.name] = str(session.error)
        for lanes in self._lanes.values():
            lanes.pop(session.name, None)
        while len(self._ended) > 4 * MAX_SESSIONS:
            self._ended.popitem(last=False)

    def ended(self, conversation: Conversation) -> None:
        """A conversation is over: so are the sessions that need it."""
        self._lanes.pop(conversation, None)
        for session in list(self.open.values()):
            place = session.places.get(conversation.theirs)
            if conversation is session.owner:
                session.fail(SessionError("the driver has left"))
            elif place is not None and session.talks.get(place, conversation) is conversation:
                session.talks.setdefault(place, conversation)
                session.left(place, conversation.ended or SessionError("it has left"))
        self._kept.pop(conversation, None)
        for name, kept in list(self._early.items()):
            left = [early for early in kept if early.job.conversation is not conversation]
            self._early[name] = left
            if not left:
                del self._early[name]

    def close(self) -> None:
        """The worker ends: so do its sessions."""
        for session in list(self.open.values()):
            session.fail(SessionError(f"{self.executor.worker} has ended"))

    # Results for whoever runs this worker.

    def learned(self, name: str, values: Any) -> None:
        self.results[name] = values
        for slot in self._waiting.pop(name, ()):
            slot.set(values)

    async def result(self, name: str) -> Any:
        """What a session revealed to this worker alone, now or when it does."""
        if name in self.results:
            return self.results[name]
        slot: Slot[Any] = self.slot()
        self._waiting.setdefault(name, []).append(slot)
        return await slot
