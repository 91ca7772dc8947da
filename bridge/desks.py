"""Where threads wait for answers, and serve meanwhile what is asked of them on behalf of the same call.

Each thread that talks to workers has a desk. A worker serves each conversation at a desk of its own, all by turns: one
thread at a time runs PySyft, and the turn is free while its thread waits for somebody else. So two workers that wait
for each other on behalf of two clients do not stop one another. This module knows neither links nor PySyft.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from queue import Empty, SimpleQueue
from typing import Any, Callable, Deque, Dict, Optional, Protocol

from .messages import Call


class Task(Protocol):
    """What is put on a desk to be served."""

    call: Call
    #: By whom it was sent.
    talk: Any
    #: Whether somebody waits for its answer.
    is_waited: bool
    #: Whether the next task at its desk is of the same call, and waited for: its answer takes this one's along.
    is_followed: bool

    def serve(self) -> None:
        """Do it and answer; raises nothing."""


class Answer(Protocol):
    """What a thread waits for; it is put on the desk when ``done`` is set."""

    done: bool


class Desk:
    """The desk of one thread."""

    def __init__(self, host: Optional[Desk] = None) -> None:
        """``host``: the desk of the thread on behalf of which this one works, while that is not in Python."""
        self.mail: SimpleQueue[Any] = SimpleQueue()
        self.host = host
        self.root: bytes = PROCESS + os.urandom(8) if host is None else host.root
        self.depth: int = 0 if host is None else host.depth
        #: The conversation by which came what is served here; None where the thread serves nothing.
        self.talk: Any = None if host is None else host.talk
        #: Those who were told something, and not waited for, while this was served.
        self.told: Dict[Any, None] = {} if host is None else host.told
        self.later: Deque[Task] = deque()
        #: The task that was put here last, while anybody has it.
        self.last: Callable[[], Optional[Task]] = lambda: None
        self.turn: Optional[threading.Lock] = None if host is None else host.turn  # while it is held here

    def wait(self, answer: Answer, seconds: Optional[float] = None) -> None:
        """Return when the answer is there; Ctrl-C interrupts. Raises: TimeoutError."""
        deadline = None if seconds is None else time.monotonic() + seconds
        stands_in = self.host is not None and self.root not in _standing
        if stands_in:
            _standing[self.root] = _threads.desk = self
        try:
            while not answer.done:
                item = self._next(deadline)
                if hasattr(item, "serve"):
                    if item.call.root == self.root and item.call.depth > self.depth:
                        item.serve()
                    else:
                        self.later.append(item)
        finally:
            if stands_in:
                del _standing[self.root], _threads.desk

    def _next(self, deadline: Optional[float]) -> Any:
        turn = self.turn
        if turn is not None:
            self.turn = None
            turn.release()
        try:
            return self.mail.get(timeout=None if deadline is None else max(0.0, deadline - time.monotonic()))
        except Empty:
            raise TimeoutError("no answer came in time") from None
        finally:
            if turn is not None:
                turn.acquire()
                self.turn = turn


#: Names this process in the roots of its calls; a child of it has another.
PROCESS = os.urandom(8)

_threads = threading.local()
_by_root: weakref.WeakValueDictionary[bytes, Desk] = weakref.WeakValueDictionary()
_standing: Dict[bytes, Desk] = {}  # by root: stand-ins that wait


def here() -> Desk:
    """The desk of this thread.

    A thread that is not Python's own is torch's, which runs the hooks of gradients in one. It stands in for the thread
    that waits for these gradients.
    """
    desk: Optional[Desk] = getattr(_threads, "desk", None)
    if desk is not None:
        return desk
    is_ours = not isinstance(threading.current_thread(), threading._DummyThread)
    if gradients.host is not None and not is_ours:
        return _stand_in(gradients.host)
    desk = getattr(_threads, "own", None) or Desk()
    _by_root[desk.root] = desk
    setattr(_threads, "desk" if is_ours else "own", desk)
    return desk


def _stand_in(host: Desk) -> Desk:
    desk: Optional[Desk] = getattr(_threads, "standing", None)
    if desk is None or (desk.host, desk.root, desk.depth) != (host, host.root, host.depth):
        desk = _threads.standing = Desk(host)
    desk.turn = host.turn
    return desk


#: Seconds that a call waits for another's gradients. Two that wait for each other, at two workers, are told apart by
#: their roots: one has to give up early, and then the other goes on.
GRADIENTS_EARLY, GRADIENTS_LATE = 20.0, 50.0


class Gradients:
    """torch's one thread for gradients, which threads use one after the other: its hooks may wait for other workers."""

    def __init__(self) -> None:
        self.host: Optional[Desk] = None
        self._lock = threading.Lock()

    def __call__(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """A function that has torch's thread work, so that here is known for whom."""

        def lent(*args: Any, **kwargs: Any) -> Any:
            if isinstance(threading.current_thread(), threading._DummyThread):
                return work(*args, **kwargs)  # it is that thread
            desk = here()
            self._acquire(desk)
            self.host = desk
            try:
                return work(*args, **kwargs)
            finally:
                self.host = None
                self._lock.release()

        return lent

    def _acquire(self, desk: Desk) -> None:
        """A turn is not kept while one waits for another's gradients, which may need it. Raises: TimeoutError."""
        if self._lock.acquire(blocking=False):
            return
        host = self.host
        seconds = GRADIENTS_EARLY if host is None or desk.root <= host.root else GRADIENTS_LATE
        turn, desk.turn = desk.turn, None
        if turn is not None:
            turn.release()
        try:
            if not self._lock.acquire(timeout=seconds):
                raise TimeoutError(
                    f"gradients of another program took more than {seconds:g} s here, and torch 1.4 has one thread for"
                    " all: if the two go through the same workers in opposite directions, they wait for each other"
                )
        finally:
            if turn is not None:
                turn.acquire()
                desk.turn = turn


gradients = Gradients()


def forget() -> None:
    """In a child of this process: its calls are not those of the parent."""
    global PROCESS
    PROCESS = os.urandom(8)
    _threads.__dict__.clear()
    _by_root.clear()  # nobody sits at the parent's desks here
    _standing.clear()
    gradients.__init__()  # type: ignore[misc] # another thread of the parent may have had it


class Office:
    """The desks at which the tasks of one end are served: each conversation has one, in a thread of its own."""

    def __init__(self, name: str, begin: Callable[[], None] = lambda: None) -> None:
        """``begin``: what each of the threads does first."""
        self.name, self._begin = name, begin
        self.turn = threading.Lock()
        self._desks: Dict[Any, Desk] = {}  # by conversation
        self._serving: Dict[bytes, Desk] = {}  # by the root of what is served there

    def deliver(self, conversation: Any, task: Task) -> None:
        """Put a task on the desk that waits on behalf of the same call, or on that of its conversation."""
        call = task.call
        desk = _standing.get(call.root) or self._serving.get(call.root) or _by_root.get(call.root)
        if desk is None or call.depth <= desk.depth:
            desk = self._desks.get(conversation)
            if desk is None:
                desk = self._desks[conversation] = Desk()
                threading.Thread(target=self._work, args=(desk,), name=f"bridge {self.name}", daemon=True).start()
        before = desk.last()
        if before is not None and task.is_waited and before.talk is task.talk and before.call == task.call:
            before.is_followed = True
        desk.last = weakref.ref(task)
        desk.mail.put(task)

    def ended(self, conversation: Any) -> None:
        """Nothing more will come of a conversation."""
        desk = self._desks.pop(conversation, None)
        if desk is not None:
            desk.mail.put(None)

    def _work(self, desk: Desk) -> None:
        _threads.desk = desk
        self._begin()
        while True:
            item = desk.later.popleft() if desk.later else desk.mail.get()
            if item is None:
                return
            if hasattr(item, "serve"):
                item.serve()

    def serve(self, call: Call, work: Callable[[], Any], talk: Any = None) -> Any:
        """What ``work`` returns, at this thread's desk and in turn; ``talk``: by whom it was asked.

        Raises: what it raises.
        """
        desk = here()
        before = desk.root, desk.depth, desk.talk, desk.told
        outer = self._serving.get(call.root)
        takes = desk.turn is None
        if takes:
            self.turn.acquire()
            desk.turn = self.turn
        desk.root, desk.depth, desk.talk, desk.told = call.root, call.depth, talk, {}
        self._serving[call.root] = desk
        try:
            return work()
        finally:
            desk.root, desk.depth, desk.talk, desk.told = before
            if outer is None:
                del self._serving[call.root]
            else:
                self._serving[call.root] = outer
            if takes:
                desk.turn = None
                self.turn.release()
