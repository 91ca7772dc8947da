"""The exchange of keys: ``Noise_IK_25519_AESGCM_SHA256``, exactly as the Noise specification (revision 34) has it."""

from __future__ import annotations

import hashlib
from typing import NamedTuple, Optional, Protocol, Tuple

import msgpack
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .. import wire
from ..errors import RemoteProtocolError, in_short
from ..wire import INCARNATION_SIZE, Frame, Parcel
from .cipher import NONCE, TAG_SIZE, Seal

NAME = b"Noise_IK_25519_AESGCM_SHA256"
KEY_SIZE = 32
#: Noise's longest message.
MAX_EXCHANGE = 65535


class Key(Protocol):
    """An X25519 key pair as the exchange needs it; the private half need not leave its owner."""

    @property
    def public(self) -> bytes:
        """32 bytes."""

    def shared(self, public: bytes) -> bytes:
        """X25519 with another's public key, 32 bytes. Raises: ValueError or RemoteProtocolError for a bad one."""


class Ephemeral:
    """A key pair that lives as long as one exchange."""

    __slots__ = ("_private", "public")

    def __init__(self, private: Optional[bytes] = None) -> None:
        """Only test vectors give the 32 bytes of the private key."""
        given = X25519PrivateKey.from_private_bytes
        self._private = X25519PrivateKey.generate() if private is None else given(private)
        self.public = self._private.public_key().public_bytes_raw()

    def shared(self, public: bytes) -> bytes:
        """X25519 with another's public key. Raises: ValueError for a point of low order."""
        return self._private.exchange(X25519PublicKey.from_public_bytes(public))


def leads(mine: bytes, theirs: bytes) -> bool:
    """Whether this end stays the initiator when both began an exchange: the smaller incarnation does.

    Raises: RemoteProtocolError if the other end claims this one's incarnation.
    """
    if mine == theirs:
        raise RemoteProtocolError("the other end claims the incarnation of this one")
    return mine < theirs


def prologue(initiator: bytes, responder: bytes) -> bytes:
    """What binds an exchange to two incarnations, and so all that is sealed after it."""
    return b"asyncsyft v1 seal" + initiator + responder


# The frame that carries the exchange.


class Exchange(NamedTuple):
    """A message of the exchange: the incarnations of its sender and of its receiver, step 1 or 2, Noise's message."""

    mine: bytes
    yours: bytes
    step: int
    message: bytes

    def parcel(self) -> Parcel:
        """The frame that says it."""
        return Parcel(wire.SEAL, 0, tuple(self))


def exchange(frame: Frame) -> Exchange:
    """What a frame of kind SEAL says. Raises: RemoteProtocolError and nothing else."""
    if frame.kind != wire.SEAL or frame.flags:
        raise RemoteProtocolError(f"kind {frame.kind} with flags 0x{frame.flags:02x} is no exchange of keys")
    try:
        mine, yours, step, message = msgpack.unpackb(frame.meta, strict_map_key=True, max_array_len=wire.MAX_LIST)[:4]
        if [type(field) for field in (mine, yours, step, message)] != [bytes, bytes, int, bytes]:
            raise ValueError("fields of another type")
        if len(mine) != INCARNATION_SIZE or len(yours) != INCARNATION_SIZE or step not in (1, 2):
            raise ValueError("not two incarnations and a step")
    except (ValueError, TypeError, KeyError, RecursionError, MemoryError) as error:
        raise RemoteProtocolError(f"the exchange of keys is malformed: {in_short(error)}") from None
    return Exchange(mine, yours, step, message)


# Noise IK.


