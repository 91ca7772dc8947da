"""A session at a party: the machine's openings go to the other parties, what it takes comes from the dealer."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

import numpy as np

from ...errors import Refused, SessionError
from ...executor.job import Job
from ...protocol import Conversation
from .. import fixed, ring
from ..computing import Exchange, Outside, Party, Reveal, Take
from ..prg import SEED_SIZE, Seeds
from ..ring import Ring
from .mail import Parcels, Stock
from .session import DEALER, Batch, Member, Session


class PartySession(Session):
    """This worker is the ``place``-th party."""

    machine: Party

    def __init__(
        self, sessions: Any, name: bytes, owner: Conversation, members: Dict[int, Member], place: int, seed: bytes
    ) -> None:
        super().__init__(sessions, name, owner, members)
        self.place, self._seed = place, seed
        self.others = sorted(set(members) - {place, DEALER})
        self._seeds = self.slot()
        self._hop = -1  # the first one is a greeting
        self._openings: Parcels[Tuple[int, int]] = Parcels(self.slot)  # (hop, party)
        self._stock = Stock(self.slot)
        self._results: Dict[int, Ring] = {}  # this party's shares of what was revealed, until they are asked for
        self._asked: Dict[int, Tuple[Job, int]] = {}
        self._told: Parcels[Tuple[int, int]] = Parcels(self.slot)  # (number, party): shares of what this party may know
        self._finals: Dict[int, Any] = {}

    # What is said to it.

    def seeds(self, sender: int, own: Any, before: Any, after: Any) -> None:
        """The dealer's seeds. Raises: SessionError unless the dealer says them, once."""
        if sender != DEALER or self._seeds.is_set:
            raise SessionError("seeds come from the dealer, once")
        if any(type(seed) is not bytes or len(seed) != SEED_SIZE for seed in (own, before, after)):
            raise SessionError(f"seeds have {SEED_SIZE} bytes")
        self._seeds.set(Seeds(own, before, after, self._seed))

    def opened(self, sender: int, hop: int, at: int, total: int, body: memoryview) -> None:
        """A piece of what another party opens. Raises: SessionError for what cannot be due."""
        if sender not in self.others or hop not in (self._hop, self._hop + 1):
            raise SessionError(f"party {sender} opens hop {hop} where {self._hop} is due")
        if total > self.sessions.executor.store.limit:
            raise SessionError(f"{total} bytes are opened at once")
        self._openings.land((hop, sender), at, total, body)

    def dealt(self, sender: int, body: memoryview, job: Job, step: int) -> None:
        """The next bytes of the dealer's; answered when they have been used."""
        if sender != DEALER or self.place != len(self.others):
            raise SessionError("only the dealer deals, and only to the last party")
        self.owe(job, step)
        self._stock.add(memoryview(bytes(body)), lambda: self.pay(job, step))

    def told(self, sender: int, number: int, at: int, total: int, body: memoryview) -> None:
        """A piece of another party's share of a result that this one may know."""
        if sender not in self.others or total > self.sessions.executor.store.limit:
            raise SessionError("a share of a result comes from a party")
        self._told.land((number, sender), at, total, body)

    def reveal(self, number: int, job: Job, step: int) -> None:
        """Answer the driver with this party's share of a result, now or when it is there."""
        if number in self._asked:
            raise Refused("that result is being waited for")
        self.owe(job, step)
        self._asked[number] = job, step
        if number in self._results:
            self._give(number)

    def _give(self, number: int) -> None:
        job, step = self._asked.pop(number)
        if (job, step) in self._open:
            job.values.append((step, self._results.pop(number)))
        self.pay(job, step)

    # What it does.

    async def begin(self) -> None:
        self.machine = Party(self.place, len(self.others) + 1, await self._seeds, self.sessions.executor.store.limit)
        await self._exchange([])

    async def run(self, batch: Batch) -> None:
        run = self.machine.run(batch.gates)
        told: Any = None
        while True:
            event = await self.advance(run, told, batch.heavy)
            if event is None:
                return
            if isinstance(event, Exchange):
                told = await self._exchange(event.mine)
            elif isinstance(event, Take):
                told = await self._stock.take(event.nbytes)
            elif isinstance(event, Outside):
                told = _input(batch.inputs, event)
            else:
                await self._revealed(event)
                told = None

    def counts(self) -> Dict[str, int]:
        machine = self.machine
        return {"hops": machine.hops, "opened": machine.opened * len(self.others), "gates": machine.gates}

    async def _exchange(self, mine: List[Any]) -> List[Any]:
        self._hop += 1
        for other in self.others:
            self.say_all(other, "mpc.opened", {"hop": self._hop}, mine)
        theirs: List[Any] = [None] * (len(self.others) + 1)
        for other in self.others:
            theirs[other] = await self._openings.take((self._hop, other))
        return theirs

    async def _revealed(self, event: Reveal) -> None:
        if event.to < 0:
            self._results[event.number] = event.share
            if event.number in self._asked:
                self._give(event.number)
        elif event.to != self.place:
            share = np.ascontiguousarray(event.share).view(np.uint8).ravel()
            self.say_all(event.to, "mpc.told", {"number": event.number}, [share])
        else:
            whole = np.array(event.share)
            for other in self.others:
                raw = await self._told.take((event.number, other))
                whole = ring.add(whole, np.frombuffer(raw, ring.DTYPE).reshape(whole.shape))
            self._results[event.number] = whole
            if event.number in self._finals:
                self._learn(event.number)

    def learn(self, number: int, name: str, bits: int, job: Job, step: int) -> None:
        """Keep a result that only this party may know under a name, for whoever runs this worker."""
        self.owe(job, step)
        self._finals[number] = name, bits, job, step
        if number in self._results:
            self._learn(number)

    def _learn(self, number: int) -> None:
        name, bits, job, step = self._finals.pop(number)
        self.sessions.learned(name, fixed.decode(self._results.pop(number), bits))
        self.pay(job, step)


def _input(inputs: Dict[int, Any], event: Outside) -> Ring:
    values = inputs.pop(event.number, None)
    if values is None or values.shape != event.shape:
        raise SessionError(f"the input {event.number} is not there, or not of shape {event.shape}")
    return np.asarray(values, ring.DTYPE)
