"""Keys and their proofs, tokens, known peers, and who may come in."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path
from typing import Any, Callable, List, Optional, Tuple

import msgpack
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from asyncsyft.errors import Refused, RemoteProtocolError
from asyncsyft.identity import (
    Admission,
    Authority,
    Challenge,
    Key,
    KnownPeers,
    Revoked,
    authority_text,
    check_token,
    fingerprint,
    key_text,
    matches,
    parse_authority,
    parse_key,
    prove,
    read_token,
    revoke,
)
from asyncsyft.identity.forms import from_base64, to_base64
from asyncsyft.identity.tokens import MAX_EXPIRES, MAX_TOKEN

NOW = 1_700_000_000
# Fixed, so that a test has the same name in each run.
ALICE, BOB = (Key(X25519PrivateKey.from_private_bytes(byte * 32)) for byte in (b"a", b"b"))
AUTHORITY, OTHER = (Authority(Ed25519PrivateKey.from_private_bytes(byte * 32)) for byte in (b"c", b"d"))

#: Public keys with which every shared secret is zero (RFC 7748, section 6.1), in all their spellings.
LOW_ORDER = [
    (0).to_bytes(32, "little"),
    (1).to_bytes(32, "little"),
    (2**255 - 20).to_bytes(32, "little"),
    (2**255 - 19).to_bytes(32, "little"),
    (2**255 - 18).to_bytes(32, "little"),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    (2**255).to_bytes(32, "little"),
]


def flipped(data: bytes, bit: int) -> bytes:
    """The same but for one bit."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


# Keys.


def test_a_key_from_a_file_is_the_same(tmp_path: Path) -> None:
    ALICE.save(tmp_path / "key")
    again = Key.load(str(tmp_path / "key"))
    assert again.public == ALICE.public
    assert again.shared(BOB.public) == BOB.shared(ALICE.public) != ALICE.shared(Key.new().public)
    assert stat.S_IMODE(os.stat(tmp_path / "key").st_mode) == 0o600


def test_a_file_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    ALICE.save(tmp_path / "key")
    with pytest.raises(FileExistsError):
        BOB.save(tmp_path / "key")
    assert Key.load(tmp_path / "key").public == ALICE.public


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_key_that_others_may_touch_is_not_read(tmp_path: Path, mode: int) -> None:
    ALICE.save(tmp_path / "key")
    (tmp_path / "key").chmod(mode)
    with pytest.raises(PermissionError, match="others than its owner"):
        Key.load(tmp_path / "key")


def test_what_is_no_key_is_not_read(tmp_path: Path) -> None:
    AUTHORITY.save(tmp_path / "authority")
    with pytest.raises(ValueError, match=r"authority holds a private key of another kind, not the X25519"):
        Key.load(tmp_path / "authority")
    ALICE.save(tmp_path / "key")
    with pytest.raises(ValueError, match="of another kind, not the Ed25519"):
        Authority.load(tmp_path / "key")
    for name, data in {"empty": b"", "text": b"hello", "half": (tmp_path / "key").read_bytes()[:60]}.items():
        (tmp_path / name).write_bytes(data)
        (tmp_path / name).chmod(0o600)
        with pytest.raises(ValueError, match=f"{name} holds no private key"):
            Key.load(tmp_path / name)
    secret = X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    (tmp_path / "text").write_bytes(secret)
    with pytest.raises(ValueError, match="text is encrypted"):
        Key.load(tmp_path / "text")
    with pytest.raises(FileNotFoundError):
        Key.load(tmp_path / "none")


def test_a_private_key_is_not_printed() -> None:
    assert repr(ALICE) == f"<Key {key_text(ALICE.public)}>"
    assert repr(AUTHORITY) == f"<Authority {authority_text(AUTHORITY.public)}>"


