"""Records steps for one worker, closes them into programs when the link is free, and brings answers back.

Recording is a plain call: it names the result, notes the step and where it was written, and returns. It knows no shapes
(``tensor.py`` infers them) and no event loop (slots do).
"""

from __future__ import annotations

import logging
import sys
from collections import OrderedDict, deque
from itertools import repeat
from types import MappingProxyType
from typing import Any, Callable, Deque, Dict, List, Mapping, Optional, Sequence, Tuple, Type
from weakref import WeakValueDictionary

from .. import program, tensor, wire
from ..compression import Policy
from ..errors import AsyncSyftError, LimitExceeded, LinkClosed, RemoteProtocolError, by_code, fresh
from ..protocol import Conversation, Request
from ..tensor import Array
from ..waiting import Slot
from ..wire import Buffer, Failure
from .failures import NOWHERE, Failures, Origin, current_scope, written_within

logger = logging.getLogger(__name__)

#: Called with the bytes that have travelled, and how many there are.
Progress = Callable[[int, int], None]

#: Steps, and bytes of tensors, that may be recorded and not sent: some 100 ms of work for a worker.
MAX_RECORDED_STEPS = 1 << 17
MAX_RECORDED_BYTES = 64 << 20
#: Values asked for in one program.
ASK_TOGETHER = 64
#: The last place in a program for a step that somebody records: what is forgotten meanwhile is a step, too.
LAST = program.BATCH_STEPS - 2
# Looked up once: they are on the way of every step.
_frame, _scope = sys._getframe, current_scope.get
#: Root causes remembered, so that a ``get`` raises the same error that ``flush`` would.
MAX_CAUSES = 4096


class Sent(Request):
    """A program that the recorder closed: who waits for its answers, and where its steps were written."""

    scopes: Mapping[int, Failures] = MappingProxyType({})
    plans: Mapping[int, Sequence[Origin]] = MappingProxyType({})
    nbytes = 0

    def __init__(self, recorder: Recorder, number: int, slots: Dict[int, Slot[Any]], origins: List[Origin]) -> None:
        self.recorder, self.number, self.slots, self.origins = recorder, number, slots, origins

    def sent(self) -> None:
        self.recorder.left(self)

    def wants(self, step: int) -> bool:
        slot = self.slots.get(step)
        return slot is not None and not slot.is_set

    def progress(self, step: int, done: int, total: int) -> None:
        slot = self.slots.get(step)
        if slot is not None and slot.progress is not None:
            try:
                slot.progress(done, total)
            except Exception:
                slot.progress = None
                logger.exception("a progress callback failed, and is not called again")

    def value(self, step: int, value: Any) -> None:
        slot = self.slots.pop(step, None)
        if slot is not None:
            slot.set(value)

    def gave(self, steps: Sequence[int], values: Sequence[Any]) -> None:
        self.recorder.slot.set_all(map(self.slots.pop, steps, repeat(None)), values)

    def failed(self, failure: Failure) -> None:
        error = self.recorder.error(self, failure)
        scope = self.scopes.get(failure.step, self.recorder.failures)
        slot = self.slots.pop(failure.step, None)
        if slot is None:
            scope.add(error)
        elif not slot.is_set:
            slot.fail(error)
            scope.raised(error)

    def settled(self) -> None:
        for slot in self.slots.values():
            if self.chunks:
                slot.set(None)  # a large tensor that landed
            else:
                slot.fail(RemoteProtocolError(f"{self.recorder.worker} answered without the value that was asked"))
        self.slots.clear()
        self.recorder.settled(self)

    def lost(self, error: AsyncSyftError) -> None:
        # Who waits for a step is told here; the others by flush.
        for step, origin in enumerate(self.origins):
            if step not in self.slots and origin[0] is not NOWHERE:
                self.scopes.get(step, self.recorder.failures).add(error)
        for slot in self.slots.values():
            slot.fail(fresh(error))
        self.slots.clear()
        self.recorder.settled(self, error)


