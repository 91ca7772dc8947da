"""Sealing: an exchange of keys by fixed keys, frames sealed after it, and what must be refused."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

from asyncsyft import wire
from asyncsyft.seal import Ephemeral, Exchange, Initiator, Responder, Seal, prologue
from asyncsyft.wire import HEADER_SIZE, Buffer, Parcel

from .frames import CAN, DRIVER, FLOATS, KINDS, WORKER, described

PRIVATE = {
    "initiator_static": bytes(range(0x20, 0x40)),
    "initiator_ephemeral": bytes(range(0x40, 0x60)),
    "responder_static": bytes(range(0x60, 0x80)),
    "responder_ephemeral": bytes(range(0x80, 0xA0)),
}
KEYS = {name: Ephemeral(private) for name, private in PRIVATE.items()}
EVE = Ephemeral(bytes(range(0xA0, 0xC0)))
FLAG_OFFSET, LANE_OFFSET, ID_OFFSET, META_OFFSET = 1, 2, 16, HEADER_SIZE


def _begin(between: bytes = prologue(DRIVER, WORKER)) -> Initiator:
    theirs, ephemeral = KEYS["responder_static"].public, KEYS["initiator_ephemeral"]
    return Initiator(KEYS["initiator_static"], theirs, between, ephemeral=ephemeral)


def _answer(message: bytes) -> Responder:
    ephemeral = KEYS["responder_ephemeral"]
    return Responder(KEYS["responder_static"], prologue(DRIVER, WORKER), message, ephemeral=ephemeral)


def _ends() -> Tuple[Seal, Seal]:
    """The initiator's seal and the responder's, fresh."""
    initiator = _begin()
    responder = _answer(initiator.message)
    return initiator.finish(responder.message), responder.seal


def _clear(parcel: Parcel, to: int, number: int, flags: int = 0) -> bytes:
    out: List[Buffer] = []
    parcel.write(out, to, number, flags=flags)
    return b"".join(out)


def _sealed(seal: Seal, parcel: Parcel, to: int, number: int, flags: int = 0) -> bytes:
    out: List[Buffer] = []
    seal.write(parcel, out, to, number, flags)
    return b"".join(out)


def _exchange() -> Dict[str, Any]:
    initiator = _begin()
    responder = _answer(initiator.message)
    seal = initiator.finish(responder.message)
    one = Exchange(DRIVER, WORKER, 1, initiator.message).parcel()
    two = Exchange(WORKER, DRIVER, 2, responder.message).parcel()
    return {
        "name": "a driver begins, a worker answers",
        **{name: private.hex() for name, private in PRIVATE.items()},
        "initiator_public": KEYS["initiator_static"].public.hex(),
        "responder_public": KEYS["responder_static"].public.hex(),
        "initiator_incarnation": DRIVER.hex(),
        "responder_incarnation": WORKER.hex(),
        "prologue": prologue(DRIVER, WORKER).hex(),
        "messages": [initiator.message.hex(), responder.message.hex()],
        "frames": [_clear(one, 7, 0).hex(), _clear(two, 9, 0).hex()],
        "hash": seal.hash.hex(),
    }


def _bad_exchanges() -> List[Dict[str, Any]]:
    initiator = _begin()
    one, two = initiator.message, _answer(initiator.message).message
    static, between = KEYS["initiator_static"], prologue(DRIVER, WORKER)
    to_eve = Initiator(static, EVE.public, between, ephemeral=KEYS["initiator_ephemeral"]).message
    of_eve = Responder(EVE, between, to_eve, ephemeral=KEYS["responder_ephemeral"]).message
    low = bytes(32)
    cases = [
        ("a message 1 for another key", 1, to_eve),
        ("a message 1 for another pair of incarnations", 1, _begin(prologue(DRIVER, DRIVER)).message),
        ("a message 1 for the other direction", 1, _begin(prologue(WORKER, DRIVER)).message),
        ("a message 1 with an altered static key", 1, one[:40] + bytes([one[40] ^ 1]) + one[41:]),
        ("a message 1 with an altered end", 1, one[:-1] + bytes([one[-1] ^ 0x80])),
        ("a message 1 with another spelling of its ephemeral key", 1, one[:31] + bytes([one[31] ^ 0x80]) + one[32:]),
        ("a message 1 cut short", 1, one[:-1]),
        ("a message 1 whose ephemeral key is of low order", 1, low + one[32:]),
        ("a message 2 of another key", 2, of_eve),
        ("a message 2 with an altered end", 2, two[:-1] + bytes([two[-1] ^ 1])),
        ("a message 2 cut short", 2, two[:-1]),
        ("a message 2 whose ephemeral key is of low order", 2, low + two[32:]),
        ("message 1 as message 2", 2, one),
        ("nothing", 1, b""),
        ("nothing as message 2", 2, b""),
    ]
    return [{"name": name, "step": step, "message": message.hex()} for name, step, message in cases]


def _said() -> List[Tuple[str, str, Parcel, int, int]]:
    """In the order in which they are sealed: a name, by whom, what, under which id, with which flags."""
    put = {"dtype": "<f4", "shape": [3], "at": 0}
    failure = [4, 2, "OpFailed", "ValueError", "shapes do not match", "matmul", 4, 2]
    large = [1, 0, "<f4", [70000], 262144]
    return [
        ("resume", "initiator", Parcel(wire.RESUME, 0, [DRIVER, WORKER, 0, 0, {}]), 0, 0),
        ("resume, the answer", "responder", Parcel(wire.RESUME, 0, [WORKER, DRIVER, 0, 0, CAN]), 0, 0),
        ("program with a tensor", "initiator", Parcel(wire.PROGRAM, 0, [0, [["put", 1, [], put]], []], [FLOATS]), 1, 0),
        ("credit of lane 3", "responder", Parcel(wire.CREDIT, 3, [0, 1 << 21]), 0, 0),
        ("cancel", "initiator", Parcel(wire.CANCEL, 0, [0, 2]), wire.MAX_ID, 0),
        ("answers with a failure", "responder", Parcel(wire.ANSWERS, 0, [0, [5], [failure]]), 4, 0),
        ("values, flag LAST", "responder", Parcel(wire.VALUES, 0, [0, [[2, "<f4", [3], 0]]], [FLOATS]), 1, wire.LAST),
        ("chunk", "initiator", Parcel(wire.CHUNK_OF, 1, large, [FLOATS]), 3, 0),
        ("chunk of an answer", "responder", Parcel(wire.CHUNK_OF, 1, large, [b"\1"]), 3, wire.OF_ANSWER),
        ("ping", "initiator", Parcel(wire.PING, 0, []), 42, 0),
        ("pong", "responder", Parcel(wire.PONG, 0, []), 42, 0),
        ("refused", "responder", Parcel(wire.REFUSED, 0, [0, "UnknownPeer", "resume first"]), 5, 0),
        ("a frame that is lost", "initiator", Parcel(wire.CANCEL, 0, [0, 3]), 6, 0),
        ("resume after a loss", "initiator", Parcel(wire.RESUME, 0, [DRIVER, WORKER, 0, 1, {}]), 0, 0),
        ("goodbye", "initiator", Parcel(wire.GOODBYE, 0, ["", "the notebook ends"]), 0, 0),
    ]


def _frames() -> List[Dict[str, Any]]:
    ends = dict(zip(("initiator", "responder"), _ends()))
    counters = {"initiator": 0, "responder": 0}
    listed = []
    for name, by, parcel, number, flags in _said():
        to = 7 if by == "initiator" else 9
        clear = described("", _clear(parcel, to, number, flags))
        listed.append({
            "name": name,
            "message": KINDS[parcel.kind],
            "by": by,
            "counter": str(counters[by]),
            "hex": _sealed(ends[by], parcel, to, number, flags).hex(),
            "clear": clear["hex"],
            "lost": name == "a frame that is lost",
        })  # fmt: skip
        counters[by] += 1
    return listed


def _hostile() -> List[Dict[str, Any]]:
    """Frames as a worker may get them that has opened the ``opened`` first ones of the initiator's."""
    sent = [bytes.fromhex(frame["hex"]) for frame in _frames() if frame["by"] == "initiator"]
    own = next(bytes.fromhex(frame["hex"]) for frame in _frames() if frame["by"] == "responder")
    resume, program, cancel = sent[:3]

    def altered(data: bytes, at: int, by: int) -> bytes:
        return data[:at] + bytes([data[at] ^ by]) + data[at + 1 :]

    ahead = resume[:META_OFFSET] + b"\1" + resume[META_OFFSET + 1 :]
    cases = [
        ("a replay", 1, resume),
        ("a resume that goes back", 3, resume),
        ("a frame that overtook another", 1, cancel),
        ("a frame after one that was dropped", 0, program),
        ("what this end sealed itself", 0, own),
        ("a frame in the clear", 1, bytes.fromhex(_frames()[2]["clear"])),
        ("another kind", 1, altered(program, 0, 1)),
        ("a flag set", 1, altered(program, FLAG_OFFSET, wire.COMPRESSED)),
        ("the flag SEALED cleared", 1, altered(program, FLAG_OFFSET, wire.SEALED)),
        ("another lane", 1, altered(program, LANE_OFFSET, 1)),
        ("another id", 1, altered(program, ID_OFFSET, 3)),
        ("another counter", 1, altered(program, META_OFFSET, 3)),
        ("a resume whose counter was moved ahead", 0, ahead),
        ("a resume that shows another incarnation", 0, altered(resume, META_OFFSET + 8, 1)),
        ("an altered body", 1, altered(program, META_OFFSET + 20, 1)),
        ("an altered tag", 1, altered(program, len(program) - 1, 1)),
        ("a body cut short", 1, program[:24] + _length(program, -8) + program[32:-8]),
        ("a body shorter than a tag", 1, program[:24] + (8).to_bytes(8, "little") + program[32:48]),
        ("a meta of 16 bytes", 1, program[:12] + b"\x10" + program[13:24] + _length(program, -8) + program[32:]),
        *_insider(1),
    ]
    return [{"name": name, "opened": opened, "hex": data.hex()} for name, opened, data in cases]


