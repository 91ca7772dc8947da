"""What a driver's session asks of one member, and what comes back. It knows no gates."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Protocol, Sequence, Tuple

import numpy as np

from .. import program, tensor, wire
from ..errors import AsyncSyftError, SessionError
from ..protocol import Request
from ..waiting import Slot
from ..wire import Failure

__all__ = ["Asked", "laid_out"]


def laid_out(names: Sequence[int], arrays: Sequence[Any]) -> Tuple[List[Any], List[Any], List[Any]]:
    """Steps that put arrays under object ids; what of them travels in the request itself, and what in chunks."""
    puts: List[Any] = []
    body: List[Any] = []
    chunks: List[Any] = []
    at = 0
    for name, array in zip(names, arrays):
        params: Dict[str, Any] = {"dtype": tensor.descriptor(array.dtype), "shape": list(array.shape)}
        if at + array.nbytes <= wire.CHUNK:
            params["at"] = at
            body.append(array.tobytes())  # the wire fills each up to 8 bytes
            at += array.nbytes + 7 & ~7
        else:
            chunks.append((len(puts), np.ascontiguousarray(array)))
        puts.append([program.PUT, name, [], params])
    return puts, body, chunks


class Session(Protocol):
    """What a request needs of its session."""

    error: Optional[SessionError]

    def ended(self, worker: Any, error: SessionError) -> None: ...

    def counted(self, worker: Any, counts: Any) -> None: ...

    def waits(self) -> Slot[Any]: ...

    def waited(self, slot: Slot[Any]) -> None: ...


class Asked(Request):
    """A request of a session to one of its members: arrays that are put, then steps, of which some give values."""

    def __init__(self, mpc: Session, worker: Any, name: str, puts: int, values: Any, held: Any) -> None:
        self._mpc, self._worker, self._name, self._held = mpc, worker, name, held
        self.slots = {puts + step: mpc.waits() for step in values}
        self.done = mpc.waits()
        self._counts = puts  # the step that tells what was counted

    def wants(self, step: int) -> bool:
        slot = self.slots.get(step)
        return step == self._counts if slot is None else not slot.is_set

    def value(self, step: int, value: Any) -> None:
        slot = self.slots.get(step)
        if slot is not None:
            slot.set(value)
            self._mpc.waited(slot)
        elif isinstance(value, dict):
            self._mpc.counted(self._worker, value)

    def failed(self, failure: Failure) -> None:
        message = failure.message if failure.kind == SessionError.__name__ else f"{self._name}: {failure.message}"
        self._end(SessionError(message))

    def settled(self) -> None:
        for slot in (*self.slots.values(), self.done):
            slot.set(None)
            self._mpc.waited(slot)
        self._held = ()

    def lost(self, error: AsyncSyftError) -> None:
        self._end(SessionError(f"{self._name} is lost: {error}"))

    def _end(self, error: SessionError) -> None:
        self._mpc.ended(self._worker, error)
        for slot in (*self.slots.values(), self.done):
            slot.fail(SessionError(*(self._mpc.error or error).args))
            self._mpc.waited(slot)
        self._held = ()