class Recorder:
    """What is recorded for one worker on one lane; ``ids`` names results, for all workers of a driver alike."""

    #: The name of the plan that is being recorded, where one is (``plan/tracing.py``).
    plan = ""

    def __init__(
        self,
        conversation: Conversation,
        worker: str,
        ids: Callable[[], int],
        slot: Type[Slot[Any]],
        failures: Failures,
        relay: bytes = b"",
        lane: int = 0,
    ) -> None:
        self.conversation, self.worker, self.new_id = conversation, worker, ids
        self.slot, self.failures = slot, failures
        self.relay = relay  # one life of the relay that leads to the worker; b"" on a direct link
        self.lost: Optional[AsyncSyftError] = None
        #: Ids of handles that Python forgot; finalizers append to it from any thread, also within our own code.
        self.forgotten: Deque[int] = deque()
        self.steps_recorded = 0
        #: Plans and states that are stored at the worker: their ids there, by their serial numbers here.
        self.stored: Dict[int, int] = {}
        self._lane = lane
        conversation.lane(lane).refill = self._refill
        self._number = 0  # of the last program
        self._outstanding: Dict[int, Sent] = {}
        self._flushes: Deque[Tuple[int, Slot[None]]] = deque()
        self._room: List[Slot[None]] = []
        self._unsent_steps = self._unsent_bytes = 0  # the steps: of programs that are closed
        # Those that are handed out have tracebacks, and are somebody else's to keep.
        self._causes: OrderedDict[Tuple[int, int], AsyncSyftError] = OrderedDict()
        self._told: WeakValueDictionary[Tuple[int, int], AsyncSyftError] = WeakValueDictionary()
        # The open program.
        self._steps: List[Sequence[Any]] = []
        self._origins: List[Origin] = []
        self._slots: Dict[int, Slot[Any]] = {}
        self._scopes: Dict[int, Failures] = {}
        self._plans: Dict[int, Sequence[Origin]] = {}
        self._body: List[Buffer] = []
        self._body_len = 0

    # Recording.

    def record(
        self,
        step: Sequence[Any],
        depth: int = 2,
        slot: Optional[Slot[Any]] = None,
        plan: Optional[Sequence[Origin]] = None,
    ) -> int:
        """Append a step to the open program; its index in it. ``slot`` is set when the step is answered with a value.

        ``depth``: frames from here up to the line that wrote the step. ``plan``: where the steps of the plan that it
        calls were written.
        Raises: LimitExceeded when too much waits to be sent, the error that ended the conversation.
        """
        steps = self._steps
        index = len(steps)
        if not index:
            self._begin()
        steps.append(step)
        frame = _frame(depth)
        self._origins.append((frame.f_code, frame.f_lasti))
        scope = _scope()
        if scope is not None:
            self._scopes[index] = scope
        if slot is not None:
            self._slots[index] = slot
        if plan is not None:
            self._plans[index] = plan
        if index >= LAST:
            self.close_program()
            self.conversation.pump()
        return index

    def _begin(self) -> None:
        """See whether a program may be begun, and have it leave when the link is free. Raises: as ``record``."""
        if self.lost is not None or self._unsent_steps >= MAX_RECORDED_STEPS:
            self._refuse()
        self.conversation.ready()

    def _refuse(self) -> None:
        """Raise why nothing can be recorded, if that is so."""
        if self.lost is not None:
            raise fresh(self.lost)
        unsent = self._unsent_steps + len(self._steps)
        if unsent >= MAX_RECORDED_STEPS or self._unsent_bytes >= MAX_RECORDED_BYTES:
            raise LimitExceeded(
                f"{unsent} steps with {self._unsent_bytes} bytes wait to be sent to {self.worker}:"
                " await driver.ready() now and then"
            )

    def ask(self, step: Sequence[Any], depth: int = 2) -> Slot[Any]:
        """Record a step that answers with a value; the slot that it comes to. Who gives up waiting calls ``cancel``.

        The first of what is asked leaves at once; many leave in groups, so that both ends work at the same time.
        """
        # As ``record``, in one: this is on the way of every value.
        steps = self._steps
        index = len(steps)
        if not index:
            self._begin()
        steps.append(step)
        frame = _frame(depth)
        self._origins.append((frame.f_code, frame.f_lasti))
        scope = _scope()
        if scope is not None:
            self._scopes[index] = scope
        slots = self._slots
        slot = slots[index] = self.slot()
        if not self._outstanding:
            self.conversation.pump()
        elif len(slots) >= ASK_TOGETHER or index >= LAST:
            self.close_program()
            self.conversation.pump()
        return slot

    def cancel(self, slot: Slot[Any]) -> None:
        """Nobody waits for it any more: the worker is asked not to begin the step."""
        if slot.is_set:
            return
        slot.fail(LinkClosed("nobody waits"))
        for index, mine in self._slots.items():
            if mine is slot:  # not sent yet: nothing takes its place
                self._steps[index] = [program.DELETE, 0, []]
                del self._slots[index]
                return
        for sent in self._outstanding.values():
            for index, mine in sent.slots.items():
                if mine is slot:
                    self.conversation.cancel(sent, index)
                    return

    def put(self, array: Array, depth: int = 2) -> int:
        """Record a tensor of at most one chunk, copied; the id that it gets."""
        self._refuse()
        out = self.new_id()
        params = {"dtype": tensor.descriptor(array.dtype), "shape": list(array.shape), "at": self._body_len}
        data = bytes(tensor.raw(array))
        if self._body_len + len(data) > wire.CHUNK:
            self.close_program()
            params["at"] = 0
        self._body.append(data)
        self._body_len += len(data) + 7 & ~7
        self._unsent_bytes += len(data) + 7 & ~7
        self.record([program.PUT, out, [], params], depth + 1)
        if self._body_len >= wire.BATCH:
            self.close_program()
        return out

    def put_large(
        self, array: Array, depth: int = 2, policy: Optional[Policy] = None, progress: Optional[Progress] = None
    ) -> Tuple[int, Slot[None]]:
        """Record a tensor that travels in chunks, borrowed until the slot is set; the id that it gets, and the slot."""
        self.close_program()
        out, landed = self.new_id(), self.slot()
        params = {"dtype": tensor.descriptor(array.dtype), "shape": list(array.shape)}
        index = self.record([program.PUT, out, [], params], depth + 1, landed)
        landed.progress = progress
        self.close_program([(index, array)], policy)
        return out, landed

    def put_any(self, array: Array, depth: int = 2) -> int:
        """Record a tensor of any size, without waiting; the id that it gets. A large one must never change.

        Nobody waits for it to land: what becomes of it is known by what becomes of the steps that use it, and by flush.
        """
        if array.nbytes <= wire.CHUNK:
            return self.put(array, depth + 1)
        self.close_program()
        out = self.new_id()
        params = {"dtype": tensor.descriptor(array.dtype), "shape": list(array.shape)}
        self.close_program([(self.record([program.PUT, out, [], params], depth + 1), array)])
        return out

    # Programs.

    def _refill(self) -> None:
        if self._steps or self.forgotten:
            self.close_program()

    def close_program(self, chunks: Optional[List[Tuple[int, Array]]] = None, policy: Optional[Policy] = None) -> int:
        """Make a request of what is recorded, if anything is; the number of the last program made."""
        self._drain_forgotten()
        if not self._steps:
            return next(reversed(self._outstanding)) if self._outstanding else 0
        steps, body = self._steps, self._body
        sent = self._outstanding[self._number + 1] = Sent(self, self._number + 1, self._slots, self._origins)
        self._number += 1
        self._steps, self._origins, self._slots = [], [], {}
        if body:
            sent.nbytes, self._body, self._body_len = self._body_len, [], 0
        if self._scopes:
            sent.scopes, self._scopes = self._scopes, {}
        if self._plans:
            sent.plans, self._plans = self._plans, {}
        if chunks:
            sent.chunks, sent.policy = chunks, policy
        self.steps_recorded += len(steps)
        self._unsent_steps += len(steps)
        try:
            self.conversation.ask(sent, steps, body, self._lane)
        except AsyncSyftError as error:
            self.left(sent)
            sent.lost(error)
        return sent.number

    def _drain_forgotten(self) -> None:
        forgotten = self.forgotten
        if not forgotten:
            return
        ids = [forgotten.popleft() for _ in range(min(len(forgotten), wire.MAX_LIST))]
        self._steps.append([program.DELETE, 0, ids])
        self._origins.append((NOWHERE, 0))

    def left(self, sent: Sent) -> None:
        """A program is on its way: there is room for more."""
        self._unsent_steps -= len(sent.origins)
        self._unsent_bytes -= sent.nbytes
        if self._room and not self._crowded:
            waiting, self._room = self._room, []
            for slot in waiting:
                slot.set(None)

    @property
    def _crowded(self) -> bool:
        unsent = self._unsent_steps + len(self._steps)
        return unsent >= MAX_RECORDED_STEPS // 2 or self._unsent_bytes >= MAX_RECORDED_BYTES // 2

    async def ready(self) -> None:
        """Wait until there is room to record."""
        while self._crowded and self.lost is None:
            slot = self.slot()
            self._room.append(slot)
            await slot

    # Answers.

    def flushed(self) -> Slot[None]:
        """A slot that is set when every step recorded so far is answered; it fails if the worker is lost before."""
        number = self.close_program()
        slot: Slot[None] = self.slot()
        if self._outstanding and next(iter(self._outstanding)) <= number:
            self._flushes.append((number, slot))
        else:
            slot.set(None)
        return slot

    def settled(self, sent: Sent, error: Optional[AsyncSyftError] = None) -> None:
        """A program is answered, or lost."""
        self._outstanding.pop(sent.number, None)
        while self._flushes and (not self._outstanding or next(iter(self._outstanding)) > self._flushes[0][0]):
            slot = self._flushes.popleft()[1]
            if error is None:
                slot.set(None)
            else:
                slot.fail(error)

    def error(self, sent: Sent, failure: Failure) -> AsyncSyftError:
        """The error of a failure: while somebody has it, one and the same for all that share the cause."""
        cause = (failure.cause_id, failure.cause_step)
        told = self._told.get(cause)
        if told is not None:
            return told
        kept = self._causes.get(cause)
        if kept is None:
            kept = self._causes[cause] = self._cause(sent, failure, cause == (failure.id, failure.step))
            if len(self._causes) > MAX_CAUSES:
                self._causes.popitem(last=False)
        told = self._told[cause] = fresh(kept)
        return told

    def _cause(self, sent: Sent, failure: Failure, is_root: bool) -> AsyncSyftError:
        origin = sent.origins[failure.step] if failure.step < len(sent.origins) and is_root else None
        op, written = written_within(failure.op, origin, sent.plans.get(failure.step, ()) if is_root else ())
        return by_code(failure.code)(
            failure.message,
            worker=self.worker,
            op=op or None,
            kind=failure.kind or None,
            origin=written,
            request=(failure.cause_id, failure.cause_step),
        )

    def end(self, error: AsyncSyftError) -> None:
        """The conversation has ended: what was recorded and not sent is lost with it. Idempotent."""
        if self.lost is not None:
            return
        self.close_program()
        self.lost = fresh(error)
        self.stored.clear()
        for slot in self._room:
            slot.set(None)
        self._room.clear()
