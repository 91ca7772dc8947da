"""A peer's key, and the proof that it holds it.

The accepting end speaks first: a challenge, which is an X25519 public key made for this link. The dialling end adds to
its hello::

    proof = HMAC-SHA256(HKDF-SHA256(X25519(key, challenge), salt=challenge + key's public,
                                    info="asyncsyft v1 proof", 32 bytes), transcript)

The transcript is what it says of itself in the hello. So the accepting end remembers nothing between links, and no
message more is waited for. What this gives, and what not:

- Who merely listened cannot prove anything on another link: each link has its own challenge, and it is good once.
- Who sits between cannot change what the hello says: it is under the proof. The salt keeps another spelling of the same
  public key (X25519 has a few) from being proved in its place.
- The accepting end learns nothing that it could show to others: it could have made the proof itself.
- A malicious relay that the peer dials may pass on the challenge of *another* relay, and with the answer stand there as
  that peer, on that one link, with the incarnation that the peer said. The name of a relay is not part of the proof; it
  is TLS that says which relay this is. What such a relay can do there is what any relay on the way can do: drop, delay,
  see addresses and sizes, and speak in conversations that are not sealed. It has not the key: it cannot prove it on a
  second link, nor read or write a sealed conversation.
"""

from __future__ import annotations

import hmac
from typing import Optional

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ..errors import Refused, RemoteProtocolError
from .files import Path, load_private, save_private
from .forms import PUBLIC_SIZE, key_text

_INFO = b"asyncsyft v1 proof"


class Key:
    """An X25519 identity: ``public`` is what others know it by (32 bytes), ``private`` stays here."""

    __slots__ = ("private", "public")

    def __init__(self, private: X25519PrivateKey) -> None:
        self.private = private
        self.public = private.public_key().public_bytes_raw()

    @classmethod
    def new(cls) -> Key:
        """A fresh one."""
        return cls(X25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path) -> Key:
        """The key in a file. Raises: OSError; PermissionError if others may read it; ValueError if it is none."""
        return cls(load_private(path, X25519PrivateKey, "the X25519 key of a peer"))

    def save(self, path: Path) -> None:
        """Write it to a new file that only its owner may read. Raises: OSError, FileExistsError."""
        save_private(path, self.private)

    def shared(self, public: bytes) -> bytes:
        """X25519 with another's public key: 32 bytes, no key yet. Raises: RemoteProtocolError for a bad public key."""
        return _shared(self.private, public)

    def __repr__(self) -> str:
        return f"<Key {key_text(self.public)}>"


class Challenge:
    """What the accepting end of one link asks a peer to prove its key against; ``public`` (32 bytes) is sent."""

    __slots__ = ("_private", "public")

    def __init__(self) -> None:
        private = X25519PrivateKey.generate()
        self._private: Optional[X25519PrivateKey] = private
        self.public = private.public_key().public_bytes_raw()

    def check(self, proof: bytes, key_public: bytes, transcript: bytes) -> None:
        """Return if whoever made the proof holds the key and said ``transcript``; works once. Raises: Refused."""
        private, self._private = self._private, None
        if private is None:
            raise Refused("a challenge is good for one proof")
        try:
            expected = _proof(_shared(private, key_public), self.public, key_public, transcript)
        except RemoteProtocolError as error:
            raise Refused(f"the proof does not fit the key: {error}") from None
        if not hmac.compare_digest(proof, expected):
            raise Refused("the proof does not fit the key")


def prove(key: Key, challenge_public: bytes, transcript: bytes) -> bytes:
    """The answer to a challenge: 32 bytes. Raises: RemoteProtocolError if that is no challenge."""
    return _proof(key.shared(challenge_public), challenge_public, key.public, transcript)


def _proof(shared: bytes, challenge_public: bytes, key_public: bytes, transcript: bytes) -> bytes:
    secret = HKDF(SHA256(), 32, salt=challenge_public + key_public, info=_INFO).derive(shared)
    return hmac.digest(secret, transcript, "sha256")


def _shared(private: X25519PrivateKey, public: bytes) -> bytes:
    try:
        secret = private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:  # another length, or a point of low order, with which the secret would be known to all
        raise RemoteProtocolError(f"not an X25519 public key of {PUBLIC_SIZE} bytes") from None
    if not any(secret):
        raise RemoteProtocolError("a public key of low order")
    return secret
