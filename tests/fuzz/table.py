"""The list of what is fuzzed: a function each, its share of the inputs, and what it may raise."""

from __future__ import annotations

from typing import Callable, Dict, NamedTuple, Type

#: Takes any bytes; lets nothing out but a bug.
Read = Callable[[bytes], None]


class Target(NamedTuple):
    """A decoder: its share of the inputs of a run, and how long they grow."""

    read: Read
    share: int
    longest: int


TARGETS: Dict[str, Target] = {}
#: Bytes that a worker has room for here: what is declared and larger is refused.
ROOM = 1 << 20


def reads(*promised: Type[Exception], share: int = 8, longest: int = 1024) -> Callable[[Read], Read]:
    """Put a decoder on the list; it may raise what it promises. ``longest`` in bytes."""

    def enlist(decode: Read) -> Read:
        def read(data: bytes) -> None:
            try:
                decode(data)
            except promised:
                pass

        TARGETS[decode.__name__] = Target(read, share, longest)
        return read

    return enlist
