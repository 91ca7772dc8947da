"""Workers that a worker meets while it serves somebody: by the ids that its client knows them by.

In a process of PySyft all workers know each other. Here, an id that is not known while a call is served is that of a
worker which the client knows, or of the client itself. Where it is, the client is asked once. What cannot be reached
from here is passed on by the client.
"""

from __future__ import annotations

import ssl as tls
from typing import Any, Dict, List, Optional

import msgpack
import syft as sy
import torch
from syft.exceptions import (
    EmptyCryptoPrimitiveStoreError,
    GetNotPermittedError,
    ResponseSignatureError,
    WorkerNotFoundException,
)
from syft.workers.base import BaseWorker
from syft.workers.virtual import VirtualWorker
from websocket import WebSocketConnectionClosedException

from asyncsyft.protocol import Conversation

from . import beside, desks
from .ends import Relayed, asking
from .far import EMPTY, PATIENCE, Far
from .messages import Id, Message, as_message
from .service import HOMES, home

#: PySyft raises these at the one who asks, from their own written form.
_VALUES = (EmptyCryptoPrimitiveStoreError, GetNotPermittedError, ResponseSignatureError)


def trusting(url: str) -> Optional[tls.SSLContext]:
    """A TLS context for a wss:// URL: as PySyft's own, whoever has a certificate is believed."""
    if not url.startswith("wss://"):
        return None
    context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = tls.CERT_NONE
    return context


# What others ask of this process.


def answer(worker: Any, message: bytes) -> bytes:
    """What a worker of this process answers; with some errors as values, as PySyft sends them. Raises: the others."""
    try:
        return worker._recv_msg(message)
    except _VALUES as error:
        return sy.serde.serialize(error)


def serve(message: Message, to: Id) -> bytes:
    """A message for a worker of that id: the local one, another of this process, or one that is known here."""
    me = sy.local_worker
    worker = me if to is None else me.get_worker(to)
    if not isinstance(worker, BaseWorker):
        raise WorkerNotFoundException(f"{me.id} knows no worker {to!r}")
    if "far" in worker.__dict__ or hasattr(type(worker), "far"):
        return worker.far().ask(message, PATIENCE)
    return answer(worker, message)


def locate(worker_id: Id) -> Dict[str, Any]:
    """Where a worker is that this process asks; nothing if messages for it are to be sent here."""
    worker = sy.local_worker._known_workers.get(worker_id)
    if worker is None or not hasattr(worker, "far"):
        return {}
    try:
        far = worker.far()
    except WebSocketConnectionClosedException:
        return {}  # who sends something for it will be told
    return {} if far.to is not None else dict(far.end.whereabouts(far))


# What a worker of this process asks of others.


class Neighbour(VirtualWorker):
    """A worker as another worker knows it: whoever has this id for the client that is being served."""

    def far(self) -> Far:
        """The way to it. Raises: WebSocketConnectionClosedException if nobody is served here, or knows it."""
        return reach(self.id)

    def _send_msg(self, message: bytes, location: Any = None) -> bytes:
        return self._recv_msg(message)

    def _recv_msg(self, message: bytes) -> bytes:
        return self.far().ask(as_message(message), PATIENCE)


_neighbours: Dict[Id, Neighbour] = {}


def reach(worker_id: Id) -> Far:
    """The way to the worker that has this id for the one who began the call which is being served.

    Raises: WebSocketConnectionClosedException if nobody is served here.
    """
    talk = home()
    if talk is None:
        return _reached_before(worker_id)
    end = _end_of(talk)
    far: Optional[Far] = end.neighbours.get((talk, worker_id))
    if far is None or not far.is_open:
        far = end.neighbours[talk, worker_id] = _find(end, talk, worker_id)
    return far


def _end_of(talk: Conversation) -> Any:
    return talk.server.end  # type: ignore[attr-defined] # it is our service


def _reached_before(worker_id: Id) -> Far:
    """For a finalizer, which runs wherever it may."""
    for talk in list(HOMES.values()):
        far: Optional[Far] = _end_of(talk).neighbours.get((talk, worker_id))
        if far is not None and far.is_open:
            return far
    raise WebSocketConnectionClosedException(f"{worker_id!r} is known to a client, and none is served here now")


def _find(end: Any, talk: Conversation, worker_id: Id) -> Far:
    by_home = Far(end, talk, to=worker_id)
    where = msgpack.unpackb(by_home.ask(EMPTY, PATIENCE))
    life, url, relay, key = (where.get(name) for name in ("life", "url", "relay", "key"))
    found: Optional[Far] = None
    if type(life) is bytes and type(relay) is bytes and type(key) is bytes:
        found = end.presented(life, relay, key) if isinstance(end, Relayed) else None
    elif type(life) is bytes and type(url) is str and url:
        found = asking(serve, locate).meet(url, trusting(url), life)
    return found or by_home


def _get_worker_based_on_id(self: Any, worker_id: Any, fail_hard: bool = False) -> Any:
    desk = desks.here()
    is_unknown = worker_id != self.id and worker_id not in self._known_workers
    if not is_unknown or desk.talk is None or desk.root.startswith(desks.PROCESS):
        return _original["_get_worker_based_on_id"](self, worker_id, fail_hard)
    neighbour = _neighbours.get(worker_id)
    if neighbour is None:
        neighbour = _neighbours[worker_id] = Neighbour(self.hook, worker_id, auto_add=False)
    return neighbour


_PLACES: List[Any] = [
    (BaseWorker, "_get_worker_based_on_id", _get_worker_based_on_id),
    (torch.autograd, "backward", desks.gradients(torch.autograd.backward)),
    (torch.autograd, "grad", desks.gradients(torch.autograd.grad)),
]
_original: Dict[str, Any] = {name: getattr(place, name) for place, name, _ in _PLACES}


def attach() -> None:
    """Take the places of PySyft's functions, and have messages travel; idempotent."""
    beside.attach()
    for place, name, ours in _PLACES:
        setattr(place, name, ours)


def detach() -> None:
    """Give them back; idempotent."""
    for place, name, _ in _PLACES:
        setattr(place, name, _original[name])
    _neighbours.clear()
    beside.detach()
