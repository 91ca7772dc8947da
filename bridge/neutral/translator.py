"""PySyft's messages, answered by a worker that does not know them."""

from __future__ import annotations

import threading
from typing import Any, Callable, Dict, List, Optional, Tuple

import syft as sy
import torch
from syft.exceptions import ObjectNotFoundError, ResponseSignatureError
from syft.execution.computation import ComputationAction
from syft.generic.pointers.object_pointer import ObjectPointer
from syft.generic.pointers.pointer_tensor import PointerTensor
from syft.messaging import message as messages
from syft.workers.virtual import VirtualWorker

from asyncsyft.tensor import Array

from .. import beside, pipelining
from ..messages import Message
from . import dtypes
from .errors import NotTranslated, raised
from .far import Far
from .held import Command, Held, Ref

_PLAIN = (bool, int, float, str, type(None), type(...), torch.dtype, torch.device, Ref)


class _Named:
    """An object of the worker as a message that came as bytes has it: named, not there."""

    is_wrapper = True

    def __init__(self, number: Any) -> None:
        self.number = number

    @property
    def data(self) -> _Named:
        """What a pointer to ``x.data`` points to."""
        return self

    def __getattr__(self, name: str) -> Any:
        raise NotTranslated(name, "an attribute of a tensor at a worker without PySyft")


class _Reader(VirtualWorker):
    """Reads messages for the worker: a pointer to one of its objects is the object's name."""

    def get_obj(self, obj_id: Any) -> Any:
        return _Named(obj_id)


