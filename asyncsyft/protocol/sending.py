"""One end of a conversation, as far as it sends: ids, what waits to leave, answers, credit.

It does not know what comes (``conversation.py``), nor what is sent again on a new road (``resuming.py``).
"""

from __future__ import annotations

from collections import deque
from typing import Any, Callable, Deque, Dict, List, Optional, Protocol, Sequence, Set, Tuple, Union

from .. import wire
from ..compression import AUTO, Policy
from ..errors import AsyncSyftError, RemoteProtocolError, fresh
from ..tensor import Array
from ..wire import Buffer, Failure, Frame, Parcel, Value
from .lane import CHUNK_HEAD, CHUNKS_AHEAD, FAST, LARGE_CHUNK, WINDOW, Chunks, Lane, Request, Served, Server

#: Lanes that one conversation may have: MPC sessions and nested requests need a few each.
MAX_LANES = 1024
#: Requests of one conversation that are not answered yet; the far end keeps what it answered until that was seen. It
#: takes four times as many: what was queued long ago says less of what was seen.
MAX_REQUESTS = 1 << 14
MAX_UNSEEN = 4 * MAX_REQUESTS
#: Ids in one answers frame, and the bytes that its failures may fill, so that it stays below ``wire.MAX_EXEMPT``.
MAX_ABOVE = 4096
FAILURE_BYTES = 24 << 10
#: So many answers for which nobody waits are told together.
TOLD_TOGETHER = 16


