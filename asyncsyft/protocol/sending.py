"""One end of a conversation, as far as it sends: ids, what waits to leave, answers, what is sent again after a resume.

It does not know what comes: see ``conversation.py``.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Callable, Deque, Dict, Iterable, List, Optional, Set, Tuple, Union

from .. import wire
from ..compression import AUTO, Policy
from ..errors import AsyncSyftError, RemoteProtocolError
from ..tensor import Array
from ..wire import Buffer, Failure, Parcel
from .lane import WINDOW, Chunks, Lane, Request, Served, Server

#: Lanes that one conversation may have: MPC sessions and nested requests need a few each.
MAX_LANES = 1024
#: Requests of one conversation that are not answered yet; the far end keeps what it answered until that was seen. It
#: takes four times as many: what was queued long ago says less of what was seen.
MAX_REQUESTS = 1 << 14
MAX_UNSEEN = 4 * MAX_REQUESTS
#: Ids in one answers frame, and the bytes that its failures may fill, so that it stays below ``wire.MAX_EXEMPT``.
MAX_ABOVE = 4096
FAILURE_BYTES = 24 << 10


class Sending:
    """One end of what two peers have between them. ``mine`` and ``theirs`` are the incarnations of the two lives."""

    def __init__(
        self, mine: bytes, theirs: bytes, server: Server, can: Dict[str, Any], compression: str = AUTO
    ) -> None:
        self.mine, self.theirs = mine, theirs
        self.policy = Policy(compression)
        #: Seconds on some clock; who hands over a credit frame sets it.
        self.now = 0.0
        self.server = server
        self.can, self.they_can = can, {}  # type: Dict[str, Any], Dict[str, Any]
        self.to = 0
        self.lanes: Dict[int, Lane] = {}
        self._turns: Deque[Lane] = deque()
        self.ended: Optional[AsyncSyftError] = None
        #: Called when there is something to send.
        self.wake: Callable[[], None] = lambda: None
        self.generation = 0
        # the asking side
        self.last_id = 0
        self.seen = 0
        self.unanswered: Dict[int, Request] = {}
        self._done_above: Set[int] = set()
        # the serving side
        self.received = 0
        self.floor = 0
        self.forgotten = 0
        self.served: Dict[int, Served] = {}
        self._they_expand = False  # they offer the codec
        self._greeted = False  # their resume came
        self._resumed = False  # requests and answers may leave
        self._resending: Deque[Request] = deque()
        self._control: Deque[Tuple[Parcel, int]] = deque()
        self._grants: Set[int] = set()
        self._answers_due = False
        self._acknowledged = 0  # answers seen, as ``acknowledge`` last said
        self._held_back = False  # a request waits for answers to others
        self._new_above: List[int] = []
        self._new_failures: Deque[Failure] = deque()

    def lane(self, number: int) -> Lane:
        """The lane of that number. Raises: RemoteProtocolError past ``MAX_LANES``."""
        lane = self.lanes.get(number)
        if lane is None:
            if len(self.lanes) >= MAX_LANES:
                raise RemoteProtocolError(f"more than {MAX_LANES} lanes")
            lane = self.lanes[number] = Lane(number)
            self._turns.append(lane)
        return lane

    @property
    def owes(self) -> bool:
        """Whether a request or an answer waits to leave."""
        return self._answers_due or any(lane.queue or lane.bulk for lane in self.lanes.values())

    # What this end asks, answers and gives back.

    def ask(self, request: Request, steps: List[Any], body: Iterable[Buffer], lane: int = 0) -> None:
        """Queue a request; its id is given when it leaves. Large tensors of ``request.chunks`` travel behind it.

        Raises: LocalProtocolError if it does not fit a frame; the error that ended the conversation.
        """
        if self.ended is not None:
            raise self.ended
        chunked = [step for step, _ in request.chunks]
        request.parcel = Parcel(wire.PROGRAM, lane, (self.seen, steps, chunked), list(body), 0, self._policy(request))
        self.lane(lane).queue.append((request, request.parcel))
        self.wake()

    def cancel(self, request: Request, step: int) -> None:
        """Ask that a step be not begun, if it can still be stopped; does not wait."""
        request.cancels.append(step)
        request.landings.pop(step, None)
        for lane in self.lanes.values():
            lane.drop(request, step)
        if request.id in self.unanswered and self.ended is None:
            self._control.append((Parcel(wire.CANCEL, 0, (self.seen, step)), request.id))
            self.wake()

    def value(self, served: Served, step: int, array: Array) -> None:
        """Answer a step with a tensor too large for ``values``; the array is pinned until the answer was seen."""
        self._answer(served, Chunks(step, array, wire.OF_ANSWER))

    def values(self, served: Served, values: List[Tuple[int, str, Tuple[int, ...], int]], body: List[Buffer]) -> None:
        """Answer steps with small tensors and documents: (step, descriptor, shape, offset in the body) each."""
        self._answer(served, Parcel(wire.VALUES, served.lane, (self.seen, values), body, 0, self._policy(served)))

    def _answer(self, served: Served, what: Union[Parcel, Chunks]) -> None:
        item = (served, what)
        served.answers.append(item)
        served.unsent += 1
        lane = self.lane(served.lane)
        (lane.queue if isinstance(what, Parcel) else lane.bulk).append(item)
        self.wake()

    def fail(self, served: Served, failure: Failure) -> None:
        """Report a step that failed."""
        served.failures.append(failure)
        self._new_failures.append(failure)
        self._answers_due = True
        self.wake()

    def done(self, served: Served) -> None:
        """All steps of the request have run; it counts as answered when the values that it gave have left."""
        served.done = True
        if not served.unsent:
            self._answered(served)
        self.wake()

    def _answered(self, served: Served, told: bool = False) -> None:
        """Count a request as answered; ``told``: its last frame of values says so itself."""
        if served.id == self.floor + 1:
            self.floor += 1
            while (after := self.served.get(self.floor + 1)) is not None and after.done and not after.unsent:
                self.floor += 1
        elif not told:
            self._new_above.append(served.id)
        self._answers_due = self._answers_due or not told

    def consumed(self, lane: int, size: int, generation: int) -> None:
        """Give credit back: these bytes are no longer held here. Bytes of before a resume give none."""
        at = self.lane(lane)
        if generation != self.generation:
            return
        at.consumed += size
        if at.consumed + WINDOW - at.allowed >= WINDOW // 2:
            at.allowed = at.consumed + WINDOW
            self._grants.add(lane)
            self.wake()

    def acknowledge(self) -> None:
        """Say which answers were seen, if nothing that left said so: the far end keeps them until then."""
        if self.seen > self._acknowledged and self._resumed and self.ended is None:
            self._acknowledged = self.seen
            self._grants.add(self.lane(0).number)
            self.wake()

    # The link's side: what may leave.

    def begin(self, to: int) -> None:
        """A road is there (again); ``to`` is the far end's number on it. A resume leaves before anything else."""
        self.to = to
        self.generation += 1
        self._greeted = False
        self._resumed = not self.received and not self.last_id
        for lane in self.lanes.values():
            lane.reset()
        self._control.clear()
        self._grants.clear()
        resume = (self.mine, self.theirs, self.received, self.seen, self.can)
        self._control.append((Parcel(wire.RESUME, 0, resume), 0))
        self.wake()

    def take(self, out: List[Buffer], budget: int) -> int:
        """Append frames of about ``budget`` bytes to a message; their bytes, 0 when nothing may leave now."""
        if self.ended is not None:
            return 0
        used = self._take_control(out, budget) if self._control or self._grants else 0
        if not self._resumed:
            return used
        while self._resending and used < budget:
            request = self._resending.popleft()
            assert request.parcel is not None
            used += self._send(self.lane(request.parcel.lane), out, request, request.parcel, last=True)
        for lane in list(self._turns):
            while used < budget:
                size = self._take_one(lane, out)
                if not size:
                    break
                used += size
        self._turns.rotate(-1)
        if self._answers_due:
            used += self._take_answers(out)
        # What became due on the way, and does not fit this message: ask again.
        return max(used, budget) if self._answers_due or self._control else used

    def _take_control(self, out: List[Buffer], budget: int) -> int:
        used = 0
        while self._control and used < budget:
            parcel, number = self._control.popleft()
            used += parcel.write(out, self.to, number)
        grants, self._grants = self._grants, set()
        for number in grants:
            credit = Parcel(wire.CREDIT, number, (self.seen, self.lanes[number].allowed))
            used += credit.write(out, self.to, 0)
        return used

    def _take_answers(self, out: List[Buffer]) -> int:
        # A request counts as answered when its failures are told: they leave first, the new floor with the last frame.
        failures, above, size = [], [], 0
        while self._new_failures and size < FAILURE_BYTES:
            failures.append(failure := self._new_failures.popleft())
            size += 128 + 4 * (len(failure.message) + len(failure.kind) + len(failure.op))
        if not self._new_failures:
            above, self._new_above = self._new_above[:MAX_ABOVE], self._new_above[MAX_ABOVE:]
            self._answers_due = bool(self._new_above)
        floor = self.forgotten if self._answers_due else self.floor
        return Parcel(wire.ANSWERS, 0, (self.seen, above, failures)).write(out, self.to, floor)

    def _take_one(self, lane: Lane, out: List[Buffer]) -> int:
        if not lane.queue and lane.refill is not None and lane.room >= wire.MAX_FRAME:
            lane.refill()
        # Small frames and chunks take turns, so that neither waits for the end of the other.
        if lane.bulk and (lane.bulk_next or not lane.queue):
            return self._take_chunk(lane, out)
        if not lane.queue:
            return 0
        owner, parcel = lane.queue[0]
        assert isinstance(parcel, Parcel)
        if parcel.charge > lane.room or self._too_many(owner):
            return 0
        lane.queue.popleft()
        lane.bulk_next = True
        return self._send(lane, out, owner, parcel, last=True)

    def _too_many(self, owner: Union[Request, Served]) -> bool:
        """Whether a request has to wait until earlier ones are answered."""
        self._held_back = isinstance(owner, Request) and not owner.id and self.last_id - self.seen >= MAX_REQUESTS
        return self._held_back

    def _take_chunk(self, lane: Lane, out: List[Buffer]) -> int:
        while lane.bulk and isinstance(owner := lane.bulk[0][0], Request) and owner.id not in self.unanswered:
            lane.bulk.popleft()  # answered before it was whole: nobody wants the rest
        if not lane.bulk:
            return self._take_one(lane, out)
        if lane.room < wire.CHUNK + 1024:
            return 0
        owner, chunks = lane.bulk.popleft()
        assert isinstance(chunks, Chunks)
        parcel = chunks.next(lane.number, self.seen, self._policy(owner))
        chunks.at = min(chunks.at + wire.CHUNK, len(chunks.data))
        if not chunks.done:
            lane.bulk.append((owner, chunks))
        lane.bulk_next = False
        if isinstance(owner, Request):
            owner.progress(chunks.step, chunks.at, len(chunks.data))
        return self._send(lane, out, owner, parcel, last=chunks.done)

    def _send(self, lane: Lane, out: List[Buffer], owner: Union[Request, Served], parcel: Parcel, last: bool) -> int:
        flags = 0
        if isinstance(owner, Served):
            owner.unsent -= last
            if owner.done and not owner.unsent:
                flags = wire.LAST if parcel.kind == wire.VALUES and not owner.failures else 0
                self._answered(owner, told=bool(flags))
        elif parcel is owner.parcel:
            self._leave(owner, lane)
        lane.sent += parcel.charge
        lane.passed += parcel.size
        return parcel.write(out, self.to, owner.id, flags=flags)

    def _policy(self, owner: Union[Request, Served]) -> Optional[Policy]:
        """What decides on compression for this request or its answers; None if the far end cannot expand."""
        return (owner.policy or self.policy) if self._they_expand else None

    def _leave(self, request: Request, lane: Lane) -> None:
        """A request leaves, for the first time or once more; its chunks and cancels follow it."""
        if not request.id:
            self.last_id += 1
            request.id = self.last_id
            self.unanswered[request.id] = request
            request.sent()
        for step, array in request.chunks:
            lane.bulk.append((request, Chunks(step, array, 0)))
        self._cancel_again(request)

    def _cancel_again(self, request: Request) -> None:
        for step in request.cancels:
            self._control.append((Parcel(wire.CANCEL, 0, (self.seen, step)), request.id))

    def _resend(self, received: int) -> None:
        for lane in self.lanes.values():
            waiting = [item for item in lane.queue if not item[0].id]
            lane.queue.clear()
            lane.bulk.clear()
            lane.queue.extend(waiting)
        # What the far end lacks leaves first, in the order of the ids whatever the lanes. It was within the credit
        # once, and credit starts afresh, so it need not wait for any.
        self._resending.clear()
        for number, request in self.unanswered.items():
            assert request.parcel is not None
            if number > received:
                self._resending.append(request)
                continue
            for step, array in request.chunks:
                self.lane(request.parcel.lane).bulk.append((request, Chunks(step, array, 0)))
            self._cancel_again(request)
        self._resend_answers()

    def _resend_answers(self) -> None:
        # From here on nothing unseen counts as answered until it has been told once more, in order.
        self.floor = self.forgotten
        self._new_above.clear()
        self._new_failures.clear()
        for served in self.served.values():
            lane = self.lane(served.lane)
            self._new_failures.extend(served.failures)
            served.unsent = len(served.answers)
            for _, answer in served.answers:
                if isinstance(answer, Parcel):
                    lane.queue.append((served, answer))
                else:
                    answer.at = 0
                    lane.bulk.append((served, answer))
        for served in self.served.values():
            if served.done and not served.unsent and served.id > self.floor:
                self._answered(served)
        self._answers_due = True
