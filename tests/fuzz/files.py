"""Files that a worker, a relay or a driver reads at its start, as targets."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from unittest import mock

import msgpack
import numpy as np

from asyncsyft.errors import LimitExceeded
from asyncsyft.identity import KnownPeers, Revoked
from asyncsyft.keeping.file import File, Key, Record
from tests.fuzz.table import ROOM, reads


def in_a_file(data: bytes) -> str:
    path = os.path.join(FOLDER, f"{os.getpid()}")
    with open(path, "wb") as file:
        file.write(data)
    return path


FOLDER = tempfile.mkdtemp(prefix="asyncsyft-fuzz-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)


@reads(ValueError, share=3)
def known_peers(data: bytes) -> None:
    known = KnownPeers(in_a_file(data))
    assert all(len(known.key_of(name) or b"") == 32 for name in known.names)


@reads(ValueError, share=2)
def revoked(data: bytes) -> None:
    assert "nobody" not in Revoked(in_a_file(b"# " + data))


@reads(ValueError, LimitExceeded, OSError, share=1, longest=4096)
def kept_file(data: bytes) -> None:
    """A file of what a worker keeps, of which some bytes were changed: pairs of place and byte."""
    changed = bytearray(EMPTY_FILE)
    for at in range(0, len(data) - 3, 4):
        changed[int.from_bytes(data[at : at + 3], "little") % len(changed)] = data[at + 3]
    read_kept(in_a_file(bytes(changed)))


@reads(ValueError, LimitExceeded, share=1)
def kept_record(data: bytes) -> None:
    """A record of such a file: what is written of it, with the right checksum."""
    path = in_a_file(EMPTY_FILE)
    file = File(path)
    file.open()
    key = Key(b"owner", "array", "x")
    with mock.patch("asyncsyft.keeping.file.msgpack", wraps=msgpack) as packer:
        packer.packb = lambda value: data if type(value[0]) is dict else msgpack.packb(value)
        file.write([(key, Record({}, {"": np.arange(3.0)}))])
    file.close()
    read_kept(path)


def read_kept(path: str) -> None:
    file = File(path)
    try:
        file.open()
        for _, record in file.load(ROOM):
            assert sum(array.nbytes for array in record.arrays.values()) <= ROOM
    finally:
        file.close()
        for end in ("-wal", "-shm"):
            if os.path.exists(path + end):
                os.unlink(path + end)


def _empty_file() -> bytes:
    path = os.path.join(FOLDER, "empty")
    file = File(path)
    file.open()
    file.write([(Key(b"owner", "array", "kept"), Record({"tags": ["a"]}, {"": np.arange(5.0)}))])
    file.close()
    with open(path, "rb") as made:
        return made.read()


EMPTY_FILE = _empty_file()
