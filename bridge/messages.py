"""Messages between two PySyft workers as a request of a conversation: what stands where in it.

A message is bytes and tensors beside them. What is small travels in the body of the request, each large tensor in
chunks, under a step of its own. One that is waited for is a request; others travel together in one. The answer to one
that is waited for is a value for each part: step 0 the bytes (or what went wrong), from 1 on the tensors. To others
there is no answer, but for what went wrong: at the step with the number of the message.
A message of no bytes asks where a worker is; its answer is a document, as bytes.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Tuple, Union

import numpy as np

from asyncsyft import tensor
from asyncsyft.errors import RemoteProtocolError, in_short
from asyncsyft.wire import CHUNK, Buffer, Program

#: The op of a step that stands for a tensor in chunks, of one that holds a message, and of one that holds several that
#: nobody waits for.
BUFFER, MESSAGE, TOLD = "syft.buffer", "syft.message", "syft.told"
#: Bytes up to which a part travels in the body; together they fill it no further than the one chunk that it may hold.
SMALL = 1 << 16
#: Tensors beside one message: msgpack lists have a bound (``wire.MAX_LIST``).
MAX_BUFFERS = 2000
#: Bytes of a root that name its process.
PROCESS_SIZE = 8
#: Calls within calls: PySyft's own go three or four deep.
MAX_DEPTH = 64

#: The id of a PySyft worker; None is the one at the far end itself.
Id = Union[int, str, None]


class Message(bytes):
    """What PySyft's serde wrote, and the tensors that it names by number."""

    tensors: Sequence[tensor.Array] = ()


class Call(NamedTuple):
    """Where a message stands: ``root`` is the thread that began it all, ``depth`` how many calls deep it is.

    A call made while serving another has its root, and is one deeper: it is served by whoever waits for that root.
    ``to``: for whom it is, where that is somebody whom the far end knows.
    """

    root: bytes
    depth: int
    to: Id = None


#: One that nobody waits for, and whether anybody wants to know what went wrong with it.
Loud = Tuple[Message, bool]


class Packed:
    """Steps, body and chunked arrays of a request."""

    def __init__(self, call: Call) -> None:
        """Raises: ValueError past a limit."""
        if call.depth > MAX_DEPTH:
            raise ValueError(f"calls within calls, {call.depth} deep: do two workers send each other on?")
        self.call = call
        self.steps: List[Any] = []
        self.body: List[Buffer] = []
        self.chunked: List[Tuple[int, tensor.Array]] = []
        self._at = 0

    def asked(self, message: Message) -> Packed:
        """The request is a message. Raises: ValueError past a limit."""
        entries = self._entries(message)
        self.steps.append([MESSAGE, *self.call, entries])
        return self

    def told(self, messages: Sequence[Loud]) -> Packed:
        """The request is messages that nobody waits for. Raises: ValueError past a limit."""
        entries = [[is_loud, *self._entries(message)] for message, is_loud in messages]
        self.steps.append([TOLD, *self.call, entries])
        return self

    def _entries(self, message: Message) -> List[Any]:
        if len(message.tensors) >= MAX_BUFFERS:
            raise ValueError(f"a message with {len(message.tensors)} tensors is past the limit of {MAX_BUFFERS}")
        size, at = len(message), self._at
        if size <= SMALL and at + size <= CHUNK:
            self.body.append(message)
            self._at = at + size + 7 & ~7
            entries: List[Any] = [[size, at]]
        else:
            entries = [self._array(np.frombuffer(message, np.uint8))]
        for array in message.tensors:
            entries.append(self._array(array))
        return entries

    def _array(self, array: tensor.Array) -> Any:
        descr, shape, nbytes, at = tensor.descriptor(array.dtype), list(array.shape), array.nbytes, self._at
        if nbytes <= SMALL and at + nbytes <= CHUNK:
            self.body.append(tensor.raw(array))
            self._at = at + nbytes + 7 & ~7
            return [descr, shape, at]
        self.chunked.append((len(self.steps), array))
        self.steps.append([BUFFER, descr, shape])
        return len(self.steps) - 1


