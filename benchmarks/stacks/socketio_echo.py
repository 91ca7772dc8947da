"""python-socketio echoing, tuned: websocket only, on aiohttp, msgpack packets, no compression, no task an event.

Of the ways to echo bytes (two serializers; acknowledgement or event) this is the fastest: binary goes in one packet,
and the acknowledgement brings it back.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import Any, AsyncIterator, Mapping

import socketio  # type: ignore[import-not-found]
from aiohttp import web  # type: ignore[import-not-found]

from benchmarks.stacks import Measure, Ready, Sample
from benchmarks.stacks.echo import PAYLOAD, calls, check, large

BACKEND = "asyncio"
VERSIONS_OF = ("python-socketio", "python-engineio", "aiohttp")


async def _echo(sid: str, data: Any) -> Any:
    return data


async def serve(ready: Ready) -> None:
    server = socketio.AsyncServer(
        async_mode="aiohttp",
        serializer="msgpack",
        transports=["websocket"],
        max_http_buffer_size=1 << 30,
        http_compression=False,
        async_handlers=False,
    )
    server.on("echo", _echo)
    application = web.Application()
    server.attach(application)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    ready(runner.addresses[0][1])
    await asyncio.get_running_loop().create_future()


@asynccontextmanager
async def client(port: int) -> AsyncIterator[Mapping[str, Measure]]:
    connection = socketio.AsyncClient(
        serializer="msgpack", reconnection=False, websocket_extra_options={"max_msg_size": 0}
    )
    await connection.connect(f"http://127.0.0.1:{port}", transports=["websocket"])
    loop = asyncio.get_running_loop()

    async def call(payload: bytes = PAYLOAD) -> object:
        reply: asyncio.Future[object] = loop.create_future()
        await connection.emit("echo", payload, callback=reply.set_result)
        return await reply

    async def echo_256(seconds: float) -> Sample:
        return await calls(call, seconds)

    async def echo_1(seconds: float) -> Sample:
        return await calls(call, seconds, 1)

    async def echo_large(seconds: float) -> Sample:
        return await large(call, seconds)

    await check(call)
    yield {"echo_256": echo_256, "echo_1": echo_1, "large": echo_large}
    await connection.disconnect()
