"""The websocket on asyncio: a ``BufferedProtocol`` whose buffer is the frame decoder's, and no task a message.

It knows no frames and no HTTP; those are in ``core`` and ``handshake``.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from contextlib import contextmanager
from typing import Iterator, Optional, cast

import anyio

from asyncsyft.transport import End
from asyncsyft.waiting import turn_here
from asyncsyft.websocket.core import ENDED, HIGH_WATER, LINGER, WebSocket
from asyncsyft.websocket.shells import send_some

#: An asyncio transport up to Python 3.11 copies what it could not send: hand it no more than this at once.
CHUNK = 256 * 1024
#: What is handed to it only so that it says when the socket takes more.
REST = 64 * 1024


async def wait_readable(sock: socket.socket) -> None:
    """Wait until a socket that belongs to no asyncio transport can be read or accepted from.

    (``loop.sock_accept`` and ``sock_connect`` of Python 3.8 leave the descriptor registered when they are cancelled.)
    """
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(sock, _set, ready)
    try:
        await ready
    finally:
        loop.remove_reader(sock)


async def wait_writable(sock: socket.socket) -> None:
    """Wait until a socket that belongs to no asyncio transport is connected or can be written to."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_writer(sock, _set, ready)
    try:
        await ready
    finally:
        loop.remove_writer(sock)


@contextmanager
def _told_asyncio() -> Iterator[None]:
    """Within, callbacks are registered that call anyio: where sniffio is there, anyio asks it, which knows tasks only.

    Programs that ``anyio.run`` began have said so already; those of ``asyncio.run``, and notebooks, have not.
    """
    sniffio = sys.modules.get("sniffio")
    if sniffio is None:
        yield
        return
    library = sniffio.current_async_library_cvar
    token = library.set("asyncio")
    try:
        yield
    finally:
        library.reset(token)


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


async def open_stream(
    sock: socket.socket, *, context: Optional[ssl.SSLContext], hostname: Optional[str], max_message: int
) -> AsyncioWebSocket:
    """A connected socket as a stream, after its TLS handshake; ``hostname`` is the server's, None at the server.

    Raises: OSError (``ssl.SSLError`` is one).
    """
    loop = asyncio.get_running_loop()
    shell = AsyncioWebSocket(client=hostname is not None, max_message=max_message)
    if context is None and hasattr(sock, "sendmsg") and isinstance(loop, asyncio.SelectorEventLoop):
        shell.direct = sock
    with _told_asyncio():
        if hostname is None:
            await loop.connect_accepted_socket(lambda: shell, sock, ssl=context)
        else:
            await loop.create_connection(
                lambda: shell, sock=sock, ssl=context, server_hostname=hostname if context else None
            )
    return shell


