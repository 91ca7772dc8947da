"""A tensor from worker to worker, not by way of the driver.

The driver gives both a ticket: the source offers the tensor under it, the destination fetches it with a ``claim`` of
its own. Which of the two comes first does not matter. A ticket is good for one peer, once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Mapping, Tuple

import numpy as np

from .. import program
from ..errors import AsyncSyftError, Cancelled, LimitExceeded, Refused, UnknownPeer
from ..protocol import Conversation, Request
from ..store import MAX_OBJECTS, Outcome, Space
from ..wire import INCARNATION_SIZE, KEY_SIZE, Failure
from .job import Job

if TYPE_CHECKING:
    from .lanes import Executor

TICKET_SIZE = 16
#: Claims that wait for the offer, of all peers together: what is held for each is some hundred bytes.
MAX_CLAIMS = 1 << 16

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
        ticket = self.check(params)
        claimer = self._claimers.pop(ticket, None)
        if claimer is None:
            if len(job.space.offers) >= MAX_OBJECTS or not job.space.offer(ticket, outcome):
                raise Refused("that ticket is in use, or too many are")
        else:
            _give(*claimer, outcome)
            self._executor.answered_later(claimer[0])

    def check(self, params: Mapping[str, Any]) -> Ticket:
        """For whom an offer is. Raises: Refused."""
        return _bytes(params.get("to"), INCARNATION_SIZE), _bytes(params.get("ticket"), TICKET_SIZE)

    def claim(self, job: Job, params: Mapping[str, Any]) -> None:
        """Answer with what is on offer for this peer under the ticket, now or when it is."""
        ticket = (job.conversation.theirs, _bytes(params.get("ticket"), TICKET_SIZE))
        for space in self._executor.store.spaces.values():
            outcome = space.claim(ticket)
            if outcome is not None:
                _give(job, job.index, outcome)
                return
        if ticket in self._claimers:
            raise Refused("that ticket is being waited for")
        if len(self._claimers) >= MAX_CLAIMS:
            raise LimitExceeded(f"{MAX_CLAIMS} claims wait for their offers")
        self._claimers[ticket] = (job, job.index)
        job.outstanding += 1

    # At the destination.

    def fetch(self, job: Job, out: int, params: Mapping[str, Any]) -> None:
        """Ask the source for the tensor; the object is pending until it is here."""
        source, ticket = _bytes(params.get("from"), INCARNATION_SIZE), _bytes(params.get("ticket"), TICKET_SIZE)
        if self._executor.converse is None:
            raise Refused("this worker has no road to others")
        key = params.get("key", b"")
        conversation = self._executor.converse(source, _bytes(key, KEY_SIZE) if key else b"")
        if out in job.made:
            del job.made[out]
        else:
            job.space.expect(out)
        fetch = Fetch(self, job, job.index, out)
        self._fetches[job, job.index] = (conversation, fetch)
        job.outstanding += 1
        try:
            conversation.ask(fetch, [[program.CLAIM, 0, [], {"ticket": ticket}]], ())
        except AsyncSyftError as error:
            fetch.lost(error)

    def is_open(self, fetch: Fetch) -> bool:
        """Whether a fetch still waits."""
        return (fetch.job, fetch.step) in self._fetches

    def arrived(self, fetch: Fetch, outcome: Outcome) -> None:
        """What an open fetch waited for is here, or failed."""
        del self._fetches[fetch.job, fetch.step]
        fetch.job.space.resolve(fetch.out, outcome)
        self._executor.answered_later(fetch.job)

    def check_room(self, nbytes: int, space: Space) -> None:
        """Raises: LimitExceeded if the store has no room for that many bytes of this owner."""
        self._executor.store.check_room(nbytes, space)

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
            fetch.job.abandon(fetch.step, (fetch.out,))


class Fetch(Request):
    """The destination's request to the source."""

    def __init__(self, moves: Moves, job: Job, step: int, out: int) -> None:
        self.moves, self.job, self.step, self.out = moves, job, step, out

    def wants(self, step: int) -> bool:
        return step == 0 and self.moves.is_open(self)

    def value(self, step: int, value: Any) -> None:
        if not self.wants(step):
            return
        try:
            if not isinstance(value, np.ndarray):
                raise Refused("the source gave a document where a tensor was asked for")
            self.moves.check_room(value.nbytes, self.job.space)
        except (Refused, LimitExceeded) as error:
            self._fail(error)
        else:
            self.moves.arrived(self, value)

    def failed(self, failure: Failure) -> None:
        if self.wants(failure.step):
            # The cause has its number in the source's conversation with the driver, which means nothing in this one.
            number, step, op = self.job.served.id, self.step, failure.op or program.FETCH
            own = failure._replace(id=number, step=step, op=op, cause_id=number, cause_step=step)
            self.job.failures.append(own)
            self.moves.arrived(self, own)

    def settled(self) -> None:
        self._fail(Refused("the source answered without the tensor"))

    def lost(self, error: AsyncSyftError) -> None:
        self._fail(error if isinstance(error, Cancelled) else UnknownPeer(f"the source of the move is lost: {error}"))

    def _fail(self, error: AsyncSyftError) -> None:
        if self.wants(0):
            self.moves.arrived(self, self.job.fail(self.step, error, program.FETCH, ()))


def _give(job: Job, step: int, outcome: Outcome) -> None:
    if isinstance(outcome, Failure):
        job.skip(step, outcome, (), answer=True)
    elif isinstance(outcome, np.ndarray):
        job.values.append((step, outcome))


def _bytes(value: Any, size: int) -> bytes:
    if type(value) is not bytes or len(value) != size:
        raise Refused(f"not {size} bytes: {value!r:.40}")
    return value