@pytest.mark.parametrize("public", [*LOW_ORDER, b"", b"\1" * 31, b"\1" * 33])
def test_a_secret_that_all_know_is_no_secret(public: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        ALICE.shared(public)
    with pytest.raises(RemoteProtocolError):
        prove(ALICE, public, b"")
    with pytest.raises(Refused):
        Challenge().check(b"\0" * 32, public, b"")


@given(st.binary(min_size=32, max_size=32))
def test_texts_of_keys_go_there_and_back(public: bytes) -> None:
    assert parse_key(key_text(public)) == public == parse_authority(authority_text(public))
    assert len(key_text(public)) == 50
    with pytest.raises(ValueError, match="no public key"):
        parse_key(authority_text(public))


@given(st.text() | st.text("AB_-=+/", min_size=40).map("x25519:".__add__) | st.just("x25519:" + "A" * 42 + "B"))
def test_any_other_text_is_no_key(text: str) -> None:
    try:
        assert key_text(parse_key(text)) == text
    except ValueError as error:
        assert "no public key" in str(error)


def test_a_fingerprint_is_short_and_its_own() -> None:
    assert fingerprint(b"\0" * 32) == "SHA256:Zmh6rfhivXdsj8GLjp+OIAiXFIVu4jOzkCpZHQ1fKSU"
    assert fingerprint(ALICE.public) != fingerprint(BOB.public)
    with pytest.raises(ValueError, match="32 bytes"):
        key_text(b"short")


# Proofs.


def test_a_proof_convinces_once() -> None:
    challenge = Challenge()
    proof = prove(ALICE, challenge.public, b"alice worker")
    challenge.check(proof, ALICE.public, b"alice worker")
    with pytest.raises(Refused, match="good for one proof"):
        challenge.check(proof, ALICE.public, b"alice worker")


def test_a_failed_proof_is_the_only_try() -> None:
    challenge = Challenge()
    with pytest.raises(Refused, match="does not fit"):
        challenge.check(b"", ALICE.public, b"alice")
    with pytest.raises(Refused, match="good for one proof"):
        challenge.check(prove(ALICE, challenge.public, b"alice"), ALICE.public, b"alice")


@pytest.mark.parametrize(
    ("proof", "public", "transcript"),
    [
        (lambda c: prove(BOB, c.public, b"alice"), ALICE.public, b"alice"),  # another key
        (lambda c: prove(ALICE, c.public, b"alice"), BOB.public, b"alice"),
        (lambda c: prove(ALICE, c.public, b"alice"), ALICE.public, b"bob"),  # another name
        (lambda c: prove(ALICE, Challenge().public, b"alice"), ALICE.public, b"alice"),  # of another link
        (lambda c: prove(ALICE, c.public, b"alice"), flipped(ALICE.public, 255), b"alice"),  # another spelling
        (lambda c: prove(ALICE, c.public, b"alice")[:31], ALICE.public, b"alice"),
        (lambda c: b"", ALICE.public, b"alice"),
    ],
)
def test_what_is_no_proof(proof: Callable[[Challenge], bytes], public: bytes, transcript: bytes) -> None:
    challenge = Challenge()
    with pytest.raises(Refused, match="does not fit"):
        challenge.check(proof(challenge), public, transcript)


@given(st.integers(0, 255))
def test_no_bit_of_a_proof_is_idle(bit: int) -> None:
    challenge = Challenge()
    with pytest.raises(Refused, match="does not fit"):
        challenge.check(flipped(prove(ALICE, challenge.public, b"t"), bit), ALICE.public, b"t")


def test_a_proof_is_what_the_page_says() -> None:
    """The formula, by other means: HKDF and HMAC written out (RFC 5869)."""
    import hashlib
    import hmac

    challenge = Key.new()
    secret = challenge.shared(ALICE.public)
    extracted = hmac.new(challenge.public + ALICE.public, secret, hashlib.sha256).digest()
    key = hmac.new(extracted, b"asyncsyft v1 proof\1", hashlib.sha256).digest()
    assert prove(ALICE, challenge.public, b"me") == hmac.new(key, b"me", hashlib.sha256).digest()


# Tokens.


def issued(**changed: Any) -> str:
    said = {"names": ["alice"], "roles": ["worker"], "expires": NOW + 60, "id": "t", **changed}
    return AUTHORITY.issue(**said)


def resigned(change: Callable[[List[Any]], Any], by: Authority = AUTHORITY) -> str:
    """A token with another payload, signed by whoever has the authority's key."""
    payload = issued().split(".")[1]
    fields = msgpack.unpackb(from_base64(payload))
    changed = change(fields)
    data = changed if isinstance(changed, bytes) else msgpack.packb(fields if changed is None else changed)
    signed = f"asyncsyft1.{to_base64(data)}"
    return f"{signed}.{to_base64(by._private.sign(signed.encode()))}"


def test_a_token_says_what_it_was_issued_with() -> None:
    text = AUTHORITY.issue(
        ["alice", "lab-*"], ["driver", "worker"], ["bob", "c*"], expires=NOW + 60, key=ALICE.public, id="a.1"
    )
    token = check_token(text, [OTHER.public, AUTHORITY.public], NOW)
    assert token == read_token(text)
    assert (token.id, token.names, token.roles) == ("a.1", ("alice", "lab-*"), ("driver", "worker"))
    assert (token.reach, token.expires, token.key) == (("bob", "c*"), NOW + 60, ALICE.public)
    assert token.until == "2023-11-14 22:14:20 UTC"
    assert read_token(issued(id=None)).id != read_token(issued(id=None)).id


def test_a_token_allows_its_names_and_roles() -> None:
    token = read_token(issued(names=["alice", "lab-*"]))
    assert token.allows("alice", "worker", None)
    assert token.allows("lab-7", "worker", BOB.public)
    assert not token.allows("alice", "driver", None)
    assert not token.allows("alicea", "worker", None)
    assert not token.allows("Alice", "worker", None)


def test_a_bound_token_wants_its_key() -> None:
    token = read_token(issued(key=ALICE.public))
    assert token.allows("alice", "worker", ALICE.public)
    assert not token.allows("alice", "worker", BOB.public)
    assert not token.allows("alice", "worker", None)


BAD_TOKENS = [
    (issued(id="t"), NOW + 60, "token t expired on 2023-11-14 22:14:20 UTC"),
    (issued(id="gone"), NOW, "token gone was revoked"),
    (OTHER.issue(["a"], ["worker"], expires=NOW + 60, id="t"), NOW, "token t is from an authority that is not"),
    (resigned(lambda fields: None, OTHER), NOW, "forged or was changed"),
    (issued().rpartition(".")[0] + ".", NOW, "forged or was changed"),
    (issued().rpartition(".")[0], NOW, "that is no token"),
    (issued() + "=", NOW, "damaged"),
    (issued().replace("asyncsyft1", "asyncsyft2"), NOW, "that is no token"),
    ("secret", NOW, "that is no token"),
    ("", NOW, "that is no token"),
    ("asyncsyft1." + "A" * MAX_TOKEN, NOW, "past the limit"),
    (resigned(lambda fields: b""), NOW, "damaged"),
    (resigned(lambda fields: fields[:6]), NOW, "damaged"),
    (resigned(lambda fields: [*fields, None]), NOW, "damaged"),
    (resigned(lambda fields: b"\xdc\x00\x07" + msgpack.packb(fields)[1:]), NOW, "damaged"),  # a second spelling
    (resigned(lambda fields: msgpack.packb(fields) + b"\xc0"), NOW, "damaged"),
    (resigned(lambda fields: b"\x91" * 2000 + b"\x90"), NOW, "damaged"),
    (resigned(lambda fields: b"\xdd\xff\xff\xff\xff"), NOW, "damaged"),
    (resigned(lambda fields: fields.__setitem__(1, "a b")), NOW, "damaged"),
    (resigned(lambda fields: fields.__setitem__(2, [])), NOW, "damaged"),
    (resigned(lambda fields: fields.__setitem__(2, ["a\n"])), NOW, "damaged"),
    (resigned(lambda fields: fields.__setitem__(3, ["relay"])), NOW, "damaged"),
    (resigned(lambda fields: fields.__setitem__(4, "*")), NOW, "damaged"),
    (resigned(lambda fields: fields.__setitem__(5, True)), NOW, "damaged"),
    (resigned(lambda fields: fields.__setitem__(5, 1e12)), NOW, "damaged"),
    (resigned(lambda fields: fields.__setitem__(6, b"k")), NOW, "damaged"),
]


@pytest.mark.parametrize(("text", "now", "says"), BAD_TOKENS, ids=[str(number) for number in range(len(BAD_TOKENS))])
def test_what_is_no_good_token(text: str, now: int, says: str) -> None:
    with pytest.raises(Refused, match=says):
        check_token(text, [AUTHORITY.public], now, {"gone"})


def test_a_forged_token_is_not_looked_up_among_the_revoked() -> None:
    """What a stranger can make is refused for that, whatever it says."""
    forged = OTHER.issue(["alice"], ["worker"], expires=1, id="gone")
    with pytest.raises(Refused, match="not trusted"):
        check_token(forged, [AUTHORITY.public], NOW, {"gone"})


TOKEN = issued(names=["alice", "lab-*"], key=ALICE.public)


@given(st.integers(0, len(TOKEN) - 1), st.characters())
def test_no_character_of_a_token_is_idle(at: int, character: str) -> None:
    changed = TOKEN[:at] + character + TOKEN[at + 1 :]
    if changed == TOKEN:
        check_token(changed, [AUTHORITY.public], NOW)
        return
    with pytest.raises(Refused):
        check_token(changed, [AUTHORITY.public], NOW)


LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary()
DOCUMENTS = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(
    st.text()
    | st.binary().map(lambda data: f"asyncsyft1.{to_base64(data)}.{to_base64(data[:64])}")
    | DOCUMENTS.map(lambda document: f"asyncsyft1.{to_base64(msgpack.packb(document))}.")
    | st.lists(LEAVES | st.lists(LEAVES), min_size=7, max_size=7).map(
        lambda fields: f"asyncsyft1.{to_base64(msgpack.packb([b'12345678', *fields[1:]]))}."
    )
)
def test_any_text_is_a_token_or_refused(text: str) -> None:
    with pytest.raises(Refused):
        check_token(text, [AUTHORITY.public, b"12345678" + b"\0" * 24], NOW)


@given(
    st.lists(st.text(st.characters(whitelist_categories=["L", "Nd"]), min_size=1, max_size=20), min_size=1, max_size=5),
    st.lists(st.sampled_from(["driver", "worker"]), min_size=1, max_size=2),
    st.integers(1, MAX_EXPIRES),
)
def test_tokens_go_there_and_back(names: List[str], roles: List[str], expires: int) -> None:
    token = check_token(AUTHORITY.issue(names, roles, names, expires=expires), [AUTHORITY.public], expires - 1)
    assert (list(token.names), list(token.roles), list(token.reach)) == (names, roles, names)
    assert token.until.endswith(" UTC")


@pytest.mark.parametrize(
    "wrong",
    [
        {"names": []},
        {"names": "alice"},
        {"names": [""]},
        {"names": ["a" * 257]},
        {"names": ["a"] * 65},
        {"names": ["ab" * 100] * 64},
        {"roles": []},
        {"roles": ["relay"]},
        {"reach": "*"},
        {"reach": ["\n"]},
        {"expires": 0},
        {"expires": NOW + 0.5},
        {"expires": MAX_EXPIRES + 1},
        {"key": b"short"},
        {"id": ""},
        {"id": "a b"},
        {"id": "a\n"},
    ],
)
def test_a_token_that_could_not_be_read_is_not_issued(wrong: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each has its own words
        issued(**wrong)


def test_an_authority_from_a_file_is_the_same(tmp_path: Path) -> None:
    AUTHORITY.save(tmp_path / "authority")
    again = Authority.load(tmp_path / "authority")
    assert again.public == AUTHORITY.public
    assert check_token(again.issue(["a"], ["worker"], expires=NOW), [AUTHORITY.public], 0).names == ("a",)


# Patterns.


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("alice", "alice", True),
        ("alice", "alic", False),
        ("*", "anything", True),
        ("lab-*", "lab-", True),
        ("lab-*", "xlab-1", False),
        ("*.example", "a.example", True),
        ("*.example", "aXexample", False),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("a*b*c", "a-b-b-c", True),
        ("a*b*c", "a-c-b", False),
        ("a**b", "ab", True),
        ("*b*b*", "b", False),
        ("[ab]?", "a1", False),
        ("[ab]?", "[ab]?", True),
        ("", "", True),
    ],
)
def test_patterns(pattern: str, name: str, fits: bool) -> None:
    assert matches(pattern, name) is fits


