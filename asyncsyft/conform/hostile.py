"""Frames that break the rules, as bytes: each costs its sender the link or the conversation, and nobody else anything.

The same list makes ``docs/vectors/v1/hostile.json``. It knows no transport.
"""

from __future__ import annotations

from typing import Any, List, NamedTuple, Tuple

import msgpack

from .. import wire
from .steps import frame

#: Who notices. FRAMES: whoever cuts a message into frames. META: whoever reads the meta of that frame. CONVERSATION:
#: whoever knows what was said before, here a conversation in which nothing was.
FRAMES, META, CONVERSATION = "frames", "meta", "conversation"


class Hostile(NamedTuple):
    """One message that a peer must refuse; ``zeros`` are bytes 0 that follow ``data``."""

    name: str
    notices: str
    data: bytes
    zeros: int = 0

    @property
    def message(self) -> bytes:
        """The whole message."""
        return self.data + bytes(self.zeros)

    @property
    def ends_link(self) -> bool:
        """Whether it costs the link itself, and not only the conversation."""
        return self.notices == FRAMES or self.data[0] < wire.RESUME


def header(kind: int, meta_len: int = 0, body_len: int = 0, number: int = 0, flags: int = 0) -> bytes:
    """A header alone."""
    return wire.HEADER.pack(kind, flags, 0, 0, 0, meta_len, number, body_len)


def raw(kind: int, meta: bytes, number: int = 0, flags: int = 0) -> bytes:
    """A frame with a meta that may be no msgpack."""
    return header(kind, len(meta), 0, number, flags) + meta + bytes(-len(meta) % 8)


def packed(kind: int, meta: Any, number: int = 0, flags: int = 0) -> bytes:
    """A frame with a meta that msgpack can say."""
    return raw(kind, msgpack.packb(meta), number, flags)


