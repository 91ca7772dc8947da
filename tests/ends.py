"""Two conversations driven against each other with bytes alone, for the tests of what goes on between two peers.

Nothing here waits: ``pump`` carries frames to and fro until neither end has anything to say.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from asyncsyft import wire
from asyncsyft.errors import AsyncSyftError
from asyncsyft.protocol import Conversation, Request, Served, Server
from asyncsyft.wire import ChunkOf, Failure, Program

MINE, THEIRS = b"\1" * 8, b"\2" * 8
ROUNDS = 10_000


class Asked(Request):
    """A request that notes all that happens to it; ``wanted`` are the steps that asked for a value."""

    __slots__ = ("errors", "failed_with", "happened", "values", "wanted")

    def __init__(self, *wanted: int) -> None:
        super().__init__()
        self.wanted = set(wanted)
        self.values: List[Tuple[int, Any]] = []
        self.failed_with: List[Failure] = []
        self.errors: List[AsyncSyftError] = []
        self.happened: List[str] = []

    def sent(self) -> None:
        self.happened.append("sent")

    def wants(self, step: int) -> bool:
        return step in self.wanted

    def value(self, step: int, value: Any) -> None:
        self.happened.append("value")
        self.wanted.discard(step)
        self.values.append((step, value))

    def failed(self, failure: Failure) -> None:
        self.happened.append("failed")
        self.wanted.discard(failure.step)
        self.failed_with.append(failure)

    def settled(self) -> None:
        self.happened.append("settled")

    def lost(self, error: AsyncSyftError) -> None:
        self.errors.append(error)


class Kept(Server):
    """A server that keeps what comes: (served, steps, body, size, generation) of programs, chunks, cancels."""

    def __init__(self) -> None:
        self.programs: List[Tuple[Served, List[Any], bytes, int, int]] = []
        self.chunks: List[Tuple[int, int, int, bytes]] = []
        self.cancels: List[Tuple[int, int]] = []

    def program(
        self, conversation: Conversation, served: Served, message: Program, body: memoryview, size: int
    ) -> None:
        self.programs.append((served, message.steps, bytes(body), size, conversation.generation))

    def chunk(self, conversation: Conversation, number: int, chunk: ChunkOf, body: memoryview) -> None:
        self.chunks.append((number, chunk.step, chunk.offset, bytes(body)))

    def landed(self, conversation: Conversation) -> List[Tuple[int, int, int]]:
        ends: Dict[Tuple[int, int], int] = {}
        for number, step, offset, body in self.chunks:
            ends[number, step] = max(ends.get((number, step), 0), offset + len(body))
        return [(*key, end) for key, end in ends.items()]

    def cancel(self, conversation: Conversation, number: int, step: int) -> None:
        self.cancels.append((number, step))


def pull(end: Conversation, budget: int = wire.BATCH) -> bytes:
    """One message of what an end may send now; empty if there is nothing."""
    out: List[wire.Buffer] = []
    size = end.take(out, budget)
    data = b"".join(out)
    assert size == len(data) or size == budget > len(data)
    assert len(data) <= wire.MAX_MESSAGE
    assert all(lane.sent <= lane.granted for lane in end.lanes.values())
    return data


def deliver(end: Conversation, message: bytes) -> None:
    """Give a message to an end, frame by frame."""
    for frame in wire.frames(memoryview(message)):
        end.receive(frame)


class Pair:
    """Two ends with a road between them; ``near`` asks and ``far`` serves, though either may do both."""

    def __init__(
        self, server: Optional[Server] = None, can: Optional[Dict[str, Any]] = None, compression: str = "auto"
    ) -> None:
        self.server: Any = server or Kept()
        self.near_server = Kept()
        self.near = Conversation(MINE, THEIRS, self.near_server, can or {}, compression)
        self.far = Conversation(THEIRS, MINE, self.server, can or {}, compression)
        self.join()

    def join(self) -> None:
        """A new road; what was under way on the old one is lost."""
        self.near.begin(2)
        self.far.begin(1)

    def pump(self) -> None:
        """Carry all that the ends have to say."""
        for _ in range(ROUNDS):
            there, back = pull(self.near), pull(self.far)
            deliver(self.far, there)
            deliver(self.near, back)
            if not there and not back:
                return
        raise AssertionError("the ends never fall silent")

    def ask(self, request: Asked, steps: List[Any], body: Tuple[bytes, ...] = (), lane: int = 0) -> Asked:
        """Ask, and let it arrive."""
        self.near.ask(request, steps, body, lane)
        self.pump()
        return request


def frame(kind: int, meta: Any, body: bytes = b"", *, number: int = 0, lane: int = 0, flags: int = 0) -> bytes:
    """A message of one frame."""
    out: List[wire.Buffer] = []
    wire.Parcel(kind, lane, meta, [body] if body else [], flags).write(out, 0, number)
    return b"".join(out)


def counters(end: Conversation) -> Dict[str, int]:
    """The sizes of the tables of one end."""
    above = len(end._done_above) + len(end._new_above)
    return {"unanswered": len(end.unanswered), "served": len(end.served), "above": above}