class Seals(Protocol):
    """What seals the frames of one conversation (``seal.Seal``)."""

    def write(self, parcel: Parcel, out: List[Buffer], to: int, number: int, flags: int = 0) -> int:
        """As ``Parcel.write``, sealed."""

    def open(self, frame: Frame) -> Frame:
        """The frame within. Raises: RemoteProtocolError."""


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
        self.can = can
        self.to = 0
        self.lanes: Dict[int, Lane] = {}
        self._turns: Deque[Lane] = deque()
        self.ended: Optional[AsyncSyftError] = None
        #: Called when there is something to send, and to send it at once.
        self.wake: Callable[[], None] = lambda: None
        self.pump: Callable[[], None] = lambda: None
        #: What the far end is called, for messages, and the public key that it proved, if any.
        self.name, self.key = "", b""
        #: What the far end said that it can do.
        self.their_can: Dict[str, Any] = {}
        #: Under which all leaves, if anything does; and the key with which to agree on it, where one was told.
        self.seal: Optional[Seals] = None
        self.expects = b""
        self._woken = False  # and it was called, or ``take`` is looking anyway
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
        self.greeted = False  # their resume came, on this road
        self._resumed = False  # requests and answers may leave
        self._resending: Deque[Request] = deque()
        self._control: Deque[Tuple[Parcel, int]] = deque()
        self._grants: Set[int] = set()
        self._answers_due = False
        self._untold = 0  # answers counted since an answers frame left
        self._acknowledged = 0  # answers seen, as ``acknowledge`` last said
        self._held_back = False  # a request waits for answers to others
        self._more = False  # on the way somebody may have recorded what a lane that had its turn could send
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

    def ready(self) -> None:
        """There is something to send: wake the link, unless it knows."""
        if not self._woken:
            self._woken = True
            self.wake()

    # What this end asks, answers and gives back.

    def ask(self, request: Request, steps: List[Any], body: Sequence[Buffer], lane: int = 0) -> None:
        """Queue a request; its id is given when it leaves. Large tensors of ``request.chunks`` travel behind it.

        Raises: LocalProtocolError if it does not fit a frame; the error that ended the conversation.
        """
        if self.ended is not None:
            raise fresh(self.ended)
        chunked = [step for step, _ in request.chunks] if request.chunks else []
        policy = self._policy(request) if body else None
        parcel = request.parcel = Parcel(wire.PROGRAM, lane, (self.seen, steps, chunked), body, 0, policy)
        (self.lanes.get(lane) or self.lane(lane)).queue.append((request, parcel))
        self.ready()

    def cancel(self, request: Request, step: int) -> None:
        """Ask that a step be not begun, if it can still be stopped; does not wait."""
        request.cancels += (step,)
        request.landings = {at: landing for at, landing in request.landings.items() if at != step}
        for lane in self.lanes.values():
            lane.drop(request, step)
        if request.id in self.unanswered and self.ended is None:
            self._control.append((Parcel(wire.CANCEL, 0, (self.seen, step)), request.id))
            self.ready()

    def value(self, served: Served, step: int, array: Array) -> None:
        """Answer a step with a tensor too large for ``values``; the array is pinned until the answer was seen."""
        self._answer(served, Chunks(step, array, wire.OF_ANSWER))

    def values(self, served: Served, values: Sequence[Value], body: List[Buffer]) -> None:
        """Answer steps with small tensors and documents."""
        policy = self._policy(served)
        self._answer(served, Parcel(wire.VALUES, served.lane, (self.seen, values), body, 0, policy))

    def _answer(self, served: Served, what: Union[Parcel, Chunks]) -> None:
        item = (served, what)
        served.answers.append(item)
        served.unsent += 1
        lane = self.lanes.get(served.lane) or self.lane(served.lane)
        (lane.queue if type(what) is Parcel else lane.bulk).append(item)
        self.ready()

    def fail(self, served: Served, failure: Failure) -> None:
        """Report a step that failed."""
        served.failures.append(failure)
        self._new_failures.append(failure)
        self._answers_due = True
        self.ready()

    def done(self, served: Served, patient: bool = False) -> None:
        """All steps of the request have run; it counts as answered when the values that it gave have left.

        ``patient``: nobody waits for the answer, which may be told with later ones.
        """
        served.done = True
        if not served.unsent:
            self._untold += 1
            due = not patient or self._untold >= TOLD_TOGETHER
            self._answered(served, due=due)
            if due:
                self.ready()

    def _answered(self, served: Served, told: bool = False, due: bool = True) -> None:
        """Count a request as answered; ``told``: its last frame of values says so itself; ``due``: else, at once."""
        if served.id == self.floor + 1:
            self.floor += 1
            while (after := self.served.get(self.floor + 1)) is not None and after.done and not after.unsent:
                self.floor += 1
        elif not told:
            self._new_above.append(served.id)
        self._answers_due = self._answers_due or (due and not told)

    def consumed(self, lane: int, size: int, generation: int, ahead: int = CHUNKS_AHEAD) -> None:
        """Give credit back: these bytes are no longer held here. Bytes of before a resume give none.

        ``ahead``: room for how many more like it, if it is large.
        """
        if generation == self.generation:
            large = size > wire.CHUNK and not self.to  # where no relay holds them, as for chunks
            self._consumed(self.lanes.get(lane) or self.lane(lane), size, ahead * size if large else 0)

    def _landed(self, lane: Lane, size: int) -> None:
        """A chunk in a frame of so many bytes has landed: room for some more like it, where no relay holds them."""
        self._consumed(lane, size, 0 if self.to else CHUNKS_AHEAD * (size + CHUNK_HEAD))

    def _consumed(self, lane: Lane, size: int, ahead: int = 0) -> None:
        lane.consumed += size
        window = ahead if ahead > WINDOW else WINDOW
        # A little before half of it is gone, which is when two chunks have landed.
        if lane.consumed + window - lane.allowed >= window * 7 // 16:
            lane.allowed = lane.consumed + window
            self._grants.add(lane.number)
            self.ready()

    def acknowledge(self) -> None:
        """Say which answers were seen, if nothing that left said so: the far end keeps them until then."""
        if self.seen > self._acknowledged and self._resumed and self.ended is None:
            self._acknowledged = self.seen
            self._grants.add(self.lane(0).number)
            self.ready()

    # The link's side: what may leave.

    def take(self, out: List[Buffer], budget: int) -> int:
        """Append frames of about ``budget`` bytes to a message; their bytes, 0 when nothing may leave now."""
        if self.ended is not None:
            return 0
        self._woken, self._more = True, False
        used = self._take_control(out, budget) if self._control or self._grants else 0
        if self._resumed:
            used = self._take_lanes(out, budget, used)
        self._woken = False
        # What became due on the way, and does not fit this message: ask again.
        return max(used, budget) if self._resumed and (self._answers_due or self._control or self._more) else used

    def _take_lanes(self, out: List[Buffer], budget: int, used: int) -> int:
        """Append requests and answers, lane after lane, where so many bytes are there; their number then."""
        while self._resending and used < budget:
            request = self._resending.popleft()
            assert request.parcel is not None
            used += self._send(self.lane(request.parcel.lane), out, request, request.parcel, last=True)
        for lane in tuple(self._turns):
            while used < budget and (lane.queue or lane.bulk or lane.refill is not None):
                size = self._take_one(lane, out)
                if not size:
                    break
                used += size
        if len(self._turns) > 1:
            self._turns.rotate(-1)
        return used + self._take_answers(out) if self._answers_due else used

    def _take_control(self, out: List[Buffer], budget: int) -> int:
        used = 0
        while self._control and used < budget:
            parcel, number = self._control.popleft()
            used += self._write(parcel, out, number)
        grants, self._grants = self._grants, set()
        for number in grants:
            credit = Parcel(wire.CREDIT, number, (self.seen, self.lanes[number].allowed))
            used += self._write(credit, out, 0)
        return used

    def _take_answers(self, out: List[Buffer]) -> int:
        # A request counts as answered when its failures are told: they leave first, the new floor with the last frame.
        failures, above, size = [], [], 0
        self._untold = 0
        while self._new_failures and size < FAILURE_BYTES:
            failures.append(failure := self._new_failures.popleft())
            size += 128 + 4 * (len(failure.message) + len(failure.kind) + len(failure.op))
        if not self._new_failures:
            above, self._new_above = self._new_above[:MAX_ABOVE], self._new_above[MAX_ABOVE:]
            self._answers_due = bool(self._new_above)
        floor = self.forgotten if self._answers_due else self.floor
        return self._write(Parcel(wire.ANSWERS, 0, (self.seen, above, failures)), out, floor)

    def _take_one(self, lane: Lane, out: List[Buffer]) -> int:
        queue, room = lane.queue, lane.granted - lane.sent
        if not queue and lane.refill is not None and room >= wire.MAX_FRAME:
            lane.refill()
        # Small frames and chunks take turns, so that neither waits for the end of the other.
        if lane.bulk and (lane.bulk_next or not queue):
            return self._take_chunk(lane, out)
        if not queue:
            return 0
        owner, parcel = queue[0]
        assert type(parcel) is Parcel
        if parcel.charge > room:
            return 0
        if self.last_id - self.seen >= MAX_REQUESTS and isinstance(owner, Request) and not owner.id:
            self._held_back = True  # it has to wait until earlier ones are answered
            return 0
        queue.popleft()
        lane.bulk_next = True
        return self._send(lane, out, owner, parcel, last=True)

    def _take_chunk(self, lane: Lane, out: List[Buffer]) -> int:
        while lane.bulk and isinstance(owner := lane.bulk[0][0], Request) and owner.id not in self.unanswered:
            lane.bulk.popleft()  # answered before it was whole: nobody wants the rest
        if not lane.bulk:
            return self._take_one(lane, out)
        room = lane.room - CHUNK_HEAD
        fast = not self.to and (self.policy.bandwidth or 0.0) > FAST
        size = LARGE_CHUNK if fast and room >= LARGE_CHUNK else wire.CHUNK
        if room < size:
            return 0
        owner, chunks = lane.bulk.popleft()
        assert isinstance(chunks, Chunks)
        parcel = chunks.next(lane.number, self.seen, self._policy(owner), size)
        if not chunks.done:
            lane.bulk.append((owner, chunks))
        lane.bulk_next = False
        if isinstance(owner, Request):
            self._more = True
            owner.progress(chunks.step, chunks.at, len(chunks.data))
        return self._send(lane, out, owner, parcel, last=chunks.done)

    def _send(self, lane: Lane, out: List[Buffer], owner: Union[Request, Served], parcel: Parcel, last: bool) -> int:
        flags = 0
        if type(owner) is Served:
            owner.unsent -= last
            if owner.done and not owner.unsent:
                flags = wire.LAST if parcel.kind == wire.VALUES and not owner.failures else 0
                self._answered(owner, told=bool(flags))
        elif parcel is owner.parcel:  # type: ignore[union-attr] # a Request, which has subclasses
            self._leave(owner, lane)  # type: ignore[arg-type]
        lane.sent += parcel.charge
        lane.passed += parcel.size
        if self.seal is not None:
            return self.seal.write(parcel, out, self.to, owner.id, flags)
        return parcel.write(out, self.to, owner.id, 0, flags)

    def _write(self, parcel: Parcel, out: List[Buffer], number: int, flags: int = 0) -> int:
        if self.seal is not None:
            return self.seal.write(parcel, out, self.to, number, flags)
        return parcel.write(out, self.to, number, 0, flags)

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
        if request.cancels:
            self._cancel_again(request)

    def _cancel_again(self, request: Request) -> None:
        for step in request.cancels:
            self._control.append((Parcel(wire.CANCEL, 0, (self.seen, step)), request.id))
