"""Products of shares: all parties are asked together, and none makes a pool of processes for each product.

PySyft's ``spdz_compute`` makes and leaves a ``multiprocessing.Pool`` a product, which takes longer than the product.
Its ``spdz_mul`` lets go of the masked shares at what it takes for the worker itself: behind a link they stayed.
"""

from __future__ import annotations

from typing import Any, List, Tuple

import syft as sy
import torch
from syft.exceptions import EmptyCryptoPrimitiveStoreError
from syft.frameworks.torch.mpc import spdz

from .. import pipelining
from . import parties

_MASK, _COMPUTE = (spdz.full_name(function) for function in (spdz.spdz_mask, spdz.spdz_compute))
pipelining.ALONE.add(_COMPUTE)
_original_mul = spdz.spdz_mul


def spdz_compute(
    j: Any, delta: Any, epsilon: Any, op: str, dtype: str, torch_dtype: torch.dtype, field: int
) -> torch.Tensor:
    """A party's share of the product, once delta and epsilon are public."""
    a, b, c = delta.owner.crypto_store.get_keys(
        op=op,
        shapes=(delta.shape, epsilon.shape),
        n_instances=1,
        remove=True,
        dtype=dtype,
        torch_dtype=torch_dtype,
        field=field,
    )
    multiply = getattr(torch, op)
    # delta b + a epsilon + c, and delta epsilon at one party: integers wrap, so that any order gives the same.
    share = multiply(delta, epsilon + b if j == 0 else b)
    return share + multiply(a, epsilon) + c


def spdz_mul(cmd: str, x: Any, y: Any, crypto_provider: Any, dtype: str, torch_dtype: torch.dtype, field: int) -> Any:
    """Shares of x * y or x @ y."""
    locations = x.locations
    left, right = ([share.child[location.id] for location in locations] for share in (x, y))
    if not parties.can_ask(locations, *left, *right):
        return _original_mul(cmd, x, y, crypto_provider, dtype, torch_dtype, field)
    options = cmd, dtype, torch_dtype, field
    masks = [parties.command(_MASK, (*pair, *options), results=2, value=True) for pair in zip(left, right)]
    try:
        masked = parties.ask(locations, masks)
    except EmptyCryptoPrimitiveStoreError as error:
        if sy.local_worker.crypto_store.force_preprocessing:
            raise
        sy.local_worker.crypto_store.provide_primitives(workers=locations, **error.kwargs_)
        return spdz_mul(cmd, x, y, crypto_provider, dtype, torch_dtype, field)
    delta, epsilon = (sum(shares) for shares in zip(*masked))
    for location, mask in zip(locations, masks):
        parties.forget(location, mask)
    products = [
        parties.command(_COMPUTE, (torch.LongTensor([number]), delta, epsilon, *options))
        for number in range(len(locations))
    ]
    shares = parties.run(locations, products)
    at = {location.id: share for location, share in zip(locations, shares)}
    return sy.AdditiveSharingTensor(at, **x.get_class_attributes())


for _ours in (spdz_compute, spdz_mul):  # the names by which they are called at a distance
    _ours.__module__ = spdz.__name__

PLACES: List[Tuple[Any, str, Any]] = [(spdz, "spdz_compute", spdz_compute), (spdz, "spdz_mul", spdz_mul)]
