"""What the websocket transports of both event loops share: batches, control frames, closing, counters.

It knows no socket and no event loop: a shell gives it what arrived and takes what is to be sent.
"""

from __future__ import annotations

from collections import deque
from typing import Deque, List, Optional

from asyncsyft import framing
from asyncsyft.errors import LinkClosed, RemoteProtocolError
from asyncsyft.framing import BINARY, CLOSE, PING, BadFrame, Decoder, Encoder
from asyncsyft.transport import Buffer, End, check_close_code
from asyncsyft.websocket.vigil import Vigil

#: Small messages are joined into one write up to here; beyond it throughput falls (facts: 64 KiB).
COALESCE = 64 * 1024
#: Pieces of this size are sent from where they lie rather than copied into a batch.
APART = 128 * 1024
#: A transport that holds this many bytes unsent stops pulling.
HIGH_WATER = 256 * 1024
#: At most this much is sent in one turn of the loop, so that a fast reader does not keep everyone else waiting.
TURN = 1024 * 1024
#: Pings that wait to be answered: of more only the latest are (RFC 6455 5.5.3), so that pings without end cost nothing.
PONGS = 16
#: Seconds for the other end to answer a close, and for sending to make progress while closing.
CLOSE_TIMEOUT = 2.0

#: Seconds that a refused request's sender has to read why: closing on unread bytes would take the answer back.
LINGER = 1.0

# The life of a websocket; the order matters.
OPEN = 0
DRAINING = 1  # close() was called: send what pull still gives, then the close frame
CLOSING = 2  # our close frame is sent, theirs is awaited
REFUSED = 3  # they broke the rules; our close frame says so, and what still comes is thrown away
CLOSED = 4  # both close frames are exchanged: send the rest and hang up
ENDED = 5  # no road any more

_CLEAN = (1000, 1001, 1005)