Lands = Callable[[Any, Sequence[int]], tensor.Landing]


class Arriving:
    """Messages that came, or come: ``landings`` are what of them is under way."""

    def __init__(self, program: Program, body: memoryview, landing: Lands = tensor.Landing) -> None:
        """``landing``: makes what a large tensor lands in, whose array is taken once it is whole.

        Raises: RemoteProtocolError if it is not what ``Packed`` makes, LimitExceeded if there is no memory.
        """
        try:
            *large, (op, root, depth, to, entries) = program.steps
            if op not in (MESSAGE, TOLD) or type(root) is not bytes or type(depth) is not int:
                raise ValueError("no message")
            if not 0 < depth <= MAX_DEPTH or (to is not None and type(to) not in (int, str)):
                raise ValueError("for nobody")
            if program.chunked != list(range(len(large))):
                raise ValueError("what is large comes in chunks")
            self.call, self.is_waited = Call(root, depth, to), op == MESSAGE
            self.landings: Dict[int, tensor.Landing] = {at: _landing(step, landing) for at, step in enumerate(large)}
            self._large = dict(self.landings)
            self._body = body
            self._parts = [[True, *entries]] if self.is_waited else entries
            self._parts = [(is_loud, self._first(first), self._rest(rest)) for is_loud, first, *rest in self._parts]
            del self._body  # it is valid during the call only
        except (ValueError, TypeError, KeyError) as error:
            raise RemoteProtocolError(f"no PySyft message: {in_short(error)}") from None

    def _first(self, entry: Any) -> Union[bytes, tensor.Landing]:
        if type(entry) is int:
            landing = self._large[entry]
            if landing.array.dtype != np.uint8 or landing.array.ndim != 1:
                raise ValueError("a message begins with bytes")
            return landing
        size, at = entry
        if type(size) is not int or type(at) is not int or not 0 <= at <= at + size <= len(self._body):
            raise ValueError(f"{size!r:.20} bytes at {at!r:.20} of a body of {len(self._body)}")
        return bytes(self._body[at : at + size])

    def _rest(self, entries: List[Any]) -> List[Union[tensor.Array, tensor.Landing]]:
        return [self._large[entry] if type(entry) is int else _small(entry, self._body) for entry in entries]

    def messages(self) -> List[Loud]:
        """What came, whole; once only."""
        parts, self._parts, self._large = self._parts, [], {}
        return [(_message(_landed(first), list(map(_landed, rest))), bool(loud)) for loud, first, rest in parts]


def _message(first: Union[bytes, tensor.Array], tensors: List[tensor.Array]) -> Message:
    message = Message(first.tobytes() if isinstance(first, np.ndarray) else first)
    message.tensors = tensors
    return message


def as_message(message: bytes) -> Message:
    """What any of PySyft's serialisers wrote."""
    return message if type(message) is Message else Message(message)


def message_of(arrays: Sequence[tensor.Array]) -> Message:
    """An answer, of which bytes and tensors came as values."""
    return _message(arrays[0], list(arrays[1:]))


def _landed(part: Any) -> Any:
    return part.array if isinstance(part, tensor.Landing) else part


def _landing(step: Any, landing: Lands) -> tensor.Landing:
    op, descr, shape = step
    dtype, dims, nbytes = tensor.check_descr(descr, shape)
    if op != BUFFER or not nbytes:
        raise ValueError("not a buffer")
    return landing(dtype, dims)


def _small(entry: Any, body: memoryview) -> tensor.Array:
    descr, shape, at = entry
    dtype, dims, nbytes = tensor.check_descr(descr, shape)
    if type(at) is not int or at < 0 or at & 7 or at + nbytes > len(body):
        raise ValueError(f"{nbytes} bytes at {at!r:.20} of a body of {len(body)}")
    return tensor.copy_at(dtype, dims, nbytes, body, at)
