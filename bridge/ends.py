"""This process's ends: the one from which its threads ask workers, and one for each worker that it serves.

An end is a loop in a thread, a peer in the loop, and the service of PySyft's messages on that peer.
"""

from __future__ import annotations

import atexit
import logging
import os
import ssl as tls
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import anyio
import websocket as legacy

from asyncsyft.errors import AsyncSyftError, LinkError
from asyncsyft.identity import Admission
from asyncsyft.peer import DRIVER, RESUME_GRACE, WORKER, Peer, vouch
from asyncsyft.protocol import Conversation
from asyncsyft.tensor import Array
from asyncsyft.transport import Transport
from asyncsyft.websocket import dial, listen

from .desks import forget, here
from .failures import rebuilt
from .loop import Loop, Stopped
from .messages import Call
from .pipelining import AHEAD, DELETE
from .service import Asked, Service, ask

logger = logging.getLogger(__name__)

#: Seconds between looks at what is still to leave when a link is closed.
QUIET = 0.002

Handle = Callable[[List[Array]], List[Array]]


class Far:
    """A worker at the far end of a link that this process dialled."""

    def __init__(self, end: End, url: str, talk: Conversation) -> None:
        self.end, self.url, self.talk = end, url, talk
        self.users = 0
        #: What went wrong with messages that nobody waited for, until their thread is told; by its root.
        self._problems: Dict[bytes, List[Any]] = {}
        self._ahead = 0

    @property
    def is_open(self) -> bool:
        """Whether messages may be sent: not after its link ended, nor in a process that was forked since."""
        return self.talk.ended is None and self.end is _asking

    def ask(self, buffers: Sequence[Array], seconds: Optional[float] = None) -> List[Array]:
        """The answer to a message; what is large in it must not change meanwhile.

        Raises: what the worker raised, now or at a message before that nobody waited for;
        WebSocketConnectionClosedException when it is lost, WebSocketTimeoutException.
        """
        desk = here()
        asked, self._ahead = Asked(desk), 0
        self._post(asked, Call(desk.root, desk.depth + 1, True), buffers)
        try:
            desk.wait(asked, seconds)
        except TimeoutError:
            raise legacy.WebSocketTimeoutException(f"no answer within {seconds:g} s") from None
        if isinstance(asked.error, LinkError):
            raise legacy.WebSocketConnectionClosedException(str(asked.error)) from asked.error
        if asked.error is not None:
            raise asked.error
        if asked.problem is not None:
            raise self._error(desk.root, asked.problem)
        return asked.buffers

    def _error(self, root: bytes, problem: Any) -> Exception:
        """What a problem is to be raised as: where an earlier one kept the worker from doing this, that one."""
        if type(problem) is not dict or not problem.get("earlier"):
            return rebuilt(problem)
        first, *rest = [rebuilt(earlier) for earlier in self._problems.pop(root, None) or [problem]]
        for error in rest:
            logger.warning("failed as well, perhaps because of it: %s", error)
        return first

    def tell(self, buffers: Sequence[Array], operation: str) -> bool:
        """Send a message whose answer nobody waits for; from any thread, even a finalizer.

        False, and nothing is sent, when it is time to wait for one: too many are on their way.
        """
        if self._ahead >= AHEAD and operation != DELETE:
            return False
        self._ahead += 1
        desk = here()
        told = self._problems.get(desk.root)
        if told is None:
            told = self._problems[desk.root] = []
        self._post(Asked(None, operation, told), Call(desk.root, desk.depth + 1, False), buffers)
        return True

    def _post(self, asked: Asked, call: Call, buffers: Sequence[Array]) -> None:
        if not self.is_open:
            raise legacy.WebSocketConnectionClosedException(f"the link is closed: {self.talk.ended}")
        try:
            self.end.loop.post(ask, self.talk, asked, call, buffers)
        except Stopped as error:
            raise legacy.WebSocketConnectionClosedException(str(error)) from error

    def close(self) -> None:
        """One of its users needs it no more; with the last one the link ends."""
        self.users -= 1
        if not self.users and self.is_open:
            self.end.part_with(self)


