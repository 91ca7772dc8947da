"""Puts the bridge's classes in the place of PySyft's, and takes them out again.

The class objects of PySyft stay what they are and become subclasses of ours: so names that a program imported before,
its own subclasses, and PySyft's ``isinstance`` checks all hold.
"""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

import syft.grid.clients.data_centric_fl_client  # noqa: F401 - a subclass, which must be there to be found
from syft.serde.msgpack import serde
from syft.workers import websocket_client, websocket_server

from . import ends, faster, looks, neighbours, pipelining, socketio
from .client import WebsocketClientWorker
from .server import WebsocketServerWorker

_PAIRS: List[Tuple[type, type]] = [
    (websocket_client.WebsocketClientWorker, WebsocketClientWorker),
    (websocket_server.WebsocketServerWorker, WebsocketServerWorker),
]
#: What of a class is its own whatever it inherits.
_KEPT = {"__module__", "__doc__", "__dict__", "__weakref__", "__abstractmethods__", "_abc_impl"}

#: What was there before: bases and attributes of each class; empty while PySyft's transports are in place.
_before: Dict[type, Tuple[Tuple[type, ...], Dict[str, Any]]] = {}


def install(pipeline: bool = True) -> None:
    """Replace PySyft's transports in this process; idempotent.

    ``pipeline``: sends and commands that need no reply are not waited for, and what goes wrong with them is raised by
    the next call that waits; without it, each is waited for, so that errors are raised where they belong.
    """
    pipelining.enabled = pipeline
    neighbours.attach()
    faster.attach()
    looks.attach()
    socketio.attach()
    for theirs, ours in _PAIRS:
        if theirs not in _before:
            own = {name: value for name, value in vars(theirs).items() if name not in _KEPT}
            _before[theirs] = theirs.__bases__, own
            for name in own:
                delattr(theirs, name)
            theirs.__bases__ = (ours,)
    _forget_checks()


def is_installed() -> bool:
    """Whether PySyft's transports are replaced."""
    return bool(_before)


def uninstall() -> None:
    """Undo ``install``: links are closed, and workers that were made meanwhile are of no more use. Idempotent."""
    ends.leave()
    for theirs, (bases, own) in _before.items():
        theirs.__bases__ = bases
        for name, value in own.items():
            setattr(theirs, name, value)
    _before.clear()
    faster.detach()
    neighbours.detach()
    looks.detach()
    socketio.detach()
    _forget_checks()


def _forget_checks() -> None:
    """What was found out about the classes before they changed."""
    for theirs, ours in _PAIRS:
        cls: Any
        for cls in {*theirs.__mro__, *ours.__mro__}:
            if hasattr(cls, "_abc_impl"):
                cls._abc_caches_clear()
        serde.msgpack_global_state.no_simplifiers_found.discard(theirs)
        serde.msgpack_global_state.inherited_simplifiers_found.pop(theirs, None)
