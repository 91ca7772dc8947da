"""What a case of a conformance suite is: frames to send, in chops, and what must come back."""

from __future__ import annotations

import struct
from typing import Any, List, NamedTuple, Sequence, Tuple

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
#: What this end answers text with.
NO_TEXT = 1003
#: How a case's bytes are cut into writes.
AT_ONCE, BY_FRAME = 0, -1


class F(NamedTuple):
    """A frame to send; one that declares more than it has is never finished."""

    opcode: int
    payload: bytes = b""
    fin: bool = True
    rsv: int = 0
    says: int = -1  # octets that its header declares, if others than it has


class Heard(NamedTuple):
    """Wait until so many messages and pongs came back."""

    count: int


class Case(NamedTuple):
    """What is sent, what must be heard in order, and the codes with which this end may close; none: it stays open.

    ``chop``: octets a write. ``may_drop``: what was to be echoed may be lost in the failing (Autobahn: "non-strict").
    ``early``: as it stands it fails before its text is looked at, and so as Autobahn has it.
    """

    id: str
    about: str
    steps: Sequence[Any]
    hears: Sequence[Tuple[int, bytes]] = ()
    closes: Sequence[int] = ()
    chop: int = AT_ONCE
    may_drop: bool = False
    early: bool = False

    @property
    def has_text(self) -> bool:
        """Whether it sends text."""
        return any(isinstance(step, F) and step.opcode == TEXT for step in self.steps)

    def in_binary(self) -> Case:
        """The case with binary messages in place of text."""
        steps = [s._replace(opcode=BINARY) if isinstance(s, F) and s.opcode == TEXT else s for s in self.steps]
        return self._replace(steps=steps)

    def as_refused(self) -> Case:
        """The case as it is, and what this end answers text with."""
        return self._replace(hears=(), closes=(NO_TEXT,))


def close(code: int, reason: bytes = b"") -> F:
    return F(CLOSE, struct.pack(">H", code) + reason)


def echoed(*payloads: bytes) -> List[Tuple[int, bytes]]:
    return [(BINARY, payload) for payload in payloads]


def pieces(data: bytes, size: int, opcode: int = TEXT) -> List[F]:
    """A message in fragments of so many octets."""
    cut = [data[at : at + size] for at in range(0, len(data), size)] or [b""]
    return [F(CONT if at else opcode, part, at == len(cut) - 1) for at, part in enumerate(cut)]
