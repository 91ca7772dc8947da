"""What a conversation is made of: requests of both sides, the frames of a large tensor, lanes with their credit.

None of them knows the order in which frames may come, or leaves by itself.
"""

from __future__ import annotations

from collections import deque
from types import MappingProxyType
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Deque,
    Iterable,
    List,
    Mapping,
    Optional,
    Protocol,
    Sequence,
    Set,
    Tuple,
    Union,
)

from .. import tensor, wire
from ..compression import Policy
from ..errors import AsyncSyftError
from ..tensor import Array
from ..wire import ChunkOf, Failure, Parcel, Program

if TYPE_CHECKING:
    from .conversation import Conversation

#: Bytes of frames that a lane starts with: a long road at gigabit speed needs no more for calls, a worker can hold it.
WINDOW = 1 << 20
#: Larger chunks save turns of both loops. They are for a far end with no relay between, which holds no more for us than
#: ``WINDOW``, and for roads that carry so many bytes a second that a call beside them waits for milliseconds.
LARGE_CHUNK = wire.MAX_FRAME - 4096
FAST = 200e6
#: Bytes that the frame of a chunk may have beside it.
CHUNK_HEAD = 1024
#: Who lands large chunks grants room for so many, so that neither end waits for the other.
CHUNKS_AHEAD = 4


class Request:
    """A request of ours, from when it is queued until it is answered; the asker's class says what an answer does.

    What few requests have is found at the class, so that making one costs little.
    """

    id = 0  # given when it leaves
    parcel: Optional[Parcel] = None
    chunks: Sequence[Tuple[int, Array]] = ()  # (step, array) that travel behind it
    landings: Mapping[int, tensor.Landing] = MappingProxyType({})
    landed: Tuple[int, ...] = ()  # steps whose large value is here
    cancels: Tuple[int, ...] = ()  # steps that nobody wants any more; told again on a new road
    policy: Optional[Policy] = None  # decides on compression, in place of the conversation's
    failures: Optional[Set[int]] = None  # steps whose failure came; a new road tells of them again

    def sent(self) -> None:
        """It has its id and leaves now."""

    def wants(self, step: int) -> bool:
        """Whether step ``step`` asked for a value that has not come yet."""
        return False

    def progress(self, step: int, done: int, total: int) -> None:
        """So many bytes of the large tensor of step ``step`` have left, or landed."""

    def value(self, step: int, value: Any) -> None:
        """Step ``step`` gave this: an array, or a document."""

    def gave(self, steps: Sequence[int], values: Sequence[Any]) -> None:
        """Steps gave these values, one each: as ``value``, of those that are wanted."""
        for step, value in zip(steps, values):
            if self.wants(step):
                self.value(step, value)

    def failed(self, failure: Failure) -> None:
        """A step failed at the far end."""

    def settled(self) -> None:
        """All steps are answered."""

    def lost(self, error: AsyncSyftError) -> None:
        """The conversation ended first."""


class Served:
    """A request of theirs, from when it came until its answer was seen."""

    __slots__ = ("id", "lane", "answers", "failures", "done", "unsent", "policy")

    def __init__(self, number: int, lane: int) -> None:
        self.id = number
        self.lane = lane
        self.answers: List[Item] = []
        self.failures: List[Failure] = []
        self.done = False
        self.policy: Optional[Policy] = None  # as of a Request
        self.unsent = 0  # answers that have not left yet


class Server(Protocol):
    """Who serves the requests of a conversation."""

    def program(
        self, conversation: Conversation, served: Served, message: Program, body: memoryview, size: int
    ) -> None:
        """A program came; ``body`` is valid only during the call. Give ``size`` back by ``consumed``."""

    def chunk(self, conversation: Conversation, number: int, chunk: ChunkOf, body: memoryview) -> None:
        """A part of a tensor that a step of request ``number`` puts."""

    def landed(self, conversation: Conversation) -> Iterable[Tuple[int, int, int]]:
        """How far the chunks of unanswered requests have come: (id, step, bytes)."""

    def cancel(self, conversation: Conversation, number: int, step: int) -> None:
        """Do not begin that step."""


class Chunks:
    """The frames of one large tensor, made as they leave."""

    __slots__ = ("step", "descr", "shape", "data", "at", "flags")

    def __init__(self, step: int, array: Array, flags: int) -> None:
        self.step, self.flags, self.at = step, flags, 0
        self.descr, self.shape = tensor.descriptor(array.dtype), list(array.shape)
        self.data = tensor.raw(array)

    def next(self, lane: int, seen: int, policy: Optional[Policy], size: int) -> Parcel:
        """The next ``size`` bytes, or what is left."""
        piece = self.data[self.at : self.at + size]
        meta = (seen, self.step, self.descr, self.shape, self.at)
        self.at += len(piece)
        return Parcel(wire.CHUNK_OF, lane, meta, [piece], self.flags, policy)

    def go_on(self, at: int) -> None:
        """So many bytes are there: the rest is to be sent."""
        self.at = min(at, len(self.data))

    @property
    def done(self) -> bool:
        return self.at >= len(self.data)


Item = Tuple[Union[Request, Served], Union[Parcel, Chunks]]


class Lane:
    """An ordered part of a conversation: what waits to leave, and the credit of both directions."""

    __slots__ = (
        "number", "queue", "bulk", "bulk_next", "sent", "granted", "received", "allowed", "consumed", "refill",
        "passed", "mark",
    )  # fmt: skip

    def __init__(self, number: int) -> None:
        self.number = number
        self.queue: Deque[Item] = deque()
        self.bulk: Deque[Item] = deque()
        self.bulk_next = False
        #: Closes a program from what is recorded, if anything is; asked only when there is nothing else to send.
        self.refill: Optional[Callable[[], object]] = None
        self.reset()

    def reset(self) -> None:
        """Both ends count from zero again after a resume."""
        self.sent = self.received = self.consumed = 0
        self.granted = self.allowed = WINDOW
        self.passed = 0  # as ``sent``, compressed
        #: When credit last came while there was more to send: (seconds, granted, sent, passed).
        self.mark: Optional[Tuple[float, int, int, int]] = None

    @property
    def room(self) -> int:
        """Bytes that may still leave."""
        return self.granted - self.sent

    def drop(self, owner: Union[Request, Served], step: int) -> bool:
        """Send no more chunks of a step; whether there were any."""
        kept = [(o, c) for o, c in self.bulk if o is not owner or not isinstance(c, Chunks) or c.step != step]
        dropped = len(kept) < len(self.bulk)
        self.bulk = deque(kept)
        return dropped

    def grant(self, granted: int, now: float) -> Optional[float]:
        """Credit came; the bytes per second that the road carried since it last did, if it was busy all the while."""
        before, self.mark = self.mark, None
        if self.queue or self.bulk:
            self.mark = (now, granted, self.sent, self.passed)
        self.granted = max(self.granted, granted)
        if before is None or now <= before[0] or self.sent <= before[2]:
            return None
        shrunk = (self.passed - before[3]) / (self.sent - before[2])
        return (granted - before[1]) * shrunk / (now - before[0])
