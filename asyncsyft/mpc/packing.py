"""Gates as bytes and back: what a driver tells parties and dealer. It knows the form of gates, not their rules."""

from __future__ import annotations

from typing import Any, List, Sequence

import msgpack
import numpy as np

from ..errors import Refused
from .machine import Gate
from .ring import DTYPE

__all__ = ["MAX_GATES", "pack", "unpack"]

#: Gates of one batch, and the elements of any list within.
MAX_GATES = 1 << 20
#: The extension type of a public array: its shape, then its raw bytes.
ARRAY = 1
_NUMBERS = frozenset((int,))


def pack(gates: Sequence[Gate]) -> bytes:
    data: bytes = msgpack.packb([gate if len(gate) > 4 and gate.drop else gate[:4] for gate in gates], default=_array)
    return data


def _array(value: Any) -> Any:
    if isinstance(value, np.integer):
        return int(value)
    if not isinstance(value, np.ndarray):
        raise TypeError(f"a gate has no {type(value).__name__}")
    return msgpack.ExtType(ARRAY, msgpack.packb([list(value.shape), value.astype(DTYPE, copy=False).tobytes()]))


def unpack(data: Any) -> List[Gate]:
    """The gates of a batch. Raises: Refused for bytes that are none."""
    try:
        raw = msgpack.unpackb(data, use_list=False, ext_hook=_restored, max_array_len=MAX_GATES, max_ext_len=len(data))
    except Exception as error:  # noqa: BLE001 - whatever hostile bytes make the decoder raise
        raise Refused(f"not gates: {type(error).__name__}") from None
    if type(raw) is not tuple:
        raise Refused("gates are a list")
    return [_checked(item) for item in raw]


def _restored(code: int, data: bytes) -> Any:
    if code != ARRAY:
        raise ValueError("an unknown extension")
    shape, raw = msgpack.unpackb(data, max_array_len=64)
    return np.frombuffer(raw, DTYPE).reshape([int(size) for size in shape])


def _checked(item: Any) -> Gate:
    if type(item) is not tuple or not 4 <= len(item) <= 5:
        raise Refused("a gate is a list of op, out, ins and params, and of what it is the last to name")
    op, out, ins, params, *drop = item
    if type(op) is not str or type(out) is not int or not _is_numbers(ins) or type(params) is not tuple:
        raise Refused("a gate is a text, a number, numbers of its inputs, and a list")
    if drop and not _is_numbers(drop[0]):
        raise Refused("a gate forgets values by their numbers")
    return Gate(*item)


def _is_numbers(value: Any) -> bool:
    return type(value) is tuple and _NUMBERS.issuperset(map(type, value))
