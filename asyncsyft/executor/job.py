"""One program being run: where it stands, what it has to answer. It does not know how answers travel."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Set, Tuple

from ..errors import AsyncSyftError, RemoteError
from ..protocol import Conversation, Served
from ..store import Outcome, Space
from ..wire import Failure

#: Characters of an error's message that travel.
MAX_MESSAGE = 1000


class Job:
    """A request, its steps, and the state of running them."""

    __slots__ = (
        "conversation", "served", "steps", "body", "size", "generation", "space", "index", "work", "values", "failures",
        "cancelled", "announced", "outstanding", "missing", "captured", "lent", "made", "finished",
    )  # fmt: skip

    def __init__(
        self, conversation: Conversation, served: Served, space: Space, steps: List[Any], body: Any, size: int
    ) -> None:
        self.conversation, self.served, self.space = conversation, served, space
        self.steps, self.body, self.size = steps, body, size
        self.generation = conversation.generation
        self.index = 0  # the next step
        self.work = 0  # elements touched so far
        self.values: List[Tuple[int, Any]] = []  # answers not handed over yet: (step, array or document)
        self.failures: List[Failure] = []
        self.cancelled: Set[int] = set()
        self.announced: Set[int] = set()  # puts whose tensor arrives in chunks
        self.outstanding = 0  # steps that are answered later: chunks, moves
        self.missing = 0  # pending objects that it is parked for
        self.captured: Dict[int, Outcome] = {}  # inputs kept for it while it was parked
        self.lent: List[int] = []  # of these, what was deleted since and is lent to it while it runs
        self.made: List[int] = []  # outputs that are pending because it was parked
        self.finished = False

    @property
    def lane(self) -> int:
        """The number of its lane."""
        return self.served.lane

    def fail(self, step: int, error: Exception, op: str, outs: Tuple[int, ...]) -> Failure:
        """A step went wrong: note it, and poison its results."""
        number = self.served.id
        if isinstance(error, RemoteError):
            code, kind, message = error.code, error.kind or "", error.message
        elif isinstance(error, AsyncSyftError):
            code, kind, message = "OpFailed", type(error).__name__, str(error)
        else:
            code, kind, message = "OpFailed", type(error).__name__, str(error)
        failure = Failure(number, step, code, kind[:64], message[:MAX_MESSAGE], op[:64], number, step)
        self.failures.append(failure)
        self.poison(outs, failure)
        return failure

    def skip(self, step: int, cause: Failure, outs: Tuple[int, ...], answer: bool) -> None:
        """A step was not run because an input is poisoned: its results are too; tell only if it owes an answer."""
        self.poison(outs, cause)
        if answer:
            self.failures.append(cause._replace(id=self.served.id, step=step))

    def poison(self, outs: Tuple[int, ...], cause: Failure) -> None:
        """Write the cause where the results would have been."""
        for out in outs:
            if self.space.outcome(out) is None:
                self.space.keep(out, cause)


def raw_inputs(step: Any) -> List[int]:
    """The ids that an unchecked step names as inputs."""
    inputs = step[2] if type(step) is list and len(step) > 2 and type(step[2]) is list else []
    return [number for number in inputs if type(number) is int]


def raw_outs(step: Any) -> List[int]:
    """The ids that an unchecked step names as outputs."""
    outs: Optional[Any] = step[1] if type(step) is list and len(step) > 2 else None
    if type(outs) is int:
        return [outs] if outs else []
    return [out for out in outs if type(out) is int] if type(outs) is list else []


def raw_op(step: Any) -> str:
    """The op that an unchecked step names."""
    return step[0] if type(step) is list and step and type(step[0]) is str else ""
