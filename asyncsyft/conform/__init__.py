"""Plays a driver to any worker that listens, in raw frames, and tells which level of docs/protocol.md it reaches.

It tests bytes: what it sends and reads shares ``wire.py``, ``tensor.py`` and the proof of a key with the library, and
nothing with its conversations. Where the peer runs, and in which language it is written, it cannot know.
"""

from __future__ import annotations

import ssl as tls
from typing import Any, Callable, Dict, List, NamedTuple, Optional

from ..errors import AsyncSyftError, ProtocolError
from ..identity import Key
from . import chunks, compute, flow, greet, lives, objects, plan_faults, plans, resuming, states
from .probe import Broken
from .target import FAILED, PASSED, SKIPPED, Case, Check, Skip, Target

__all__ = ["CASES", "FAILED", "LEVELS", "PASSED", "PATIENCE", "SKIPPED", "Check", "Report", "conform"]

#: Seconds that the peer has for each thing that is expected of it.
PATIENCE = 5.0
#: What the levels are called; 4 is reserved.
LEVELS = ("greet", "put, get, delete", "ops", "plans", "MPC")
CASES: List[Case] = [
    case
    for part in (greet, lives, objects, chunks, flow, resuming, compute, plans, plan_faults, states)
    for case in part.CASES
]


class Report(NamedTuple):
    """What was found: who the peer says it is, the level that it says it reaches, and each check."""

    url: str
    name: str
    claimed: int
    checks: List[Check]

    @property
    def level(self) -> Optional[int]:
        """The highest level of which, and of those below, every check that applies passed; None if not even 0."""
        reached = None
        for level in range(len(LEVELS)):
            outcomes = [check.outcome for check in self.checks if check.level == level]
            if PASSED not in outcomes or FAILED in outcomes:
                break
            reached = level
        return reached

    @property
    def failed(self) -> List[Check]:
        """The checks that failed."""
        return [check for check in self.checks if check.outcome == FAILED]

    @property
    def conforms(self) -> bool:
        """Whether the peer reaches the level that it claims, of those that are checked."""
        return not self.failed and self.level is not None

    def to_dict(self) -> Dict[str, Any]:
        """As plain data."""
        head = {"url": self.url, "name": self.name, "claimed": self.claimed, "level": self.level}
        return {**head, "conforms": self.conforms, "checks": [check._asdict() for check in self.checks]}


async def conform(
    url: str,
    *,
    token: Optional[str] = None,
    key: Optional[Key] = None,
    ssl: Optional[tls.SSLContext] = None,
    on_check: Optional[Callable[[Check], None]] = None,
    patience: float = PATIENCE,
) -> Report:
    """Check the worker that listens at a ws:// or wss:// URL; ``on_check`` is told of each check as it is made.

    ``token``: what it asks drivers called ``conform-...`` for. ``key``: what they prove; if none, one of this run.
    ``patience``: seconds to wait for each thing that is expected. Levels above the one that the worker claims are not
    checked. Raises: LinkClosed or TimeoutError if nobody is there, ValueError for a URL that makes no sense.
    """
    checks: List[Check] = []
    async with Target(url, token, key, ssl, patience) as target:
        for case in CASES:
            if case.level > target.level:
                break
            check = await _made(target, case)
            checks.append(check)
            if on_check is not None:
                on_check(check)
            if case.vital and check.outcome == FAILED:
                break
        return Report(url, target.name, target.level, checks)


async def _made(target: Target, case: Case) -> Check:
    outcome, found, wanted = PASSED, "", case.expected
    try:
        await case.run(target)
    except Skip as skip:
        outcome, found = SKIPPED, str(skip)
    except Broken as broken:
        outcome, found = FAILED, str(broken)
    # A refused handshake is a finding; nobody at the address is not, and goes to the caller.
    except ProtocolError as error:
        outcome, found = FAILED, str(error)
    except (AsyncSyftError, TimeoutError) as error:
        if case.vital:
            raise
        outcome, found = FAILED, str(error) or "no answer in time"
    return Check(case.level, case.name, wanted, outcome, found)
