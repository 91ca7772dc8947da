"""Frames: a good one of each kind and shape, and the hostile ones that ``asyncsyft conform`` sends too."""

from __future__ import annotations

from typing import Any, Dict, List, Sequence

import msgpack
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from asyncsyft import wire
from asyncsyft.conform.hostile import HOSTILE
from asyncsyft.identity import Key, prove
from asyncsyft.wire import Buffer

from .plain import to_json

DRIVER, WORKER, RELAY = (bytes(range(first, first + 8)) for first in (0x01, 0x11, 0x21))
EPOCH = bytes(range(0x31, 0x39))
CAN = {"level": 2, "ops": ["add", "matmul"], "limits": {"bytes": 8 << 30}}
KINDS = {
    wire.HELLO: "hello", wire.WELCOME: "welcome", wire.PEERS: "peers", wire.GOODBYE: "goodbye", wire.PING: "ping",
    wire.PONG: "pong", wire.REFUSED: "refused", wire.RESUME: "resume", wire.CREDIT: "credit", wire.CANCEL: "cancel",
    wire.CHALLENGE: "challenge", wire.SEEK: "seek",
    wire.ANSWERS: "answers", wire.PROGRAM: "program", wire.VALUES: "values", wire.CHUNK_OF: "chunk",
}  # fmt: skip
FLOATS = bytes.fromhex("0000803f00000040000040c0")  # 1, 2, -3 in float32
#: Private keys: that which makes the challenge, the driver's, the worker's, the relay's.
PRIVATE = [bytes([first]) * 32 for first in (0xC0, 0xD0, 0xA0, 0xE0)]
CHALLENGE, DRIVER_KEY, WORKER_KEY, RELAY_KEY = (Key(X25519PrivateKey.from_private_bytes(one)) for one in PRIVATE)


def vector(
    name: str,
    kind: int,
    meta: Any,
    body: Sequence[Buffer] = (),
    *,
    number: int = 0,
    lane: int = 0,
    to: int = 0,
    sender: int = 0,
    flags: int = 0,
) -> Dict[str, Any]:
    """One frame, as bytes and as what they say."""
    out: List[Buffer] = []
    wire.Parcel(kind, lane, meta, body, flags).write(out, to, number, sender)
    return described(name, b"".join(out))


def described(name: str, data: bytes) -> Dict[str, Any]:
    """A frame's bytes and what they say."""
    (frame,) = wire.frames(memoryview(data))
    fields = ("kind", "flags", "lane", "to", "from", "meta_len", "id", "body_len")
    header = dict(zip(fields, wire.HEADER.unpack_from(data)))
    header.update(id=str(header["id"]), body_len=str(header["body_len"]))
    return {
        "name": name,
        "message": KINDS[frame.kind],
        "hex": data.hex(),
        "header": header,
        "meta": to_json(msgpack.unpackb(frame.meta)),
        "says": to_json(wire.parse(frame)),
        "body": bytes(frame.body).hex(),
    }


def proving(key: Key, *fields: Any) -> wire.Hello:
    """A hello of these fields that proves a key against the challenge."""
    hello = wire.Hello(*fields)._replace(key=key.public)
    return hello._replace(proof=prove(key, CHALLENGE.public, hello.transcript))


def _hellos() -> List[wire.Hello]:
    """Hellos that prove a key."""
    return [
        proving(DRIVER_KEY, 1, "notebook", "driver", DRIVER, None, {}),
        proving(WORKER_KEY, 1, "é", "worker", WORKER, "sesame", CAN),
    ]


def proofs() -> List[Dict[str, Any]]:
    """How the proofs of these hellos come about."""
    return [
        {
            "name": f"proof of {hello.role} {hello.name}",
            "challenge_private": PRIVATE[0].hex(),
            "challenge": CHALLENGE.public.hex(),
            "private": private.hex(),
            "key": hello.key.hex(),
            "shared": CHALLENGE.shared(hello.key).hex(),
            "transcript": hello.transcript.hex(),
            "proof": hello.proof.hex(),
        }
        for hello, private in zip(_hellos(), PRIVATE[1:])
    ]


