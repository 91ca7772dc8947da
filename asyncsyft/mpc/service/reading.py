"""What steps of sessions say, read and checked: numbers, seeds, members, batches and what comes with them."""

from __future__ import annotations

from typing import Any, Dict, Optional, Sequence, Tuple

import numpy as np

from ...errors import Refused, SessionError
from ...executor.job import Job
from ...program import Step
from .. import fixed
from .meetings import MAX_URL, MAX_URLS
from .session import Batch, Member

__all__ = ["array_of", "batch_of", "bytes_of", "inputs_of", "int_of", "member_of", "patience_of"]

#: Characters of a member's name.
MAX_NAME = 256


def batch_of(job: Job, index: int, step: Step, arrays: Sequence[Any]) -> Batch:
    """Inputs of the step: the packed gates, then what comes from outside, as ``inputs`` says."""
    packed = array_of(job, step.inputs[0])
    inputs = inputs_of(step, arrays)
    drop = [int_of(number) for number in step.params["drop"]]
    late = {int_of(number) for number in step.params.get("late", ())}
    return Batch(packed.tobytes(), inputs, drop, step.params.get("watched") is True, late, job, index)


def inputs_of(step: Step, arrays: Sequence[Any]) -> Dict[int, Any]:
    found: Dict[int, Any] = {}
    for (number, bits), array in zip(step.params["inputs"], arrays):
        found[int_of(number)] = array if bits is None else fixed.encode(array, int_of(bits))
    return found


def array_of(job: Job, number: Any) -> Any:
    found = job.space.outcome(number) if type(number) is int else None
    if not isinstance(found, np.ndarray):
        raise SessionError(f"object {number!r:.40} is no tensor here")
    return found


def bytes_of(value: Any, size: int) -> bytes:
    if type(value) is not bytes or len(value) != size:
        raise Refused(f"not {size} bytes: {value!r:.40}")
    return value


def int_of(value: Any) -> int:
    if type(value) is not int:
        raise Refused(f"not a number: {value!r:.40}")
    return value


def patience_of(value: Any) -> Optional[float]:
    if value is None:
        return None
    if type(value) not in (int, float) or not value > 0:
        raise Refused("patience is a number of seconds")
    return float(value)


def member_of(value: Any) -> Member:
    if type(value) is not list or len(value) != 4:
        raise Refused("a member is an incarnation, a key, where it listens, and a name")
    life, key, urls, name = value
    if type(life) is not bytes or type(key) is not bytes or type(name) is not str:
        raise Refused("a member is an incarnation and a key, in bytes, and its name is a text")
    return Member(life, key, urls_of(urls), name[:MAX_NAME])


def urls_of(value: Any) -> Tuple[str, ...]:
    if type(value) is not list or len(value) > MAX_URLS:
        raise Refused(f"a member listens at {MAX_URLS} addresses at most")
    for url in value:
        if type(url) is not str or len(url) > MAX_URL or not url.startswith(("ws://", "wss://")):
            raise Refused(f"a member listens at ws:// or wss:// URLs, not {url!r:.40}")
    return tuple(value)
