"""Tensors beside the message: PySyft's serde, with tensors taken out as raw buffers.

``send_msg`` and ``recv_msg`` of all workers, and the two functions that write and read a tensor, are replaced while the
bridge is in use. What is not for a worker behind a link goes its old way.
"""

from __future__ import annotations

import threading
from typing import Any, Dict, List, Optional, Set, Tuple

import msgpack
import numpy as np
import syft as sy
import torch
from syft.codes import TENSOR_SERIALIZATION
from syft.exceptions import EmptyCryptoPrimitiveStoreError, GetNotPermittedError, ResponseSignatureError
from syft.messaging.message import ForceObjectDeleteMessage, ObjectMessage, ObjectRequestMessage, TensorCommandMessage
from syft.serde.compression import NO_COMPRESSION, scheme_to_bytes
from syft.serde.msgpack import serde, torch_serde
from syft.workers.base import BaseWorker

from asyncsyft.tensor import Array

from . import guarding, pipelining, rebuilding, warm
from .messages import Message

#: dtypes that travel as they are; float16 goes as the int16 of the same bits.
_DTYPES = {
    torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.float32, torch.float64,
    torch.bool,
}  # fmt: skip
#: Bytes up to which a tensor is always copied when it is written.
COPIED = 1 << 16

#: Messages that need little memory beside that of their own tensors.
_FRUGAL = {ObjectMessage, ObjectRequestMessage, ForceObjectDeleteMessage}

_PLAIN = scheme_to_bytes[NO_COMPRESSION]


class _Context(threading.local):
    writing: Optional[List[Array]] = None
    lends = False
    reading: Optional[List[Array]] = None


_context = _Context()


def write(value: Any, worker: BaseWorker, lends: bool = False) -> Message:
    """Anything that PySyft can serialise, as a message; ``lends``: its large tensors will not change until it left."""
    before = _context.writing, _context.lends
    _context.writing, _context.lends = [], lends
    try:
        message = Message(_PLAIN + msgpack.dumps(serde._simplify(worker, value)))
        if _context.writing:
            message.tensors = _context.writing
    finally:
        _context.writing, _context.lends = before
    return message


def read(message: bytes, worker: BaseWorker) -> Any:
    """The opposite of ``write``; takes what ``sy.serde.serialize`` makes as well."""
    before, _context.reading = _context.reading, getattr(message, "tensors", None)
    try:
        if message[:1] == _PLAIN:
            return serde._detail(worker, msgpack.loads(memoryview(message)[1:], use_list=False))
        return sy.serde.deserialize(message, worker=worker)
    except (EmptyCryptoPrimitiveStoreError, GetNotPermittedError, ResponseSignatureError) as error:
        raise error.with_traceback(None) from None  # the frame that raised it holds it: a cycle, with pointers in it
    finally:
        _context.reading = before


# In the place of PySyft's own.


def _serialize_tensor(worker: Any, tensor: Any) -> Any:
    arrays = _context.writing
    if (
        arrays is None
        or hasattr(tensor, "child")
        or tensor.dtype not in _DTYPES
        or tensor.layout is not torch.strided
        or tensor.device.type != "cpu"
        or worker.serializer != TENSOR_SERIALIZATION.TORCH
    ):
        return _original["_serialize_tensor"](worker, tensor)
    array = tensor.native_detach().native_numpy()
    if array.dtype == np.float16:
        array = np.ascontiguousarray(array).view(np.int16).reshape(array.shape)
    lent = _context.lends and array.nbytes > COPIED and array.flags.c_contiguous
    arrays.append(array if lent else array.copy(order="C"))
    return len(arrays) - 1, tensor.requires_grad, tensor.dtype is torch.float16


def _deserialize_tensor(worker: Any, serializer: str, written: Any) -> Any:
    if _context.reading is None or serializer != TENSOR_SERIALIZATION.TORCH or type(written) is bytes:
        return _original["_deserialize_tensor"](worker, serializer, written)
    index, requires_grad, is_half = written
    array = _context.reading[index]
    tensor = torch.from_numpy(array.view(np.float16).reshape(array.shape) if is_half else array)
    return tensor.requires_grad_() if requires_grad else tensor


def _send_msg(self: Any, message: Any, location: Any) -> Any:
    far = getattr(location, "far", None)
    if far is None:
        return _original["send_msg"](self, message, location)
    if self.verbose:
        print(f"worker {self} sending {message} to {location}")  # noqa: T201 - as PySyft's own
    if type(message) is ForceObjectDeleteMessage and _delete_later(message.object_ids, location):
        return None
    operation = pipelining.operation(message, location)
    doomed = far().doomed
    if doomed and (type(message) is ObjectMessage or not _ids_of_results(message).isdisjoint(doomed)):
        far().delete_doomed()  # the id is given once more: what had it must be gone
    written = write(message, self, lends=True)
    is_small = operation is not None and all(array.nbytes <= COPIED for array in written.tensors)
    if is_small and far().tell(written, operation):
        return None
    answer = read(self._send_msg(written, location), self)
    pipelining.done(message, location)
    return answer


def _delete_later(ids: List[Any], location: Any) -> bool:
    """Leave it to the link to delete objects together, where nobody looks at single messages, no others lie behind."""
    far = location.far()
    return pipelining.enabled and not location.log_msgs and far.foreign.isdisjoint(ids) and far.delete_later(ids)


def _ids_of_results(message: Any) -> Set[Any]:
    return set(message.action.return_ids or ()) if type(message) is TensorCommandMessage else set()


def _recv_msg(self: Any, bin_message: bytes) -> bytes:
    if type(bin_message) is not Message:
        return _original["recv_msg"](self, bin_message)
    message = read(bin_message, self)
    if warm.kept and type(message) not in _FRUGAL:
        warm.give_back()
    if self.log_msgs:
        self.msg_history.append(message)
    if self.verbose:
        contents = f" {message.contents}" if hasattr(message, "contents") else ""
        print(f"worker {self} received {type(message).__name__}{contents}")  # noqa: T201 - as PySyft's own
    response, of_private = None, guarding.check(self, message)
    for handler in self.message_handlers:
        if handler.supports(message):
            response = handler.handle(message)
            break
    response = guarding.checked(self, message, response, of_private)
    return write(response, self, lends=type(message) is ObjectRequestMessage)  # which gives the object away


_PLACES: List[Tuple[Any, str, Any]] = [
    (torch_serde, "_serialize_tensor", _serialize_tensor),
    (torch_serde, "_deserialize_tensor", _deserialize_tensor),
    (torch_serde, "torch_tensor_deserializer", rebuilding.tensor),
    (BaseWorker, "send_msg", _send_msg),
    (BaseWorker, "recv_msg", _recv_msg),
]
_original: Dict[str, Any] = {name: getattr(place, name) for place, name, _ in _PLACES}


def attach() -> None:
    """Take the places of PySyft's functions; idempotent."""
    for place, name, ours in _PLACES:
        setattr(place, name, ours)


def detach() -> None:
    """Give them back; idempotent."""
    for place, name, _ in _PLACES:
        setattr(place, name, _original[name])
