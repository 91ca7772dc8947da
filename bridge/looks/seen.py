"""A worker into which clients look: what may be asked about what it holds."""

from __future__ import annotations

import weakref
from typing import Any, Callable, Dict, List, MutableMapping

import syft as sy
from syft.exceptions import GetNotPermittedError
from syft.frameworks.torch.mpc.primitives import PrimitiveStorage
from syft.generic.abstract.hookable import map_chain_call
from syft.generic.frameworks.types import FrameworkTensor
from syft.workers.virtual import VirtualWorker

from ..service import home
from .owning import collecting, owning_nothing


def _copy_of(worker: Any, value: Any) -> Any:
    """An object as it leaves for one who looks: in a list, or PySyft would keep it as a result of the command.

    Raises: GetNotPermittedError for what is private, since a look has no user.
    """
    if isinstance(value, FrameworkTensor) and not all(map_chain_call(value, "allow", user=None)):
        raise GetNotPermittedError()
    pointers = collecting(value)
    if not pointers:
        return [value]
    with owning_nothing(pointers):
        return sy.serde.serialize(value, worker=worker)


def _objects(worker: Any, tensors: bool) -> Dict[Any, Any]:
    store = worker.object_store
    return store._tensors if tensors else store._objects


def _put(worker: Any, at: Any, value: Any) -> None:
    value.id = at
    worker.object_store.set_obj(value)


def _tag(worker: Any, at: Any, tags: List[str]) -> None:
    value = worker.object_store.get_obj(at)
    value.tags = {*(value.tags or ()), *tags}
    worker.object_store.register_tags(value)


def _tagged(worker: Any) -> Dict[str, List[Any]]:
    return {tag: list(ids) for tag, ids in worker.object_store._tag_to_object_ids.items()}


_LOOKS: Dict[str, Callable[..., Any]] = {
    "has": lambda worker, at, tensors: at in _objects(worker, tensors),
    "ids": lambda worker, tensors: list(_objects(worker, tensors)),
    "object": lambda worker, at: _copy_of(worker, worker.object_store.get_obj(at)),
    "put": _put,
    "remove": lambda worker, at: worker.object_store.rm_obj(at),
    "clear": lambda worker: worker.clear_objects(return_self=False),
    "tags": _tagged,
    "tag": _tag,
    "messages": lambda worker: len(worker.msg_history),
    "message": lambda worker, index: [worker.msg_history[index]],
    "forget messages": lambda worker: worker.msg_history.clear(),
    "log messages": lambda worker, value: setattr(worker, "log_msgs", value),
    "keys": lambda worker, op, options: list(worker.crypto_store.get_keys(op, **options)),
    "forget primitives": lambda worker: worker.forget_primitives(),
    "primitives": lambda worker, name: getattr(worker.crypto_store, name),
    "set primitives": lambda worker, name, value: setattr(worker.crypto_store, name, value),
}


class SeenInto(VirtualWorker):
    """A worker into which clients look: the part of the process that holds the objects."""

    @property
    def crypto_store(self) -> PrimitiveStorage:
        """The crypto primitives of the client that is served.

        Those of two programs, or what one has left, must not mix: parties that take parts of different primitives
        compute noise.
        """
        talk = home()
        if talk is None:
            return self.__dict__["_primitives"]
        stores: MutableMapping[Any, PrimitiveStorage] = self.__dict__["_primitives_given"]
        if talk not in stores:
            stores[talk] = PrimitiveStorage(self)
        return stores[talk]

    @crypto_store.setter
    def crypto_store(self, value: PrimitiveStorage) -> None:
        self.__dict__["_primitives"] = value
        self.__dict__["_primitives_given"] = weakref.WeakKeyDictionary()

    def forget_primitives(self) -> None:
        """Drop what the client that is served has given."""
        self.__dict__["_primitives_given"].pop(home(), None)

    def clear_objects(self, return_self: bool = True) -> Any:
        """Remove all objects and, what PySyft leaves, their tags: this worker outlives the programs that use it."""
        self.object_store._tag_to_object_ids.clear()
        return super().clear_objects(return_self)

    def search(self, query: Any) -> List[Any]:
        """The objects that have these tags; those that were deleted are not looked for."""
        for ids in self.object_store._tag_to_object_ids.values():
            ids.intersection_update(self.object_store._objects)
        return list(super().search(query))

    def _look(self, what: str, *about: Any) -> Any:
        if self.log_msgs and self.msg_history:
            self.msg_history.pop()  # a look is no message of the program
        return _LOOKS[what](self, *about)
