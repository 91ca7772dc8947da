"""grpc.aio echoing bytes on one stream in both directions, without protobuf.

The stream is about twice as fast as a unary call for each message; compression is off, messages have no limit.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import Any, AsyncIterator, Mapping

import grpc.aio  # type: ignore[import-untyped]

from benchmarks.stacks import Measure, Ready, Sample
from benchmarks.stacks.echo import PAYLOAD, Waiting, calls, check, large

BACKEND = "asyncio"
VERSIONS_OF = ("grpcio",)

OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


async def _echo(unused: Any, context: Any) -> None:
    while True:
        message = await context.read()
        if message is grpc.aio.EOF:
            return
        await context.write(message)


async def serve(ready: Ready) -> None:
    server = grpc.aio.server(options=OPTIONS, compression=grpc.Compression.NoCompression)
    handlers = {"Echo": grpc.stream_stream_rpc_method_handler(_echo)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Bench", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    ready(port)
    await server.wait_for_termination()


class _Echo:
    def __init__(self, stream: Any) -> None:
        self._stream, self._waiting, self._lock = stream, Waiting(), asyncio.Lock()

    async def read(self) -> None:
        while True:
            message = await self._stream.read()
            if message is grpc.aio.EOF:
                return
            self._waiting.reply(message)

    async def call(self, payload: bytes = PAYLOAD) -> object:
        async with self._lock:  # a stream takes one write at a time
            reply = self._waiting.add()
            await self._stream.write(payload)
        return await reply

    async def echo_256(self, seconds: float) -> Sample:
        return await calls(self.call, seconds)

    async def echo_1(self, seconds: float) -> Sample:
        return await calls(self.call, seconds, 1)

    async def large(self, seconds: float) -> Sample:
        return await large(self.call, seconds)


@asynccontextmanager
async def client(port: int) -> AsyncIterator[Mapping[str, Measure]]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=OPTIONS) as channel:
        stream = channel.stream_stream("/Bench/Echo")()
        self = _Echo(stream)
        reader = asyncio.ensure_future(self.read())
        await check(self.call)
        yield {"echo_256": self.echo_256, "echo_1": self.echo_1, "large": self.large}
        await stream.done_writing()
        await reader
