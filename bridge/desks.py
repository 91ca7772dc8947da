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

    def serve(self) -> None:
        """Do it and answer; raises nothing."""


class Answer(Protocol):
    """What a thread waits for; it is put on the desk when ``done`` is set."""

    done: bool


class Desk:
    """The desk of one thread."""

    def __init__(self) -> None:
        self.mail: SimpleQueue[Any] = SimpleQueue()
        self.root, self.depth = os.urandom(8), 0
        self.later: Deque[Task] = deque()
        self.turn: Optional[threading.Lock] = None  # while it is held here

    def wait(self, answer: Answer, seconds: Optional[float] = None) -> None:
        """Return when the answer is there; Ctrl-C interrupts. Raises: TimeoutError."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while not answer.done:
            item = self._next(deadline)
            if hasattr(item, "serve"):
                if item.call.root == self.root and item.call.depth > self.depth:
                    item.serve()
                else:
                    self.later.append(item)

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


_threads = threading.local()
_by_root: weakref.WeakValueDictionary[bytes, Desk] = weakref.WeakValueDictionary()


def here() -> Desk:
    """The desk of this thread."""
    desk: Optional[Desk] = getattr(_threads, "desk", None)
    if desk is None:
        desk = _threads.desk = Desk()
        _by_root[desk.root] = desk
    return desk


def forget() -> None:
    """In a child of this process: its calls are not those of the parent."""
    _threads.__dict__.clear()


class Office:
    """The desks at which the tasks of one end are served: each conversation has one, in a thread of its own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.turn = threading.Lock()
        self._desks: Dict[Any, Desk] = {}  # by conversation
        self._serving: Dict[bytes, Desk] = {}  # by the root of what is served there

    def deliver(self, conversation: Any, task: Task) -> None:
        """Put a task on the desk that waits on behalf of the same call, or on that of its conversation."""
        call = task.call
        desk = self._serving.get(call.root) or _by_root.get(call.root)
        if desk is None or call.depth <= desk.depth:
            desk = self._desks.get(conversation)
            if desk is None:
                desk = self._desks[conversation] = Desk()
                threading.Thread(target=self._work, args=(desk,), name=f"bridge {self.name}", daemon=True).start()
        desk.mail.put(task)

    def ended(self, conversation: Any) -> None:
        """Nothing more will come of a conversation."""
        desk = self._desks.pop(conversation, None)
        if desk is not None:
            desk.mail.put(None)

    def _work(self, desk: Desk) -> None:
        _threads.desk = desk
        while True:
            item = desk.later.popleft() if desk.later else desk.mail.get()
            if item is None:
                return
            if hasattr(item, "serve"):
                item.serve()

    def serve(self, call: Call, work: Callable[[], Any]) -> Any:
        """What ``work`` returns, at this thread's desk and in turn. Raises: what it raises."""
        desk = here()
        before = desk.root, desk.depth, self._serving.get(call.root)
        takes = desk.turn is None
        if takes:
            self.turn.acquire()
            desk.turn = self.turn
        desk.root, desk.depth = call.root, call.depth
        self._serving[call.root] = desk
        try:
            return work()
        finally:
            desk.root, desk.depth, outer = before
            if outer is None:
                del self._serving[call.root]
            else:
                self._serving[call.root] = outer
            if takes:
                desk.turn = None
                self.turn.release()
