"""A peer of which the test writes every frame, whether docs/protocol.md allows it or not, and reads every answer."""

from __future__ import annotations

import os
from collections import deque
from contextlib import asynccontextmanager
from typing import Any, AsyncIterator, Deque, List, Optional, Sequence

import anyio
import msgpack
import numpy as np

from asyncsyft import wire
from asyncsyft.errors import LinkClosed, RemoteProtocolError
from asyncsyft.transport import Transport
from asyncsyft.wire import HEADER, Frame


def packed(
    kind: int,
    meta: Any,
    body: bytes = b"",
    *,
    to: int = 0,
    number: int = 0,
    lane: int = 0,
    flags: int = 0,
    sender: int = 0,
    meta_len: Optional[int] = None,
    body_len: Optional[int] = None,
) -> bytes:
    """The bytes of a frame; ``meta`` is packed unless it is bytes already, and the lengths may lie."""
    data = meta if isinstance(meta, bytes) else msgpack.packb(meta)
    sizes = (len(data) if meta_len is None else meta_len, number, len(body) if body_len is None else body_len)
    header = HEADER.pack(kind, flags, lane, to, sender, *sizes)
    return header + data + bytes(-len(data) % 8) + body + bytes(-len(body) % 8)


class Scripted:
    """Says what it is told; ``hears`` waits for frames. It answers nothing by itself, not even pings."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.incarnation = os.urandom(8)
        self.heard: List[Frame] = []
        self.ended = anyio.Event()
        self.outcome: Optional[Exception] = None
        self.number = 0
        self.peers: List[wire.PeerInfo] = []
        self._outbox: Deque[bytes] = deque()
        self._news = anyio.Event()
        self.asked = 0

    # The transport's side.

    def pull(self) -> Optional[List[bytes]]:
        return [self._outbox.popleft()] if self._outbox else None

    def receive(self, message: memoryview) -> None:
        self.heard += wire.frames(memoryview(bytes(message)))
        self._news.set()

    async def run(self) -> None:
        try:
            await self.transport.run(self)
        except (LinkClosed, RemoteProtocolError) as error:
            self.outcome = error
        finally:
            self.ended.set()
            self._news.set()

    # The test's side.

    def say(self, *frames: bytes) -> None:
        """Send one message of these frames."""
        self._outbox.append(b"".join(frames))
        self.transport.wake()

    async def hears(self, kind: int) -> Frame:
        """The next frame of that kind; those before it stay for later."""
        while True:
            for frame in self.heard:
                if frame.kind == kind:
                    self.heard.remove(frame)
                    return frame
            assert not self.ended.is_set(), f"the link ended: {self.outcome}"
            self._news = anyio.Event()
            await self._news.wait()

    async def says(self, kind: int) -> Any:
        """What the next frame of that kind says."""
        return wire.parse(await self.hears(kind))

    async def hello(self, name: str, role: str = "driver", **more: Any) -> wire.Welcome:
        """Introduce itself, as it should be done."""
        self.say(packed(wire.HELLO, [wire.VERSION, name, role, self.incarnation, more.get("token"), {}]))
        welcome: wire.Welcome = await self.says(wire.WELCOME)
        self.number = welcome.number
        self.peers = list(welcome.peers)
        return welcome

    async def greet(self, *peers: Any, name: str = "relay", role: str = "relay") -> wire.Hello:
        """Play the accepting end: challenge, hear the hello, welcome; the hello."""
        self.say(packed(wire.CHALLENGE, [wire.VERSION, bytes(range(32))]))
        hello: wire.Hello = await self.says(wire.HELLO)
        me = [0, name, role, self.incarnation]
        self.say(packed(wire.WELCOME, [wire.VERSION, 1, b"an epoch", me, list(peers), {}]))
        return hello

    def find(self, name: str) -> wire.PeerInfo:
        """A peer of whom the welcome spoke."""
        return next(info for info in self.peers if info.name == name)

    async def resume(self, to: int, theirs: bytes) -> None:
        """Open a conversation, as it should be done."""
        self.say(packed(wire.RESUME, [self.incarnation, theirs, 0, 0, {}], to=to))
        await self.hears(wire.RESUME)

    def program(self, to: int, steps: Sequence[Any], body: bytes = b"", chunked: Sequence[int] = ()) -> int:
        """Ask for a program on lane 0; its id."""
        self.asked += 1
        self.say(packed(wire.PROGRAM, [0, list(steps), list(chunked)], body, to=to, number=self.asked))
        return self.asked

    async def answers(self, number: int) -> List[wire.Failure]:
        """Wait until request ``number`` is answered; the failures told up to then."""
        failures: List[wire.Failure] = []
        while True:
            frame = await self.hears(wire.ANSWERS)
            said = wire.parse(frame)
            failures += said.failures
            if frame.id >= number or number in said.above:
                return failures

    async def values(self) -> List[Any]:
        """The small tensors of the next frame of values."""
        frame = await self.hears(wire.VALUES)
        found = []
        for _, descr, shape, at in wire.parse(frame).values:
            array = np.frombuffer(frame.body, np.uint8)[at:]
            count = int(np.prod(shape)) * np.dtype(descr).itemsize
            found.append(array[:count].view(descr).reshape(shape))
        return found


@asynccontextmanager
async def scripted(transport: Transport) -> AsyncIterator[Scripted]:
    """A scripted peer on a transport, while entered; its link is dropped at the end."""
    async with anyio.create_task_group() as tasks:
        peer = Scripted(transport)
        tasks.start_soon(peer.run)
        yield peer
        transport.abort()
        await peer.ended.wait()
