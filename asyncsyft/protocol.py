"""The rules of one conversation: ids, lanes, answers, credit, resume. No await, no clock, no I/O.

A conversation is what two peers have between them; it outlives the links that carry it. Either end may ask and serve.
It is a *source* for a link: ``take`` gives the frames that may leave now, ``receive`` takes those that came. It does
not know what a step means: requests are handed to a ``Server``, answers to the ``Request`` that waits for them.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Callable, Deque, Dict, Iterable, List, Optional, Protocol, Set, Tuple, Union

from . import tensor, wire
from .compression import AUTO, Policy
from .errors import AsyncSyftError, LimitExceeded, RemoteProtocolError
from .tensor import Array
from .wire import Answers, Buffer, Cancel, ChunkOf, Credit, Failure, Frame, Parcel, Program, Resume, Values

#: Bytes of frames that a lane starts with: a long road at gigabit speed needs no more for calls, a worker can hold it.
WINDOW = 1 << 20
#: Lanes that one conversation may have: MPC sessions and nested requests need a few each.
MAX_LANES = 1024
#: Ids in one answers frame, and the bytes that its failures may fill, so that it stays below ``wire.MAX_EXEMPT``.
MAX_ABOVE = 4096
FAILURE_BYTES = 24 << 10


class Request:
    """A request of ours, from when it is queued until it is answered; the asker's class says what an answer does."""

    __slots__ = ("cancels", "chunks", "failures", "id", "landings", "parcel", "policy")

    def __init__(self) -> None:
        self.id = 0  # given when it leaves
        self.parcel: Optional[Parcel] = None
        self.chunks: List[Tuple[int, Array]] = []  # (step, array) that travel behind it
        self.landings: Dict[int, tensor.Landing] = {}
        self.cancels: List[int] = []  # steps that nobody wants any more; told again on a new road
        self.policy: Optional[Policy] = None  # decides on compression, in place of the conversation's
        self.failures: Set[int] = set()  # steps whose failure came; a new road tells of them again

    def sent(self) -> None:
        """It has its id and leaves now."""

    def wants(self, step: int) -> bool:
        """Whether step ``step`` asked for a value that has not come yet."""
        return False

    def progress(self, step: int, done: int, total: int) -> None:
        """So many bytes of the large tensor of step ``step`` have left, or landed."""

    def value(self, step: int, value: Any) -> None:
        """Step ``step`` gave this: an array, or a document."""

    def failed(self, failure: Failure) -> None:
        """A step failed at the far end."""

    def settled(self) -> None:
        """All steps are answered."""

    def lost(self, error: AsyncSyftError) -> None:
        """The conversation ended first."""


class Served:
    """A request of theirs, from when it came until its answer was seen."""

    __slots__ = ("id", "lane", "answers", "failures", "done", "unsent", "policy")

    def __init__(self, number: int, lane: int) -> None:
        self.id = number
        self.lane = lane
        self.answers: List[_Item] = []
        self.failures: List[Failure] = []
        self.done = False
        self.policy: Optional[Policy] = None  # as of a Request
        self.unsent = 0  # answers that have not left yet


class Server(Protocol):
    """Who serves the requests of a conversation."""

    def program(
        self, conversation: Conversation, served: Served, message: Program, body: memoryview, size: int
    ) -> None:
        """A program came; ``body`` is valid only during the call. Give ``size`` back by ``consumed``."""

    def chunk(self, conversation: Conversation, number: int, chunk: ChunkOf, body: memoryview) -> None:
        """A part of a tensor that a step of request ``number`` puts."""

    def cancel(self, conversation: Conversation, number: int, step: int) -> None:
        """Do not begin that step."""


class _Chunks:
    """The frames of one large tensor, made as they leave."""

    __slots__ = ("step", "descr", "shape", "data", "at", "flags")

    def __init__(self, step: int, array: Array, flags: int) -> None:
        self.step, self.flags, self.at = step, flags, 0
        self.descr, self.shape = tensor.descriptor(array.dtype), list(array.shape)
        self.data = tensor.raw(array)

    def next(self, lane: int, seen: int, policy: Optional[Policy]) -> Parcel:
        piece = self.data[self.at : self.at + wire.CHUNK]
        meta = (seen, self.step, self.descr, self.shape, self.at)
        return Parcel(wire.CHUNK_OF, lane, meta, [piece], self.flags, policy)

    @property
    def done(self) -> bool:
        return self.at >= len(self.data)


