"""Which job runs when: lanes in order, parked jobs, threads for heavy work, and the answers handed to the protocol."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from typing import Callable, Deque, Dict, Iterator, Optional, Protocol, Set, Tuple

from anyio.abc import TaskGroup

from .. import program, tensor, wire
from ..errors import Cancelled, LimitExceeded, OpFailed, Refused, RemoteProtocolError
from ..limits import WorkerLimits
from ..privacy import Audit
from ..program import Step
from ..protocol import CHUNKS_AHEAD, Conversation, Served
from ..store import Outcome, Store
from ..wire import ChunkOf, Program
from . import answers
from .job import Job, raw_inputs, raw_op, raw_outs, raw_states
from .moves import Moves
from .quiet import Quiet
from .releases import Releases
from .run import run
from .steps import LOOP_STEPS, loop_step
from .turns import Turns

logger = logging.getLogger(__name__)

#: Large pieces of what members of a session say to each other, for which there is room: they land where they are to be,
#: and who sends them can seal all of them while the others compute.
PIECES_AHEAD = 32
NO_LIMITS = WorkerLimits(cpu_seconds=0)
_BARRIERS = frozenset((program.SEARCH, program.PLANS, program.RECALL))


class SessionSteps(Protocol):
    """Who takes the steps whose names begin with ``mpc.``."""

    def step(self, job: Job, step: Step) -> None:
        """Do it, now or later. Raises: Refused, LimitExceeded, SessionError."""

    def ended(self, conversation: Conversation) -> None:
        """A conversation is over."""


class LaneQueue:
    """The jobs of one lane that have not begun, and how many run."""

    __slots__ = ("waiting", "running", "parked")

    def __init__(self) -> None:
        self.waiting: Deque[Job] = deque()
        self.parked: Set[Job] = set()
        self.running = 0


class Executor:
    """Runs the programs of all conversations of one worker; a ``protocol.Server``."""

    def __init__(self, store: Store, worker: str, limits: WorkerLimits = NO_LIMITS) -> None:
        self.store, self.worker = store, worker
        self.moves, self.releases = Moves(self), Releases(self)
        #: Where it is written down who asked for what, if anywhere.
        self.audit: Optional[Audit] = None
        self.tasks: Optional[TaskGroup] = None
        #: Opens a conversation with another peer: its incarnation, and its public key if it must be sealed.
        self.converse: Optional[Callable[[bytes, bytes], Conversation]] = None
        #: Takes the steps of MPC sessions, where a worker has them.
        self.sessions: Optional[SessionSteps] = None
        #: Called when the last job has ended.
        self.on_idle: Optional[Callable[[], None]] = None
        #: What else is counted for ``stats``: how often its worker's links came back.
        self.counts: Callable[[], Dict[str, int]] = dict
        self.steps_run = 0
        #: CPU time of one program, at most.
        self.cpu_seconds = limits.cpu_seconds or math.inf
        self.turns = Turns(limits)
        self._quiet = Quiet()
        self.jobs: Dict[Tuple[Conversation, int], Job] = {}
        self._lanes: Dict[Tuple[Conversation, int], LaneQueue] = {}
        self._landings: Dict[Tuple[Conversation, int, int], Tuple[tensor.Landing, int]] = {}
        self._ready: Deque[Tuple[LaneQueue, Job]] = deque()  # parked jobs that need not wait any more
        self._draining = False

    # What the protocol hands over.

    def program(
        self, conversation: Conversation, served: Served, message: Program, body: memoryview, size: int
    ) -> None:
        """Run a program now, or queue it behind those of its lane."""
        job = Job(conversation, served, self.store.space(conversation.theirs), message.steps, body, size)
        lane = self._lanes.get((conversation, served.lane))
        if lane is None:
            lane = self._lanes[conversation, served.lane] = LaneQueue()
        chunked = message.chunked
        try:
            program.check_length(message.steps)
        except LimitExceeded as error:
            job.fail(0, error, "", ())
            job.steps, chunked = [], []
        is_next = not (chunked or lane.waiting or lane.running or job.space.pending)
        of_session = len(job.steps) == 1 and raw_op(job.steps[0]) in program.SESSION_STEPS
        if is_next and self._runs_here(job, of_session):
            # As most do, it ran to its end here, and need not be queued.
            conversation.consumed(served.lane, size, job.generation, PIECES_AHEAD if of_session else CHUNKS_AHEAD)
            self._ran(job)
            if job.outstanding:
                self.jobs[conversation, served.id] = job
            else:
                conversation.done(served, job.patient)
            return
        self.jobs[conversation, served.id] = job
        for index in chunked:
            self._announce(job, index)
        lane.waiting.append(job)
        self._advance(lane)
        if not job.finished:
            job.body = bytes(body)  # it waits: the view is valid only during this call

    def _runs_here(self, job: Job, of_session: bool) -> bool:
        """Run a job, if that can be done at once; what members of a session say to each other is one step of theirs."""
        if of_session:
            loop_step(self, job)
            return True
        return bool(self._quiet.call(run, job, self.store, True))

    def chunk(self, conversation: Conversation, number: int, chunk: ChunkOf, body: memoryview) -> None:
        """Land a part of a tensor that a ``put`` announced."""
        key = (conversation, number, chunk.step)
        entry = self._landings.get(key)
        if entry is None:
            return  # refused, cancelled, or landed before a resend
        landing, out = entry
        if landing.land(chunk.offset, body):
            del self._landings[key]
            job = self.jobs[conversation, number]
            job.space.resolve(out, landing.array)
            self.answered_later(job)

    def landed(self, conversation: Conversation) -> Iterator[Tuple[int, int, int]]:
        """How far the tensors have come that unanswered programs put: (id, step, bytes)."""
        for (asking, number), job in self.jobs.items():
            for step in job.announced if asking is conversation else ():
                entry = self._landings.get((conversation, number, step))
                yield number, step, wire.MAX_ID if entry is None else entry[0].at

    def cancel(self, conversation: Conversation, number: int, step: int) -> None:
        """Mark a step; if it has not begun it will not."""
        job = self.jobs.get((conversation, number))
        if job is None or step >= len(job.steps):
            return
        job.cancelled.add(step)
        entry = self._landings.pop((conversation, number, step), None)
        if entry is not None:
            failure = job.fail(step, Cancelled("cancelled while it was arriving"), program.PUT, ())
            job.space.resolve(entry[1], failure)
            self.answered_later(job)
        self.moves.cancel(job, step)
        self.releases.cancel(job, step)

    def ended(self, conversation: Conversation) -> None:
        """A conversation is over: what was queued or arriving is dropped; the objects stay until they are released."""
        jobs = [self.jobs.pop(key) for key in list(self.jobs) if key[0] is conversation]
        landings = {key: self._landings.pop(key) for key in list(self._landings) if key[0] is conversation}
        for key in [key for key in self._lanes if key[0] is conversation]:
            del self._lanes[key]
        self.moves.ended(conversation)
        self.releases.ended(conversation)
        if self.sessions is not None:
            self.sessions.ended(conversation)
        # Another conversation of the same owner may wait for what will not come now.
        by_number = {job.served.id: job for job in jobs}
        for (_, number, step), (_, out) in landings.items():
            by_number[number].abandon(step, (out,))
        for job in jobs:
            job.abandon(job.index, tuple(job.made))
        if not self.jobs and self.on_idle is not None:
            self.on_idle()

    def _announce(self, job: Job, index: int) -> None:
        """A tensor will arrive in chunks: make room for it, and let those who name it wait."""
        if index >= len(job.steps) or index in job.announced:
            raise RemoteProtocolError(f"step {index} announces no chunks")
        raw = job.steps[index]
        job.announced |= {index}
        try:
            step = program.check(raw)
            (out,) = step.outs
            dtype, shape, nbytes = tensor.check_descr(step.params.get("dtype"), step.params.get("shape"))
            if step.op != program.PUT or not nbytes:
                raise Refused("what comes in chunks is put, and not empty")
            job.check_new(step.outs)
            self.store.check_room(nbytes, job.space)
            landing = tensor.Landing(dtype, shape)
        except Exception as error:  # noqa: BLE001 - a failure of this step alone; its chunks find no place to land
            job.fail(index, error, raw_op(raw), raw_outs(raw))
            return
        job.outstanding += 1
        job.space.expect(out, nbytes)
        self._landings[job.conversation, job.served.id, index] = (landing, out)

    # Lanes.

    def _advance(self, lane: LaneQueue) -> None:
        while lane.waiting and not lane.running:
            job = lane.waiting[0]
            if lane.parked and any(raw_op(step) in _BARRIERS for step in job.steps):
                return
            lane.waiting.popleft()
            if not (job.space.pending and self._park(lane, job)):
                self._begin(lane, job)

    def _park(self, lane: LaneQueue, job: Job) -> bool:
        """Park a job that names pending objects: what it makes is pending too, and what it reads is kept for it."""
        space, steps = job.space, job.steps[job.index :]
        awaited = {number for step in steps for number in job.awaits(step)}
        if not awaited:
            return False

        states = {number for step in steps for number in raw_states(step)}

        def arrived(number: int, outcome: Optional[Outcome]) -> None:
            if outcome is not None:
                job.captured[number] = outcome
            if number in states:
                job.made[number] = None
            job.missing -= 1
            if not job.missing:
                self._ready.append((lane, job))
                self._go_on()

        for number in {number for step in steps if raw_op(step) != program.DELETE for number in raw_inputs(step)}:
            outcome = space.outcome(number)
            if outcome is not None:
                job.captured[number] = outcome
        self._take_back(job)
        for number in awaited:
            space.pending[number].waiters.append(arrived)
            if number in states:
                space.pending[number].turns.add(arrived)
        job.missing = len(awaited)
        lane.parked.add(job)
        for out in [out for step in steps for out in raw_outs(step)]:
            if not space.knows(out):
                space.expect(out)
                job.made[out] = None
        # A state that it reads or may bind anew is on its way too, and goes from one to the next in order: later
        # programs that name it keep their place.
        for state in states - awaited:
            if state not in space.pending:
                space.expect(state)
                job.made[state] = None
        return True

    def _go_on(self) -> None:
        """Begin the parked jobs whose wait is over, one after the other: a chain of them must not be a deep stack."""
        if self._draining:
            return
        self._draining = True
        try:
            while self._ready:
                lane, job = self._ready.popleft()
                lane.parked.discard(job)
                self._begin(lane, job)
                self._advance(lane)
        finally:
            self._draining = False

    def _begin(self, lane: LaneQueue, job: Job) -> None:
        if (job.conversation, job.served.id) not in self.jobs:
            job.abandon(job.index, tuple(job.made))  # its conversation ended while it was parked
            return
        job.conversation.consumed(job.lane, job.size, job.generation)
        job.size = 0
        job.lent = [number for number in job.captured if job.space.outcome(number) is None]
        for number in job.lent:
            job.space.keep(number, job.captured[number])
        job.captured.clear()
        lane.running += 1
        self._run(lane, job)

    def _run(self, lane: LaneQueue, job: Job) -> None:
        while True:
            finished = self._quiet.call(run, job, self.store, True)
            if finished:
                self._finish(lane, job)
                return
            step = job.steps[job.index]
            if job.awaits(step) and self._park(lane, job):
                lane.running -= 1
                self._hand_over(job)
                return
            if raw_op(step) not in LOOP_STEPS:
                break
            loop_step(self, job)
        self._hand_over(job)
        assert self.tasks is not None
        self.tasks.start_soon(self._run_in_thread, lane, job)

    async def _run_in_thread(self, lane: LaneQueue, job: Job) -> None:
        def work() -> None:
            began = time.thread_time()
            job.until = began + self.cpu_seconds - job.cpu
            Quiet().call(run, job, self.store, False)
            job.cpu += time.thread_time() - began
            job.until = math.inf

        await self.turns.run(job.conversation, work)
        job.work = 0
        self._run(lane, job)
        self._advance(lane)

    def _finish(self, lane: LaneQueue, job: Job) -> None:
        lane.running -= 1
        self._take_back(job)
        made, job.made = job.made, {}
        for number in made:
            job.space.settle(number)
        self._ran(job)
        if not job.outstanding:
            self._done(job)

    def _ran(self, job: Job) -> None:
        """All its steps have run, or are under way."""
        self.steps_run += len(job.steps) + job.plan_steps
        job.body = b""  # a view into the message that brought it, which must be let go
        job.finished = True
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("%s: request %d has run, %d steps", self.worker, job.served.id, len(job.steps))
        if job.values or job.failures:
            self._hand_over(job)
        if job.unwritten >= 0:
            self._confirm(job, job.unwritten)

    def _confirm(self, job: Job, step: int) -> None:
        """Answer a job only when what it changed is on disk."""
        kept = self.store.kept
        if kept is None or kept.is_written:
            return

        def told(error: Optional[OpFailed]) -> None:
            if error is not None:
                job.fail(step, error, raw_op(job.steps[step]), ())
            self.answered_later(job)

        job.outstanding += 1
        self.jobs[job.conversation, job.served.id] = job
        kept.confirm(told)

    @staticmethod
    def _take_back(job: Job) -> None:
        for number in job.lent:
            job.space.delete(number)
        job.lent = ()

    def answered_later(self, job: Job) -> None:
        """A step that was left open has its answer now."""
        job.outstanding -= 1
        if job.finished:
            self._hand_over(job)
            if not job.outstanding:
                self._done(job)

    def _done(self, job: Job) -> None:
        if self.jobs.pop((job.conversation, job.served.id), None) is not None:
            job.conversation.done(job.served, job.patient)
            if not self.jobs and self.on_idle is not None:
                self.on_idle()

    # Answers.

    def _hand_over(self, job: Job) -> None:
        """Give the answers so far to the conversation: small ones together, large ones each in its chunks."""
        conversation, served = job.conversation, job.served
        if conversation.ended is not None:
            return
        if self.audit is not None:
            self.releases.note_gets(job)
        for failure in job.failures:
            conversation.fail(served, failure)
        if job.values:
            answers.give(conversation, served, job.values)
        job.failures, job.values = [], []
