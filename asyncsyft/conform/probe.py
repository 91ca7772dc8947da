"""A driver's end of one link, spoken in raw frames: it keeps the rules of docs/protocol.md unless a check breaks them.

It writes and reads frames by ``wire.py`` alone and shares nothing else with the library's own conversations, so that
what is tested is bytes. It knows no check.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Sequence, Set, Tuple

import anyio

from .. import tensor, wire
from ..errors import AsyncSyftError, RemoteProtocolError
from ..tensor import Array
from ..transport import Buffer, Transport
from ..wire import Failure, Frame
from .steps import Steps, frame

#: Bytes that a lane starts with, in each direction.
WINDOW = 1 << 20


class Broken(Exception):
    """The peer did not do what it should."""

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(f"expected {expected}; found {found}")
        self.expected, self.found = expected, found


class Probe:
    """One link; what comes is noted as it comes, and ``until`` waits for it. An end of a transport."""

    def __init__(self, transport: Transport, incarnation: bytes, patience: float) -> None:
        self.mine, self.theirs = incarnation, bytes(wire.INCARNATION_SIZE)
        self.patience = patience
        self.generous = True  # grants credit as it takes what comes
        self.ended: Optional[str] = None
        self.challenge: Optional[wire.Challenge] = None
        self.welcome: Optional[wire.Welcome] = None
        self.resumed: List[wire.Resume] = []
        self.goodbyes: List[wire.Goodbye] = []
        self.refused: List[Tuple[int, wire.Refused]] = []
        self.pongs: List[int] = []
        self.order: List[str] = []  # what came, for checks of order: "value 3.0", "answered 3"
        self.values: Dict[Tuple[int, int], Any] = {}
        self.failures: List[Failure] = []
        self.floor = 0  # all requests up to it are answered, and those in ``above``
        self.above: Set[int] = set()
        self.granted: Dict[int, int] = {}
        self.received: Dict[int, int] = {}
        self.allowed: Dict[int, int] = {}
        self.overrun = self.last_id = 0
        self._transport = transport
        self._outbox: List[bytes] = []
        self._landings: Dict[Tuple[int, int], tensor.Landing] = {}
        self._news = anyio.Event()

    # The transport's side.

    async def run(self) -> None:
        """Carry messages until the link ends."""
        try:
            await self._transport.run(self)
            self.ended = "closed"
        except AsyncSyftError as error:
            self.ended = str(error)
        finally:
            self._news.set()

    def pull(self) -> Optional[Sequence[Buffer]]:
        return [self._outbox.pop(0)] if self._outbox else None

    def receive(self, message: memoryview) -> None:
        # The views of its frames are kept, the message is not: take a copy.
        for one in wire.frames(memoryview(bytes(message))):
            take = _TAKES.get(one.kind)
            if take is None:
                raise RemoteProtocolError(f"a frame of kind {one.kind} came, which a driver is never sent")
            take(self, one, wire.parse(one))
        self._news.set()

    # What a check does.

    def send(self, *frames: bytes) -> None:
        """Send frames as one message."""
        self._outbox.append(b"".join(frames))
        self._transport.wake()

    def close(self) -> None:
        """Drop the link."""
        self._transport.abort()

    def resume(self, received: int = 0, seen: int = 0) -> None:
        """Open or continue the conversation; one field more than version 1 knows must not disturb anyone."""
        self.send(frame(wire.RESUME, [self.mine, self.theirs, received, seen, {}, self.last_id, [], "a later field"]))

    def begin_anew(self) -> None:
        """The conversation is over: the next one counts from the start."""
        self.floor = self.last_id = 0
        for table in (self.resumed, self.above, self.granted, self.received, self.allowed, self.values, self.failures):
            table.clear()

    def ask(
        self, program: Steps, chunked: Sequence[int] = (), *, number: Optional[int] = None, seen: Optional[int] = None
    ) -> int:
        """Send a program as the next request, or under a given id; its id."""
        if number is None:
            self.last_id = number = self.last_id + 1
        meta = [self.floor if seen is None else seen, program.steps, list(chunked)]
        self.send(frame(wire.PROGRAM, meta, program.body, number=number))
        return number

    def chunk(self, number: int, step: int, array: Array, begin: int, end: int) -> None:
        """Send bytes ``begin`` to ``end`` of a tensor that a step announced."""
        meta = [self.floor, step, tensor.descriptor(array.dtype), list(array.shape), begin]
        self.send(frame(wire.CHUNK_OF, meta, [array.tobytes()[begin:end]], number=number))

    def ping(self, number: int) -> None:
        """Send a ping of this id."""
        self.send(frame(wire.PING, [], number=number))

    def grant(self, size: int, lane: int = 0) -> None:
        """Let the peer have sent ``size`` bytes in all."""
        self.allowed[lane] = size
        self.send(frame(wire.CREDIT, [self.floor, size], lane=lane))

    async def until(self, condition: Callable[[], Any], expected: str) -> None:
        """Return when the condition holds. Raises: Broken when the link ends first or patience does."""
        with anyio.move_on_after(self.patience):
            while not condition():
                if self.ended is not None:
                    raise Broken(expected, f"the link ended: {self.ended}")
                self._news = anyio.Event()
                await self._news.wait()
            return
        raise Broken(expected, f"nothing of the kind within {self.patience:g} s; {self.state()}")

    async def answered(self, number: int) -> None:
        """Return when the request is answered. Raises: Broken."""
        await self.until(lambda: self.is_answered(number), f"an answer to request {number}")

    async def run_program(self, program: Steps) -> int:
        """Ask, and wait for the answer; the request's id. Raises: Broken."""
        number = self.ask(program)
        await self.answered(number)
        return number

    async def alive(self) -> None:
        """Return when a ping, sent now, is answered; all that was sent before has then been read. Raises: Broken."""
        number = len(self.pongs) + 1000
        self.ping(number)
        await self.until(lambda: number in self.pongs, f"a pong of id {number}")

    async def shut(self, why: str) -> None:
        """Return when the peer has ended the link. Raises: Broken."""
        await self.until(lambda: self.ended is not None, f"the link closed: {why}")

    async def broken_off(self, why: str) -> None:
        """Return when the peer has ended the conversation, by a goodbye or with the link. Raises: Broken."""
        await self.until(lambda: self.goodbyes or self.ended is not None, f"the conversation ended: {why}")

    async def refuses(self, number: int) -> None:
        """Return when the frame of that id is refused with UnknownPeer, and nothing else was done. Raises: Broken."""
        before = len(self.order)
        await self.until(lambda: self.refused, "a refusal")
        found, message = self.refused.pop(0)
        if (found, message.code) != (number, "UnknownPeer"):
            raise Broken(f"UnknownPeer for id {number}", f"{message.code} for id {found}")
        await self.alive()
        if self.order[before:]:
            raise Broken("no answer beside the refusal", str(self.order))

    # What a check looks at.

    def is_answered(self, number: int) -> bool:
        """Whether a request counts as answered."""
        return number <= self.floor or number in self.above

    def failure(self, number: int, step: int) -> Optional[Failure]:
        """The failure of a step, if one came."""
        return next((f for f in self.failures if (f.id, f.step) == (number, step)), None)

    def state(self) -> str:
        """What has come so far, in short."""
        parts = [f"answered up to {self.floor}"]
        if self.goodbyes:
            parts.append(f"goodbye: {self.goodbyes[-1].code} {self.goodbyes[-1].reason}".rstrip())
        if self.refused:
            parts.append(f"refused: {self.refused[-1][1].code} {self.refused[-1][1].reason}".rstrip())
        if self.failures:
            last = self.failures[-1]
            parts.append(f"failure of {last.id}.{last.step}: {last.code} {last.message:.80}")
        return ", ".join(parts)

    # What came.

    def _charge(self, one: Frame) -> None:
        lane = one.lane
        received = self.received[lane] = self.received.get(lane, 0) + one.size
        allowed = self.allowed.setdefault(lane, WINDOW)
        self.overrun = max(self.overrun, received - allowed)
        if self.generous and received + WINDOW - allowed >= WINDOW // 2:
            self.grant(received + WINDOW, lane)

    def _on_values(self, one: Frame, message: wire.Values) -> None:
        self._charge(one)
        for steps, descr, shape, at in message.values:
            dtype, dims, nbytes = tensor.check_descr("|u1" if descr == wire.DOCUMENT else descr, shape)
            for step in steps:
                piece = one.body[at : at + nbytes]
                if at & 7 or len(piece) != nbytes:
                    raise RemoteProtocolError(f"value {one.id}.{step} lies at {at} of a body of {len(one.body)}")
                found = wire.document(piece) if descr == wire.DOCUMENT else tensor.copy_out(dtype, dims, piece)
                self._note(one.id, step, found)
                at += nbytes + 7 & ~7
        if one.flags & wire.LAST:
            self._answer(one.id)

    def _on_chunk(self, one: Frame, message: wire.ChunkOf) -> None:
        self._charge(one)
        if not one.flags & wire.OF_ANSWER:
            raise RemoteProtocolError("a chunk came that answers nothing")
        key = (one.id, message.step)
        if key not in self._landings:
            dtype, dims, _ = tensor.check_descr(message.descr, message.shape)
            self._landings[key] = tensor.Landing(dtype, dims)
        if self._landings[key].land(message.offset, one.body):
            self._note(one.id, message.step, self._landings.pop(key).array)

    def _note(self, number: int, step: int, value: Any) -> None:
        self.order.append(f"value {number}.{step}")
        self.values[number, step] = value

    def _on_answers(self, one: Frame, message: wire.Answers) -> None:
        self.failures += message.failures
        self.order += [f"failure {f.id}.{f.step}" for f in message.failures]
        self._answer(*message.above, *range(self.floor + 1, one.id + 1))

    def _answer(self, *numbers: int) -> None:
        """Count requests as answered, each once."""
        for number in numbers:
            if not self.is_answered(number):
                self.order.append(f"answered {number}")
                self.above.add(number)
        while self.floor + 1 in self.above:
            self.floor += 1
            self.above.remove(self.floor)

    def _on_challenge(self, one: Frame, message: wire.Challenge) -> None:
        if self.challenge is not None:
            raise RemoteProtocolError("a second challenge")
        self.challenge = message

    def _on_welcome(self, one: Frame, message: wire.Welcome) -> None:
        self.welcome, self.theirs = message, message.me.incarnation

    def _on_ping(self, one: Frame, message: None) -> None:
        self.send(frame(wire.PONG, [], number=one.id))

    def _on_credit(self, one: Frame, message: wire.Credit) -> None:
        self.granted[one.lane] = max(self.granted.get(one.lane, WINDOW), message.granted)


_TAKES: Dict[int, Callable[[Probe, Frame, Any], Any]] = {
    wire.CHALLENGE: Probe._on_challenge,
    wire.WELCOME: Probe._on_welcome,
    wire.GOODBYE: lambda probe, one, message: probe.goodbyes.append(message),
    wire.PING: Probe._on_ping,
    wire.PONG: lambda probe, one, message: probe.pongs.append(one.id),
    wire.REFUSED: lambda probe, one, message: probe.refused.append((one.id, message)),
    wire.RESUME: lambda probe, one, message: probe.resumed.append(message),
    wire.CREDIT: Probe._on_credit,
    wire.ANSWERS: Probe._on_answers,
    wire.VALUES: Probe._on_values,
    wire.CHUNK_OF: Probe._on_chunk,
}
