"""Where a step was written, and the failures that nothing has raised yet: the driver's, or those of one scope.

It knows no programs and no conversations.
"""

from __future__ import annotations

import dis
import re
from contextvars import ContextVar
from types import CodeType
from typing import Dict, Optional, Sequence, Tuple

from ..errors import AsyncSyftError

#: The code and the instruction that recorded a step; its line is looked up only for an error.
Origin = Tuple[CodeType, int]
#: The origin's code of steps that no person wrote.
NOWHERE = (lambda: None).__code__
_WITHIN = re.compile(r"call/(\d{1,9})/(.*)", re.ASCII)
current_scope: ContextVar[Optional[Failures]] = ContextVar("asyncsyft_scope", default=None)


class Failures:
    """Failures that nothing has raised yet, in the order in which they came."""

    def __init__(self) -> None:
        self._errors: Dict[int, AsyncSyftError] = {}

    def add(self, error: AsyncSyftError) -> None:
        """Keep one until it is raised."""
        self._errors[id(error)] = error

    def raised(self, error: AsyncSyftError) -> None:
        """Somebody was told of it otherwise."""
        self._errors.pop(id(error), None)

    def take(self) -> Optional[AsyncSyftError]:
        """The earliest, with the others in ``also``; None if there is none."""
        if not self._errors:
            return None
        first, *others = self._errors.values()
        self._errors.clear()
        first.also = others
        return first


def written_at(origin: Optional[Origin]) -> Optional[str]:
    """An origin for people: file, line and function."""
    if origin is None or origin[0] is NOWHERE:
        return None
    code, instruction = origin
    line = code.co_firstlineno
    for start, number in dis.findlinestarts(code):
        if start > instruction:
            break
        line = number or line
    return f"{code.co_filename}:{line}, in {code.co_name}"


def written_within(op: str, origin: Optional[Origin], plan: Sequence[Origin]) -> Tuple[str, Optional[str]]:
    """The op and the origin of a failure, also if its op is "call/17/add": then that of step 17 of the plan called."""
    called = written_at(origin)
    step = _WITHIN.match(op)
    if step is None:
        return op, called
    number = int(step.group(1))
    written = written_at(plan[number]) if number < len(plan) else None
    return step.group(2), f"{written}, called at {called}" if written and called else written or called
