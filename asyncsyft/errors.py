"""What can go wrong, in one tree.

::

    AsyncSyftError
    ├ LinkError            the road is gone; whether the request ran may be unknown
    │ ├ LinkClosed         this link ended (or could never be made)
    │ └ WorkerLost         the far end of a conversation is gone, and its objects with it
    ├ ProtocolError        docs/protocol.md was broken
    │ ├ LocalProtocolError   by us
    │ └ RemoteProtocolError  by the peer
    ├ RemoteError          the worker said no; ``.code`` is the name of the class
    │ ├ UnknownPeer  ├ UnknownObject  ├ UnknownOp  ├ OpFailed
    │ └ Refused      └ LimitExceeded  └ Cancelled
    └ SessionError         MPC: a party left, a correlation was reused, a range was exceeded

Timeouts are ``TimeoutError``, as ``anyio.fail_after`` raises it.
"""

from __future__ import annotations

import copy
from typing import Any, Dict, List, Optional, Tuple, Type, TypeVar

__all__ = [
    "AsyncSyftError",
    "Cancelled",
    "LimitExceeded",
    "LinkClosed",
    "LinkError",
    "LocalProtocolError",
    "OpFailed",
    "ProtocolError",
    "Refused",
    "RemoteError",
    "RemoteProtocolError",
    "SessionError",
    "UnknownObject",
    "UnknownOp",
    "UnknownPeer",
    "WorkerLost",
]


class AsyncSyftError(Exception):
    """The root: everything that asyncsyft raises of its own is one of these."""

    #: Other failures that the same ``flush`` found, each reported once.
    also: List[AsyncSyftError]

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.also = []


Error = TypeVar("Error", bound=AsyncSyftError)


def fresh(error: Error) -> Error:
    """A copy of an error that is kept, to be raised in its place.

    What is raised gets a traceback, which keeps the frames alive that it passed, and what these hold.
    """
    other = copy.copy(error)
    other.also = []
    return other


def in_short(error: BaseException, most: int = 160) -> str:
    """A foreign error for people: its class and its text, cut.

    Never its ``repr``: msgpack's ExtraData holds what hostile bytes made, nested deeper than Python can show.
    """
    text = str(error)
    return f"{type(error).__name__}: {text}"[:most] if text else type(error).__name__


class LinkError(AsyncSyftError):
    """The road to a peer is gone; whether a request ran may be unknown."""


class LinkClosed(LinkError):
    """A link ended, or could not be made."""


class WorkerLost(LinkError):
    """A worker is gone, and with it the objects that it held."""


class ProtocolError(AsyncSyftError):
    """docs/protocol.md was broken."""


class LocalProtocolError(ProtocolError):
    """This end was asked to break the protocol; nothing was sent."""


class RemoteProtocolError(ProtocolError):
    """The other end broke the protocol."""


class RemoteError(AsyncSyftError):
    """The worker said no.

    ``worker`` is its name, ``op`` the step that failed, ``kind`` the name of the exception at the worker
    (``"ValueError"``), ``origin`` the line of the driver's program that recorded the step (``"train.py:12, in step"``),
    ``request`` the message id of the request, and which of its steps it was.
    """

    def __init__(
        self,
        message: str = "",
        *,
        worker: Optional[str] = None,
        op: Optional[str] = None,
        kind: Optional[str] = None,
        origin: Optional[str] = None,
        request: Optional[Tuple[int, int]] = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.worker = worker
        self.op = op
        self.kind = kind
        self.origin = origin
        self.request = request

    @property
    def code(self) -> str:
        """The name under which this failure travels: that of its class."""
        return type(self).__name__

    def __str__(self) -> str:
        what = f"{self.kind}: {self.message}" if self.kind else self.message
        where = "".join(
            [
                f"{self.op} " if self.op else "",
                f"at {self.worker}" if self.worker else "",
            ]
        ).strip()
        recorded = f" [recorded at {self.origin}]" if self.origin else ""
        return f"{where}: {what}{recorded}" if where else f"{what}{recorded}"


class UnknownPeer(RemoteError):
    """No such peer is there, or it does not know this life of ours."""


class UnknownObject(RemoteError):
    """The worker holds no object of that id for this driver: never sent, or deleted."""


class UnknownOp(RemoteError):
    """The op is not on the worker's allow-list."""


class OpFailed(RemoteError):
    """The op was run and raised; ``kind`` and ``message`` say what."""


class Refused(RemoteError):
    """The request was understood and will not be served: its form, a name that is taken, a policy."""


class LimitExceeded(RemoteError):
    """A bound with a name was reached: memory, message, depth, or what is recorded but not sent."""


class Cancelled(RemoteError):
    """The step was cancelled before it began."""


class SessionError(AsyncSyftError):
    """An MPC session ended: a party left, a correlation was reused, a range was exceeded."""


_BY_CODE: Dict[str, Type[RemoteError]] = {
    cls.__name__: cls for cls in (UnknownPeer, UnknownObject, UnknownOp, OpFailed, Refused, LimitExceeded, Cancelled)
}


def by_code(code: str) -> Type[RemoteError]:
    """The class of a failure that came over the wire; a code of a later version is a plain ``RemoteError``."""
    return _BY_CODE.get(code, RemoteError)
