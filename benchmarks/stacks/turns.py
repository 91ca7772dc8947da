"""Settings of one program that take turns, so that what else the machine does hits all of them. It knows no library."""

from __future__ import annotations

import random
from typing import Mapping

from benchmarks.stacks import WARM_UP, Measure, Sample


def alternating(measures: Mapping[str, Measure], least: int, turn: float = 0.0) -> Measure:
    """Turns of about so many seconds each, in random order, at least ``least`` of each setting (unless to warm up).

    ``more`` of what it returns has the rate of each setting.
    """

    async def measure(seconds: float) -> Sample:
        took, done = dict.fromkeys(measures, 0.0), dict.fromkeys(measures, 0.0)
        turns, unit = 0, ""
        while not turns or sum(took.values()) < seconds or (seconds > WARM_UP and turns < least):
            for setting in random.sample(list(measures), len(measures)):
                sample = await measures[setting](turn)
                took[setting] += sample.seconds
                done[setting] += sample.operations
                unit = sample.unit
            turns += 1
        rates = {setting: done[setting] / took[setting] for setting in measures}
        return Sample(sum(done.values()), sum(took.values()), unit, rates)

    return measure
