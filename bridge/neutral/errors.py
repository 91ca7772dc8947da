"""What goes wrong at a worker without PySyft, as a program for PySyft meets it."""

from __future__ import annotations

import websocket as legacy

from asyncsyft.errors import AsyncSyftError, LinkError


class NotTranslated(NotImplementedError):
    """What PySyft asks for has no form that a worker without PySyft understands; ``op`` names it."""

    def __init__(self, op: str, why: str = "") -> None:
        super().__init__(f"{op}: {why or 'a worker without PySyft does not know it'}")
        self.op = op


class OperationFailed(RuntimeError):
    """The worker could not do an operation; ``op`` names it as the program did, the cause is the worker's error."""

    def __init__(self, op: str, cause: BaseException, earlier: bool = False) -> None:
        note = f" [at an earlier {op!r}, which was not waited for]" if earlier else ""
        super().__init__(f"{op}: {cause}{note}")
        self.op = op
        self.__cause__ = cause


def raised(error: Exception, op: str) -> Exception:
    """An error as it is raised to the program: torch's kinds for wrong calls, PySyft's for lost links."""
    if isinstance(error, LinkError):
        return legacy.WebSocketConnectionClosedException(f"{op}: {error}")
    if isinstance(error, TimeoutError):
        return legacy.WebSocketTimeoutException(f"{op}: no answer in time")
    # torch says RuntimeError to shapes that do not fit.
    if isinstance(error, AsyncSyftError) or type(error) in (ValueError, OverflowError):
        return OperationFailed(op, error)
    return error
