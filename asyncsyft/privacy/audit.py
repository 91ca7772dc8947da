"""The audit log: a line of JSON for each time that somebody asked for something, and what came of it. No contents."""

from __future__ import annotations

import json
import logging
import os
from datetime import datetime, timezone
from typing import Any, Optional

import anyio
import anyio.to_thread
from anyio.abc import TaskStatus

logger = logging.getLogger(__name__)


class Audit:
    """One file, written line by line, as things happen; decisions are on disk a moment later (``run``).

    A file that was moved away is opened anew, so that it can be rotated from without. Raises: OSError.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._file: Optional[int] = None
        self._torn = False  # the last line ends in its middle
        self._wake: Optional[anyio.Event] = None
        self._open()

    def _open(self) -> int:
        self.close()
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        return self._file

    def note(self, *, decided: bool = False, **what: Any) -> None:
        """Write a line; ``decided``: it says that private data left, or did not. Raises: OSError if it cannot."""
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        line = json.dumps({"time": now.replace("+00:00", "Z"), **what}, separators=(",", ":")).encode() + b"\n"
        line = b"\n" + line if self._torn else line
        written = os.write(self._current(), line)
        self._torn = written < len(line)
        if self._torn:
            raise OSError(f"the disk of {self.path} is full")
        if decided and self._wake is not None:
            self._wake.set()

    def _current(self) -> int:
        try:
            there = os.stat(self.path)
        except FileNotFoundError:
            return self._open()
        if self._file is None:
            return self._open()
        mine = os.fstat(self._file)
        return self._file if (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino) else self._open()

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Bring decisions to the disk until cancelled; then close the file."""
        self._wake = anyio.Event()
        task_status.started()
        try:
            while True:
                await self._wake.wait()
                self._wake = anyio.Event()
                await anyio.to_thread.run_sync(self._sync)
        finally:
            self._sync()
            self.close()

    def _sync(self) -> None:
        try:
            if self._file is not None:
                os.fsync(self._file)
        except OSError as error:
            logger.error("the audit log %s cannot be brought to the disk: %s", self.path, error)

    def close(self) -> None:
        """Let the file go; idempotent."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
