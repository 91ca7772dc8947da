"""Randomness for shares and masks: a stream of bytes from a seed, AES-CTR, that is never rewound.

Who holds the same seed and draws the same amounts in the same order draws the same numbers. A stream cannot be copied,
set back or asked twice: that a mask is used once is a property of this class.
"""

from __future__ import annotations

import math
import os
from typing import Any, List, NamedTuple, Sequence, Tuple

import numpy as np
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .ring import DTYPE, Ring

__all__ = ["SEED_SIZE", "Seeds", "Stream", "masks_of_driver", "new_seed", "new_seeds"]

SEED_SIZE = 32
#: What is encrypted to get the keystream, this much at a time; AES is fastest on pieces that stay in the cache.
_ZEROS = memoryview(bytes(1 << 18))
#: So few bytes come from a pool, which is drawn as a whole: a call of the cipher costs as much as some hundred of them.
SMALL, POOL = 1 << 9, 1 << 12
#: AES-CTR counts blocks; a stream ends long before its counter or the birthday of its blocks comes near.
LIMIT = 1 << 40


def new_seed() -> bytes:
    """A seed from the operating system."""
    return os.urandom(SEED_SIZE)


class Stream:
    """Random numbers from a seed; ``use`` tells the streams of one seed apart."""

    __slots__ = ("_at", "_into", "_pool", "_scratch", "drawn")

    def __init__(self, seed: bytes, use: bytes) -> None:
        """Raises: ValueError for a seed that is not of ``SEED_SIZE``."""
        if len(seed) != SEED_SIZE:
            raise ValueError(f"a seed of {len(seed)} bytes where {SEED_SIZE} are wanted")
        key = HKDF(hashes.SHA256(), 32, None, b"asyncsyft mpc stream " + use).derive(seed)
        self._into = Cipher(algorithms.AES(key[:16]), modes.CTR(key[16:])).encryptor().update_into
        self._scratch = self._pool = np.empty(0, np.uint8)
        self._at = 0  # what of the pool was given
        #: Bytes drawn so far.
        self.drawn = 0

    def __reduce__(self) -> Any:
        raise TypeError("a stream is never copied: what it gives is used once")

    def bytes(self, count: int) -> Any:
        """The next ``count`` bytes, as an array of uint8. Raises: OverflowError after ``LIMIT`` bytes."""
        self._count(count)
        at = self._at
        if at + count <= len(self._pool):
            self._at = at + count
            return self._pool[at : at + count]
        out = np.empty(count, np.uint8)
        self._fill(out.data)
        return out

    def _fill(self, view: memoryview) -> None:
        """Write the next bytes: what is left in the pool, then from it anew, if there are few, or past it."""
        left = len(self._pool) - self._at
        view[: min(left, len(view))] = self._pool.data[self._at : self._at + len(view)]
        if len(view) <= left:
            self._at += len(view)
            return
        view = view[left:]
        self._at = len(self._pool)
        if len(view) <= SMALL:
            self._pool, self._at = np.empty(POOL, np.uint8), len(view)
            self._into(_ZEROS[:POOL], self._pool.data)
            view[:] = self._pool.data[: len(view)]
            return
        for start in range(0, len(view), len(_ZEROS)):
            size = min(len(_ZEROS), len(view) - start)
            self._into(_ZEROS[:size], view[start : start + size])

    def blend(self, combine: Any, into: Any) -> None:
        """Combine a contiguous array, in its place, with the next numbers of its dtype; ``combine`` is a ufunc.

        What ``array`` draws and what this draws is the same.
        """
        flat = into.reshape(-1)
        if flat.nbytes <= SMALL:
            combine(flat, self.bytes(flat.nbytes).view(flat.dtype), out=flat)
            return
        self._count(flat.nbytes)
        if not len(self._scratch):
            self._scratch = np.empty(len(_ZEROS), np.uint8)
        step = len(_ZEROS) // flat.itemsize
        for start in range(0, flat.size, step):
            piece = flat[start : start + step]
            self._fill(self._scratch.data[: piece.nbytes])
            combine(piece, self._scratch[: piece.nbytes].view(piece.dtype), out=piece)

    def _count(self, count: int) -> None:
        self.drawn += count
        if self.drawn > LIMIT:
            raise OverflowError("a stream of randomness is used up: open another session")

    def ring(self, shape: Tuple[int, ...]) -> Ring:
        """Uniform elements of the ring."""
        return np.asarray(self.array(shape, DTYPE))

    def array(self, shape: Tuple[int, ...], dtype: Any) -> Any:
        """Uniform unsigned integers of any width."""
        dtype = np.dtype(dtype)
        count = math.prod(shape)
        return self.bytes(count * dtype.itemsize).view(dtype).reshape(shape)


class Seeds(NamedTuple):
    """What a party has: a seed of its own, those of the shares of zero, that it has with neighbours, one of the driver.

    The dealer makes and knows the first; the last is made by the driver, and known to it, the party and the dealer.
    """

    own: bytes
    before: bytes
    after: bytes
    driver: bytes


def new_seeds(count: int) -> List[Seeds]:
    """Seeds for so many parties, from the operating system."""
    zeros = [new_seed() for _ in range(count)]
    return [Seeds(new_seed(), zeros[i], zeros[(i + 1) % count], new_seed()) for i in range(count)]


def masks_of_driver(streams: Sequence[Stream], shape: Tuple[int, ...]) -> Ring:
    """The next mask of the driver's inputs, from its streams, one a party; the driver adds it to what it shares."""
    return np.asarray(np.sum([stream.ring(shape) for stream in streams], axis=0, dtype=DTYPE))
