"""The table of what is kept, and the task that writes it: what changed since the last time, all at once.

Tables are changed from any thread, like a driver's objects; the rest is for the event loop. It knows no programs.
"""

from __future__ import annotations

import logging
import threading
from typing import Callable, Dict, List, NamedTuple, Optional, Protocol, Tuple

import anyio
import anyio.to_thread
from anyio.abc import TaskStatus

from ..errors import OpFailed
from ..privacy import Held
from .file import File, Key, Record

logger = logging.getLogger(__name__)

#: Told that what was changed before is on disk, or why it is not.
Told = Callable[[Optional[OpFailed]], None]
#: Bytes that anything kept takes up beside its arrays: a bound on how many small things there can be.
ROW = 1 << 10


class Keepable(Protocol):
    """What can be kept: a tensor with a name, a plan, a state."""

    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""

    def record(self) -> Record:
        """What there is to write, as it is now; called in a thread."""


class Named(NamedTuple):
    """A tensor that a driver gave a name, with its tags."""

    array: Held
    tags: Tuple[str, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return self.array.nbytes

    def record(self) -> Record:
        """The tags, and the array."""
        return Record.of({"tags": list(self.tags)}, {"": self.array})


class Keeping:
    """What a worker keeps in one file: there while ``run`` runs; ``confirm`` tells when changes are on disk."""

    def __init__(self, path: str, room: int, revive: Callable[[Key, Record], Keepable]) -> None:
        self.path = path
        #: Bytes of all that is kept.
        self.nbytes = 0
        self._room, self._revive = room, revive
        self._file = File(path)
        self._of: Dict[bytes, Dict[Key, Keepable]] = {}
        self._lock = threading.Lock()
        self._changed: Dict[Key, None] = {}
        self._told: List[Told] = []
        self._writing: Optional[List[Told]] = None  # who is told once the batch under way is written
        self._wake: anyio.Event

    # The table, from any thread.

    def find(self, key: Key) -> Optional[Keepable]:
        """What is kept under a key."""
        return self._of.get(key.owner, {}).get(key)

    def of(self, owner: bytes, kind: str, name: Optional[str] = None) -> List[Tuple[Key, Keepable]]:
        """What is kept of one kind for an owner, and under one name if that is given; the oldest first."""
        with self._lock:
            items = list(self._of.get(owner, {}).items())
        return [(key, held) for key, held in items if key.kind == kind and name in (None, key.name)]

    def growth(self, key: Key, held: Keepable) -> int:
        """Bytes more that are held, or less, once this is kept under the key."""
        before = self.find(key)
        return _size(key, held) - (_size(key, before) if before is not None else 0)

    def put(self, key: Key, held: Keepable) -> None:
        """Keep something, in place of what was kept under the key."""
        with self._lock:
            self._place(key, held)
            self._changed[key] = None

    def _place(self, key: Key, held: Keepable) -> None:
        self.nbytes += self.growth(key, held)
        space = self._of.setdefault(key.owner, {})
        space.pop(key, None)  # the new one is the latest
        space[key] = held

    def drop(self, key: Key, held: Keepable) -> None:
        """Keep something no more, unless another took its place."""
        with self._lock:
            space = self._of.get(key.owner, {})
            if space.get(key) is held:
                del space[key]
                self.nbytes -= _size(key, held)
                self._changed[key] = None

    def touch(self, key: Key, held: Keepable) -> None:
        """It is not as it was written."""
        with self._lock:
            if self.find(key) is held:
                self._changed[key] = None

    # The file, from the event loop.

    @property
    def is_written(self) -> bool:
        """Whether all that changed is on disk."""
        return not self._changed and self._writing is None

    def confirm(self, told: Told) -> None:
        """Tell when all that has changed so far is on disk, or could not be written; not for what is written."""
        if self._changed or self._writing is None:
            self._told.append(told)
            self._wake.set()
        else:
            self._writing.append(told)

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Read the file, then write what changes, until cancelled; what is left then too.

        Raises: OSError, ValueError, LimitExceeded.
        """
        self._wake = anyio.Event()
        try:
            await anyio.to_thread.run_sync(self._load)
            task_status.started()
            while True:
                await self._wake.wait()
                self._wake = anyio.Event()
                await self._write()
        finally:
            with anyio.CancelScope(shield=True):
                if self._changed:
                    await self._write()
                await anyio.to_thread.run_sync(self._file.close)

    def _load(self) -> None:
        self._file.open()
        for key, record in self._file.load(self._room):
            try:
                self._place(key, self._revive(key, record))
            except Exception as error:
                raise ValueError(f"{self.path}: {key.kind} {key.name!r} cannot be used here: {error}") from error

    async def _write(self) -> None:
        with self._lock:
            batch, self._changed = self._changed, {}
        self._writing, self._told = self._told, []

        def write() -> None:
            found = ((key, self.find(key)) for key in batch)
            self._file.write((key, held.record() if held is not None else None) for key, held in found)

        problem: Optional[OpFailed] = None
        try:
            await anyio.to_thread.run_sync(write)
        except Exception as error:  # noqa: BLE001 - whoever waits is told; it is tried again with the next change
            logger.error("nothing could be written to %s: %s", self.path, error)
            problem = OpFailed(f"the worker could not write it to its disk: {error}")
            with self._lock:
                self._changed = {**batch, **self._changed}
        told, self._writing = self._writing, None
        for tell in told:
            tell(problem)


def _size(key: Key, held: Keepable) -> int:
    return held.nbytes + len(key.part) + ROW
