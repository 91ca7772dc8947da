"""What a driver's session sends to its members, and what comes back: batches of gates, and what was counted."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Optional, Sequence, Set, Tuple

import numpy as np

from .. import program
from ..driver import RemoteWorker
from ..errors import AsyncSyftError, LimitExceeded, SessionError
from ..remote import RemoteTensor
from ..remote.recorder import Progress
from ..waiting import Slot
from .asking import Asked, laid_out
from .circuit import Circuit
from .packing import pack
from .service import DEALER, NAME_SIZE
from .watch import Profile

__all__ = ["Outgoing"]

#: What is recorded is sent when it has so many gates, or makes so many elements, also if nobody asked for a result.
GATES, WORK = 512, 1 << 20
#: Batches on their way at once, and gates that are recorded at most beside these.
ON_THE_WAY, MOST_GATES = 64, 1 << 16
PACKAGE = __name__.rpartition(".")[0]


class Outgoing:
    """The members of a session, what is recorded for them, and what they have answered."""

    parties: List[RemoteWorker]
    _everyone: List[RemoteWorker]  # and then the dealer

    def __init__(self, bits: int, profile: bool) -> None:
        self.circuit = Circuit(bits)
        self.error: Optional[SessionError] = None
        self.name = os.urandom(NAME_SIZE)
        self._driver = self.parties[0].driver
        self._masked: Dict[int, Any] = {}  # inputs of the driver that wait to leave
        self._owned: Dict[int, Tuple[int, RemoteTensor, Optional[int]]] = {}  # number -> (party, tensor, scale)
        self._late: List[int] = []  # inputs that come later, of what is recorded
        self._batch = 0
        self._waiting: Set[Slot[Any]] = set()
        self._counts: Dict[int, Dict[str, int]] = {}
        self._answered: Dict[int, int] = {}  # batches, by place
        self._turn: Set[Slot[None]] = set()  # who waits for a batch to be answered
        self._recorded = 0  # gates that have left
        #: What each operation cost so far, if ``profile`` was asked for: ``print(mpc.profile)``.
        self.profile: Optional[Profile] = Profile(len(self.parties)) if profile else None
        self._ahead: Any = None  # whose calls are prepared
        self._lane = 0
        self._together = 0

    @property
    def dealer(self) -> RemoteWorker:
        """Who deals."""
        return self._everyone[-1]

    @property
    def _members(self) -> List[Tuple[int, RemoteWorker]]:
        return [*enumerate(self.parties), (DEALER, self.dealer)]

    @property
    def stats(self) -> Dict[str, Any]:
        """Since the session began: hops, bytes that each party opened, bytes and correlations dealt, gates and batches.

        As of the members' last answers: ``await mpc.flush()`` waits for all of them.
        """
        parties = [self._counts.get(place, {}) for place in range(len(self.parties))]
        return {
            "hops": max(each.get("hops", 0) for each in parties),
            "opened": [each.get("opened", 0) for each in parties],
            "dealt": self._counts.get(DEALER, {}).get("dealt", 0),
            "correlations": self._counts.get(DEALER, {}).get("correlations", 0),
            "gates": max(each.get("gates", 0) for each in parties),
            "batches": self._batch,
        }

    async def flush(self, progress: Optional[Progress] = None) -> None:
        """Return when all that was recorded has been computed; ``progress(done, total)`` is told of gates.

        Raises: SessionError.
        """
        self._check()
        self._check_nothing_is_prepared()
        self._send({})
        last, total = self._batch, self._recorded
        while self._done < last:
            if progress is not None:
                progress(min(total, self.stats["gates"]), total)
            await self._one_more()
        if progress is not None:
            progress(total, total)

    async def ready(self) -> None:
        """Wait until there is room to record more. Raises: SessionError."""
        while self._batch - self._done >= ON_THE_WAY:
            await self._one_more()

    @property
    def _done(self) -> int:
        """Batches that all members have answered."""
        return min(self._answered.get(place, 0) for place, _ in self._members)

    async def _one_more(self) -> None:
        """Wait until a member has answered a batch. Raises: SessionError."""
        slot = self.waits()
        self._turn.add(slot)
        try:
            self._check()
            await slot
        finally:
            self._turn.discard(slot)
            self.waited(slot)

    # What leaves.

    def recorded(self) -> None:
        """Something was recorded: it leaves by itself when it is much. Raises: SessionError."""
        self._check()
        if self.profile is not None:
            self.profile.mark(self.circuit.last, _operation())
        gates = len(self.circuit.gates)
        if self._together or (gates < GATES and self.circuit.work < WORK):
            return
        if self._batch - self._done < ON_THE_WAY:
            self._send({})
        elif gates >= MOST_GATES:
            raise LimitExceeded(f"{gates} gates wait for {ON_THE_WAY} batches on their way: await mpc.ready()")

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is recorded within does not leave in parts."""
        self._together += 1
        try:
            yield
        finally:
            self._together -= 1
        self.recorded()

    def _check_nothing_is_prepared(self) -> None:
        """Raises: SessionError if what is asked for now would wait until calls are made that are prepared."""
        if self._ahead is not None:
            raise SessionError("calls are prepared in this session, and come first: leave mpc.ahead(...) before this")

    def _check(self) -> None:
        if self.error is not None:
            raise SessionError(*self.error.args)
        if not self._lane:
            raise SessionError("the session has not begun: async with asyncsyft.MPC(...) as mpc")

    def _send(self, more: Dict[int, List[Any]]) -> Dict[int, List[Slot[Any]]]:
        """Send what is recorded to all, and more steps to some; the slots of these, and of what computes, by place."""
        self._recorded += len(self.circuit.gates)
        gates, dead = self.circuit.take()
        masked, self._masked = self._masked, {}
        owned, self._owned = self._owned, {}
        late, self._late = self._late, []
        packed = np.frombuffer(pack(gates), np.uint8)
        about = {"session": self.name, "batch": self._batch, "watched": self.profile is not None}
        self._batch += 1
        slots = {}
        for place, worker in self._members:
            common = {**about, "drop": dead, "late": late}
            arrays, inputs, held = [packed], [], []
            if place != DEALER:
                arrays += list(masked.values())
                inputs = [[key, None] for key in masked]
                held = [(key, one, scale) for key, (owner, one, scale) in owned.items() if owner == place]
            names = [self._driver.new_id() for _ in arrays]
            own = [one.live_id() for _, one, _ in held]
            inputs += [[key, scale] for key, _, scale in held]
            run = ["mpc.run", [], [*names, *own], {**common, "inputs": inputs}]
            steps = [run, [program.DELETE, 0, names], *more.get(place, [])]
            slots[place] = self._ask(worker, steps, names, arrays, dict.fromkeys(more and range(2, len(steps))), held)
        return slots

    def _ask(
        self,
        worker: RemoteWorker,
        steps: List[Any],
        names: List[int],
        arrays: List[Any],
        values: Any,
        held: Any = (),
    ) -> List[Slot[Any]]:
        """Ask a member; arrays are put before the steps. Slots of the steps ``values``, then of the whole request."""
        puts, body, chunks = laid_out(names, arrays)
        request = Asked(self, worker, worker.name, len(puts), values, held)
        request.chunks = chunks
        try:
            worker.conversation.ask(request, [*puts, *steps], body, self._lane)
        except AsyncSyftError as error:
            request.lost(error)
        return [*request.slots.values(), request.done]

    def ended(self, worker: RemoteWorker, error: SessionError) -> None:
        """A member said that the session is over, or is gone."""
        if self.error is None:
            self.error = error
            for slot in list(self._waiting):
                slot.fail(SessionError(*error.args))
            self._say_over([other for other in self._everyone if other is not worker], str(error)[:1000])

    def _say_over(self, workers: Sequence[RemoteWorker], reason: str) -> None:
        for worker in workers:
            if worker.conversation.ended is None:
                step = ["mpc.close", [], [], {"session": self.name, "reason": reason}]
                self._ask(worker, [step], [], [], {})

    def counted(self, worker: RemoteWorker, counts: Any) -> None:
        """What a member has counted so far."""
        place = self.parties.index(worker) if worker in self.parties else DEALER
        self._answered[place] = self._answered.get(place, 0) + 1
        notes = counts.pop("notes", ())
        if self.profile is not None:
            self.profile.add(place, notes)
        self._counts[place] = counts
        for slot in self._turn:
            slot.set(None)

    def waits(self) -> Slot[Any]:
        """A slot that fails when the session does."""
        slot: Slot[Any] = self._driver.peer.slot()
        if self.error is None:
            self._waiting.add(slot)
        return slot

    def waited(self, slot: Slot[Any]) -> None:
        self._waiting.discard(slot)


def _operation() -> str:
    """What the program wrote that is being recorded: the outermost of our functions that it called."""
    frame, name = sys._getframe(2), "share"
    while frame is not None and frame.f_globals.get("__name__", "").startswith(PACKAGE):
        name, frame = frame.f_code.co_name, frame.f_back  # type: ignore[assignment] # the last one has none
    return name.strip("_")