@given(st.text("ab*", max_size=8), st.text("ab", max_size=8))
def test_patterns_are_those_of_regular_expressions(pattern: str, name: str) -> None:
    import re

    expected = re.fullmatch(".*".join(re.escape(part) for part in pattern.split("*")), name) is not None
    assert matches(pattern, name) is expected


# What is revoked.


def test_a_file_of_revoked_tokens_is_read_again_when_it_changed(tmp_path: Path) -> None:
    path = tmp_path / "revoked.txt"
    path.write_text("# gone\n\none # alice's\n  two\n")
    revoked = Revoked(path)
    assert "one" in revoked
    assert "two" in revoked
    assert "#" not in revoked
    assert "three" not in revoked
    revoke(path, "three", "bob, until 2030")
    assert "three" in revoked
    revoke(path, "three")
    assert path.read_text().count("three") == 1
    path.write_text("two\n")
    assert "one" not in revoked


def test_a_last_line_without_an_end_is_not_continued(tmp_path: Path) -> None:
    path = tmp_path / "revoked.txt"
    path.write_text("one")
    revoke(path, "two")
    assert path.read_text() == "one\ntwo\n"


def test_revoked_tokens_stay_so_when_their_file_breaks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "revoked.txt"
    revoke(path, "one")
    revoked = Revoked(path)
    path.write_bytes(b"\xff\xff\xff two")
    with caplog.at_level(logging.ERROR):
        assert "one" in revoked
        assert "one" in revoked
    assert len(caplog.records) == 1
    assert "no UTF-8" in caplog.text
    path.unlink()
    assert "one" in revoked
    assert len(caplog.records) == 2
    revoke(path, "three")
    assert "three" in revoked
    assert "one" not in revoked


