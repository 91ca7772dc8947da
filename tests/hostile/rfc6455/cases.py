"""The cases of Autobahn|Testsuite's groups 1 to 10, under its numbers; those of UTF-8 are in ``texts``."""

from __future__ import annotations

from typing import Iterator, List

from tests.hostile.rfc6455.form import (
    AT_ONCE,
    BINARY,
    BY_FRAME,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    Case,
    F,
    Heard,
    close,
    echoed,
    pieces,
)
from tests.hostile.rfc6455.texts import texts

HELLO, ODD = b"Hello, world!", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"
BAD = (1002,)


def framing() -> Iterator[Case]:
    for group, opcode in ((1, TEXT), (2, BINARY)):
        sizes = (0, 125, 126, 127, 128, 65535, 65536)
        for number, size in enumerate(sizes, 1):
            data = b"*" * size
            yield Case(f"1.{group}.{number}", "a message of any length", [F(opcode, data)], echoed(data))
        data = b"*" * 65536
        yield Case(f"1.{group}.8", "the same in chops of 997 octets", [F(opcode, data)], echoed(data), chop=997)


def pings() -> Iterator[Case]:
    full, word, pong = b"\xfe" * 125, b"ping payload", F(PONG, b"unsolicited pong payload")
    yield Case("2.1", "a ping without payload", [F(PING)], [(PONG, b"")])
    yield Case("2.2", "a ping with text", [F(PING, HELLO)], [(PONG, HELLO)])
    yield Case("2.3", "a ping with octets that are no text", [F(PING, ODD)], [(PONG, ODD)])
    yield Case("2.4", "a ping of 125 octets", [F(PING, full)], [(PONG, full)])
    yield Case("2.5", "a ping of 126 octets", [F(PING, full + b"\xfe")], closes=BAD)
    yield Case("2.6", "a ping of 125 octets, octet by octet", [F(PING, full)], [(PONG, full)], chop=1)
    yield Case("2.7", "a pong that nobody asked for", [F(PONG), close(1000)], closes=(1000,))
    yield Case("2.8", "the same with payload", [pong, close(1000)], closes=(1000,))
    yield Case("2.9", "the same, then a ping", [pong, F(PING, word)], [(PONG, word)])
    ten = [b"payload-%d" % i for i in range(10)]
    many = [F(PING, one) for one in ten]
    yield Case("2.10", "ten pings", many, [(PONG, one) for one in ten])
    yield Case("2.11", "ten pings, octet by octet", many, [(PONG, one) for one in ten], chop=1)


def reserved() -> Iterator[Case]:
    bits, hello = "a reserved bit", F(TEXT, HELLO)
    yield Case("3.1", bits, [F(TEXT, HELLO, rsv=1)], closes=BAD, early=True)
    for number, rsv, chop in ((2, 2, AT_ONCE), (3, 3, BY_FRAME), (4, 4, 1)):
        steps = [hello, F(TEXT, HELLO, rsv=rsv), F(PING)]
        yield Case(f"3.{number}", "a message, then a reserved bit", steps, echoed(HELLO), BAD, chop, may_drop=True)
    yield Case("3.5", bits, [F(BINARY, ODD, rsv=5)], closes=BAD)
    yield Case("3.6", bits, [F(PING, HELLO, rsv=6)], closes=BAD)
    yield Case("3.7", bits, [F(CLOSE, rsv=7)], closes=BAD)
    for group, first in ((1, 3), (2, 11)):
        about = "a reserved opcode"
        yield Case(f"4.{group}.1", about, [F(first)], closes=BAD)
        yield Case(f"4.{group}.2", about, [F(first + 1, b"reserved opcode payload")], closes=BAD)
        for number, payload, chop in ((3, b"", AT_ONCE), (4, HELLO, AT_ONCE), (5, HELLO, 1)):
            steps = [hello, F(first + number - 1, payload), F(PING)]
            told = "a message, then a reserved opcode"
            yield Case(f"4.{group}.{number}", told, steps, echoed(HELLO), BAD, chop, may_drop=True)


def fragments() -> Iterator[Case]:
    one, two, whole = F(TEXT, b"fragment1", fin=False), F(CONT, b"fragment2"), b"fragment1fragment2"
    ping, pong = F(PING, b"ping payload"), (PONG, b"ping payload")
    lone, message = F(CONT, b"non-continuation payload"), F(TEXT, HELLO)
    yield Case("5.1", "a ping in fragments", [F(PING, b"fragment1", fin=False), two], closes=BAD)
    yield Case("5.2", "a pong in fragments", [F(PONG, b"fragment1", fin=False), two], closes=BAD)
    for number, chop in ((3, AT_ONCE), (4, BY_FRAME), (5, 1)):
        yield Case(f"5.{number}", "a message in two fragments", [one, two], echoed(whole), chop=chop)
    for number, chop in ((6, AT_ONCE), (7, BY_FRAME), (8, 1)):
        hears = [pong, *echoed(whole)]
        yield Case(f"5.{number}", "a ping between two fragments", [one, ping, two], hears, chop=chop)
    for number, fin, chop in (
        *((9, True, AT_ONCE), (10, True, BY_FRAME), (11, True, 1)),
        *((12, False, AT_ONCE), (13, False, BY_FRAME), (14, False, 1)),
    ):
        steps = [lone._replace(fin=fin), message]
        yield Case(f"5.{number}", "nothing to continue", steps, closes=BAD, chop=chop, early=True)
    rest = [F(CONT, b"fragment3", fin=False), F(TEXT, b"fragment4")]
    about = "a message in fragments, then nothing to continue"
    yield Case("5.15", about, [one, two, *rest], echoed(whole), BAD, may_drop=True)
    start = F(TEXT, b"fragment2", fin=False)
    for number, fin in ((16, False), (17, True)):
        steps = [F(CONT, b"fragment1", fin=fin), start, F(CONT, b"fragment3")] * 2
        yield Case(f"5.{number}", "nothing to continue, twice", steps, closes=BAD, early=True)
    yield Case("5.18", "a message within another", [one, F(TEXT, b"fragment2")], closes=BAD)
    five = [F(CONT if at else TEXT, b"fragment%d" % (at + 1), fin=at == 4) for at in range(5)]
    first, second = F(PING, b"pongme 1!"), F(PING, b"pongme 2!")
    steps = [*five[:2], first, Heard(1), *five[2:4], second, five[4]]
    hears = [(PONG, first.payload), (PONG, second.payload), *echoed(b"".join(part.payload for part in five))]
    for number, chop in ((19, AT_ONCE), (20, BY_FRAME)):
        yield Case(f"5.{number}", "five fragments, pings answered between them", steps, hears, chop=chop)


