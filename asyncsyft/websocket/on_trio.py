"""The websocket on trio: a raw socket, one task that reads and one that writes, TLS by ``ssl.MemoryBIO``.

It knows no frames and no HTTP; those are in ``core`` and ``handshake``.
"""

from __future__ import annotations

import socket
import ssl
from collections import deque
from contextlib import suppress
from typing import Deque, Optional, Union, cast

import trio
from trio.lowlevel import wait_readable, wait_writable

from asyncsyft.transport import Buffer, End
from asyncsyft.websocket.core import ENDED, LINGER, WebSocket
from asyncsyft.websocket.shells import send_some

#: Reads without a pause, from a sender that is always ahead, before others get their turn.
READS_IN_A_ROW = 8
#: What is read from the socket at once under TLS, and how much ciphertext may wait to be sent.
CIPHERTEXT = 64 * 1024

__all__ = ["TrioWebSocket", "open_stream", "wait_readable", "wait_writable"]


async def open_stream(
    sock: socket.socket, *, context: Optional[ssl.SSLContext], hostname: Optional[str], max_message: int
) -> TrioWebSocket:
    """A connected socket as a stream, after its TLS handshake; ``hostname`` is the server's, None at the server.

    Raises: OSError (``ssl.SSLError`` is one).
    """
    road: Union[Clear, Encrypted] = Clear(sock)
    if context is not None:
        road = Encrypted(sock, context, hostname)
        await road.shake_hands()
    return TrioWebSocket(road, sock, client=hostname is not None, max_message=max_message)


