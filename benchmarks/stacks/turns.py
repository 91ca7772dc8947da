"""Settings of one program that take turns, so that what else the machine does hits all of them. It knows no library."""

from __future__ import annotations

import random
from statistics import median
from typing import Dict, List, Mapping

from benchmarks.stacks import WARM_UP, Measure, Sample


def alternating(measures: Mapping[str, Measure], least: int, turn: float = 0.0) -> Measure:
    """Turns of about so many seconds each, in random order, at least ``least`` of each setting (unless to warm up).

    ``more`` of what it returns has the rate of each setting: the median of its turns, of which a few may have met
    something else that the machine had to do.
    """

    async def measure(seconds: float) -> Sample:
        turns: Dict[str, List[Sample]] = {setting: [] for setting in measures}
        took = done = 0.0
        count, unit = 0, ""
        while not count or took < seconds or (seconds > WARM_UP and count < least):
            for setting in random.sample(list(measures), len(measures)):
                sample = await measures[setting](turn)
                turns[setting].append(sample)
                took += sample.seconds
                done += sample.operations
                unit = sample.unit
            count += 1
        rates = {setting: median(each.operations / each.seconds for each in taken) for setting, taken in turns.items()}
        return Sample(done, took, unit, rates)

    return measure