def _of_handshakes() -> List[Dict[str, Any]]:
    alice, bob = (7, "alice", "worker", WORKER, WORKER_KEY.public), (8, "bob", "worker", bytes(8 * [0x41]), b"")
    relay, of_driver, of_worker = (0, "relay", "relay", RELAY, RELAY_KEY.public), *_hellos()
    return [
        vector("challenge", wire.CHALLENGE, [1, CHALLENGE.public]),
        vector("hello of a driver that proves its key", wire.HELLO, of_driver),
        vector("hello of a worker that proves its key and shows a token", wire.HELLO, of_worker),
        vector(
            "welcome of a relay with a key, and of two workers", wire.WELCOME, [1, 9, EPOCH, relay, [alice, bob], {}]
        ),
        vector("one peer with a key joined", wire.PEERS, [[alice], []]),
        vector("seek", wire.SEEK, [[WORKER, bytes(8 * [0x41])]]),
    ]


def _of_links() -> List[Dict[str, Any]]:
    alice, bob = (7, "alice", "worker", WORKER), (8, "bob", "worker", bytes(8 * [0x41]))
    me, relay = (0, "alice", "worker", WORKER), (0, "relay", "relay", RELAY)
    return [
        *_of_handshakes(),
        vector("hello of a driver without a token", wire.HELLO, [1, "notebook", "driver", DRIVER, None, {}]),
        vector("hello of a worker with a token", wire.HELLO, [1, "alice", "worker", WORKER, "sesame", CAN]),
        vector(
            "hello with a field of a later version",
            wire.HELLO,
            [1, "é", "driver", DRIVER, None, {"a": 1}, b"", b"", "later"],
        ),
        vector("welcome of a worker that listens", wire.WELCOME, [1, 1, EPOCH, me, [], CAN]),
        vector("welcome of a relay with two workers", wire.WELCOME, [1, 9, EPOCH, relay, [alice, bob], {}]),
        vector("one peer joined", wire.PEERS, [[alice], []]),
        vector("two peers left, one without a goodbye", wire.PEERS, [[], [(7, ""), (8, "it answered no ping")]]),
        vector("goodbye", wire.GOODBYE, ["", "the notebook ends"], to=7),
        vector("goodbye of a relay that will be back", wire.GOODBYE, ["", "the relay ends", 1]),
        vector("goodbye to one who broke the protocol", wire.GOODBYE, ["RemoteProtocolError", "no such kind"], to=7),
        vector("goodbye of a relay to a taken name", wire.GOODBYE, ["Refused", "the name 'alice' is taken"]),
        vector("ping of the link", wire.PING, []),
        vector("ping of a peer behind the relay", wire.PING, [], number=42, to=7),
        vector("pong", wire.PONG, [], number=42, sender=7),
        vector("refused by the relay", wire.REFUSED, [7, "UnknownPeer", "no peer 7 is there"]),
        vector("refused by a peer", wire.REFUSED, [0, "UnknownPeer", "resume first"], number=5, sender=7),
    ]


