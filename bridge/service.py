"""PySyft's messages as a service on a peer: what is asked of this end, and what this end asks.

All of it runs in the thread of the loop; what a message means is for the one who serves it, at a desk.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import Any, Callable, Deque, Dict, Iterator, List, Optional, Sequence, Tuple

import msgpack
import numpy as np

from asyncsyft import tensor, wire
from asyncsyft.errors import AsyncSyftError, by_code
from asyncsyft.protocol import Conversation, Request, Served
from asyncsyft.tensor import Array
from asyncsyft.wire import Buffer, ChunkOf, Failure, Program

from .desks import Desk, Office, here
from .failures import described
from .messages import MAX_BUFFERS, PROCESS_SIZE, SMALL, Arriving, Call, pack

logger = logging.getLogger(__name__)

#: None, as PySyft's serde writes it: a byte for "not compressed", and msgpack's nil.
NOTHING = b"\x28\xc0"

#: Who began the calls that are served in this process: by the name of a process, the conversation with it.
HOMES: Dict[bytes, Conversation] = {}


def home() -> Optional[Conversation]:
    """The conversation with the one who began the call that this thread serves; None if it serves nobody."""
    desk = here()
    return None if desk.talk is None else HOMES.get(desk.root[:PROCESS_SIZE], desk.talk)


Handle = Callable[[Call, List[Array]], List[Array]]


class Asked(Request):
    """A message that this end sent; its answer is put on the desk of the thread that waits, if one does."""

    def __init__(
        self,
        desk: Optional[Desk],
        operation: str = "",
        told: Optional[List[Any]] = None,
        under_way: Optional[Dict[Asked, None]] = None,
    ) -> None:
        """If nobody waits: ``operation``, what it is; ``told``, where to put what goes wrong; ``under_way``: it itself.

        Who waits for it later adds a desk to ``later``, and then looks whether it is done.
        """
        self.later: List[Desk] = []
        self.root = b""  # on behalf of which it is told
        self.desk, self.operation, self.told, self.under_way = desk, operation, told, under_way
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
        if self.error is not None and self.told is not None:
            self.told.append(self.error)
        elif self.problem is not None and self.told is not None:
            self.told.append({**self.problem, "operation": self.operation} if type(self.problem) is dict else None)
        if self.under_way is not None:
            self.under_way.pop(self, None)
        self.done = True
        if self.desk is not None:
            self.desk.mail.put(self)
        for desk in self.later:
            desk.mail.put(self)

    @property
    def buffers(self) -> List[Array]:
        """The answer: bytes first, then tensors."""
        return [self.values[step] for step in sorted(self.values)]


def ask(talk: Conversation, asked: Asked, call: Call, buffers: Sequence[Array]) -> Optional[Callable[[], None]]:
    """Send a message; its arrays must not change until it is answered. What is returned has it leave."""
    try:
        steps, body, asked.chunks = pack(call, buffers)
        talk.ask(asked, steps, body, call.depth - 1)
    except (AsyncSyftError, ValueError, TypeError) as error:
        asked.error = error
        asked.settled()
        return None
    return talk.pump


class Arrived:
    """A message to be served."""

    def __init__(self, service: Service, talk: Conversation, served: Served, arriving: Arriving, size: int) -> None:
        self.call, self.buffers = arriving.call, arriving.buffers
        self.landings = arriving.landings
        self.talk, self.served = talk, served
        self._service, self._size, self._generation = service, size, talk.generation

    def serve(self) -> None:
        """Have the worker do it, and answer."""
        service, waited = self._service, self.call.waited
        key = self.talk, self.call.root
        buffers: List[Array] = []
        problem = {**service.untold.pop(key), "earlier": True} if waited and key in service.untold else None
        if problem is None:
            try:
                buffers = service.office.serve(self.call, lambda: service.handle(self.call, self.buffers), self.talk)
                if not waited and buffers[0].tobytes() != NOTHING:
                    raise RuntimeError("there is an answer, and nobody waits for it")
            except Exception as error:
                logger.debug("%s: a message failed", service.name, exc_info=True)
                problem = described(error, service.name)
                if waited is False:
                    service.untold.setdefault(key, problem)
        self.buffers = []
        post = service.post if waited else service.post_soon
        post(self._answer, buffers if waited else [], problem)

    def _answer(self, buffers: List[Array], problem: Any) -> Optional[Callable[[], None]]:
        talk, served = self.talk, self.served
        if talk.ended is not None:
            return None
        talk.consumed(served.lane, self._size, self._generation)
        if problem is not None:
            document = msgpack.packb(problem)
            talk.values(served, [(0, wire.DOCUMENT, (len(document),), 0)], [document])
        else:
            _give(talk, served, buffers)
        talk.done(served)
        return talk.pump


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

    ``handle`` gets the buffers of a message, at a desk, and returns those of its answer; ``end`` is the end whose
    service this is; ``begin`` is what each thread that serves does first.
    """

    def __init__(self, name: str, handle: Handle, end: Any, begin: Callable[[], None]) -> None:
        self.name, self.handle, self.end = name, handle, end
        #: Hands work to the loop; soon: answers that nobody waits for may leave together.
        self.post, self.post_soon = end.loop.post, end.loop.post_soon
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
        arrived = Arrived(self, conversation, served, Arriving(message, body), size)
        if arrived.call.depth == 1:  # the first to say so is believed
            HOMES.setdefault(arrived.call.root[:PROCESS_SIZE], conversation)
        if arrived.landings:
            self._coming[conversation, served.id] = arrived
        self._lanes.setdefault((conversation, served.lane), deque()).append(arrived)
        self._deliver(conversation, served.lane)

    def chunk(self, conversation: Conversation, number: int, chunk: ChunkOf, body: memoryview) -> None:
        """Land a part of a large tensor."""
        arrived = self._coming.get((conversation, number))
        if arrived is None or chunk.step not in arrived.landings:
            return
        if arrived.landings[chunk.step].land(chunk.offset, body):
            del arrived.landings[chunk.step]
            if not arrived.landings:
                del self._coming[conversation, number]
                self._deliver(conversation, arrived.served.lane)

    def _deliver(self, conversation: Conversation, lane: int) -> None:
        """Hand over what is whole, in the order in which it was sent."""
        waiting = self._lanes[conversation, lane]
        while waiting and not waiting[0].landings:
            self.office.deliver(conversation, waiting.popleft())

    def landed(self, conversation: Conversation) -> Iterator[Tuple[int, int, int]]:
        """How far large tensors have come."""
        for (asking, number), arrived in self._coming.items():
            for step, landing in arrived.landings.items() if asking is conversation else ():
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
