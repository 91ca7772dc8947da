"""Listening: accepts connections, shakes hands with each in a task of its own, and hands over the good ones.

It knows nothing of what the transports will carry; hostile bytes cost the connection they came on.
"""

from __future__ import annotations

import errno
import logging
import socket
import ssl as tls
import time
from collections import OrderedDict
from types import TracebackType
from typing import Awaitable, Callable, Dict, List, Mapping, Optional, Tuple, Type

import anyio
from anyio.abc import TaskGroup

from asyncsyft.errors import AsyncSyftError
from asyncsyft.framing import MAX_MESSAGE
from asyncsyft.transport import Transport
from asyncsyft.websocket import shells
from asyncsyft.websocket.door import Caller, Door, TurnedAway
from asyncsyft.websocket.handshake import BadHead, ProcessRequest, answer

#: Seconds for TLS and the opening handshake together.
HANDSHAKE_TIMEOUT = 10.0
#: Connections that have not shaken hands yet; when one more comes, the oldest is dropped of the address that has most,
#: so that a crowd of silent ones cannot keep out those who speak.
MAX_HALF_OPEN = 256
#: Connections the system keeps for us until we accept them.
BACKLOG = 256
#: Seconds to wait when the process has no file descriptor left.
EXHAUSTED_PAUSE = 0.1

#: Called with a transport and the headers of its request; calls ``transport.run`` and returns when done with it.
Accept = Callable[[Transport, Mapping[str, str]], Awaitable[None]]

logger = logging.getLogger(__name__)


def listen(
    host: str,
    port: int,
    accept: Accept,
    *,
    ssl: Optional[tls.SSLContext] = None,
    process_request: Optional[ProcessRequest] = None,
    max_message: int = MAX_MESSAGE,
    door: Optional[Door] = None,
) -> Listener:
    """Serve websockets at ``host`` ("" for all interfaces) and ``port`` (0 for a free one) while entered.

    ``accept`` runs in a task for each connection that shook hands; leaving cancels those still running.
    ``process_request`` may answer a request with plain HTTP first; ``door`` then says who is let in. Raises, on
    entering: OSError.
    """
    return Listener(host, port, accept, ssl, process_request, max_message, door or Door())


