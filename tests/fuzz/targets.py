"""What reads bytes that others wrote: a function each, which takes any bytes and lets out no error but those promised.

They need no fuzzer: a replay of saved inputs calls them too, on every Python.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
from pathlib import Path
from typing import Any, Iterator, List

import msgpack
import numpy as np
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from asyncsyft import compression, ops, program, seal, tensor, wire
from asyncsyft.errors import LimitExceeded, Refused, RemoteError, RemoteProtocolError
from asyncsyft.framing import BadFrame, Decoder
from asyncsyft.identity import Admission, Authority, KnownPeers, check_token, key_text
from asyncsyft.mpc import packing
from asyncsyft.plan.data import from_bytes
from asyncsyft.protocol import Conversation
from asyncsyft.seal.cipher import _BOUND
from asyncsyft.seal.exchange import Ephemeral, Initiator, Responder
from asyncsyft.websocket.handshake import BadHead, Dialling, answer, end_of_head, length_of, status_of
from tests.ends import MINE, THEIRS, Asked, Kept
from tests.fuzz import files  # noqa: F401 - it puts its targets on the list
from tests.fuzz.table import ROOM, TARGETS, reads

# What every connection meets first.


@reads(BadFrame, longest=4096)
def websocket(data: bytes) -> None:
    """The first byte: who reads, and how large a message may be; the second: where what arrives is cut."""
    if len(data) < 2:
        return
    decoder = Decoder(masked=bool(data[0] & 1), max_message=64 << (data[0] >> 4))
    step = data[1] + 1 if data[0] & 2 else len(data)
    for at in range(2, len(data), step):
        rest = memoryview(data)[at : at + step]
        while rest:
            room = decoder.room()
            count = min(len(room), len(rest))
            room[:count] = rest[:count]
            rest = rest[count:]
            for _, payload in decoder.received(count):
                assert len(payload) <= max(decoder.max_message, 125)


@reads(BadHead, longest=2048)
def request_head(data: bytes) -> None:
    end = end_of_head(bytearray(data))
    if end:
        assert answer(data[:end]).data.startswith(b"HTTP/1.1 ")


@reads(BadHead, RemoteProtocolError, share=3, longest=2048)
def response_head(data: bytes) -> None:
    end = end_of_head(bytearray(data))
    if end:
        head = data[:end]
        status, phrase = status_of(head)
        assert 0 <= length_of(head) <= 4096
        opening = Dialling("ws://localhost:1/")
        if status == 101:
            opening.response(head)
        else:
            str(opening.refusal(status, phrase, data[end:]))


# Frames of the protocol, and what they say.


@reads(RemoteProtocolError, share=10)
def message(data: bytes) -> None:
    for frame in wire.frames(memoryview(data)):
        assert frame.size <= wire.MAX_FRAME
        if frame.kind == wire.SEAL:
            seal.exchange(frame)
        elif frame.flags & wire.SEALED:
            seal.lives(frame)
        else:
            wire.parse(frame)
            if frame.flags & wire.COMPRESSED:
                assert wire.expanded(frame).size <= 2 * wire.MAX_FRAME


@reads(RemoteProtocolError, share=12)
def meta(data: bytes) -> None:
    """The first byte: the kind of frame; then its meta."""
    if data:
        kind = data[0] % 24
        frame = wire.Frame(kind, 0, 0, 0, 0, 1, memoryview(data)[1:], memoryview(b""), len(data))
        said = (seal.exchange if kind == wire.SEAL else wire.parse)(frame)
        if kind == wire.HELLO:
            assert said.transcript.count(b"\0") >= 3


@reads(RemoteProtocolError)
def document(data: bytes) -> None:
    wire.document(memoryview(data))


@reads(RemoteProtocolError, share=4, longest=2048)
def zstd(data: bytes) -> None:
    assert len(compression.expand(memoryview(data), ROOM)) <= ROOM


def frames_of(data: bytes) -> Iterator[wire.Frame]:
    """Frames by their shortest form: kind, flags, lane, id and length of the meta in a byte each, meta, body of 16."""
    at = 0
    while at + 5 <= len(data):
        kind, flags, lane, number, size = data[at : at + 5]
        meta = memoryview(data)[at + 5 : at + 5 + size]
        body = memoryview(data)[at + 5 + size : at + 21 + size]
        charged = wire.HEADER_SIZE + (len(meta) + 7 & ~7) + (len(body) + 7 & ~7)
        yield wire.Frame(kind % 24, flags, lane, 0, 0, number, meta, body, charged)
        at += 21 + size


@reads(RemoteProtocolError, share=8, longest=512)
def conversation(data: bytes) -> None:
    """One end that has asked for something, what comes to it, and what it then says."""
    end = Conversation(MINE, THEIRS, Kept(), {"codecs": [wire.ZSTD]})
    end.begin(1)
    end.ask(Asked(0, 1), [["get", 0, [1]], ["get", 0, [2]]], ())
    out: List[wire.Buffer] = []
    for frame in itertools.chain([resumed()], frames_of(data)):
        end.receive(frame)
        end.take(out, wire.BATCH)
    end.end(RemoteProtocolError("enough"))


def resumed() -> wire.Frame:
    """With which the far end begins."""
    out: List[wire.Buffer] = []
    wire.Parcel(wire.RESUME, 0, [THEIRS, MINE, 0, 0, {}]).write(out, 0, 0)
    return next(wire.frames(memoryview(b"".join(out))))


# What programs are made of.


@reads(RemoteProtocolError, LimitExceeded)
def tensor_form(data: bytes) -> None:
    """A descriptor and a shape, then bytes that land."""
    try:
        descr, shape, offset = msgpack.unpackb(data[:64].ljust(64, b"\xc1").split(b"\xc1")[0], max_array_len=64)
    except (ValueError, TypeError):
        return
    dtype, dims, nbytes = tensor.check_descr(descr, shape)
    if nbytes <= ROOM:
        landing = tensor.Landing(dtype, dims)
        assert landing.nbytes == nbytes
        landing.land(offset if type(offset) is int and offset >= 0 else 0, memoryview(data)[64:])


@reads(RemoteProtocolError, LimitExceeded)
def npy(data: bytes) -> None:
    array = tensor.from_npy(data)
    assert array.nbytes <= len(data)


@reads(RemoteError, share=10)
def steps(data: bytes) -> None:
    """The steps of a program, and the ops that they name, on arrays that are there."""
    try:
        raw = msgpack.unpackb(data, strict_map_key=True, max_array_len=wire.MAX_LIST)
    except (ValueError, RecursionError, MemoryError, TypeError):
        return  # as `wire.parse` has it
    for step in raw if type(raw) is list else ():
        checked = program.check(step)
        specs = tuple(ops.spec_of(HERE[i % len(HERE)] if isinstance(i, int) else i) for i in checked.inputs)
        try:
            ops.infer(checked.op, specs, checked.params)
        except (TypeError, ValueError, IndexError, OverflowError):
            pass  # what the executor calls a failed step


HERE = [np.zeros((), "<f4"), np.zeros(3, "<i8"), np.zeros((2, 3), "<f8"), np.zeros((3, 3), "<c8"), np.zeros(4, "|b1")]


@reads(RemoteError, share=10)
def plan(data: bytes) -> None:
    unpacked = program.unpack_plan(data, 64)
    assert len(unpacked.steps) <= 64
    unpacked.pack()


@reads(RemoteProtocolError, share=6, longest=2048)
def plan_document(data: bytes) -> None:
    from_bytes(data)


@reads(Refused, share=8)
def gates(data: bytes) -> None:
    """What a driver of an MPC session tells the parties."""
    packing.unpack(data)


# Keys, tokens, seals.

AUTHORITY, KEY = Authority.new(), Ephemeral(bytes(range(32)))


@reads(Refused, share=6)
def token(data: bytes) -> None:
    check_token(data.decode("latin-1"), [AUTHORITY.public], 1e9)


@reads(Refused, share=4)
def admission(data: bytes) -> None:
    """A hello, as a relay with authorities and known peers meets it."""
    frame = wire.Frame(wire.HELLO, 0, 0, 0, 0, 0, memoryview(data), memoryview(b""), len(data))
    try:
        hello = wire.parse(frame)
    except RemoteProtocolError:
        return
    grant = DOOR.admit(hello.name, hello.role, hello.key or None, hello.token, False, 1e9)
    raise AssertionError(f"{hello!r} came in: {grant}")


DOOR = Admission([AUTHORITY.public], KnownPeers({"alice": key_text(os.urandom(32))}))


@reads(RemoteProtocolError, share=1, longest=256)
def exchange_begun(data: bytes) -> None:
    Responder(KEY, b"prologue", data)
    raise AssertionError("an exchange for our key was guessed")


@reads(RemoteProtocolError, share=1, longest=256)
def exchange_answered(data: bytes) -> None:
    Initiator(KEY, KEY.public, b"prologue", ephemeral=KEY).finish(data)
    raise AssertionError("the answer of an exchange was guessed")


@reads(RemoteProtocolError, share=4)
def sealed(data: bytes) -> None:
    """What a peer that has the key sealed: kind, flags, and the plaintext as it likes."""
    if len(data) < 2:
        return
    kind, flags, counter = data[0] % 24, data[1] | wire.SEALED, (0).to_bytes(8, "little")
    shown = counter + (MINE + THEIRS if kind == wire.RESUME else b"")
    bound = _BOUND.pack(kind, flags, 0, 1) + shown
    body = AESGCM(bytes(32)).encrypt(bytes(12), data[2:], bound)
    frame = wire.Frame(kind, flags, 0, 0, 0, 1, memoryview(shown), memoryview(body), 32 + 24 + len(body))
    opened = seal.Seal(bytes(32), bytes(32)).open(frame)
    wire.parse(opened)


# Messages of PySyft's workers.


@reads(RemoteProtocolError, LimitExceeded, share=6)
def bridge_message(data: bytes) -> None:
    """A program's meta of up to 255 bytes, and its body."""
    if data:
        meta, body = memoryview(data)[1 : 1 + data[0]], memoryview(data)[1 + data[0] :]
        said = wire.parse(wire.Frame(wire.PROGRAM, 0, 0, 0, 0, 1, meta, body, 64 + len(data)))
        MESSAGES.Arriving(said, body)


def _messages() -> Any:
    """The bridge's module for them, without the rest of the bridge, which needs PySyft."""
    path = Path(__file__).resolve().parents[2] / "bridge" / "messages.py"
    spec = importlib.util.spec_from_file_location("bridge_messages", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MESSAGES = _messages()


__all__ = ["AUTHORITY", "HERE", "TARGETS"]
