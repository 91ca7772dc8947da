"""Sealed frames: AES-256-GCM under a counter that only grows.

A resend is sealed anew: no nonce is used twice, nothing has to be stored, and each road keeps its frames in order.
"""

from __future__ import annotations

import struct
from typing import Any, List, Optional, Sequence, Tuple

import msgpack
import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .. import wire
from ..errors import LocalProtocolError, RemoteProtocolError
from ..wire import HEADER, HEADER_SIZE, INCARNATION_SIZE, MAX_FRAME, RESUME, SEALED, Buffer, Frame, Parcel

TAG_SIZE = 16
_BLOCK = 16
#: From this size on frames are sealed from where their pieces lie, and opened in memory that is used again: copies, and
#: fresh pages, cost more than AES does.
LARGE = 1 << 16
#: Noise reserves the last of the 64-bit counters.
MAX_COUNTER = (1 << 64) - 2

_new: Any = tuple.__new__  # of a named tuple: half the time of calling its class
NONCE = struct.Struct(">4xQ")
_COUNTER = struct.Struct("<Q")
_LENGTHS = struct.Struct("<II")
# What is authenticated of the header: kind, flags, lane, id. Never `to` and `from`, which the relay writes.
_BOUND = struct.Struct("<BBHQ")
_LIVES = slice(_COUNTER.size, _COUNTER.size + 2 * INCARNATION_SIZE)
#: By how much a sealed frame is larger than the clear one, and a sealed resume.
OVERHEAD = _COUNTER.size + _LENGTHS.size + TAG_SIZE
OVERHEAD_OF_RESUME = OVERHEAD + 2 * INCARNATION_SIZE


def lives(frame: Frame) -> Tuple[bytes, bytes]:
    """The incarnations, sender's and receiver's, by which the seal of a sealed resume is found; only it proves them.

    Raises: RemoteProtocolError.
    """
    if frame.kind != RESUME or not frame.flags & SEALED or len(frame.meta) != _LIVES.stop:
        raise RemoteProtocolError("not a sealed resume")
    both = bytes(frame.meta[_LIVES])
    return both[:INCARNATION_SIZE], both[INCARNATION_SIZE:]


