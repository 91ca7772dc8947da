"""The stand-in for a worker of another process: who looks into it looks there."""

from __future__ import annotations

import time
import weakref
from contextlib import suppress
from typing import Any, Optional

from syft.frameworks.torch.mpc.primitives import PrimitiveStorage
from syft.workers.virtual import VirtualWorker
from websocket import WebSocketConnectionClosedException, WebSocketException

from .far import FarMessages, FarPrimitives, FarStore


class LooksInto(VirtualWorker):
    """The stand-in for a worker of another process: what is read and set here is read and set there."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _living.add(self)
        me = self.hook.local_worker if self.hook is not None else None
        if me is not None and self.id in me.object_store.trash:  # what waits there to be deleted, and since when
            me.object_store.trash[self.id] = (time.time(), me.object_store.trash[self.id][1])

    @property
    def _is_made(self) -> bool:
        """Whether PySyft's constructor is done: it sets ``remote`` after what a worker holds, which is not here."""
        return "remote" in self.__dict__

    @property
    def object_store(self) -> FarStore:
        """The worker's objects."""
        store: Optional[FarStore] = self.__dict__.get("_far_store")
        if store is None or store.owner is not self:
            store = self.__dict__["_far_store"] = FarStore(self)
        return store

    @object_store.setter
    def object_store(self, value: Any) -> None:
        if self._is_made:
            raise AttributeError("the object store of a worker in another process cannot be replaced")

    @property
    def crypto_store(self) -> FarPrimitives:
        """The worker's crypto primitives."""
        store: Optional[FarPrimitives] = self.__dict__.get("_far_primitives")
        if store is None or store._owner is not self:
            store = self.__dict__["_far_primitives"] = FarPrimitives(self)
        return store

    @crypto_store.setter
    def crypto_store(self, value: Any) -> None:
        if type(value) is not PrimitiveStorage or len(value.fss_eq) + len(value.fss_comp):
            raise AttributeError("the primitives of a worker in another process cannot be replaced")

    @property
    def msg_history(self) -> FarMessages:
        """The messages that the worker has logged."""
        return FarMessages(self)

    @msg_history.setter
    def msg_history(self, value: Any) -> None:
        if value:
            raise AttributeError("the messages of a worker in another process can only be forgotten")
        if self._is_made:
            self.msg_history.clear()

    @property
    def log_msgs(self) -> bool:
        """Whether the worker logs messages, as far as this process has said."""
        return bool(self.__dict__.get("_logs"))

    @log_msgs.setter
    def log_msgs(self, value: bool) -> None:
        self.__dict__["_logs"] = value
        self._send_msg_and_deserialize("_look", "log messages", value)

    def _get_msg(self, index: int) -> Any:
        return self.msg_history[index]

    def _even_out(self) -> None:
        """The crypto primitives of this link are new: what other workers have of older ones fits to nothing here."""
        for other in list(_living):
            if other is not self and getattr(other, "is_linked", False):
                with suppress(WebSocketException, OSError):
                    other._look("forget primitives")

    def _look(self, what: str, *about: Any) -> Any:
        self.far().drain_others()  # what they were told may change what is seen here
        return self._send_msg_and_deserialize("_look", what, *about)


# In the place of PySyft's own.

_living: weakref.WeakSet[LooksInto] = weakref.WeakSet()


class _Ended:
    """In the place of the websocket of a worker whose class is PySyft's again: pointers to it are still forgotten."""

    connected = False

    def send(self, *_: Any) -> None:
        raise WebSocketConnectionClosedException("the bridge was uninstalled: make the worker anew")

    def close(self) -> None:
        pass

    shutdown = close


def _made(self: Any, *args: Any, **kwargs: Any) -> None:
    """Make a worker: one whose id has a worker of another process is that one too, as PySyft has it for its own."""
    super(VirtualWorker, self).__init__(*args, **kwargs)
    me = self.hook.local_worker if type(self) is VirtualWorker and self.auto_add and self.hook is not None else None
    known = None if me is None else me._known_workers.get(self.id)
    if isinstance(known, LooksInto):
        self.__class__ = type(known)  # PySyft copied its attributes


def attach() -> None:
    """Take the place of PySyft's constructor; idempotent."""
    VirtualWorker.__init__ = _made


def detach() -> None:
    """Give it back; idempotent."""
    while _living:
        _living.pop().ws = _Ended()
    if "__init__" in vars(VirtualWorker):
        del VirtualWorker.__init__
