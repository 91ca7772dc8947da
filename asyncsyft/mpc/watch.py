"""What operations cost: notes of a machine about its gates, and the table that a driver makes of them."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, Callable, Dict, List, NamedTuple, Set, Tuple

__all__ = ["Profile", "Row", "Watch"]

#: The row of what no gate is to blame for: waiting for what others open.
WAITING = 0


class Watch:
    """What each gate of a batch cost one machine, by the number of its result: ``clock`` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.notes: Dict[int, List[Any]] = {}  # number -> [seconds, bytes opened, bytes dealt, hop or 0]

    def note(self, number: int, since: float, opened: int = 0, dealt: int = 0, hop: int = 0) -> None:
        """More of what a gate cost, which began at ``since``."""
        row = self.notes.setdefault(number, [0.0, 0, 0, 0])
        row[0] += self.clock() - since
        row[1] += opened
        row[2] += dealt
        row[3] = hop or row[3]

    def take(self) -> List[List[Any]]:
        """All notes, as lists; they begin anew."""
        notes, self.notes = self.notes, {}
        return [[number, *row] for number, row in notes.items()]


class Row(NamedTuple):
    """One operation of a program: how often it was written, and what all of it cost.

    ``seconds``: of the party that took longest. ``rounds``: hops in which it took part; several may share one.
    ``opened``: bytes that the first party sent to all others. ``dealt``: bytes of the dealer's.
    """

    name: str
    calls: int
    seconds: float
    rounds: int
    opened: int
    dealt: int


class Profile:
    """What each operation cost so far: ``rows()``, or as a table by ``print``."""

    def __init__(self, parties: int) -> None:
        self._parties = parties
        self._marks: List[Tuple[int, str]] = []  # the last number of what each operation recorded, and its name
        self._seconds: Dict[Tuple[str, int], float] = {}  # (name, place)
        self._opened: Dict[str, int] = {}
        self._dealt: Dict[str, int] = {}
        self._hops: Dict[str, Set[int]] = {}
        self._calls: Dict[str, int] = {}

    def mark(self, last: int, name: str) -> None:
        """All gates up to that number, from the last mark on, were recorded by one operation."""
        if not self._marks or last > self._marks[-1][0]:
            self._marks.append((last, name))
            self._calls[name] = self._calls.get(name, 0) + 1

    def _name_of(self, number: int) -> str:
        if number == WAITING:
            return "(waiting)"
        at = bisect_left(self._marks, (number, ""))
        return self._marks[at][1] if at < len(self._marks) else "(reveal)"

    def add(self, place: int, notes: Any) -> None:
        """What a member noted of a batch; -1 is the dealer."""
        for number, seconds, opened, dealt, hop in notes:
            name = self._name_of(number)
            if place >= 0:
                self._seconds[name, place] = self._seconds.get((name, place), 0.0) + seconds
            if place == 0:
                self._opened[name] = self._opened.get(name, 0) + opened * (self._parties - 1)
                self._hops.setdefault(name, set()).update([hop] if hop else [])
            if place < 0:
                self._dealt[name] = self._dealt.get(name, 0) + dealt

    def rows(self) -> List[Row]:
        """The slowest operation first."""
        names = {name for name, _ in self._seconds} | set(self._dealt)
        rows = []
        for name in names:
            seconds = max(self._seconds.get((name, place), 0.0) for place in range(self._parties))
            hops, opened, dealt = len(self._hops.get(name, ())), self._opened.get(name, 0), self._dealt.get(name, 0)
            rows.append(Row(name, self._calls.get(name, 0), seconds, hops, opened, dealt))
        return sorted(rows, key=lambda row: (-row.seconds, row.name))

    def __str__(self) -> str:
        head = ("operation", "calls", "ms", "rounds", "opened, bytes", "dealt, bytes")
        body = [
            (row.name, f"{row.calls or ''}", f"{row.seconds * 1e3:.2f}", *(f"{n:,}" for n in row[3:]))
            for row in self.rows()
        ]
        widths = [max(len(line[at]) for line in [head, *body]) for at in range(len(head))]
        lines = [
            "  ".join(
                f"{cell:<{width}}" if not at else f"{cell:>{width}}"
                for at, (cell, width) in enumerate(zip(line, widths))
            )
            for line in [head, *body]
        ]
        return "\n".join(lines)
