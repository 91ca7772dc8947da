"""Frames and messages: each kind there and back, and bytes that lie: they parse, or raise RemoteProtocolError."""

from __future__ import annotations

import tracemalloc
from typing import Any, Callable, Dict, List, Tuple

import msgpack
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asyncsyft import wire
from asyncsyft.errors import LocalProtocolError, RemoteProtocolError
from asyncsyft.wire import HEADER, HEADER_SIZE, MAX_FRAME, MAX_ID, Frame, Parcel
from tests.ends import frame

LIFE, EPOCH = bytes(range(8)), bytes(range(8, 16))
KEY, PROOF = bytes(range(32)), bytes(range(32, 64))
PEER = wire.PeerInfo(7, "alice", "worker", LIFE, KEY)
FAILURE = wire.Failure(3, 1, "OpFailed", "ValueError", "no", "add", 2, 0)
PROGRAM = [["add", 3, [1, 2]], ["get", 0, [3]], ["sum", 4, [["<f4", 1.5]], {"axis": [0]}]]

# Of each kind: the meta as it is sent, and what is understood.
MESSAGES: Dict[int, Tuple[Any, Any]] = {
    wire.HELLO: (
        (1, "bob", "driver", LIFE, "secret", {"level": 2}, KEY, PROOF),
        wire.Hello(1, "bob", "driver", LIFE, "secret", {"level": 2}, KEY, PROOF),
    ),
    wire.WELCOME: ((1, 4, EPOCH, PEER, [PEER], {}), wire.Welcome(1, 4, EPOCH, PEER, [PEER], {})),
    wire.PEERS: (([PEER], [(3, "goodbye")]), wire.Peers([PEER], [(3, "goodbye")])),
    wire.GOODBYE: (("Refused", "the name is taken", 2), wire.Goodbye("Refused", "the name is taken", 2)),
    wire.PING: ((), None),
    wire.PONG: ((), None),
    wire.REFUSED: ((9, "UnknownPeer", "gone"), wire.Refused(9, "UnknownPeer", "gone")),
    wire.CHALLENGE: ((1, KEY), wire.Challenge(1, KEY)),
    wire.SEEK: (([LIFE, EPOCH],), wire.Seek([LIFE, EPOCH])),
    wire.RESUME: (
        (LIFE, EPOCH, 5, 4, {"level": 1}, 6, [[1, 5, 0, 1 << 20]]),
        wire.Resume(LIFE, EPOCH, 5, 4, {"level": 1}, 6, [(1, 5, 0, 1 << 20)]),
    ),
    wire.CREDIT: ((4, 1 << 30), wire.Credit(4, 1 << 30)),
    wire.CANCEL: ((4, 2), wire.Cancel(4, 2)),
    wire.ANSWERS: ((4, [7, 9], [FAILURE]), wire.Answers(4, [7, 9], [FAILURE])),
    wire.PROGRAM: ((4, PROGRAM, [0]), wire.Program(4, PROGRAM, [0])),
    wire.VALUES: (
        (4, [(0, "<f4", (2, 3), 8), ((1, 5), "<f8", (), 32)]),
        wire.Values(4, [[[0], "<f4", [2, 3], 8], [[1, 5], "<f8", [], 32]]),  # type: ignore[list-item]
    ),
    wire.CHUNK_OF: ((4, 0, "<f8", [1 << 20], 1 << 18), wire.ChunkOf(4, 0, "<f8", [1 << 20], 1 << 18)),
}
KINDS = sorted(MESSAGES)
#: Fields without which a frame of that kind is understood: they came later, or are for those who have a key.
OPTIONAL = {wire.HELLO: 2, wire.RESUME: 2, wire.GOODBYE: 1}


def only(message: bytes) -> Frame:
    (found,) = wire.frames(memoryview(message))
    return found


def frame_or_error(message: bytes) -> None:
    """The rule: parse, or raise RemoteProtocolError, and nothing else."""
    try:
        for found in wire.frames(memoryview(message)):
            assert found.size <= MAX_FRAME
            assert found.id <= MAX_ID
            wire.parse(found)
    except RemoteProtocolError:
        return


