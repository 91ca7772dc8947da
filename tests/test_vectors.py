"""The vectors that other implementations rely on: true, and understood by the library's own decoders.

Each is verified by meaning from what stands in its file, not by making it again.
"""

from __future__ import annotations

import hmac
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List

import msgpack
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from asyncsyft import ops, program, tensor, wire
from asyncsyft.conform.compute import agree
from asyncsyft.errors import AsyncSyftError, RemoteProtocolError
from asyncsyft.executor import Executor
from asyncsyft.protocol import Conversation
from asyncsyft.store import Store
from docs.vectors.generate.plain import array_from_json, from_json, same, to_json

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "vectors" / "v1"
FILES = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.json"))}


def vectors(name: str, key: str = "vectors") -> Any:
    listed = FILES[name][key]
    return pytest.mark.parametrize("vector", listed, ids=[str(v.get("name", i)) for i, v in enumerate(listed)])


def split(message: bytes) -> List[wire.Frame]:
    return list(wire.frames(memoryview(bytearray(message))))


def test_the_files_are_what_the_code_does() -> None:
    command = [sys.executable, "-W", "error", "-m", "docs.vectors.generate", "--check"]
    done = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, check=False, timeout=50)
    assert done.returncode == 0, done.stderr.decode()


def test_all_are_there_and_say_what_they_are() -> None:
    plain = {"frames", "hostile", "tensors", "literals", "promotion", "ops", "conversations"}
    assert set(FILES) == plain | {"plans", "seal"}
    for content in FILES.values():
        assert content["protocol"] == wire.SUBPROTOCOL
        assert content["draft"] is True
        assert content["about"]


def test_every_kind_of_frame_has_a_vector() -> None:
    kinds = {vector["header"]["kind"] for vector in FILES["frames"]["vectors"]}
    assert kinds == {*range(wire.HELLO, wire.SEEK + 1), *range(wire.RESUME, wire.CHUNK_OF + 1)}


@vectors("frames")
def test_a_good_frame(vector: Dict[str, Any]) -> None:
    data = bytes.fromhex(vector["hex"])
    (frame,) = split(data)
    header = vector["header"]
    assert (frame.kind, frame.flags, frame.lane) == (header["kind"], header["flags"], header["lane"])
    assert (frame.to, frame.sender, frame.id) == (header["to"], header["from"], int(header["id"]))
    assert (len(frame.meta), len(frame.body)) == (header["meta_len"], int(header["body_len"]))
    assert frame.size == len(data)
    assert to_json(msgpack.unpackb(frame.meta)) == vector["meta"]
    assert to_json(wire.parse(frame)) == vector["says"]
    assert bytes(frame.body) == bytes.fromhex(vector["body"])


@vectors("frames", "proofs")
def test_a_proof(vector: Dict[str, Any]) -> None:
    """As docs/protocol.md says it, by the primitives alone; and a good hello holds it."""
    said = {name: bytes.fromhex(value) for name, value in vector.items() if name != "name"}
    ours, theirs = (X25519PrivateKey.from_private_bytes(said[name]) for name in ("challenge_private", "private"))
    assert ours.public_key().public_bytes_raw() == said["challenge"]
    assert theirs.public_key().public_bytes_raw() == said["key"]
    assert ours.exchange(theirs.public_key()) == theirs.exchange(ours.public_key()) == said["shared"]
    # HKDF of RFC 5869, of one block
    extracted = hmac.digest(said["challenge"] + said["key"], said["shared"], "sha256")
    secret = hmac.digest(extracted, b"asyncsyft v1 proof\x01", "sha256")
    assert hmac.digest(secret, said["transcript"], "sha256") == said["proof"]
    hellos = [one["says"] for one in FILES["frames"]["vectors"] if one["message"] == "hello"]
    (hello,) = [one for one in hellos if one["key"] == {"hex": vector["key"]}]
    incarnation = bytes.fromhex(hello["incarnation"]["hex"])
    texts = [hello["name"], hello["role"], hello["token"] or ""]
    assert b"\0".join([*(text.encode() for text in texts), incarnation]) == said["transcript"]
    assert hello["proof"] == {"hex": vector["proof"]}


@vectors("hostile")
def test_a_hostile_message(vector: Dict[str, Any]) -> None:
    message = bytes.fromhex(vector["hex"]) + bytes(vector["zeros"])
    assert vector["error"] == "RemoteProtocolError"
    if vector["notices"] == "frames":
        with pytest.raises(RemoteProtocolError):
            split(message)
        return
    (frame,) = split(message)
    assert (vector["costs"] == "link") == (frame.kind < wire.RESUME)
    if vector["notices"] == "meta":
        with pytest.raises(RemoteProtocolError):
            wire.parse(frame)
        return
    worker = fresh()
    with pytest.raises(RemoteProtocolError):
        worker.receive(frame)


def fresh() -> Conversation:
    """A worker's end of a conversation in which a resume was said, and nothing else."""
    talk = FILES["conversations"]
    mine, theirs = bytes.fromhex(talk["worker"]), bytes.fromhex(talk["driver"])
    worker = Conversation(mine, theirs, Executor(Store(), "alice"), {})
    worker.begin(0)
    return worker


