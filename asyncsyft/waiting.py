"""How a task waits for one outcome: cheaper than anyio's events, on either event loop (facts: docs/design.md).

It knows nothing of who sets the outcome; what is already there costs no trip through the event loop.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from contextvars import Context
from typing import Any, Awaitable, Callable, Generator, Generic, List, Optional, Tuple, Type, TypeVar

T = TypeVar("T")


class Slot(Generic[T]):
    """A place for one outcome, and for at most one task that waits for it."""

    # At the class, so that making one, on the way of every value, costs little.
    is_set = False
    outcome: Optional[T] = None
    error: Optional[BaseException] = None
    #: Told how many bytes of a large outcome have travelled, of how many.
    progress: Optional[Callable[[int, int], None]] = None
    _waiter: Any = None

    def set(self, outcome: T) -> None:
        """The outcome is here; the first one counts."""
        if not self.is_set:
            self.outcome, self.is_set = outcome, True
            if self._waiter is not None:
                self._wake()

    def fail(self, error: BaseException) -> None:
        """There will be no outcome, and why; the first one counts."""
        if not self.is_set:
            self.error, self.is_set = error, True
            if self._waiter is not None:
                self._wake()

    def __await__(self) -> Generator[Any, Any, T]:
        """The outcome, now or when it comes. Raises: the error that took its place."""
        if not self.is_set:
            yield from self._suspend()
        if self.error is not None:
            raise self.error
        return self.outcome  # type: ignore[return-value] # it is set, and None may be a T

    def _wake(self) -> None:
        raise NotImplementedError

    def _suspend(self) -> Generator[Any, Any, None]:
        raise NotImplementedError


class _Woken:
    """What a task is told when it goes on; not its slot, whose outcome is the program's to let go of."""

    def __init__(self, error: Optional[BaseException] = None) -> None:
        self._error = error

    def result(self) -> None:
        if self._error is not None:
            raise self._error


Wake = Callable[[_Woken], None]
_GO_ON = _Woken()


class _Wakes:
    """The tasks of one asyncio loop that are to go on: all by one callback, where futures take one each."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._due: List[Tuple[Wake, Context, _Woken]] = []

    def add(self, wake: Wake, context: Context, woken: _Woken) -> None:
        if not self._due:
            self.loop.call_soon(self._run)
        self._due.append((wake, context, woken))

    def _run(self) -> None:
        due, self._due = self._due, []
        ran = 0
        try:
            for wake, context, woken in due:
                ran += 1
                context.run(wake, woken)
        except BaseException:  # a task that ends the loop
            for rest in due[ran:]:
                self.add(*rest)
            raise


class _AsyncioSlot(Slot[T]):
    """For its task, a future: what asyncio asks of one, and no more.

    A future of asyncio's own costs a callback of the loop for each value, which is as much as all the rest of a slot.
    """

    __slots__ = ("is_set", "outcome", "error", "_waiter", "_context", "_asyncio_future_blocking")
    #: Of the subclass for one loop; that of a slot made outside any loop is found when a task waits.
    _wakes: Optional[_Wakes] = None

    def __init__(self) -> None:
        self.is_set = False
        self.error = self._waiter = None

    def set(self, outcome: T) -> None:
        # As the base class and _wake, in one: this is on the way of every value, and so is what follows.
        if not self.is_set:
            self.outcome, self.is_set = outcome, True
            if self._waiter is not None:
                self._wakes.add(self._waiter, self._context, _GO_ON)  # type: ignore[union-attr] # a task waits
                self._waiter = None

    def _wake(self, woken: _Woken = _GO_ON) -> None:
        assert self._wakes is not None
        self._wakes.add(self._waiter, self._context, woken)
        self._waiter = None

    def __await__(self) -> Generator[Any, Any, T]:
        if not self.is_set:
            self._asyncio_future_blocking = True
            yield self
        if self.error is not None:
            raise self.error
        return self.outcome  # type: ignore[return-value] # it is set, and None may be a T

    # What the task calls, and anyio's tests.

    def get_loop(self) -> asyncio.AbstractEventLoop:
        if self._wakes is None:
            self._wakes = _wakes_here()
        return self._wakes.loop

    def add_done_callback(self, callback: Wake, *, context: Context) -> None:
        self._waiter, self._context = callback, context

    def done(self) -> bool:
        return self._waiter is None

    def cancel(self, msg: Any = None) -> bool:
        if self._waiter is None:
            return False
        self._wake(_Woken(asyncio.CancelledError() if msg is None else asyncio.CancelledError(msg)))
        return True


class _Here(threading.local):
    #: Of the loop that ran last in this thread.
    slot: Type[_AsyncioSlot[Any]] = _AsyncioSlot


_here = _Here()


def _wakes_here() -> _Wakes:
    """Raises: RuntimeError if no loop of asyncio runs in this thread."""
    loop = asyncio.get_running_loop()
    wakes = _here.slot._wakes
    if wakes is None or wakes.loop is not loop:
        wakes = _Wakes(loop)
        _here.slot = type("_AsyncioSlot", (_AsyncioSlot,), {"__slots__": (), "_wakes": wakes})
    return wakes


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
    if _runs_trio():
        return _TrioSlot
    try:
        _wakes_here()
    except RuntimeError:  # it is made before the loop runs
        return _AsyncioSlot
    return _here.slot


def _runs_trio() -> bool:
    trio = sys.modules.get("trio")
    if trio is None:
        return False
    try:
        trio.lowlevel.current_trio_token()
    except RuntimeError:
        return False
    return True


def spawn(run: Callable[[], Awaitable[None]]) -> Any:
    """Start a task that belongs to no scope; the caller keeps what this returns, and makes sure that it ends."""
    if _runs_trio():
        import trio

        return trio.lowlevel.spawn_system_task(run)
    return asyncio.ensure_future(run())
