"""The floor: blocking sockets. 64 MiB one way in pieces of 1 MiB into one buffer, and 64 bytes there and back."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import asynccontextmanager
from typing import AsyncIterator, Mapping

import anyio

from benchmarks.stacks import Measure, Ready, Sample

BACKEND = "asyncio"
VERSIONS_OF = ()

SIZE, PIECE, SMALL = 64 << 20, 1 << 20, 64  # bytes


def _receive(sock: socket.socket, size: int, buffer: memoryview) -> bool:
    """Take ``size`` bytes, each piece over the one before; False at the end of the stream."""
    while size:
        got = sock.recv_into(buffer[: min(size, PIECE)])
        if not got:
            return False
        size -= got
    return True


def _answer(listener: socket.socket) -> None:
    """Each message begins with a byte: L, and 64 MiB follow and are acknowledged; S, and 64 bytes come back."""
    sock, buffer = listener.accept()[0], memoryview(bytearray(PIECE))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with sock:
        while True:
            kind = sock.recv(1)
            size = SIZE if kind == b"L" else SMALL - 1
            if not kind or not _receive(sock, size, buffer):
                return
            sock.sendall(b"\x01" if kind == b"L" else bytes(SMALL))


async def serve(ready: Ready) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_answer, args=(listener,), daemon=True).start()
        ready(listener.getsockname()[1])
        await anyio.sleep_forever()


@asynccontextmanager
async def client(port: int) -> AsyncIterator[Mapping[str, Measure]]:
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data, buffer = memoryview(os.urandom(SIZE)), memoryview(bytearray(PIECE))

        async def large(seconds: float) -> Sample:
            done, start = 0, time.perf_counter()
            while not done or time.perf_counter() < start + seconds:
                sock.sendall(b"L")
                for at in range(0, SIZE, PIECE):
                    sock.sendall(data[at : at + PIECE])
                _receive(sock, 1, buffer)
                done += SIZE
            return Sample(done / 1e6, time.perf_counter() - start, "MB")

        async def echo_1(seconds: float) -> Sample:
            done, start, message = 0, time.perf_counter(), b"S" + bytes(SMALL - 1)
            while not done or time.perf_counter() < start + seconds:
                sock.sendall(message)
                _receive(sock, SMALL, buffer)
                done += 1
            return Sample(done, time.perf_counter() - start)

        yield {"large": large, "echo_1": echo_1}
