"""Values as answers: small ones of a program together, large ones in chunks each. It knows no steps and no stores."""

from __future__ import annotations

from operator import attrgetter
from typing import List, Optional, Tuple, Union

import numpy as np

from .. import program, tensor, wire
from ..protocol import Conversation, Served
from ..tensor import Array
from ..wire import Buffer, Value

#: An array that a step gave, or a document.
Given = Union[Array, bytes]
#: Arrays up to this many bytes are copied into their answer; larger ones are lent to it, since they never change.
COPIED = 1 << 12
_ARRAYS = {np.ndarray}
_dtype, _shape = attrgetter("dtype"), attrgetter("shape")


def give(conversation: Conversation, served: Served, values: List[Tuple[int, Given]]) -> None:
    """Give a conversation what steps of a request are answered with."""
    block = _block(values) if len(values) > 1 else None
    if block is not None:
        conversation.values(served, *block)
        return
    entries: List[Value] = []
    body: List[Buffer] = []
    at = 0
    for step, value in values:
        data: Buffer
        if isinstance(value, bytes):
            descr, shape, data = wire.DOCUMENT, (len(value),), value
            size = len(data)
        else:
            size = value.nbytes
            if size > wire.CHUNK:
                conversation.value(served, step, tensor.as_tensor(value))
                continue
            descr, shape = tensor.descriptor(value.dtype), value.shape
            data = value.tobytes() if size <= COPIED else tensor.raw(tensor.as_tensor(value))
        if at + size > wire.CHUNK or len(entries) >= program.BATCH_STEPS:
            conversation.values(served, entries, body)
            entries, body, at = [], [], 0
        entries.append((step, descr, shape, at))
        body.append(data)
        at += size + 7 & ~7
    if entries:
        conversation.values(served, entries, body)


def _block(values: List[Tuple[int, Given]]) -> Optional[Tuple[List[Value], List[Buffer]]]:
    """Small arrays of one form, as most programs give that give many, in one buffer; None if they are not that."""
    steps, arrays = zip(*values)
    first, count = arrays[0], len(arrays)
    if set(map(type, arrays)) != _ARRAYS:
        return None
    dtype, shape, nbytes = first.dtype, first.shape, first.nbytes
    if not nbytes or nbytes > COPIED or count > program.BATCH_STEPS or count * (nbytes + 7) > wire.CHUNK:
        return None
    if len(set(map(_dtype, arrays))) > 1 or list(map(_shape, arrays)).count(shape) < count:
        return None
    try:
        data = bytes(-nbytes & 7).join(arrays)
    except TypeError:  # one of them does not lie in C order
        return None
    return [(steps, tensor.descriptor(dtype), shape, 0)], [data]
