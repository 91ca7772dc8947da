"""What is replaced inside PySyft to make it fast: each module one thing, with its reason; the results are PySyft's.

``attach`` puts all of it in, ``detach`` takes it out; a module lists the places that it takes in ``PLACES``.
"""

from __future__ import annotations

from typing import Any, List, Tuple

from . import detailing, fss, modulo, primitives, serializer, simplifying, spdz, wrapping

_MODULES = (simplifying, detailing, serializer, primitives, spdz, fss, modulo, wrapping)
_PLACES: List[Tuple[Any, str, Any]] = [place for module in _MODULES for place in module.PLACES]
#: What was there before, as the class or module had it: a static method stays one, what was inherited is so again.
_before: List[Tuple[Any, str, Any]] = []
_NOTHING = object()


def attach() -> None:
    """Take the places of PySyft's functions; idempotent."""
    if not _before:
        for place, name, ours in _PLACES:
            _before.append((place, name, vars(place).get(name, _NOTHING)))
            setattr(place, name, ours)
    modulo.allow()


def detach() -> None:
    """Give them back; idempotent."""
    while _before:
        place, name, theirs = _before.pop()
        if theirs is _NOTHING:
            delattr(place, name)
        else:
            setattr(place, name, theirs)
