"""How tensors are written: PySyft lists all known workers for each tensor. Here only where one is not on torch."""

from __future__ import annotations

from typing import Any, List, Tuple

import torch
from syft.codes import TENSOR_SERIALIZATION
from syft.workers.base import BaseWorker

_original = vars(BaseWorker)["serializer"]


def _serializer(self: Any) -> Any:
    if self.framework is torch:
        for worker in list(self._known_workers.values()):
            if getattr(worker, "framework", None) is not torch:
                break
        else:
            return TENSOR_SERIALIZATION.TORCH
    return _original.fget(self)


PLACES: List[Tuple[Any, str, Any]] = [(BaseWorker, "serializer", property(_serializer))]