class _Noise:
    """What the specification calls SymmetricState: a hash of all that was said, and a chain of keys."""

    __slots__ = ("chain", "cipher", "count", "hash")

    def __init__(self, prologue: bytes, responder: bytes) -> None:
        self.hash = self.chain = NAME.ljust(32, b"\0")
        self.mix_hash(prologue)
        self.mix_hash(responder)  # IK's pre-message: the initiator knows it

    def copy(self) -> _Noise:
        other = _Noise.__new__(_Noise)
        other.hash, other.chain, other.cipher, other.count = self.hash, self.chain, self.cipher, self.count
        return other

    def mix_hash(self, data: bytes) -> None:
        self.hash = hashlib.sha256(self.hash + data).digest()

    def mix_key(self, key: Key, public: bytes) -> None:
        try:
            secret = key.shared(public)
        except ValueError:
            secret = bytes(KEY_SIZE)
        if secret == bytes(KEY_SIZE):
            raise RemoteProtocolError("a public key of low order")
        self.chain, derived = self._derive(secret)
        self.cipher, self.count = AESGCM(derived), 0

    def encrypt(self, plain: bytes) -> bytes:
        sealed = self.cipher.encrypt(NONCE.pack(self.count), plain, self.hash)
        self.count += 1
        self.mix_hash(sealed)
        return sealed

    def decrypt(self, sealed: bytes) -> bytes:
        try:
            plain = self.cipher.decrypt(NONCE.pack(self.count), sealed, self.hash)
        except InvalidTag:
            raise RemoteProtocolError("the exchange of keys was not meant for this key, or was altered") from None
        self.count += 1
        self.mix_hash(sealed)
        return plain

    def split(self) -> Tuple[bytes, bytes]:
        """The keys of the two directions, the initiator's first."""
        return self._derive(b"")

    def _derive(self, secret: bytes) -> Tuple[bytes, bytes]:
        both = HKDF(SHA256(), 2 * KEY_SIZE, self.chain, b"").derive(secret)
        return both[:KEY_SIZE], both[KEY_SIZE:]


def _message(data: bytes, least: int) -> bytes:
    if not least <= len(data) <= MAX_EXCHANGE:
        raise RemoteProtocolError(f"an exchange of keys of {len(data)} bytes, where {least} or more are due")
    return bytes(data)


class Initiator:
    """The end that begins the exchange: it knows the other's public key from its own configuration.

    ``message`` is for the other end; it may be sent again on a new road as it is.
    """

    def __init__(
        self, key: Key, theirs: bytes, prologue: bytes, payload: bytes = b"", ephemeral: Optional[Key] = None
    ) -> None:
        """Only test vectors give ``ephemeral``. Raises: RemoteProtocolError if ``theirs`` is no public key."""
        if len(theirs) != KEY_SIZE:
            raise RemoteProtocolError(f"a public key has {KEY_SIZE} bytes, not {len(theirs)}")
        self._key, self._ephemeral = key, ephemeral or Ephemeral()
        noise = _Noise(prologue, theirs)
        noise.mix_hash(self._ephemeral.public)  # e
        noise.mix_key(self._ephemeral, theirs)  # es
        static = noise.encrypt(key.public)  # s
        noise.mix_key(key, theirs)  # ss
        self.message = self._ephemeral.public + static + noise.encrypt(payload)
        self._noise: Optional[_Noise] = noise

    def finish(self, message: bytes) -> Seal:
        """The seal, once, from the other end's answer; a bad answer spoils nothing, the true one may still come.

        Raises: RemoteProtocolError.
        """
        if self._noise is None:
            raise RemoteProtocolError("the exchange of keys is over")  # a second seal would count from 0 again
        noise, message = self._noise.copy(), _message(message, KEY_SIZE + TAG_SIZE)
        ephemeral = message[:KEY_SIZE]
        noise.mix_hash(ephemeral)  # e
        noise.mix_key(self._ephemeral, ephemeral)  # ee
        noise.mix_key(self._key, ephemeral)  # se
        self.payload = noise.decrypt(message[KEY_SIZE:])
        self._noise = None
        send, receive = noise.split()
        return Seal(send, receive, noise.hash)


class Responder:
    """The end that answers the exchange.

    ``theirs`` is the initiator's public key, for the caller to compare with those that it knows. Nobody but its owner
    can use the seal; that the owner is there now, and this was no replay, is known when its first frame opens.
    """

    def __init__(
        self, key: Key, prologue: bytes, message: bytes, payload: bytes = b"", ephemeral: Optional[Key] = None
    ) -> None:
        """Only test vectors give ``ephemeral``. Raises: RemoteProtocolError."""
        message = _message(message, 2 * KEY_SIZE + 2 * TAG_SIZE)
        theirs, static = message[:KEY_SIZE], message[KEY_SIZE : 2 * KEY_SIZE + TAG_SIZE]
        noise = _Noise(prologue, key.public)
        noise.mix_hash(theirs)  # e
        noise.mix_key(key, theirs)  # es
        self.theirs = noise.decrypt(static)  # s
        noise.mix_key(key, self.theirs)  # ss
        self.payload = noise.decrypt(message[2 * KEY_SIZE + TAG_SIZE :])
        mine = ephemeral or Ephemeral()
        noise.mix_hash(mine.public)  # e
        noise.mix_key(mine, theirs)  # ee
        noise.mix_key(mine, self.theirs)  # se
        self.message = mine.public + noise.encrypt(payload)
        receive, send = noise.split()
        self.seal = Seal(send, receive, noise.hash)