def test_what_cannot_be_read_revokes_nothing_quietly(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Revoked(tmp_path / "none")
    (tmp_path / "long").write_bytes(b"#" * ((1 << 22) + 1))
    with pytest.raises(ValueError, match="longer than"):
        Revoked(tmp_path / "long")
    for id, comment in (("", ""), ("a b", ""), ("#a", ""), ("a\nb", ""), ("a", "x\ny")):
        with pytest.raises(ValueError, match="not a token's id"):
            revoke(tmp_path / "new", id, comment)
    assert not (tmp_path / "new").exists()


# Known peers.

ALICE_TEXT, BOB_TEXT = key_text(ALICE.public), key_text(BOB.public)


def test_known_peers_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "known"
    path.write_text(f"# ours\nalice {ALICE_TEXT} since May\n\n  dr bob\t{BOB_TEXT}\n")
    known = KnownPeers(path)
    assert known.names == ["alice", "dr bob"]
    assert known.key_of("dr bob") == BOB.public
    assert known.key_of("bob") is None
    known.check("alice", ALICE.public)
    with pytest.raises(Refused) as caught:
        known.check("alice", BOB.public)
    for part in ("alice", fingerprint(ALICE.public), fingerprint(BOB.public), str(path), BOB_TEXT):
        assert part in str(caught.value)


def test_known_peers_from_a_mapping() -> None:
    known = KnownPeers({"alice": ALICE_TEXT})
    known.check("alice", ALICE.public)
    with pytest.raises(Refused, match=r"bob is not known here.*add it to the known peers: bob x25519:"):
        known.check("bob", BOB.public)
    with pytest.raises(ValueError, match="no public key"):
        KnownPeers({"alice": "x25519:short"})
    with pytest.raises(ValueError, match="cannot be printed|can be printed"):
        KnownPeers({"a\nb": ALICE_TEXT})


def test_a_key_that_may_be_pinned_is(tmp_path: Path) -> None:
    path = tmp_path / "known"
    asked: List[Tuple[str, str]] = []

    def ask(name: str, text: str) -> bool:
        asked.append((name, text))
        return name != "mallory"

    known = KnownPeers(path, first_use=ask)
    known.check("alice", ALICE.public)
    known.check("alice", ALICE.public)
    with pytest.raises(Refused, match="mallory is not known"):
        known.check("mallory", BOB.public)
    assert asked == [("alice", ALICE_TEXT), ("mallory", BOB_TEXT)]
    assert KnownPeers(path).names == ["alice"]
    assert KnownPeers(path).key_of("alice") == ALICE.public
    with pytest.raises(Refused, match="not the one that is known"):
        known.check("alice", BOB.public)  # nobody is asked about a key that changed
    assert len(asked) == 2


def test_nobody_is_asked_about_a_name_that_cannot_be_shown() -> None:
    known = KnownPeers({}, first_use=lambda name, text: True)
    for name in ("", "a\x1b[2J", "a\nb", "a" * 257):
        with pytest.raises(Refused, match="can be printed"):
            known.check(name, ALICE.public)
    assert known.names == []


def test_a_pin_in_a_mapping_stays_here() -> None:
    given_: Any = {}
    known = KnownPeers(given_, first_use=lambda name, text: True)
    known.check("alice", ALICE.public)
    assert known.key_of("alice") == ALICE.public
    assert given_ == {}


@pytest.mark.parametrize("name", ["#alice", "alice ", " alice", f"a {ALICE_TEXT}", "a x25519:b"])
def test_a_name_that_would_be_read_as_another_is_not_written(tmp_path: Path, name: str) -> None:
    known = KnownPeers(tmp_path / "known", first_use=lambda name, text: True)
    with pytest.raises(Refused, match="cannot be written"):
        known.check(name, BOB.public)
    assert not (tmp_path / "known").exists()
    assert known.names == []


@given(st.text(min_size=1, max_size=30).filter(str.isprintable) | st.text("a# \u3000x25519:", min_size=1))
def test_what_is_pinned_is_read_as_it_was(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    path = tmp_path_factory.mktemp("known") / "known"
    known = KnownPeers(path, first_use=lambda name, text: True)
    try:
        known.check(name, ALICE.public)
    except Refused:
        assert name != name.strip() or name.startswith("#") or " x25519:" in name or not name.isprintable()
    else:
        assert KnownPeers(path).key_of(name) == ALICE.public
        assert KnownPeers(path).names == [name]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("alice\n", "line 1: not a name, a key"),
        (f"# x\nalice {ALICE_TEXT}\nbob x25519:short\n", "line 3: .* no public key"),
        (f"alice {ALICE_TEXT}\nalice {BOB_TEXT}\n", "line 2: alice has another key above"),
        (f"{ALICE_TEXT} alice\n", "line 1: not a name"),
        (f"a\0b {ALICE_TEXT}\n", "line 1: not a name that can be printed"),
        (f"alice {ALICE_TEXT}x\n", "line 1: .* no public key"),
    ],
)
def test_a_line_that_makes_no_sense_is_named(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "known").write_text(text)
    with pytest.raises(ValueError, match=f"known, {says}"):
        KnownPeers(tmp_path / "known")


