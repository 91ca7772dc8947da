"""One SQLite file of records: each a few plain values and arrays, in npy's neutral form, with checksums.

It knows no drivers and no event loop: whoever calls it does so in a thread, and one at a time.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import zlib
from typing import Any, Dict, Iterable, Iterator, Mapping, NamedTuple, Optional, Tuple

import msgpack
import numpy as np

from .. import tensor
from ..errors import AsyncSyftError, LimitExceeded
from ..privacy import Guard, Held, Private, public
from ..tensor import Array

#: How the file says that it is one of these, and in which form. Form 1 knew nothing that is private.
APPLICATION_ID, FORMAT_VERSION = 0x61737966, 2
#: Bytes of an array in one row: SQLite takes at most 10^9, and copies a row while Python stands still (about 0.05 ms).
PIECE = 1 << 18
#: Bytes to which the log beside the file shrinks once it was written back.
LOG = 64 << 20

_TABLES = (
    "CREATE TABLE kept (id INTEGER PRIMARY KEY, owner BLOB, kind TEXT, name TEXT, part BLOB, about BLOB, crc INTEGER,"
    " UNIQUE (owner, kind, name, part))",
    "CREATE TABLE pieces (kept INTEGER, at INTEGER, data BLOB, crc INTEGER)",
    "CREATE INDEX pieces_of ON pieces (kept, at)",
    f"PRAGMA application_id = {APPLICATION_ID}",
)


class Key(NamedTuple):
    """Under what something is kept: whose it is, "array", "plan" or "state", its name, and which part of that."""

    owner: bytes
    kind: str
    name: str
    part: bytes = b""


class Record(NamedTuple):
    """What is kept: plain values, and arrays by name."""

    about: Dict[str, Any]
    arrays: Dict[str, Array]

    @classmethod
    def of(cls, about: Dict[str, Any], values: Mapping[str, Held]) -> Record:
        """Of values of which some are private: what guards them is kept with them."""
        guards = {name: value.guard.plain() for name, value in values.items() if isinstance(value, Private)}
        arrays = {name: public(value) for name, value in values.items()}
        return cls({**about, "guards": guards} if guards else about, arrays)

    def values(self) -> Dict[str, Held]:
        """The opposite of ``of``. Raises: TypeError, KeyError, ValueError."""
        guards = {name: Guard.of(plain) for name, plain in self.about.get("guards", {}).items()}
        return {name: Private(a, guards[name]) if name in guards else a for name, a in self.arrays.items()}


class File:
    """The file, locked for this process from ``open`` to ``close``."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._db: Optional[sqlite3.Connection] = None

    def open(self) -> None:
        """Open or make it. Raises: OSError if it cannot be, or is in use; ValueError for any other kind of file."""
        if not os.path.exists(self.path):  # it may hold what nobody else is to read
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        elif not os.path.isfile(self.path):
            raise ValueError(f"{self.path} is no file")
        try:
            self._db = sqlite3.connect(self.path, timeout=0, isolation_level=None, check_same_thread=False)
            self._begin(self._db)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise self._explained(error) from None

    def _begin(self, db: sqlite3.Connection) -> None:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA page_size = 16384")
        (is_new,) = db.execute("SELECT count(*) = 0 FROM sqlite_master").fetchone()
        (application,), (version,) = (db.execute(f"PRAGMA {p}").fetchone() for p in ("application_id", "user_version"))
        if not (is_new and application == version == 0):
            if application != APPLICATION_ID:
                raise ValueError(f"{self.path} is a database of something else than asyncsyft")
            if not 1 <= version <= FORMAT_VERSION:
                raise ValueError(f"{self.path} has form {version}, and this asyncsyft knows {FORMAT_VERSION} at most")
        (problem,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if problem != "ok":
            raise ValueError(f"{self.path} is damaged: {problem}")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA journal_size_limit = {LOG}")
        db.execute("BEGIN EXCLUSIVE")
        for statement in _TABLES if is_new else ():
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
        db.execute("COMMIT")

    def load(self, room: int) -> Iterator[Tuple[Key, Record]]:
        """All that is kept, in the order in which it was written.

        Raises: ValueError if the file is damaged, LimitExceeded past ``room`` bytes.
        """
        assert self._db is not None
        try:
            rows = self._db.execute("SELECT id, owner, kind, name, part, about, crc FROM kept ORDER BY id").fetchall()
            for number, owner, kind, name, part, about, crc in rows:
                if _crc_of(Key(owner, kind, name, part), about) != crc:
                    raise ValueError("a record is not what was written")
                values, forms = msgpack.unpackb(about)
                checked = [(word, *tensor.check_descr(descr, shape)) for word, descr, shape in forms]
                room -= sum([nbytes for *_, nbytes in checked])
                if room < 0:
                    raise LimitExceeded(f"{self.path} holds more than the worker's limit of bytes")
                arrays = {word: np.empty(shape, dtype) for word, dtype, shape, _ in checked}
                self._fill(number, arrays.values())
                yield Key(owner, kind, name, part), Record(values, arrays)
        except sqlite3.Error as error:
            raise self._explained(error) from None
        except LimitExceeded:
            raise
        except (TypeError, ValueError, AsyncSyftError) as error:
            raise ValueError(f"{self.path} is damaged: {error}") from None

    def _fill(self, number: int, arrays: Iterable[Array]) -> None:
        assert self._db is not None
        pieces = self._db.execute("SELECT data, crc FROM pieces WHERE kept = ? ORDER BY at", (number,))
        for array in arrays:
            target, at = tensor.raw(array), 0
            while at < array.nbytes:
                data, crc = next(pieces, (b"", 0))
                if not data or _crc(data) != crc:
                    raise ValueError("the bytes of an array are not those that were written")
                target[at : at + len(data)] = data
                at += len(data)

    def write(self, changes: Iterable[Tuple[Key, Optional[Record]]]) -> None:
        """Put records in place of those under the same keys, or delete these: all or none. Raises: OSError."""
        assert self._db is not None
        db = self._db
        try:
            db.execute("BEGIN IMMEDIATE")
            try:
                for key, record in changes:
                    self._replace(db, key, record)
                db.execute("COMMIT")
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise OSError(errno.EIO, str(error), self.path) from None

    @staticmethod
    def _replace(db: sqlite3.Connection, key: Key, record: Optional[Record]) -> None:
        where = "FROM kept WHERE owner = ? AND kind = ? AND name = ? AND part = ?"
        for (number,) in db.execute(f"SELECT id {where}", key).fetchall():
            db.execute("DELETE FROM pieces WHERE kept = ?", (number,))
        db.execute(f"DELETE {where}", key)
        if record is None:
            return
        forms = [[word, tensor.descriptor(a.dtype), list(a.shape)] for word, a in record.arrays.items()]
        about = msgpack.packb([record.about, forms])
        insert = "INSERT INTO kept (owner, kind, name, part, about, crc) VALUES (?, ?, ?, ?, ?, ?)"
        number = db.execute(insert, (*key, about, _crc_of(key, about))).lastrowid
        for at, data in enumerate(_pieces(record.arrays.values())):
            db.execute("INSERT INTO pieces VALUES (?, ?, ?, ?)", (number, at, data, _crc(data)))

    def close(self) -> None:
        """Let it go; idempotent."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def _explained(self, error: Exception) -> Exception:
        if "locked" in str(error):
            return OSError(errno.EBUSY, "another worker has it in use", self.path)
        if "unable to open" in str(error):
            return OSError(errno.EACCES, "it cannot be opened for writing", self.path)
        return ValueError(f"{self.path} is no file of what a worker keeps, or is damaged: {error}")


def _pieces(arrays: Iterable[Array]) -> Iterator[memoryview]:
    for array in arrays:
        data = tensor.raw(tensor.as_tensor(array))
        for at in range(0, len(data), PIECE):
            yield data[at : at + PIECE]


def _crc_of(key: Key, about: bytes) -> int:
    return _crc(msgpack.packb([*key, about]))


def _crc(data: Any) -> int:
    return zlib.crc32(data)
