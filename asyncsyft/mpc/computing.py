"""A party's machine: it holds shares, asks for openings, and takes what the dealer sent. No I/O."""

from __future__ import annotations

import math
from typing import Any, Generator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..errors import SessionError
from . import ring
from .gates import PARTY
from .machine import FROM, XOR, Loose, Machine, Opening, Public, Rule, Run, Wire
from .prg import Seeds, Stream
from .ring import DTYPE, Ring

__all__ = ["Exchange", "Outside", "Party", "Reveal", "Take"]


# What a party yields.


class Exchange(NamedTuple):
    """Send ``mine`` to every other party, and resume with what they sent: a list by party, None for this one."""

    mine: List[Any]


class Take(NamedTuple):
    """Resume with the next ``nbytes`` that the dealer sent."""

    nbytes: int


class Outside(NamedTuple):
    """Resume with an array that comes from outside: the party's own data, or what a driver masked and sent."""

    number: int
    shape: Tuple[int, ...]


class Reveal(NamedTuple):
    """Send this share of a result to the one who may know it; -1 is the driver. Resume with None."""

    number: int
    to: int
    share: Ring


Drawn = Generator[Any, Any, Any]


class Party(Machine):
    """One of ``count`` parties, the ``index``-th."""

    rules: Mapping[str, Rule] = PARTY

    def __init__(self, index: int, count: int, seeds: Seeds, room: int = 1 << 40) -> None:
        super().__init__(room)
        self.index, self.count = index, count
        self.first, self.last = index == 0, index == count - 1
        self._own = Stream(seeds.own, b"shares")
        self._driver = Stream(seeds.driver, b"inputs")
        self._before, self._after = Stream(seeds.before, b"zero"), Stream(seeds.after, b"zero")
        #: Bytes that the dealer sent here.
        self.taken = 0

    # Randomness.

    def free(self, shape: Tuple[int, ...], dtype: Any = DTYPE) -> Any:
        """A share of a mask that is nothing but the sum (or the XOR) of the parties' draws."""
        self.check(shape)
        return self._own.array(shape, dtype)

    def dealt(self, shape: Tuple[int, ...], dtype: Any = DTYPE) -> Drawn:
        """A share of what the dealer chose: drawn, and at the last party what the dealer sent."""
        dtype = np.dtype(dtype)
        nbytes = self.check(shape, dtype.itemsize)
        if not self.last:
            return self._own.array(shape, dtype)
        self.taken += nbytes
        raw = yield Take(nbytes)
        return np.frombuffer(raw, dtype).reshape(shape)

    def for_driver(self, shape: Tuple[int, ...]) -> Ring:
        """A share of the mask of an input of the driver."""
        self.check(shape)
        return self._driver.ring(shape)

    def zero(self, shape: Tuple[int, ...]) -> Ring:
        """A share of zero."""
        return ring.sub(self._before.ring(shape), self._after.ring(shape))

    # Values.

    def outside(self, number: int, shape: Tuple[int, ...]) -> Outside:
        return Outside(number, shape)

    def tells(self, number: int, to: int, share: Ring) -> Reveal:
        return Reveal(number, to, share)

    def part(self, value: Any) -> Tuple[Ring, bool]:
        """This party's part of a value, and whether the parts are all of it."""
        if isinstance(value, Loose):
            return value.part, value.settled
        if isinstance(value, Public):
            return (value.array if self.first else np.zeros_like(value.array)), True
        if not isinstance(value, Wire):
            raise SessionError(f"a number is wanted, not a {type(value).__name__}")
        whole = value.delta if self.first else None
        if value.mask is None:
            return (np.zeros_like(value.delta) if whole is None else whole), False
        return (ring.neg(value.mask) if whole is None else ring.sub(whole, value.mask)), True

    # Openings.

    def _exchange(self, openings: List[Opening]) -> Run:
        mine = [np.ascontiguousarray(opening.mine).view(np.uint8).ravel() for opening in openings if _has(opening)]
        self.opened += sum(piece.nbytes for piece in mine)
        theirs = yield Exchange(mine)
        readers = [None if i == self.index else _Reader(data) for i, data in enumerate(theirs)]
        opened = [self._combined(opening, readers) for opening in openings]
        for reader in readers:
            if reader is not None:
                reader.end()
        return opened

    def _combined(self, opening: Opening, readers: Sequence[Optional[_Reader]]) -> Any:
        if opening.how == FROM:
            reader = readers[opening.owner]
            return opening.mine if reader is None else reader.take(opening)
        combine = np.bitwise_xor if opening.how == XOR else np.add
        whole = None
        for reader in readers:
            if reader is not None:
                theirs = reader.take(opening)
                if whole is None:  # what this party said is still on its way: what it heard is where the sum goes
                    whole = theirs if reader.all_taken and theirs.flags.writeable else np.empty_like(theirs)
                    combine(theirs, opening.mine, out=whole)
                else:
                    combine(whole, theirs, out=whole)
        return whole


def _has(opening: Opening) -> bool:
    return opening.mine is not None


class _Reader:
    """Takes what another party opened apart."""

    def __init__(self, data: Any) -> None:
        self._data = np.frombuffer(data, np.uint8)
        self._from = self._at = 0  # where what was taken last began, and ended

    def take(self, opening: Opening) -> Any:
        dtype = np.dtype(opening.dtype)
        end = self._at + math.prod(opening.shape) * dtype.itemsize
        if end > len(self._data):
            raise SessionError("a party opened less than the program says")
        piece = self._data[self._at : end]
        self._from, self._at = self._at, end
        found = piece.view(dtype).reshape(opening.shape)
        return found if found.flags.aligned else found.copy()

    @property
    def all_taken(self) -> bool:
        """Whether what was taken was all that came, so that nobody else has a part of its memory."""
        return self._from == 0 and self._at == len(self._data)

    def end(self) -> None:
        if self._at != len(self._data):
            raise SessionError("a party opened more than the program says")
