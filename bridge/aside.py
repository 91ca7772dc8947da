"""How a thread does the work of an event loop in its place, while that waits for its sockets.

Waking the loop, and being scheduled after it, costs more than to send a small message. So a loop's thread has the
*turn* only while it does not wait in its selector; who gets it meanwhile may do what the loop would have done. It knows
nothing of what the work is.
"""

from __future__ import annotations

import asyncio
import selectors
import signal
import threading
from typing import Any, Callable, List, Optional, Tuple

#: After these, programs expect an exception in their main thread at any moment; work is not to be left half done.
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGALRM") if hasattr(signal, name))
#: Those of the module itself make an enum of each handler, which takes longer than to set it.
_handler = getattr(signal.getsignal, "__wrapped__", signal.getsignal)
_set_handler = getattr(signal.signal, "__wrapped__", signal.signal)


def _raise(missed: List[int]) -> None:
    """Have the handlers of signals called; each may raise."""
    try:
        if missed:
            signal.raise_signal(missed.pop())
    finally:
        if missed:
            _raise(missed)


class Turn(selectors.DefaultSelector):
    """The selector of a loop; made in the loop's thread, which has the turn from then on."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._lock.acquire()

    def select(self, timeout: Optional[float] = None) -> List[Tuple[selectors.SelectorKey, int]]:
        """Wait for sockets, in nobody's turn."""
        self._lock.release()
        try:
            return super().select(timeout)
        finally:
            self._lock.acquire()

    def lend(self, work: Callable[[], Any]) -> bool:
        """Call ``work`` in this thread and in turn; False, and it is not called, where somebody has the turn."""
        if threading.current_thread() is not threading.main_thread():
            return self._lend(work)
        before = [(number, _handler(number)) for number in _SIGNALS]
        if any(handler is None for _, handler in before):  # not Python's own: it could not be put back
            return False
        missed: List[int] = []
        try:
            for number in _SIGNALS:
                _set_handler(number, lambda number, _: missed.append(number))
            return self._lend(work)
        finally:
            for number, handler in before:
                _set_handler(number, handler)
            _raise(missed)

    def _lend(self, work: Callable[[], Any]) -> bool:
        if not self._lock.acquire(blocking=False):
            return False
        try:
            work()
        finally:
            self._lock.release()
        return True

    def loop(self) -> asyncio.AbstractEventLoop:
        """A loop with this selector."""
        return asyncio.SelectorEventLoop(self)
