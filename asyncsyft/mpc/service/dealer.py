"""A session at the dealer: it gives out seeds, and runs ahead of the parties as far as the last of them has room."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence

import anyio.lowlevel
import numpy as np

from ...protocol import Conversation
from ...waiting import Slot
from ..dealing import Dealer
from ..prg import new_seeds
from .session import DEALER, PIECE, Batch, Member, Session

#: Bytes that were dealt and not used yet: some hundred thousand comparisons.
AHEAD = 1 << 25
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
        self._deals = 0

    async def begin(self) -> None:
        seeds = [each._replace(driver=seed) for each, seed in zip(new_seeds(self._count), self._of_driver)]
        for place, each in enumerate(seeds):
            self.say(place, "mpc.seeds", {"own": each.own, "before": each.before, "after": each.after})
        self.machine = Dealer(seeds, self.sessions.room_for(self))
        await self._known

    async def run(self, batch: Batch) -> None:
        run = self.machine.run(batch.gates)
        while True:
            event = await self.advance(run, None, batch.heavy)
            if event is None:
                break
            self._small.extend(np.ascontiguousarray(piece).view(np.uint8).ravel() for piece in event.pieces)
            self._deals += 1
            if self._deals >= TOGETHER or sum(piece.nbytes for piece in self._small) >= PIECE >> 2:
                await self._send()
        await self._send()

    def counts(self) -> Dict[str, int]:
        machine = self.machine
        return {"dealt": machine.dealt, "correlations": machine.correlations, "gates": machine.gates}

    async def _send(self) -> None:
        pieces, self._small, self._deals = self._small, [], 0
        waiting: List[Any] = []
        size = 0
        for piece in pieces:
            for start in range(0, piece.nbytes, PIECE):
                part = piece[start : start + PIECE]
                if size + part.nbytes > PIECE:
                    await self._deal(waiting, size)
                    waiting, size = [], 0
                waiting.append(part)
                size += part.nbytes
        if size:
            await self._deal(waiting, size)
        await anyio.lowlevel.checkpoint()

    async def _deal(self, parts: List[Any], size: int) -> None:
        while self._unused + size > AHEAD:
            self._room = self.slot()
            await self._room
            self._room = None
        self._unused += size
        whole: Any = parts[0] if len(parts) == 1 else np.concatenate(parts)
        self.say(self._count - 1, "mpc.deal", {}, [memoryview(whole)], size)

    def answered(self, place: int, size: int) -> None:
        if self._strangers:
            self._strangers -= 1
            if not self._strangers:
                self._known.set(None)
        elif place != DEALER:
            self._unused -= size
            if self._room is not None:
                self._room.set(None)
