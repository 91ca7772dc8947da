"""Runs stacks against one another, in rounds, in random order. It knows no library and no key."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from typing import Callable, Dict, List, Mapping, NamedTuple, Optional, Set

from benchmarks.ends import Crew, Figure, check, crew

#: Stacks, each with the measures wanted of it; None: all that it has.
Wanted = Mapping[str, Optional[Set[str]]]


class Taken(NamedTuple):
    """All that a run found out."""

    figures: Dict[str, List[Figure]]  # "stack.measure" -> one a round
    versions: Dict[str, str]


class Run(NamedTuple):
    """How long, how often; ``fresh``: all processes start anew in each round, otherwise they live through the run."""

    rounds: int
    seconds: float
    fresh: bool = True
    progress: Callable[[str], None] = lambda line: None


async def _measures(stack: str, crew_: Crew, wanted: Optional[Set[str]], seconds: float, taken: Taken) -> None:
    """Each wanted measure once, in random order."""
    for name in random.sample(crew_.measures, len(crew_.measures)):
        if wanted is None or name in wanted:
            taken.figures.setdefault(f"{stack}.{name}", []).append(await crew_.measure(name, seconds))


async def run(wanted: Wanted, how: Run) -> Taken:
    """Each round takes the stacks in a random order of its own. Raises: BenchmarkFailed."""
    taken = Taken({}, await check(sorted(wanted)))
    async with AsyncExitStack() as open_:
        living: Dict[str, Crew] = {}
        if not how.fresh:
            how.progress("starting " + ", ".join(wanted))
            entered = await asyncio.gather(
                *(open_.enter_async_context(crew(stack)) for stack in wanted), return_exceptions=True
            )
            for stack, crew_ in zip(wanted, entered):
                if isinstance(crew_, BaseException):
                    raise crew_
                living[stack] = crew_
        for number in range(how.rounds):
            for stack in random.sample(list(wanted), len(wanted)):
                how.progress(f"round {number + 1} of {how.rounds}: {stack}")
                if stack in living:
                    await _measures(stack, living[stack], wanted[stack], how.seconds, taken)
                    continue
                async with crew(stack) as fresh:
                    await _measures(stack, fresh, wanted[stack], how.seconds, taken)
    return taken