class Clear:
    """TCP as it is."""

    #: True if one read that does not fill its buffer has emptied the socket.
    reads_all = True
    #: True while TLS cannot send before it has read.
    wants_read = False

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.read = sock.recv_into  # raises BlockingIOError when there is nothing, returns 0 at the end

    def send(self, outbox: Deque[Buffer]) -> bool:
        """As ``shells.send_some``."""
        return send_some(self._sock, outbox)

    def finish(self) -> None:
        """Say, as far as this road can, that nothing follows."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)


class Encrypted:
    """TLS over TCP, driven through memory, so that reading and writing never wait for each other."""

    reads_all = False
    wants_read = False

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, hostname: Optional[str]) -> None:
        self._clear = Clear(sock)
        self._sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=hostname is None, server_hostname=hostname
        )
        self._buffer = memoryview(bytearray(CIPHERTEXT))
        self._unsent: Deque[Buffer] = deque()

    async def shake_hands(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await self._send_ciphertext()
                await wait_readable(self._sock)
                self._take()
            except ssl.SSLError:
                await self._send_ciphertext()  # the alert says why
                raise
        await self._send_ciphertext()

    async def _send_ciphertext(self) -> None:
        while not self._push():
            await wait_writable(self._sock)

    def _push(self) -> bool:
        if self._outgoing.pending:
            self._unsent.append(self._outgoing.read())
        return self._clear.send(self._unsent)

    def _take(self) -> None:
        """Read ciphertext from the socket. Raises: BlockingIOError when there is none."""
        count = self._sock.recv_into(self._buffer)
        if count:
            self._incoming.write(self._buffer[:count])
        else:
            self._incoming.write_eof()

    def read(self, room: memoryview) -> int:
        while True:
            try:
                return cast(int, self._tls.read(len(room), room))
            except ssl.SSLWantReadError:
                self._push()  # what TLS itself has to say
                self._take()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return 0

    def send(self, outbox: Deque[Buffer]) -> bool:
        while self._push():
            if not outbox:
                return True
            piece = memoryview(outbox[0])
            try:
                sent = self._tls.write(piece[:CIPHERTEXT])
            except ssl.SSLWantReadError:
                self.wants_read = True
                return False
            self.wants_read = False
            if sent == len(piece):
                outbox.popleft()
            else:
                outbox[0] = piece[sent:]
        return False

    def finish(self) -> None:
        with suppress(OSError):  # it wants the other end's answer, which nobody waits for
            self._tls.unwrap()
        with suppress(OSError):
            self._push()
        self._clear.finish()


class TrioWebSocket(WebSocket):
    """First a stream of bytes (``receive``, ``send``) for the handshake; then, by ``run``, a transport."""

    def __init__(self, road: Union[Clear, Encrypted], sock: socket.socket, *, client: bool, max_message: int) -> None:
        super().__init__(client=client, max_message=max_message)
        self._road = road
        self._sock = sock
        self._early = b""
        self._parked: Optional[trio.lowlevel.Task] = None  # the writer, when it has nothing to do
        self._scope = trio.CancelScope()
        self._held_until = 0.0  # nothing is read before

    # The stream of the handshake.

    async def receive(self) -> bytes:
        """Some bytes, b"" at the end of the stream."""
        if self._early:
            early, self._early = self._early, b""
            return early
        room = self._decoder.room()
        while True:
            try:
                return bytes(room[: self._road.read(room)])
            except BlockingIOError:
                await wait_readable(self._sock)

    async def send(self, data: bytes) -> None:
        outbox: Deque[Buffer] = deque([data])
        while not self._road.send(outbox):
            await wait_writable(self._sock)

    def unread(self, data: bytes) -> None:
        """Bytes that came after the handshake belong to the frames."""
        self._early = data + self._early

    async def finish(self) -> None:
        """Close after what was sent, without a websocket's goodbyes; waits a little for the other end to read it."""
        self._road.finish()
        with trio.move_on_after(LINGER), suppress(OSError):
            while await self.receive():
                pass
        self._end_road()

    # What the core asks for.

    def _flush(self) -> bool:
        try:
            return self._road.send(self._outbox)
        except OSError as error:
            self._lost(error)
            return False

    def _schedule(self) -> None:
        if self._parked is not None:
            parked, self._parked = self._parked, None
            trio.lowlevel.reschedule(parked)

    def _arm(self, seconds: float) -> None:
        self._scope.deadline = trio.current_time() + seconds

    def hold(self, seconds: float) -> None:
        self._held_until = trio.current_time() + seconds

    def _hang_up(self) -> None:
        self._road.finish()
        self._end_road()

    def _say_no_more(self) -> None:
        self._road.finish()

    def _drop(self) -> None:
        self._scope.cancel()
        if self._end is None:
            self._sock.close()

    async def run(self, end: End) -> None:
        self._begin(end)
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    if self._state != ENDED:
                        early, self._early = self._early, b""
                        self._feed(early)
                        nursery.start_soon(self._write_all)
                        await self._read_all()
            if self._scope.cancelled_caught:
                self._late()
        finally:
            self._end_road()
            self._sock.close()
        if self._outcome is not None:
            raise self._outcome

    async def _write_all(self) -> None:
        while True:
            self.pump()
            if self._stuck and not self._road.wants_read:
                await wait_writable(self._sock)
            elif self._awake:
                await trio.lowlevel.checkpoint()
            else:
                await self._park()

    async def _park(self) -> None:
        self._parked = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            self._parked = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    async def _rest(self) -> None:
        """Until there is something to read, or for one turn of the loop."""
        if self._vigil.stays():
            await trio.lowlevel.checkpoint()
        else:
            await wait_readable(self._sock)

    async def _read_all(self) -> None:
        """Until the road ends."""
        room, read, reads_all = self._decoder.room, self._road.read, self._road.reads_all
        in_a_row = 0
        while self._state != ENDED:
            if self._held_until:
                await trio.sleep_until(self._held_until)
                self._held_until = 0.0
            space = room()
            try:
                count = read(space)
            except BlockingIOError:
                in_a_row = 0
                if self._stuck:
                    self._schedule()  # TLS may have waited for what we read
                await self._rest()
                continue
            except OSError as error:
                self._lost(error)
                return
            if not count:
                self._lost(None)
                return
            self._received(count)
            in_a_row += 1
            if reads_all and count < len(space):
                in_a_row = 0
                await self._rest()
            elif in_a_row >= READS_IN_A_ROW:
                in_a_row = 0
                await trio.lowlevel.checkpoint()
