"""Plays one case against an end of ours, over any stream, with a frame writer and a frame reader of its own."""

from __future__ import annotations

import os
import struct
from typing import Any, List, Optional, Tuple

import anyio
from anyio.abc import ByteStream

from tests.hostile.rfc6455.form import AT_ONCE, BINARY, BY_FRAME, CLOSE, Case, F, Heard, close

#: Seconds for one case.
PATIENCE = 10


def written(frame: F, masked: bool) -> bytes:
    """A frame's octets; a client's are masked."""
    size = frame.says if frame.says >= 0 else len(frame.payload)
    head = bytes((frame.fin << 7 | frame.rsv << 4 | frame.opcode,))
    bit = 0x80 if masked else 0
    if size < 126:
        head += bytes((bit | size,))
    elif size < 1 << 16:
        head += struct.pack(">BH", bit | 126, size)
    else:
        head += struct.pack(">BQ", bit | 127, size)
    if not masked:
        return head + frame.payload
    key = os.urandom(4)
    return head + key + xored(frame.payload, key)


def xored(data: bytes, key: bytes) -> bytes:
    mask = int.from_bytes((key * (len(data) // 4 + 1))[: len(data)], "big")
    return (int.from_bytes(data, "big") ^ mask).to_bytes(len(data), "big")


class Player:
    """The far end of one connection whose handshake is done; ``masked``: it is the client."""

    def __init__(self, stream: ByteStream, masked: bool, early: bytes = b"") -> None:
        self._stream, self._masked = stream, masked
        self._buffer = bytearray(early)
        self.heard: List[Tuple[int, bytes]] = []
        #: The code with which the end closed; None: without a close frame.
        self.code: Optional[int] = None
        self._over = False
        self._news = anyio.Event()

    async def listen(self) -> None:
        """Note what comes until the end hangs up."""
        try:
            while True:
                while (frame := self._frame()) is not None:
                    self._take(*frame)
                self._buffer += await self._stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            self._over = True
            self._news.set()

    def _frame(self) -> Optional[Tuple[int, bytes]]:
        """The next frame, whole. What is against the rules here is a bug of the end that is tested."""
        data = self._buffer
        if len(data) < 2:
            return None
        assert data[0] & 0xF0 == 0x80, f"first octet {data[0]:#x}"
        assert bool(data[1] & 0x80) != self._masked
        size, at = data[1] & 0x7F, 2
        if size >= 126:
            at = 4 if size == 126 else 10
            if len(data) < at:
                return None
            size = int.from_bytes(data[2:at], "big")
        key = bytes(data[at : at + 4]) if data[1] & 0x80 else b""
        end = at + len(key) + size
        if len(data) < end:
            return None
        opcode, payload = data[0] & 0x0F, bytes(data[at + len(key) : end])
        del data[:end]
        return opcode, xored(payload, key) if key else payload

    def _take(self, opcode: int, payload: bytes) -> None:
        assert self.code is None, "something came after the close"
        if opcode == CLOSE:
            self.code = int.from_bytes(payload[:2], "big") if payload else 1005
            payload[2:].decode()
        else:
            self.heard.append((opcode, payload))
        self._news.set()

    async def _until(self, count: int) -> None:
        """Wait until so many messages and pongs were heard, or the end closed."""
        while len(self.heard) < count and self.code is None and not self._over:
            self._news = anyio.Event()
            await self._news.wait()

    async def _send(self, data: bytes, chop: int) -> None:
        size = chop if chop > 0 else len(data)
        for at in range(0, len(data), max(size, 1)):
            await self._stream.send(data[at : at + size])

    async def _say(self, case: Case) -> None:
        waiting = b""
        for step in case.steps:
            if isinstance(step, Heard):
                await self._send(waiting, case.chop)
                waiting = b""
                await self._until(step.count)
                continue
            waiting += written(step, self._masked)
            if case.chop == BY_FRAME:
                await self._send(waiting, AT_ONCE)
                waiting = b""
        await self._send(waiting, case.chop)

    async def play(self, case: Case) -> None:
        """Send what the case says; if the end is to stay open, hear all and close. The end hangs up first."""
        said_close = any(isinstance(step, F) and step.opcode == CLOSE for step in case.steps)
        try:
            await self._say(case)
            if not case.closes:
                await self._until(len(case.hears))
            while case.closes and self.code is None and not self._over:
                self._news = anyio.Event()
                await self._news.wait()
            if not said_close:
                await self._stream.send(written(close(1000 if not case.closes else self.code or 1000), self._masked))
        except (anyio.BrokenResourceError, OSError):
            pass  # the end has hung up, which the reader notes
        while not self._over:
            self._news = anyio.Event()
            await self._news.wait()


async def verdict(stream: ByteStream, case: Case, *, masked: bool, early: bytes = b"") -> str:
    """Play a case; "" if it went as it should, else what was seen."""
    player = Player(stream, masked, early)
    with anyio.move_on_after(PATIENCE) as patience:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(player.listen)
            await player.play(case)
    allowed: List[Any] = [list(case.hears)]
    if case.may_drop:
        allowed += [list(case.hears[:count]) for count in range(len(case.hears))]
    codes = case.closes or (1000,)
    if patience.cancelled_caught:
        return f"{case.id}: not over after {PATIENCE} s: {short(player.heard)}, {player.code}"
    if player.heard not in allowed or player.code not in codes:
        return f"{case.id}: heard {short(player.heard)}, closed with {player.code}; wanted {short(case.hears)}, {codes}"
    return ""


def short(heard: Any) -> Any:
    return [("message" if opcode == BINARY else opcode, payload[:20], len(payload)) for opcode, payload in heard[:12]]
