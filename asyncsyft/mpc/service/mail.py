"""What has come and is not wanted yet: openings of other parties in pieces, and the dealer's stock."""

from __future__ import annotations

from collections import deque
from typing import Any, Callable, Deque, Dict, Generic, Hashable, List, Optional, Tuple, TypeVar

import numpy as np

from ...errors import Refused, SessionError

__all__ = ["TOGETHER", "Parcels", "Stock"]

K = TypeVar("K", bound=Hashable)
Paid = Callable[[], None]
#: Pieces of one array that are paid for together, at most.
TOGETHER = 32


class Landing:
    """An array of bytes that comes in pieces, each behind the one before it."""

    __slots__ = ("array", "at")

    def __init__(self, total: int) -> None:
        self.array, self.at = np.empty(total, np.uint8), 0

    def land(self, at: int, total: int, body: memoryview) -> bool:
        """The next piece; whether it was the last. Raises: SessionError for one that is not the next."""
        if at != self.at or total != len(self.array) or at + len(body) > total or not (len(body) or not total):
            raise SessionError("a piece that is not the next")
        self.at = at + len(body)
        self.array[at : self.at] = np.frombuffer(body, np.uint8)
        return self.at == total


class Parcels(Generic[K]):
    """Arrays of bytes that come in pieces, each under a key.

    Pieces are paid for (their requests answered) when the array is whole, or ``TOGETHER`` of them have come.
    """

    def __init__(self) -> None:
        self._landing: Dict[K, Tuple[Landing, List[Paid]]] = {}
        self._whole: Dict[K, Any] = {}
        #: Bytes that came and were not taken, or are about to come.
        self.nbytes = 0

    def land(self, key: K, at: int, total: int, body: memoryview, owe: Callable[[], Paid]) -> bool:
        """The next piece; whether the array is whole now. ``owe`` is asked what pays for one that has to wait.

        Raises: SessionError for a piece that is not the next.
        """
        if key in self._whole:
            raise SessionError("the same thing was said twice")
        if key not in self._landing:
            if total < 0 or at:
                raise SessionError("a piece that is not the next")
            self._landing[key] = Landing(total), []
            self.nbytes += total
        landing, pays = self._landing[key]
        if not landing.land(at, total, body):
            pays.append(owe())  # many are answered together: each by itself would wake both ends
            if len(pays) == TOGETHER:
                _settle(pays)
            return False
        del self._landing[key]
        self._whole[key] = landing.array
        _settle(pays)
        return True

    def __contains__(self, key: K) -> bool:
        """Whether an array is whole."""
        return key in self._whole

    def take(self, key: K) -> Any:
        """An array that is whole."""
        whole = self._whole.pop(key)
        self.nbytes -= len(whole)
        return whole


def _settle(pays: List[Paid]) -> None:
    for pay in pays:
        pay()
    pays.clear()


class Stock:
    """Bytes in the order dealt; each lot is paid for (its requests answered) when it has been taken.

    One thread may take while the loop adds: each counts for itself.
    """

    def __init__(self) -> None:
        self._landing: Optional[Landing] = None
        self._pays: List[Paid] = []
        self._lots: Deque[Tuple[Any, List[Paid]]] = deque()
        self._due: Deque[Paid] = deque()
        self._head = 0
        self._announced = self._taken = 0
        #: Bytes of lots that came.
        self.came = 0

    @property
    def nbytes(self) -> int:
        """Bytes that came and were not taken, or are about to come."""
        return self._announced - self._taken

    def add(self, at: int, total: int, body: memoryview, pay: Paid) -> None:
        """The next piece of a lot. Raises: SessionError for one that is not the next, Refused if it is empty."""
        if not len(body):
            raise Refused("nothing was dealt")
        if self._landing is None:
            if at or total < len(body):
                raise SessionError("a piece that is not the next")
            self._landing = Landing(total)
            self._announced += total
        self._pays.append(pay)
        if self._landing.land(at, total, body):
            self._lots.append((self._landing.array, self._pays))
            self.came += total
            self._landing, self._pays = None, []
        self.settle()

    def settle(self) -> None:
        """Pay for what was used up."""
        while self._due:
            self._due.popleft()()

    def take(self, nbytes: int) -> Any:
        """The next bytes, None if they are not all here."""
        if self.came - self._taken < nbytes:
            return None
        if not nbytes or len(self._lots[0][0]) - self._head >= nbytes:
            return self._pop(nbytes)
        out = np.empty(nbytes, np.uint8)
        at = 0
        while at < nbytes:
            piece = self._pop(min(nbytes - at, len(self._lots[0][0]) - self._head))
            out[at : at + len(piece)] = piece
            at += len(piece)
        return out

    def _pop(self, nbytes: int) -> Any:
        if not nbytes:
            return np.empty(0, np.uint8)
        lot, pays = self._lots[0]
        piece = lot[self._head : self._head + nbytes]
        self._head += nbytes
        if self._head == len(lot):
            self._lots.popleft()
            self._head = 0
            self._due.extend(pays)
        self._taken += nbytes
        return piece
