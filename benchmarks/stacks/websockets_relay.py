"""The `websockets` library with a plain relay of its own: a server that passes messages between two clients."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import AsyncIterator, Dict, Mapping

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as listen

from benchmarks.stacks import Measure, Ready
from benchmarks.stacks.websockets_echo import echo

BACKEND = "asyncio"
VERSIONS_OF = ("websockets",)

OTHER = {"/asker": "/answerer", "/answerer": "/asker"}


async def relay(ready: Ready) -> None:
    clients: Dict[str, ServerConnection] = {}

    async def forward(connection: ServerConnection) -> None:
        assert connection.request is not None
        path = connection.request.path
        clients[path] = connection
        async for message in connection:
            await clients[OTHER[path]].send(message)

    async with listen(forward, "127.0.0.1", 0, compression=None, max_size=None) as server:
        ready(next(iter(server.sockets)).getsockname()[1])
        await asyncio.get_running_loop().create_future()


async def answerer(ready: Ready, port: int) -> None:
    url = f"ws://127.0.0.1:{port}/answerer"
    async with connect(url, compression=None, max_size=None, proxy=None) as connection:
        await (await connection.ping())  # the relay knows it now
        ready()
        async for message in connection:
            await connection.send(message)


@asynccontextmanager
async def client(port: int) -> AsyncIterator[Mapping[str, Measure]]:
    async with echo(port, "asker") as self:
        yield {"echo_256": self.echo_256, "echo_1": self.echo_1}
