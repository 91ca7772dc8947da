"""What happens when a conversation comes to a road: both ends say what they have, and send the rest again."""

from __future__ import annotations

from typing import Dict, List, Tuple

from .. import wire
from ..errors import RemoteProtocolError
from ..wire import Frame, Parcel, Resume
from .lane import Chunks
from .sending import Sending

#: Tensors of which a resume says how far they came; of others all is sent again.
MAX_LANDED = 2048


class Resuming(Sending):
    """A conversation, as far as roads come and go."""

    def begin(self, to: int) -> None:
        """A road is there (again); ``to`` is the far end's number on it. A resume leaves before anything else."""
        self.to = to
        self.generation += 1
        self.greeted = False
        self._resumed = not self.received and not self.last_id
        for lane in self.lanes.values():
            lane.reset()
        self._control.clear()
        self._grants.clear()
        resume = (self.mine, self.theirs, self.received, self.seen, self.can, self.last_id, self._arrived())
        self._control.append((Parcel(wire.RESUME, 0, resume), 0))
        self._woken = False  # that was another link
        self.ready()

    def _arrived(self) -> List[Tuple[int, int, int, int]]:
        """How far the large tensors have come that are on their way to here."""
        entries = self.server.landed(self)  # type: ignore[arg-type] # it is one
        found = [(0, *entry) for entry in entries]
        for number, request in self.unanswered.items():
            found += [(1, number, step, landing.at) for step, landing in request.landings.items()]
            found += [(1, number, step, wire.MAX_ID) for step in request.landed]
        return found[:MAX_LANDED]

    def continues(self, resume: Resume) -> bool:
        """Whether the far end, as it resumes, still has all that this end counts on."""
        return (
            self.seen <= resume.received <= self.last_id and resume.asked >= self.received and resume.seen <= self.floor
        )

    def resume(self, frame: Frame, message: Resume) -> None:
        """The far end is there (again), and says what it has. Raises: RemoteProtocolError."""
        if message.mine != self.theirs or message.yours != self.mine:
            raise RemoteProtocolError("a resume of another pair of lives")
        if message.received > self.last_id:
            raise RemoteProtocolError(f"received up to {message.received} where {self.last_id} were sent")
        if message.received < self.seen:
            raise RemoteProtocolError(f"received up to {message.received} where {self.seen} were answered")
        self.greeted = True
        self.their_can = message.can
        codecs = message.can.get("codecs")
        self._they_expand = type(codecs) is list and wire.ZSTD in codecs
        self._on_seen(message.seen)
        if not self._resumed:
            self._resend(message)
        self._resumed = True
        self.ready()

    def _on_seen(self, seen: int) -> None:
        if seen > self.floor:
            raise RemoteProtocolError(f"answers seen up to {seen} where {self.floor} were given")
        while self.forgotten < seen:
            self.forgotten += 1
            served = self.served.pop(self.forgotten, None)
            if served is not None:
                served.answers.clear()  # each names it: what is large would stay until cycles are collected

    def _resend(self, resume: Resume) -> None:
        landed = {entry[:3]: entry[3] for entry in resume.landed}
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
            if number > resume.received:
                self._resending.append(request)
                continue
            for step, array in request.chunks:
                chunks = Chunks(step, array, 0)
                chunks.go_on(landed.get((0, number, step), 0))
                if not chunks.done:
                    self.lane(request.parcel.lane).bulk.append((request, chunks))
            self._cancel_again(request)
        self._resend_answers(landed)

    def _resend_answers(self, landed: Dict[Tuple[int, int, int], int]) -> None:
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
                    continue
                answer.go_on(landed.get((1, served.id, answer.step), 0))
                if answer.done:
                    served.unsent -= 1
                else:
                    lane.bulk.append((served, answer))
        for served in self.served.values():
            if served.done and not served.unsent and served.id > self.floor:
                self._answered(served)
        self._answers_due = True
