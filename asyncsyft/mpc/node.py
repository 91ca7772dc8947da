"""A value that does not exist yet, as a circuit records it: its form, shape and scale. It knows no gates."""

from __future__ import annotations

import math
from typing import Any, Deque, Dict, Iterable, Protocol, Tuple

__all__ = ["BIT", "CARRIED", "LOOSE", "PLANES", "PUBLIC", "WIRE", "Node", "Shape", "joined", "plain", "stays"]

PUBLIC, WIRE, LOOSE, CARRIED, BIT, PLANES = "public", "wire", "loose", "carried", "bit", "planes"

Shape = Tuple[int, ...]


class Recorder(Protocol):
    """Who is told of nodes that nobody holds any more."""

    dropped: Deque[int]


class Node:
    """A value of a circuit; its number is forgotten, everywhere, when nobody holds it any more."""

    __slots__ = ("_forms", "circuit", "form", "number", "scale", "settled", "shape", "__weakref__")

    def __init__(self, circuit: Recorder, number: int, shape: Shape, scale: int, form: str, settled: bool) -> None:
        self.circuit, self.number, self.shape = circuit, number, shape
        self.scale, self.form, self.settled = scale, form, settled
        self._forms: Dict[str, Node] = {}  # the same value in other forms

    def __del__(self) -> None:
        self.circuit.dropped.append(self.number)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def has(self, form: str) -> bool:
        """Whether it was made in that form."""
        return form in self._forms

    def once(self, form: str, make: Any) -> Node:
        """This value in another form, made when it is first wanted."""
        made = self._forms.get(form)
        if made is None:
            made = self._forms[form] = make()
        return made


def plain(node: Node) -> str:
    """The form of what is made of a value otherwise than by moving it."""
    return LOOSE if node.form == CARRIED else node.form


def stays(node: Node) -> bool:
    """Whether a carried value, with this added, is still one."""
    return node.form == PUBLIC or (node.form == WIRE and node.settled)


def joined(nodes: Iterable[Node]) -> Tuple[str, bool]:
    """The form of a sum, and whether it is settled."""
    forms = {plain(node) for node in nodes}
    settled = {node.settled for node in nodes if node.form != PUBLIC} or {True}
    if LOOSE not in forms and len(settled) == 1:
        return (PUBLIC if forms == {PUBLIC} else WIRE), settled.pop()
    return LOOSE, all(settled)
