"""What a value is to a party and to the dealer: they hold different parts of it. None stands for what is not theirs."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Callable, List, Tuple

import numpy as np

from ..ring import Ring, add, neg, sub

__all__ = ["Bit", "Carried", "Loose", "Part", "Planes", "Public", "Wire", "parts"]

Part = Any  # a Ring, or None


class Public:
    """What everybody knows, the dealer too: a constant of the program."""

    __slots__ = ("array",)
    settled = True

    def __init__(self, array: Ring) -> None:
        self.array = array

    def map(self, change: Callable[[Ring], Ring]) -> Public:
        return Public(change(self.array))


class Wire:
    """x = delta - mask. ``delta`` is known to the parties, the mask to the dealer.

    At a party ``mask`` is its share of the mask, if the shares were dealt (``settled``); at the dealer, the mask.
    """

    __slots__ = ("delta", "mask", "settled")

    def __init__(self, delta: Part, mask: Part, settled: bool = True) -> None:
        self.delta, self.mask, self.settled = delta, mask, settled

    def map(self, change: Callable[[Ring], Ring]) -> Wire:
        delta = None if self.delta is None else change(self.delta)
        return Wire(delta, None if self.mask is None else change(self.mask), self.settled)


class Loose:
    """x = the sum of the parts of the parties and of the dealer's. ``settled``: the dealer's is none.

    ``part`` is this machine's own.
    """

    __slots__ = ("part", "settled")

    def __init__(self, part: Part, settled: bool = True) -> None:
        self.part, self.settled = part, settled

    def map(self, change: Callable[[Ring], Ring]) -> Loose:
        return Loose(None if self.part is None else change(self.part), self.settled)


class Carried(Loose):
    """x = delta - mask + wrapped & top: what a wire is after it was rescaled; elementwise products take it as it is.

    ``wrapped``: all ones or zero, known to the parties. ``top``: at a party its share of a bit times 2^(64 - bits), at
    the dealer the bit (or, after linear operations, a multiple).
    """

    __slots__ = ("bits", "delta", "first", "mask", "top", "wrapped")

    def __init__(self, delta: Part, mask: Part, wrapped: Part, top: Part, bits: int, first: bool) -> None:
        self.delta, self.mask, self.wrapped, self.top = delta, mask, wrapped, top
        self.bits, self.first, self.settled = bits, first, True

    @property
    def part(self) -> Part:
        if self.delta is None:
            return None
        share = sub(np.bitwise_and(self.top, self.wrapped), self.mask)
        return add(share, self.delta) if self.first else share

    def map(self, change: Callable[[Ring], Ring]) -> Loose:
        return Loose(None if self.delta is None else change(self.part))

    def move(self, change: Callable[[Ring], Ring]) -> Carried:
        """What only moves elements leaves it what it is."""
        delta, mask, wrapped, top = (
            None if part is None else change(part) for part in (self.delta, self.mask, self.wrapped, self.top)
        )
        return Carried(delta, mask, wrapped, top, self.bits, self.first)

    def moved_by(self, delta: Part, mask: Part) -> Carried:
        """The same, with a wire or a public number added."""
        there = None if self.delta is None else add(self.delta, delta)
        return Carried(there, add(self.mask, mask), self.wrapped, self.top, self.bits, self.first)

    def negative(self) -> Carried:
        there = None if self.delta is None else neg(self.delta)
        return Carried(there, neg(self.mask), self.wrapped, neg(self.top), self.bits, self.first)


class Planes:
    """Bits shared by XOR, eight elements a byte: of each digit, whether delta < mask, and whether they are equal.

    ``below``: (digits, bytes) or None; ``equal``: (digits - 1, bytes), without the lowest, if there is ``below``, else
    (digits, bytes). At the dealer: None, it only knows their number.
    """

    __slots__ = ("below", "digits", "equal", "nbytes")

    def __init__(self, digits: int, nbytes: int, below: Any = None, equal: Any = None) -> None:
        self.digits, self.nbytes, self.below, self.equal = digits, nbytes, below, equal


class Bit:
    """b = public ^ mask, elementwise 0 or 1. At a party ``number`` is its share of the mask as a number, once dealt."""

    __slots__ = ("mask", "number", "public")
    settled = True

    def __init__(self, public: Part, mask: Part, number: Part = None) -> None:
        self.public, self.mask, self.number = public, mask, number

    def map(self, change: Callable[[Ring], Ring]) -> Bit:
        parts = (self.public, self.mask, self.number)
        return Bit(*(None if part is None else change(part) for part in parts))


_ARRAYS = ("array", "delta", "mask", "part", "public", "number", "below", "equal", "wrapped", "top")


@lru_cache(maxsize=None)
def _arrays(kind: type) -> Tuple[str, ...]:
    slots = {name for base in kind.__mro__ for name in getattr(base, "__slots__", ())}
    return tuple(name for name in _ARRAYS if name in slots and not (name == "part" and kind is Carried))


def parts(value: Any) -> List[Any]:
    """The arrays that a value holds."""
    found = [getattr(value, name) for name in _arrays(value.__class__)]
    return [part for part in found if part is not None]