class Seal:
    """What two peers share after the exchange: a key and a counter for each direction. Never copy one."""

    __slots__ = ("_cipher", "_clear", "_decrypt", "_decrypt_into", "_encrypt", "_opened", "_written", "hash")

    def __init__(self, send: bytes, receive: bytes, hash: bytes = b"") -> None:
        """``hash`` is that of the exchange: equal at both ends, different for each seal."""
        theirs = AESGCM(receive)
        self._encrypt, self._decrypt = AESGCM(send).encrypt, theirs.decrypt
        self._decrypt_into: Any = getattr(theirs, "decrypt_into", None)  # not in older ones
        self._cipher = algorithms.AES(send)
        self._clear: Optional[memoryview] = None  # where large frames are opened
        self._written = self._opened = 0  # frames, or for those opened: the counter that is due
        self.hash = hash

    def write(self, parcel: Parcel, out: List[Buffer], to: int, number: int, flags: int = 0) -> int:
        """As ``Parcel.write``, sealed; its bytes. What is written leaves in this order, or is lost with its road.

        Raises: LocalProtocolError if the frame is too large, or all counters are used.
        """
        kind, flags, counter = parcel.kind, flags | parcel.flags | SEALED, self._written
        size = parcel.size + (OVERHEAD if kind != RESUME else OVERHEAD_OF_RESUME)
        if size > MAX_FRAME or counter > MAX_COUNTER:
            raise LocalProtocolError(f"cannot be sealed: {size} bytes, the limit is {MAX_FRAME}, or a seal worn out")
        self._written = counter + 1  # first: whatever happens, no counter is used twice
        meta = _COUNTER.pack(counter)
        if kind == RESUME:
            meta += b"".join(msgpack.unpackb(memoryview(parcel.pieces[0])[: parcel.meta_len])[:2])
        bound = _BOUND.pack(kind, flags, parcel.lane, number) + meta
        plain = (_LENGTHS.pack(parcel.meta_len, parcel.body_len), *parcel.pieces)
        if parcel.size < LARGE:
            sealed: Buffer = self._encrypt(NONCE.pack(counter), b"".join(plain), bound)
        else:
            sealed = self._encrypt_large(NONCE.pack(counter), plain, bound)
        out.append(HEADER.pack(kind, flags, parcel.lane, to, 0, len(meta), number, len(sealed)) + meta)
        out.append(sealed)
        return size

    def _encrypt_large(self, nonce: bytes, plain: Sequence[Buffer], bound: bytes) -> Buffer:
        encryptor = Cipher(self._cipher, modes.GCM(nonce)).encryptor()
        encryptor.authenticate_additional_data(bound)
        # The room that update_into asks for beyond a cipher's block is never used by GCM.
        sealed = np.empty(sum(map(len, plain)) + TAG_SIZE + _BLOCK, np.uint8).data
        at = 0
        for piece in plain:
            at += encryptor.update_into(piece, sealed[at:])
        encryptor.finalize()
        sealed[at : at + TAG_SIZE] = encryptor.tag
        return sealed[: at + TAG_SIZE]

    def _decrypted(self, nonce: bytes, body: memoryview, bound: bytes) -> Buffer:
        """A plaintext, valid until the next large one. Raises: InvalidTag."""
        if len(body) < LARGE or len(body) > MAX_FRAME or self._decrypt_into is None:
            return self._decrypt(nonce, body, bound)
        if self._clear is None:
            self._clear = np.empty(MAX_FRAME, np.uint8).data
        plain = self._clear[: len(body) - TAG_SIZE]
        self._decrypt_into(nonce, body, bound, plain)
        return plain

    def open(self, frame: Frame) -> Frame:
        """The frame within, of the size that it would have had in the clear: what credit is charged for.

        Its views are valid until the next frame is opened, as those of the message that it came in.
        A frame that is refused leaves the seal as it was. Raises: RemoteProtocolError.
        """
        kind, flags, lane, to, sender, number, meta, body, _ = frame
        if not flags & SEALED:
            raise RemoteProtocolError("a frame in the clear, where all are sealed")
        if len(meta) != (_COUNTER.size if kind != RESUME else _LIVES.stop):
            raise RemoteProtocolError("the meta of a sealed frame is its counter")
        (counter,) = _COUNTER.unpack_from(meta)
        due = self._opened
        if (counter != due or due > MAX_COUNTER) and (kind != RESUME or not due < counter <= MAX_COUNTER):
            raise RemoteProtocolError(f"sealed frame {counter} came where {due} was due: dropped, moved or replayed")
        try:
            plain = self._decrypted(NONCE.pack(counter), body, _BOUND.pack(kind, flags, lane, number) + meta)
        except InvalidTag:
            raise RemoteProtocolError(f"sealed frame {counter} was altered, or is not of this conversation") from None
        view, end = memoryview(plain), len(plain)
        meta_len, body_len = _LENGTHS.unpack_from(plain) if end >= _LENGTHS.size else (0, 0)
        body_at = _LENGTHS.size + (meta_len + 7 & ~7)
        if body_at + (body_len + 7 & ~7) != end:
            raise RemoteProtocolError(f"a sealed frame says {meta_len} and {body_len} bytes, and holds {end}")
        found: Frame = _new(Frame, (
            kind, flags ^ SEALED, lane, to, sender, number, view[_LENGTHS.size : _LENGTHS.size + meta_len],
            view[body_at : body_at + body_len], HEADER_SIZE - _LENGTHS.size + end,
        ))  # fmt: skip
        if kind == RESUME:
            _agree(found, meta)
        self._opened = counter + 1
        return found


def _agree(resume: Frame, shown: memoryview) -> None:
    said = wire.parse(resume)
    if said.mine + said.yours != shown[_LIVES]:
        raise RemoteProtocolError("a sealed resume names other incarnations than it shows")
