"""Tensors that PySyft wrote with ``torch.save``, which is pickle: read so that nothing but tensors comes of them.

PySyft reads them with ``torch.load``, by which whoever is at the far end runs what it likes. Most tensors travel beside
the message, and are no pickles; those with a chain, and those of rare dtypes are.
"""

from __future__ import annotations

import collections
import io
import pickle
from types import SimpleNamespace
from typing import Any, Dict, Tuple

import torch

#: All that a pickle may name.
_NAMED: Dict[Tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    **{("torch._utils", name): getattr(torch._utils, name) for name in (
        "_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter",
    )},
    **{(kind.__module__, kind.__name__): kind for kind in torch._storage_classes},
    **{("torch", name): getattr(torch, name) for name in ("Size", "device")},
}  # fmt: skip


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _NAMED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is no part of a tensor") from None


def _load(file: Any, **options: Any) -> Any:
    return _Unpickler(file, **options).load()


#: What ``torch.load`` takes in the place of the module of that name.
_TENSORS_ONLY = SimpleNamespace(Unpickler=_Unpickler, load=_load, __name__="pickle")


def tensor(worker: Any, written: bytes) -> Any:
    """The tensor in these bytes. Raises: pickle.UnpicklingError if they are none."""
    try:
        found = torch.load(io.BytesIO(written), pickle_module=_TENSORS_ONLY)
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever hostile bytes make torch raise
        raise pickle.UnpicklingError(f"no tensor: {type(error).__name__}: {error}") from None
    if not isinstance(found, torch.Tensor):
        raise pickle.UnpicklingError(f"no tensor: {type(found).__name__}")
    return found