# There and back.


def test_every_kind_is_known_here() -> None:
    assert set(KINDS) == set(wire._DECODERS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("body", [b"", b"x", bytes(8), bytes(range(33))], ids=len)
def test_each_kind_there_and_back(kind: int, body: bytes) -> None:
    meta, understood = MESSAGES[kind]
    found = only(frame(kind, meta, body, number=12, lane=3))
    assert (found.kind, found.flags, found.lane, found.to, found.sender, found.id) == (kind, 0, 3, 0, 0, 12)
    assert bytes(found.body) == body
    assert wire.parse(found) == understood


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in (wire.PING, wire.PONG)])
def test_fields_of_a_later_version_are_ignored(kind: int) -> None:
    meta, understood = MESSAGES[kind]
    assert wire.parse(only(frame(kind, (*meta, {"new": [1, 2]}, None)))) == understood


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in (wire.PING, wire.PONG)])
def test_a_field_too_few(kind: int) -> None:
    meta, _ = MESSAGES[kind]
    for count in range(len(meta) - OPTIONAL.get(kind, 0)):
        with pytest.raises(RemoteProtocolError):
            wire.parse(only(frame(kind, meta[:count])))


def test_fields_that_may_be_left_out() -> None:
    hello, resume, goodbye = (wire.parse(only(frame(kind, MESSAGES[kind][0][:-n]))) for kind, n in OPTIONAL.items())
    assert (hello.key, hello.proof, resume.asked, list(resume.landed)) == (b"", b"", 0, [])
    assert goodbye.retry is None
    peer = wire.parse(only(frame(wire.PEERS, ([PEER[:4]], [])))).joined[0]
    assert peer == PEER._replace(key=b"")


@pytest.mark.parametrize("size", [1, 31, 33, 64])
def test_keys_of_another_length(size: int) -> None:
    key = bytes(size)
    hello = MESSAGES[wire.HELLO][0]
    for kind, meta in (
        (wire.CHALLENGE, (1, key)),
        (wire.HELLO, (*hello[:6], key, PROOF)),
        (wire.HELLO, (*hello[:6], KEY, key)),
        (wire.PEERS, ([(*PEER[:4], key)], [])),
    ):
        with pytest.raises(RemoteProtocolError, match="not a key"):
            wire.parse(only(frame(kind, meta)))


@pytest.mark.parametrize("name", ["bob\nWARNING: alice left", "\x1b[2Jbob", "bob\u202e", "\r"], ids=repr)
def test_a_relay_that_tells_of_names_that_are_none(name: str) -> None:
    for kind, meta in (
        (wire.PEERS, ([(PEER[0], name, *PEER[2:])], [])),
        (wire.WELCOME, (*MESSAGES[wire.WELCOME][0][:3], (PEER[0], name, *PEER[2:]), [], {})),
    ):
        with pytest.raises(RemoteProtocolError, match="not a name"):
            wire.parse(only(frame(kind, meta)))


def test_what_a_proof_covers_reads_one_way_only() -> None:
    said = {
        wire.Hello(1, name, role, LIFE, token, {}).transcript
        for name in ("bob", "bo")
        for role in ("driver", "worker")
        for token in (None, "b", "secret")
    }
    assert len(said) == 12


@pytest.mark.parametrize("kind", KINDS)
def test_every_wrong_type_in_every_field(kind: int) -> None:
    meta, _ = MESSAGES[kind]
    for at in range(len(meta)):
        for wrong in (
            True,
            -1,
            1.5,
            b"bytes",
            1 << 63,
            [None],
            [[1]],
            [{"a": 1}],
            ["ab"],
            [7],
            msgpack.ExtType(4, b"x"),
        ):
            fields = list(meta)
            fields[at] = wrong
            frame_or_error(frame(kind, fields))
    frame_or_error(frame(kind, [[] for _ in meta]))
    frame_or_error(frame(kind, [{} for _ in meta]))


