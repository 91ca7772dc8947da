"""How identities are written down: public keys and fingerprints as texts, names and patterns of names."""

from __future__ import annotations

import base64
import hashlib

#: Bytes of a public key, of X25519 and of Ed25519 alike.
PUBLIC_SIZE = 32
#: Characters of a peer's name, and of a pattern of names.
MAX_NAME = 256
#: What a peer may be that comes in.
ROLES = ("driver", "worker")

#: How the text of a public key begins, of a peer and of an authority.
KEY, _AUTHORITY = "x25519:", "ed25519:"


def key_text(public: bytes) -> str:
    """A peer's public key as a text: ``x25519:`` and 43 characters. Raises: ValueError unless it has 32 bytes."""
    return _text(KEY, public)


def parse_key(text: str) -> bytes:
    """The opposite of ``key_text``. Raises: ValueError."""
    return _parse(KEY, text)


def authority_text(public: bytes) -> str:
    """An authority's public key as a text: ``ed25519:`` and 43 characters. Raises: ValueError."""
    return _text(_AUTHORITY, public)


def parse_authority(text: str) -> bytes:
    """The opposite of ``authority_text``. Raises: ValueError."""
    return _parse(_AUTHORITY, text)


def fingerprint(public: bytes) -> str:
    """A public key in short, for people to compare, in the form that ssh uses."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(public).digest()).decode().rstrip("=")


def is_name(text: str) -> bool:
    """Whether a peer may be called that: 1 to 256 characters that can be printed."""
    return 0 < len(text) <= MAX_NAME and text.isprintable()


def matches(pattern: str, name: str) -> bool:
    """Whether a name fits a pattern, in which ``*`` stands for any characters, none too, and nothing else is special.

    Takes time in proportion to the lengths, whatever the pattern.
    """
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == name
    last = rest.pop()
    if not name.startswith(first) or not name.endswith(last) or len(name) < len(first) + len(last):
        return False
    at, end = len(first), len(name) - len(last)
    for part in rest:
        at = name.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True


def to_base64(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def from_base64(text: str) -> bytes:
    """The opposite of ``to_base64``; one text for each value. Raises: ValueError."""
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if to_base64(data) != text:  # the decoder skips what it does not know
        raise ValueError("not base64url without padding")
    return data


def _text(prefix: str, public: bytes) -> str:
    if len(public) != PUBLIC_SIZE:
        raise ValueError(f"a public key has {PUBLIC_SIZE} bytes, and this has {len(public)}")
    return prefix + to_base64(public)


def _parse(prefix: str, text: str) -> bytes:
    try:
        if not text.startswith(prefix):
            raise ValueError
        public = from_base64(text[len(prefix) :])
        if len(public) != PUBLIC_SIZE:
            raise ValueError
    except ValueError:
        raise ValueError(f"{text!r:.80} is no public key: {prefix} and 43 characters") from None
    return public
