"""A worker at the far end of a conversation, for the threads of this process: asked, or told without waiting.

What it is told is not ordered with what other workers ask of it. ``drain`` waits until all is done; ``drain_others``
before a worker is asked for what it may do elsewhere.
"""

from __future__ import annotations

import copy
import logging
import os
import weakref
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Callable, Deque, Dict, List, Optional, Sequence, Set

import syft as sy
import websocket as legacy
from syft.messaging.message import ForceObjectDeleteMessage

from asyncsyft.errors import LinkError
from asyncsyft.protocol import Conversation

from . import beside
from .desks import Desk, here
from .failures import rebuilt
from .loop import Stopped
from .messages import Call, Id, Message
from .pipelining import AHEAD, DELETE
from .service import Asked, ask
from .telling import Telling

if TYPE_CHECKING:
    from .ends import End

logger = logging.getLogger(__name__)

#: A message of no bytes: it asks where a worker is, and is no business of PySyft's.
EMPTY = Message()
#: Seconds that what was told may take, when somebody waits for it after all.
PATIENCE = 60.0
#: Seconds that it may take before a fork.
FORKING = 5.0
#: Objects that are deleted by one message, and seconds that they may wait for it.
TOGETHER, SOON = 32, 0.01


class Far:
    """``to``: whom it is for, where the far end of the conversation is to pass it on."""

    def __init__(self, end: End, talk: Conversation, url: str = "", to: Id = None) -> None:
        self.end, self.talk, self.url, self.to = end, talk, url, to
        self.users = 0
        #: Not in a process that was forked since.
        self.is_ours = True
        #: Ids of its objects that are, or hold, pointers to other workers.
        self.foreign: Set[Any] = set()
        #: Ids of objects that this process put there, and has not taken away.
        self.present: Set[Any] = set()
        #: What went wrong with messages that nobody waited for, until their thread is told; by its root.
        self._problems: Dict[bytes, List[Any]] = {}
        self._telling = Telling(end.loop, talk)
        #: Ids of objects that nobody needs any more, until they are deleted together; whoever gives one of these ids
        #: to an object again calls ``delete_doomed`` before.
        self.doomed: Deque[Any] = deque()
        _all.add(self)

    @property
    def is_open(self) -> bool:
        """Whether messages may be sent: not after its link ended, nor in a process that was forked since."""
        return self.is_ours and self.talk.ended is None

    def ask(self, message: Message, seconds: Optional[float] = None) -> Message:
        """The answer to a message; what is large in it must not change meanwhile.

        Raises: what the worker raised, now or at a message before that nobody waited for;
        WebSocketConnectionClosedException when it is lost, WebSocketTimeoutException.
        """
        return self.finish(self.begin(message), seconds)

    def begin(self, message: Message) -> Asked:
        """Send a message whose answer this thread waits for by ``finish``."""
        self._raise_lost(here().root)
        self.delete_doomed()
        desk = here()
        asked = Asked(desk)
        self._hand_over(self._telling.ask, ask, asked, Call(desk.root, desk.depth + 1, self.to), message)
        return asked

    def finish(self, asked: Asked, seconds: Optional[float] = None) -> Message:
        """The answer to what was begun. Raises: as ``ask``."""
        desk = here()
        try:
            desk.wait(asked, seconds)
        except TimeoutError:
            raise legacy.WebSocketTimeoutException(f"no answer within {seconds:g} s") from None
        if asked.error is None and asked.problem is None:
            return asked.answer
        lost, problem = asked.error, asked.problem
        del asked  # an error holds this frame: what it names would stay, with the program's tensors
        try:
            raise _raisable(lost) if lost is not None else self._error(desk.root, problem)
        finally:
            del lost

    def _error(self, root: bytes, problem: Any) -> Exception:
        """What a problem is to be raised as: where an earlier one kept the worker from doing this, that one."""
        if type(problem) is not dict or not problem.get("earlier"):
            return rebuilt(problem)
        known = self._problems.pop(root, None) or [problem]
        first, *rest = [_raisable(earlier) if isinstance(earlier, Exception) else rebuilt(earlier) for earlier in known]
        for error in rest:
            logger.warning("failed as well, perhaps because of it: %s", error)
        return first

    def tell(self, message: Message, operation: str) -> bool:
        """Send a message whose answer nobody waits for; from any thread, even a finalizer.

        False, and nothing is sent, when it is time to wait for one: too many are on their way.
        """
        if self._telling.told - self._telling.answered >= AHEAD and operation != DELETE:
            return False
        desk = here()
        call = Call(desk.root, desk.depth + 1, self.to)
        # A delete that fails is no news: its worker is gone, and PySyft's own finalizers would keep it to themselves.
        named = operation if operation != DELETE else None
        self._hand_over(self._telling.tell, call, message, named, self._problems.setdefault(desk.root, []))
        if desk.talk is not None:
            desk.told[self] = None
        return True

    def delete_later(self, ids: Sequence[Any]) -> bool:
        """Delete objects together with others: before the next message that is waited for, and soon in any case.

        From any thread, even a finalizer. False, and nothing is done, while this thread serves somebody, who is told
        that all is done when it is. Raises: WebSocketConnectionClosedException.
        """
        if here().talk is not None:
            return False
        self.present.difference_update(ids)
        is_first = not self.doomed
        self.doomed.extend(ids)
        if is_first:
            self._hand_over(self.end.loop.post_soon, self._delete_soon)
        elif len(self.doomed) >= TOGETHER:
            self.delete_doomed()
        return True

    def _delete_soon(self) -> None:
        self.end.loop.call_later(SOON, self._delete_if_open)

    def _delete_if_open(self) -> None:
        if self.is_open:
            self.delete_doomed()

    def delete_doomed(self) -> None:
        """Delete now what was to be deleted later: after all that was posted so far."""
        ids: List[Any] = []
        with suppress(IndexError):  # another thread may be at it too
            while self.doomed:
                ids.append(self.doomed.popleft())
        if ids:
            self.tell(beside.write(ForceObjectDeleteMessage(ids), sy.local_worker), DELETE)

    def _hand_over(self, how: Callable[..., None], *args: Any) -> None:
        self._check_open()
        try:
            how(*args)
        except Stopped as error:
            raise legacy.WebSocketConnectionClosedException(str(error)) from error

    def _check_open(self) -> None:
        if not self.is_open:
            raise legacy.WebSocketConnectionClosedException(f"the link is closed: {self.talk.ended}")

    def drain(self) -> None:
        """Return when all that was told is done. Raises: what went wrong with what this thread told."""
        desk = here()
        _dirty.discard(self)
        if not self.is_open:
            if desk.talk is not None:  # its answer would say that all went well; a program is told when it asks again
                self._raise_lost(desk.root)
            return
        self.delete_doomed()
        told = self._problems.get(desk.root)
        try:
            self._await_told(desk, PATIENCE)
        except TimeoutError:
            raise legacy.WebSocketTimeoutException(f"{self.talk.name} is late with what it was told") from None
        self._raise_lost(desk.root)
        if told:
            self.ask(EMPTY)  # the worker is to know that its first problem is known
        elif desk.talk is not None:
            self._problems.pop(desk.root, None)

    def _await_told(self, desk: Desk, seconds: float) -> None:
        for sheaf in list(self._telling.under_way):
            if desk.talk is None or sheaf.call.root == desk.root:  # a worker's threads serve clients that know no other
                sheaf.later.append(desk)
                if not sheaf.done:
                    self.end.loop.hurry()
                    desk.wait(sheaf, seconds)

    def settle(self) -> None:
        """Return when all that was told is done, or will not be in time."""
        if self.is_open and not self.end.loop.is_here:
            self.delete_doomed()
            with suppress(TimeoutError):
                self._await_told(here(), FORKING)

    def _raise_lost(self, root: bytes) -> None:
        """Raise why something did not even get there that this thread told the worker, if so."""
        told = self._problems.get(root)
        if told and isinstance(told[0], Exception):
            raise _raisable(self._problems.pop(root)[0])

    def drain_others(self, only_dirty: bool = False) -> None:
        """Return when all that other workers were told is done: this one may ask them for what is not ordered with it.

        Raises: what went wrong with what this thread told them.
        """
        if not only_dirty or _dirty:
            for far in list(_dirty if only_dirty else _all):
                if far is not self:
                    far.drain()

    def soil(self) -> None:
        """It was told what it may pass on to other workers: before they are asked, or told, that must be done."""
        _dirty.add(self)

    def close(self) -> None:
        """One of its users needs it no more; with the last one the link ends."""
        self.users -= 1
        if not self.users and self.is_open:
            self.end.part_with(self)
            self._forget_problems()

    def _forget_problems(self) -> None:
        """The program ended the link: other workers' calls are not to raise what went wrong here."""
        problems = [problem for told in list(self._problems.values()) for problem in told]
        self._problems.clear()
        for problem in problems:
            if not isinstance(problem, Exception):  # that something did not get there any more is no news
                logger.warning("failed at a worker that is closed now: %s", rebuilt(problem))


def _raisable(error: Exception) -> Exception:
    """What is raised in the place of an error that is kept: what is raised keeps frames alive, and what these hold."""
    if isinstance(error, LinkError):
        return legacy.WebSocketConnectionClosedException(str(error))
    return copy.copy(error)


_all: weakref.WeakSet[Far] = weakref.WeakSet()
_dirty: Set[Far] = set()


def _settle() -> None:
    """Before a fork: the child has links of its own, and what it asks for by these is to be there already."""
    for far in list(_all):
        far.settle()


def _forget() -> None:
    """In a child of this process: the links are the parent's."""
    for far in list(_all):
        far.is_ours = False


os.register_at_fork(before=_settle, after_in_child=_forget)
