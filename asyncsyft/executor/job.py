"""One program being run: where it stands, what it has to answer. It does not know how answers travel."""

from __future__ import annotations

import math
import time
from typing import Any, Dict, FrozenSet, List, Mapping, Optional, Sequence, Set, Tuple, Union

from ..compression import Policy
from ..errors import Cancelled, LimitExceeded, Refused, RemoteError, RemoteProtocolError
from ..program import BIND, CALL, DELETE, READ
from ..protocol import Conversation, Served
from ..store import MAX_OBJECTS, Outcome, Space
from ..tensor import Array
from ..wire import MAX_ID, Failure

#: Characters of an error's message that travel.
MAX_TEXT = 1000
#: Seconds for an element that a step touches, at the very least: a tenth of what it takes on most machines.
FASTEST = 1e-10
#: Objects that one search gives, and texts that it asks for.
MAX_FOUND, MAX_QUERY = 1024, 64


class Job:
    """A request, its steps, and the state of running them; how it begins is at the class, so that it costs little."""

    index = 0  # the next step
    plan_steps = 0  # steps of the plans that it called
    work = 0  # elements touched so far
    cpu = 0.0  # seconds that threads spent on it
    until = math.inf  # the CPU time, of the thread that it runs in, past which it has had its share
    announced: FrozenSet[int] = frozenset()  # puts whose tensor arrives in chunks
    outstanding = 0  # steps that are answered later: chunks, moves
    missing = 0  # pending objects that it is parked for
    lent: Sequence[int] = ()  # captured inputs that were deleted since and are lent to it while it runs
    finished = False
    patient = False  # nobody waits for its answer
    released: FrozenSet[int] = frozenset()  # steps whose values were private
    unwritten = -1  # the last step that changed what is kept on disk

    def __init__(
        self, conversation: Conversation, served: Served, space: Space, steps: List[Any], body: Any, size: int
    ) -> None:
        self.conversation, self.served, self.space = conversation, served, space
        self.steps, self.body, self.size = steps, body, size
        self.generation = conversation.generation
        self.values: List[Tuple[int, Union[Array, bytes]]] = []  # answers not handed over yet; bytes are a document
        self.failures: List[Failure] = []
        self.cancelled: Set[int] = set()  # one for all its life: a thread looks at it
        self.captured: Dict[int, Outcome] = {}  # inputs kept for it while it was parked
        self.made: Dict[int, None] = {}  # outputs, and states, that are pending because it was parked, in order

    def check_time(self, cost: Optional[int] = None) -> None:
        """Raises: LimitExceeded if its CPU time is over, or a step that touches so many elements must take longer."""
        if time.thread_time() + (cost or 0) * FASTEST > self.until:
            raise LimitExceeded("the program takes more CPU time than it may here (cpu_seconds)")

    @property
    def lane(self) -> int:
        """The number of its lane."""
        return self.served.lane

    def awaits(self, step: Any) -> Set[int]:
        """The ids that an unchecked step names of objects that others still make or bring."""
        if not self.space.pending or raw_op(step) == DELETE:
            return set()
        return {number for number in raw_inputs(step) if self.is_awaited(number)}

    def is_awaited(self, number: int) -> bool:
        """Whether an object is pending, and not deleted meanwhile nor an output of this job itself."""
        pending = self.space.pending.get(number)
        return pending is not None and not pending.doomed and number not in self.made

    def check_new(self, outs: Tuple[int, ...]) -> None:
        """Raises: Refused unless the ids of a step's results are free, LimitExceeded if there are too many objects."""
        space = self.space
        if space.taken + len(outs) > MAX_OBJECTS:
            raise LimitExceeded(f"one driver holds at most {MAX_OBJECTS} objects at a worker")
        if 0 in outs or len(set(outs)) != len(outs):
            raise Refused("results have ids of their own, from 1 on")
        for out in outs:
            if space.outcome(out) is not None or (out in space.pending and out not in self.made):
                raise Refused(f"object {out} is there already; objects are written once")

    def check_free(self, base: Any, most: Any) -> Tuple[int, int]:
        """The two, checked.

        Raises: Refused unless so many ids from the first on are free, LimitExceeded if there are too many objects.
        """
        if type(base) is not int or type(most) is not int or not 0 <= most <= MAX_FOUND:
            raise Refused(f"a search gives at most {MAX_FOUND} objects, from an id on")
        if not 0 < base <= MAX_ID - most or any(self.space.knows(alias) for alias in range(base, base + most)):
            raise Refused(f"the {most} ids from {base} on are not free")
        if self.space.taken + most > MAX_OBJECTS:
            raise LimitExceeded(f"one driver holds at most {MAX_OBJECTS} objects at a worker")
        return base, most

    def compress(self, params: Mapping[str, Any]) -> None:
        """Let the answers be compressed as a get asks. Raises: Refused."""
        mode = params.get("compression")
        if mode is not None:
            try:
                self.served.policy = Policy(mode, self.conversation.policy.bandwidth)
            except ValueError as error:
                raise Refused(str(error)) from None

    def fail(self, step: int, error: Exception, op: str, outs: Tuple[int, ...]) -> Failure:
        """A step went wrong: note it, and poison its results."""
        number = self.served.id
        if isinstance(error, RemoteError):
            code, kind, message = error.code, error.kind or "", error.message
        elif isinstance(error, RemoteProtocolError):
            code, kind, message = "Refused", "", str(error)
        else:
            code, kind, message = "OpFailed", type(error).__name__, str(error)
        failure = Failure(number, step, code, kind[:64], message[:MAX_TEXT], op[:64], number, step)
        self.failures.append(failure)
        self.poison(outs, failure)
        return failure

    def skip(self, step: int, cause: Failure, outs: Tuple[int, ...], answer: bool) -> None:
        """A step was not run because an input is poisoned: its results are too; tell only if it owes an answer."""
        self.poison(outs, cause)
        if answer:
            self.failures.append(cause._replace(id=self.served.id, step=step))

    def abandon(self, step: int, outs: Tuple[int, ...]) -> None:
        """The job will not bring these objects: who waits for them is told."""
        for out in outs:
            self.made.pop(out, None)
            if self.space.outcome(out) is None:
                cause = self.fail(step, Cancelled("the conversation that was to bring it has ended"), "", ())
                self.space.resolve(out, cause)
            else:
                self.space.settle(out)  # a state that it would have read or bound anew is as it was

    def poison(self, outs: Tuple[int, ...], cause: Failure) -> None:
        """Write the cause where the results would have been."""
        space = self.space
        for out in outs:
            is_free = out not in space.pending or out in self.made
            if is_free and space.outcome(out) is None and space.taken < MAX_OBJECTS:
                space.keep(out, cause)


def raw_inputs(step: Any) -> List[int]:
    """The ids that an unchecked step names as inputs."""
    inputs = step[2] if type(step) is list and len(step) > 2 and type(step[2]) is list else []
    return [number for number in inputs if type(number) is int]


def raw_outs(step: Any) -> Tuple[int, ...]:
    """The ids that an unchecked step names as outputs."""
    outs: Any = step[1] if type(step) is list and len(step) > 1 else ()
    return tuple([out for out in (outs if type(outs) is list else [outs]) if type(out) is int and 0 < out <= MAX_ID])


def raw_states(step: Any) -> List[int]:
    """The ids of the states that an unchecked step reads, or may bind anew."""
    if raw_op(step) in (BIND, READ):
        return raw_inputs(step)[:1]
    has_state = raw_op(step) == CALL and len(step) == 4 and type(step[3]) is dict and step[3].get("state")
    return raw_inputs(step)[1:2] if has_state else []


def raw_op(step: Any) -> str:
    """The op that an unchecked step names."""
    return step[0] if type(step) is list and step and type(step[0]) is str else ""
