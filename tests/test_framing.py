"""RFC 6455 frames, with bytes alone."""

from __future__ import annotations

import os
import struct
from typing import Any, Iterable, List, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from asyncsyft import framing
from asyncsyft.errors import RemoteProtocolError
from asyncsyft.framing import (
    BINARY,
    CLOSE,
    CONTINUATION,
    NUMPY_MASK,
    PING,
    PONG,
    TEXT,
    BadFrame,
    Buffer,
    Decoder,
    Encoder,
)

Event = Tuple[int, bytes]


def feed(decoder: Decoder, data: bytes, cuts: Iterable[int] = ()) -> List[Event]:
    """Give ``data`` to a decoder, cut at these places; the events that come out."""
    events: List[Event] = []
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for begin, end in zip(edges, edges[1:]):
        part = memoryview(data)[begin:end]
        while part:
            room = decoder.room()
            count = min(len(room), len(part))
            room[:count] = part[:count]
            part = part[count:]
            events += [(opcode, bytes(payload)) for opcode, payload in decoder.received(count)]
    return events


def message(data: bytes, masked: bool) -> bytes:
    out: List[Any] = []
    size = Encoder(masked=masked).message([data], out)
    whole = b"".join(out)
    assert len(whole) == size
    return whole


def raw(first: int, payload: bytes = b"", masked: bool = True, size: int = -1) -> bytes:
    """A frame as anyone may write it; ``size`` is a lie about the length."""
    size = len(payload) if size < 0 else size
    bit = 0x80 if masked else 0
    if size < 126:
        head = struct.pack(">BB", first, bit | size)
    elif size < 65536:
        head = struct.pack(">BBH", first, bit | 126, size)
    else:
        head = struct.pack(">BBQ", first, bit | 127, size)
    if not masked:
        return head + payload
    key = b"\x11\x22\x33\x44"
    return head + key + bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))


def refusal(data: bytes, **options: Any) -> BadFrame:
    with pytest.raises(BadFrame) as caught:
        feed(Decoder(masked=True, **options), data)
    return caught.value


SIZES = [0, 1, 7, 125, 126, 127, 65535, 65536, framing.NUMPY_MASK - 1, framing.NUMPY_MASK, 300_001]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("masked", [False, True])
def test_a_message_comes_back_and_websockets_reads_it_too(size: int, masked: bool) -> None:
    data = os.urandom(size)
    frame = message(data, masked)
    assert feed(Decoder(masked=masked), frame) == [(BINARY, data)]

    def exactly(count: int) -> Any:
        nonlocal frame
        part, frame = frame[:count], frame[count:]
        return part
        yield

    with pytest.raises(StopIteration) as theirs:
        next(Frame.parse(exactly, mask=masked))
    assert bytes(theirs.value.value.data) == data
    assert theirs.value.value.opcode is Opcode.BINARY


@pytest.mark.parametrize("masked", [False, True])
def test_pieces_are_one_message(masked: bool) -> None:
    pieces = [b"ab", bytearray(b"cd" * 40_000), memoryview(b"ef"), b""]
    out: List[Any] = []
    Encoder(masked=masked).message(pieces, out)
    assert feed(Decoder(masked=masked), b"".join(out)) == [(BINARY, b"".join(pieces))]