@vectors("tensors")
def test_a_tensor(vector: Dict[str, Any]) -> None:
    dtype, shape, nbytes = tensor.check_descr(vector["dtype"], vector["shape"])
    data = bytes.fromhex(vector["hex"])
    assert len(data) == nbytes
    array = tensor.copy_out(dtype, shape, memoryview(data))
    wanted = array_from_json(vector)
    assert (array.dtype, array.shape) == (wanted.dtype, wanted.shape)
    assert array.tobytes() == wanted.tobytes()


def test_every_dtype_has_tensors() -> None:
    shapes: Dict[str, List[Any]] = {}
    for vector in FILES["tensors"]["vectors"]:
        shapes.setdefault(vector["dtype"], []).append(vector["shape"])
    assert set(shapes) == set(tensor.DTYPES)
    assert all([] in listed and [0] in listed for listed in shapes.values())


@vectors("tensors", "npy")
def test_a_whole_file(vector: Dict[str, Any]) -> None:
    array, wanted = tensor.from_npy(bytes.fromhex(vector["npy"])), array_from_json(vector)
    assert (array.dtype, array.shape, array.tobytes()) == (wanted.dtype, wanted.shape, wanted.tobytes())


@vectors("tensors", "invalid")
def test_what_is_no_tensor(vector: Dict[str, Any]) -> None:
    with pytest.raises(AsyncSyftError) as caught:
        tensor.check_descr(vector["dtype"], vector["shape"])
    assert type(caught.value).__name__ == vector["error"]


@vectors("literals")
def test_a_literal(vector: Dict[str, Any]) -> None:
    array, wanted = program.literal_array(from_json(vector["literal"])), array_from_json(vector)
    assert array.shape == ()
    assert array.dtype == wanted.dtype
    np.testing.assert_array_equal(array, wanted)


@vectors("literals", "invalid")
def test_what_is_no_literal(vector: Dict[str, Any]) -> None:
    with pytest.raises(AsyncSyftError) as caught:
        program.literal_array(from_json(vector["literal"]))
    assert type(caught.value).__name__ == vector["error"]


def test_promotion() -> None:
    pairs, scalars = FILES["promotion"]["pairs"], FILES["promotion"]["scalars"]
    assert len(pairs) == len(tensor.DTYPES) ** 2
    assert len(scalars) == len(tensor.DTYPES) * 4
    for one, other, result in pairs:
        arrays = [np.ones(2, tensor.DTYPES[one]), np.ones((), tensor.DTYPES[other])]
        if result == "TypeError":
            with pytest.raises(TypeError):
                ops.run("where", [np.array(True), *arrays], {})
        else:
            assert ops.run("where", [np.array(True), *arrays], {})[0].dtype == tensor.DTYPES[result]
    values = {"bool": True, "int": 1, "float": 0.5, "complex": 1j}
    for descr, kind, result in scalars:
        assert ops.scalar_dtype(values[kind], tensor.DTYPES[descr]) == tensor.DTYPES[result]


def test_every_op_has_a_vector() -> None:
    assert {vector["op"] for vector in FILES["ops"]["vectors"]} == set(ops.OPS)


@vectors("ops")
def test_an_op(vector: Dict[str, Any]) -> None:
    inputs, params = [array_from_json(item) for item in vector["inputs"]], from_json(vector["params"])
    specs = ops.infer(vector["op"], tuple(map(ops.spec_of, inputs)), params)
    found = ops.run(vector["op"], inputs, params)
    assert len(found) == len(specs) == len(vector["outputs"])
    for array, wanted in zip(found, vector["outputs"]):
        assert (tensor.descriptor(array.dtype), list(array.shape)) == (wanted["dtype"], wanted["shape"])
        if wanted["data"] is not None:
            agree(array, array_from_json(wanted), vector["compare"])


@vectors("conversations")
def test_a_conversation(vector: Dict[str, Any]) -> None:
    worker = fresh()
    for turn in vector["exchange"]:
        if turn.get("new_link"):
            worker.begin(0)
        for entry in turn["driver"]:
            worker.receive(split(bytes.fromhex(entry["hex"]))[0])
        out: List[Any] = []
        while worker.take(out, wire.BATCH):
            pass
        told = split(b"".join(out))
        assert [(frame.kind, frame.flags, frame.id) for frame in told] == [
            (entry["header"]["kind"], entry["header"]["flags"], int(entry["header"]["id"])) for entry in turn["worker"]
        ]
        for frame, entry in zip(told, turn["worker"]):
            says = to_json(wire.parse(frame))
            if "hex" not in entry:
                for failure in says["failures"]:
                    assert failure["message"]
                    failure["message"] = "..."
            if frame.kind == wire.RESUME:
                says["can"] = entry["says"]["can"]
            assert says == entry["says"]
            assert bytes(frame.body).hex() == entry.get("body", "")


def test_same_tells_values_apart() -> None:
    assert same({"a": [1, 0.1 + 0.2]}, {"a": [1, 0.3]})
    for other in ({"a": [1, 0.31]}, {"a": [1]}, {"a": [True, 0.3]}, {"b": [1, 0.3]}, [1, 0.3]):
        assert not same({"a": [1, 0.3]}, other)
