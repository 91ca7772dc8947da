"""Sealing: what a relay that reads, alters, splices, replays, drops and reorders can do to it, which is nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from asyncsyft import identity, wire
from asyncsyft.compression import Policy
from asyncsyft.errors import LocalProtocolError, RemoteProtocolError
from asyncsyft.seal import (
    OVERHEAD,
    OVERHEAD_OF_RESUME,
    Ephemeral,
    Exchange,
    Initiator,
    Responder,
    Seal,
    exchange,
    leads,
    lives,
    prologue,
)
from asyncsyft.seal.cipher import MAX_COUNTER
from asyncsyft.wire import HEADER, HEADER_SIZE, SEALED, Frame, Parcel
from tests.ends import frame as clear_frame
from tests.test_wire import MESSAGES, meta_frame

MINE, THEIRS = bytes(range(8)), bytes(range(8, 16))
BETWEEN = prologue(MINE, THEIRS)
ONE, TWO = b"\1" * 32, b"\2" * 32
RESUME = Parcel(wire.RESUME, 0, (MINE, THEIRS, 5, 4, {}))
CANCEL = Parcel(wire.CANCEL, 0, (4, 2))
SECRET = b"the salary of Alice is 4 thousand a month"
PROGRAM = Parcel(wire.PROGRAM, 3, (4, [["add", 3, [1, 2]]], []), [SECRET])
DOCS = Path(__file__).resolve().parent.parent / "docs"
VECTORS: Dict[str, Any] = json.loads((DOCS / "vectors" / "v1" / "seal.json").read_text("utf-8"))

# Every point of low order, in the spellings that X25519 takes.
LOW_ORDER = [
    bytes(32),
    b"\1" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
]


def seals() -> Tuple[Seal, Seal]:
    """Two ends of the same seal."""
    return Seal(ONE, TWO), Seal(TWO, ONE)


def sealed(seal: Seal, parcel: Parcel, to: int = 0, number: int = 7, flags: int = 0) -> bytes:
    out: List[wire.Buffer] = []
    size = seal.write(parcel, out, to, number, flags=flags)
    data = b"".join(out)
    assert size == len(data)
    return data


def cut(data: bytes) -> Frame:
    (found,) = wire.frames(memoryview(data))
    return found


def refused(seal: Seal, data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        seal.open(cut(data))


def flips(data: bytes) -> Iterator[Tuple[int, bytes]]:
    """Every byte string that differs from this one in one bit, and in which byte."""
    for at in range(len(data)):
        for bit in range(8):
            yield at, data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]


# The exchange.


def exchanged() -> Tuple[Seal, Seal]:
    """A seal as it comes about."""
    alice, bob = Ephemeral(), Ephemeral()
    begun = Initiator(alice, bob.public, BETWEEN)
    answered = Responder(bob, BETWEEN, begun.message)
    assert answered.theirs == alice.public
    return begun.finish(answered.message), answered.seal


def test_the_vector_of_the_noise_specification_s_implementations() -> None:
    """``cacophony.txt``, Noise_IK_25519_AESGCM_SHA256."""
    static = Ephemeral(bytes.fromhex("e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1"))
    other = Ephemeral(bytes.fromhex("4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893"))
    one = Ephemeral(bytes.fromhex("893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a"))
    two = Ephemeral(bytes.fromhex("bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b"))
    begun = Initiator(static, other.public, b"John Galt", b"Ludwig von Mises", one)
    assert begun.message.hex() == (
        "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944"
        "4e417bc55c7a8166c993356c1be41ef67818a292426f301556c7f26b21d25ddb097153891a9a956cff47b83e63ad8d70"
        "1c1342c209cff1ca5ecd43402762ac249e3bd3a4c0a145fe07cb5dae28ea13a3"
    )
    answered = Responder(other, b"John Galt", begun.message, b"Murray Rothbard", two)
    assert answered.payload == b"Ludwig von Mises"
    assert answered.theirs == static.public
    assert answered.message.hex() == (
        "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843"
        "af2ccf9972e22afc67aeafcd25162f7f98c363b7762e3e4cb7d272e39f27a5"
    )
    seal = begun.finish(answered.message)
    assert begun.payload == b"Murray Rothbard"
    assert (seal.hash, answered.seal.hash) == (seal.hash, seal.hash)
    assert seal.hash.hex() == "669c8640d9e42a3cda2f232f78597ceefb01daa6e3df81181ccce6fc6b5026bf"
    first, second = bytes(12), bytes(11) + b"\1"
    for end, nonce, plain, cipher in (
        (seal, first, b"F. A. Hayek", "66acfc92e3197de166809e6d4d5d003dcc819a84bc3522ca53c9d9"),
        (answered.seal, first, b"Carl Menger", "71f89aa6533a6de70b0826864dd75f60806ee40170c16290189eb3"),
        (
            seal,
            second,
            b"Jean-Baptiste Say",
            "4795a3423550c8bf00386bd496a3e2c76c10669d2a75ab8f79b5094c5412a25705",
        ),
        (
            answered.seal,
            second,
            "Eugen Böhm von Bawerk".encode("latin-1"),
            "aa0bb39097555c918e40be82abc2b909eb79d9eb87adb07e268fc37323a6cf904fd01fb391",
        ),
    ):
        assert end._encrypt(nonce, plain, b"").hex() == cipher


def test_two_ends_agree() -> None:
    one, two = exchanged()
    assert one.hash == two.hash
    for left, right in ((one, two), (two, one)):
        assert bytes(right.open(cut(sealed(left, PROGRAM))).body) == SECRET


def test_an_exchange_gives_a_new_seal_each_time() -> None:
    (one, _), (other, far) = exchanged(), exchanged()
    assert one.hash != other.hash
    refused(far, sealed(one, RESUME))


def test_an_identity_is_a_key() -> None:
    alice, bob = identity.Key.new(), identity.Key.new()
    begun = Initiator(alice, bob.public, BETWEEN)
    answered = Responder(bob, BETWEEN, begun.message)
    assert answered.theirs == alice.public
    assert begun.finish(answered.message).hash == answered.seal.hash


def test_a_message_is_for_one_key_one_pair_of_lives_and_one_direction() -> None:
    alice, bob, eve = Ephemeral(), Ephemeral(), Ephemeral()
    begun = Initiator(alice, bob.public, BETWEEN)
    for key, between in (
        (eve, BETWEEN),
        (bob, prologue(MINE, b"another.")),
        (bob, prologue(b"another.", THEIRS)),
        (bob, prologue(THEIRS, MINE)),
        (alice, prologue(THEIRS, MINE)),  # its own words, sent back
    ):
        with pytest.raises(RemoteProtocolError):
            Responder(key, between, begun.message)


def test_a_relay_in_the_middle_with_a_key_of_its_own() -> None:
    alice, bob, eve = Ephemeral(), Ephemeral(), Ephemeral()
    begun = Initiator(alice, bob.public, BETWEEN)
    with pytest.raises(RemoteProtocolError):  # she cannot read what was meant for Bob
        Responder(eve, BETWEEN, begun.message)
    fooled = Initiator(alice, eve.public, BETWEEN)  # what Alice would do had she not pinned Bob's key
    hers = Responder(eve, BETWEEN, fooled.message)
    with pytest.raises(RemoteProtocolError):
        begun.finish(hers.message)
    answered = Responder(bob, BETWEEN, Initiator(eve, bob.public, BETWEEN).message)
    assert answered.theirs == eve.public  # Bob sees who it is: not Alice
    with pytest.raises(RemoteProtocolError):
        begun.finish(answered.message)


def test_a_replayed_first_message_leads_nowhere() -> None:
    alice, bob = Ephemeral(), Ephemeral()
    begun = Initiator(alice, bob.public, BETWEEN)
    seal = begun.finish(Responder(bob, BETWEEN, begun.message).message)
    again = Responder(bob, BETWEEN, begun.message)
    refused(again.seal, sealed(seal, RESUME))
    with pytest.raises(RemoteProtocolError):  # and its answer gives no second seal, which would count from 0 again
        begun.finish(again.message)


def test_an_altered_first_message_is_refused() -> None:
    bob = Ephemeral()
    message = Initiator(Ephemeral(), bob.public, BETWEEN).message
    assert len(message) == 96
    for _, altered in flips(message):
        with pytest.raises(RemoteProtocolError):
            Responder(bob, BETWEEN, altered)


def test_an_altered_answer_is_refused_and_the_true_one_taken() -> None:
    bob = Ephemeral()
    begun = Initiator(Ephemeral(), bob.public, BETWEEN)
    answered = Responder(bob, BETWEEN, begun.message)
    assert len(answered.message) == 48
    for _, altered in flips(answered.message):
        with pytest.raises(RemoteProtocolError):
            begun.finish(altered)
    assert begun.finish(answered.message).hash == answered.seal.hash


@pytest.mark.parametrize("point", LOW_ORDER, ids=bytes.hex)
def test_points_of_low_order_are_refused(point: bytes) -> None:
    bob = Ephemeral()
    begun = Initiator(Ephemeral(), bob.public, BETWEEN)
    with pytest.raises(RemoteProtocolError, match="low order"):
        begun.finish(point + bytes(16))
    with pytest.raises(RemoteProtocolError, match="low order"):
        Responder(bob, BETWEEN, point + bytes(64))
    with pytest.raises(RemoteProtocolError, match="low order"):
        Initiator(Ephemeral(), point, BETWEEN)


class Careless:
    """A key whose owner does not look at what X25519 gives."""

    public = LOW_ORDER[0]

    def shared(self, public: bytes) -> bytes:
        return bytes(32)


def test_a_secret_of_zeros_is_refused_whoever_made_it() -> None:
    with pytest.raises(RemoteProtocolError, match="low order"):
        Initiator(Careless(), Ephemeral().public, BETWEEN)


def test_a_pinned_key_of_another_length() -> None:
    with pytest.raises(RemoteProtocolError, match="32 bytes"):
        Initiator(Ephemeral(), bytes(31), BETWEEN)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_exchange_or_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        Responder(Ephemeral(), BETWEEN, data)
    with pytest.raises(RemoteProtocolError):
        Initiator(Ephemeral(), Ephemeral().public, BETWEEN).finish(data)


def test_an_exchange_too_short_and_past_noise_s_longest_message() -> None:
    bob = Ephemeral()
    with pytest.raises(RemoteProtocolError, match="95 bytes, where 96"):
        Responder(bob, BETWEEN, bytes(95))
    with pytest.raises(RemoteProtocolError, match="47 bytes, where 48"):
        Initiator(Ephemeral(), bob.public, BETWEEN).finish(bytes(47))
    assert Responder(bob, BETWEEN, Initiator(Ephemeral(), bob.public, BETWEEN, bytes(65535 - 96)).message).payload
    with pytest.raises(RemoteProtocolError, match="65536"):
        Responder(bob, BETWEEN, Initiator(Ephemeral(), bob.public, BETWEEN, bytes(65536 - 96)).message)


@given(st.binary(min_size=8, max_size=8), st.binary(min_size=8, max_size=8))
def test_one_end_leads(mine: bytes, theirs: bytes) -> None:
    if mine == theirs:
        with pytest.raises(RemoteProtocolError):
            leads(mine, theirs)
    else:
        assert leads(mine, theirs) is not leads(theirs, mine)
        assert leads(min(mine, theirs), max(mine, theirs))


# The frame that carries it.


def test_an_exchange_there_and_back() -> None:
    said = Exchange(MINE, THEIRS, 2, b"message")
    out: List[wire.Buffer] = []
    said.parcel().write(out, 7, 0)
    found = cut(b"".join(out))
    assert (found.kind, found.flags, found.to, found.lane, found.id) == (wire.SEAL, 0, 7, 0, 0)
    assert exchange(found) == said
    with pytest.raises(RemoteProtocolError, match="unknown kind"):
        wire.parse(found)


@pytest.mark.parametrize(
    "meta",
    [
        [],
        [MINE, THEIRS, 1],
        {"mine": MINE},
        "text",
        [MINE, THEIRS, 0, b""],
        [MINE, THEIRS, 3, b""],
        [MINE, THEIRS, True, b""],
        [MINE, THEIRS, 1.0, b""],
        [MINE, THEIRS, 1, "text"],
        [MINE, THEIRS[:7], 1, b""],
        [b"", THEIRS, 1, b""],
        ["01234567", THEIRS, 1, b""],
    ],
    ids=repr,
)
def test_what_is_no_exchange(meta: Any) -> None:
    with pytest.raises(RemoteProtocolError, match="malformed"):
        exchange(cut(clear_frame(wire.SEAL, meta)))


def test_an_exchange_of_another_kind_or_with_flags() -> None:
    meta = [MINE, THEIRS, 1, b""]
    assert exchange(cut(clear_frame(wire.SEAL, [*meta, "later"]))).step == 1
    for data in (clear_frame(wire.RESUME, meta), clear_frame(wire.SEAL, meta, flags=SEALED)):
        with pytest.raises(RemoteProtocolError, match="no exchange"):
            exchange(cut(data))


@given(st.binary(max_size=64))
def test_any_meta_is_an_exchange_or_refused(meta: bytes) -> None:
    found = cut(meta_frame(wire.SEAL, meta))
    try:
        said = exchange(found)
    except RemoteProtocolError:
        return
    assert len(said.mine) == len(said.yours) == 8


# Frames.


@pytest.mark.parametrize("kind", sorted(MESSAGES))
@pytest.mark.parametrize("body", [b"", b"x", bytes(8), bytes(range(33))], ids=len)
def test_each_kind_there_and_back(kind: int, body: bytes) -> None:
    meta, understood = MESSAGES[kind]
    parcel, (mine, theirs) = Parcel(kind, 3, meta, [body]), seals()
    data = sealed(mine, parcel, to=9, number=12)
    assert len(data) == parcel.size + (OVERHEAD_OF_RESUME if kind == wire.RESUME else OVERHEAD)
    found = cut(data)
    assert (found.kind, found.flags, found.lane, found.to, found.id) == (kind, SEALED, 3, 9, 12)
    with pytest.raises(RemoteProtocolError, match="unknown flags"):
        wire.parse(found)
    opened = theirs.open(found._replace(sender=5))
    assert (opened.kind, opened.flags, opened.lane, opened.to, opened.sender, opened.id) == (kind, 0, 3, 9, 5, 12)
    assert (wire.parse(opened), bytes(opened.body), opened.size) == (understood, body, parcel.size)


def test_flags_travel_and_those_given_at_sending() -> None:
    mine, theirs = seals()
    parcel = Parcel(wire.VALUES, 0, (4, [(0, "|b1", (), 0)]), [b"\1"], wire.COMPRESSED)
    assert theirs.open(cut(sealed(mine, parcel, flags=wire.LAST))).flags == wire.COMPRESSED | wire.LAST


def test_meta_and_body_are_aligned() -> None:
    mine, theirs = seals()
    (found,) = wire.frames(memoryview(sealed(mine, PROGRAM)))
    opened = theirs.open(found)
    base = opened.meta.obj
    assert opened.body.obj is base
    start = bytes(base).index(SECRET)
    assert start % 8 == 0
    assert bytes(base)[8 : 8 + len(opened.meta)] == opened.meta


def test_what_is_compressed_is_sealed_after_that_and_charged_as_before() -> None:
    mine, theirs = seals()
    parcel = Parcel(wire.PROGRAM, 0, (4, [], []), [bytes(20_000)], policy=Policy("always"))
    assert parcel.flags & wire.COMPRESSED
    assert parcel.size < 1000
    opened = wire.expanded(theirs.open(cut(sealed(mine, parcel))))
    assert (opened.size, len(opened.body)) == (parcel.charge, 20_000)


def test_no_byte_of_the_meta_or_the_body_shows() -> None:
    mine, _ = seals()
    data = sealed(mine, Parcel(wire.PROGRAM, 0, (0, [["add", 3, [1, 2]]], []), [SECRET]))
    assert not [at for at in range(len(SECRET) - 3) if SECRET[at : at + 4] in data]
    assert b"add" not in data


def test_a_resend_is_sealed_anew() -> None:
    mine, theirs = seals()
    first, again = sealed(mine, PROGRAM), sealed(mine, PROGRAM)
    assert first[HEADER_SIZE + 8 :] != again[HEADER_SIZE + 8 :]
    assert [bytes(theirs.open(cut(data)).body) for data in (first, again)] == [SECRET, SECRET]


# What a relay may try.


@pytest.mark.parametrize("parcel", [PROGRAM, RESUME, CANCEL], ids=["program", "resume", "cancel"])
def test_every_bit_but_the_address_is_sealed(parcel: Parcel) -> None:
    mine, theirs = seals()
    data = sealed(mine, parcel)
    for at, altered in flips(data):
        if 4 <= at < 12:  # to and from: the relay writes them
            continue
        with pytest.raises(RemoteProtocolError):
            for found in wire.frames(memoryview(altered)):
                theirs.open(found)
    opened = theirs.open(cut(data[:4] + b"\7\0\0\0\x09\0\0\0" + data[12:]))
    assert (opened.to, opened.sender) == (7, 9)


def test_a_frame_of_another_conversation_or_direction() -> None:
    mine, theirs = seals()
    data = sealed(mine, CANCEL)
    refused(mine, data)  # sent back to where it came from
    refused(Seal(b"\3" * 32, b"\4" * 32), data)
    theirs.open(cut(data))


def test_a_frame_that_was_dropped_reordered_or_replayed() -> None:
    mine, theirs = seals()
    first, second, third = (sealed(mine, CANCEL, number=number) for number in (1, 2, 3))
    refused(theirs, second)
    assert theirs.open(cut(first)).id == 1
    refused(theirs, first)
    refused(theirs, third)
    assert theirs.open(cut(second)).id == 2
    for old in (first, second):
        refused(theirs, old)
    assert theirs.open(cut(third)).id == 3


def test_only_a_resume_may_leave_some_out_and_none_goes_back() -> None:
    mine, theirs = seals()
    data = [sealed(mine, parcel) for parcel in (RESUME, CANCEL, CANCEL, RESUME, CANCEL, RESUME)]
    theirs.open(cut(data[0]))
    refused(theirs, data[2])
    theirs.open(cut(data[3]))
    for old in data[:4]:
        refused(theirs, old)
    theirs.open(cut(data[4]))
    theirs.open(cut(data[5]))


def test_a_counter_that_is_moved_ahead() -> None:
    mine, theirs = seals()
    data = sealed(mine, RESUME)
    for counter in (1, 1 << 53, MAX_COUNTER, MAX_COUNTER + 1):
        refused(theirs, data[:HEADER_SIZE] + counter.to_bytes(8, "little") + data[HEADER_SIZE + 8 :])
    theirs.open(cut(data))


def test_a_frame_in_the_clear_among_sealed_ones() -> None:
    _, theirs = seals()
    with pytest.raises(RemoteProtocolError, match="in the clear"):
        theirs.open(cut(clear_frame(wire.CANCEL, (4, 2))))


@given(st.lists(st.booleans(), max_size=12), st.lists(st.integers(0, 11), max_size=24))
def test_whatever_a_relay_delivers_comes_in_order_and_whole(resumes: List[bool], delivered: List[int]) -> None:
    """What opens is what was sent, forwards only, and what is left out is left out before a resume."""
    mine, theirs = seals()
    sent = [sealed(mine, RESUME if is_resume else CANCEL, number=number) for number, is_resume in enumerate(resumes)]
    due = 0
    for number in delivered:
        if number >= len(sent):
            continue
        if number == due or (number > due and resumes[number]):
            assert theirs.open(cut(sent[number])).id == number
            due = number + 1
        else:
            refused(theirs, sent[number])


@given(st.sampled_from([wire.CANCEL, wire.RESUME]), st.binary(max_size=40), st.binary(max_size=80))
def test_any_bytes_with_the_flag_are_refused(kind: int, meta: bytes, body: bytes) -> None:
    _, theirs = seals()
    pad = bytes(-len(meta) % 8)
    header = HEADER.pack(kind, SEALED, 0, 0, 0, len(meta), 0, len(body))
    found = cut(header + meta + pad + body + bytes(-len(body) % 8))
    with pytest.raises(RemoteProtocolError):
        theirs.open(found)
    try:
        assert b"".join(lives(found)) == meta[8:]
    except RemoteProtocolError:
        assert kind != wire.RESUME or len(meta) != 24


# What a peer that has the key may try.


def forged(plain: bytes, kind: int = wire.CANCEL, shown: bytes = b"", counter: int = 0) -> bytes:
    """A frame that holds these bytes, sealed by who knows the key; a meta shows ``shown``."""
    meta = counter.to_bytes(8, "little") + shown
    bound = bytes([kind, SEALED]) + bytes(2) + bytes(8) + meta
    body = AESGCM(ONE).encrypt(bytes(4) + counter.to_bytes(8, "big"), plain, bound)
    return HEADER.pack(kind, SEALED, 0, 0, 0, len(meta), 0, len(body)) + meta + body + bytes(-len(body) % 8)


def test_a_forged_frame_is_a_true_one() -> None:
    _, theirs = seals()
    opened = theirs.open(cut(forged(b"\3\0\0\0\2\0\0\0\x92\4\2\0\0\0\0\0xy\0\0\0\0\0\0")))
    assert (wire.parse(opened), bytes(opened.body), opened.size) == (wire.Cancel(4, 2), b"xy", 48)


@pytest.mark.parametrize(
    "plain",
    [
        b"",
        bytes(7),
        bytes(9),  # trailing bytes
        bytes(16),
        b"\1\0\0\0\0\0\0\0",  # a meta that is not there
        b"\0\0\0\0\1\0\0\0",
        b"\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\1\0\0\0\0\0\0\0\x90",  # without its padding
        b"\1\0\0\0\1\0\0\0\x90\0\0\0\0\0\0\0",
        b"\x08\0\0\0\1\0\0\0\x90\0\0\0\0\0\0\0",
    ],
    ids=bytes.hex,
)
def test_lengths_that_lie(plain: bytes) -> None:
    mine, theirs = seals()
    refused(theirs, forged(plain))
    theirs.open(cut(sealed(mine, CANCEL)))  # the seal is as it was


@given(st.binary(max_size=64), st.sampled_from([wire.CANCEL, wire.RESUME]))
def test_any_bytes_within_are_a_frame_or_refused(plain: bytes, kind: int) -> None:
    _, theirs = seals()
    found = cut(forged(plain, kind, bytes(16) if kind == wire.RESUME else b""))
    try:
        opened = theirs.open(found)
    except RemoteProtocolError:
        return
    assert opened.size == HEADER_SIZE + len(plain) - 8


def test_a_resume_that_shows_other_lives_than_it_names() -> None:
    mine, theirs = seals()
    said = cut(sealed(mine, RESUME))
    assert lives(said) == (MINE, THEIRS)
    within = bytes(Seal(TWO, ONE)._decrypt(bytes(12), said.body, bytes([16, 4, 0, 0, 7]) + bytes(7) + said.meta))
    theirs.open(cut(forged(within, wire.RESUME, MINE + THEIRS)))
    for shown in (THEIRS + MINE, MINE + bytes(8)):
        with pytest.raises(RemoteProtocolError, match="other incarnations"):
            Seal(TWO, ONE).open(cut(forged(within, wire.RESUME, shown)))


def test_a_resume_that_is_none() -> None:
    _, theirs = seals()
    refused(theirs, forged(b"\1\0\0\0\0\0\0\0\x90" + bytes(7), wire.RESUME, MINE + THEIRS))
    for data in (clear_frame(wire.RESUME, (MINE, THEIRS, 0, 0, {})), sealed(seals()[0], CANCEL)):
        with pytest.raises(RemoteProtocolError, match="not a sealed resume"):
            lives(cut(data))


# Limits.


def test_a_chunk_and_the_largest_frame_fit() -> None:
    mine, theirs = seals()
    chunk = Parcel(wire.CHUNK_OF, 0, (0, 0, "<f8", [1 << 20], 0), [bytes(wire.CHUNK)])
    assert theirs.open(cut(sealed(mine, chunk))).size == chunk.size
    room = wire.MAX_FRAME - HEADER_SIZE - 8 - OVERHEAD
    largest = Parcel(wire.PROGRAM, 0, (0, [], []), [bytes(room)])
    data = sealed(mine, largest)
    assert len(data) == wire.MAX_FRAME
    with pytest.raises(LocalProtocolError, match="cannot be sealed"):
        sealed(mine, Parcel(wire.PROGRAM, 0, (0, [], []), [bytes(room + 1)]))
    theirs.open(cut(data))
    theirs.open(cut(sealed(mine, CANCEL)))  # what was refused took no counter


def test_a_seal_wears_out() -> None:
    mine, theirs = seals()
    mine._written = MAX_COUNTER
    theirs.open(cut(sealed(mine, RESUME)))
    with pytest.raises(LocalProtocolError, match="worn out"):
        sealed(mine, RESUME)
    refused(theirs, forged(b"\3\0\0\0\0\0\0\0\x92\4\2\0\0\0\0\0", counter=MAX_COUNTER + 1))


# The vectors, by what stands in their file.


def keys_of_the_vectors() -> Dict[str, Ephemeral]:
    names = ("initiator_static", "initiator_ephemeral", "responder_static", "responder_ephemeral")
    return {name: Ephemeral(bytes.fromhex(VECTORS["exchange"][name])) for name in names}


def ends_of_the_vectors() -> Dict[str, Any]:
    said, keys = VECTORS["exchange"], keys_of_the_vectors()
    between, theirs = bytes.fromhex(said["prologue"]), bytes.fromhex(said["responder_public"])
    initiator = Initiator(keys["initiator_static"], theirs, between, ephemeral=keys["initiator_ephemeral"])
    one, two = map(bytes.fromhex, said["messages"])
    assert initiator.message == one
    responder = Responder(keys["responder_static"], between, one, ephemeral=keys["responder_ephemeral"])
    assert responder.message == two
    return {"unfinished": initiator, "answer": two, "responder": responder, "between": between}


def names(key: str) -> Any:
    return pytest.mark.parametrize("vector", VECTORS[key], ids=[vector["name"] for vector in VECTORS[key]])


def test_the_exchange_of_the_vectors() -> None:
    said, ends, keys = VECTORS["exchange"], ends_of_the_vectors(), keys_of_the_vectors()
    lives_of = [bytes.fromhex(said[f"{who}_incarnation"]) for who in ("initiator", "responder")]
    assert ends["between"] == b"asyncsyft v1 seal" + b"".join(lives_of) == prologue(*lives_of)
    assert ends["responder"].theirs.hex() == said["initiator_public"] == keys["initiator_static"].public.hex()
    assert ends["responder"].seal.hash.hex() == said["hash"]
    assert ends["unfinished"].finish(ends["answer"]).hash.hex() == said["hash"]
    for step, (data, message) in enumerate(zip(said["frames"], said["messages"]), 1):
        told = exchange(cut(bytes.fromhex(data)))
        order = lives_of if step == 1 else lives_of[::-1]
        assert told == (*order, step, bytes.fromhex(message))


@names("refused_messages")
def test_a_message_of_the_vectors_that_is_refused(vector: Dict[str, Any]) -> None:
    message, ends, keys = bytes.fromhex(vector["message"]), ends_of_the_vectors(), keys_of_the_vectors()
    with pytest.raises(RemoteProtocolError):
        if vector["step"] == 1:
            Responder(keys["responder_static"], ends["between"], message)
        else:
            ends["unfinished"].finish(message)


def test_the_frames_of_the_vectors() -> None:
    ends = ends_of_the_vectors()
    opens = {"initiator": ends["responder"].seal, "responder": ends["unfinished"].finish(ends["answer"])}
    assert {vector["message"] for vector in VECTORS["frames"]} >= {"resume", "program", "values", "chunk", "goodbye"}
    for vector in VECTORS["frames"]:
        found, clear = cut(bytes.fromhex(vector["hex"])), cut(bytes.fromhex(vector["clear"]))
        assert int.from_bytes(found.meta[:8], "little") == int(vector["counter"])
        if not vector["lost"]:
            opened = opens[vector["by"]].open(found)
            assert opened == clear
            wire.parse(opened)


@names("hostile")
def test_a_hostile_frame_of_the_vectors(vector: Dict[str, Any]) -> None:
    seal = ends_of_the_vectors()["responder"].seal
    sent = [bytes.fromhex(one["hex"]) for one in VECTORS["frames"] if one["by"] == "initiator"]
    for data in sent[: vector["opened"]]:
        seal.open(cut(data))
    refused(seal, bytes.fromhex(vector["hex"]))
    seal.open(cut(sent[vector["opened"]]))  # it has spoilt nothing


def test_the_frame_that_the_page_shows() -> None:
    page = (DOCS / "protocol.md").read_text("utf-8").split("\n## Sealing\n", 1)[1].split("\n## ", 1)[0]
    (block,) = [text for text in page.split("```text\n") if text.startswith("10 04")]
    shown = "".join(line.split(";")[0] for line in block.split("```")[0].splitlines()).replace(" ", "")
    assert shown == VECTORS["frames"][0]["hex"]
    assert f"{OVERHEAD} bytes larger than the clear one, a resume {OVERHEAD_OF_RESUME};" in " ".join(page.split())
