"""Raw sockets on either event loop: how to dial, to listen, and to end one hard or softly."""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from typing import Tuple
from urllib.parse import urlsplit

import anyio

try:
    from anyio import wait_readable, wait_writable
except ImportError:  # before anyio 4.7
    from anyio import wait_socket_readable as wait_readable  # type: ignore[assignment]
    from anyio import wait_socket_writable as wait_writable  # type: ignore[assignment]

__all__ = ["accept", "dial", "endpoint", "finish", "listen", "wait_readable", "wait_writable"]

#: Bytes that the system may hold for each socket; its own choice would hide that a line is slow.
BUFFER = 128 * 1024
#: Connections that wait to be accepted.
BACKLOG = 100
#: Linger for no time: closing sends RST.
_AT_ONCE = struct.pack("ii", 1, 0)


def endpoint(address: str) -> Tuple[str, int]:
    """Host and port of "host:port" or of a URL with a port. Raises: ValueError."""
    parts = urlsplit(address if "//" in address else f"//{address}")
    if not parts.hostname or parts.port is None:
        raise ValueError(f"{address!r} is not host:port")
    return parts.hostname, parts.port


def _prepare(sock: socket.socket) -> None:
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)


async def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 is any free one. Raises: OSError."""
    family, kind, proto, _, address = (await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM))[0]
    sock = socket.socket(family, kind, proto)
    try:
        _prepare(sock)  # what is accepted inherits the size of its buffers
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


async def accept(listener: socket.socket) -> socket.socket:
    """The next connection. Raises: OSError, for instance when it is gone again."""
    while True:
        try:
            sock, _ = listener.accept()
        except BlockingIOError:
            await wait_readable(listener)
            continue
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock


async def dial(host: str, port: int) -> socket.socket:
    """A connection to there, by the first of its addresses that answers. Raises: OSError."""
    refused: OSError = ConnectionRefusedError(f"{host} has no address")
    for family, kind, proto, _, address in await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, proto)
        try:
            _prepare(sock)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with suppress(BlockingIOError):
                sock.connect(address)
            await wait_writable(sock)
            error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not error:
                return sock
            refused = OSError(error, os.strerror(error))
        except OSError as error:
            refused = error
        except BaseException:
            sock.close()
            raise
        sock.close()
    raise refused


def finish(sock: socket.socket, reset: bool) -> None:
    """Close: with RST, as when a process or a firewall dies, or with FIN, as when a program ends."""
    with suppress(OSError):
        if reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        else:
            sock.shutdown(socket.SHUT_RDWR)
    sock.close()
