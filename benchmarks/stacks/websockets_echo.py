"""The `websockets` library echoing, tuned as its experts would: no compression, no size limit, one reader."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import AsyncIterator, Mapping

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as listen

from benchmarks.stacks import Measure, Ready, Sample
from benchmarks.stacks.echo import PAYLOAD, Waiting, calls, check, large

BACKEND = "asyncio"
VERSIONS_OF = ("websockets",)


async def _echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def serve(ready: Ready) -> None:
    async with listen(_echo, "127.0.0.1", 0, compression=None, max_size=None) as server:
        ready(next(iter(server.sockets)).getsockname()[1])
        await asyncio.get_running_loop().create_future()


class Echo:
    """All callers share one connection: replies come in order, so the oldest waiting caller gets the next one."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection, self._waiting = connection, Waiting()

    async def read(self) -> None:
        async for message in self._connection:
            self._waiting.reply(message)

    async def call(self, payload: bytes = PAYLOAD) -> object:
        reply = self._waiting.add()
        await self._connection.send(payload)
        return await reply

    async def echo_256(self, seconds: float) -> Sample:
        return await calls(self.call, seconds)

    async def echo_1(self, seconds: float) -> Sample:
        return await calls(self.call, seconds, 1)

    async def large(self, seconds: float) -> Sample:
        return await large(self.call, seconds)


@asynccontextmanager
async def echo(port: int, path: str = "") -> AsyncIterator[Echo]:
    """A connection whose other end echoes."""
    url = f"ws://127.0.0.1:{port}/{path}"
    async with connect(url, compression=None, max_size=None, proxy=None) as connection:
        self = Echo(connection)
        reader = asyncio.ensure_future(self.read())
        await check(self.call)
        yield self
        reader.cancel()


@asynccontextmanager
async def client(port: int) -> AsyncIterator[Mapping[str, Measure]]:
    async with echo(port) as self:
        yield {"echo_256": self.echo_256, "echo_1": self.echo_1, "large": self.large}
