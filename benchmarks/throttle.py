"""A slow link on one machine: a TCP proxy that carries so many bits a second, each of them so much later.

Two ends that are told to connect through it see bandwidth and delay as over a real line: what does not fit waits at the
sender. It carries bytes; it knows no websocket.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import socket
from contextlib import suppress
from typing import List, Optional, Set, Tuple

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream

PIECE = 16 * 1024  # bytes carried at once: what makes the link smooth
BUFFER = 128 * 1024  # bytes that the system may hold for each socket; its own choice would hide the link's slowness
AHEAD = 0.02  # seconds of link read beyond what is on its way, so that it never runs dry
FEWEST, MOST = 4, 4096  # pieces held for one direction at once


class Pace:
    """When bytes arrive over a link of so many bits per second and so many seconds of delay. It reads no clock."""

    def __init__(self, bandwidth: float = math.inf, delay: float = 0.0) -> None:
        self._seconds_per_byte = 8 / bandwidth
        self._delay = delay
        self._free = -math.inf  # when the link has taken all that it was given

    def due(self, now: float, size: int) -> float:
        """When the last of ``size`` bytes arrives, if they come to the link now."""
        self._free = max(now, self._free) + size * self._seconds_per_byte
        return self._free + self._delay

    def capacity(self, piece: int) -> int:
        """Pieces of so many bytes to hold so that the link is never idle while there is something to carry."""
        seconds = piece * self._seconds_per_byte
        wanted = (self._delay + AHEAD) / seconds if seconds else math.inf
        return math.ceil(min(max(wanted, FEWEST), MOST))


Piece = Tuple[float, bytes]


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pace: Pace) -> None:
    """Carry one direction to its end."""
    send, receive = anyio.create_memory_object_stream[Piece](pace.capacity(PIECE))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_take, reader, send, pace)
        await _deliver(receive, writer)


async def _take(reader: asyncio.StreamReader, pieces: ObjectSendStream[Piece], pace: Pace) -> None:
    async with pieces:
        with suppress(ConnectionError):
            while True:
                data = await reader.read(PIECE)
                if not data:
                    return
                await pieces.send((pace.due(anyio.current_time(), len(data)), data))


async def _deliver(pieces: ObjectReceiveStream[Piece], writer: asyncio.StreamWriter) -> None:
    async with pieces:
        with suppress(ConnectionError):
            async for due, data in pieces:
                await anyio.sleep_until(due)
                writer.write(data)
                await writer.drain()
            writer.write_eof()


def _socket() -> socket.socket:
    sock = socket.socket(proto=socket.IPPROTO_TCP)  # named, so that asyncio sets TCP_NODELAY
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    return sock


async def _dial(target: Tuple[str, int]) -> Tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    sock = _socket()
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, target)
        return await asyncio.open_connection(sock=sock, limit=PIECE)
    except BaseException:
        sock.close()
        raise


class Throttle:
    """The proxy, on asyncio, while entered: what comes to ``port`` goes to ``target`` at ``bandwidth`` bits/s."""

    def __init__(self, host: str, port: int, bandwidth: float = math.inf, delay: float = 0.0) -> None:
        self._target, self._bandwidth, self._delay = (host, port), bandwidth, delay
        self._connections: Set[asyncio.Task[None]] = set()
        self.listen: Tuple[str, int] = ("127.0.0.1", 0)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.sockets[0].getsockname()[1])

    async def __aenter__(self) -> Throttle:
        sock = _socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(self.listen)
        self._server = await asyncio.start_server(self._accept, sock=sock, limit=PIECE)
        return self

    async def __aexit__(self, *unused: object) -> None:
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._connect(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers: List[asyncio.StreamWriter] = [writer]
        try:
            far_reader, far_writer = await _dial(self._target)
            writers.append(far_writer)
            async with anyio.create_task_group() as tasks:
                for source, sink in ((reader, far_writer), (far_reader, writer)):
                    sink.transport.set_write_buffer_limits(PIECE)
                    tasks.start_soon(carry, source, sink, Pace(self._bandwidth, self._delay))
        except OSError:
            pass  # the caller sees its connection end
        finally:
            for each in writers:
                each.close()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="HOST:PORT", help="where the slow link leads")
    parser.add_argument("--listen", metavar="HOST:PORT", default="127.0.0.1:0", help="default: a free port of loopback")
    parser.add_argument("--bandwidth", type=float, metavar="MBIT", help="megabits per second, each way (default: any)")
    parser.add_argument("--delay", type=float, default=0.0, metavar="MS", help="milliseconds, each way (default 0)")
    parser.add_argument("--seconds", type=float, help="end after so long (default: when interrupted)")


def address(text: str) -> Tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


async def _run(target: Tuple[str, int], listen: Tuple[str, int], pace: Tuple[float, float], end: float) -> None:
    throttle = Throttle(*target, *pace)
    throttle.listen = listen
    async with throttle:
        print(f"ws://{listen[0]}:{throttle.port} leads to {target[0]}:{target[1]}", flush=True)
        await anyio.sleep(end)


def main(asked: argparse.Namespace) -> int:
    bandwidth: Optional[float] = asked.bandwidth
    pace = (math.inf if bandwidth is None else bandwidth * 1e6, asked.delay / 1000)
    end = math.inf if asked.seconds is None else asked.seconds
    with suppress(KeyboardInterrupt):
        asyncio.run(_run(address(asked.target), address(asked.listen), pace, end))
    return 0
