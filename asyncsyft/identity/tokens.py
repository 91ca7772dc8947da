"""Tokens: what an authority signs, so that a relay lets in peers that it has never heard of.

The form is ``asyncsyft1.PAYLOAD.SIGNATURE``, the latter two base64url without padding. The payload is a msgpack list
``[authority, id, names, roles, reach, expires, key]``: the first 8 bytes of the authority's public key; a text; three
lists of texts; seconds since 1970; 32 bytes or nil. The Ed25519 signature covers all that is left of the second dot, as
ASCII. There is one spelling of each token: others are refused.

A token without a key is good for whoever holds it, the relays that it was shown to among them; one that is bound to a
key is good for the holder of that key, and of no use to a relay.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Container, Optional, Sequence, Tuple

import msgpack
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ..errors import Refused
from .files import Path, load_private, save_private
from .forms import PUBLIC_SIZE, ROLES, authority_text, from_base64, is_name, matches, to_base64

PREFIX = "asyncsyft1"
#: Characters of a token.
MAX_TOKEN = 4096
#: Names or patterns in one list of a token.
MAX_NAMES = 64
#: Bytes of an authority's public key that a token names it by: a hint, for the error; the signature decides.
HINT = 8
#: Seconds since 1970: the end of the year 9999.
MAX_EXPIRES = 253_402_300_799

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True)
class Token:
    """What a token says; whether it is to be believed, ``check_token`` knows. ``expires`` in seconds since 1970."""

    id: str
    names: Tuple[str, ...]
    roles: Tuple[str, ...]
    reach: Tuple[str, ...]
    expires: int
    key: Optional[bytes] = None
    authority: bytes = b""

    def allows(self, name: str, role: str, key: Optional[bytes]) -> bool:
        """Whether a peer may come in under that name and role; ``key`` is the one that it proved, if any."""
        fits = any(matches(pattern, name) for pattern in self.names)
        return fits and role in self.roles and (self.key is None or self.key == key)

    @property
    def until(self) -> str:
        """When it expires, for people."""
        return f"{datetime.fromtimestamp(self.expires, timezone.utc):%Y-%m-%d %H:%M:%S} UTC"


class Authority:
    """An Ed25519 key that signs tokens; ``public`` (32 bytes) is what a relay is told to trust."""

    __slots__ = ("_private", "public")

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = private.public_key().public_bytes_raw()

    @classmethod
    def new(cls) -> Authority:
        """A fresh one."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path) -> Authority:
        """The one in a file. Raises: OSError; PermissionError if others may read it; ValueError if it is none."""
        return cls(load_private(path, Ed25519PrivateKey, "the Ed25519 key of an authority"))

    def save(self, path: Path) -> None:
        """Write it to a new file that only its owner may read. Raises: OSError, FileExistsError."""
        save_private(path, self._private)

    def issue(
        self,
        names: Sequence[str],
        roles: Sequence[str],
        reach: Sequence[str] = ("*",),
        *,
        expires: int,
        key: Optional[bytes] = None,
        id: Optional[str] = None,
    ) -> str:
        """A token: who shows it may come in under these names and roles, and reach workers of these names.

        In names and reach ``*`` stands for any characters. ``expires`` in seconds since 1970; with ``key`` (32 bytes)
        it is good only for its holder. Raises: ValueError.
        """
        lists = [_listed(texts) for texts in (names, roles, reach)]
        fields = [self.public[:HINT], os.urandom(8).hex() if id is None else id, *lists, expires, key]
        _token(fields)
        signed = f"{PREFIX}.{to_base64(msgpack.packb(fields))}"
        text = f"{signed}.{to_base64(self._private.sign(signed.encode()))}"
        if len(text) > MAX_TOKEN:
            raise ValueError(f"a token of {len(text)} characters is past the limit of {MAX_TOKEN}: give it fewer names")
        return text

    def __repr__(self) -> str:
        return f"<Authority {authority_text(self.public)}>"


def read_token(text: str) -> Token:
    """What a token says, without believing it. Raises: Refused if it is none."""
    return _split(text)[0]


def check_token(text: str, authorities: Sequence[bytes], now: float, revoked: Container[str] = ()) -> Token:
    """What a token says, signed by one of the authorities (public keys) and in force; ``now`` in seconds since 1970.

    Raises: Refused.
    """
    token, signed, signature = _split(text)
    named = [public for public in authorities if public[:HINT] == token.authority]
    if not named:
        raise Refused(f"token {token.id} is from an authority that is not trusted here")
    if not any(_signed(public, signed, signature) for public in named):
        raise Refused(f"token {token.id} is forged or was changed: its signature does not fit")
    if token.id in revoked:
        raise Refused(f"token {token.id} was revoked")
    if now >= token.expires:
        raise Refused(f"token {token.id} expired on {token.until}")
    return token


def _split(text: str) -> Tuple[Token, bytes, bytes]:
    """A token, what is signed, and the signature. Raises: Refused."""
    if len(text) > MAX_TOKEN:
        raise Refused(f"a token of {len(text)} characters is past the limit of {MAX_TOKEN}")
    prefix, _, rest = text.partition(".")
    payload, dot, signature = rest.partition(".")
    if prefix != PREFIX or not dot:
        raise Refused(f"that is no token: {PREFIX}.PAYLOAD.SIGNATURE")
    try:
        data = from_base64(payload)
        fields = msgpack.unpackb(data, max_array_len=MAX_NAMES)
        token = _token(fields)
        if msgpack.packb(fields) != data:
            raise ValueError("not in its one form")
        return token, f"{prefix}.{payload}".encode(), from_base64(signature)
    # msgpack lets these out of hostile bytes
    except (ValueError, TypeError, RecursionError, MemoryError, OverflowError):
        raise Refused("the token is damaged") from None


def _token(fields: Any) -> Token:
    """The fields, checked. Raises: ValueError."""
    if type(fields) is not list or len(fields) != 7:
        raise ValueError("a token has 7 fields")
    hint, id, names, roles, reach, expires, key = fields
    if type(hint) is not bytes or len(hint) != HINT:
        raise ValueError("the authority is not 8 bytes")
    if type(id) is not str or not _ID.fullmatch(id):
        raise ValueError(f"not an id (1 to 64 letters, digits, dots, dashes and underscores): {id!r:.80}")
    if type(expires) is not int or not 0 < expires <= MAX_EXPIRES:
        raise ValueError(f"not seconds since 1970: {expires!r:.80}")
    if key is not None and (type(key) is not bytes or len(key) != PUBLIC_SIZE):
        raise ValueError(f"a key has {PUBLIC_SIZE} bytes")
    if not set(_names(roles)) <= set(ROLES):
        raise ValueError(f"the roles are {' and '.join(ROLES)}: {roles!r:.80}")
    return Token(id, _names(names), tuple(roles), _names(reach, least=0), expires, key, hint)


def _names(value: Any, least: int = 1) -> Tuple[str, ...]:
    if type(value) is not list or not least <= len(value) <= MAX_NAMES:
        raise ValueError(f"not a list of {least} to {MAX_NAMES} names: {value!r:.80}")
    for name in value:
        if type(name) is not str or not is_name(name):
            raise ValueError(f"not a name that can be printed: {name!r:.80}")
    return tuple(value)


def _listed(texts: Sequence[str]) -> Any:
    # of a text, a list would be made of its letters
    return texts if isinstance(texts, str) else list(texts)


def _signed(public: bytes, data: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, data)
    except InvalidSignature:
        return False
    return True
