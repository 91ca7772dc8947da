"""The socket by which a person at a worker decides: a Unix socket for its own user, a line of JSON each way.

It never leads over a network. Who may open it may see the data: it is made for the user who runs the worker alone.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import tempfile
from contextlib import suppress
from typing import Any, Callable, Dict, List
from urllib.parse import quote, unquote

import anyio
from anyio.abc import SocketStream, TaskStatus

#: Bytes of one line, and seconds for it.
MAX_LINE, LINE_TIMEOUT = 1 << 16, 5.0
_SUFFIX = ".control"

#: What is said to a worker, and what it answers: plain values.
Said = Dict[str, Any]


def folder() -> str:
    """Where workers of this user have their sockets; made, for this user alone. Raises: OSError if it is another's."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    path = os.path.join(runtime or tempfile.gettempdir(), "asyncsyft" if runtime else f"asyncsyft-{os.getuid()}")
    os.makedirs(path, mode=0o700, exist_ok=True)
    found = os.lstat(path)
    if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o077:
        raise PermissionError(errno.EPERM, "it must be a folder of this user's, and for nobody else", path)
    return path


def path_of(worker: str) -> str:
    """The socket of a worker of this user. Raises: OSError."""
    return os.path.join(folder(), quote(worker, safe="") + _SUFFIX)


def workers() -> List[str]:
    """The names of the workers that have a socket there. Raises: OSError."""
    return sorted(unquote(name[: -len(_SUFFIX)]) for name in os.listdir(folder()) if name.endswith(_SUFFIX))


def ask(path: str, said: Said) -> Said:
    """Say something to the worker at a socket; what it answers. Raises: OSError, ValueError with its error."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as end:
        end.settimeout(2 * LINE_TIMEOUT)
        end.connect(path)
        end.sendall(json.dumps(said).encode() + b"\n")
        with end.makefile("rb") as lines:
            answer: Said = json.loads(lines.readline() or b'{"error": "the worker ended the call"}')
    if "error" in answer:
        raise ValueError(answer["error"])
    return answer


async def serve(
    path: str, answer: Callable[[Said], Said], *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Answer at a socket until cancelled. Raises: OSError if it cannot be made, or another worker has it."""
    if _is_served(path):
        raise OSError(errno.EADDRINUSE, "another worker answers there", path)
    before = os.umask(0o077)  # or others could open it before its mode is set
    try:
        listener = await anyio.create_unix_listener(path, mode=0o600)
    finally:
        os.umask(before)
    try:
        async with listener:
            task_status.started()
            await listener.serve(lambda stream: _answer(stream, answer))
    finally:
        _remove(path)


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)


def _is_served(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as end:
        end.settimeout(1.0)
        return end.connect_ex(path) == 0


async def _answer(stream: SocketStream, answer: Callable[[Said], Said]) -> None:
    async with stream:
        with anyio.move_on_after(LINE_TIMEOUT):
            try:
                said = json.loads(await _line(stream))
                if type(said) is not dict:
                    raise ValueError("what is said is an object of JSON")
                answered = answer(said)
            except (KeyError, ValueError, TypeError, RecursionError) as error:
                answered = {"error": str(error.args[0] if error.args else error)}
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return
            try:
                await stream.send(json.dumps(answered).encode() + b"\n")
            except anyio.BrokenResourceError:
                return


async def _line(stream: SocketStream) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        line += await stream.receive()
        if len(line) > MAX_LINE:
            raise ValueError(f"a line is at most {MAX_LINE} bytes")
    return line
