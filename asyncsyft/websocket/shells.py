"""Which shell belongs to the running event loop, and what dialling and listening ask of it.

It knows neither loop; the shells are imported when first needed, so that trio need not be installed.
"""

from __future__ import annotations

import errno
import importlib
import ipaddress
import os
import socket
import ssl
import sys
from typing import Any, Deque, Optional, Protocol, Tuple, cast

from asyncsyft.transport import Buffer, Transport
from asyncsyft.websocket.handshake import end_of_head

#: Buffers handed to one ``sendmsg``; the system takes at least this many.
AT_ONCE = 16


class Stream(Transport, Protocol):
    """A connection: bytes for the opening handshake, then a transport."""

    async def receive(self) -> bytes: ...
    async def send(self, data: bytes) -> None: ...
    def unread(self, data: bytes) -> None: ...
    async def finish(self) -> None: ...


class Shell(Protocol):
    async def wait_readable(self, sock: socket.socket) -> None: ...
    async def wait_writable(self, sock: socket.socket) -> None: ...
    async def open_stream(
        self, sock: socket.socket, *, context: Optional[ssl.SSLContext], hostname: Optional[str], max_message: int
    ) -> Stream: ...


def current() -> Shell:
    """The shell of the running event loop."""
    return cast(Shell, importlib.import_module(f"asyncsyft.websocket.on_{'trio' if _in_trio() else 'asyncio'}"))


def _in_trio() -> bool:
    trio = sys.modules.get("trio")  # whoever runs on trio has imported it
    if trio is None:
        return False
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        return False
    return True


async def connect(sock: socket.socket, address: Any) -> None:
    """Connect a non-blocking socket. Raises: OSError."""
    code = sock.connect_ex(address)
    if code == errno.EINPROGRESS:
        await current().wait_writable(sock)
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


async def accept(sock: socket.socket) -> socket.socket:
    """The next connection of a listening, non-blocking socket. Raises: OSError."""
    while True:
        await current().wait_readable(sock)
        try:
            return sock.accept()[0]
        except BlockingIOError:
            continue  # the caller went away again


def describe(sock: socket.socket) -> Tuple[str, bool]:
    """The other end of a connected socket for people, and whether it is on this machine. Raises: OSError."""
    host, port = sock.getpeername()[:2]
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    local = (mapped or address).is_loopback or host == sock.getsockname()[0]
    return (f"[{host}]:{port}" if ":" in host else f"{host}:{port}"), local


def prepare(sock: socket.socket) -> None:
    """Small messages leave at once."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def send_some(sock: socket.socket, outbox: Deque[Buffer]) -> bool:
    """Send what can be sent without waiting, off the front of ``outbox``; True if that is all. Raises: OSError."""
    while outbox:
        try:
            if len(outbox) == 1:
                sent = sock.send(outbox[0])
            else:
                sent = sock.sendmsg([outbox[i] for i in range(min(len(outbox), AT_ONCE))])
        except BlockingIOError:
            return False
        while outbox and sent >= len(outbox[0]):
            sent -= len(outbox.popleft())
        if sent:
            outbox[0] = memoryview(outbox[0])[sent:]
    return True


async def read_head(stream: Stream) -> bytes:
    """The head of an HTTP message up to its blank line; what follows is given back to the stream.

    Raises: EOFError if the stream ends before, BadHead.
    """
    head = bytearray()
    while True:
        data = await stream.receive()
        if not data:
            raise EOFError("the connection ended within the opening handshake")
        head += data
        end = end_of_head(head)
        if end:
            stream.unread(bytes(head[end:]))
            return bytes(head[:end])
