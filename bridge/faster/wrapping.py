"""How a pointer is wrapped in an empty tensor: PySyft makes it by ``torch.tensor([])``, which lets Python's lock go.

Another thread, the bridge's loop, then has it for a moment, and each operation waits for it to come back: a third of
the time of an addition. Here it is made as a new one of the kind of another empty tensor, which keeps the lock.
"""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

import syft as sy
import torch
from syft.generic.abstract.object import _apply_args

_original = sy.TorchHook.create_wrapper
_empty: Dict[torch.dtype, Any] = {}


def create_wrapper(self: Any, wrapper_type: Any) -> Any:
    """An empty tensor of that dtype, with an id and an owner, as the hooked ``torch.tensor`` gives them."""
    if type(wrapper_type) is not torch.dtype:
        return _original(self, wrapper_type)
    like = _empty.get(wrapper_type)
    if like is None:
        like = _empty[wrapper_type] = torch.native_tensor([], dtype=wrapper_type)
    wrapper = like.native_new()
    _apply_args(self, wrapper)
    wrapper.owner.register_obj(wrapper)
    return wrapper


PLACES: List[Tuple[Any, str, Any]] = [(sy.TorchHook, "create_wrapper", create_wrapper)]
