"""What is told leaves together, in its order; nothing of it is lost, and what goes wrong is known by its name."""

from __future__ import annotations

import threading
from typing import Any, List, Tuple

import pytest

from asyncsyft.errors import LinkClosed
from asyncsyft.wire import Program
from bridge.desks import Desk
from bridge.messages import Arriving, Call, Message
from bridge.telling import FULL, MOST, Sheaf, Telling

CALL, OTHER = Call(b"root", 1), Call(b"other", 1)


class Talk:
    """Keeps what is asked of it."""

    def __init__(self) -> None:
        self.asked: List[Tuple[Any, List[Any]]] = []

    def ask(self, request: Any, steps: Any, body: Any, lane: int) -> None:
        whole = b"".join(bytes(piece) + b"\0" * (-len(piece) % 8) for piece in body)
        arrived = Arriving(Program(0, steps, []), memoryview(whole))
        self.asked.append((request, [bytes(message) for message, _ in arrived.messages()]))


class Loop:
    """Does its work when it is told to."""

    def __init__(self) -> None:
        self.work: List[Any] = []

    def queue(self, work: Any, *args: Any) -> None:
        self.work.append((work, args))

    def hurry(self) -> None:
        while self.work:
            work, args = self.work.pop(0)
            work(*args)

    def linger(self) -> None:
        """Later."""


@pytest.fixture
def telling() -> Any:
    return Telling(Loop(), Talk())  # type: ignore[arg-type]


def words(telling: Telling) -> List[Any]:
    return [messages for _, messages in telling._talk.asked]  # type: ignore[attr-defined]


def test_messages_leave_together_when_the_loop_has_time(telling: Telling) -> None:
    for number in range(5):
        telling.tell(CALL, Message(b"%d" % number), "add", [])
    assert words(telling) == []
    telling._loop.hurry()
    telling.tell(CALL, Message(b"5"), "add", [])
    telling._loop.hurry()
    assert words(telling) == [[b"0", b"1", b"2", b"3", b"4"], [b"5"]]


def test_what_is_told_after_a_question_does_not_overtake_it(telling: Telling) -> None:
    def question(talk: Any) -> None:
        talk.asked.append((None, "question"))
        telling.tell(CALL, Message(b"while it leaves"), None, [])

    telling.tell(CALL, Message(b"before"), "add", [])
    telling.ask(question)
    telling.tell(CALL, Message(b"after"), "add", [])
    telling._loop.hurry()
    assert words(telling) == [[b"before"], "question", [b"while it leaves"], [b"after"]]


def test_other_threads_have_requests_of_their_own_and_the_order_is_that_of_all(telling: Telling) -> None:
    for call, word in ((CALL, b"a"), (CALL, b"b"), (OTHER, b"c"), (CALL, b"d"), (CALL, b"e")):
        telling.tell(call, Message(word), "add", [])
    telling._loop.hurry()
    assert words(telling) == [[b"a", b"b"], [b"c"], [b"d", b"e"]]


def test_a_sheaf_is_full_by_number_and_by_size(telling: Telling) -> None:
    for _ in range(MOST + 1):
        telling.tell(CALL, Message(b"small"), "add", [])
    for _ in range(3):
        telling.tell(CALL, Message(b"x" * (FULL // 2)), "add", [])
    telling._loop.hurry()
    assert [len(messages) for messages in words(telling)] == [MOST, 3, 1]


def test_what_went_wrong_is_known_by_its_operation_once_all_is_done(telling: Telling) -> None:
    problems: List[Any] = []
    desk = Desk()
    for operation in ("add", None, "mul"):
        telling.tell(CALL, Message(b"message"), operation, problems)
    (sheaf,) = telling.under_way
    sheaf.later.append(desk)
    telling._loop.hurry()
    sheaf.value(2, {"text": "second"})
    sheaf.value(0, {"text": "first"})
    assert not sheaf.wants(2)
    assert not sheaf.wants(3)
    assert (telling.told, telling.answered, sheaf.done) == (3, 0, False)
    sheaf.settled()
    desk.wait(sheaf, 10)
    assert problems == [{"text": "first", "operation": "add"}, {"text": "second", "operation": "mul"}]
    assert (telling.told, telling.answered, len(telling.under_way)) == (3, 3, 0)


def test_a_link_that_is_lost_is_no_news_where_only_deletes_were_on_their_way(telling: Telling) -> None:
    loud: List[Any] = []
    quiet: List[Any] = []
    telling.tell(CALL, Message(b"delete"), None, quiet)
    telling.tell(OTHER, Message(b"delete"), None, loud)
    telling.tell(OTHER, Message(b"add"), "add", loud)
    first, second = telling.under_way
    telling._loop.hurry()
    lost = LinkClosed("gone")
    first.lost(lost)
    second.lost(lost)
    assert (quiet, loud) == ([], [lost])
    assert telling.told == telling.answered == 3


def test_what_cannot_be_sent_is_said(telling: Telling) -> None:
    problems: List[Any] = []
    telling.tell(Call(b"root", 1000), Message(b"deep"), "add", problems)
    telling._loop.hurry()
    assert "deep" in str(problems[0])
    assert not telling.under_way


def test_nothing_is_lost_while_the_loop_binds_what_threads_put_in(telling: Telling) -> None:
    def program(name: bytes) -> None:
        call = Call(name, 1)
        for number in range(3000):
            telling.tell(call, Message(b"%s %d" % (name, number)), "add", [])
        done.append(name)

    done: List[bytes] = []
    threads = [threading.Thread(target=program, args=(name,)) for name in (b"a", b"b")]
    for thread in threads:
        thread.start()
    while len(done) < 2:
        telling._loop.hurry()
    telling._loop.hurry()
    for thread in threads:
        thread.join(10)
    came = [word for messages in words(telling) for word in messages]
    for name in (b"a", b"b"):
        assert [word for word in came if word.startswith(name)] == [b"%s %d" % (name, n) for n in range(3000)]


def test_a_sheaf_that_left_takes_nothing_more(telling: Telling) -> None:
    telling.tell(CALL, Message(b"first"), "add", [])
    (sheaf,) = telling.under_way
    assert isinstance(sheaf, Sheaf)
    telling._loop.hurry()
    assert not sheaf.put(Message(b"late"), "add")