def closing() -> Iterator[Case]:
    said, done = F(TEXT, b"Hello World!"), close(1000)
    normal, wrong, utf8 = (1000,), (1002,), (1002, 1007)
    yield Case("7.1.1", "a message, then a close", [said, Heard(1), done], echoed(said.payload), normal)
    yield Case("7.1.2", "two closes", [done, F(CLOSE)], closes=normal)
    yield Case("7.1.3", "a ping after the close", [done, F(PING)], closes=normal)
    yield Case("7.1.4", "a message after the close", [done, said], closes=normal, early=True)
    steps = [F(TEXT, b"fragment1", fin=False), done, F(CONT, b"fragment2")]
    yield Case("7.1.5", "a fragment, a close, the other fragment", steps, closes=normal)
    large = b"BAsd7&jh23" * (1 << 18)
    steps = [F(TEXT, large[: 1 << 18]), said, done, F(PING)]
    about = "256 KiB, a message and a close at once (nothing is required)"
    yield Case("7.1.6", about, steps, echoed(large[: 1 << 18], said.payload), normal, may_drop=True)
    yield Case("7.3.1", "a close without a code", [F(CLOSE)], closes=(1005,))
    yield Case("7.3.2", "a close of one octet", [F(CLOSE, b"a")], closes=wrong)
    yield Case("7.3.3", "a close with a code", [done], closes=normal)
    yield Case("7.3.4", "a close with a reason", [close(1000, b"Hello World!")], closes=normal)
    yield Case("7.3.5", "a close with a reason of 123 octets", [close(1000, b"*" * 123)], closes=normal)
    yield Case("7.3.6", "a close with a reason of 124 octets", [close(1000, b"*" * 124)], closes=wrong)
    surrogate = "κ\u1f79σμε".encode() + b"\xed\xa0\x80edited"
    yield Case("7.5.1", "a reason that is not UTF-8", [close(1000, surrogate)], closes=utf8)
    valid = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
    for number, code in enumerate(valid, 1):
        yield Case(f"7.7.{number}", "a code that may be sent comes back", [close(code)], closes=(code,))
    for number, code in enumerate((0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999), 1):
        yield Case(f"7.9.{number}", "a code that may not be sent", [close(code)], closes=wrong)
    for number, code in enumerate((5000, 65535), 1):
        about = "a code out of range (nothing is required)"
        yield Case(f"7.13.{number}", about, [close(code)], closes=wrong)


#: Octets of the large messages of groups 9 and 10: Autobahn's 4 MiB are more than a message of ours may have.
LARGE = 1 << 20


def large() -> Iterator[Case]:
    data = b"BAsd7&jh23" * (LARGE // 10 + 1)
    for group, opcode in ((1, TEXT), (2, BINARY)):
        for number, size in enumerate((1 << 16, 1 << 18, 1 << 20), 1):
            yield Case(f"9.{group}.{number}", "a large message", [F(opcode, data[:size])], echoed(data[:size]))
        for number, size in enumerate((1 << 22, 1 << 23, 1 << 24), 4):
            steps = [F(opcode, data[: 1 << 16], says=size)]
            yield Case(f"9.{group}.{number}", "past the limit of 2 MiB: refused with 1009", steps, closes=(1009,))
    for group, opcode in ((3, TEXT), (4, BINARY)):
        for number, size in enumerate((64, 256, 1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 22), 1):
            steps = pieces(data[:LARGE], size, opcode)
            yield Case(f"9.{group}.{number}", "1 MiB (not 4) in fragments", steps, echoed(data[:LARGE]))
    for group, opcode in ((5, TEXT), (6, BINARY)):
        for number, chop in enumerate((64, 128, 256, 512, 1024, 2048), 1):
            part = data[: 1 << 18]
            about = "256 KiB (not 1 MiB) in chops"
            yield Case(f"9.{group}.{number}", about, [F(opcode, part)], echoed(part), chop=chop)
    for group, opcode in ((7, TEXT), (8, BINARY)):
        for number, size in enumerate((0, 16, 64, 256, 1024, 4096), 1):
            turns = [step for at in range(100) for step in (F(opcode, data[:size]), Heard(at + 1))]
            about = "100 messages (not 1,000) there and back"
            yield Case(f"9.{group}.{number}", about, turns, echoed(*[data[:size]] * 100))
    yield Case("10.1.1", "65,536 octets in fragments of 1,300", pieces(data[:65536], 1300), echoed(data[:65536]))


def cases() -> List[Case]:
    """All, in order."""
    made = (framing, pings, reserved, fragments, texts, closing, large)
    return [case for group in made for case in group()]