class End:
    """One peer, in a loop of its own."""

    def __init__(self, name: str, role: str, handle: Handle, grace: float) -> None:
        self.loop = Loop()
        self.service = Service(name, handle, self.loop.post)
        self._fars: Dict[str, Far] = {}  # by URL
        self.peer = Peer(name, role, server=self.service, can={"level": 0}, resume_grace=grace)
        self.peer.conversations.on_ended = self.service.ended
        self.loop.run(self._open)

    async def _open(self) -> None:
        self.peer.start(self.loop.tasks)

    def stop(self) -> None:
        """Say goodbye and end."""
        self.loop.stop(self._close)

    async def _close(self) -> None:
        with anyio.move_on_after(1):
            await self.peer.quiet()
        self.peer.close()
        with anyio.move_on_after(1):
            await self.peer.drained()

    def dial(self, url: str, ssl: Optional[tls.SSLContext]) -> Far:
        """The worker that listens there, linked to by whoever asks first.

        Raises: ConnectionRefusedError, WebSocketTimeoutException, AsyncSyftError.
        """
        far = self._fars.get(url)
        if far is None or not far.is_open:
            try:
                far = self._fars[url] = Far(self, url, self.loop.run(self._dial, url, ssl))
            except LinkError as error:
                raise ConnectionRefusedError(str(error)) from error
            except TimeoutError as error:
                raise legacy.WebSocketTimeoutException(str(error)) from error
        far.users += 1
        return far

    async def _dial(self, url: str, ssl: Optional[tls.SSLContext]) -> Conversation:
        road = await self.peer.join(await dial(url, ssl=ssl))
        assert road.far is not None
        return self.peer.converse(road, road.far)

    def part_with(self, far: Far) -> None:
        """End a link, once what was asked before has left."""
        if self._fars.get(far.url) is far:
            del self._fars[far.url]
        self.loop.run(self._part_with, far.talk)

    async def _part_with(self, talk: Conversation) -> None:
        while talk.owes and talk.ended is None:  # noqa: ASYNC110
            await anyio.sleep(QUIET)
        road = self.peer.conversations.roads.get(talk)
        self.peer.conversations.leave(talk, LinkError("closed here"))
        if road is not None:
            road.link.close(1000, "")

    def listen(self, host: str, port: int, ssl: Optional[tls.SSLContext]) -> Tuple[str, int]:
        """Let clients dial this end; the address and the port. Raises: OSError."""
        admission = Admission(insecure=True)  # as PySyft's own: who reaches the port may come in

        async def accept(transport: Transport, headers: Mapping[str, str]) -> None:
            await self.peer.accept(transport, lambda hello, challenge, way: vouch(hello, challenge, admission, way))

        async def serve(*, task_status: Any) -> None:
            async with listen(host, port, accept, ssl=ssl) as listener:
                task_status.started((listener.address, listener.port))
                await anyio.sleep_forever()

        async def start() -> Tuple[str, int]:
            where: Tuple[str, int] = await self.loop.tasks.start(serve)
            return where

        try:
            found: Tuple[str, int] = self.loop.run(start)
        except AsyncSyftError as error:
            raise OSError(str(error)) from error
        return found


_asking: Optional[End] = None


def asking(handle: Handle) -> End:
    """The end from which this process asks; made when first needed. ``handle`` serves what workers ask of it."""
    global _asking
    if _asking is None:
        # A link that ends is not dialled again: a dead worker fails at once.
        _asking = End(f"pysyft-{os.urandom(4).hex()}", DRIVER, handle, 0)
        atexit.register(_asking.stop)
    return _asking


def serving(name: str, handle: Handle) -> End:
    """An end of a worker."""
    return End(name, WORKER, handle, RESUME_GRACE)


def leave() -> None:
    """Close the end from which this process asks, and all its links."""
    global _asking
    end, _asking = _asking, None
    if end is not None:
        atexit.unregister(end.stop)
        end.stop()


def _forget() -> None:
    """In a child of this process: the thread of the loop is not there, and its links are the parent's."""
    global _asking
    forget()
    if _asking is not None:
        atexit.unregister(_asking.stop)
        _asking = None


os.register_at_fork(after_in_child=_forget)