KNOWN_FLAGS = {
    wire.PROGRAM: wire.COMPRESSED,
    wire.VALUES: wire.COMPRESSED | wire.LAST,
    wire.CHUNK_OF: wire.COMPRESSED | wire.OF_ANSWER,
}


def test_flags() -> None:
    for kind in KINDS:
        for flags in range(1, 256):
            found = only(frame(kind, MESSAGES[kind][0], flags=flags))
            if flags & ~KNOWN_FLAGS.get(kind, 0):
                with pytest.raises(RemoteProtocolError, match="unknown flags"):
                    wire.parse(found)
            else:
                assert wire.parse(found) == MESSAGES[kind][1]


def test_unknown_kinds() -> None:
    for kind in set(range(256)) - set(KINDS):
        with pytest.raises(RemoteProtocolError, match="unknown kind"):
            wire.parse(only(frame(kind, [])))


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.binary(max_size=40), st.integers(0, MAX_ID)), max_size=6))
def test_frames_follow_each_other_in_a_message(parts: List[Tuple[int, bytes, int]]) -> None:
    message = b"".join(frame(kind, MESSAGES[kind][0], body, number=number) for kind, body, number in parts)
    assert len(message) % 8 == 0
    found = list(wire.frames(memoryview(message)))
    assert [(f.kind, bytes(f.body), f.id) for f in found] == parts
    assert sum(f.size for f in found) == len(message)


@given(st.lists(st.binary(max_size=20), max_size=5))
def test_each_buffer_of_a_body_begins_at_a_multiple_of_8(buffers: List[bytes]) -> None:
    out: List[wire.Buffer] = []
    parcel = Parcel(wire.PROGRAM, 0, (0, [], []), buffers)
    assert parcel.write(out, 0, 1) == parcel.size == sum(map(len, out))
    found, at = only(b"".join(out)), 0
    for buffer in buffers:
        assert bytes(found.body[at : at + len(buffer)]) == buffer
        at += len(buffer) + 7 & ~7


def test_a_resend_carries_the_numbers_of_its_time() -> None:
    parcel = Parcel(wire.VALUES, 2, MESSAGES[wire.VALUES][0], [b"12345678"])
    for to, number, sender, flags in ((1, 5, 0, 0), (4, 5, 9, wire.LAST)):
        out: List[wire.Buffer] = []
        parcel.write(out, to, number, sender, flags)
        found = only(b"".join(out))
        assert (found.to, found.id, found.sender, found.flags) == (to, number, sender, flags)


def test_what_this_end_must_not_send() -> None:
    with pytest.raises(LocalProtocolError, match="limit"):
        Parcel(wire.PROGRAM, 0, (0, [], []), [bytes(MAX_FRAME)])
    deep: List[Any] = []
    for _ in range(2000):
        deep = [deep]
    for meta in ((object(),), (1 << 64,), ("\ud800",), deep):
        with pytest.raises(LocalProtocolError):
            Parcel(wire.PROGRAM, 0, meta)
        assert Parcel(wire.CREDIT, 0, (1, 2)).pieces == [b"\x92\x01\x02" + bytes(5)]  # nothing of it is left
    biggest = MAX_FRAME - HEADER_SIZE - 8
    assert Parcel(wire.PROGRAM, 0, (0, [], []), [bytes(biggest)]).size == MAX_FRAME


# Headers that lie.


def header(meta_len: int = 0, body_len: int = 0, number: int = 0, rest: bytes = b"") -> bytes:
    return HEADER.pack(wire.PING, 0, 0, 0, 0, meta_len, number, body_len) + rest


