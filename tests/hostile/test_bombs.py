"""Little that is said, and much that it would cost: refused before memory is spent, or time."""

from __future__ import annotations

import struct
import time
import tracemalloc
from typing import Any, Dict, List, Tuple

import msgpack
import pytest
import zstandard

from asyncsyft import wire
from tests.hostile.kit import Scene, scene
from tests.journeys.scripted import packed

pytestmark = pytest.mark.anyio

#: Bytes that a bomb of at most half a megabyte may cost while it is looked at.
MOST = 24 << 20
#: Seconds for one bomb, on a machine that is busy too.
QUICK = 10.0

LIMIT = 64 << 20


async def goes_off(made: Scene, said: List[bytes]) -> int:
    """Say it and wait for what comes of it: an answer, a refusal, the end; the most memory that it took."""
    tracemalloc.start()
    began, kinds = time.monotonic(), set()
    try:
        for frame in said:
            made.mallory.say(frame)
        made.mallory.say(packed(wire.PING, [], to=made.to, number=77))
        while not made.mallory.ended.is_set():
            kinds = {frame.kind for frame in made.mallory.heard}
            if kinds & {wire.PONG, wire.GOODBYE, wire.REFUSED}:
                break
            made.mallory._news = type(made.mallory._news)()
            await made.mallory._news.wait()
        if not made.mallory.ended.is_set() and not kinds & {wire.GOODBYE, wire.REFUSED}:
            made.mallory.asked = 1
            await made.tries(["get", 0, [999]])  # its turn comes when the bomb has had its own
        await made.honest.goes_on()
        assert time.monotonic() - began < QUICK
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def program(steps: List[Any], body: bytes = b"", chunked: Tuple[int, ...] = (), flags: int = 0) -> bytes:
    return packed(wire.PROGRAM, [0, steps, list(chunked)], body, number=1, flags=flags)


def zstd_bomb(declared: int, size: int) -> bytes:
    """A body that says so many bytes and holds so many zeros."""
    data: bytes = zstandard.ZstdCompressor(level=19, write_content_size=False).compress(bytes(size))
    return data[:4] + b"\xe0" + struct.pack("<Q", declared) + data[6:] if declared >= 0 else data