def _of_conversations() -> List[Dict[str, Any]]:
    failure = [4, 2, "OpFailed", "ValueError", "shapes do not match", "matmul", 4, 2]
    poisoned = [5, 0, "OpFailed", "ValueError", "shapes do not match", "matmul", 4, 2]
    put = {"dtype": "<f4", "shape": [3], "at": 0}
    mask = {"dtype": "|b1", "shape": [2], "at": 16}
    large = {"dtype": "<f4", "shape": [70000]}
    key = {"key": [["s", 0, None, 2], "...", None, ["a", 0]]}
    document = msgpack.packb({"dtype": "<f4", "shape": [3], "nbytes": 12, "name": "", "tags": []})
    doc = [1, wire.DOCUMENT, [len(document)], 16]
    return [
        vector("resume of a new conversation", wire.RESUME, [DRIVER, WORKER, 0, 0, {}], to=7),
        vector("resume of an old one", wire.RESUME, [WORKER, DRIVER, 12, 0, CAN, 3], sender=9),
        vector(
            "resume of one in which chunks had come",
            wire.RESUME,
            [WORKER, DRIVER, 12, 0, {}, 3, [[0, 11, 0, 262144], [1, 2, 4, wire.MAX_ID]]],
            sender=9,
        ),
        vector("credit", wire.CREDIT, [3, 1 << 21]),
        vector("credit of lane 3 past 2^32 bytes", wire.CREDIT, [3, 5 << 32], lane=3),
        vector("cancel", wire.CANCEL, [3, 2], number=wire.MAX_ID),
        vector("answers up to 7", wire.ANSWERS, [0, [], []], number=7),
        vector("answers up to 3, and 5 and 6", wire.ANSWERS, [0, [5, 6], []], number=3),
        vector("answers with failures", wire.ANSWERS, [2, [], [failure, poisoned]], number=5),
        vector("program without steps", wire.PROGRAM, [0, [], []], number=1),
        vector("program of one step", wire.PROGRAM, [6, [["add", 3, [1, 2]]], []], number=7, to=7),
        vector(
            "program that puts two tensors",
            wire.PROGRAM,
            [0, [["put", 1, [], put], ["put", 2, [], mask], ["get", 0, [1]], ["delete", 0, [1, 2]]], []],
            [FLOATS, b"\1\0"],
            number=2,
        ),
        vector("program that announces chunks", wire.PROGRAM, [0, [["put", 9, [], large]], [0]], number=3, lane=1),
        vector(
            "program with literals, parameters and two results",
            wire.PROGRAM,
            [
                0,
                [
                    ["multiply", 4, [3, ["<f4", 0.5]]],
                    ["add", 5, [["<c8", [1.0, -2.0]], 4]],
                    ["linalg.qr", [6, 7], [5], {"mode": "reduced"}],
                    ["getitem", 8, [4, 3], key],
                    ["full", 9, [["<u8", (1 << 64) - 1]], {"shape": [2, 0]}],
                    ["sum", 10, [["<f8", float("inf")]], {"axis": None}],
                ],
                [],
            ],
            number=4,
        ),
        vector(
            "values: a tensor and a document",
            wire.VALUES,
            [0, [[0, "<f4", [3], 0], doc]],
            [FLOATS, document],
            number=2,
        ),
        vector(
            "the last values of a request", wire.VALUES, [0, [[2, "|b1", [], 0]]], [b"\1"], number=2, flags=wire.LAST
        ),
        vector(
            "values of one form",
            wire.VALUES,
            [0, [[[1, 3, 4], "<f4", [1], 0], [6, "|u1", [2], 24]]],
            [b"\0\0\x80\x3f", b"\0\0\0\x40", b"\0\0\xc0\xc0", b"\1\2"],
            number=2,
        ),
        vector("values that are empty", wire.VALUES, [0, [[0, "<f8", [0], 0], [1, "<f8", [2, 0], 0]]], number=2),
        vector("chunk of a request", wire.CHUNK_OF, [0, 0, "<f4", [70000], 262144], [FLOATS], number=3, lane=1),
        vector(
            "chunk of an answer", wire.CHUNK_OF, [0, 5, "|u1", [300000], 0], [b"\1\2\3"], number=3, flags=wire.OF_ANSWER
        ),
    ]


def good() -> Dict[str, Any]:
    """The file of valid frames."""
    return {
        "about": "Valid frames: bytes, header, meta as msgpack holds it, what its fields are called, body. proofs: how "
        "the hellos that prove a key come to their proof.",
        "protocol": wire.SUBPROTOCOL,
        "draft": True,
        "proofs": proofs(),
        "vectors": _of_links() + _of_conversations(),
    }


def hostile() -> Dict[str, Any]:
    """The file of messages that must be refused."""
    vectors = [
        {
            "name": one.name,
            "hex": one.data.hex(),
            "zeros": one.zeros,
            "notices": one.notices,
            "costs": "link" if one.ends_link else "conversation",
            "error": "RemoteProtocolError",
        }
        for one in HOSTILE
    ]
    return {
        "about": "Messages that a peer refuses, each the first of a new conversation: hex, then that many bytes 0.",
        "protocol": wire.SUBPROTOCOL,
        "draft": True,
        "vectors": vectors,
    }
