"""PySyft's messages as a service on a peer: what is asked of this end, and what this end asks.

All of it runs in the thread of the loop; what a message means is for the one who serves it, at a desk.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from functools import partial
from typing import Any, Callable, Deque, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import msgpack
import numpy as np

from asyncsyft import tensor, wire
from asyncsyft.errors import AsyncSyftError, by_code
from asyncsyft.protocol import Conversation, Request, Served
from asyncsyft.tensor import Array
from asyncsyft.wire import Buffer, ChunkOf, Failure, Program

from . import warm
from .desks import Desk, Office, here
from .failures import described
from .loop import Loop
from .messages import MAX_BUFFERS, PROCESS_SIZE, SMALL, Arriving, Call, Loud, Message, Packed, message_of

logger = logging.getLogger(__name__)

#: None, as PySyft's serde writes it: a byte for "not compressed", and msgpack's nil.
NOTHING = b"\x28\xc0"

#: Who began the calls that are served in this process: by the name of a process, the conversation with it.
HOMES: Dict[bytes, Conversation] = {}


def home() -> Optional[Conversation]:
    """The conversation with the one who began the call that this thread serves; None if it serves nobody."""
    desk = here()
    return None if desk.talk is None else HOMES.get(desk.root[:PROCESS_SIZE], desk.talk)


Handle = Callable[[Call, Message], bytes]


class Asked(Request):
    """A message whose answer is put on the desk of the thread that waits for it."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.done = False
        self.error: Optional[Exception] = None
        self.values: Dict[int, Array] = {}
        #: What went wrong at the far end, as ``failures.described`` says it.
        self.problem: Any = None

    def wants(self, step: int) -> bool:
        return 0 <= step <= MAX_BUFFERS and step not in self.values

    def value(self, step: int, value: Any) -> None:
        if isinstance(value, np.ndarray):
            self.values[step] = value
        else:
            self.problem = value

    def failed(self, failure: Failure) -> None:
        self.error = by_code(failure.code)(failure.message, kind=failure.kind or None)

    def lost(self, error: AsyncSyftError) -> None:
        self.error = error
        self.settled()

    def settled(self) -> None:
        self.done = True
        self.desk.mail.put(self)

    @property
    def answer(self) -> Message:
        """What the worker answered."""
        return message_of([self.values[step] for step in sorted(self.values)])


class Leaving(NamedTuple):
    """What a conversation has to send, once all is there that is to go together."""

    talk: Conversation

    def __call__(self) -> bool:
        """Whether some of it could not be sent yet."""
        self.talk.pump()
        return self.talk.owes


def ask(talk: Conversation, asked: Asked, call: Call, message: Message) -> Optional[Leaving]:
    """Send a message; its arrays must not change until it is answered. What is returned has it leave."""
    try:
        packed = Packed(call).asked(message)
        asked.chunks = packed.chunked
        talk.ask(asked, packed.steps, packed.body, call.depth - 1)
    except (AsyncSyftError, ValueError, TypeError) as error:
        asked.error = error
        asked.settled()
        return None
    return Leaving(talk)


class Arrived:
    """A request to be served: a message that somebody waits for, or several that nobody does."""

    def __init__(self, service: Service, talk: Conversation, served: Served, arriving: Arriving, size: int) -> None:
        self.call, self.arriving = arriving.call, arriving
        self.talk, self.served = talk, served
        self.is_waited, self.is_followed = arriving.is_waited, False
        self._service, self._size, self._generation = service, size, talk.generation

    def serve(self) -> None:
        """Have the worker do it, and answer."""
        messages, loop = self.arriving.messages(), self._service.loop
        if self.is_waited:
            loop.queue(self._answer, *self._answered(messages[0][0]))
            loop.hurry()
            return
        loop.queue(self._answer, None, self._done(messages))
        # While there is more to do, answers that nobody waits for may leave together; else somebody may wait after all.
        if not self.is_followed:
            (loop.hurry if here().mail.empty() else loop.linger)()

    def _answered(self, message: Message) -> Tuple[Optional[bytes], Dict[int, Any]]:
        """What a message is answered with, or what went wrong: with it, or with one before that nobody waited for."""
        service = self._service
        untold = service.untold.pop((self.talk, self.call.root), None)
        if untold is not None:
            return None, {0: {**untold, "earlier": True}}
        try:
            return service.office.serve(self.call, partial(service.handle, self.call, message), self.talk), {}
        except Exception as error:
            logger.debug("%s: a message failed", service.name, exc_info=True)
            return None, {0: described(error, service.name)}

    def _done(self, messages: List[Loud]) -> Dict[int, Any]:
        """Have messages done, one after the other; what went wrong, by their numbers."""
        service, call, problems = self._service, self.call, {}
        for number, (message, is_loud) in enumerate(messages):
            try:
                answer = service.office.serve(call, partial(service.handle, call, message), self.talk)
                if answer != NOTHING:
                    raise RuntimeError("there is an answer, and nobody waits for it")
            except Exception as error:
                logger.debug("%s: a message failed", service.name, exc_info=True)
                if is_loud:
                    problems[number] = described(error, service.name)
                    service.untold.setdefault((self.talk, call.root), problems[number])
        return problems

    def _answer(self, answer: Optional[bytes], problems: Dict[int, Any]) -> Optional[Leaving]:
        talk, served = self.talk, self.served
        if talk.ended is not None:
            return None
        talk.consumed(served.lane, self._size, self._generation)
        if answer is not None:
            _give(talk, served, [np.frombuffer(answer, np.uint8), *getattr(answer, "tensors", ())])
        for number, problem in problems.items():
            document = msgpack.packb(problem)
            talk.values(served, [(number, wire.DOCUMENT, (len(document),), 0)], [document])
        talk.done(served)
        return Leaving(talk)


