"""Tokens that are good no longer: a text file of ids, one a line."""

from __future__ import annotations

import logging
import os
from typing import FrozenSet, Tuple

from .files import Path, append_line, read_lines

logger = logging.getLogger(__name__)


class Revoked:
    """The ids in a file, one a line, ``#`` begins a comment; ``in`` reads the file again when it has changed.

    A file that disappears or breaks revokes what it revoked before. Raises: OSError, ValueError.
    """

    def __init__(self, path: Path) -> None:
        self._path = os.fspath(path)
        self._complaint = ""
        self._stamp = _stamp(self._path)
        self._ids = _read(self._path)

    def __contains__(self, id: object) -> bool:
        try:
            stamp = _stamp(self._path)
            if stamp != self._stamp:
                self._ids = _read(self._path)
                self._stamp, self._complaint = stamp, ""
        except (OSError, ValueError) as error:
            if str(error) != self._complaint:
                logger.error("the tokens that were revoked before stay revoked, others are not: %s", error)
            self._complaint = str(error)
        return id in self._ids


def revoke(path: Path, id: str, comment: str = "") -> None:
    """Add a token's id to a file of revoked ones, which is made if need be. Raises: OSError, ValueError."""
    if len(id.split()) != 1 or id.startswith("#") or not (id + comment).isprintable():
        raise ValueError(f"not a token's id: {id!r:.80}")
    if not os.path.exists(path) or id not in _read(path):
        append_line(path, f"{id}  # {comment}" if comment else id)


def _stamp(path: Path) -> Tuple[int, int, int]:
    found = os.stat(path)
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(path: Path) -> FrozenSet[str]:
    return frozenset(line.split()[0] for _, line in read_lines(path))
