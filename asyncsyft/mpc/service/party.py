"""A session at a party: the machine's openings go to the other parties, what it takes comes from the dealer."""

from __future__ import annotations

from typing import Any, Awaitable, Dict, List, Tuple

import anyio
import numpy as np

from ...errors import Refused, SessionError
from ...executor.job import Job
from ...protocol import Conversation
from ...waiting import Slot
from .. import fixed, ring
from ..computing import Exchange, Outside, Party, Reveal, Take
from ..prg import SEED_SIZE, Seeds
from ..ring import Ring
from .mail import Parcels, Stock
from .session import DEALER, Batch, Member, Session

#: Bytes that are counted for a message, however short it is.
LEAST = 1 << 10
#: Bytes that are kept of what was dealt and not used: dealers stop at a part of it.
MOST_DEALT = 1 << 26
#: Inputs that came, or are waited for.
MAX_LATE = 1 << 12


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
        self._late: Dict[int, Slot[Any]] = {}  # inputs that come later than what they are for
        self._late_bytes = 0  # of those that came

    @property
    def held(self) -> int:
        return super().held + self._openings.nbytes + self._told.nbytes + self._stock.nbytes + self._late_bytes

    # What is said to it.

    def given(self, number: int, values: Any) -> None:
        """An input that comes later than what it is for is here. Raises: SessionError if it was, or has no room."""
        slot = self._late.setdefault(number, self.slot())
        if slot.is_set or len(self._late) > MAX_LATE:
            raise SessionError("the same input came twice, or too many did")
        self._check_room(values.nbytes)
        self._late_bytes += values.nbytes
        slot.set(values)

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
        if not at:
            self._check_room(total)
        self._openings.land((hop, sender), at, total, body)

    def dealt(self, sender: int, body: memoryview, job: Job, step: int) -> None:
        """The next bytes of the dealer's; answered when they have been used."""
        if sender != DEALER or self.place != len(self.others):
            raise SessionError("only the dealer deals, and only to the last party")
        if self._stock.nbytes + len(body) > MOST_DEALT:
            raise SessionError("the dealer runs too far ahead")
        self.owe(job, step)
        self._stock.add(memoryview(bytes(body)), lambda: self.pay(job, step))

    def told(self, sender: int, number: int, at: int, total: int, body: memoryview) -> None:
        """A piece of another party's share of a result that this one may know."""
        if sender not in self.others:
            raise SessionError("a share of a result comes from a party")
        if not at:
            self._check_room(total + LEAST)
        self._told.land((number, sender), at, total, body)

    def _check_room(self, nbytes: int) -> None:
        """Raises: SessionError if there is none for so much that comes from outside."""
        if nbytes + self.held > self.sessions.room_for(self):
            raise SessionError(f"{nbytes} bytes came for which there is no room")

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
        seeds = await self._patiently(self._seeds)
        self.machine = Party(self.place, len(self.others) + 1, seeds, self.sessions.room_for(self))
        await self._exchange([])

    async def _patiently(self, dealt: Awaitable[Any]) -> Any:
        """What the dealer sends. Raises: SessionError if that takes longer than the driver has patience for."""
        if self.patience is None:
            return await dealt
        with anyio.move_on_after(self.patience):
            return await dealt
        raise SessionError(f"{self.who(DEALER)} has dealt nothing for {self.patience:g} s")

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
                told = await self._patiently(self._stock.take(event.nbytes))
            elif isinstance(event, Outside):
                told = await self._input(batch, event)
            else:
                await self._revealed(event)
                told = None

    async def _input(self, batch: Batch, event: Outside) -> Ring:
        values = batch.inputs.pop(event.number, None)
        if values is None and event.number in batch.late:
            values = await self._late.setdefault(event.number, self.slot())
            del self._late[event.number]
            self._late_bytes -= values.nbytes
        if values is None or values.shape != event.shape:
            raise SessionError(f"the input {event.number} is not there, or not of shape {event.shape}")
        return np.asarray(values, ring.DTYPE)

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