PUT = ["put", 1, [], {"dtype": "|u1", "shape": [1 << 19], "at": 0}]
HUGE = [1 << 13, 1 << 13, 1 << 13]
BOMBS: Dict[str, bytes] = {
    "zstd of 100 MB": program([PUT], zstandard.compress(bytes(100 << 20)), flags=wire.COMPRESSED),
    "zstd that declares 2^62": program([PUT], zstd_bomb(1 << 62, 1 << 20), flags=wire.COMPRESSED),
    "zstd that declares little": program([PUT], zstd_bomb(100, 8 << 20), flags=wire.COMPRESSED),
    "zstd that declares nothing": program([PUT], zstd_bomb(-1, 8 << 20), flags=wire.COMPRESSED),
    "nested lists": packed(wire.PROGRAM, b"\x91" * 400_000, number=1),
    "nested lists, and more behind them": packed(wire.PROGRAM, b"\x91" * 900 + b"\xc0" + b"more", number=1),
    "nested maps": packed(wire.PROGRAM, b"\x81\xa1a" * 100_000, number=1),
    "lists that declare 2^32 entries": packed(wire.PROGRAM, b"\xdd\xff\xff\xff\xff" * 900, number=1),
    "a text that declares 4 GB": packed(wire.PROGRAM, b"\x93\x00\xdb\xff\xff\xff\xff", number=1),
    "maps that declare 2^32 entries": packed(wire.PROGRAM, b"\xdf\xff\xff\xff\xff" * 900, number=1),
    "a frame that declares 2^50 bytes": packed(wire.PROGRAM, [0, [], []], number=1, body_len=1 << 50),
    "a shape of 2^39 bytes": program([["zeros", 1, [], {"shape": HUGE, "dtype": "float64"}]]),
    "a shape past all": program([["zeros", 1, [], {"shape": [1 << 52] * 32, "dtype": "float64"}]]),
    "a shape of 0 and 2^52": program([["zeros", 1, [], {"shape": [0, 1 << 52, 1 << 52], "dtype": "float64"}]]),
    "a put of 2^39 bytes": program([["put", 1, [], {"dtype": "<f8", "shape": HUGE, "at": 0}]]),
    "chunks of 2^39 bytes": program([["put", 1, [], {"dtype": "<f8", "shape": HUGE}]], chunked=(0,)),
    "a thousand chunked tensors": program(
        [["put", i, [], {"dtype": "<f8", "shape": [1 << 16]}] for i in range(1, 1001)], chunked=tuple(range(1000))
    ),
    "doubling": program(
        [["zeros", 1, [], {"shape": [1024], "dtype": "float64"}]]
        + [["concat", i + 1, [i, i], {"axis": 0}] for i in range(1, 60)]
    ),
    "outer products": program(
        [["zeros", 1, [], {"shape": [4096], "dtype": "float64"}]]
        + [["tensordot", i + 1, [i, 1], {"axes": 0}] for i in range(1, 20)]
    ),
    "a broadcast": program([
        ["zeros", 1, [], {"shape": [1 << 10, 1], "dtype": "float64"}],
        ["broadcast_to", 2, [1], {"shape": [1 << 10, 1 << 30]}],
    ]),
    "repeats": program([["zeros", 1, [], {"shape": [8]}], ["repeat", 2, [1], {"repeats": 1 << 50}]]),
    "steps without end": program([["add", i, [1, 1]] for i in range(2, 4000)]),
    "an integer of many digits": program([["add", 2, [1, ["<i8", (1 << 64) - 1]]]]),
    "a power": program([["pow", 2, [["<i8", 1 << 62], ["<i8", 1 << 62]]]]),
}  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
async def test_a_bomb_costs_little(bomb: str) -> None:
    async with scene("memory", limit=LIMIT) as made:
        await made.meet()
        frame = bytearray(BOMBS[bomb])
        struct.pack_into("<I", frame, 4, made.to)
        took = await goes_off(made, [bytes(frame)])
        most = LIMIT + MOST if bomb in ("doubling", "outer products", "a thousand chunked tensors") else MOST
        assert took < most, f"{took:,} bytes"
        assert made.made.workers["alice"].store.nbytes <= LIMIT


def plan(steps: List[Any], inputs: int = 1, outputs: Tuple[int, ...] = (1,)) -> bytes:
    head = {"name": "p", "version": 1, "inputs": inputs, "state": [], "constants": 0, "steps": len(steps)}
    whole: bytes = msgpack.packb({**head, "outputs": list(outputs), "updates": {}})
    return whole + b"".join(msgpack.packb(step) for step in steps)


PLANS = {
    "that doubles": plan([["concat", [i], [i - 1, i - 1], {"axis": 0}] for i in range(1, 60)], outputs=(59,)),
    "that calls itself": plan([["call", [1], [11, 0]]]),
    "that declares 2^31 steps": plan([["add", [1], [0, 0]]]).replace(b"steps\x01", b"steps\xce\x7f\xff\xff\xff"),
    "of shapes past all": plan([["zeros", [1], [], {"shape": [1 << 40], "dtype": "float64"}]]),
    "with a wide fan": plan([["concat", [i], [0] * 2000, {"axis": 0}] for i in range(1, 9)], outputs=(8,)),
}  # fmt: skip


@pytest.mark.parametrize("bomb", PLANS)
async def test_a_plan_costs_what_its_worker_allows(bomb: str) -> None:
    async with scene("memory", limit=LIMIT) as made:
        await made.meet()
        data = PLANS[bomb]
        put = ["put", 10, [], {"dtype": "|u1", "shape": [len(data)], "at": 0}]
        steps = [
            put,
            ["plan", 11, [10]],
            ["ones", 12, [], {"shape": [4096], "dtype": "float64"}],
            ["call", [13], [11, 12]],
            ["get", 0, [13]],
        ]
        frame = packed(wire.PROGRAM, [0, steps, []], data, to=made.to, number=1)
        assert await goes_off(made, [frame]) < LIMIT + MOST
        (said, *_) = await made.tries(["get", 0, [13]])
        assert said[0] in ("LimitExceeded", "Refused", "UnknownOp", "OpFailed", "UnknownObject")
