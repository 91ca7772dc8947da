"""Which of PySyft's messages need no reply, so that the program goes on while they travel.

The client chose the ids of their results, and the worker answers them with None. ``return_value=False`` does not say
so: ``item`` answers with a number, and ``max(dim)`` with ids that the worker chose.
"""

from __future__ import annotations

from typing import Any, Optional

from syft.execution.computation import ComputationAction
from syft.generic.pointers.pointer_tensor import PointerTensor
from syft.messaging.message import ForceObjectDeleteMessage, ObjectMessage, TensorCommandMessage

DELETE = "delete"
#: Messages that may be on their way without one that is waited for.
AHEAD = 1000

_BINARY = set("add sub mul div truediv floordiv matmul pow mod gt ge lt le eq ne and or xor".split())  # noqa: SIM905
_OPERATORS = _BINARY | {"rsub", "radd", "rmul", "neg", "abs", "invert", "getitem"}
#: Methods of a tensor that give one tensor, whatever their arguments.
METHODS = {f"__{name}__" for name in _OPERATORS} | _BINARY
for _names in (
    "neg abs mm bmm dot t transpose permute view reshape flatten unsqueeze squeeze expand clone detach",
    "relu sigmoid tanh exp log sqrt square reciprocal sign round floor ceil clamp float double long int",
    "sum mean prod softmax log_softmax argmax argmin fmod remainder cumsum",
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

#: Whether anything is pipelined, but for deletes: ``install(pipeline=False)`` has each step waited for.
enabled = True


def operation(message: Any) -> Optional[str]:
    """What a message that needs no reply does, for people; None if its answer must be waited for."""
    kind = type(message)
    if kind is ForceObjectDeleteMessage:
        return DELETE
    if not enabled:
        return None
    if kind is ObjectMessage:
        return "send"
    if kind is TensorCommandMessage and type(message.action) is ComputationAction:
        return _command(message.action)
    return None


def _command(action: Any) -> Optional[str]:
    name = action.name
    if action.return_value or len(action.return_ids) != 1:
        return None
    if action.target is None:
        return name if name in FUNCTIONS else None
    if type(action.target) is not PointerTensor:
        return None
    return name if name in METHODS or name in IN_PLACE else None