def _length(frame: bytes, more: int) -> bytes:
    """The header's ``body_len``, and so many more."""
    return (int.from_bytes(frame[24:32], "little") + more).to_bytes(8, "little")


class _Bare:
    """A parcel that says of itself what it likes: what a peer may seal that has the key and means harm."""

    def __init__(self, kind: int, plain: bytes, meta_len: int, body_len: int) -> None:
        self.kind, self.flags, self.lane = kind, 0, 0
        self.meta_len, self.body_len, self.pieces, self.size = meta_len, body_len, [plain], HEADER_SIZE + len(plain)


def _insider(opened: int) -> List[Tuple[str, int, bytes]]:
    found = []
    for name, plain, meta_len, body_len in (
        ("sealed by the peer: a meta longer than the frame", bytes(8), 9, 0),
        ("sealed by the peer: a body of 2^32-1 bytes", bytes(8), 1, (1 << 32) - 1),
        ("sealed by the peer: bytes behind the body", bytes(24), 8, 8),
        ("sealed by the peer: no padding", b"\x90", 1, 0),
    ):
        seal, _ = _ends()
        for _ in range(opened):
            _sealed(seal, _said()[0][2], 7, 0)
        bare: Any = _Bare(wire.CANCEL, plain, meta_len, body_len)
        data = _sealed(seal, bare, 7, 1)
        found.append((name, opened, data + bytes(-len(data) % 8)))
    return found


def seals() -> Dict[str, Any]:
    """The file of sealing."""
    return {
        "about": "An exchange of keys, the frames sealed after it in order (what they are in the clear), and what is "
        "refused: messages of an exchange, and frames for a responder that opened the first ones of the initiator.",
        "protocol": wire.SUBPROTOCOL,
        "draft": True,
        "exchange": _exchange(),
        "refused_messages": _bad_exchanges(),
        "frames": _frames(),
        "hostile": _hostile(),
    }
