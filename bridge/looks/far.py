"""The stores of a worker in another process, as a program sees them in its own."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, MutableMapping, Sequence, Set

import syft as sy
from syft.exceptions import ObjectNotFoundError
from syft.frameworks.torch.mpc.primitives import PrimitiveStorage
from syft.generic.object_storage import ObjectStore
from syft.messaging.message import ForceObjectDeleteMessage, ObjectMessage

from .owning import collecting, owning_nothing


class FarObjects(MutableMapping[Any, Any]):
    """The objects of a worker by id, or its tensors alone; copies."""

    def __init__(self, worker: Any, tensors: bool = False) -> None:
        self._worker, self._tensors = worker, tensors

    def __getitem__(self, at: Any) -> Any:
        mine = self._worker.object_store.mine
        if at in mine and at in self:
            return mine[at]
        try:
            value = self._worker._look("object", at)
        except ObjectNotFoundError:
            raise KeyError(at) from None
        here = sy.local_worker
        value = sy.serde.deserialize(value, worker=here) if type(value) is bytes else value[0]
        is_of_here = here.object_store._objects.get(getattr(value, "id", None)) is value  # it was a pointer to it
        if hasattr(value, "owner") and not is_of_here:
            value.owner = self._worker
        return value

    def __contains__(self, at: Any) -> bool:
        return bool(self._worker._look("has", at, self._tensors))

    def __iter__(self) -> Iterator[Any]:
        return iter(self._worker._look("ids", self._tensors))

    def __len__(self) -> int:
        return len(self._worker._look("ids", self._tensors))

    def __setitem__(self, at: Any, value: Any) -> None:
        self._worker._look("put", at, value)

    def __delitem__(self, at: Any) -> None:
        if at not in self:
            raise KeyError(at)
        self._worker.object_store.rm_obj(at)

    def clear(self) -> None:
        """Delete all objects of the worker."""
        self._worker.object_store.clear_objects()

    def copy(self) -> Dict[Any, Any]:
        """All of them, in a dictionary."""
        return dict(self.items())

    def __repr__(self) -> str:
        return str(self._worker.list_tensors_remote() if self._tensors else self._worker.list_objects_remote())


class FarStore(ObjectStore):
    """The object store of a worker in another process."""

    def __init__(self, owner: Any) -> None:
        self.owner = owner
        self.garbage_delay, self.trash_capacity = 0, 10_000
        self.trash: Dict[Any, Any] = {}
        #: Pointers that this process registered there: they own what they point to, and the worker's copies do not.
        self.mine: Dict[Any, Any] = {}

    @property
    def _objects(self) -> FarObjects:
        return FarObjects(self.owner)

    @_objects.setter
    def _objects(self, values: Dict[Any, Any]) -> None:
        objects = FarObjects(self.owner)
        objects.clear()
        objects.update(values)

    @property
    def _tensors(self) -> FarObjects:
        return FarObjects(self.owner, tensors=True)

    @property
    def _tag_to_object_ids(self) -> Dict[str, Set[Any]]:
        return {tag: set(ids) for tag, ids in self.owner._look("tags").items()}

    def set_obj(self, obj: Any) -> None:
        """Keep a copy of an object at the worker."""
        owning = [pointer for pointer in collecting(obj) if pointer.garbage_collect_data]
        with owning_nothing(owning):
            sy.local_worker.send_msg(ObjectMessage(obj), self.owner)
        obj.owner = self.owner
        if owning:
            self.mine[obj.id] = obj

    def rm_obj(self, obj_id: Any, force: bool = False) -> None:
        """Remove an object, if it is there; with ``force``, what it points to as well."""
        self.mine.pop(obj_id, None)
        if force:
            sy.local_worker.send_msg(ForceObjectDeleteMessage([obj_id]), self.owner)
        else:
            self.owner.far().present.discard(obj_id)
            self.owner._look("remove", obj_id)

    def de_register_obj(self, obj: Any, _recurse_torch_objs: bool = True) -> None:
        """Remove an object; nobody waits for it, as PySyft does this after each product of shares."""
        if hasattr(obj, "id"):
            self.rm_obj(obj.id, force=True)
        if hasattr(obj, "_owner"):
            del obj._owner

    def clear_objects(self) -> None:
        """Delete all objects of the worker."""
        self.mine.clear()
        self.owner.far().present.clear()
        self.owner._look("clear")

    def register_tags(self, obj: Any) -> None:
        """Have the worker find an object by its tags, which was put there if it was not."""
        if obj.id not in self._objects:
            self.owner.register_obj(obj)
        self.owner._look("tag", obj.id, list(obj.tags))


class FarMessages(Sequence[Any]):
    """The messages that a worker has logged."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        return self._worker._look("message", index)[0]

    def __len__(self) -> int:
        return int(self._worker._look("messages"))

    def clear(self) -> None:
        """Forget them."""
        self._worker._look("forget messages")


class FarPrimitives(PrimitiveStorage):
    """The crypto primitives of a worker: those that it has been given, and the builders of this process."""

    _THERE = ("fss_eq", "fss_comp", "mul", "matmul")

    def __init__(self, owner: Any) -> None:
        super().__init__(owner)
        for name in self._THERE:
            del self.__dict__[name]

    def __getattr__(self, name: str) -> Any:
        if name in self._THERE:
            return self.__dict__["_owner"]._look("primitives", name)
        raise AttributeError(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._THERE and value:
            self._owner._look("set primitives", name, value)
        else:
            super().__setattr__(name, value)

    def get_keys(self, op: str, n_instances: int = 1, remove: bool = True, **kwargs: Any) -> List[Any]:
        """Primitives of the worker. Raises: EmptyCryptoPrimitiveStoreError."""
        keys = self._owner._look("keys", op, {"n_instances": n_instances, "remove": remove, **kwargs})
        return list(keys)