class AsyncioWebSocket(WebSocket, asyncio.BufferedProtocol):
    """First a stream of bytes (``receive``, ``send``) for the handshake; then, by ``run``, a transport."""

    _transport: asyncio.Transport
    #: The socket, if what the loop's transport holds nothing of may be sent without it: several buffers at once, and
    #: nothing is copied that the socket does not take.
    direct: Optional[socket.socket] = None

    def __init__(self, *, client: bool, max_message: int) -> None:
        super().__init__(client=client, max_message=max_message)
        self._loop = asyncio.get_running_loop()
        self._loops_turn = turn_here()
        self._early = bytearray()  # what came before run()
        self._waiter: Optional[asyncio.Future[None]] = None
        self._gone = self._loop.create_future()
        self._hung = False  # the other end will send nothing more
        self._held = False  # the write buffer is above its high-water mark
        self._turning = False  # a _turn is scheduled
        self._watching = False  # so is a _watch
        self._timer: Optional[asyncio.TimerHandle] = None
        self._hold: Optional[asyncio.TimerHandle] = None  # nothing is read before

    # The stream of the handshake.

    async def receive(self) -> bytes:
        """Some bytes, b"" at the end of the stream."""
        if not self._early and not self._hung:
            self._transport.resume_reading()
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
                if not self._hung:
                    self._transport.pause_reading()
        data = bytes(self._early)
        self._early.clear()
        return data

    async def send(self, data: bytes) -> None:
        """Hand over a few KiB; what the other end does not read is dropped when the handshake's time is up."""
        self._transport.write(data)

    def unread(self, data: bytes) -> None:
        """Bytes that came after the handshake belong to the frames."""
        self._early[:0] = data

    async def finish(self) -> None:
        """Close after what was sent, without a websocket's goodbyes; waits a little for the other end to read it."""
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()
        with anyio.move_on_after(LINGER):
            while await self.receive():
                pass
        self._end_road()

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER if self.direct is None else 0)
        self._transport.pause_reading()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._decoder.room()

    def buffer_updated(self, nbytes: int) -> None:
        if self._end is not None:
            if self.direct is None:  # within TLS, of which tasks might ask more than it bears here
                self._received(nbytes)
            else:
                self._loops_turn.due = True
                try:
                    self._received(nbytes)
                finally:
                    self._loops_turn.run()
            if not self._watching:
                self._watch()
            return
        self._early += self._decoder.room()[:nbytes]
        self._notice()

    def _watch(self) -> None:
        self._watching = self._vigil.stays()
        if self._watching:
            self._loop.call_soon(self._watch)  # while calls are due, it looks at its sockets and does not sleep

    def eof_received(self) -> None:
        self._hung = True
        self._notice()
        if self._end is not None:
            self._lost(None)

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self._hung = True
        self._notice()
        for timer in (self._timer, self._hold):
            if timer is not None:
                timer.cancel()
        if self._end is not None:
            self._lost(exc)
        if not self._gone.done():
            self._gone.set_result(None)

    def pause_writing(self) -> None:
        self._held = True

    def resume_writing(self) -> None:
        self._held = False
        self._schedule()

    def _notice(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # What the core asks for.

    def _flush(self) -> bool:
        outbox, write = self._outbox, self._transport.write
        if self.direct is not None and outbox and not self._held:
            try:
                if send_some(self.direct, outbox):
                    return True
            except OSError:
                pass  # the loop's transport meets it again, and says so
        most = CHUNK if self.direct is None else REST
        while outbox and not self._held:
            piece = outbox.popleft()
            if len(piece) > most:
                rest = memoryview(piece)
                outbox.appendleft(rest[most:])
                piece = rest[:most]
            write(piece)
            if self._transport.is_closing():  # lost, and the loop is about to say so
                outbox.clear()
                return False
        return not self._held

    def _schedule(self) -> None:
        if not self._turning and not self._held:
            self._turning = True
            self._loops_turn.call(self._turn)

    def _turn(self) -> None:
        self._turning = False
        if self._awake or self._stuck:  # otherwise an earlier pump has sent it all
            self.pump()

    def _arm(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self._late)

    def hold(self, seconds: float) -> None:
        if self._hold is not None:
            self._hold.cancel()
        self._transport.pause_reading()
        self._hold = self._loop.call_later(seconds, self._transport.resume_reading)

    # asyncio's TLS must not be closed from within its own callbacks

    def _hang_up(self) -> None:
        self._loop.call_soon(self._transport.close)

    def _say_no_more(self) -> None:
        if self._transport.can_write_eof():  # not with TLS, whose other end hangs up first, or is cut in time
            self._transport.write_eof()

    def _drop(self) -> None:
        if self._busy:
            self._loop.call_soon(self._transport.abort)
        else:
            self._transport.abort()

    def _start(self) -> None:
        early, self._early = bytes(self._early), bytearray()
        self._feed(early)
        if self._hung:
            self._lost(None)
        else:
            self._transport.resume_reading()
            self.pump()

    async def run(self, end: End) -> None:
        self._begin(end)
        try:
            if self._state != ENDED:
                with _told_asyncio():
                    self._start()
            await asyncio.shield(self._gone)
        finally:
            self._end_road()
            with anyio.CancelScope(shield=True):
                await self._gone  # the loop tells a turn later; nothing is left behind
        if self._outcome is not None:
            raise self._outcome
