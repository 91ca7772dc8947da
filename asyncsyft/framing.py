"""RFC 6455 frames to bytes and back: masking, fragments, control frames, and what is refused with which close code.

It knows no socket, no handshake and no event loop; what the payloads mean is the end's affair.
"""

from __future__ import annotations

import os
import struct
from typing import Iterator, List, Optional, Sequence, Tuple, Union

import numpy as np

from asyncsyft.errors import RemoteProtocolError

try:
    from websockets.speedups import apply_mask
except ImportError:  # websockets was installed without its C extension
    from websockets.utils import apply_mask

Buffer = Union[bytes, bytearray, memoryview]

#: The largest message taken: a frame carries at most one chunk (1 MiB); the rest is room for its header and meta, and
#: for a sender that fills a message to the brim with small frames.
MAX_MESSAGE = 2 * 1024 * 1024
#: Where the receive buffer starts; it doubles as bytes arrive, so an idle connection holds no more than this.
FIRST_BUFFER = 64 * 1024
#: A reader that is always behind reads this much at once; more gains nothing on loopback.
EAGER_BUFFER = 256 * 1024
#: From here on masking with numpy, in place, is cheaper than with ``apply_mask``, which allocates.
NUMPY_MASK = 32 * 1024
#: A buffer that grew for large messages shrinks after this many reads without one.
CALM_READS = 64
#: Close reasons are cut here: a control frame holds 125 bytes and the code takes two (RFC 6455 5.5).
MAX_REASON = 123

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

_FIN = 0x80
_MASK = 0x80
_HEADER = 14  # the longest frame header: 2, a length of 8, a mask of 4
_PAYLOAD_AT = 16  # where the encoder puts a large payload, so that it lies on whole words
_SHORT = [bytes((_FIN | BINARY, n)) for n in range(126)]
_MASKED_SHORT = [bytes((_FIN | BINARY, _MASK | n)) for n in range(126)]
_MASKS_AT_ONCE = 4096


class BadFrame(RemoteProtocolError):
    """The other end broke RFC 6455, or sent what is not carried here; ``close_code`` says it to the other end."""

    def __init__(self, close_code: int, reason: str) -> None:
        super().__init__(reason)
        self.close_code = close_code


class Encoder:
    """Makes frames; a client's are masked with a fresh random key each (RFC 6455 5.3)."""

    __slots__ = ("_keys", "_next", "masked")

    def __init__(self, *, masked: bool) -> None:
        self.masked = masked
        self._keys = b""
        self._next = 0

    def message(self, pieces: Sequence[Buffer], out: List[Buffer]) -> int:
        """Append one binary message to ``out`` as buffers to be sent in order; returns how many bytes they hold."""
        size = len(pieces[0]) if len(pieces) == 1 else sum(map(len, pieces))
        if self.masked:
            return self._masked(size, pieces, out)
        head = _SHORT[size] if size < 126 else _header(_FIN | BINARY, 0, size)
        out.append(head)
        out.extend(pieces)
        return len(head) + size

    def _masked(self, size: int, pieces: Sequence[Buffer], out: List[Buffer]) -> int:
        head = _MASKED_SHORT[size] if size < 126 else _header(_FIN | BINARY, _MASK, size)
        key = self._key()
        if size >= NUMPY_MASK:
            out.append(_mask_large(head + key, key, size, pieces))
        else:
            payload = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            out.append(head + key)
            out.append(apply_mask(payload, key))
        return len(head) + 4 + size

    def control(self, opcode: int, payload: bytes = b"") -> bytes:
        """One control frame; its payload holds at most 125 bytes."""
        if not self.masked:
            return bytes((_FIN | opcode, len(payload))) + payload
        key = self._key()
        return bytes((_FIN | opcode, _MASK | len(payload))) + key + apply_mask(payload, key)

    def close(self, code: Optional[int], reason: str = "") -> bytes:
        """A close frame; a reason that is too long is cut at a whole character."""
        if code is None:
            return self.control(CLOSE)
        cut = reason.encode("utf-8", "replace")[:MAX_REASON].decode("utf-8", "ignore").encode()
        return self.control(CLOSE, struct.pack(">H", code) + cut)

    def _key(self) -> bytes:
        at = self._next
        if at >= len(self._keys):
            self._keys = os.urandom(_MASKS_AT_ONCE)
            at = 0
        self._next = at + 4
        return self._keys[at : at + 4]