def test_a_file_of_nobody_that_may_not_grow_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        KnownPeers(tmp_path / "none")
    with pytest.raises(ValueError, match="first_use"):
        KnownPeers({}, first_use="ask")


# Who may come in.


def admitted(
    door: Admission,
    name: str = "alice",
    *,
    role: str = "worker",
    key: Optional[bytes] = None,
    token: Optional[str] = None,
    is_local: bool = False,
) -> Tuple[Tuple[str, ...], Optional[int]]:
    grant = door.admit(name, role, key, token, is_local, NOW)
    return grant.reach, grant.expires


ALL = (("*",), None)


def test_a_door_without_rules_is_for_this_machine() -> None:
    assert admitted(Admission(), is_local=True) == ALL
    assert admitted(Admission(), is_local=True, token="of another relay") == ALL
    with pytest.raises(Refused, match="from another machine"):
        admitted(Admission())
    with pytest.raises(Refused, match="from another machine"):
        admitted(Admission(), key=ALICE.public, token=issued())
    assert admitted(Admission(insecure=True)) == ALL


@pytest.mark.parametrize(
    ("role", "name"),
    [("relay", "alice"), ("", "alice"), ("worker", ""), ("worker", "a\n"), ("driver", "a" * 257)],
)
def test_no_rule_lets_in_what_has_no_name_or_role(role: str, name: str) -> None:
    with pytest.raises(Refused, match="a driver or a worker"):
        admitted(Admission(insecure=True), name, role=role, is_local=True)


