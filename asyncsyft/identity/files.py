"""Files of identities: private keys, which only their owner may read, and lists of lines, which programs add to."""

from __future__ import annotations

import errno
import os
import stat
from typing import Any, List, Tuple, Union

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

Path = Union[str, "os.PathLike[str]"]

#: Bytes of a file of a private key, and of a list of names or ids (some 50,000 lines).
MAX_PRIVATE, MAX_LIST = 1 << 14, 1 << 22


def save_private(path: Path, private: Union[X25519PrivateKey, Ed25519PrivateKey]) -> None:
    """Write a private key (PKCS8, PEM) to a new file that only its owner may read. Raises: OSError, FileExistsError."""
    write_private(path, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def write_private(path: Path, data: bytes) -> None:
    """Write a new file that only its owner may read. Raises: OSError, FileExistsError."""
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(number, "wb") as file:
        file.write(data)


def load_private(path: Path, kind: Any, what: str) -> Any:
    """The private key in a file, of the class ``kind``.

    Raises: OSError; PermissionError if others may read it; ValueError if it is another thing.
    """
    with open(path, "rb") as file:
        if os.name == "posix" and stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
            told = "others than its owner may use this private key (chmod 600 makes it right)"
            raise PermissionError(errno.EPERM, told, os.fspath(path))
        data = file.read(MAX_PRIVATE)
    try:
        private = load_pem_private_key(data, password=None)
    except TypeError:
        raise ValueError(f"{os.fspath(path)} is encrypted; only keys without a password can be read") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(f"{os.fspath(path)} holds no private key") from None
    if not isinstance(private, kind):
        raise ValueError(f"{os.fspath(path)} holds a private key of another kind, not {what}")
    return private


def read_lines(path: Path) -> List[Tuple[int, str]]:
    """The lines that say something, and their numbers: not the empty ones, nor those that begin with ``#``.

    Raises: OSError; ValueError for what is no text, or too long.
    """
    with open(path, "rb") as file:
        data = file.read(MAX_LIST + 1)
    if len(data) > MAX_LIST:
        raise ValueError(f"{os.fspath(path)} is longer than {MAX_LIST} bytes")
    try:
        lines = data.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        raise ValueError(f"{os.fspath(path)} is no UTF-8 text") from None
    stripped = [(number, line.strip()) for number, line in enumerate(lines, 1)]
    return [(number, line) for number, line in stripped if line and not line.startswith("#")]


def append_line(path: Path, line: str) -> None:
    """Add a line to a file, which is made if need be, in one write: two programs that add lose neither line."""
    number = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    with open(number, "rb+", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        unfinished = False
        if size:
            file.seek(size - 1)
            unfinished = file.read(1) != b"\n"
        file.write(("\n" * unfinished + line + "\n").encode())
