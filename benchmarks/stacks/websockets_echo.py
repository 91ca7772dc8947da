"""The `websockets` library echoing 64 bytes, tuned as its experts would: no compression, no size limit, one reader."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import asynccontextmanager
from typing import AsyncIterator, Callable, Deque, Mapping

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as listen

from benchmarks.stacks import Measure, Sample

BACKEND = "asyncio"
VERSIONS_OF = ("websockets",)

PAYLOAD = bytes(range(64))
IN_FLIGHT = 256


async def _echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def serve(ready: Callable[[int], None]) -> None:
    async with listen(_echo, "127.0.0.1", 0, compression=None, max_size=None) as server:
        ready(next(iter(server.sockets)).getsockname()[1])
        await asyncio.get_running_loop().create_future()


class _Client:
    """256 callers share one connection: replies come in order, so the oldest waiting caller gets the next one."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._waiting: Deque[asyncio.Future[object]] = deque()

    async def read(self) -> None:
        async for message in self._connection:
            self._waiting.popleft().set_result(message)

    async def call(self) -> object:
        reply: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._waiting.append(reply)
        await self._connection.send(PAYLOAD)
        return await reply

    async def _loop(self, until: float) -> int:
        done = 0
        while time.perf_counter() < until:
            await self.call()
            done += 1
        return done

    async def echo_256(self, seconds: float) -> Sample:
        start = time.perf_counter()
        counts = await asyncio.gather(*(self._loop(start + seconds) for _ in range(IN_FLIGHT)))
        return Sample(sum(counts), time.perf_counter() - start)

    async def echo_1(self, seconds: float) -> Sample:
        start = time.perf_counter()
        done = await self._loop(start + seconds)
        return Sample(done, time.perf_counter() - start)


@asynccontextmanager
async def client(port: int) -> AsyncIterator[Mapping[str, Measure]]:
    async with connect(f"ws://127.0.0.1:{port}", compression=None, max_size=None, proxy=None) as connection:
        self = _Client(connection)
        reader = asyncio.ensure_future(self.read())
        if await self.call() != PAYLOAD:
            raise AssertionError("the echo is not what was sent")
        yield {"echo_256": self.echo_256, "echo_1": self.echo_1}
        reader.cancel()
