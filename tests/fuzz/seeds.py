"""The inputs from which fuzzing begins: the vectors of docs/vectors, cut to what each target reads."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any, Dict, Iterator, List

import msgpack

from asyncsyft import wire
from asyncsyft.mpc import packing
from asyncsyft.mpc.machine import Gate
from asyncsyft.websocket.handshake import Dialling, answer
from docs.vectors.generate.plain import from_json
from tests.fuzz import targets

VECTORS = Path(__file__).resolve().parents[2] / "docs" / "vectors" / "v1"
#: Inputs that once broke something, or that a run should always meet: a folder for each target.
SAVED = Path(__file__).resolve().parent / "saved"


def vectors(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_text("utf-8"))


def seeds() -> Dict[str, List[bytes]]:
    """For each target, inputs to begin with: those saved, and those of the vectors."""
    found: Dict[str, List[bytes]] = {name: [b"", b"\0"] for name in targets.TARGETS}
    for name in found:
        found[name] += [path.read_bytes() for path in sorted((SAVED / name).glob("*"))]
    of_frames(found)
    of_plans(found)
    of_the_rest(found)
    return found


def messages() -> Iterator[bytes]:
    for one in vectors("frames")["vectors"]:
        yield bytes.fromhex(one["hex"])
    for one in vectors("hostile")["vectors"]:
        yield bytes.fromhex(one["hex"]) + bytes(min(one["zeros"], 256))
    for talk in vectors("conversations")["vectors"]:
        for turn in talk["exchange"]:
            sides = [side for side in turn.values() if type(side) is list]
            yield from (bytes.fromhex(said["hex"]) for side in sides for said in side if "hex" in said)


def of_frames(found: Dict[str, List[bytes]]) -> None:
    for whole in messages():
        found["message"].append(whole)
        found["websocket"].append(b"\xf0\xff\x82" + websocket_length(len(whole)) + whole)
        try:
            frames = list(wire.frames(memoryview(whole)))
        except wire.RemoteProtocolError:
            continue
        for frame in frames:
            said, body = bytes(frame.meta), bytes(frame.body)[:16].ljust(16, b"\0")
            found["meta"].append(bytes((frame.kind,)) + said)
            found["document"].append(said)
            if frame.kind == wire.HELLO:
                found["admission"].append(said)
            if len(said) < 256 and frame.kind >= wire.RESUME:
                head = bytes((frame.kind, frame.flags, frame.lane & 255, frame.id & 255, len(said)))
                found["conversation"].append(head + said + body)
            if frame.kind == wire.PROGRAM:
                found["steps"].append(said[2:])  # without the list around them, and what was seen
            if frame.flags & wire.COMPRESSED:
                found["zstd"].append(bytes(frame.body))
    found["websocket"] += [
        b"\xf1\x02\x89\x85abcd" + bytes(5),
        b"\xf0\xff\x02\x01a\x89\x00\x80\x01b",
        b"\xf0\xff\x88\x02\x03\xe8",
    ]
    found["zstd"].append(b"\x28\xb5\x2f\xfd\x20\x04\x21\x00\x00abcd")


def websocket_length(size: int) -> bytes:
    if size < 126:
        return bytes((size,))
    return b"\x7e" + struct.pack(">H", size)


def of_plans(found: Dict[str, List[bytes]]) -> None:
    plans = vectors("plans")
    for one in (*plans["vectors"], *plans["invalid"], *plans["failing"]):
        found["plan"].append(bytes.fromhex(one["packed"])[:1024])
    for one in (*plans["documents"], *plans["no_documents"]):
        found["plan_document"].append(bytes.fromhex(one["hex"]))
    for one in vectors("ops")["vectors"]:
        step = [one["op"], 9, [i % 5 for i in range(len(one["inputs"]))], from_json(one["params"])]
        found["steps"].append(msgpack.packb([step]))
    literals = vectors("literals")
    for literal in (*[one["literal"] for one in literals["vectors"]], *[one["literal"] for one in literals["invalid"]]):
        found["steps"].append(msgpack.packb([["add", 9, [1, from_json(literal)]]]))


def of_the_rest(found: Dict[str, List[bytes]]) -> None:
    tensors = vectors("tensors")
    for one in tensors["npy"]:
        found["npy"].append(bytes.fromhex(one["npy"]))
    for one in (*tensors["vectors"], *tensors["invalid"]):
        said = msgpack.packb([from_json(one["dtype"]), from_json(one["shape"]), 0])
        if len(said) < 64:
            found["tensor_form"].append(said.ljust(64, b"\xc1") + bytes.fromhex(one.get("hex", "")))
    seals = vectors("seal")
    for one in seals["refused_messages"]:
        found["exchange_begun" if one["step"] == 1 else "exchange_answered"].append(bytes.fromhex(one["message"]))
    for one in seals["frames"]:
        clear = bytes.fromhex(one["clear"])
        frame = next(wire.frames(memoryview(clear)))
        lengths = struct.pack("<II", len(frame.meta), len(frame.body))
        found["sealed"].append(bytes((frame.kind, frame.flags)) + lengths + clear[wire.HEADER_SIZE :])
    request = Dialling("ws://localhost:1/").request
    found["request_head"].append(request)
    found["response_head"] += [answer(request).data, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno\n"]
    bound = targets.AUTHORITY.issue(names=["a*"], expires=2_000_000_000, roles=["driver"])
    found["token"] += [bound.encode(), b"asyncsyft1.l5gI.AAAA"]
    key = targets.key_text(bytes(range(32)))
    found["known_peers"] += [f"alice {key} # comment\nbob {key}\n".encode(), b"# nobody\n"]
    found["revoked"] += [b"none\nid-1\nid-2 why\n"]
    gates = [Gate("public", 1, (), (targets.HERE[1],)), Gate("mul", 2, (1, 1), ()), Gate("reveal", 3, (2,), (3, -1))]
    found["gates"] += [packing.pack(gates[1:]), packing.pack(gates)]
    about = [{"tags": ["a"]}, [["", "<f8", [3]]]]
    found["kept_record"].append(msgpack.packb(about))
    found["kept_file"] += [b"\x10\0\0\xff", bytes(range(64))]
    entries = [[3, 0], ["<f4", [2], 8]]
    said = msgpack.packb([0, [["syft.message", b"root", 1, None, entries]], []])
    large = msgpack.packb([0, [["syft.buffer", "|u1", [70000]], ["syft.message", b"root", 1, 4, [0]]], [0]])
    told = msgpack.packb([0, [["syft.told", b"root", 1, None, [[True, *entries], [False, [0, 0]]]]], []])
    found["bridge_message"] += [bytes((len(meta),)) + meta + b"abc".ljust(16, b"\0") for meta in (said, large, told)]