@given(st.lists(st.one_of(st.integers(0, 40), st.integers(NUMPY_MASK - 9, NUMPY_MASK + 9)), max_size=7))
def test_large_pieces_are_masked_wherever_they_begin_and_end(sizes: List[int]) -> None:
    data = bytes(range(256)) * (sum(sizes) // 256 + 1)
    pieces = [data[sum(sizes[:at]) :][:size] for at, size in enumerate(sizes)]
    out: List[Buffer] = []
    Encoder(masked=True).message(pieces, out)
    assert feed(Decoder(masked=True), b"".join(out)) == [(BINARY, data[: sum(sizes)])]


def test_each_frame_has_a_key_of_its_own() -> None:
    encoder = Encoder(masked=True)
    keys = {encoder.control(PING)[2:6] for _ in range(3000)}
    assert len(keys) > 2990


@given(
    st.lists(st.binary(max_size=300), max_size=8),
    st.lists(st.integers(0, 400), max_size=6),
    st.lists(st.integers(0, 3000), max_size=12),
    st.booleans(),
)
@settings(deadline=None)
def test_any_fragments_in_any_slices_give_the_messages_back(
    messages: List[bytes], marks: List[int], cuts: List[int], masked: bool
) -> None:
    encoder = Encoder(masked=masked)
    wire = b""
    for data in messages:
        edges = [0, *sorted(min(mark, len(data)) for mark in marks), len(data)]
        for number, (begin, end) in enumerate(zip(edges, edges[1:])):
            last = number == len(edges) - 2
            wire += raw((0x80 if last else 0) | (CONTINUATION if number else BINARY), data[begin:end], masked)
            wire += encoder.control(PING, b"between")
    events = feed(Decoder(masked=masked), wire, cuts)
    assert [payload for opcode, payload in events if opcode == BINARY] == messages
    assert events.count((PING, b"between")) == len(messages) * (len(marks) + 1)


FRAMES = st.builds(
    raw,
    st.sampled_from([0x82, 0x02, 0x00, 0x80, 0x88, 0x89, 0x8A, 0x81, 0xC2, 0x83]) | st.integers(0, 255),
    st.binary(max_size=140),
    st.booleans() | st.just(True),
    st.just(-1) | st.integers(0, 1 << 64).map(lambda size: min(size, (1 << 64) - 1)),
)


@given(st.lists(FRAMES | st.binary(max_size=40), max_size=10).map(b"".join), st.lists(st.integers(0, 1500), max_size=8))
@settings(deadline=None, max_examples=400)
def test_any_bytes_give_messages_or_a_remote_protocol_error(soup: bytes, cuts: List[int]) -> None:
    def outcome(cuts: List[int]) -> Any:
        try:
            return feed(Decoder(masked=True, max_message=1000), soup, cuts)
        except RemoteProtocolError as error:
            return str(error)

    assert outcome(cuts) == outcome([])


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (raw(0xC2), 1002),
        (raw(0x92), 1002),
        (raw(0xA2), 1002),
        (raw(0x83), 1002),
        (raw(0x8B), 1002),
        (raw(0x82, b"x", masked=False), 1002),
        (raw(0x09, b"x"), 1002),
        (raw(0x89, b"x" * 126), 1002),
        (b"\x89\xfe", 1002),
        (raw(0x80, b"x"), 1002),
        (raw(0x02, b"x") + raw(0x82, b"y"), 1002),
        (raw(0x02, b"x") + raw(0x02, b"y"), 1002),
        (b"\x82\xfe\x00\x7d", 1002),
        (b"\x82\xff" + struct.pack(">Q", 65535), 1002),
        (b"\x82\xff" + struct.pack(">Q", 1 << 63), 1002),
        (b"\x82\xff" + struct.pack(">Q", (1 << 63) - 1), 1009),
        (raw(0x82, size=framing.MAX_MESSAGE + 1), 1009),
        (raw(0x02, b"x" * 60_000) + raw(0x80, size=framing.MAX_MESSAGE - 59_999), 1009),
        (raw(0x81, b"text"), 1003),
        (raw(0x01, b"te") + raw(0x80, b"xt"), 1003),
        (raw(0x88, b"\x03"), 1002),
        (raw(0x88, struct.pack(">H", 999)), 1002),
        (raw(0x88, struct.pack(">H", 1005)), 1002),
        (raw(0x88, struct.pack(">H", 1006)), 1002),
        (raw(0x88, struct.pack(">H", 1015)), 1002),
        (raw(0x88, struct.pack(">H", 2999)), 1002),
        (raw(0x88, struct.pack(">H", 5000)), 1002),
        (raw(0x88, struct.pack(">H", 1000) + b"\xff"), 1007),
    ],
    ids=lambda value: value[:8].hex() if isinstance(value, bytes) else str(value),
)
def test_what_is_refused_and_with_which_code(data: bytes, code: int) -> None:
    error = refusal(data)
    assert error.close_code == code
    assert isinstance(error, RemoteProtocolError)
    assert str(error)


def test_a_client_refuses_masked_frames() -> None:
    with pytest.raises(BadFrame, match="server's frame is masked"):
        feed(Decoder(masked=False), raw(0x82, b"x"))


def test_the_longest_message_is_taken_and_one_more_byte_is_not() -> None:
    data = os.urandom(framing.MAX_MESSAGE)
    assert feed(Decoder(masked=True), message(data, masked=True)) == [(BINARY, data)]
    assert refusal(message(b"x" * 1001, masked=True), max_message=1000).close_code == 1009
    fragments = raw(0x02, b"x" * 600) + raw(0x00, b"x" * 400)
    assert feed(Decoder(masked=True, max_message=1000), fragments + raw(0x80)) == [(BINARY, b"x" * 1000)]
    assert refusal(fragments + raw(0x80, b"x"), max_message=1000).close_code == 1009


def test_a_declared_length_costs_nothing_until_bytes_come() -> None:
    decoder = Decoder(masked=True)
    feed(decoder, raw(0x82, size=framing.MAX_MESSAGE)[:10])
    assert len(decoder.room()) <= framing.FIRST_BUFFER
    feed(decoder, b"x" * 100_000)
    assert len(decoder.room()) <= 4 * 100_000


def test_the_buffer_stays_within_its_bound_and_shrinks_again() -> None:
    decoder = Decoder(masked=False)
    feed(decoder, message(bytes(framing.MAX_MESSAGE), masked=False))
    assert framing.MAX_MESSAGE < len(decoder.room()) <= framing.MAX_MESSAGE + 64
    for _ in range(framing.CALM_READS + 2):
        feed(decoder, message(b"small", masked=False))
    assert len(decoder.room()) == framing.EAGER_BUFFER


def test_a_view_may_be_written_to() -> None:
    decoder = Decoder(masked=False)
    data = message(b"abc", masked=False) + message(b"def", masked=False)
    decoder.room()[: len(data)] = data
    seen = []
    for _, payload in decoder.received(len(data)):
        payload[:] = b"xyz"
        seen.append(bytes(payload))
    assert seen == [b"xyz", b"xyz"]


def test_control_frames() -> None:
    encoder = Encoder(masked=True)
    wire = encoder.control(PING, b"a") + encoder.control(PONG) + encoder.close(1000, "bye") + encoder.close(None)
    events = feed(Decoder(masked=True), wire)
    assert events == [(PING, b"a"), (PONG, b""), (CLOSE, b"\x03\xe8bye"), (CLOSE, b"")]
    assert [framing.close_reason(payload) for _, payload in events[2:]] == [(1000, "bye"), (1005, "")]


def test_a_long_close_reason_is_cut_at_a_whole_character() -> None:
    ((_, payload),) = feed(Decoder(masked=False), Encoder(masked=False).close(1002, "é" * 100 + "\ud800"))
    assert framing.close_reason(payload) == (1002, "é" * 61)


def test_text_is_refused_before_its_payload_arrives() -> None:
    assert refusal(raw(0x80 | TEXT, size=500_000)[:10]).close_code == 1003
