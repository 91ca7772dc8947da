"""A message between two PySyft workers as a request of a conversation: what stands where in it.

A message is bytes and tensors beside them. Small ones travel in the body of the request, each large one in chunks,
under a step of its own. An answer is a value for each: step 0 the bytes (or what went wrong), from 1 on the tensors.
A message of no bytes asks where a worker is; its answer is a document, as bytes.
"""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from asyncsyft import tensor
from asyncsyft.errors import RemoteProtocolError
from asyncsyft.wire import CHUNK, Buffer, Program

#: The op of a step that stands for a tensor in chunks, and of the one that holds the message.
BUFFER, MESSAGE = "syft.buffer", "syft.message"
#: Bytes up to which a tensor travels in the body; together they fill it no further than the one chunk that it may hold.
SMALL = 1 << 16
#: Tensors beside one message: msgpack lists have a bound (``wire.MAX_LIST``).
MAX_BUFFERS = 2000
#: Bytes of a root that name its process.
PROCESS_SIZE = 8
#: Calls within calls: PySyft's own go three or four deep.
MAX_DEPTH = 64

#: The id of a PySyft worker; None is the one at the far end itself.
Id = Union[int, str, None]


class Call(NamedTuple):
    """Where a message stands: ``root`` is the thread that began it all, ``depth`` how many calls deep it is.

    A call made while serving another has its root, and is one deeper: it is served by whoever waits for that root.
    ``waited``: somebody waits for the answer; nobody does for one that says nothing but that all went well. None: nor
    does anybody want to know what went wrong.
    ``to``: for whom it is, where that is somebody whom the far end knows.
    """

    root: bytes
    depth: int
    waited: Optional[bool]
    to: Id = None


def pack(call: Call, buffers: Sequence[tensor.Array]) -> Tuple[List[Any], List[Buffer], List[Tuple[int, tensor.Array]]]:
    """Steps, body and chunked arrays of a request. Raises: ValueError past a limit."""
    if len(buffers) > MAX_BUFFERS:
        raise ValueError(f"a message with {len(buffers)} tensors is past the limit of {MAX_BUFFERS}")
    if call.depth > MAX_DEPTH:
        raise ValueError(f"calls within calls, {call.depth} deep: do two workers send each other on?")
    steps: List[Any] = []
    entries: List[Any] = []
    body: List[Buffer] = []
    chunked: List[Tuple[int, tensor.Array]] = []
    at = 0
    for array in buffers:
        descr, shape, nbytes = tensor.descriptor(array.dtype), list(array.shape), array.nbytes
        if nbytes <= SMALL and at + nbytes <= CHUNK:
            entries.append([descr, shape, at])
            body.append(tensor.raw(array))
            at += nbytes + 7 & ~7
        else:
            entries.append(len(steps))
            chunked.append((len(steps), array))
            steps.append([BUFFER, descr, shape])
    steps.append([MESSAGE, *call, entries])
    return steps, body, chunked


class Arriving:
    """A message that came, or comes: its buffers, of which ``landings`` are under way."""

    def __init__(self, message: Program, body: memoryview) -> None:
        """Raises: RemoteProtocolError if it is not what ``pack`` makes, LimitExceeded if there is no memory."""
        try:
            *large, (op, root, depth, waited, to, entries) = message.steps
            if op != MESSAGE or type(root) is not bytes or type(depth) is not int or not 0 < depth <= MAX_DEPTH:
                raise ValueError("no message")
            if to is not None and type(to) not in (int, str):
                raise ValueError("for nobody")
            if message.chunked != list(range(len(large))):
                raise ValueError("what is large comes in chunks")
            self.call = Call(root, depth, None if waited is None else bool(waited), to)
            self.landings: Dict[int, tensor.Landing] = {at: _landing(step) for at, step in enumerate(large)}
            arrays = {at: landing.array for at, landing in self.landings.items()}
            self.buffers = [arrays[entry] if type(entry) is int else _small(entry, body) for entry in entries]
            if not self.buffers or self.buffers[0].dtype != np.uint8 or self.buffers[0].ndim != 1:
                raise ValueError("a message begins with bytes")
        except (ValueError, TypeError, KeyError) as error:
            raise RemoteProtocolError(f"no PySyft message: {error!r:.120}") from None


def _landing(step: Any) -> tensor.Landing:
    op, descr, shape = step
    dtype, dims, nbytes = tensor.check_descr(descr, shape)
    if op != BUFFER or not nbytes:
        raise ValueError("not a buffer")
    return tensor.Landing(dtype, dims)


def _small(entry: Any, body: memoryview) -> tensor.Array:
    descr, shape, at = entry
    dtype, dims, nbytes = tensor.check_descr(descr, shape)
    if type(at) is not int or at < 0 or at & 7 or at + nbytes > len(body):
        raise ValueError(f"{nbytes} bytes at {at!r:.20} of a body of {len(body)}")
    return tensor.copy_at(dtype, dims, nbytes, body, at)
