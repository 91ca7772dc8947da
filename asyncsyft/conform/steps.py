"""Frames and programs as they are written: bytes, whatever they say. It knows no link."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence

from .. import tensor
from ..tensor import Array
from ..transport import Buffer
from ..wire import Parcel


class Steps:
    """A program being written: its steps and the body that its puts name."""

    def __init__(self) -> None:
        self.steps: List[List[Any]] = []
        self.body: List[Buffer] = []
        self._at = 0

    def add(self, op: str, outs: Any = 0, inputs: Sequence[Any] = (), params: Optional[Dict[str, Any]] = None) -> int:
        """Append a step; its index."""
        self.steps.append([op, outs, list(inputs), params] if params else [op, outs, list(inputs)])
        return len(self.steps) - 1

    def put(self, out: int, array: Any) -> int:
        """Append a put of a small tensor; its index."""
        array = tensor.as_tensor(array)
        descr, shape = tensor.descriptor(array.dtype), list(array.shape)
        step = self.add("put", out, [], {"dtype": descr, "shape": shape, "at": self._at})
        data = array.tobytes()
        self.body.append(data)
        self._at += len(data) + 7 & ~7
        return step

    def announce(self, out: int, array: Array) -> int:
        """Append a put whose tensor follows in chunks; its index."""
        return self.add("put", out, [], {"dtype": tensor.descriptor(array.dtype), "shape": list(array.shape)})

    def get(self, number: int) -> int:
        """Append a get; its index."""
        return self.add("get", 0, [number])


def frame(
    kind: int, meta: Any, body: Sequence[Buffer] = (), *, number: int = 0, flags: int = 0, lane: int = 0, to: int = 0
) -> bytes:
    """One frame as bytes, whatever its meta says."""
    out: List[Buffer] = []
    Parcel(kind, lane, meta, body, flags).write(out, to, number)
    return b"".join(out)
