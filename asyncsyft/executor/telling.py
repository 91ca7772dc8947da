"""What steps are told of objects: which one they name, what it is, and never what it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Optional, Union

import msgpack
import numpy as np

from .. import tensor, wire
from ..errors import LimitExceeded, Refused, UnknownObject
from ..privacy import Held, Private, public
from ..program import Step
from ..store import Title
from ..wire import Failure
from .job import Job

if TYPE_CHECKING:
    from .lanes import Executor


def found(job: Job, step: Step) -> Union[Held, Failure]:
    """The outcome of the one object that a step names, private or not. Raises: UnknownObject, Refused."""
    (number,) = step.inputs
    outcome = job.space.outcome(number) if isinstance(number, int) else None
    if outcome is None:
        raise UnknownObject(f"no object {number!r:.40}")
    if not isinstance(outcome, (np.ndarray, Private, Failure)):
        raise Refused(f"object {number} is no tensor")
    return outcome


def describe(executor: Executor, value: Held, title: Optional[Title]) -> Dict[str, Any]:
    """What ``info`` and ``search`` tell of an object; of a private one also its labels, and what lets it out."""
    name, tags = title or ("", ())
    told: Dict[str, Any] = {
        "dtype": tensor.descriptor(value.dtype),
        "shape": list(value.shape),
        "nbytes": public(value).nbytes,
        "name": name,
        "tags": list(tags),
    }
    if isinstance(value, Private):
        told["private"] = {label: executor.store.policy(label).text for label in sorted(value.guard.labels)}
    return told


def pack(document: Any) -> bytes:
    """A document that answers a step. Raises: LimitExceeded if it is larger than a chunk."""
    data: bytes = msgpack.packb(document)
    if len(data) > wire.CHUNK:
        raise LimitExceeded(f"an answer of {len(data)} bytes is past the limit of {wire.CHUNK}: ask for less")
    return data
