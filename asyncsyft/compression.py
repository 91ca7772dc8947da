"""zstd for the bytes of a tensor: when it pays, and how hostile input is refused.

The policy looks at the data and at what the link was seen to carry; it knows no frames and no clock.
"""

from __future__ import annotations

from typing import Optional

import zstandard

from .errors import RemoteProtocolError

AUTO, ALWAYS, NEVER = "auto", "always", "never"
LEVEL = 1
#: Bytes below which the frame's own cost eats the gain.
SMALLEST = 4096
#: The sample that decides: so many slices of so many bytes, spread over the data (10-46 us, within 8 % of the truth).
SLICES, SLICE = 4, 4096
#: What the sample must promise, as uncompressed / compressed.
WORTH = 1.2
#: Seconds a byte that level 1 takes at both ends: on data that shrinks (350 and 800 MB/s measured), and on data of
#: which nearly nothing is left (4000 and 9000 MB/s).
COST = 1 / 350e6 + 1 / 800e6
SPARSE, SPARSE_COST = 50.0, 1 / 4000e6 + 1 / 9000e6
#: After so many chunks that did not pay, that many more are not even sampled, doubling up to the last.
FIRST_PAUSE, LONGEST_PAUSE = 1, 64


def check_mode(mode: object) -> str:
    """One of "auto", "always" and "never". Raises: ValueError for anything else."""
    if mode in (AUTO, ALWAYS, NEVER):
        return str(mode)
    raise ValueError(f"compression is auto, always or never, not {mode!r:.40}")


class Policy:
    """Decides chunk by chunk for one stream of chunks; ``mode`` is "auto", "always" or "never"."""

    __slots__ = ("mode", "bandwidth", "_compressor", "_skip", "_pause")

    def __init__(self, mode: str = AUTO, bandwidth: Optional[float] = None) -> None:
        """Raises: ValueError for another mode."""
        self.mode = check_mode(mode)
        #: Bytes per second that the link was seen to carry; None while unknown, which counts as fast.
        self.bandwidth = bandwidth
        self._compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=False)
        self._skip, self._pause = 0, FIRST_PAUSE

    def looks_at(self, size: int) -> bool:
        """Whether ``compress`` would look at so many bytes at all; saves putting them together."""
        if self.mode == NEVER or size < SMALLEST:
            return False
        if self.mode == AUTO and self._skip:
            self._skip -= 1
            return False
        return self.mode == ALWAYS or self.bandwidth is not None

    def carried(self, speed: float) -> None:
        """The link carried so many bytes per second while it had more to carry."""
        self.bandwidth = speed if self.bandwidth is None else 0.7 * self.bandwidth + 0.3 * speed

    def compress(self, data: memoryview) -> Optional[bytes]:
        """The chunk compressed, or None if it goes as it is; ask ``looks_at`` first."""
        if self.mode == AUTO and not self._promising(data):
            return None
        packed: bytes = self._compressor.compress(data)
        if len(packed) * (WORTH if self.mode == AUTO else 1) >= len(data):
            self._missed()
            return None
        self._skip, self._pause = 0, FIRST_PAUSE
        return packed

    def _promising(self, data: memoryview) -> bool:
        ratio = self._sample(data)
        cost = SPARSE_COST if ratio >= SPARSE else COST
        if ratio >= WORTH and self.bandwidth is not None and (1 - 1 / ratio) > self.bandwidth * cost:
            return True
        self._missed()
        return False

    def _sample(self, data: memoryview) -> float:
        step = max((len(data) - SLICE) // (SLICES - 1), 1)
        slices = b"".join([data[at : at + SLICE] for at in range(0, len(data) - SLICE + 1, step)][:SLICES])
        return len(slices) / len(self._compressor.compress(slices))

    def _missed(self) -> None:
        self._skip, self._pause = self._pause, min(self._pause * 2, LONGEST_PAUSE)


def expand(data: memoryview, most: int) -> bytes:
    """The bytes of a compressed body, which declares how many they are, at most ``most``.

    Raises: RemoteProtocolError, before memory is spent, if the data says or holds anything else.
    """
    try:
        # The frame's own word first: max_output_size is ignored when the frame declares a size.
        declared = zstandard.frame_content_size(data)
        if not 0 <= declared <= most:
            raise RemoteProtocolError(f"a compressed body declares {declared} bytes; the most is {most}")
        expanded: bytes = zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
    except (zstandard.ZstdError, MemoryError) as error:
        raise RemoteProtocolError(f"a compressed body is no zstd: {str(error)[:100]}") from None
    if len(expanded) != declared:
        raise RemoteProtocolError(f"a compressed body holds {len(expanded)} bytes where it declares {declared}")
    return expanded
