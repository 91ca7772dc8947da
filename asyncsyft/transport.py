"""What a transport is: it carries whole binary messages between two ends.

It knows no frames, no requests and no peers. The end that uses it is *pulled*: when the transport can send, it asks for
the next message, so that batches make themselves and nothing is queued twice.
"""

from __future__ import annotations

from collections import deque
from typing import Deque, List, Optional, Protocol, Sequence, Tuple, Union

import anyio
import anyio.lowlevel

from asyncsyft.errors import LinkClosed, RemoteProtocolError

Buffer = Union[bytes, bytearray, memoryview]


class End(Protocol):
    """Who uses a transport (a link): asked for messages to send, told of messages that came."""

    def pull(self) -> Optional[Sequence[Buffer]]:
        """The pieces of the next message to send, in order, or None when there is nothing.

        Bytes, or contiguous views of bytes; what they hold must not change until it is sent.
        """

    def receive(self, message: memoryview) -> None:
        """Take one whole binary message; the view is valid (and may be written to) only during the call.

        Raises: RemoteProtocolError, upon which the transport closes and ``run`` raises it.
        """


class Transport(Protocol):
    """One live road for binary messages; see ``websocket`` and ``memory_pair``."""

    #: Who is there, for people: "127.0.0.1:40222", "memory".
    remote: str
    #: True if the other end is on this machine (loopback or memory).
    is_local: bool
    #: Totals since it opened: bytes on the wire (framing included) and websocket messages.
    bytes_sent: int
    bytes_received: int
    messages_sent: int
    messages_received: int

    async def run(self, end: End) -> None:
        """Carry messages both ways until the transport ends; called once.

        Returns after a clean close by either side. Raises: LinkClosed when the road broke, RemoteProtocolError when the
        other end broke the rules. Cancelling it aborts the transport.
        """

    def wake(self) -> None:
        """Say that ``pull`` may have something; cheap, and may be called at each step."""

    def pump(self) -> None:
        """Send at once what can be sent without waiting (a caller that never yields to the loop calls this)."""

    def hold(self, seconds: float) -> None:
        """Read nothing for so long, beside what was read already: who sends faster than it may has to wait."""

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Start to close once everything that ``pull`` still gives has been sent; does not wait; idempotent.

        A code other than 1000 or 1001 makes the other end's ``run`` raise LinkClosed with the code and the reason.
        Raises: ValueError for a code that may not be sent.
        """

    def abort(self) -> None:
        """Drop the road at once; ``run`` then raises LinkClosed; idempotent."""


def total(pieces: Sequence[Buffer]) -> int:
    """Bytes in a list of pieces."""
    return sum(len(piece) for piece in pieces)


def check_close_code(code: int) -> None:
    """Raises: ValueError for a close code that RFC 6455 (7.4) keeps off the wire."""
    if not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        raise ValueError(f"close code {code} may not be sent")


#: What the memory pair holds in flight each way before the sender waits: as much as a websocket's write buffer.
IN_FLIGHT = 256 * 1024
#: What a message in flight counts beside its bytes, so that empty ones are bounded too.
OVERHEAD = 64
#: Messages delivered in one turn of the loop, so that a busy pair leaves room for everyone else.
A_TURN = 64
#: Seconds for the other end to answer a close.
CLOSE_TIMEOUT = 2.0

_CLEAN = (1000, 1001)


class MemoryTransport:
    """One end of a pair in one process; what it sends waits at the other end until that one's ``run`` takes it."""

    remote = "memory"
    is_local = True
    peer: MemoryTransport

    def __init__(self) -> None:
        self.bytes_sent = self.bytes_received = 0
        self.messages_sent = self.messages_received = 0
        self._inbox: Deque[bytearray] = deque()
        self._held = 0  # bytes in the inbox
        self._end: Optional[End] = None
        self._sleeping: Optional[anyio.Event] = None
        self._awake = False
        self._busy = False
        self._paused = False
        self._held_until = 0.0
        self._goodbye: Optional[Tuple[int, str]] = None  # close() was called
        self._said = False  # our close is with the peer
        self._heard: Optional[Tuple[int, str]] = None  # the peer's close, after the last of its messages
        self._over = False
        self._outcome: Optional[BaseException] = None

    def wake(self) -> None:
        if not self._awake:
            self._awake = True
            if self._sleeping is not None:
                self._sleeping.set()

    def pump(self) -> None:
        """Move what fits to the other end, which takes it when it runs."""
        if self._busy or self._end is None or self._over:
            return
        self._busy = True
        try:
            self._send(self._end)
        except Exception as error:  # noqa: BLE001 - a bug of the end: run() raises it
            self._break(error)
        finally:
            self._busy = False

    def _send(self, end: End) -> None:
        peer = self.peer
        sent = self.messages_sent
        while not self._said and peer._held < IN_FLIGHT:
            pieces = None if self._heard is not None else end.pull()
            if self._over:
                return
            if pieces is None:
                if self._goodbye is not None:
                    self._say(*self._goodbye)
                break
            message = bytearray().join(pieces)
            peer._inbox.append(message)
            peer._held += len(message) + OVERHEAD
            self.bytes_sent += len(message)
            self.messages_sent += 1
        if sent != self.messages_sent:
            peer.wake()

    def _say(self, code: int, reason: str) -> None:
        self._said = True
        self.peer._heard = (code, reason)
        self.peer.wake()

    def close(self, code: int = 1000, reason: str = "") -> None:
        check_close_code(code)
        if self._goodbye is None:
            self._goodbye = (code, reason)
            self.wake()

    def abort(self) -> None:
        self._break(LinkClosed("the link was aborted"))

    def _break(self, error: BaseException) -> None:
        """Drop the road: our run raises the error, the other end's that the road broke."""
        if not self._over:
            self._finish(error)
            self.peer._hang_up()

    def _finish(self, outcome: Optional[BaseException]) -> None:
        self._over = True
        self._outcome = self._outcome or outcome
        self._inbox.clear()
        self._held = 0
        self._awake = False
        self.wake()

    def _hang_up(self) -> None:
        if not self._over:
            self._finish(LinkClosed("the other end hung up without a close frame"))

    def hold(self, seconds: float) -> None:
        self._held_until = max(self._held_until, anyio.current_time() + seconds)

    def pause(self) -> None:
        """For tests: stop reading, as a peer that hangs."""
        self._paused = True

    def resume(self) -> None:
        """For tests: read again."""
        self._paused = False
        self.wake()

    async def run(self, end: End) -> None:
        if self._end is not None:
            raise RuntimeError("run() may be called once only")
        self._end = end
        self._awake = True
        try:
            while not self._over:
                await self._turn(end)
            await anyio.lowlevel.checkpoint()
        finally:
            self.abort()
        if self._outcome is not None:
            raise self._outcome

    async def _turn(self, end: End) -> None:
        if self._awake:
            await anyio.lowlevel.checkpoint()
        else:
            await self._sleep()
        self._awake = False
        self._deliver(end)
        self.pump()
        self._settle()

    async def _sleep(self) -> None:
        """Until there is something to do; while closing, for a bounded time."""
        self._sleeping = anyio.Event()
        sent = self.messages_sent
        try:
            if self._held_until:
                with anyio.move_on_after(self._held_until - anyio.current_time()):
                    await self._sleeping.wait()
                return
            if self._goodbye is None:
                await self._sleeping.wait()
                return
            with anyio.move_on_after(CLOSE_TIMEOUT):
                await self._sleeping.wait()
                return
        finally:
            self._sleeping = None
        if sent == self.messages_sent:
            self._break(LinkClosed(f"memory did not answer the close within {CLOSE_TIMEOUT:g} s"))

    def _deliver(self, end: End) -> None:
        """Give the end what has arrived, at most ``A_TURN`` messages."""
        inbox = self._inbox
        if self._held_until:
            if anyio.current_time() < self._held_until:
                return
            self._held_until = 0.0
        was_full = self._held >= IN_FLIGHT
        try:
            for _ in range(A_TURN):
                if not inbox or self._paused or self._over or self._held_until:
                    break
                message = inbox.popleft()
                self._held -= len(message) + OVERHEAD
                self.bytes_received += len(message)
                self.messages_received += 1
                end.receive(memoryview(message))
        except RemoteProtocolError as error:
            self._refuse(error)
        except Exception as error:  # noqa: BLE001 - a bug of the end: run() raises it
            self._break(error)
        if was_full and self._held < IN_FLIGHT:
            self.peer.wake()
        if inbox and not self._paused and not self._held_until:
            self.wake()

    def _refuse(self, error: RemoteProtocolError) -> None:
        """The peer broke the rules: tell it, and raise here."""
        self._say(1002, str(error))
        self._finish(error)

    def _settle(self) -> None:
        """Once the peer's close is heard, and all before it delivered: answer it, and end."""
        if self._heard is None or self._inbox or self._paused or self._over:
            return
        code, reason = self._heard
        answers_ours = self._said and self._goodbye is not None and code == self._goodbye[0]
        if not self._said:
            self._say(code, reason)
        closed = LinkClosed(f"memory closed the link: {code} {reason}".rstrip())
        self._finish(None if code in _CLEAN or answers_ours else closed)


def memory_pair() -> Tuple[MemoryTransport, MemoryTransport]:
    """Two ends of an in-memory transport, for one event loop."""
    one, other = MemoryTransport(), MemoryTransport()
    one.peer, other.peer = other, one
    return one, other


__all__: List[str] = ["Buffer", "End", "MemoryTransport", "Transport", "check_close_code", "memory_pair", "total"]
