"""The rules of one conversation: ids, lanes, answers, credit, resume. No await, no clock, no I/O.

A conversation is what two peers have between them; it outlives the links that carry it. Either end may ask and serve.
It is a *source* for a link: ``take`` gives the frames that may leave now, ``receive`` takes those that came. It does
not know what a step means: requests are handed to a ``Server``, answers to the ``Request`` that waits for them.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Tuple

from .. import tensor, wire
from ..errors import AsyncSyftError, LimitExceeded, RemoteProtocolError, fresh
from ..wire import Answers, Cancel, ChunkOf, Credit, Failure, Frame, Parcel, Program, Values
from .lane import Lane, Request, Served
from .resuming import Resuming
from .sending import MAX_UNSEEN


class Conversation(Resuming):
    """One end of what two peers have between them. ``mine`` and ``theirs`` are the incarnations of the two lives."""

    # The link's side: what came.

    def receive(self, frame: Frame) -> None:
        """Take one frame of this conversation. Raises: RemoteProtocolError, which ends the conversation."""
        handler = _HANDLERS.get(frame.kind)
        if handler is None:
            raise RemoteProtocolError(f"a frame of kind {frame.kind} has no place in a conversation")
        if self.greeted == (frame.kind == wire.RESUME):
            raise RemoteProtocolError("a conversation on a new road begins with one resume")
        if frame.size > wire.MAX_EXEMPT and frame.kind in _EXEMPT:
            raise RemoteProtocolError(f"a frame of kind {frame.kind} and {frame.size} bytes, which no credit pays for")
        message = wire.parse(frame)
        if frame.flags & wire.COMPRESSED:
            if wire.ZSTD not in self.can.get("codecs", ()):
                raise RemoteProtocolError("a compressed frame for a peer that offers no codec")
            frame = wire.expanded(frame)
        handler(self, frame, message)

    def _charge(self, frame: Frame, seen: int) -> Lane:
        """Count a frame that credit pays for, and what it says was seen; its lane."""
        lane = self.lanes.get(frame.lane) or self.lane(frame.lane)
        lane.received += frame.size
        if lane.received > lane.allowed:
            raise RemoteProtocolError(f"{lane.received} bytes on lane {frame.lane} where {lane.allowed} were granted")
        if seen != self.forgotten:
            self._on_seen(seen)
        return lane

    def _on_credit(self, frame: Frame, message: Credit) -> None:
        self._on_seen(message.seen)
        speed = self.lane(frame.lane).grant(message.granted, self.now)
        if speed is not None:
            self.policy.carried(speed)
        self.ready()

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
                self.ready()
        self.server.cancel(self, frame.id, message.step)

    def _on_program(self, frame: Frame, message: Program) -> None:
        lane, number = self._charge(frame, message.seen), frame.id
        if 0 < number <= self.received:  # resent: it is answered or running
            self._consumed(lane, frame.size)
            return
        if number != self.received + 1:
            raise RemoteProtocolError(f"request {number} where {self.received + 1} was due")
        if number - self.forgotten > MAX_UNSEEN:
            raise RemoteProtocolError(f"{number - self.forgotten} requests whose answers were not seen")
        self.received = number
        served = self.served[number] = Served(number, frame.lane)
        self.server.program(self, served, message, frame.body, frame.size)

    def _on_chunk(self, frame: Frame, message: ChunkOf) -> None:
        lane = self._charge(frame, message.seen)
        if not frame.flags & wire.OF_ANSWER:
            if not 0 < frame.id <= self.received:
                raise RemoteProtocolError(f"a chunk for request {frame.id}, which did not come")
            if frame.id in self.served:
                self.server.chunk(self, frame.id, message, frame.body)
        else:
            request = self._request(frame.id)
            if request is not None:
                self._land(request, message, frame.body)
        self._landed(lane, frame.size)

    def _land(self, request: Request, chunk: ChunkOf, body: memoryview) -> None:
        if not request.wants(chunk.step):
            return  # a resend of what has landed, or nobody waits for it any more
        landing = request.landings.get(chunk.step)
        if landing is None:
            try:
                dtype, shape, _ = tensor.check_descr(chunk.descr, chunk.shape)
                landing = tensor.Landing(dtype, shape)
                request.landings = {**request.landings, chunk.step: landing}
            except LimitExceeded as error:
                self._failed(Failure(request.id, chunk.step, error.code, "", error.message, "", request.id, chunk.step))
                return
        whole = landing.land(chunk.offset, body)
        request.progress(chunk.step, landing.at, landing.nbytes)
        if whole:
            request.landings = {step: other for step, other in request.landings.items() if step != chunk.step}
            request.landed += (chunk.step,)
            request.value(chunk.step, landing.array)

    def _on_values(self, frame: Frame, message: Values) -> None:
        lane = self._charge(frame, message.seen)
        request = self.unanswered.get(frame.id) or self._request(frame.id)
        if request is not None:
            _give(request, message.values, frame.body)
            if frame.flags & wire.LAST:
                self._settle(frame.id)
        self._consumed(lane, frame.size)

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
        if request is None:
            return
        if request.failures is None:
            request.failures = set()
        if failure.step not in request.failures:
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
        if self._held_back:
            self._held_back = False
            self.ready()

    def end(self, error: AsyncSyftError) -> None:
        """The conversation is over; every request that waits is told why. Idempotent."""
        if self.ended is not None:
            return
        self.ended = fresh(error)
        waiting = list(self.unanswered.values())
        for lane in self.lanes.values():
            waiting.extend(o for o, _ in lane.queue if isinstance(o, Request) and not o.id)
            lane.queue.clear()
            lane.bulk.clear()
        self.unanswered.clear()
        self.served.clear()
        for request in waiting:
            request.lost(error)


def _give(request: Request, values: List[Tuple[List[int], Any, Any, int]], body: memoryview) -> None:
    """Tell a request its values. Raises: RemoteProtocolError."""
    for steps, descr, shape, offset in values:
        if not any(map(request.wants, steps)):
            continue
        dtype, dims, nbytes = _checked(descr, shape)
        count, stride = len(steps), nbytes + 7 & ~7
        if offset & 7 or offset + (count - 1) * stride + nbytes > len(body):
            raise RemoteProtocolError(f"{count} values of {nbytes} bytes from {offset} on in a body of {len(body)}")
        if descr == wire.DOCUMENT:
            places = [offset + number * stride for number in range(count)]
            request.gave(steps, [wire.document(body[at : at + nbytes]) for at in places])
        else:
            request.gave(steps, tensor.copies_at(dtype, dims, nbytes, body, offset, stride, count))


def _checked(descr: str, shape: List[int]) -> Tuple[tensor.DType, Tuple[int, ...], int]:
    try:
        return tensor.check_descr("|u1" if descr == wire.DOCUMENT else descr, shape)
    except LimitExceeded as error:
        raise RemoteProtocolError(error.message) from None


_EXEMPT = frozenset((wire.RESUME, wire.CREDIT, wire.CANCEL, wire.ANSWERS))
_HANDLERS: Dict[int, Callable[[Conversation, Frame, Any], None]] = {
    wire.RESUME: Conversation.resume,
    wire.CREDIT: Conversation._on_credit,
    wire.CANCEL: Conversation._on_cancel,
    wire.ANSWERS: Conversation._on_answers,
    wire.PROGRAM: Conversation._on_program,
    wire.VALUES: Conversation._on_values,
    wire.CHUNK_OF: Conversation._on_chunk,
}
