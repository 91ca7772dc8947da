"""A session at a party: the machine's openings go to the other parties, what it takes comes from the dealer."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Set, Tuple

import anyio
import anyio.lowlevel
import anyio.to_thread
import numpy as np

from ...errors import Refused, SessionError
from ...executor.job import Job
from ...protocol import Conversation
from ...waiting import Slot
from .. import fixed, ring
from ..computing import Exchange, Outside, Party, Reveal, Take
from ..machine import Gate, Pause, Run
from ..prg import SEED_SIZE, Seeds
from ..ring import Ring
from .mail import Parcels, Stock
from .session import DEALER, Batch, Member, Session, following

#: Bytes that are counted for a message, however short it is.
LEAST = 1 << 10
#: Bytes that are kept of what was dealt and not used: dealers stop at a part of it.
MOST_DEALT = 1 << 26
#: Inputs that came, or are waited for.
MAX_LATE = 1 << 12


#: In place of what has not come yet.
MISSING = object()


def greeting() -> Run:
    """The first hop, before any gate: each party hears from all others."""
    yield Exchange([])


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
        self._openings: Parcels[Tuple[int, int]] = Parcels()  # (hop, party)
        self._stock = Stock()
        self._results: Dict[int, Ring] = {}  # this party's shares of what was revealed, until they are asked for
        self._asked: Dict[int, Tuple[Job, int]] = {}
        self._told: Parcels[Tuple[int, int]] = Parcels()  # (number, party): shares of what this party may know
        self._finals: Dict[int, Any] = {}
        self._late: Dict[int, Any] = {}  # inputs that came by themselves
        self._late_bytes = 0
        # What the machine is at: its run, the inputs that it may ask for, and the event that is waited for. Whoever
        # brings that goes on with the run, at once; ``_turn`` is set when its task is to do something.
        self._run: Run = greeting()
        self._inputs: Tuple[Dict[int, Any], Set[int]] = {}, set()
        self._event: Any = None
        self._turn: Slot[Optional[Pause]] = self.slot()

    @property
    def held(self) -> int:
        return super().held + self._openings.nbytes + self._told.nbytes + self._stock.nbytes + self._late_bytes

    # What is said to it.

    def given(self, number: int, values: Any) -> None:
        """An input that comes later than what it is for is here. Raises: SessionError if it was, or has no room."""
        if number in self._late or len(self._late) >= MAX_LATE:
            raise SessionError("the same input came twice, or too many did")
        self._check_room(values.nbytes)
        self._late_bytes += values.nbytes
        self._late[number] = values
        self._arrived()

    def seeds(self, sender: int, own: Any, before: Any, after: Any) -> None:
        """The dealer's seeds. Raises: SessionError unless the dealer says them, once."""
        if sender != DEALER or self._seeds.is_set:
            raise SessionError("seeds come from the dealer, once")
        if any(type(seed) is not bytes or len(seed) != SEED_SIZE for seed in (own, before, after)):
            raise SessionError(f"seeds have {SEED_SIZE} bytes")
        self._seeds.set(Seeds(own, before, after, self._seed))

    def opened(self, sender: int, hop: int, at: int, total: int, body: memoryview, job: Job, step: int) -> None:
        """A piece of what another party opens. Raises: SessionError for what cannot be due."""
        if sender not in self.others or hop not in (self._hop, self._hop + 1):
            raise SessionError(f"party {sender} opens hop {hop} where {self._hop} is due")
        if not at:
            self._check_room(total)
        if self._openings.land((hop, sender), at, total, body, lambda: self.later(job, step)):
            self._arrived()

    def dealt(self, sender: int, at: int, total: int, body: memoryview, job: Job, step: int) -> None:
        """The next bytes of the dealer's; answered when they have been used."""
        if sender != DEALER or self.place != len(self.others):
            raise SessionError("only the dealer deals, and only to the last party")
        if self._stock.nbytes + (len(body) if at else total) > MOST_DEALT:
            raise SessionError("the dealer runs too far ahead")
        self._stock.add(at, total, body, self.later(job, step))
        self._arrived()

    def told(self, sender: int, number: int, at: int, total: int, body: memoryview, job: Job, step: int) -> None:
        """A piece of another party's share of a result that this one may know."""
        if sender not in self.others:
            raise SessionError("a share of a result comes from a party")
        if not at:
            self._check_room(total + LEAST)
        if self._told.land((number, sender), at, total, body, lambda: self.later(job, step)):
            self._arrived()

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
        self.machine.pauses = True
        await self._follow(greeting())

    async def _patiently(self, slot: Slot[Any]) -> Any:
        """The outcome of a slot. Raises: SessionError if the dealer has dealt nothing while it was being waited for."""
        while self.patience is not None:
            before = self._stock.came
            with anyio.move_on_after(self.patience):
                return await slot
            waits = not self._seeds.is_set or isinstance(self._event, Take)
            if waits and before == self._stock.came:
                raise SessionError(f"{self.who(DEALER)} has dealt nothing for {self.patience:g} s")
        return await slot

    async def run(self, batch: Batch, gates: List[Gate]) -> None:
        self._inputs = batch.inputs, batch.late
        await self._follow(self.machine.run(gates))

    async def _follow(self, run: Run) -> None:
        """See a run to its end: nothing is left to do here but what takes long."""
        self._run, self._turn = run, self.slot()
        self._serve(following(run))
        while True:
            pause = await self._patiently(self._turn)
            if pause is None:
                return
            self._turn = self.slot()
            if pause.heavy:
                event = await anyio.to_thread.run_sync(self._apart_from_all)
                self._stock.settle()
            else:
                await anyio.lowlevel.checkpoint()
                event = following(run)
            self._serve(event)

    def _apart_from_all(self) -> Any:
        """In a thread: go on until something is to be said, or was not dealt yet."""
        event = following(self._run)
        while isinstance(event, (Pause, Take)):
            told = None
            if isinstance(event, Take):
                told = self._stock.take(event.nbytes)
                if told is None:
                    break
            event = following(self._run, told)
        return event

    def _serve(self, event: Any) -> None:
        """Do what the machine asks for, as long as it is all here."""
        while event is not None and not isinstance(event, Pause):
            self._say_of(event)
            told = self._found(event)
            if told is MISSING:
                self._event = event
                return
            event = following(self._run, told)
        self._turn.set(event)

    def _arrived(self) -> None:
        """Something came: go on if it was what is waited for."""
        if self._event is None:
            return
        try:
            told = self._found(self._event)
            if told is not MISSING:
                self._event = None
                self._serve(following(self._run, told))
        except Exception as error:  # noqa: BLE001 - the session's task meets it, as any other
            self._turn.fail(error)

    def _say_of(self, event: Any) -> None:
        """Tell others what an event has for them."""
        if isinstance(event, Exchange):
            self._hop += 1
            for other in self.others:
                self.say_all(other, "mpc.opened", {"hop": self._hop}, event.mine)
        elif isinstance(event, Reveal) and event.to < 0:
            self._results[event.number] = event.share
            if event.number in self._asked:
                self._give(event.number)
        elif isinstance(event, Reveal) and event.to != self.place:
            share = np.ascontiguousarray(event.share).view(np.uint8).ravel()
            self.say_all(event.to, "mpc.told", {"number": event.number}, [share])

    def _found(self, event: Any) -> Any:
        """What an event asks for; ``MISSING`` if it is not all here."""
        if isinstance(event, Exchange):
            keys = [(self._hop, other) for other in self.others]
            if not all(key in self._openings for key in keys):
                return MISSING
            theirs: List[Any] = [None] * (len(keys) + 1)
            for key in keys:
                theirs[key[1]] = self._openings.take(key)
            return theirs
        if isinstance(event, Take):
            dealt = self._stock.take(event.nbytes)
            self._stock.settle()
            return MISSING if dealt is None else dealt
        return self._input(event) if isinstance(event, Outside) else self._learned(event)

    def _input(self, event: Outside) -> Any:
        given, late = self._inputs
        values = given.pop(event.number, None)
        if values is None and event.number in late:
            if event.number not in self._late:
                return MISSING
            values = self._late.pop(event.number)
            self._late_bytes -= values.nbytes
        if values is None or values.shape != event.shape:
            raise SessionError(f"the input {event.number} is not there, or not of shape {event.shape}")
        return np.asarray(values, ring.DTYPE)

    def _learned(self, event: Reveal) -> Any:
        """A result of which this party is told the others' shares; None if it is another's."""
        if event.to != self.place:
            return None
        keys = [(event.number, other) for other in self.others]
        if not all(key in self._told for key in keys):
            return MISSING
        whole = np.array(event.share)
        for key in keys:
            whole = ring.add(whole, np.frombuffer(self._told.take(key), ring.DTYPE).reshape(whole.shape))
        self._results[event.number] = whole
        if event.number in self._finals:
            self._learn(event.number)
        return None

    def counts(self) -> Dict[str, int]:
        machine = self.machine
        return {"hops": machine.hops, "opened": machine.opened * len(self.others), "gates": machine.gates}

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