def test_a_known_peer_comes_in_by_its_key() -> None:
    door = Admission(known=KnownPeers({"alice": ALICE_TEXT}))
    assert admitted(door, key=ALICE.public) == ALL
    assert admitted(door, key=ALICE.public, role="driver") == ALL
    for key, shown in ((BOB.public, "another"), (None, "none")):
        with pytest.raises(Refused, match=f"alice belongs to a key, and {shown} was proved"):
            admitted(door, key=key, is_local=True)
    with pytest.raises(Refused, match="bob is not known here"):
        admitted(door, "bob", key=BOB.public, is_local=True)
    with pytest.raises(Refused, match="bob shows neither a key nor a token; it needs a key that is known here$"):
        admitted(door, "bob", is_local=True)
    with pytest.raises(Refused, match="bob shows a token, which is not accepted here"):
        admitted(door, "bob", token=issued())


def test_a_pinned_name_is_its_key_s_whatever_else_is_shown() -> None:
    door = Admission([AUTHORITY.public], KnownPeers({"alice": ALICE_TEXT}), insecure=True)
    for key in (None, BOB.public):
        with pytest.raises(Refused, match="belongs to a key"):
            admitted(door, key=key, token=issued(), is_local=True)
    assert admitted(door, key=ALICE.public, token="nonsense") == ALL
    assert admitted(door, "bob") == ALL


