"""The loop over gates: what each reads and makes, which openings leave together, what is to be forgotten."""

from __future__ import annotations

import math
from types import GeneratorType
from typing import Any, Callable, Dict, Generator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ...errors import SessionError
from ..watch import WAITING, Watch
from .values import parts

__all__ = ["ADD", "FROM", "XOR", "Gate", "Machine", "Opening", "Pause", "Rule", "Run"]

#: What is done without a pause, in bytes that gates read: about a millisecond. A gate counts at least as much as it
#: costs on one number.
WEIGHT, LEAST = 1 << 22, 1 << 17
#: What is too much to be done between two turns of the loop. It is not less, since a thread and the loop, which brings
#: in megabytes meanwhile, take the interpreter from each other after each step.
HUGE = 1 << 26
#: How often some gates go over what they read; 0: they pause by themselves.
OVER = {"lookup": 0, "fold": 8, "sines": 64, "power": 16}
#: Steps of a product of matrices for each byte of these. It is one step to the interpreter: a thread is right for it
#: from ``LONG`` bytes on; a shorter one is over before a thread has begun and told.
STEPS, LONG = 2, 1 << 24


class Gate(NamedTuple):
    """``drop``: numbers that no later gate names, to be forgotten behind it."""

    op: str
    out: int
    ins: Tuple[int, ...]
    params: Tuple[Any, ...]
    drop: Tuple[int, ...] = ()


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


class Pause(NamedTuple):
    """So much was done that others may want their turn; ``heavy``: what comes next is too much to be done in one."""

    heavy: bool


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
        #: Whether it says when it did so much without asking for anything that somebody else should have a turn.
        self.pauses = False
        self._weight = 0

    def run(self, gates: Sequence[Gate]) -> Run:
        """Do what the gates say. Raises: SessionError for a gate that is not understood."""
        values = self.values
        for op, out, ins, params, drop in gates:
            if self._pending and not self._pending.keys().isdisjoint(ins):
                yield from self._flush()
            rule = self.rules.get(op)
            if rule is None:
                raise SessionError(f"no such gate: {op!r:.60}")
            try:
                inputs = [values[number] for number in ins]
            except KeyError as missing:
                raise SessionError(f"gate {op} reads value {missing}, which is not there") from None
            if self.pauses and (pause := self._weighed(op, ins, params)) is not None:
                yield pause
            self.gates += 1
            since, dealt = (self.watch.clock() if self.watch else 0.0), self.given
            result = rule(self, *inputs, *params)
            if type(result) is GeneratorType:
                yield from self._advance(out, result, None)
            else:
                self._keep(out, result)
            if self.watch:
                self.watch.note(out, since, dealt=self.given - dealt)
            if drop:
                self.drop(drop)
        if self._pending:
            yield from self._flush()

    def drop(self, numbers: Sequence[int]) -> None:
        """Forget values. Idempotent."""
        for number in numbers:
            self.values.pop(number, None)
            self.held -= self._sizes.pop(number, 0)

    def _weighed(self, op: str, ins: Tuple[int, ...], params: Tuple[Any, ...]) -> Optional[Pause]:
        """What is to be said before a gate."""
        sizes = self._sizes
        size = sum([sizes[number] for number in ins])
        if op == "fold" and not size:  # the dealer only knows how many there are
            size = self.values[ins[0]].digits * self.values[ins[0]].nbytes
        weight = LEAST + OVER.get(op, 1) * size
        if op == "matmul_public" or (op == "product" and params[0] == "matmul"):
            steps = self._steps(*ins) // STEPS
            return self._paused(weight + steps, steps > LONG)
        return self._paused(weight)

    def _paused(self, weight: int, heavy: bool = False) -> Optional[Pause]:
        """What is to be said before so much more is done."""
        self._weight += weight
        if self._weight <= WEIGHT:
            return None
        self._weight = 0
        return Pause(heavy or weight > HUGE)

    def rested(self, weight: int) -> Run:
        """Between the parts of a long gate: somebody else may have a turn."""
        if self.pauses and self._paused(weight) is not None:
            yield Pause(False)

    def _steps(self, a: int, b: int) -> int:
        """Multiplications in the product of two values, about."""
        first, second = (parts(self.values[number])[:1] for number in (a, b))
        if not first or not second:
            return 0
        return int(first[0].size) * int(second[0].shape[-1] if second[0].ndim > 1 else 1)

    def _keep(self, number: int, value: Any) -> None:
        if number in self.values:
            raise SessionError(f"value {number} is there already")
        self.values[number] = value
        size = self._sizes[number] = sum([part.nbytes for part in parts(value)])
        self.held += size
        if self.held > self.room:
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
                told = yield event
                if self.pauses and (pause := self._paused(getattr(told, "nbytes", 0))) is not None:
                    yield pause
                event = rule.send(told)
        except StopIteration as done:
            self._keep(out, done.value)
        else:
            self._pending[out] = (rule, event)

    def _flush(self) -> Run:
        pending, self._pending = self._pending, {}
        self.hops += 1
        since = self.watch.clock() if self.watch else 0.0
        openings = [opening for _, opening in pending.values()]
        opened = yield from self._exchange(openings)
        if self.watch:
            self.watch.note(WAITING, since)
        if self.pauses:
            self._weight = 0
            if sum([0 if opening.mine is None else opening.mine.nbytes for opening in openings]) > HUGE:
                yield Pause(True)
        for (out, (rule, opening)), what in zip(pending.items(), opened):
            since, dealt = (self.watch.clock() if self.watch else 0.0), self.given
            yield from self._advance(out, rule, what)
            if self.watch:
                size = 0 if opening.mine is None else opening.mine.nbytes
                self.watch.note(out, since, size, self.given - dealt, self.hops)

    def _exchange(self, openings: List[Opening]) -> Run:
        """What was opened, one value an opening."""
        raise NotImplementedError
