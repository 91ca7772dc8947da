"""What the rules of gates need of a party and of the dealer, as the machines in ``computing`` and ``dealing`` are."""

from __future__ import annotations

from typing import Any, Generator, Protocol, Tuple

from ..machine import Part, Run
from ..ring import Ring

__all__ = ["Dealing", "Party", "Run"]


class Party(Protocol):
    """A party, as a rule sees it."""

    index: int
    first: bool

    def free(self, shape: Tuple[int, ...], dtype: Any = ...) -> Any: ...

    def dealt(self, shape: Tuple[int, ...], dtype: Any = ...) -> Generator[Any, Any, Any]: ...

    def rested(self, weight: int) -> Run: ...

    def zero(self, shape: Tuple[int, ...]) -> Ring: ...

    def for_driver(self, shape: Tuple[int, ...]) -> Ring: ...

    def part(self, value: Any) -> Tuple[Ring, bool]: ...


class Dealing(Protocol):
    """The dealer, as a rule sees it."""

    def free(self, shape: Tuple[int, ...], dtype: Any = ..., xor: bool = ...) -> Any: ...

    def drawn_by(self, index: int, shape: Tuple[int, ...]) -> Ring: ...

    def for_driver(self, shape: Tuple[int, ...]) -> Ring: ...

    def deal(self, value: Any, xor: bool = ...) -> None: ...

    def passed_on(self) -> Run: ...

    def rested(self, weight: int) -> Run: ...

    def part(self, value: Any) -> Part: ...
