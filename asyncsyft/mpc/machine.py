"""What parties and dealer have in common: they go through the same gates in the same order. No I/O, no clock, no keys.

A gate is (op, number of its result, numbers of its inputs, parameters). A gate's rule is a function of the machine, the
inputs' values and the parameters. Most return their result. One that needs the others is a generator: it yields an
``Opening``, and is resumed with what was opened. Openings wait for each other until a gate needs the result of one:
then all leave together, which is one hop. So the order of the gates alone decides what travels together, and all
machines, the dealer's too, draw their randomness in the same order.
"""

from __future__ import annotations

import math
from functools import lru_cache
from types import GeneratorType
from typing import Any, Callable, Dict, Generator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..errors import SessionError
from .ring import Ring, add, neg, sub
from .watch import WAITING, Watch

__all__ = [
    "ADD",
    "DROP",
    "FROM",
    "XOR",
    "Bit",
    "Carried",
    "Gate",
    "Loose",
    "Machine",
    "Opening",
    "Planes",
    "Public",
    "Run",
    "Wire",
]


class Gate(NamedTuple):
    op: str
    out: int
    ins: Tuple[int, ...]
    params: Tuple[Any, ...]


# Values. A party and the dealer hold different parts of them; None stands for what is not theirs to hold.

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


# What a gate asks of the others.

ADD, XOR, FROM = "add", "xor", "from"


class Opening(NamedTuple):
    """The sum, or the XOR, of what each party holds; or what the one party ``owner`` holds.

    ``mine`` is None where this machine contributes nothing: at the dealer, and where another owns it.
    """

    how: str
    mine: Any
    shape: Tuple[int, ...]
    dtype: Any
    owner: int = 0


#: The gate that forgets values: its parameter is their numbers.
DROP = "drop"

_ARRAYS = ("array", "delta", "mask", "part", "public", "number", "below", "equal", "wrapped", "top")


@lru_cache(maxsize=None)
def _arrays(kind: type) -> Tuple[str, ...]:
    slots = {name for base in kind.__mro__ for name in getattr(base, "__slots__", ())}
    return tuple(name for name in _ARRAYS if name in slots and not (name == "part" and kind is Carried))


def _parts(value: Any) -> List[str]:
    """The names of the arrays that a value holds."""
    return [name for name in _arrays(value.__class__) if getattr(value, name) is not None]


Result = Any
Rule = Callable[..., Any]
Run = Generator[Any, Any, Result]


class Machine:
    """Goes through gates; ``run`` yields what it needs from outside."""

    #: op -> rule; the parties and the dealer have tables of their own.
    rules: Mapping[str, Rule] = {}

    def __init__(self, room: int = 1 << 40) -> None:
        """``room``: bytes that its values may take."""
        self.values: Dict[int, Any] = {}
        self.room, self.held = room, 0
        self._sizes: Dict[int, int] = {}
        self._pending: Dict[int, Tuple[Run, Opening]] = {}
        self.hops = 0
        self.gates = 0
        #: Bytes of openings that left to each other party, at a party; bytes dealt, at the dealer.
        self.opened = self.given = 0
        #: Takes notes of what each gate costs, if anybody asked for them.
        self.watch: Optional[Watch] = None

    def run(self, gates: Sequence[Gate]) -> Run:
        """Do what the gates say. Raises: SessionError for a gate that is not understood."""
        for op, out, ins, params in gates:
            if self._pending and any(number in self._pending for number in ins):
                yield from self._flush()
            if op == DROP:
                self.drop(*params)
                continue
            rule = self.rules.get(op)
            if rule is None:
                raise SessionError(f"no such gate: {op!r:.60}")
            try:
                inputs = [self.values[number] for number in ins]
            except KeyError as missing:
                raise SessionError(f"gate {op} reads value {missing}, which is not there") from None
            self.gates += 1
            since, dealt = (self.watch.clock() if self.watch else 0.0), self.given
            result = rule(self, *inputs, *params)
            if isinstance(result, GeneratorType):
                yield from self._advance(out, result, None)
            else:
                self._keep(out, result)
            if self.watch:
                self.watch.note(out, since, dealt=self.given - dealt)
        if self._pending:
            yield from self._flush()

    def drop(self, numbers: Sequence[int]) -> None:
        """Forget values. Idempotent."""
        for number in numbers:
            self.values.pop(number, None)
            self.held -= self._sizes.pop(number, 0)

    def _keep(self, number: int, value: Any) -> None:
        if number in self.values:
            raise SessionError(f"value {number} is there already")
        self.values[number] = value
        size = self._sizes[number] = sum(getattr(value, name).nbytes for name in _parts(value))
        self.held += size
        self.check((0,))

    def check(self, shape: Sequence[int], itemsize: int = 8) -> int:
        """The bytes of an array that is about to be made. Raises: SessionError if there is no room for it."""
        size = itemsize * math.prod(shape)
        if self.held + size > self.room:
            raise SessionError(f"the values of a session take more than {self.room} bytes")
        return size

    def _advance(self, out: int, rule: Run, told: Any) -> Run:
        """Run a rule until it is done, or needs the others."""
        try:
            event = rule.send(told)
            while not isinstance(event, Opening):
                event = rule.send((yield event))
        except StopIteration as done:
            self._keep(out, done.value)
        else:
            self._pending[out] = (rule, event)

    def _flush(self) -> Run:
        pending, self._pending = self._pending, {}
        self.hops += 1
        since = self.watch.clock() if self.watch else 0.0
        opened = yield from self._exchange([opening for _, opening in pending.values()])
        if self.watch:
            self.watch.note(WAITING, since)
        for (out, (rule, opening)), what in zip(pending.items(), opened):
            since, dealt = (self.watch.clock() if self.watch else 0.0), self.given
            yield from self._advance(out, rule, what)
            if self.watch:
                size = 0 if opening.mine is None else opening.mine.nbytes
                self.watch.note(out, since, size, self.given - dealt, self.hops)

    def _exchange(self, openings: List[Opening]) -> Run:
        """What was opened, one value an opening."""
        raise NotImplementedError
