"""Programs as users of PySyft 0.2.9 write them: each is a function of workers, and gives numbers and words.

They know nothing of the bridge. ``PROGRAMS`` has them by name; ``near`` of a program is how far two runs of it may be
apart, where secret shares are truncated or drawn by lot.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, NamedTuple

Program = Callable[["Workers"], Any]

PROGRAMS: Dict[str, Program] = {}


class Workers(NamedTuple):
    """Who is there; ``hook`` is PySyft's hook of the program's process."""

    hook: Any
    alice: Any
    bob: Any
    charlie: Any
    james: Any


def program(near: float = 1e-6) -> Callable[[Program], Program]:
    """Enter a program into ``PROGRAMS``."""

    def enter(function: Program) -> Program:
        function.near = near  # type: ignore[attr-defined]
        PROGRAMS[function.__name__] = function
        return function

    return enter


from . import encrypted, federated, models, pointers  # noqa: E402, F401 - each enters its own