def _header(first: int, mask_bit: int, size: int) -> bytes:
    if size < 126:
        return bytes((first, mask_bit | size))
    if size < 65536:
        return struct.pack(">BBH", first, mask_bit | 126, size)
    return struct.pack(">BBQ", first, mask_bit | 127, size)


def _mask_large(head: bytes, key: bytes, size: int, pieces: Sequence[Buffer]) -> memoryview:
    """One buffer with the whole frame: large pieces are masked as they are copied, small ones where they lie."""
    whole = np.empty(_PAYLOAD_AT + (size + 7) // 8 * 8, np.uint8)
    view = memoryview(whole.data)
    start = _PAYLOAD_AT - len(head)
    view[start:_PAYLOAD_AT] = head
    words, mask = whole.view(np.uint64), np.frombuffer(key * 2, np.uint64)
    at = plain = _PAYLOAD_AT  # where the next piece goes, and what is not masked yet begins; the latter on whole words
    for piece in pieces:
        end = at + len(piece)
        if len(piece) >= NUMPY_MASK and not (at | end) & 7:
            np.bitwise_xor(words[plain // 8 : at // 8], mask, out=words[plain // 8 : at // 8])
            np.bitwise_xor(np.frombuffer(piece, np.uint64), mask, out=words[at // 8 : end // 8])
            plain = end
        else:
            view[at:end] = piece
        at = end
    np.bitwise_xor(words[plain // 8 :], mask, out=words[plain // 8 :])
    return view[start:at]


class Decoder:
    """Finds frames in what arrives, in a buffer of its own that is filled by ``recv_into``.

    ``room()`` gives the space to fill; ``received(n)`` says how much was, and yields (opcode, payload) for each whole
    message (``BINARY``) and each control frame (``PING``, ``PONG``, ``CLOSE``). A payload is valid until the next one.
    """

    __slots__ = (
        "_calm",
        "_fragments",
        "_full",
        "_left",
        "_masked",
        "_need",
        "_start",
        "_stop",
        "_view",
        "_words",
        "max_message",
    )

    def __init__(self, *, masked: bool, max_message: int = MAX_MESSAGE) -> None:
        self._masked = _MASK if masked else 0
        self.max_message = max_message
        self._allocate(FIRST_BUFFER)
        self._start = self._stop = 0  # what has arrived and is not parsed lies between
        self._need = 2  # bytes from _start on without which nothing more can be said
        self._full = False  # the last read filled the buffer: there is more where that came from
        self._calm = 0  # reads since the large buffer was last needed
        self._fragments: Optional[bytearray] = None  # of a message whose last is still to come
        self._left = max_message  # how long the next fragment, or message, may be

    def _allocate(self, size: int) -> None:
        array = np.empty(size, np.uint8)  # np.empty: pages that no byte has reached cost nothing
        self._view = memoryview(array.data)
        self._words = array.view(np.uint64)

    def room(self) -> memoryview:
        """Where the next bytes go; never empty."""
        size = len(self._view)
        if self._start == self._stop:
            self._start = self._stop = 0
            if self._full and size < EAGER_BUFFER:
                self._allocate(2 * size)
            elif size > EAGER_BUFFER:
                self._calm += 1
                if self._calm > CALM_READS:
                    self._allocate(EAGER_BUFFER)
        elif self._start + self._need > size or self._stop == size:
            self._compact(size)
        return self._view[self._stop :]

    def _compact(self, size: int) -> None:
        """Move the unfinished frame to the front; into a larger buffer once it has filled half of this one."""
        old, held = self._view[self._start : self._stop], self._stop - self._start
        if 2 * held > size and self._need > size:
            largest = max(EAGER_BUFFER, (self.max_message + 2 * _HEADER) // 8 * 8)
            self._allocate(min(2 * size, largest))
        elif not self._start:
            return
        self._view[:held] = old
        self._start, self._stop = 0, held

    def discard(self) -> None:
        """Forget what has arrived."""
        self._start = self._stop = 0
        self._need = 2
        self._fragments = None
        self._left = self.max_message

    def received(self, count: int) -> Iterator[Tuple[int, memoryview]]:
        """Say that ``count`` bytes were put into ``room()``; yields what is whole by now. Raises: BadFrame."""
        self._stop += count
        view = self._view
        self._full = self._stop == len(view)
        while self._stop - self._start >= self._need:
            start = self._start
            first, second = view[start], view[start + 1]
            size, head = second & 0x7F, 2
            if first != _FIN | BINARY or second & _MASK != self._masked or self._fragments is not None:
                self._check(first, second)
            if size >= 126:
                head = 4 if size == 126 else 10
                if self._stop - start < head:
                    self._need = head
                    return
                size = self._long(start, size)
            if size > self._left and first & 0x0F < CLOSE:
                raise BadFrame(1009, f"a message of more than {self.max_message} bytes")
            if self._masked:
                head += 4
            if self._stop - start < head + size:
                self._need = head + size
                self._calm = 0
                return
            at = start + head
            self._start = at + size
            self._need = 2
            if self._masked:
                self._unmask(at, size)
            payload = view[at : at + size]
            if first == _FIN | BINARY:
                yield BINARY, payload
            else:
                yield from self._other(first, payload)

    def _long(self, start: int, form: int) -> int:
        """A length of two or eight bytes, which must be written in the shortest form (RFC 6455 5.2)."""
        if form == 126:
            size = int(struct.unpack_from(">H", self._view, start + 2)[0])
            shortest = 126
        else:
            size = int(struct.unpack_from(">Q", self._view, start + 2)[0])
            shortest = 65536
        if size < shortest:
            raise BadFrame(1002, f"a length of {size} that is not written in its shortest form")
        if size >> 63:
            raise BadFrame(1002, "a length whose highest bit is set")
        return size

    def _check(self, first: int, second: int) -> None:
        """What can be refused as soon as two bytes are here; raises BadFrame."""
        opcode = first & 0x0F
        if first & 0x70:
            raise BadFrame(1002, "reserved bits are set, and no extension was agreed upon")
        if second & _MASK != self._masked:
            raise BadFrame(1002, "a client's frame is not masked" if self._masked else "a server's frame is masked")
        if opcode in (CLOSE, PING, PONG):
            if not first & _FIN:
                raise BadFrame(1002, "a control frame is fragmented")
            if second & 0x7F > 125:
                raise BadFrame(1002, "a control frame of more than 125 bytes")
        elif opcode == TEXT:
            raise BadFrame(1003, "a text message; only binary messages are carried")
        elif opcode not in (BINARY, CONTINUATION):
            raise BadFrame(1002, f"reserved opcode {opcode:#x}")
        elif opcode == CONTINUATION and self._fragments is None:
            raise BadFrame(1002, "a continuation without a start")
        elif opcode == BINARY and self._fragments is not None:
            raise BadFrame(1002, "a message starts within another")

    def _other(self, first: int, payload: memoryview) -> Iterator[Tuple[int, memoryview]]:
        """Control frames and fragments."""
        opcode = first & 0x0F
        if opcode >= CLOSE:
            if opcode == CLOSE:
                close_reason(payload)
            yield opcode, payload
            return
        if self._fragments is None:
            self._fragments = bytearray()
        self._fragments += payload
        self._left = self.max_message - len(self._fragments)
        if first & _FIN:
            whole, self._fragments = self._fragments, None
            self._left = self.max_message
            yield BINARY, memoryview(whole)

    def _unmask(self, at: int, size: int) -> None:
        view = self._view
        key = bytes(view[at - 4 : at])
        if size < NUMPY_MASK:
            view[at : at + size] = apply_mask(view[at : at + size], key)
            return
        lead = -at % 8  # bytes up to the first whole word
        turned = key[lead % 4 :] + key[: lead % 4]
        begin, end = at + lead, (at + size) // 8 * 8
        words = self._words[begin // 8 : end // 8]
        np.bitwise_xor(words, np.frombuffer(turned * 2, np.uint64), out=words)
        view[at:begin] = apply_mask(view[at:begin], key)
        view[end : at + size] = apply_mask(view[end : at + size], turned)


def close_reason(payload: Buffer) -> Tuple[int, str]:
    """The code and the reason in a close frame; 1005 when it holds none. Raises: BadFrame."""
    if not payload:
        return 1005, ""
    if len(payload) == 1:
        raise BadFrame(1002, "a close frame of one byte")
    code = int.from_bytes(payload[:2], "big")
    if not _may_be_on_the_wire(code):
        raise BadFrame(1002, f"close code {code} may not be sent")
    try:
        return code, bytes(payload[2:]).decode()
    except UnicodeDecodeError:
        raise BadFrame(1007, "a close reason that is not UTF-8") from None


def _may_be_on_the_wire(code: int) -> bool:
    """RFC 6455 7.4, and IANA's registry."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999
