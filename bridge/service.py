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

from .desks import Desk, Office
from .failures import described
from .messages import MAX_BUFFERS, SMALL, Arriving, Call, pack

logger = logging.getLogger(__name__)

#: None, as PySyft's serde writes it: a byte for "not compressed", and msgpack's nil.
NOTHING = b"\x28\xc0"


class Asked(Request):
    """A message that this end sent; its answer is put on the desk of the thread that waits, if one does."""

    def __init__(self, desk: Optional[Desk], operation: str = "", told: Optional[List[Any]] = None) -> None:
        """``operation`` and ``told``: what it is, if nobody waits, and where to put what goes wrong."""
        self.desk, self.operation, self.told = desk, operation, told
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
        if self.desk is not None:
            self.desk.mail.put(self)
        elif self.problem is not None and self.told is not None:
            self.told.append({**self.problem, "operation": self.operation} if type(self.problem) is dict else None)

    @property
    def buffers(self) -> List[Array]:
        """The answer: bytes first, then tensors."""
        return [self.values[step] for step in sorted(self.values)]


def ask(talk: Conversation, asked: Asked, call: Call, buffers: Sequence[Array]) -> None:
    """Send a message; its arrays must not change until it is answered."""
    try:
        steps, body, asked.chunks = pack(call, buffers)
        talk.ask(asked, steps, body, call.depth - 1)
    except (AsyncSyftError, ValueError, TypeError) as error:
        asked.error = error
        asked.settled()
        return
    talk.pump()


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
                buffers = service.office.serve(self.call, lambda: service.handle(self.buffers))
                if not waited and buffers[0].tobytes() != NOTHING:
                    raise RuntimeError("there is an answer, and nobody waits for it")
            except Exception as error:
                logger.debug("%s: a message failed", service.name, exc_info=True)
                problem = described(error, service.name)
                if not waited:
                    service.untold.setdefault(key, problem)
        self.buffers = []
        service.post(self._answer, buffers if waited else [], problem)

    def _answer(self, buffers: List[Array], problem: Any) -> None:
        talk, served = self.talk, self.served
        if talk.ended is not None:
            return
        talk.consumed(served.lane, self._size, self._generation)
        if problem is not None:
            document = msgpack.packb(problem)
            talk.values(served, [(0, wire.DOCUMENT, (len(document),), 0)], [document])
        else:
            _give(talk, served, buffers)
        talk.done(served)
        talk.pump()


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

    ``handle`` gets the buffers of a message, at a desk, and returns those of its answer; ``post`` hands work to the
    loop.
    """

    def __init__(self, name: str, handle: Callable[[List[Array]], List[Array]], post: Callable[..., None]) -> None:
        self.name, self.handle, self.post = name, handle, post
        self.office = Office(name)
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
        self.office.ended(conversation)
