"""Pointers own what they point to, and delete it when they are forgotten; a copy that is looked at must not."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Iterator, List


def collecting(value: Any) -> List[Any]:
    """The pointers in an object, which delete what they point to when they are forgotten."""
    found: List[Any] = []
    while value is not None:
        if hasattr(value, "garbage_collect_data"):
            found.append(value)
        child = value.__dict__.get("child") if hasattr(value, "__dict__") else None
        if isinstance(child, dict):
            for part in child.values():
                found += collecting(part)
            return found
        value = child
    return found


@contextmanager
def owning_nothing(pointers: List[Any]) -> Iterator[None]:
    """Within, copies of these pointers do not own what they point to."""
    before = [pointer.garbage_collect_data for pointer in pointers]
    for pointer in pointers:
        pointer.garbage_collect_data = False
    try:
        yield
    finally:
        for pointer, collects in zip(pointers, before):
            pointer.garbage_collect_data = collects