class WebSocket:
    """One websocket after its handshake; a shell adds the socket. See ``asyncsyft.transport.Transport``."""

    def __init__(self, *, client: bool, max_message: int) -> None:
        self.remote = ""
        self.is_local = False
        self.bytes_sent = self.bytes_received = 0
        self.messages_sent = self.messages_received = 0
        self._encoder = Encoder(masked=client)
        self._decoder = Decoder(masked=not client, max_message=max_message)
        self._end: Optional[End] = None
        self._state = OPEN
        self._outcome: Optional[BaseException] = None  # what run() raises
        self._outbox: Deque[Buffer] = deque()
        self._pongs: Deque[bytes] = deque(maxlen=PONGS)
        self._goodbye = (1000, "")
        self._awake = False  # pull may have something, and a pump is on its way
        self._stuck = False  # the road takes no more for now
        self._dry = False  # the last pull gave nothing
        self._vigil = Vigil()  # whether the loop is to sleep
        self._busy = False  # within pump or _received, which will look again before they end

    # What the shell does.

    def _flush(self) -> bool:
        """Send from the outbox without waiting; True if it is empty and the road would take more."""
        raise NotImplementedError

    def _schedule(self) -> None:
        """Have ``pump`` called soon: at once if the road takes more, otherwise when it does again."""
        raise NotImplementedError

    def _arm(self, seconds: float) -> None:
        """Have ``_late`` called after so many seconds; an earlier timer is forgotten."""
        raise NotImplementedError

    def _hang_up(self) -> None:
        """Close the road after what was flushed; ``_lost`` follows."""
        raise NotImplementedError

    def _say_no_more(self) -> None:
        """Have the other end see, after what was flushed, that nothing will follow; go on reading. Idempotent."""
        raise NotImplementedError

    def _drop(self) -> None:
        """Close the road at once."""
        raise NotImplementedError

    # What the end may call.

    def wake(self) -> None:
        if not self._awake and self._end is not None:
            self._awake = True
            if not self._busy:
                self._schedule()

    def hold(self, seconds: float) -> None:
        raise NotImplementedError

    def close(self, code: int = 1000, reason: str = "") -> None:
        check_close_code(code)
        if self._state == OPEN:
            self._state = DRAINING
            self._goodbye = (code, reason)
            if self._end is not None:
                self._arm(CLOSE_TIMEOUT)
            self.wake()

    def abort(self) -> None:
        self._break(LinkClosed(f"the link to {self.remote} was aborted"))

    # Sending.

    def pump(self) -> None:
        self._awake = False
        if self._busy or self._end is None or self._state == ENDED:
            return
        self._busy = True
        budget = TURN
        try:
            self._dry = False
            while True:
                if self._outbox or self._stuck:
                    self._stuck = not self._flush()
                if self._stuck or self._dry:
                    break
                size = self._fill()
                budget -= size
                if not size or budget < 0:
                    break
            self._awake = self._awake or budget < 0
        except Exception as error:  # noqa: BLE001 - a bug of the end: run() raises it
            self._break(error)
        finally:
            self._busy = False
        if self._stuck or self._awake or self._state >= REFUSED:
            self._pumped()

    def _pumped(self) -> None:
        if self._state == ENDED:
            return
        if self._stuck or self._awake:
            self._schedule()
        elif self._state == CLOSED:
            self._hang_up()
        elif self._state == REFUSED:
            self._say_no_more()

    def _fill(self) -> int:
        """Pull one batch into the outbox; returns its bytes, 0 when there was nothing."""
        out: List[Buffer] = []
        size = 0
        while self._pongs:
            pong = self._pongs.popleft()
            if self._state <= DRAINING:
                size += self._add_control(framing.PONG, pong, out)
        empty = False
        if self._state <= DRAINING:
            assert self._end is not None
            pull, message = self._end.pull, self._encoder.message
            while size < COALESCE:
                pieces = pull()
                if pieces is None:
                    empty = self._dry = True
                    self._awake = False  # whoever woke us while we pulled has been heard
                    break
                size += message(pieces, out)
                self.messages_sent += 1
        if self._state == ENDED:  # pull aborted
            return 0
        if self._state == DRAINING:
            if size:
                self._arm(CLOSE_TIMEOUT)
            if empty:
                size += self._say_goodbye(out)
        self._gather(out, size)
        return size

    def _add_control(self, opcode: int, payload: bytes, out: List[Buffer]) -> int:
        frame = self._encoder.control(opcode, payload)
        out.append(frame)
        return len(frame)

    def _say_goodbye(self, out: List[Buffer]) -> int:
        self._state = CLOSING
        self._arm(CLOSE_TIMEOUT)
        frame = self._encoder.close(*self._goodbye)
        out.append(frame)
        return len(frame)

    def _gather(self, out: List[Buffer], size: int) -> None:
        """Put a batch into the outbox: large pieces as they are, the small ones around them joined."""
        self.bytes_sent += size
        if len(out) == 1 or (out and size < APART):
            self._outbox.append(out[0] if len(out) == 1 else b"".join(out))
            return
        small: List[Buffer] = []
        for piece in out:
            if len(piece) < APART:
                small.append(piece)
                continue
            if small:
                self._outbox.append(b"".join(small))
                small = []
            self._outbox.append(piece)
        if small:
            self._outbox.append(b"".join(small))

    # Receiving.

    def _feed(self, early: bytes) -> None:
        """Take bytes that came with the handshake."""
        rest = memoryview(early)
        while rest:
            room = self._decoder.room()
            count = min(len(room), len(rest))
            room[:count] = rest[:count]
            self._received(count)
            rest = rest[count:]

    def _received(self, count: int) -> None:
        """``count`` more bytes lie in the decoder's room."""
        if self._state >= REFUSED:
            self._decoder.discard()
            return
        self.bytes_received += count
        self._vigil.came(count, self.bytes_sent)
        self._busy = True
        assert self._end is not None
        receive = self._end.receive
        try:
            for opcode, payload in self._decoder.received(count):
                if opcode == BINARY:
                    self.messages_received += 1
                    receive(payload)
                else:
                    self._control(opcode, payload)
                if self._state >= REFUSED:
                    break
        except RemoteProtocolError as error:
            self._refuse(error)
        except Exception as error:  # noqa: BLE001 - a bug of the end: run() raises it
            self._break(error)
        finally:
            self._busy = False
        if self._awake:
            self.pump()

    def _control(self, opcode: int, payload: memoryview) -> None:
        if opcode == PING:
            self._pongs.append(bytes(payload))
            self._awake = True
        elif opcode == CLOSE:
            self._closed_by_peer(*framing.close_reason(payload))

    def _closed_by_peer(self, code: int, reason: str) -> None:
        if self._state <= DRAINING:
            self._gather([self._encoder.close(None if code == 1005 else code)], 0)
        answers_ours = self._state == CLOSING and code == self._goodbye[0]
        if code not in _CLEAN and not answers_ours:
            self._outcome = LinkClosed(f"{self.remote} closed the link: {code} {reason}".rstrip())
        self._state = CLOSED
        self._arm(CLOSE_TIMEOUT)
        self._awake = True

    def _refuse(self, error: RemoteProtocolError) -> None:
        """They broke the rules: say so, then wait, throwing away what comes, so that they can read it."""
        if self._state >= REFUSED:
            return
        if self._state <= DRAINING:
            code = error.close_code if isinstance(error, BadFrame) else 1002
            self._gather([self._encoder.close(code, str(error))], 0)
        self._state = REFUSED
        self._outcome = error
        self._decoder.discard()
        self._arm(CLOSE_TIMEOUT)
        self._awake = True

    # The end of the road.

    def _late(self) -> None:
        """The timer ran out."""
        if self._state in (DRAINING, CLOSING):
            what = f"{self.remote} did not answer the close within {CLOSE_TIMEOUT:g} s"
            self._outcome = self._outcome or LinkClosed(what)
        self._end_road()

    def _lost(self, cause: Optional[BaseException]) -> None:
        """The other end hung up, or the road broke."""
        if self._state < REFUSED:
            why = f": {cause}" if cause is not None else " without a close frame"
            self._outcome = self._outcome or LinkClosed(f"{self.remote} hung up{why}")
        self._end_road()

    def _break(self, error: BaseException) -> None:
        if self._state != ENDED:
            self._outcome = self._outcome or error
            self._end_road()

    def _end_road(self) -> None:
        if self._state != ENDED:
            self._state = ENDED
            self._vigil.end()
            self._outbox.clear()
            self._drop()

    def _begin(self, end: End) -> None:
        if self._end is not None:
            raise RuntimeError("run() may be called once only")
        self._end = end
        if self._state != ENDED:
            self._vigil.begin()
        if self._state == DRAINING:
            self._arm(CLOSE_TIMEOUT)
