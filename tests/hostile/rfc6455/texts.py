"""Group 6: text. Nothing of it is looked at, since text is refused; where this end reads UTF-8 is a close's reason."""

from __future__ import annotations

from typing import Iterator, List

from tests.hostile.rfc6455.form import (
    AT_ONCE,
    CONT,
    TEXT,
    Case,
    F,
    close,
    echoed,
    pieces,
)

#: Characters of two octets and of three.
WORD = "κ\u1f79σμε".encode()


def utf8_sequences() -> List[List[bytes]]:
    """Groups 6.5 to 6.23: the categories of Markus Kuhn's test of UTF-8 decoders."""
    word = WORD
    highs, lows = (0xD800, 0xDB7F, 0xDB80, 0xDBFF), (0xDC00, 0xDFFF)

    def surrogate(point: int) -> bytes:
        return chr(point).encode("utf-8", "surrogatepass")

    cut = [b"\xc0", b"\xe0\x80", b"\xf0\x80\x80", b"\xf8\x80\x80\x80", b"\xfc\x80\x80\x80\x80"]
    cut += [b"\xdf", b"\xef\xbf", b"\xf7\xbf\xbf", b"\xfb\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf"]
    overlong = cut[:5]
    planes = [plane << 16 | last for plane in range(17) for last in (0xFFFE, 0xFFFF)]
    return [
        [f"hello{char}world".encode() for char in ("$", "¢", "€", "\U00024b62")] + [word],
        [word[:end] for end in range(1, len(word) + 1)],
        [chr(point).encode() for point in (0, 0x80, 0x800, 0x10000)],
        [b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80"],
        [chr(point).encode() for point in (0x7F, 0x7FF, 0xFFFF, 0x10FFFF)],
        [b"\xf7\xbf\xbf\xbf", b"\xfb\xbf\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf\xbf"],
        [chr(point).encode() for point in (0xD7FF, 0xE000, 0xFFFD, 0x10FFFF)] + [b"\xf4\x90\x80\x80"],
        [b"\x80", b"\xbf", *[(b"\x80\xbf" * 3)[:size] for size in range(2, 7)], bytes(range(0x80, 0xBF))],
        [b"".join(bytes((first, 0x20)) for first in range(*ends)) for ends in
            ((0xC0, 0xDF), (0xE0, 0xEF), (0xF0, 0xF7), (0xF8, 0xFB), (0xFC, 0xFD))],
        cut,
        [b"".join(cut)],
        [b"\xfe", b"\xff", b"\xfe\xfe\xff\xff"],
        [head + b"\xaf" for head in overlong],
        [b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf", b"\xf8\x87\xbf\xbf\xbf", b"\xfc\x83\xbf\xbf\xbf\xbf"],
        [head + b"\x80" for head in overlong],
        [surrogate(point) for point in (0xD800, 0xDB7F, 0xDB80, 0xDBFF, 0xDC00, 0xDF80, 0xDFFF)],
        [surrogate(high) + surrogate(low) for high in highs for low in lows],
        [chr(point).encode() for point in planes],
        [chr(point).encode() for point in range(0xFFF9, 0x10000)],
    ]  # fmt: skip


def is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def texts() -> Iterator[Case]:
    """Group 6. What is no UTF-8 is text all the same, so that nothing of it is looked at; see ``reasons``."""
    word, middle = "Hello-µ@ßöäüàá-UTF-8!!".encode(), b"middle frame payload"
    yield Case("6.1.1", "text of no octets", [F(TEXT)], echoed(b""))
    empty = [F(TEXT, fin=False), F(CONT, fin=False), F(CONT)]
    yield Case("6.1.2", "three empty fragments", empty, echoed(b""))
    filled = [empty[0], F(CONT, middle, fin=False), empty[2]]
    yield Case("6.1.3", "an empty fragment, one that is not, an empty one", filled, echoed(middle))
    yield Case("6.2.1", "UTF-8", [F(TEXT, word)], echoed(word))
    yield Case("6.2.2", "UTF-8 in two fragments", pieces(word, 12), echoed(word))
    yield Case("6.2.3", "UTF-8, an octet a fragment", pieces(word, 1), echoed(word))
    other = WORD
    yield Case("6.2.4", "UTF-8, an octet a fragment", pieces(other, 1), echoed(other))
    bad, far = other + b"\xed\xa0\x80edited", other + b"\xf4\x90\x80\x80edited"
    yield Case("6.3.1", "no UTF-8", [F(TEXT, bad)], echoed(bad))
    yield Case("6.3.2", "no UTF-8, an octet a fragment", pieces(bad, 1), echoed(bad))
    for number, chop, steps in (
        *((1, AT_ONCE, [F(TEXT, other, False), F(CONT, far[11:15], False), F(CONT, far[15:])]),),
        *((2, AT_ONCE, [F(TEXT, far[:12], False), F(CONT, far[12:13], False), F(CONT, far[13:])]),),
        *((3, 8, [F(TEXT, far)]), (4, 9, [F(TEXT, far)])),
    ):
        yield Case(f"6.4.{number}", "no UTF-8, to be noticed early", steps, echoed(far), chop=chop)
    for group, listed in enumerate(utf8_sequences(), 5):
        for number, data in enumerate(listed, 1):
            about = "a sequence that is UTF-8" if is_utf8(data) else "a sequence that is no UTF-8"
            yield Case(f"6.{group}.{number}", about, [F(TEXT, data)], echoed(data))


def reasons() -> Iterator[Case]:
    """The octets of group 6 where this end reads UTF-8: in the reason of a close."""
    for case in texts():
        data = b"".join(step.payload for step in case.steps)[:123]
        codes = (1000,) if is_utf8(data) else (1007,)
        yield Case(case.id, case.about, [close(1000, data)], closes=codes)
