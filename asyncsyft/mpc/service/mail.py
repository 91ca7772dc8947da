"""What has come and is not wanted yet: openings of other parties in pieces, and the dealer's stock."""

from __future__ import annotations

from collections import deque
from typing import Any, Callable, Deque, Dict, Generic, Hashable, Optional, Tuple, TypeVar

import numpy as np

from ...errors import Refused, SessionError
from ...waiting import Slot

K = TypeVar("K", bound=Hashable)
NewSlot = Callable[[], "Slot[Any]"]


class Parcels(Generic[K]):
    """Arrays of bytes that come in pieces, each under a key; either the last piece or who waits comes first."""

    def __init__(self, slot: NewSlot) -> None:
        self._slot = slot
        self._slots: Dict[K, Slot[Any]] = {}
        self._landing: Dict[K, Tuple[Any, int]] = {}
        #: Bytes that came and were not taken, or are about to come.
        self.nbytes = 0

    def _of(self, key: K) -> Slot[Any]:
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = self._slot()
        return slot

    def land(self, key: K, at: int, total: int, body: memoryview) -> None:
        """The next piece. Raises: SessionError for one that is not the next."""
        if not at and len(body) == total:
            whole: Any = bytes(body)
            self.nbytes += total
        else:
            whole, due = self._landing.pop(key, (None, 0))
            if whole is None:
                whole = np.empty(total, np.uint8)
                self.nbytes += total
            if at != due or at + len(body) > total or len(whole) != total or not len(body):
                raise SessionError("a piece that is not the next")
            whole[at : at + len(body)] = np.frombuffer(body, np.uint8)
            if at + len(body) < total:
                self._landing[key] = whole, at + len(body)
                return
        slot = self._of(key)
        if slot.is_set:
            raise SessionError("the same thing was said twice")
        slot.set(whole)

    async def take(self, key: K) -> Any:
        """What came under a key, once it is whole."""
        whole = await self._of(key)
        del self._slots[key]
        self.nbytes -= len(whole)
        return whole


class Stock:
    """Bytes in the order dealt; each lot is paid for (its request answered) when it has been taken."""

    def __init__(self, slot: NewSlot) -> None:
        self._new_slot = slot
        self._lots: Deque[Tuple[memoryview, Callable[[], None]]] = deque()
        self._wanted: Optional[Slot[None]] = None
        self._head = 0
        #: Bytes of lots that are not used up.
        self.nbytes = 0

    def add(self, lot: memoryview, paid: Callable[[], None]) -> None:
        """Raises: Refused if it is empty."""
        if not len(lot):
            raise Refused("nothing was dealt")
        self._lots.append((lot, paid))
        self.nbytes += len(lot)
        if self._wanted is not None:
            self._wanted.set(None)

    async def take(self, nbytes: int) -> Any:
        """The next bytes, once they are here."""
        if self._lots and len(self._lots[0][0]) - self._head >= nbytes > 0:
            return self._pop(nbytes)
        out = np.empty(nbytes, np.uint8)
        at = 0
        while at < nbytes:
            while not self._lots:
                self._wanted = self._new_slot()
                await self._wanted
                self._wanted = None
            piece = self._pop(min(nbytes - at, len(self._lots[0][0]) - self._head))
            out[at : at + len(piece)] = np.frombuffer(piece, np.uint8)
            at += len(piece)
        return out

    def _pop(self, nbytes: int) -> memoryview:
        lot, paid = self._lots[0]
        piece = lot[self._head : self._head + nbytes]
        self._head += nbytes
        if self._head == len(lot):
            self._lots.popleft()
            self.nbytes -= len(lot)
            self._head = 0
            paid()
        return piece
