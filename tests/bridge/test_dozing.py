"""The loop that dozes: what is in no hurry is done all the same, and what many pieces of work ask for is done once."""

from __future__ import annotations

import threading
from typing import Any, Iterator, List

import pytest

from bridge.loop import Loop

PATIENCE = 10.0


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.stop(nothing)


async def nothing() -> None:
    """What is left to do."""


def test_what_is_in_no_hurry_is_done_without_anything_that_is(loop: Loop) -> None:
    for _ in range(20):  # asleep, dozing or awake: whatever it is at
        done = threading.Event()
        loop.post_soon(done.set)
        assert done.wait(PATIENCE)


def test_what_is_in_a_hurry_does_not_overtake(loop: Loop) -> None:
    seen: List[int] = []
    for number in range(3000):
        (loop.post if number % 3 else loop.post_soon)(seen.append, number)
    loop.run(nothing)
    assert seen == list(range(3000))


def test_what_several_pieces_of_work_return_is_called_once_after_them(loop: Loop) -> None:
    seen: List[Any] = []
    together = threading.Event()

    def last() -> None:
        seen.append("last")

    def work(number: int) -> Any:
        seen.append(number)
        return last

    loop.post(together.wait, PATIENCE)  # its value is not to be called, and nothing else is begun meanwhile
    loop.post(lambda: None)
    for number in range(5):
        loop.post_soon(work, number)
    together.set()
    loop.run(nothing)
    assert [entry for entry in seen if entry != "last"] == [0, 1, 2, 3, 4]
    assert seen[-1] == "last"
    assert seen.count("last") <= 2


def test_what_fails_at_the_end_stops_nothing(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise KeyError("at the end")

    loop.post(lambda: fail)
    loop.run(nothing)
    assert "at the end" in caplog.text
