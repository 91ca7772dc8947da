"""Memory for large tensors that come: what one left behind is kept for a moment, for the next.

New memory costs as much as what lands there: the system clears each page, and where it is itself a guest, its host has
to find the page first. The allocator keeps what is small. What is kept here goes back to the system after a moment, and
before anything is done that may need memory (``give_back``). It knows no PySyft.
"""

from __future__ import annotations

import os
import weakref
from functools import partial
from itertools import count
from typing import Any, Dict, Optional, Sequence, Tuple

import numpy as np

from asyncsyft import tensor
from asyncsyft.tensor import Array

from .loop import Loop, Stopped

#: Bytes from which on the allocator (glibc's) always gives memory back.
LARGE = 32 << 20
#: Bytes that are kept at most, and seconds for which they are.
MOST, SECONDS = 1 << 29, 2.0
#: Of what is kept, this much more than what is needed may be taken: parts of it.
SLACK = 1.25
#: Bytes up to which a tensor that began to land in new memory moves to memory that came free meanwhile: who sends one
#: has often deleted one just before.
LITTLE = 8 << 20

#: Memory that is kept, by the number of its last use.
kept: Dict[int, Array] = {}
_uses = count()
#: What is in use: the memory, and a weak reference to the one array that all others on it refer to.
_lent: Dict[int, Tuple[Array, Any]] = {}


def give_back() -> None:
    """Keep nothing; from any thread."""
    kept.clear()


class Landing(tensor.Landing):
    """One whose memory is kept when nobody needs the tensor any more; its ``array`` is to be taken once it is whole."""

    __slots__ = ("_loop", "_owner")

    def __init__(self, dtype: Any, shape: Sequence[int], loop: Loop) -> None:
        """Raises: LimitExceeded if there is no memory for it."""
        super().__init__(dtype, shape)
        self._loop = loop
        self._owner: Optional[Array] = None  # where it lands, if that was kept

    def land(self, offset: int, piece: memoryview) -> bool:
        """As of ``tensor.Landing``. Raises: RemoteProtocolError."""
        if self._owner is None and self.at <= LITTLE:
            self._move()
        if not super().land(offset, piece):
            return False
        owner = self._owner if self._owner is not None else np.frombuffer(self._bytes, np.uint8)
        flat = self._flat(owner)
        self.array = flat.reshape(self.array.shape)
        use = next(_uses)
        _lent[use] = owner, weakref.ref(flat, partial(_came_back, use, self._loop))
        return True

    def _move(self) -> None:
        owner = _taken(self.nbytes)
        if owner is not None:
            landed, self._owner = self._bytes[: self.at], owner
            self.array = self._flat(owner).reshape(self.array.shape)
            self._bytes = tensor.raw(self.array)
            self._bytes[: self.at] = landed

    def _flat(self, owner: Array) -> Array:
        # By way of a memoryview, since numpy has views refer to the last array of a chain, past those between.
        flat: Array = np.frombuffer(memoryview(owner), self.array.dtype, self.array.size)  # type: ignore[arg-type]
        return flat


def _taken(nbytes: int) -> Optional[Array]:
    """Memory of about that size which was kept."""
    for use, owner in list(kept.items()):
        if nbytes <= owner.nbytes <= SLACK * nbytes and kept.pop(use, None) is not None:
            return owner
    return None


def _came_back(use: int, loop: Loop, _: Any) -> None:
    """Nobody refers to a tensor any more; in whatever thread, as a finalizer."""
    owner, _ = _lent.pop(use)
    if owner.nbytes + sum(other.nbytes for other in list(kept.values())) > MOST:
        return
    kept[use] = owner
    try:
        loop.post_soon(loop.call_later, SECONDS, partial(kept.pop, use, None))
    except Stopped:
        kept.pop(use, None)


def _forget() -> None:
    """In a child of this process: nobody is there who lets it go."""
    kept.clear()
    _lent.clear()


os.register_at_fork(after_in_child=_forget)
