"""The dealer's machine: it knows every mask and no opening, and makes what the parties cannot draw. No I/O.

What is dealt costs bytes to the last party only: the others draw their shares from seeds that they have in common with
the dealer.
"""

from __future__ import annotations

from typing import Any, List, Mapping, NamedTuple, Sequence, Tuple

import numpy as np

from ..errors import SessionError
from . import ring
from .gates import DEALER
from .machine import Loose, Machine, Opening, Part, Public, Rule, Run, Wire
from .prg import Seeds, Stream, masks_of_driver
from .ring import DTYPE, Ring

__all__ = ["Deal", "Dealer"]


#: Bytes that leave before what they belong to is whole.
MUCH = 1 << 20


class Deal(NamedTuple):
    """Send this to the last party."""

    pieces: List[Any]


class Dealer(Machine):
    """Deals to parties that have ``seeds``."""

    rules: Mapping[str, Rule] = DEALER

    def __init__(self, seeds: Sequence[Seeds], room: int = 1 << 40) -> None:
        super().__init__(room)
        self.count = len(seeds)
        self._own = [Stream(each.own, b"shares") for each in seeds]
        self._driver = [Stream(each.driver, b"inputs") for each in seeds]
        self._pieces: List[Any] = []
        #: Numbers, bytes and the like that were shared: each is used for one value.
        self.correlations = 0

    def run(self, gates: Sequence[Any]) -> Run:
        yield from super().run(gates)
        if self._pieces:
            yield self._send()

    @property
    def dealt(self) -> int:
        """Bytes dealt."""
        return self.given

    # Randomness.

    def free(self, shape: Tuple[int, ...], dtype: Any = DTYPE, xor: bool = False) -> Any:
        """A mask of which every party draws its share."""
        self.check(shape)
        combine = np.bitwise_xor if xor else np.add
        whole = self._own[0].array(shape, dtype)
        for stream in self._own[1:]:
            stream.blend(combine, whole)
        return whole

    def drawn_by(self, index: int, shape: Tuple[int, ...]) -> Ring:
        """A mask that one party alone draws."""
        self.check(shape)
        return self._own[index].ring(shape)

    def for_driver(self, shape: Tuple[int, ...]) -> Ring:
        """The mask of an input of the driver."""
        self.check(shape)
        return masks_of_driver(self._driver, shape)

    def deal(self, value: Any, xor: bool = False) -> None:
        """Share a value of the dealer's choice, modulo the width of its dtype, or by XOR; it is overwritten."""
        rest = np.ascontiguousarray(value)
        combine = np.bitwise_xor if xor else np.subtract
        for stream in self._own[:-1]:
            stream.blend(combine, rest)
        self.given += rest.nbytes
        self.correlations += rest.size
        self._pieces.append(rest)

    def passed_on(self) -> Run:
        """Send what was dealt so far, if it is much: the last party may begin with it."""
        if sum([piece.nbytes for piece in self._pieces]) >= MUCH:
            yield self._send()

    # Values.

    def part(self, value: Any) -> Part:
        """The dealer's part of a value; None if it is nothing."""
        if isinstance(value, Loose):
            return value.part
        if isinstance(value, Wire):
            return None if value.settled else ring.neg(value.mask)
        if isinstance(value, Public):
            return None
        raise SessionError(f"a number is wanted, not a {type(value).__name__}")

    def _exchange(self, openings: List[Opening]) -> Run:
        if self._pieces:
            yield self._send()
        return [None] * len(openings)

    def _send(self) -> Deal:
        pieces, self._pieces = self._pieces, []
        return Deal(pieces)
