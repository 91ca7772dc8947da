"""How a task waits for one outcome: cheaper than anyio's events, on either event loop (facts: docs/design.md).

It knows nothing of who sets the outcome; what is already there costs no trip through the event loop.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import deque
from contextvars import Context
from itertools import repeat
from typing import Any, Awaitable, Callable, Deque, Generator, Generic, Iterable, Optional, Tuple, Type, TypeVar

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

    @classmethod
    def set_all(cls, slots: Iterable[Optional[Slot[Any]]], outcomes: Iterable[Any]) -> None:
        """As ``set``, of many slots of this class; where there is None, nobody waits."""
        for slot, outcome in zip(slots, outcomes):
            if slot is not None and not slot.is_set:
                slot.outcome, slot.is_set = outcome, True
                if slot._waiter is not None:
                    slot._wake()

    def fail(self, error: BaseException) -> None:
        """There will be no outcome, and why; the first one counts."""
        if not self.is_set:
            self.error, self.is_set = error, True
            if self._waiter is not None:
                self._wake()

    def __await__(self) -> Generator[Any, Any, T]:
        """The outcome, now or when it comes. Raises: the error that took its place."""
        raise NotImplementedError

    def _wake(self) -> None:
        raise NotImplementedError


#: What a task calls to go on, with a future that is done.
Wake = Callable[["asyncio.Future[None]"], None]


class Turn:
    """What one asyncio loop is to do before it waits again: tasks that go on, then calls, all by one callback.

    Futures take a callback each, and one turn of the loop more. A callback of the loop's that will end with ``run``
    (the reader of a socket) sets ``due`` at its start: then what it causes is done by it, in the same turn.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.due = False  # ``run`` is about to be called
        self.tasks: Deque[Tuple[Wake, Context, asyncio.Future[None]]] = deque()
        self._calls: Deque[Callable[[], object]] = deque()
        # What tasks are told when they go on: not their slots, whose outcomes are the program's to let go of.
        self.done: asyncio.Future[None] = loop.create_future()
        self.done.set_result(None)

    def soon(self) -> None:
        """See to it that ``run`` is called."""
        self.loop.call_soon(self.run)
        self.due = True

    def call(self, function: Callable[[], object]) -> None:
        """Call it when the tasks that are to go on now have gone on."""
        self._calls.append(function)
        if not self.due:
            self.soon()

    def run(self) -> None:
        """Let the tasks go on, and make the calls; what these cause in their turn is for the next one."""
        tasks, calls = self.tasks, self._calls
        self.due = bool(tasks or calls)
        if not self.due:
            return
        try:
            # Off the queue one by one: a task may end the loop, or run it once more within itself.
            for _ in range(len(tasks)):
                if tasks:
                    wake, context, done = tasks.popleft()
                    context.run(wake, done)
            for _ in range(len(calls)):
                if calls:
                    calls.popleft()()
        finally:
            self.due = False
            if tasks or calls:
                self.soon()


class _AsyncioSlot(Slot[T]):
    """For its task, a future: what asyncio asks of one, and no more.

    A future of asyncio's own costs a callback of the loop for each value, which is as much as all the rest of a slot.
    """

    #: Of the subclass for one loop; that of a slot made outside any loop is found when a task waits.
    _turn: Optional[Turn] = None

    @classmethod
    def set_all(cls, slots: Iterable[Optional[Slot[Any]]], outcomes: Iterable[Any]) -> None:
        turn = cls._turn
        if turn is None:  # each slot found one of its own, if a task waits
            super().set_all(slots, outcomes)
            return
        # As ``set`` and ``_wake``, in one: this is on the way of every value, and so is what follows.
        go_on, done = turn.tasks.append, turn.done
        for slot, outcome in zip(slots, outcomes):
            if slot is not None and not slot.is_set:
                slot.outcome, slot.is_set = outcome, True
                waiter = slot._waiter
                if waiter is not None:
                    slot._waiter = None
                    go_on((waiter, slot._context, done))  # type: ignore[attr-defined]
        if turn.tasks and not turn.due:
            turn.soon()

    def _wake(self, done: Optional[asyncio.Future[None]] = None) -> None:
        assert self._turn is not None
        self._turn.tasks.append((self._waiter, self._context, done or self._turn.done))
        self._waiter = None
        if not self._turn.due:
            self._turn.soon()

    def __await__(self) -> Generator[Any, Any, T]:
        if not self.is_set:
            self._asyncio_future_blocking = True
            yield self
        if self.error is not None:
            raise self.error
        return self.outcome  # type: ignore[return-value] # it is set, and None may be a T

    # What the task calls, and anyio's tests.

    def get_loop(self) -> asyncio.AbstractEventLoop:
        if self._turn is None:
            self._turn = turn_here()
        return self._turn.loop

    def add_done_callback(self, callback: Wake, *, context: Context) -> None:
        self._waiter, self._context = callback, context

    def done(self) -> bool:
        return self._waiter is None

    def cancel(self, msg: Any = None) -> bool:
        if self._waiter is None:
            return False
        cancelled = self.get_loop().create_future()
        cancelled.cancel(*([] if msg is None else [msg]))
        self._wake(cancelled)
        return True


class _Here(threading.local):
    #: Of the loop that ran last in this thread.
    slot: Type[_AsyncioSlot[Any]] = _AsyncioSlot


_here = _Here()


def turn_here() -> Turn:
    """The turn of the loop of asyncio that runs in this thread. Raises: RuntimeError if none does."""
    loop = asyncio.get_running_loop()
    turn = _here.slot._turn
    if turn is None or turn.loop is not loop:
        turn = Turn(loop)
        # That a task asks for the loop is a call of C, too.
        own = {"_turn": turn, "get_loop": repeat(loop).__next__}
        _here.slot = type("_AsyncioSlot", (_AsyncioSlot,), own)
    return turn


class _TrioSlot(Slot[T]):
    #: ``trio.lowlevel``, once trio has run.
    _lowlevel: Any = None

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        self._lowlevel.reschedule(waiter)

    def __await__(self) -> Generator[Any, Any, T]:
        if not self.is_set:
            lowlevel = self._lowlevel
            self._waiter = lowlevel.current_task()
            yield from lowlevel.wait_task_rescheduled(self._abort).__await__()
        if self.error is not None:
            raise self.error
        return self.outcome  # type: ignore[return-value] # it is set, and None may be a T

    def _abort(self, _: Any) -> Any:
        self._waiter = None
        return self._lowlevel.Abort.SUCCEEDED


def slot_class() -> Type[Slot[Any]]:
    """The class of slots for the event loop that runs now."""
    if _runs_trio():
        _TrioSlot._lowlevel = sys.modules["trio"].lowlevel
        return _TrioSlot
    try:
        turn_here()
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
