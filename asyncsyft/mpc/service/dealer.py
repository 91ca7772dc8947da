"""A session at the dealer: it gives out seeds, and runs ahead of the parties as far as the last of them has room."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence

import anyio.lowlevel
import anyio.to_thread
import numpy as np

from ...protocol import Conversation
from ...waiting import Slot
from ..dealing import Dealer
from ..machine import Gate, Pause
from ..prg import new_seeds
from .session import DEALER, NOTHING, PIECE, Batch, Member, Session, following

#: Bytes that were dealt and not used yet: some hundred thousand comparisons.
AHEAD = 1 << 25
#: Bytes of one array that the last party puts together as they come; it may be taken when it is whole.
LOT = 1 << 23
#: Deals of small batches that leave together; the last party waits for the first of them.
TOGETHER = 16


class DealerSession(Session):
    """This worker deals."""

    machine: Dealer

    def __init__(
        self, sessions: Any, name: bytes, owner: Conversation, members: Dict[int, Member], seeds: Sequence[bytes]
    ) -> None:
        super().__init__(sessions, name, owner, members)
        self._of_driver = seeds
        self._count = len(members) - 1
        self._unused = 0
        self._strangers = self._count  # parties that have not answered yet
        self._known = self.slot()
        self._room: Optional[Slot[None]] = None
        self._small: List[Any] = []
        self._size = 0  # bytes of these
        self._deals = 0

    async def begin(self) -> None:
        seeds = [each._replace(driver=seed) for each, seed in zip(new_seeds(self._count), self._of_driver)]
        for place, each in enumerate(seeds):
            self.say(place, "mpc.seeds", {"own": each.own, "before": each.before, "after": each.after})
        self.machine = Dealer(seeds, self.sessions.room_for(self))
        self.machine.pauses = True
        await self._known

    async def run(self, batch: Batch, gates: List[Gate]) -> None:
        run, heavy = self.machine.run(gates), False
        while True:
            event = await anyio.to_thread.run_sync(following, run) if heavy else following(run)
            if event is None:
                break
            if isinstance(event, Pause):
                heavy = event.heavy  # and so is what comes of it
                await anyio.lowlevel.checkpoint()
                continue
            for piece in event.pieces:
                await self._queue(np.ascontiguousarray(piece).view(np.uint8).ravel())
            self._deals += 1
            if self._deals >= TOGETHER or self._size >= PIECE >> 3:
                await self._send()
        await self._send()

    def counts(self) -> Dict[str, int]:
        machine = self.machine
        return {"dealt": machine.dealt, "correlations": machine.correlations, "gates": machine.gates}

    async def _queue(self, piece: Any) -> None:
        """Small pieces travel together, large ones as they are, so that nobody has to put them together."""
        if self._size + piece.nbytes > PIECE:
            await self._send()
        if piece.nbytes <= PIECE:
            self._small.append(piece)
            self._size += piece.nbytes
            return
        for start in range(0, piece.nbytes, LOT):
            await self._deal(piece[start : start + LOT])

    async def _send(self) -> None:
        small, self._small, self._size, self._deals = self._small, [], 0, 0
        whole = small[0] if len(small) == 1 else np.concatenate([*small, NOTHING])
        if whole.nbytes:
            await self._deal(whole)

    async def _deal(self, lot: Any) -> None:
        for at in range(0, lot.nbytes, PIECE):
            part = lot[at : at + PIECE]
            while self._unused + part.nbytes > AHEAD:
                self._room = self.slot()
                await self._room
                self._room = None
            self._unused += part.nbytes
            params = {"at": at, "total": lot.nbytes}
            self.say(self._count - 1, "mpc.deal", params, [memoryview(part)], part.nbytes)
        await anyio.lowlevel.checkpoint()

    def answered(self, place: int, size: int) -> None:
        if self._strangers:
            self._strangers -= 1
            if not self._strangers:
                self._known.set(None)
        elif place != DEALER:
            self._unused -= size
            if self._room is not None:
                self._room.set(None)
