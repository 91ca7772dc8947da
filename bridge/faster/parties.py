"""Several workers asked together: PySyft asks one party after the other, and each waits while the other computes."""

from __future__ import annotations

from typing import Any, List, Sequence, Tuple

import syft as sy
import torch
from syft.messaging.message import ForceObjectDeleteMessage, TensorCommandMessage

from .. import beside, pipelining


def command(name: str, args: Tuple[Any, ...], results: int = 1, value: bool = False) -> TensorCommandMessage:
    """A function for a worker to call; it has so many results. ``value``: they are the answer."""
    ids = tuple(sy.ID_PROVIDER.pop() for _ in range(results))
    return TensorCommandMessage.computation(name, None, args, {}, ids, value)


def can_ask(locations: Sequence[Any], *shares: Any) -> bool:
    """Whether all are behind links, and these shares lie there themselves."""
    for location in locations:
        if getattr(location, "far", None) is None:
            return False
        foreign = getattr(location.far(), "foreign", ())
        if foreign and any(getattr(share, "id_at_location", None) in foreign for share in shares):
            return False
    return True


def ask(locations: Sequence[Any], messages: Sequence[Any]) -> List[Any]:
    """What each answers to its message; all are at work together. Raises: the first error, when all have answered."""
    me = sy.local_worker
    asked = []
    for location, message in zip(locations, messages):
        far = location.far()
        asked.append((far, far.begin(beside.write(message, me, lends=True))))
    values: List[Any] = []
    problem = None
    for location, (far, under_way) in zip(locations, asked):
        try:
            values.append(beside.read(far.finish(under_way, location.timeout), me))
        except Exception as error:  # noqa: BLE001 - raised below
            problem = problem or error
    try:
        if problem is not None:
            raise problem
    finally:
        del problem  # or it would hold this frame, which holds it: a cycle, with the program's pointers in it
    return values


def run(locations: Sequence[Any], messages: Sequence[Any]) -> List[Any]:
    """Pointers to what each computes by a command that needs no reply; what it names must not be changed meanwhile."""
    me = sy.local_worker
    large = any(_is_large(part) for part in messages[0].action.args)
    if large or not pipelining.enabled:
        ask(locations, messages)
        for location, message in zip(locations, messages):
            location.far().present.update(message.action.return_ids)
    else:
        for location, message in zip(locations, messages):
            me.send_msg(message, location)
    return [
        sy.PointerTensor(
            location=location, id_at_location=message.action.return_ids[0], owner=me, id=sy.ID_PROVIDER.pop()
        )
        for location, message in zip(locations, messages)
    ]


def _is_large(value: Any) -> bool:
    return type(value) is torch.Tensor and not hasattr(value, "child") and value.numel() * 8 > beside.COPIED


def forget(location: Any, message: Any) -> None:
    """Delete the results of a command where they are."""
    sy.local_worker.send_msg(ForceObjectDeleteMessage(list(message.action.return_ids)), location)
