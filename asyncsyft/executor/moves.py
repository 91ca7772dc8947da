"""A tensor from worker to worker, not by way of the driver.

The driver gives both a ticket: the source offers the tensor under it, the destination fetches it with a ``claim`` of its
own. Which of the two comes first does not matter. A ticket is good for one peer, once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Mapping, Tuple

from .. import program
from ..errors import AsyncSyftError, Cancelled, Refused, UnknownPeer
from ..protocol import Conversation, Request
from ..store import Outcome
from ..wire import INCARNATION_SIZE, Failure
from .job import Job

if TYPE_CHECKING:
    from .lanes import Executor

TICKET_SIZE = 16

Ticket = Tuple[bytes, bytes]


class Moves:
    """What is on offer, who waits to take, and what is being fetched."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._claimers: Dict[Ticket, Tuple[Job, int]] = {}
        self._fetches: Dict[Tuple[Job, int], Tuple[Conversation, Fetch]] = {}

    # At the source.

    def offer(self, job: Job, outcome: Outcome, params: Mapping[str, Any]) -> None:
        """Let the peer of that incarnation take this, once."""
        ticket = (_bytes(params.get("to"), INCARNATION_SIZE), _bytes(params.get("ticket"), TICKET_SIZE))
        claimer = self._claimers.pop(ticket, None)
        if claimer is None:
            job.space.offers[ticket] = outcome
        else:
            _give(*claimer, outcome)
            self._executor.answered_later(claimer[0])

    def claim(self, job: Job, params: Mapping[str, Any]) -> None:
        """Answer with what is on offer for this peer under the ticket, now or when it is."""
        ticket = (job.conversation.theirs, _bytes(params.get("ticket"), TICKET_SIZE))
        for space in self._executor.store.spaces.values():
            outcome = space.offers.pop(ticket, None)
            if outcome is not None:
                _give(job, job.index, outcome)
                return
        if ticket in self._claimers:
            raise Refused("that ticket is being waited for")
        self._claimers[ticket] = (job, job.index)
        job.outstanding += 1

    # At the destination.

    def fetch(self, job: Job, out: int, params: Mapping[str, Any]) -> None:
        """Ask the source for the tensor; the object is pending until it is here."""
        source, ticket = _bytes(params.get("from"), INCARNATION_SIZE), _bytes(params.get("ticket"), TICKET_SIZE)
        number = params.get("peer")
        if type(number) is not int or self._executor.converse is None:
            raise Refused("a fetch names the number of the source")
        if out in job.made:
            job.made.remove(out)
        else:
            job.space.expect(out)
        fetch = Fetch(self, job, job.index, out)
        self._fetches[job, job.index] = fetch_entry = (self._executor.converse(job.conversation, number, source), fetch)
        job.outstanding += 1
        try:
            fetch_entry[0].ask(fetch, [[program.CLAIM, 0, [], {"ticket": ticket}]], ())
        except AsyncSyftError as error:
            fetch.lost(error)

    def arrived(self, fetch: Fetch, outcome: Outcome) -> None:
        """What a fetch waited for is here, or failed."""
        job = fetch.job
        if self._fetches.pop((job, fetch.step), None) is None:
            return
        job.space.resolve(fetch.out, outcome)
        self._executor.answered_later(job)

    # At either.

    def cancel(self, job: Job, step: int) -> None:
        """A step that may be a fetch or a claim under way was cancelled."""
        entry = self._fetches.get((job, step))
        if entry is not None:
            conversation, fetch = entry
            conversation.cancel(fetch, 0)
            fetch.lost(Cancelled("cancelled while it was on its way"))
        for ticket in [t for t, claimer in self._claimers.items() if claimer == (job, step)]:
            del self._claimers[ticket]
            job.fail(step, Cancelled("cancelled"), program.CLAIM, ())
            self._executor.answered_later(job)

    def ended(self, conversation: Conversation) -> None:
        """A conversation is over: nobody waits for its claims and fetches any more."""
        for ticket in [t for t, (job, _) in self._claimers.items() if job.conversation is conversation]:
            del self._claimers[ticket]
        for key in [key for key in self._fetches if key[0].conversation is conversation]:
            source, fetch = self._fetches.pop(key)
            source.cancel(fetch, 0)


class Fetch(Request):
    """The destination's request to the source."""

    __slots__ = ("moves", "job", "step", "out")

    def __init__(self, moves: Moves, job: Job, step: int, out: int) -> None:
        super().__init__()
        self.moves, self.job, self.step, self.out = moves, job, step, out

    def wants(self, step: int) -> bool:
        return step == 0

    def value(self, step: int, value: Any) -> None:
        self.moves.arrived(self, value)

    def failed(self, failure: Failure) -> None:
        own = failure._replace(id=self.job.served.id, step=self.step, op=failure.op or program.FETCH)
        self.job.failures.append(own)
        self.moves.arrived(self, own)

    def lost(self, error: AsyncSyftError) -> None:
        said = error if isinstance(error, Cancelled) else UnknownPeer(f"the source of the move is lost: {error}")
        self.moves.arrived(self, self.job.fail(self.step, said, program.FETCH, ()))


def _give(job: Job, step: int, outcome: Outcome) -> None:
    if isinstance(outcome, Failure):
        job.skip(step, outcome, (), answer=True)
    else:
        job.values.append((step, outcome))


def _bytes(value: Any, size: int) -> bytes:
    if type(value) is not bytes or len(value) != size:
        raise Refused(f"not {size} bytes: {value!r:.40}")
    return value