def _give(talk: Conversation, served: Served, buffers: Sequence[Array]) -> None:
    values: List[Tuple[int, str, Tuple[int, ...], int]] = []
    body: List[Buffer] = []
    at = 0
    for step, array in enumerate(buffers):
        if array.nbytes > SMALL or at + array.nbytes > wire.CHUNK:
            talk.value(served, step, array)
            continue
        values.append((step, tensor.descriptor(array.dtype), array.shape, at))
        body.append(tensor.raw(array))
        at += array.nbytes + 7 & ~7
    if values:
        talk.values(served, values, body)


class Service:
    """Serves PySyft's messages; a ``protocol.Server``.

    ``handle`` gets a message, at a desk, and returns its answer; ``end`` is the end whose
    service this is; ``begin`` is what each thread that serves does first.
    """

    def __init__(self, name: str, handle: Handle, end: Any, begin: Callable[[], None]) -> None:
        self.name, self.handle, self.end = name, handle, end
        self.loop: Loop = end.loop
        self.office = Office(name, begin)
        #: The first thing that went wrong with what nobody waited for, by conversation and root of the call. The next
        #: message that is waited for is not done, and is told this: as if the program had stopped where it went wrong.
        self.untold: Dict[Tuple[Conversation, bytes], Dict[str, Any]] = {}
        self._coming: Dict[Tuple[Conversation, int], Arrived] = {}
        self._lanes: Dict[Tuple[Conversation, int], Deque[Arrived]] = {}

    def program(
        self, conversation: Conversation, served: Served, message: Program, body: memoryview, size: int
    ) -> None:
        """A message came, but for what follows in chunks. Raises: RemoteProtocolError if it is none."""
        arrived = Arrived(self, conversation, served, Arriving(message, body, self._landing), size)
        if arrived.call.depth == 1:  # the first to say so is believed
            HOMES.setdefault(arrived.call.root[:PROCESS_SIZE], conversation)
        if arrived.arriving.landings:
            self._coming[conversation, served.id] = arrived
        self._lanes.setdefault((conversation, served.lane), deque()).append(arrived)
        self._deliver(conversation, served.lane)

    def _landing(self, dtype: Any, shape: Sequence[int]) -> tensor.Landing:
        is_large = math.prod(shape) * np.dtype(dtype).itemsize >= warm.LARGE
        return warm.Landing(dtype, shape, self.loop) if is_large else tensor.Landing(dtype, shape)

    def chunk(self, conversation: Conversation, number: int, chunk: ChunkOf, body: memoryview) -> None:
        """Land a part of a large tensor."""
        arrived = self._coming.get((conversation, number))
        if arrived is None or chunk.step not in arrived.arriving.landings:
            return
        landings = arrived.arriving.landings
        if landings[chunk.step].land(chunk.offset, body):
            del landings[chunk.step]
            if not landings:
                del self._coming[conversation, number]
                self._deliver(conversation, arrived.served.lane)

    def _deliver(self, conversation: Conversation, lane: int) -> None:
        """Hand over what is whole, in the order in which it was sent."""
        waiting = self._lanes[conversation, lane]
        while waiting and not waiting[0].arriving.landings:
            self.office.deliver(conversation, waiting.popleft())

    def landed(self, conversation: Conversation) -> Iterator[Tuple[int, int, int]]:
        """How far large tensors have come."""
        for (asking, number), arrived in self._coming.items():
            for step, landing in arrived.arriving.landings.items() if asking is conversation else ():
                yield number, step, landing.at

    def cancel(self, conversation: Conversation, number: int, step: int) -> None:
        """PySyft's messages cannot be stopped."""

    def ended(self, conversation: Conversation) -> None:
        """A conversation is over."""
        tables: Tuple[Dict[Any, Any], ...] = (self._coming, self._lanes, self.untold)
        for table in tables:
            for key in [key for key in list(table) if key[0] is conversation]:
                table.pop(key, None)
        for process in [process for process, talk in HOMES.items() if talk is conversation]:
            del HOMES[process]
        self.office.ended(conversation)
