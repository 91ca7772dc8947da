"""Private values: an array that may be computed on and not seen, and what is known of how it came about.

A value is in one of three forms. *Rows*: each entry along one axis comes from one row of the data. *Sums*: it was made
of sums over rows. *Opaque*: nothing is known of it. What is not known to be better is opaque.
"""

from __future__ import annotations

from typing import Any, Dict, FrozenSet, List, Mapping, NoReturn, Sequence, Tuple, Union

from ..tensor import Array, DType

ROWS, SUMS, OPAQUE = "rows", "sums", "opaque"
#: Ops of its history that a value remembers, and intervals of rows of each label: what is beyond is not counted.
MAX_HOW, MAX_INTERVALS = 32, 64
#: Bytes of a guard, and of each label and interval in it.
BASE_SIZE, ENTRY_SIZE = 1 << 10, 1 << 7

Interval = Tuple[int, int]
Intervals = Tuple[Interval, ...]
_NONE: Mapping[str, Any] = {}


class Guard:
    """What is known of a private value; never changed once made.

    ``labels``: the data that it depends on, as "alice/scans". ``axis``: where its rows lie, counted from the end, and
    ``along`` which rows those are, if its form is rows. ``rows``: which rows went into sums that it depends on.
    ``degree``: 1 or 2 for sums of columns and of products of two, and for rows from which such sums may still come; 0
    for all else. ``width``: columns of the data; ``scaled``: how often it was multiplied by a number. ``how``: the ops
    by which it came about.
    """

    __slots__ = ("labels", "form", "axis", "along", "rows", "degree", "width", "scaled", "how")

    def __init__(
        self,
        labels: FrozenSet[str],
        form: str = OPAQUE,
        *,
        axis: int = 0,
        along: Mapping[str, Interval] = _NONE,
        rows: Mapping[str, Intervals] = _NONE,
        degree: int = 0,
        width: int = 0,
        scaled: int = 0,
        how: Tuple[str, ...] = (),
    ) -> None:
        self.labels, self.form, self.axis, self.along, self.rows = labels, form, axis, along, rows
        self.degree, self.width, self.scaled, self.how = degree, width, scaled, how

    def count(self, label: str) -> int:
        """How many rows of that data went into its sums; 0 unless it is made of sums."""
        return sum([stop - start for start, stop in self.rows.get(label, ())]) if self.form == SUMS else 0

    @property
    def nbytes(self) -> int:
        """Bytes that it takes up, about: what is small and private would else cost nothing."""
        return BASE_SIZE + ENTRY_SIZE * (len(self.labels) + sum([len(found) for found in self.rows.values()]))

    def plain(self) -> Dict[str, Any]:
        """As plain values, to be kept."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        for name in ("along", "rows"):
            plain[name] = {label: list(found) for label, found in plain[name].items()}
        return {**plain, "labels": sorted(self.labels), "how": list(self.how)}

    @classmethod
    def of(cls, plain: Dict[str, Any]) -> Guard:
        """The opposite of ``plain``. Raises: TypeError, KeyError, ValueError."""
        along = {label: (start, stop) for label, (start, stop) in plain["along"].items()}
        rows = {label: tuple([(start, stop) for start, stop in found]) for label, found in plain["rows"].items()}
        rest = {name: plain[name] for name in ("axis", "degree", "width", "scaled")}
        how = tuple(plain["how"])
        return cls(frozenset(plain["labels"]), plain["form"], along=along, rows=rows, how=how, **rest)


class Private:
    """An array behind a guard. It is no array: whoever expects one cannot read it by mistake."""

    __slots__ = ("array", "guard")

    def __init__(self, array: Array, guard: Guard) -> None:
        self.array, self.guard = array, guard

    @property
    def dtype(self) -> DType:
        """That of the array."""
        dtype: DType = self.array.dtype
        return dtype

    @property
    def shape(self) -> Tuple[int, ...]:
        """That of the array."""
        shape: Tuple[int, ...] = self.array.shape
        return shape

    @property
    def nbytes(self) -> int:
        """Bytes that are held: of the array, and of what is known of it."""
        return self.array.nbytes + self.guard.nbytes

    def describe(self) -> Dict[str, Any]:
        """What it is, for a list: never its contents."""
        return {"kind": "private", "nbytes": self.array.nbytes, "labels": sorted(self.guard.labels)}

    def __repr__(self) -> str:
        return f"<Private {self.dtype}{list(self.shape)} of {named(self.guard.labels)}>"

    __array_ufunc__ = None

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("a private value is no array")


#: A value at a worker: in the open, or private.
Held = Union[Array, Private]


def guard_of(label: str, array: Array) -> Guard:
    """The guard of data as it was loaded: its rows are the entries of its first axis."""
    if not array.ndim or not array.size:
        return Guard(frozenset([label]))
    count = len(array)
    return Guard(
        frozenset([label]),
        ROWS,
        axis=-array.ndim,
        along={label: (0, count)},
        degree=1,
        width=array.size // count,
    )


def public(value: Held) -> Array:
    """The array of a value, whether private or not: for who computes, never for who answers."""
    return value.array if type(value) is Private else value  # type: ignore[return-value]


def named(labels: FrozenSet[str]) -> str:
    """Labels, for people."""
    return " and ".join(sorted(labels))


def together(guards: Sequence[Guard]) -> Dict[str, Intervals]:
    """The rows that went into the sums of any of these."""
    if len(guards) == 1:
        return dict(guards[0].rows)
    found: Dict[str, Intervals] = {}
    for guard in guards:
        for label, intervals in guard.rows.items():
            before = found.get(label, intervals)
            found[label] = intervals if before == intervals else merged([*before, *intervals])
    return found


def merged(intervals: Sequence[Interval]) -> Intervals:
    """Intervals that do not overlap, in order; of too many, the longest."""
    joined: List[Interval] = []
    for start, stop in sorted(intervals):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
        else:
            joined.append((start, stop))
    if len(joined) > MAX_INTERVALS:
        joined = sorted(sorted(joined, key=_length)[-MAX_INTERVALS:])
    return tuple(joined)


def _length(interval: Interval) -> int:
    return interval[1] - interval[0]


def history(op: str, guards: Sequence[Guard]) -> Tuple[str, ...]:
    """The ops by which the result of one came about: those of the input with the longest history, and this one."""
    longest = max([guard.how for guard in guards], key=len)
    return (*longest[1 - MAX_HOW :], op)