#: The head of a zstd frame that declares 2^40 bytes, and an empty last block.
_BOMB = bytes.fromhex("28b52ffde0") + (1 << 40).to_bytes(8, "little") + b"\1\0\0"
_PING = frame(wire.PING, [])
_FRAMES: List[Tuple[str, bytes, int]] = [
    ("a header cut short", header(wire.PING)[:31], 0),
    ("one byte after a frame", _PING + b"\0", 0),
    ("a meta longer than the message", header(wire.PING, meta_len=9), 8),
    ("a meta without its padding", header(wire.PING, meta_len=1) + b"\x90", 0),
    ("a body longer than the message", header(wire.PING, body_len=8), 0),
    ("a body of 2^64-1 bytes", header(wire.PING, body_len=(1 << 64) - 1), 0),
    ("a body of 2^63 bytes", header(wire.PING, body_len=1 << 63), 8),
    ("an id of 2^53", header(wire.PING, meta_len=1, number=1 << 53) + b"\x90", 7),
    ("an id of 2^64-1", header(wire.PING, meta_len=1, number=(1 << 64) - 1) + b"\x90", 7),
    ("a frame of more than 512 KiB", header(wire.PROGRAM, body_len=wire.MAX_FRAME, number=1), wire.MAX_FRAME),
    ("a good frame and a bad one", _PING + header(wire.PING, meta_len=64), 8),
]
_LINK: List[Tuple[str, bytes]] = [
    ("kind 0", raw(0, b"\x90")),
    ("kind 10", raw(10, b"\x90")),
    ("kind 15", raw(15, b"\x90")),
    ("a flag on a ping", raw(wire.PING, b"\x90", flags=0x80)),
    ("an empty meta", raw(wire.PING, b"")),
    ("a meta that is a map", raw(wire.PING, b"\x80")),
    ("a meta that is nil", raw(wire.PING, b"\xc0")),
    ("a meta of the byte that msgpack never uses", raw(wire.PING, b"\xc1")),
    ("two values in one meta", raw(wire.PING, b"\x90\x90")),
    ("a list that ends too soon", raw(wire.PING, b"\x93\x01")),
    ("a list that says 2^32-1 entries", raw(wire.PING, b"\xdd\xff\xff\xff\xff")),
    ("a text that says 2^32-1 bytes", raw(wire.PING, b"\x91\xdb\xff\xff\xff\xff")),
    ("lists 2,000 deep", raw(wire.PING, b"\x91" * 2000 + b"\x90")),
    ("a text that is no UTF-8", raw(wire.GOODBYE, b"\x92\xa0\xa2\xc3\x28")),
    ("a map with a number as its key", raw(wire.PING, b"\x91\x81\x01\x02")),
    ("a goodbye of numbers", packed(wire.GOODBYE, [1, 2])),
    ("a goodbye of one field", packed(wire.GOODBYE, [""])),
    ("a challenge of 31 bytes", packed(wire.CHALLENGE, [1, bytes(31)])),
    (
        "a hello with a key of 31 bytes",
        packed(wire.HELLO, [1, "a", "driver", bytes(8), None, {}, bytes(31), bytes(32)]),
    ),
    ("a seek of a life of 7 bytes", packed(wire.SEEK, [[bytes(7)]])),
]
_META: List[Tuple[str, bytes]] = [
    ("kind 24", raw(24, b"\x90", 1)),
    ("kind 255", raw(255, b"\x90", 1)),
    ("a flag that nobody defined", packed(wire.PROGRAM, [0, [], []], 1, 0x40)),
    ("the flag of an answer on a program", packed(wire.PROGRAM, [0, [], []], 1, wire.OF_ANSWER)),
    ("a program of one field", packed(wire.PROGRAM, [0], 1)),
    ("a program whose steps are a text", packed(wire.PROGRAM, [0, "steps", []], 1)),
    ("a program that announces a text", packed(wire.PROGRAM, [0, [], ["x"]], 1)),
    ("seen below 0", packed(wire.PROGRAM, [-1, [], []], 1)),
    ("seen that is a float", packed(wire.PROGRAM, [0.0, [], []], 1)),
    ("seen that is true", packed(wire.PROGRAM, [True, [], []], 1)),
    ("seen past 2^53-1", packed(wire.PROGRAM, [1 << 53, [], []], 1)),
    ("a credit of a text", packed(wire.CREDIT, [0, "much"])),
    ("a cancel of a negative step", packed(wire.CANCEL, [0, -1], 1)),
    ("a program that announces 2^32-1 steps", raw(wire.PROGRAM, b"\x93\x00\xdd\xff\xff\xff\xff\x90", 1)),
    ("a resume of 7 bytes", packed(wire.RESUME, [bytes(7), bytes(8), 0, 0, {}])),
    ("a resume that asked -1", packed(wire.RESUME, [bytes(8), bytes(8), 0, 0, {}, -1])),
    ("a resume of which a float has landed", packed(wire.RESUME, [bytes(8), bytes(8), 0, 0, {}, 0, [[0, 1, 0, 0.5]]])),
    ("a value at a negative offset", packed(wire.VALUES, [0, [[0, "<f4", [1], -8]]], 1)),
    ("values of no steps", packed(wire.VALUES, [0, [[[], "<f4", [1], 0]]], 1)),
    ("values of a step that is a text", packed(wire.VALUES, [0, [[[1, "2"], "<f4", [1], 0]]], 1)),
    ("values of 4,097 steps", packed(wire.VALUES, [0, [[[1] * 4096, "<f4", [0], 0], [2, "<f4", [0], 0]]], 1)),
    ("a chunk at a negative offset", packed(wire.CHUNK_OF, [0, 0, "<f4", [1], -8], 1)),
]
_CONVERSATION: List[Tuple[str, bytes]] = [
    (
        "a compressed body that is no zstd",
        frame(wire.PROGRAM, [0, [], []], [b"no zstd"], number=1, flags=wire.COMPRESSED),
    ),
    ("a compressed body of nothing", packed(wire.PROGRAM, [0, [], []], 1, wire.COMPRESSED)),
    (
        "a compressed body that says 2^40 bytes",
        frame(wire.PROGRAM, [0, [], []], [_BOMB], number=1, flags=wire.COMPRESSED),
    ),
    ("a request of id 0", packed(wire.PROGRAM, [0, [], []], 0)),
    ("a first request of id 2", packed(wire.PROGRAM, [0, [], []], 2)),
    ("answers seen that were not given", packed(wire.PROGRAM, [1, [], []], 1)),
    ("an answer to what was not asked", packed(wire.ANSWERS, [0, [], []], 1)),
    ("an answer above to what was not asked", packed(wire.ANSWERS, [0, [1], []], 0)),
    ("a value that was not asked", frame(wire.VALUES, [0, [[0, "|u1", [1], 0]]], [b"\7"], number=1)),
    ("a last value that was not asked", packed(wire.VALUES, [0, []], 1, wire.LAST)),
    ("a chunk of a request that did not come", frame(wire.CHUNK_OF, [0, 0, "|u1", [1], 0], [b"\7"], number=1)),
    ("a chunk of an answer to no request", frame(wire.CHUNK_OF, [0, 0, "|u1", [1], 0], [b"\7"], number=1, flags=1)),
    ("a program that announces a step it has not", packed(wire.PROGRAM, [0, [], [0]], 1)),
    ("a step announced twice", packed(wire.PROGRAM, [0, [["put", 1, [], {"dtype": "|u1", "shape": [9]}]], [0, 0]], 1)),
]

HOSTILE: List[Hostile] = [
    *(Hostile(name, FRAMES, data, zeros) for name, data, zeros in _FRAMES),
    *(Hostile(name, META, data) for name, data in (*_LINK, *_META)),
    *(Hostile(name, CONVERSATION, data) for name, data in _CONVERSATION),
]
