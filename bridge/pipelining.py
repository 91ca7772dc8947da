"""Which of PySyft's messages need no reply, so that the program goes on while they travel, and which must not overtake.

The client chose the ids of their results, and the worker answers them with None. ``return_value=False`` does not say
so: ``item`` answers with a number, and ``max(dim)`` with ids that the worker chose.

A worker that works with pointers to other workers asks these, and what they were told before must be done by then.
So each worker's objects that are or hold such pointers are known here (``Far.foreign``), and what concerns them, or may
do anything, is waited for, once the other workers have done what they were told.

A command on what may not be there is waited for as well, so that it fails where it is called: what this process put at
the worker, and has not taken away, is known too (``Far.present``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Iterable, Optional, Set

import syft as sy
import torch
from syft.execution.computation import ComputationAction
from syft.generic.pointers.object_pointer import ObjectPointer
from syft.generic.pointers.pointer_tensor import PointerTensor
from syft.messaging.message import (
    ForceObjectDeleteMessage,
    GetShapeMessage,
    IsNoneMessage,
    ObjectMessage,
    ObjectRequestMessage,
    TensorCommandMessage,
    WorkerCommandMessage,
)
from syft.workers.base import BaseWorker

if TYPE_CHECKING:
    from .far import Far

DELETE = "delete"
#: Messages that may be on their way without one that is waited for.
AHEAD = 1000

_BINARY = set("add sub mul div truediv floordiv matmul pow mod gt ge lt le eq ne and or xor".split())  # noqa: SIM905
_OPERATORS = _BINARY | {"rsub", "radd", "rmul", "rpow", "neg", "abs", "invert", "getitem"}
#: Methods of a tensor that give one tensor, whatever their arguments.
METHODS = {f"__{name}__" for name in _OPERATORS} | _BINARY
for _names in (
    "neg abs mm bmm dot t transpose permute view reshape flatten unsqueeze squeeze expand clone detach",
    "relu sigmoid tanh exp log sqrt square reciprocal sign round floor ceil clamp float double long int",
    "sum mean prod softmax log_softmax argmax argmin fmod remainder cumsum flip type_as index_select",
):
    METHODS.update(_names.split())
#: Methods that change the tensor: PySyft answers these with nothing.
IN_PLACE = {f"{name}_" for name in METHODS if not name.startswith("_")} | {
    "zero_",
    "copy_",
    "fill_",
    "addcmul_",
    "addcdiv_",
}
#: Functions that do.
FUNCTIONS = {f"torch.{name}" for name in METHODS if not name.startswith("_")}
for _name in "relu linear sigmoid tanh softmax log_softmax mse_loss nll_loss cross_entropy conv2d dropout".split():  # noqa: SIM905
    FUNCTIONS.add(f"torch.nn.functional.{_name}")

#: Functions of PySyft that work on what their own worker holds, and give one tensor.
ALONE: Set[str] = set()
#: Commands of a worker that only look at what it holds.
LOOKS = {"_look", "_log_msgs", "_get_msg", "list_tensors", "tensors_count", "list_objects", "objects_count"}
#: Commands after which a pointer is there no more, but what it pointed to.
FETCHES = {"mid_get", "remote_get"}

#: Whether anything is pipelined, but for deletes: ``install(pipeline=False)`` has each step waited for.
enabled = True

_PLAIN = {int, float, bool, str, bytes, complex, type(None), type(...), range, torch.Size}
_PLAIN |= {torch.dtype, torch.device, torch.layout, torch.memory_format}


def operation(message: Any, location: Any) -> Optional[str]:
    """What a message that needs no reply does, for people; None if its answer must be waited for.

    Waits until the other workers have done what they were told, if this one may ask something of them.
    Raises: what went wrong with what they were told.
    """
    far: Far = location.far()
    kind = type(message)
    if kind is ForceObjectDeleteMessage:
        if far.foreign and not far.foreign.isdisjoint(message.object_ids):
            far.foreign.difference_update(message.object_ids)
            far.soil()
        far.present.difference_update(message.object_ids)
        return DELETE
    reaches_others, name = False, None
    if kind is TensorCommandMessage:
        reaches_others, name = _of_command(message.action, location, far)
    elif kind is ObjectMessage:
        name = "send"
        far.present.add(message.object.id)
        if _is_foreign(message.object, location, far):
            far.foreign.add(message.object.id)
    elif kind is ObjectRequestMessage:
        far.foreign.discard(message.object_id)
        far.present.discard(message.object_id)
    elif kind in (IsNoneMessage, GetShapeMessage):
        reaches_others = (message.object_id if kind is IsNoneMessage else message.tensor_id) in far.foreign
    elif kind is WorkerCommandMessage:
        reaches_others = message.command_name not in LOOKS
        if reaches_others:
            far.present.clear()
    far.drain_others(only_dirty=not reaches_others)
    return name if enabled and not reaches_others else None


def _of_command(action: Any, location: Any, far: Far) -> Any:
    """Whether a command may have its worker ask others, and its name if it needs no reply; marks its results."""
    name, ids = action.name, action.return_ids or ()
    if type(action) is not ComputationAction:  # remote_send: what stays is a pointer
        far.foreign.add(action.target.id_at_location)
        return True, None
    is_foreign = _is_foreign(action.target, location, far) or _is_any_foreign(action.args, location, far)
    if action.kwargs:
        is_foreign = is_foreign or _is_any_foreign(action.kwargs.values(), location, far)
    if name in FETCHES:
        far.foreign.discard(getattr(action.target, "id_at_location", None))
    elif is_foreign:
        far.foreign.update(ids)
    reaches_others = is_foreign or not _is_torch(name)
    plain = not reaches_others and not action.return_value and len(ids) == 1 and _is_present(action, far)
    far.present.update(ids)
    return reaches_others, _needs_no_reply(action) if plain else None


def _is_present(action: Any, far: Far) -> bool:
    return far.present.issuperset(_named(action.target)) and far.present.issuperset(_named(action.args))


def _named(value: Any) -> Iterable[Any]:
    """Ids of what a command names: what lies at the worker, alone or in lists."""
    if type(value) is PointerTensor:
        return (value.id_at_location,)
    if type(value) in (tuple, list):
        return [at for part in value for at in _named(part)]
    return ()


def done(message: Any, location: Any) -> None:
    """Take note that a worker has done what was waited for: what the message named is there."""
    if type(message) is TensorCommandMessage and type(message.action) is ComputationAction:
        location.far().present.update([*_named(message.action.target), *_named(message.action.args)])


def _needs_no_reply(action: Any) -> Optional[str]:
    name: str = action.name
    if action.target is None:
        return name if name in FUNCTIONS or name in ALONE else None
    if type(action.target) is not PointerTensor:
        return None
    if name == "__getitem__" and type(action.args[0]) is int:
        return None  # who goes through a tensor by number goes on until IndexError is raised
    return name if name in METHODS or name in IN_PLACE else None


def _is_torch(name: str) -> bool:
    """Whether it is torch's own, in C: PySyft's methods may do anything, and gradients may have hooks."""
    return name.startswith("torch.") or name in METHODS or name in ALONE or hasattr(torch._C._TensorBase, name)


def _is_foreign(value: Any, location: Any, far: Far) -> bool:
    """Whether there is anything in a value that leads a worker to others."""
    kind = type(value)
    if kind in _PLAIN:
        return False
    if kind is PointerTensor or isinstance(value, ObjectPointer):
        return value.location is not location or value.id_at_location in far.foreign
    if kind in (tuple, list, set, frozenset):
        return _is_any_foreign(value, location, far)
    if kind is dict:
        return _is_any_foreign(value.values(), location, far)
    if kind is slice:
        return _is_any_foreign((value.start, value.stop, value.step), location, far)
    if isinstance(value, sy.Plan):
        return _is_any_foreign(value.state.tensors(), location, far)
    if isinstance(value, BaseWorker):
        return True
    child = getattr(value, "child", None)
    if child is not None:
        return _is_foreign(child, location, far)
    return not isinstance(value, torch.Tensor)


def _is_any_foreign(values: Iterable[Any], location: Any, far: Far) -> bool:
    for value in values:  # noqa: SIM110 - a generator costs more than the rest
        if _is_foreign(value, location, far):
            return True
    return False
