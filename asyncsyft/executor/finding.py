"""Finds what a step names in the space of its job; whoever wants arrays in the open gets no others."""

from __future__ import annotations

from typing import Any, List, Optional, Sequence, Type, TypeVar, Union

import numpy as np

from ..errors import Refused, UnknownObject
from ..privacy import Held, Private
from ..tensor import Array
from ..wire import Failure
from .job import Job

T = TypeVar("T")

#: Elements touched by one step, and by the steps of one program together, above which a thread takes over: about
#: 200 us of element-wise work, where a hop to a thread costs 40-100 us.
HEAVY_STEP = 1 << 17
HEAVY_PROGRAM = 1 << 18
#: Steps of a plan that is compiled in a thread: about 2 ms.
LONG = 500


class Heavy(Exception):
    """A step is too much for the loop."""


class NeedsLoop(Exception):
    """A step is none of arrays alone, or names an object that is on its way."""


class IsPrivate(Exception):
    """A step names a private value: it is for ``guarded.py``."""


class Poisoned(Exception):
    """A step names an object that failed."""

    def __init__(self, cause: Failure) -> None:
        self.cause = cause


def count_work(job: Job, cost: Optional[int], inline: bool) -> None:
    """Count what a step will do, in elements touched.

    Raises: Heavy if that is too much for the loop, or not known; LimitExceeded if its time is over.
    """
    job.work += cost or 0
    if inline and (cost is None or cost > HEAVY_STEP or job.work > HEAVY_PROGRAM):
        raise Heavy
    if not inline:
        job.check_time(cost)


def open_inputs(job: Job, inputs: Sequence[Union[int, Array]]) -> List[Array]:
    """The arrays that a step reads. Raises: UnknownObject, NeedsLoop if one is pending, Poisoned, IsPrivate."""
    arrays = []
    for item in inputs:
        found: Any = item if type(item) is not int else job.space.outcome(item)
        if isinstance(found, np.ndarray):
            arrays.append(found)
        elif isinstance(found, Private):
            raise IsPrivate
        else:
            _explain(job, item, found)
    return arrays


def held_inputs(job: Job, inputs: Sequence[Union[int, Array]]) -> List[Held]:
    """What a step reads, private or not. Raises: UnknownObject, NeedsLoop if one is pending, Poisoned."""
    values: List[Held] = []
    for item in inputs:
        found: Any = item if type(item) is not int else job.space.outcome(item)
        if not isinstance(found, (np.ndarray, Private)):
            _explain(job, item, found)
        values.append(found)
    return values


def _explain(job: Job, item: Any, found: Any) -> None:
    """Raise why what a step names is no tensor."""
    if found is None and job.is_awaited(item):
        raise NeedsLoop
    if found is None:
        raise UnknownObject(f"no object {item}: it was never made, or is deleted")
    if isinstance(found, Failure):
        raise Poisoned(found)
    raise Refused(f"object {item} is no tensor")


def held(job: Job, number: Any, kind: Type[T]) -> T:
    """The plan or the state of that id. Raises: UnknownObject, Refused, NeedsLoop if it is pending, Poisoned."""
    found = job.space.outcome(number) if type(number) is int else None
    if type(number) is int and job.space.pending and job.is_awaited(number):
        raise NeedsLoop
    if found is None:
        raise UnknownObject(f"no object {number!r:.40}: it was never made, or is deleted")
    if isinstance(found, Failure):
        raise Poisoned(found)
    if not isinstance(found, kind):
        raise Refused(f"object {number} is no {kind.__name__}")
    return found