def test_a_token_opens_under_its_names_and_roles() -> None:
    door = Admission([AUTHORITY.public], revoked={"gone"})
    assert admitted(door, token=issued(reach=["bob", "c*"])) == (("bob", "c*"), NOW + 60)
    with pytest.raises(Refused, match="is not for bob as a worker"):
        admitted(door, "bob", token=issued())
    with pytest.raises(Refused, match="is not for alice as a driver"):
        admitted(door, role="driver", token=issued())
    with pytest.raises(Refused, match="expired"):
        admitted(door, token=issued(expires=NOW))
    with pytest.raises(Refused, match="revoked"):
        admitted(door, token=issued(id="gone"))
    with pytest.raises(Refused, match="not trusted"):
        admitted(door, token=OTHER.issue(["alice"], ["worker"], expires=NOW + 1))
    for is_local in (False, True):
        with pytest.raises(Refused, match="alice shows neither a key nor a token; it needs a token$"):
            admitted(door, is_local=is_local)
    with pytest.raises(Refused, match="alice shows a key only; it needs a token$"):
        admitted(door, key=ALICE.public)


def test_a_bound_token_opens_with_its_key() -> None:
    door = Admission([AUTHORITY.public])
    token = issued(key=ALICE.public)
    assert admitted(door, token=token, key=ALICE.public) == (("*",), NOW + 60)
    for key in (None, BOB.public):
        with pytest.raises(Refused, match="bound to a key that was not proved"):
            admitted(door, token=token, key=key)


def test_a_token_that_is_shown_must_be_good_even_at_an_open_door() -> None:
    door = Admission([AUTHORITY.public], insecure=True)
    assert admitted(door) == ALL
    assert admitted(door, token=issued(reach=["bob"]))[0] == ("bob",)
    with pytest.raises(Refused, match="no token"):
        admitted(door, token="nonsense")


def test_a_stranger_s_key_may_be_asked_about(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "known"
    door = Admission([AUTHORITY.public], KnownPeers(path, first_use=lambda name, text: name == "alice"))
    assert admitted(door, key=ALICE.public) == ALL
    assert "alice" in path.read_text()
    assert admitted(door, "bob", token=issued(names=["bob"]), key=BOB.public) == (("*",), NOW + 60)
    with caplog.at_level(logging.INFO), pytest.raises(Refused) as caught:
        admitted(door, "bob", key=BOB.public)
    assert str(path) not in str(caught.value)  # where our files are is not the stranger's affair
    assert f"{path}: bob {BOB_TEXT}" in caplog.text
    with pytest.raises(Refused, match="it needs a key that is known here or a token"):
        admitted(door, "bob")


def test_a_grant_reaches_whom_it_says() -> None:
    grant = Admission([AUTHORITY.public]).admit("alice", "worker", None, issued(reach=["bob", "c*"]), False, NOW)
    assert [grant.may_reach(name) for name in ("bob", "carol", "bobby", "dave")] == [True, True, False, False]
    nobody = Admission([AUTHORITY.public]).admit("alice", "worker", None, issued(reach=[]), False, NOW)
    assert not nobody.may_reach("bob")


def test_an_authority_is_given_by_its_bytes() -> None:
    texts: Any = [authority_text(AUTHORITY.public)]
    with pytest.raises(ValueError, match="32 bytes"):
        Admission(texts)
    with pytest.raises(ValueError, match="32 bytes"):
        Admission([b"short"])