_Item = Tuple[Union[Request, Served], Union[Parcel, _Chunks]]


class Lane:
    """An ordered part of a conversation: what waits to leave, and the credit of both directions."""

    __slots__ = (
        "number", "queue", "bulk", "bulk_next", "sent", "granted", "received", "allowed", "consumed", "refill",
        "passed", "mark",
    )  # fmt: skip

    def __init__(self, number: int) -> None:
        self.number = number
        self.queue: Deque[_Item] = deque()
        self.bulk: Deque[_Item] = deque()
        self.bulk_next = False
        #: Closes a program from what is recorded, if anything is; asked only when there is nothing else to send.
        self.refill: Optional[Callable[[], object]] = None
        self.reset()

    def reset(self) -> None:
        """Both ends count from zero again after a resume."""
        self.sent = self.received = self.consumed = 0
        self.granted = self.allowed = WINDOW
        self.passed = 0  # as ``sent``, compressed
        #: When credit last came while there was more to send: (seconds, granted, sent, passed).
        self.mark: Optional[Tuple[float, int, int, int]] = None

    @property
    def room(self) -> int:
        """Bytes that may still leave."""
        return self.granted - self.sent

    def drop(self, owner: Union[Request, Served], step: int) -> bool:
        """Send no more chunks of a step; whether there were any."""
        kept = [(o, c) for o, c in self.bulk if o is not owner or not isinstance(c, _Chunks) or c.step != step]
        dropped = len(kept) < len(self.bulk)
        self.bulk = deque(kept)
        return dropped

    def grant(self, granted: int, now: float) -> Optional[float]:
        """Credit came; the bytes per second that the road carried since it last did, if it was busy all the while."""
        before, self.mark = self.mark, None
        if self.queue or self.bulk:
            self.mark = (now, granted, self.sent, self.passed)
        self.granted = max(self.granted, granted)
        if before is None or now <= before[0] or self.sent <= before[2]:
            return None
        shrunk = (self.passed - before[3]) / (self.sent - before[2])
        return (granted - before[1]) * shrunk / (now - before[0])