@pytest.mark.parametrize(
    "message",
    [
        bytes(HEADER_SIZE - 1),
        header(meta_len=1),
        header(meta_len=8, rest=bytes(7)),
        header(meta_len=1, rest=b"\x90"),  # its padding is missing
        header(body_len=(1 << 64) - 1, rest=bytes(64)),
        header(body_len=(1 << 64) - 8, rest=bytes(64)),
        header(meta_len=(1 << 32) - 1, rest=bytes(64)),
        header(number=MAX_ID + 1),
        header(number=(1 << 64) - 1),
        header(meta_len=8, body_len=MAX_FRAME - HEADER_SIZE, rest=bytes(MAX_FRAME)),
        frame(wire.PING, []) + b"\0",
        frame(wire.PING, []) + bytes(HEADER_SIZE - 1),
    ],
    ids=range(12),
)
def test_headers_that_lie(message: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        list(wire.frames(memoryview(message)))


def test_an_empty_message_holds_no_frames() -> None:
    assert list(wire.frames(memoryview(b""))) == []


# Metas that lie.


def meta_frame(kind: int, meta: bytes) -> bytes:
    padded = meta + bytes(-len(meta) % 8)
    return HEADER.pack(kind, 0, 0, 0, 0, len(meta), 0, 0) + padded


DEPTHS = (1000, 1023, 1024, 100_000)
BOMBS: Dict[str, Callable[[int], bytes]] = {
    "lists": lambda n: b"\x91" * n,
    "maps": lambda n: b"\x81\xa1k" * n,
    "maps of lists": lambda n: b"\x81\xa1k\x91" * (n // 2),
    "lists that end": lambda n: b"\x91" * n + b"\xc0",
    "lists that say 4096": lambda n: b"\xdc\x10\x00" * n,
    "lists that say 65535": lambda n: b"\xdc\xff\xff" * n,
    "lists that say 2^32-1": lambda n: b"\xdd\xff\xff\xff\xff" * n,
    "maps that say 2^32-1": lambda n: b"\xdf\xff\xff\xff\xff\xa1k" * n,
    "maps that say 65535": lambda n: b"\xde\xff\xff\xa1k" * n,
}
SAY_TOO_MUCH = [b"\xdb\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xc9\xff\xff\xff\xff\x04", b"\xdd\xff\xff\xff\xff"]


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("depth", DEPTHS)
def test_depth_bombs(bomb: str, depth: int) -> None:
    meta = BOMBS[bomb](depth)[: MAX_FRAME - HEADER_SIZE]
    for kind in (wire.PROGRAM, wire.VALUES):
        for prefix in (b"", b"\x93\x00"):
            try:
                wire.parse(only(meta_frame(kind, (prefix + meta)[: MAX_FRAME - HEADER_SIZE])))
            except RemoteProtocolError:
                continue
            raise AssertionError("a bomb was parsed")


@pytest.mark.parametrize("depth", [500, 950, 1000])
def test_depth_within_the_limits_of_msgpack(depth: int) -> None:
    for at in range(3):
        fields: List[Any] = [b"\x00", b"\x90", b"\x90"]
        fields[at] = b"\x91" * depth + b"\xc0"
        frame_or_error(meta_frame(wire.PROGRAM, b"\x93" + b"".join(fields)))


@pytest.mark.parametrize("meta", SAY_TOO_MUCH, ids=repr)
def test_huge_declared_lengths(meta: bytes) -> None:
    for prefix in (b"", b"\x93", b"\x93\x00\x91"):
        with pytest.raises(RemoteProtocolError):
            wire.parse(only(meta_frame(wire.PROGRAM, prefix + meta + bytes(64))))


@pytest.mark.parametrize(
    "meta",
    [
        b"",
        b"\xc1",
        b"\xc0",
        b"\x80",
        b"\xa1\xff",  # no UTF-8
        b"\x92\x00\xa2\xc3\x28",
        b"\x92\xa3\xed\xa0\x80\x00",  # a surrogate
        b"\x93\x00\x90\x90\x00",  # something behind the list
        b"\x93\x00\x81\x01\x02\x90",  # a number as a key
        b"\x93\x00\x81\x90\x02\x90",  # a list as a key
        b"\xd4\x04\x00",
        b"\xd6\xff\x00\x00\x00\x00",  # a timestamp
        b"\xc7\x0c\xff\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00",  # one with too many nanoseconds
        b"\xc7\x03\xff\x00\x00\x00",
    ],
    ids=repr,
)
def test_metas_that_are_none(meta: bytes) -> None:
    for kind in KINDS:
        with pytest.raises(RemoteProtocolError):
            wire.parse(only(meta_frame(kind, meta)))
    with pytest.raises(RemoteProtocolError):
        wire.document(memoryview(b"\x91" + meta + b"\xc1"))


def cost(act: Callable[[], Any]) -> int:
    """Bytes of memory at the peak."""
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


WORST = {
    **{name: bomb(200_000) for name, bomb in BOMBS.items()},
    **{repr(meta): b"\x93\x00" + meta for meta in SAY_TOO_MUCH},
    "many empty maps": b"\x93\x00" + (b"\xdc\x10\x00" + b"\x80" * 4096) * 120,
    "many empty lists": b"\xdc\x00\x78" + (b"\xdc\x10\x00" + b"\x90" * 4096) * 120,
    "many texts": b"\xdc\x00\x20" + (b"\xdc\x10\x00" + b"\xa2zz" * 4096) * 32,
}


@pytest.mark.parametrize("name", WORST)
def test_no_frame_costs_much_memory(name: str) -> None:
    meta = WORST[name][: MAX_FRAME - HEADER_SIZE]
    message = meta_frame(wire.PROGRAM, meta)
    assert cost(lambda: frame_or_error(message)) < 48 << 20  # 64 bytes for an empty map of 1, 32 MiB for nested lists


# Byte soup.


@given(st.binary(max_size=200))
def test_any_bytes(message: bytes) -> None:
    frame_or_error(message)


@given(st.sampled_from(KINDS), st.binary(max_size=60))
def test_any_meta(kind: int, meta: bytes) -> None:
    frame_or_error(meta_frame(kind, meta))


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


@given(st.sampled_from(KINDS), st.lists(plain, max_size=7))
@example(wire.PEERS, [[], [{}]])
@example(wire.PEERS, [[], [{"a": 1}]])
@example(wire.VALUES, [0, {"abcd": 1}])
@example(wire.VALUES, [0, "abcd"])
@example(wire.HELLO, [1, "a", "driver", LIFE, None, {}])
def test_any_plain_values(kind: int, fields: List[Any]) -> None:
    frame_or_error(meta_frame(kind, msgpack.packb(fields)))


@given(st.data())
def test_mutated_frames(data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=3))
    message = bytearray(b"".join(frame(kind, MESSAGES[kind][0], b"body", number=3) for kind in kinds))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(message)))
        message[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    frame_or_error(bytes(message))


@given(st.data())
def test_truncated_frames(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(KINDS))
    message = frame(kind, MESSAGES[kind][0], b"0123456789")
    cut = message[: data.draw(st.integers(1, len(message) - 1))]
    with pytest.raises(RemoteProtocolError):
        list(wire.frames(memoryview(cut)))


@given(st.binary(max_size=64))
def test_any_document(body: bytes) -> None:
    try:
        wire.document(memoryview(body))
    except RemoteProtocolError:
        return


def test_a_document_there_and_back() -> None:
    value = {"shape": [1, 2], "name": "x", "tags": ["a"], "nbytes": 1 << 40, "half": 0.5}
    assert wire.document(memoryview(msgpack.packb(value))) == value


def test_lengths_of_lists_are_bounded_and_enough() -> None:
    ids = list(range(wire.MAX_LIST))
    message = frame(wire.PROGRAM, (0, [["delete", 0, ids]], []))
    assert wire.parse(only(message)).steps == [["delete", 0, ids]]
    with pytest.raises(RemoteProtocolError):
        wire.parse(only(frame(wire.PROGRAM, (0, [["delete", 0, [*ids, 1]]], []))))


def test_a_body_is_a_view_and_no_copy() -> None:
    message = memoryview(bytearray(frame(wire.CHUNK_OF, MESSAGES[wire.CHUNK_OF][0], bytes(1024))))
    (found,) = wire.frames(message)
    assert np.shares_memory(np.frombuffer(found.body, np.uint8), np.frombuffer(message, np.uint8))
