"""Links to workers without PySyft: a driver in the bridge's loop, and the threads that have it work for them."""

from __future__ import annotations

import atexit
import logging
import os
import ssl as tls
import threading
from contextlib import suppress
from typing import Any, Callable, Dict, Mapping, Optional

import anyio
import websocket as legacy

from asyncsyft.driver import Driver
from asyncsyft.errors import LinkError
from asyncsyft.peer import RESUME_GRACE

from ..loop import Loop, Stopped
from .held import Holdings

logger = logging.getLogger(__name__)

#: Seconds that linking may take, and the worker may take to appear at a relay.
PATIENCE = 10.0


def is_neutral(can: Mapping[str, Any]) -> bool:
    """Whether a peer that says this of itself computes by array-API ops, and does not wait for PySyft's messages."""
    level = can.get("level")
    return type(level) is int and level >= 2 and bool(can.get("ops"))


class Far:
    """A worker without PySyft, as the threads of this process see it."""

    def __init__(self, loop: Loop, driver: Driver, holdings: Holdings) -> None:
        self._loop, self._driver, self.holdings = loop, driver, holdings
        self._process = os.getpid()

    @property
    def is_open(self) -> bool:
        """Whether it can be asked: not after its worker was lost, nor in a process that was forked since."""
        lost = self.holdings.remote.recorder.lost
        return lost is None and self._process == os.getpid() and self._loop is _loop

    def run(self, work: Callable[..., Any], *args: Any) -> Any:
        """What an async method of the holdings gives. Raises: what it raises, TimeoutError, LinkError."""
        self._check()
        try:
            return self._loop.run(work, *args)
        except Stopped as error:
            raise legacy.WebSocketConnectionClosedException(str(error)) from error

    def post(self, work: Callable[..., Any], *args: Any) -> None:
        """Have a method of the holdings called, and do not wait; from any thread, even a finalizer."""
        self._check()
        self._loop.post(work, *args)

    def _check(self) -> None:
        if not self.is_open:
            why = self.holdings.remote.recorder.lost or "it was linked by another process, or closed"
            raise legacy.WebSocketConnectionClosedException(f"{self.holdings.remote.name}: {why}")

    def close(self) -> None:
        """End the link; what the worker held is forgotten. Idempotent."""
        if self._process == os.getpid() and self._loop is _loop:
            self._loop.run(_part, self._driver)


_loop: Optional[Loop] = None
_drivers: Dict[int, Driver] = {}
_making = threading.Lock()


def _running() -> Loop:
    """The loop of this process's drivers; made when first needed."""
    global _loop
    with _making:
        if _loop is None:
            _loop = Loop()
            atexit.register(leave)
        return _loop


def connect(
    url: str,
    name: str,
    *,
    token: Optional[str] = None,
    ssl: Optional[tls.SSLContext] = None,
    seconds: float = PATIENCE,
    resume_grace: float = RESUME_GRACE,
    **options: Any,
) -> Optional[Far]:
    """Link to the worker of this name, at a relay or where it listens itself; None if it speaks PySyft's messages.

    ``url``: ws:// or wss://. ``options`` are those of ``asyncsyft.connect`` (``key``, ``known_peers``).
    Raises: ConnectionRefusedError, WebSocketTimeoutException if nobody of that name comes in time, Refused.
    """
    loop = _running()
    driver = Driver(url, token=token, ssl=ssl, resume_grace=resume_grace, **options)
    try:
        holdings = loop.run(_link, driver, name, seconds)
    except LinkError as error:
        raise ConnectionRefusedError(str(error)) from error
    except TimeoutError:
        raise legacy.WebSocketTimeoutException(f"no worker {name!r} at {url} within {seconds:g} s") from None
    return None if holdings is None else Far(loop, driver, holdings)


async def _link(driver: Driver, name: str, seconds: float) -> Optional[Holdings]:
    try:
        with anyio.fail_after(seconds):
            await driver.open()
            (remote,) = await driver.wait_for(name)
            while not remote.conversation.greeted:  # what it can do comes with its greeting
                await remote.ping()
            if is_neutral(remote.conversation.their_can):
                _drivers[id(driver)] = driver
                return Holdings(remote)
    except BaseException:
        with anyio.move_on_after(1, shield=True), suppress(Exception):
            await driver.aclose()
        raise
    await driver.aclose()
    return None


async def _part(driver: Driver) -> None:
    if _drivers.pop(id(driver), None) is not None:
        try:
            await driver.aclose()
        except Exception:
            logger.debug("a driver did not end in peace", exc_info=True)


def leave() -> None:
    """Close all links to workers without PySyft."""
    global _loop
    loop, _loop = _loop, None
    if loop is not None:
        atexit.unregister(leave)
        loop.stop(_close_all)


async def _close_all() -> None:
    for driver in list(_drivers.values()):
        await _part(driver)


def _forget() -> None:
    """In a child of this process: the thread of the loop is not there, and its links are the parent's."""
    global _loop, _making
    if _loop is not None:
        atexit.unregister(leave)
    _loop, _making = None, threading.Lock()
    _drivers.clear()


os.register_at_fork(after_in_child=_forget)