class Listener:
    """An async context manager; within it ``address`` and ``port`` say where it listens."""

    address: str
    port: int

    def __init__(
        self,
        host: str,
        port: int,
        accept: Accept,
        context: Optional[tls.SSLContext],
        process_request: Optional[ProcessRequest],
        max_message: int,
        door: Door,
    ) -> None:
        self._where = (host, port)
        self._accept = accept
        self._context = context
        self._process_request = process_request
        self._max_message = max_message
        self._sockets: List[socket.socket] = []
        self._door = door
        self._half_open: Dict[str, OrderedDict[int, anyio.CancelScope]] = {}  # by address
        self._knocking = 0  # how many that are
        self._group: TaskGroup

    async def __aenter__(self) -> Listener:
        self._shell = shells.current()
        self._sockets = await _bind(*self._where)
        self.address, self.port = self._sockets[0].getsockname()[:2]
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        for sock in self._sockets:
            self._group.start_soon(self._accept_from, sock)
        return self

    async def __aexit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        # the body's own exception is not given to the group, which would wrap it
        self._group.cancel_scope.cancel()
        try:
            await self._group.__aexit__(None, None, None)
        finally:
            for sock in self._sockets:
                sock.close()

    async def _accept_from(self, listening: socket.socket) -> None:
        while True:
            try:
                connection = await shells.accept(listening)
            except OSError as error:
                if error.errno != errno.ECONNABORTED:  # that one is the caller's affair
                    logger.warning("cannot accept: %s", error)
                    await anyio.sleep(EXHAUSTED_PAUSE)
                continue
            self._group.start_soon(self._serve, connection)

    async def _serve(self, connection: socket.socket) -> None:
        """One connection, from its first byte to its last."""
        visit = Visit(self._door)
        try:
            opened = await self._shake_hands(connection, visit)
            if opened is not None:
                await self._attend(*opened)
        finally:
            visit.over()

    async def _attend(self, stream: shells.Stream, headers: Mapping[str, str]) -> None:
        try:
            await self._accept(stream, headers)
        except AsyncSyftError as error:
            logger.debug("%s: %s", stream.remote, error)
        except Exception:
            logger.exception("serving %s failed", stream.remote)
        finally:
            stream.abort()

    async def _shake_hands(
        self, connection: socket.socket, visit: Visit
    ) -> Optional[Tuple[shells.Stream, Mapping[str, str]]]:
        stream: Optional[shells.Stream] = None
        remote, host, done = "a caller", "", False
        try:
            with anyio.move_on_after(HANDSHAKE_TIMEOUT) as scope:
                shells.prepare(connection)
                host = visit.host = connection.getpeername()[0]
                self._enter(host, scope)
                remote, is_local = shells.describe(connection)
                stream = await self._shell.open_stream(
                    connection, context=self._context, hostname=None, max_message=self._max_message
                )
                stream.remote, stream.is_local = remote, is_local
                headers = await self._answer(stream, visit)
                done = headers is not None
                if headers is not None:
                    return stream, headers
            if scope.cancelled_caught:
                logger.info("%s did not shake hands in time", remote)
        except (OSError, EOFError) as error:
            logger.debug("%s did not shake hands: %s", remote, error)
        except Exception:  # a bug of ours, which is not to take the listener along
            logger.exception("shaking hands with %s failed", remote)
        finally:
            self._leave(host, scope)
            if not done:
                connection.close() if stream is None else stream.abort()
        return None

    def _enter(self, host: str, scope: anyio.CancelScope) -> None:
        self._half_open.setdefault(host, OrderedDict())[id(scope)] = scope
        self._knocking += 1
        if self._knocking > MAX_HALF_OPEN:
            crowd = max(self._half_open, key=lambda host: len(self._half_open[host]))
            oldest = next(iter(self._half_open[crowd].values()))
            self._leave(crowd, oldest)
            oldest.cancel()

    def _leave(self, host: str, scope: anyio.CancelScope) -> None:
        knocking = self._half_open.get(host)
        if knocking is not None and knocking.pop(id(scope), None) is not None:
            self._knocking -= 1
            if not knocking:
                del self._half_open[host]

    async def _answer(self, stream: shells.Stream, visit: Visit) -> Optional[Mapping[str, str]]:
        """The headers of a request that opened a websocket; any other is answered and closed."""
        try:
            reply = answer(
                await shells.read_head(stream), self._process_request, lambda headers: visit.knock(stream, headers)
            )
        except BadHead as error:
            reply = error.answer
        await stream.send(reply.data)
        if reply.headers is None:
            logger.debug("%s was answered with HTTP %s", stream.remote, reply.said)
            await stream.finish()
        return reply.headers


class Visit:
    """One connection at the door: who it is, and whether it was let in."""

    def __init__(self, door: Door) -> None:
        self._door, self.host = door, ""
        self._caller: Optional[Caller] = None

    def knock(self, stream: shells.Stream, headers: Mapping[str, str]) -> Optional[TurnedAway]:
        """As the handshake's ``admit``; the stream learns whom its proxy speaks for."""
        try:
            caller = self._door.caller(self.host, stream.is_local, headers)
        except ValueError:
            return TurnedAway(400, "X-Forwarded-For does not name an address", 0)
        refused = self._door.admit(caller, headers, time.monotonic())
        if refused is not None:
            logger.info("%s is not let in: %s", caller.address, refused.sentence)
            return refused
        self._caller = caller
        stream.is_local = caller.is_local
        if caller.is_proxied:
            stream.remote = f"{caller.address} by {stream.remote}"
        return None

    def over(self) -> None:
        """The connection is gone."""
        if self._caller is not None:
            self._door.left(self._caller)


async def _bind(host: str, port: int) -> List[socket.socket]:
    """Listening sockets on all addresses of the name, all on one port."""
    found = await anyio.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: List[socket.socket] = []
    try:
        for family, kind, protocol, _, where in dict.fromkeys(found):
            sock = socket.socket(family, kind, protocol)
            sockets.append(sock)
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((where[0], sockets[0].getsockname()[1] if len(sockets) > 1 else port, *where[2:]))
            sock.listen(BACKLOG)
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets
