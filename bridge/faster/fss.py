"""Comparisons by function secret sharing: all parties are asked together, without an event loop of their own.

PySyft's ``fss_op`` calls ``asyncio.run`` where it finds websocket workers, which fails wherever a loop runs already.
"""

from __future__ import annotations

from typing import Any, List, Tuple

import syft as sy
import torch
from syft.exceptions import EmptyCryptoPrimitiveStoreError
from syft.frameworks.torch.mpc import fss

from .. import pipelining
from . import parties

_MASK, _EVALUATE = (fss.full_name(function) for function in (fss.mask_builder, fss.evaluate))
pipelining.ALONE.add(_EVALUATE)
_original = fss.fss_op


def fss_op(x1: Any, x2: Any, op: str = "eq") -> Any:
    """Shares of x1 == x2 ("eq") or x1 <= x2 ("comp")."""
    shared = x1 if isinstance(x1, sy.AdditiveSharingTensor) else x2
    locations, attributes = shared.locations, shared.get_class_attributes()
    left, right = (_operands(x, locations) for x in (x1, x2))
    if not parties.can_ask(locations, *left, *right):
        return _original(x1, x2, op)
    masks = [parties.command(_MASK, (*pair, op), value=True) for pair in zip(left, right)]
    try:
        masked = parties.ask(locations, masks)
    except EmptyCryptoPrimitiveStoreError as error:
        if sy.local_worker.crypto_store.force_preprocessing:
            raise
        sy.local_worker.crypto_store.provide_primitives(workers=locations, **error.kwargs_)
        return fss_op(x1, x2, op)
    value = sum(masked) % 2**fss.n
    for location, mask in zip(locations, masks):
        parties.forget(location, mask)
    orders = [
        parties.command(_EVALUATE, (torch.IntTensor([number]), value, op, attributes.get("dtype")))
        for number in range(len(locations))
    ]
    shares = parties.run(locations, orders)
    return sy.AdditiveSharingTensor({location.id: share for location, share in zip(locations, shares)}, **attributes)


def _operands(x: Any, locations: Any) -> List[Any]:
    """What each party has of an operand: its share; of a public one the first has all."""
    if isinstance(x, sy.AdditiveSharingTensor):
        return [x.child[location.id] for location in locations]
    return [x, *[0] * (len(locations) - 1)]


PLACES: List[Tuple[Any, str, Any]] = [(fss, "fss_op", fss_op)]