class Conversation:
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
        self._answer(served, _Chunks(step, array, wire.OF_ANSWER))

    def values(self, served: Served, values: List[Tuple[int, str, Tuple[int, ...], int]], body: List[Buffer]) -> None:
        """Answer steps with small tensors and documents: (step, descriptor, shape, offset in the body) each."""
        self._answer(served, Parcel(wire.VALUES, served.lane, (self.seen, values), body, 0, self._policy(served)))

    def _answer(self, served: Served, what: Union[Parcel, _Chunks]) -> None:
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
        if parcel.charge > lane.room:
            return 0
        lane.queue.popleft()
        lane.bulk_next = True
        return self._send(lane, out, owner, parcel, last=True)

    def _take_chunk(self, lane: Lane, out: List[Buffer]) -> int:
        while lane.bulk and isinstance(owner := lane.bulk[0][0], Request) and owner.id not in self.unanswered:
            lane.bulk.popleft()  # answered before it was whole: nobody wants the rest
        if not lane.bulk:
            return self._take_one(lane, out)
        if lane.room < wire.CHUNK + 1024:
            return 0
        owner, chunks = lane.bulk.popleft()
        assert isinstance(chunks, _Chunks)
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
            lane.bulk.append((request, _Chunks(step, array, 0)))
        self._cancel_again(request)

    def _cancel_again(self, request: Request) -> None:
        for step in request.cancels:
            self._control.append((Parcel(wire.CANCEL, 0, (self.seen, step)), request.id))

    # The link's side: what came.

    def receive(self, frame: Frame) -> None:
        """Take one frame of this conversation. Raises: RemoteProtocolError, which ends the conversation."""
        handler = _HANDLERS.get(frame.kind)
        if handler is None:
            raise RemoteProtocolError(f"a frame of kind {frame.kind} has no place in a conversation")
        if self._greeted == (frame.kind == wire.RESUME):
            raise RemoteProtocolError("a conversation on a new road begins with one resume")
        if frame.size > wire.MAX_EXEMPT and frame.kind in _EXEMPT:
            raise RemoteProtocolError(f"a frame of kind {frame.kind} and {frame.size} bytes, which no credit pays for")
        message = wire.parse(frame)
        if frame.flags & wire.COMPRESSED:
            if wire.ZSTD not in self.can.get("codecs", ()):
                raise RemoteProtocolError("a compressed frame for a peer that offers no codec")
            frame = wire.expanded(frame)
        handler(self, frame, message)

    def _charge(self, frame: Frame) -> None:
        lane = self.lane(frame.lane)
        lane.received += frame.size
        if lane.received > lane.allowed:
            raise RemoteProtocolError(f"{lane.received} bytes on lane {frame.lane} where {lane.allowed} were granted")

    def _on_seen(self, seen: int) -> None:
        if seen > self.floor:
            raise RemoteProtocolError(f"answers seen up to {seen} where {self.floor} were given")
        while self.forgotten < seen:
            self.forgotten += 1
            self.served.pop(self.forgotten, None)

    def _on_resume(self, frame: Frame, message: Resume) -> None:
        if message.mine != self.theirs or message.yours != self.mine:
            raise RemoteProtocolError("a resume of another pair of lives")
        if message.received > self.last_id:
            raise RemoteProtocolError(f"received up to {message.received} where {self.last_id} were sent")
        if message.received < self.seen:
            raise RemoteProtocolError(f"received up to {message.received} where {self.seen} were answered")
        self._greeted = True
        self.they_can = message.can
        codecs = message.can.get("codecs")
        self._they_expand = type(codecs) is list and wire.ZSTD in codecs
        self._on_seen(message.seen)
        if not self._resumed:
            self._resend(message.received)
        self._resumed = True
        self.wake()

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
                self.lane(request.parcel.lane).bulk.append((request, _Chunks(step, array, 0)))
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

    def _on_credit(self, frame: Frame, message: Credit) -> None:
        self._on_seen(message.seen)
        speed = self.lane(frame.lane).grant(message.granted, self.now)
        if speed is not None:
            self.policy.carried(speed)
        self.wake()

    def _on_cancel(self, frame: Frame, message: Cancel) -> None:
        self._on_seen(message.seen)
        if not self.forgotten < frame.id <= self.received:
            return
        served = self.served[frame.id]
        if self.lane(served.lane).drop(served, message.step):
            # Nobody wants the rest of a large answer: without it, the request may be answered.
            served.answers = [a for a in served.answers if isinstance(a[1], Parcel) or a[1].step != message.step]
            served.unsent -= 1
            if served.done and not served.unsent:
                self._answered(served)
                self.wake()
        self.server.cancel(self, frame.id, message.step)

    def _on_program(self, frame: Frame, message: Program) -> None:
        self._charge(frame)
        self._on_seen(message.seen)
        if 0 < frame.id <= self.received:  # resent: it is answered or running
            self.consumed(frame.lane, frame.size, self.generation)
            return
        if frame.id != self.received + 1:
            raise RemoteProtocolError(f"request {frame.id} where {self.received + 1} was due")
        self.received = frame.id
        served = self.served[frame.id] = Served(frame.id, frame.lane)
        self.server.program(self, served, message, frame.body, frame.size)

    def _on_chunk(self, frame: Frame, message: ChunkOf) -> None:
        self._charge(frame)
        self._on_seen(message.seen)
        if not frame.flags & wire.OF_ANSWER:
            if not 0 < frame.id <= self.received:
                raise RemoteProtocolError(f"a chunk for request {frame.id}, which did not come")
            if frame.id in self.served:
                self.server.chunk(self, frame.id, message, frame.body)
        else:
            request = self._request(frame.id)
            if request is not None:
                self._land(request, message, frame.body)
        self.consumed(frame.lane, frame.size, self.generation)

    def _land(self, request: Request, chunk: ChunkOf, body: memoryview) -> None:
        if not request.wants(chunk.step):
            return  # a resend of what has landed, or nobody waits for it any more
        landing = request.landings.get(chunk.step)
        if landing is None:
            try:
                dtype, shape, _ = tensor.check_descr(chunk.descr, chunk.shape)
                landing = request.landings[chunk.step] = tensor.Landing(dtype, shape)
            except LimitExceeded as error:
                self._failed(Failure(request.id, chunk.step, error.code, "", error.message, "", request.id, chunk.step))
                return
        whole = landing.land(chunk.offset, body)
        request.progress(chunk.step, landing.at, landing.nbytes)
        if whole:
            del request.landings[chunk.step]
            request.value(chunk.step, landing.array)

    def _on_values(self, frame: Frame, message: Values) -> None:
        self._charge(frame)
        self._on_seen(message.seen)
        request = self._request(frame.id)
        if request is not None:
            body = frame.body
            for step, descr, shape, offset in message.values:
                if request.wants(step):
                    request.value(step, _value(descr, shape, offset, body))
            if frame.flags & wire.LAST:
                self._settle(frame.id)
        self.consumed(frame.lane, frame.size, self.generation)

    def _request(self, number: int) -> Optional[Request]:
        request = self.unanswered.get(number)
        if request is None and not 0 < number <= self.last_id:
            raise RemoteProtocolError(f"an answer to request {number}, which was never made")
        return request

    def _on_answers(self, frame: Frame, message: Answers) -> None:
        if frame.id > self.last_id:
            raise RemoteProtocolError(f"answered up to {frame.id} where {self.last_id} were asked")
        self._on_seen(message.seen)
        for failure in message.failures:
            self._failed(failure)
        for number in message.above:
            self._request(number)
            self._settle(number)
        # Ids are asked in order, so the first of the table is the lowest.
        while self.unanswered and (lowest := next(iter(self.unanswered))) <= frame.id:
            self._settle(lowest)

    def _failed(self, failure: Failure) -> None:
        request = self._request(failure.id)
        if request is not None and failure.step not in request.failures:
            request.failures.add(failure.step)
            request.failed(failure)

    def _settle(self, number: int) -> None:
        request = self.unanswered.pop(number, None)
        if request is None:
            return
        if number == self.seen + 1:
            self.seen = number
            while self.seen + 1 in self._done_above:
                self.seen += 1
                self._done_above.remove(self.seen)
        else:
            self._done_above.add(number)
        request.settled()

    def end(self, error: AsyncSyftError) -> None:
        """The conversation is over; every request that waits is told why. Idempotent."""
        if self.ended is not None:
            return
        self.ended = error
        waiting = list(self.unanswered.values())
        for lane in self.lanes.values():
            waiting.extend(o for o, _ in lane.queue if isinstance(o, Request) and not o.id)
            lane.queue.clear()
            lane.bulk.clear()
        self.unanswered.clear()
        self.served.clear()
        for request in waiting:
            request.lost(error)


def _value(descr: str, shape: List[int], offset: int, body: memoryview) -> Any:
    is_document = descr == wire.DOCUMENT
    try:
        dtype, dims, nbytes = tensor.check_descr("|u1" if is_document else descr, shape)
    except LimitExceeded as error:
        raise RemoteProtocolError(error.message) from None
    if offset + nbytes > len(body) or offset & 7:
        raise RemoteProtocolError(f"a value of {nbytes} bytes at {offset} in a body of {len(body)}")
    if is_document:
        return wire.document(body[offset : offset + nbytes])
    return tensor.copy_at(dtype, dims, nbytes, body, offset)


_EXEMPT = frozenset((wire.RESUME, wire.CREDIT, wire.CANCEL, wire.ANSWERS))
_HANDLERS: Dict[int, Callable[[Conversation, Frame, Any], None]] = {
    wire.RESUME: Conversation._on_resume,
    wire.CREDIT: Conversation._on_credit,
    wire.CANCEL: Conversation._on_cancel,
    wire.ANSWERS: Conversation._on_answers,
    wire.PROGRAM: Conversation._on_program,
    wire.VALUES: Conversation._on_values,
    wire.CHUNK_OF: Conversation._on_chunk,
}
