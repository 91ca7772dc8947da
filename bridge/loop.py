"""An event loop in a thread of its own, and how threads that are not async hand it work.

What is handed over goes in a deque that the loop drains. Waking the loop costs the thread that does it as much as the
work itself, since the two then fight for Python's lock. So a thread that is in a hurry does what it may do by itself,
while the loop waits for its sockets; and after some work the loop does not fall asleep but dozes, looks again by itself
a little later, and is woken meanwhile only for what is in a hurry. It knows no PySyft.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from typing import Any, Awaitable, Callable, Deque, Dict, List, Optional, Tuple

import anyio
from anyio.abc import TaskGroup

from .aside import Turn

logger = logging.getLogger(__name__)

#: Pieces of work that the loop does before it looks at its sockets again.
TURN = 256
#: Seconds until a loop that dozes looks for work by itself.
DOZE = 0.002
#: What the loop may be at: asleep until it is woken, dozing, or at work.
ASLEEP, DOZING, AWAKE = range(3)
#: Seconds that the loop's thread may take to begin, and to end.
PATIENCE = 10.0


class Stopped(Exception):
    """The loop has ended; nothing that is handed to it will be done."""


class Outcome:
    """What a piece of work came to; one thread may wait for it."""

    __slots__ = ("value", "error", "_barrier")

    def __init__(self) -> None:
        self.value: Any = None
        self.error: Optional[BaseException] = None
        self._barrier = threading.Lock()
        self._barrier.acquire()

    def set(self, value: Any = None, error: Optional[BaseException] = None) -> None:
        """Once only."""
        self.value, self.error = value, error
        self._barrier.release()

    def wait(self) -> Any:
        """The value, when it is there; Ctrl-C interrupts. Raises: the error in its place."""
        with self._barrier:
            pass
        if self.error is not None:
            raise self.error
        return self.value


class Loop:
    """Runs from when it is made until ``stop``."""

    def __init__(self) -> None:
        #: What is to be done, and whether any thread may do it.
        self._work: Deque[Tuple[Callable[..., Any], Tuple[Any, ...], bool]] = deque()
        self._state = ASLEEP
        self._helped = False  # other threads did some of it since the loop looked
        self._alarm: Optional[asyncio.TimerHandle] = None
        self._running: Optional[List[Outcome]] = []
        self._loop: asyncio.AbstractEventLoop
        self._turn: Turn
        self.tasks: TaskGroup
        begun = Outcome()
        self._thread = threading.Thread(target=self._run, args=(begun,), name="asyncsyft bridge", daemon=True)
        self._thread.start()
        begun.wait()

    @property
    def is_here(self) -> bool:
        """Whether the caller is the loop's own thread, which must never wait."""
        return threading.get_ident() == self._thread.ident

    def post(self, work: Callable[..., Any], *args: Any) -> None:
        """Have the loop call ``work(*args)``, in the order in which it is posted; from any thread, even a finalizer.

        What ``work`` returns, unless None, is called when the loop has done all that there was, once for all that
        returned the same. Raises: Stopped.
        """
        self._work.append((work, args, False))
        if self._state != AWAKE:
            self._wake()

    def post_soon(self, work: Callable[..., Any], *args: Any) -> None:
        """The same in no hurry, as long as there is more of it: a loop that dozes is not woken."""
        self._work.append((work, args, False))
        self.linger()

    def queue(self, work: Callable[..., Any], *args: Any) -> None:
        """Have any thread that has the loop's turn call ``work(*args)``, in the order in which it is queued.

        ``work`` starts no task, sets no timer and leaves nothing for the loop to do; what it returns is called as with
        ``post``, and says whether the loop is to be woken for the rest. ``hurry`` or ``linger`` has to follow.
        """
        self._work.append((work, args, True))

    def hurry(self) -> None:
        """Have done, by this thread if it may, what was queued. Raises: Stopped."""
        if self._work and self._state != AWAKE and not (self._may_help and self._turn.lend(self._help)):
            self._wake()

    def linger(self) -> None:
        """Have done soon what was queued. Raises: Stopped."""
        if self._state == ASLEEP:
            self._wake()

    def call_later(self, seconds: float, work: Callable[[], Any]) -> None:
        """Have the loop call ``work`` after so many seconds; in its own thread only."""
        self._loop.call_later(seconds, work)

    def _wake(self) -> None:
        self._state = AWAKE  # two threads may both find it asleep: one call too many does no harm
        try:
            self._loop.call_soon_threadsafe(self._drain)
        except RuntimeError as error:
            raise Stopped(str(error)) from None

    def run(self, work: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        """What an async function returns; waits for it. Raises: what it raises, Stopped."""
        outcome = Outcome()
        if self._running is None:
            raise Stopped("the loop has ended")
        self._running.append(outcome)
        self.post(self._begin, work, args, outcome)
        return outcome.wait()

    def stop(self, last: Callable[[], Awaitable[Any]]) -> None:
        """Run ``last``, then end the loop and its thread; idempotent."""
        if self._running is None or not self._thread.is_alive():
            return
        try:
            self.run(last)
            self._loop.call_soon_threadsafe(self._stop.set)
        except (Stopped, RuntimeError):
            return
        self._thread.join(PATIENCE)

    # In the loop's thread.

    def _run(self, begun: Outcome) -> None:
        try:
            self._turn = Turn()
            anyio.run(self._main, begun, backend="asyncio", backend_options={"loop_factory": self._turn.loop})
        except BaseException as error:
            logger.exception("the bridge's event loop has failed")
            self._abandon(error)
        else:
            self._abandon(Stopped("the loop has ended"))

    async def _main(self, begun: Outcome) -> None:
        self._loop = asyncio.get_running_loop()
        self._may_help = not self._loop.get_debug()  # which lets nobody else touch it
        self._stop = asyncio.Event()
        async with anyio.create_task_group() as self.tasks:
            begun.set()
            await self._stop.wait()
            self.tasks.cancel_scope.cancel()

    def _abandon(self, error: BaseException) -> None:
        running, self._running = self._running or [], None
        for outcome in running:
            outcome.set(error=error)

    def _drain(self) -> None:
        self._state = AWAKE
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        work, did, finish = self._work, self._helped, {}  # type: Any, int, Dict[Callable[[], Any], None]
        self._helped = False
        while work and did < TURN:
            call, args, _ = work.popleft()
            did += 1
            self._do(call, args, finish)
        for last in finish:
            self._do(last, (), {})
        self._state = DOZING if did else ASLEEP
        if work:  # a thread that appended before it could see that wakes nobody
            self._state = AWAKE
            self._loop.call_soon(self._drain)
        elif did:
            self._alarm = self._loop.call_later(DOZE, self._drain)

    def _help(self) -> None:
        """In whatever thread has the turn: do what it may."""
        before, self._state = self._state, AWAKE
        work, did, finish = self._work, 0, {}  # type: Any, int, Dict[Callable[[], Any], None]
        while work and work[0][2] and did < TURN:
            call, args, _ = work.popleft()
            did += 1
            self._do(call, args, finish)
        rest = [last for last in finish if self._do(last, (), {})]
        self._helped = True
        self._state = before
        if rest or work:
            self._wake()

    def _do(self, call: Callable[..., Any], args: Tuple[Any, ...], finish: Dict[Callable[[], Any], None]) -> Any:
        try:
            last = call(*args)
        except Exception:
            logger.exception("%r failed in the bridge's event loop", call)
            return None
        if last is not None:
            finish[last] = None
        return last

    def _begin(self, work: Callable[..., Awaitable[Any]], args: Tuple[Any, ...], outcome: Outcome) -> None:
        self.tasks.start_soon(self._carry, work, args, outcome)

    async def _carry(self, work: Callable[..., Awaitable[Any]], args: Tuple[Any, ...], outcome: Outcome) -> None:
        value, problem = None, None
        try:
            value = await work(*args)
        except Exception as error:  # noqa: BLE001 - told to the thread that waits
            problem = error
        except BaseException:
            problem = Stopped("the loop has ended")
            raise
        finally:
            if self._running is not None and outcome in self._running:
                self._running.remove(outcome)
                outcome.set(value, problem)
