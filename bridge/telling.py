"""What a worker is told: messages that nobody waits for travel together, as many as there are when the loop has time.

Threads put messages into a sheaf until the loop binds it, which makes it one request of the conversation.
"""

from __future__ import annotations

import os
import threading
from typing import Any, Callable, Dict, List, Optional, Tuple

from asyncsyft.errors import AsyncSyftError, by_code
from asyncsyft.protocol import Conversation, Request
from asyncsyft.wire import Failure

from .desks import Desk
from .loop import Loop
from .messages import Call, Message, Packed
from .service import Leaving

#: Messages of one sheaf, and their bytes, beyond which there is another.
MOST, FULL = 128, 1 << 16

#: One for all, since finalizers run anywhere: two threads could each have one lock and want that of the other.
_lock = threading.RLock()


class Sheaf(Request):
    """Messages that nobody waits for; whoever waits for all of them later adds a desk to ``later``, then looks."""

    def __init__(self, call: Call, problems: List[Any], telling: Telling) -> None:
        """``problems``: where to put what goes wrong."""
        self.call, self._problems, self._telling = call, problems, telling
        self.later: List[Desk] = []
        self.done = False
        self._messages: List[Tuple[Message, Optional[str]]] = []
        self._size = 0
        self._bound = False
        self._operations: List[Optional[str]] = []
        self._wrong: Dict[int, Any] = {}
        self._error: Optional[Exception] = None

    def put(self, message: Message, operation: Optional[str]) -> bool:
        """Add a message, unless it is too late."""
        if self._bound:
            return False
        self._messages.append((message, operation))
        self._size += len(message)
        for array in message.tensors:
            self._size += array.nbytes
        self._bound = len(self._messages) >= MOST or self._size >= FULL
        return True

    def leave(self, talk: Conversation) -> Optional[Leaving]:
        """In the loop's turn: have it leave as it is now. What is returned has it sent."""
        with _lock:
            self._bound = True
        messages, self._messages = self._messages, []
        self._operations = [operation for _, operation in messages]
        try:
            packed = Packed(self.call).told([(message, operation is not None) for message, operation in messages])
            self.chunks = packed.chunked
            talk.ask(self, packed.steps, packed.body, self.call.depth - 1)
        except (AsyncSyftError, ValueError, TypeError) as error:
            self._error = error
            self.settled()
            return None
        return Leaving(talk)

    # As a request.

    def wants(self, step: int) -> bool:
        return 0 <= step < len(self._operations) and step not in self._wrong

    def value(self, step: int, value: Any) -> None:
        self._wrong[step] = value

    def failed(self, failure: Failure) -> None:
        self._error = by_code(failure.code)(failure.message, kind=failure.kind or None)

    def lost(self, error: AsyncSyftError) -> None:
        self._error = error
        self.settled()

    def settled(self) -> None:
        if self._error is not None and any(operation is not None for operation in self._operations):
            self._problems.append(self._error)
        for step in sorted(self._wrong):
            document = self._wrong[step]
            named = {**document, "operation": self._operations[step]} if type(document) is dict else None
            self._problems.append(named)
        self._telling.answered += len(self._operations)
        self._telling.under_way.pop(self, None)
        self.done = True
        for desk in self.later:
            desk.mail.put(self)


class Telling:
    """What goes to one worker, in its order."""

    def __init__(self, loop: Loop, talk: Conversation) -> None:
        self._loop, self._talk = loop, talk
        self.under_way: Dict[Sheaf, None] = {}
        self.told = self.answered = 0  # messages
        #: Into which the next message goes, while nothing else was queued after it.
        self._open: Optional[Sheaf] = None

    def tell(self, call: Call, message: Message, operation: Optional[str], problems: List[Any]) -> None:
        """Have a message leave soon; ``operation``: what it is, where ``problems`` is to hear what goes wrong.

        Raises: Stopped.
        """
        with _lock:
            self.told += 1
            sheaf = self._open
            if sheaf is not None and sheaf.call == call and sheaf.put(message, operation):
                return
            sheaf = Sheaf(call, problems, self)
            sheaf.put(message, operation)
            self._loop.queue(sheaf.leave, self._talk)  # first, since Ctrl-C may come between any two of these
            self.under_way[sheaf] = None
            self._open = sheaf
        self._loop.linger()

    def ask(self, work: Callable[..., Any], *args: Any) -> None:
        """Have ``work(talk, *args)`` done at once, after all that was told. Raises: Stopped."""
        with _lock:
            self._open = None
            self._loop.queue(work, self._talk, *args)
        self._loop.hurry()


def _forget() -> None:
    """In a child of this process: another thread of the parent may have had it."""
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_forget)