class Translator:
    """Stands for one worker without PySyft; ``worker`` is what stands for it among PySyft's workers.

    ``far`` gives the link to it, ``seconds`` the time that an answer may take (None: any).
    """

    def __init__(self, worker: Any, far: Callable[[], Far], seconds: Callable[[], Optional[float]]) -> None:
        self.worker, self._far, self._seconds = worker, far, seconds
        self._reader = _Reader(worker.hook, id=worker.id, auto_add=False)
        self._handlers: Dict[type, Callable[[Any], Any]] = {
            messages.ObjectMessage: self._keep,
            messages.ObjectRequestMessage: self._give,
            messages.TensorCommandMessage: self._compute,
            messages.ForceObjectDeleteMessage: self._delete,
            messages.IsNoneMessage: self._is_none,
            messages.GetShapeMessage: self._shape,
            messages.SearchMessage: lambda message: self.search(message.query),
            messages.WorkerCommandMessage: self._command,
        }

    def recv(self, message: bytes) -> bytes:
        """The answer to a message, both as PySyft's serde writes them. Raises: as ``take``."""
        answer = self.take(beside.read(message, self._reader))
        if type(message) is Message:
            return beside.write(answer, self._reader)
        return sy.serde.serialize(answer, worker=self._reader)

    def take(self, message: Any) -> Any:
        """The answer to a message.

        Raises: NotTranslated, OperationFailed (which name the op), ObjectNotFoundError, what torch raises for arguments
        that do not fit, WebSocketConnectionClosedException, WebSocketTimeoutException.
        """
        handle = self._handlers.get(type(message))
        if handle is None:
            raise NotTranslated(getattr(message, "command_name", type(message).__name__))
        return handle(message)

    def _run(self, operation: str, work: Callable[..., Any], *args: Any) -> Any:
        try:
            far = self._far()
            far.holdings.seconds = self._seconds()
            return far.run(work, *args)
        except (NotTranslated, ResponseSignatureError):
            raise
        except ObjectNotFoundError as error:
            raise error from None
        except Exception as error:
            other = raised(error, operation)
            if other is error:
                raise
            raise other from error

    @property
    def _root(self) -> int:
        return threading.get_ident()

    @property
    def _holdings(self) -> Any:
        return self._far().holdings

    # Objects.

    def _keep(self, message: Any) -> None:
        value = message.object
        if not isinstance(value, torch.Tensor):
            raise NotTranslated("send", f"a {type(value).__name__} means nothing to a worker without PySyft")
        about = {
            "tags": value.tags or (),
            "description": value.description,
            "requires_grad": value.requires_grad,
        }
        waits = not pipelining.enabled
        self._run("send", self._holdings.put, value.id, _array(value, "send"), about, waits, self._root)

    def _give(self, message: Any) -> Any:
        number, holdings = message.object_id, self._holdings
        held, array = self._run("get", _fetched, holdings, number, self._root)
        tensor = _tensor(array, "get", held.requires_grad)
        tensor.id, tensor.tags, tensor.description = number, set(held.tags), held.description
        tensor.owner = sy.local_worker
        self._far().post(holdings.forget, [number])  # not before it is here: a get that is interrupted loses nothing
        return tensor

    def _delete(self, message: Any) -> None:
        self._far().post(self._holdings.forget, list(message.object_ids))

    def _is_none(self, message: Any) -> bool:
        self._run("is_none", _found, self._holdings, message.object_id)
        return False

    def _shape(self, message: Any) -> List[int]:
        shape: List[int] = self._run("shape", self._holdings.shape, message.tensor_id, self._root)
        return shape

    # Commands.

    def _compute(self, message: Any) -> Any:
        action = message.action
        if type(action) is not ComputationAction:
            raise NotTranslated(action.name, "a worker without PySyft sends nothing to others")
        name, target = action.name, action.target
        if isinstance(target, (int, str)):
            target = self._sought(target, name)
        elif target is not None:
            target = self._plain(target, name)
        args = [self._plain(value, name) for value in action.args]
        kwargs = {_text(key): self._plain(value, name) for key, value in action.kwargs.items()}
        command = Command(name, target, args, kwargs, tuple(action.return_ids), action.return_value)
        answer = self._run(name, self._holdings.command, command, not pipelining.enabled, self._root)
        if action.return_value and answer is not None and not isinstance(answer, (bool, int, float, str, list)):
            tensor = _tensor(answer, name, False)
            tensor.id, tensor.owner = command.return_ids[0], sy.local_worker
            return tensor
        return answer

    def _sought(self, target: Any, name: str) -> Ref:
        """The one object that a number or a tag names."""
        if type(target) is int:
            return Ref(target)
        found = self._run(name, self._holdings.search, [target], self._root)
        if len(found) != 1:
            raise NotTranslated(name, f"of {target!r:.60}, which names {len(found)} objects")
        return Ref(found[0])

    def _plain(self, value: Any, name: str) -> Any:
        """An argument as the loop takes it: objects by their ids, other tensors as arrays."""
        if isinstance(value, _Named):
            return Ref(value.number)
        if isinstance(value, ObjectPointer):
            return self._pointed(value, name)
        if isinstance(value, torch.Tensor):
            if hasattr(value, "child"):
                return self._plain(value.child, name)
            return _array(value, name).copy()
        if isinstance(value, bytes):
            return _text(value)
        if isinstance(value, (list, tuple)):
            found = [self._plain(item, name) for item in value]
            return found if isinstance(value, list) else tuple(found)
        if isinstance(value, slice):
            return slice(*(self._plain(part, name) for part in (value.start, value.stop, value.step)))
        if isinstance(value, _PLAIN):
            return value
        raise NotTranslated(name, f"an argument that is a {type(value).__name__}")

    def _pointed(self, pointer: Any, name: str) -> Ref:
        if pointer.location.id != self.worker.id or type(pointer) is not PointerTensor:
            pointer.garbage_collect_data = False  # this is a copy: what it points to is another's to delete
            raise NotTranslated(name, f"with a {type(pointer).__name__} to {pointer.location.id}")
        if pointer.point_to_attr not in (None, "data"):
            raise NotTranslated(name, f"of the attribute {pointer.point_to_attr!r} of a tensor")
        return Ref(pointer.id_at_location)

    # What is asked of the worker itself.

    def search(self, query: Any) -> List[Any]:
        """Pointers to what bears all of these as tags, or to the object of an id."""
        asked = [query] if isinstance(query, (str, int, bytes)) else list(query)
        numbers = self._run("search", self._holdings.search, [_text(item) for item in asked], self._root)
        return [self._pointer(number) for number in numbers]

    def _pointer(self, number: Any) -> Any:
        held: Held = self._run("search", _found, self._holdings, number)
        return PointerTensor(
            location=self.worker,
            id_at_location=number,
            owner=sy.local_worker,
            id=sy.ID_PROVIDER.pop(),
            shape=None if None in held.tensor.shape else torch.Size(held.tensor.shape),
            garbage_collect_data=False,  # who finds it is not the one to delete it
            tags=set(held.tags),
            description=held.description,
        ).wrap(register=False)

    def _command(self, message: Any) -> Any:
        name = _text(message.command_name)
        if name in ("list_tensors", "list_objects"):
            return str({number: held.tensor for number, held in self.objects().items()})
        if name in ("tensors_count", "objects_count"):
            return len(self.objects())
        if name == "clear_objects":
            self._far().post(self._holdings.forget, list(self.objects()))
            return None
        raise NotTranslated(name, "no command of a worker without PySyft")

    def objects(self) -> Dict[Any, Held]:
        """What is held, by id."""
        found: Dict[Any, Held] = self._run("objects", _listed, self._holdings)
        return found


async def _fetched(holdings: Any, number: Any, root: int) -> Tuple[Held, Array]:
    held = holdings.find(number)
    return held, await holdings.value(held.tensor, "get", root)


async def _found(holdings: Any, number: Any) -> Held:
    held: Held = holdings.find(number)
    return held


async def _listed(holdings: Any) -> Dict[Any, Held]:
    return dict(holdings.by_id)


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _array(value: Any, name: str) -> Array:
    """A tensor's elements in the neutral form, not copied."""
    child: Any = getattr(value, "child", None)
    if child is not None:
        raise NotTranslated(name, f"a {type(child).__name__} means nothing to a worker without PySyft")
    dtypes.neutral(value.dtype, name)
    if value.layout is not torch.strided:
        raise NotTranslated(name, f"a tensor of layout {value.layout}")
    array: Array = value.native_detach().native_cpu().native_numpy()
    return array


def _tensor(array: Array, name: str, requires_grad: bool) -> Any:
    dtypes.of_torch(array.dtype, name)
    tensor = torch.from_numpy(array if array.flags.writeable else array.copy())
    return tensor.requires_grad_() if requires_grad else tensor
