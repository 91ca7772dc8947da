"""How a task waits for one outcome: cheaper than anyio's events, on either event loop (facts: docs/design.md).

It knows nothing of who sets the outcome; what is already there costs no trip through the event loop.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any, Awaitable, Callable, Generator, Generic, Optional, Type, TypeVar

T = TypeVar("T")
# It finds the running loop by itself.
_Future = asyncio.Future


class Slot(Generic[T]):
    """A place for one outcome, and for at most one task that waits for it."""

    # At the class, so that making one, on the way of every value, costs little.
    done = False
    outcome: Optional[T] = None
    error: Optional[BaseException] = None
    #: Told how many bytes of a large outcome have travelled, of how many.
    progress: Optional[Callable[[int, int], None]] = None
    _waiter: Any = None

    def set(self, outcome: T) -> None:
        """The outcome is here; the first one counts."""
        if not self.done:
            self.outcome, self.done = outcome, True
            if self._waiter is not None:
                self._wake()

    def fail(self, error: BaseException) -> None:
        """There will be no outcome, and why; the first one counts."""
        if not self.done:
            self.error, self.done = error, True
            if self._waiter is not None:
                self._wake()

    def __await__(self) -> Generator[Any, Any, T]:
        """The outcome, now or when it comes. Raises: the error that took its place."""
        if not self.done:
            yield from self._suspend()
        if self.error is not None:
            raise self.error
        return self.outcome  # type: ignore[return-value] # it is set, and None may be a T

    def _wake(self) -> None:
        raise NotImplementedError

    def _suspend(self) -> Generator[Any, Any, None]:
        raise NotImplementedError


class _AsyncioSlot(Slot[T]):
    def set(self, outcome: T) -> None:
        # As the base class and _wake, in one: this is on the way of every value, and so is what follows.
        if not self.done:
            self.outcome, self.done = outcome, True
            waiter = self._waiter
            if waiter is not None and not waiter.done():
                waiter.set_result(None)

    def _wake(self) -> None:
        if not self._waiter.done():  # it is when the task was cancelled
            self._waiter.set_result(None)

    def __await__(self) -> Generator[Any, Any, T]:
        if not self.done:
            waiter: asyncio.Future[None] = _Future()
            self._waiter = waiter
            yield from waiter
        if self.error is not None:
            raise self.error
        return self.outcome  # type: ignore[return-value] # it is set, and None may be a T


class _TrioSlot(Slot[T]):
    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        sys.modules["trio"].lowlevel.reschedule(waiter)

    def _suspend(self) -> Generator[Any, Any, None]:
        lowlevel = sys.modules["trio"].lowlevel
        self._waiter = lowlevel.current_task()

        def abort(_: Any) -> Any:
            self._waiter = None
            return lowlevel.Abort.SUCCEEDED

        yield from lowlevel.wait_task_rescheduled(abort).__await__()


def slot_class() -> Type[Slot[Any]]:
    """The class of slots for the event loop that runs now."""
    trio = sys.modules.get("trio")
    if trio is None:
        return _AsyncioSlot
    try:
        trio.lowlevel.current_trio_token()
    except RuntimeError:
        return _AsyncioSlot
    return _TrioSlot


def spawn(run: Callable[[], Awaitable[None]]) -> Any:
    """Start a task that belongs to no scope; the caller keeps what this returns, and makes sure that it ends."""
    if slot_class() is _TrioSlot:
        import trio

        return trio.lowlevel.spawn_system_task(run)
    return asyncio.ensure_future(run())
