"""A thread in the loop's place: in its turn alone, whole whatever signals come, and nothing is left undone."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any, Iterator, List

import pytest

from bridge.aside import Turn
from bridge.loop import ASLEEP, Loop

PATIENCE = 10.0


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.stop(nothing)


@pytest.fixture
def turn() -> Iterator[Turn]:
    made = Turn()
    yield made
    made.close()


async def nothing() -> None:
    """What is left to do."""


def asleep(loop: Loop) -> None:
    """Wait until the loop has nothing to do, and does not even doze."""
    while loop._state != ASLEEP:
        loop.run(nothing)
        threading.Event().wait(0.005)


def test_work_that_is_queued_is_done_by_the_thread_that_is_in_a_hurry(loop: Loop) -> None:
    def work(name: str) -> None:
        done.append((name, threading.current_thread()))

    done: List[Any] = []
    for _ in range(100):
        asleep(loop)
        del done[:]
        loop.queue(work, "first")
        loop.queue(work, "second")
        loop.hurry()
        if len(done) == 2 and done[0][1] is threading.current_thread():
            break
    assert done == [("first", threading.current_thread()), ("second", threading.current_thread())]


def test_what_only_the_loop_may_do_keeps_its_place(loop: Loop) -> None:
    done: List[Any] = []
    asleep(loop)
    loop.queue(done.append, 1)
    loop.post(lambda: done.append(threading.current_thread()))
    loop.queue(done.append, 3)
    loop.hurry()
    loop.run(nothing)
    assert done == [1, loop._thread, 3]


def test_the_loop_is_woken_for_what_is_left(loop: Loop) -> None:
    called = threading.Event()

    def rest() -> bool:
        loop._loop.call_soon(called.set)  # as a transport does whose socket takes no more
        return True

    for _ in range(20):
        asleep(loop)
        called.clear()
        loop.queue(lambda: rest)
        loop.hurry()
        assert called.wait(PATIENCE)


def test_many_threads_in_a_hurry_leave_nothing_undone_and_keep_their_order(loop: Loop) -> None:
    done: List[Any] = []
    together: List[int] = []
    inside = [0]

    def work(name: int, number: int) -> None:
        inside[0] += 1
        together.append(inside[0])
        done.append((name, number))
        inside[0] -= 1

    def program(name: int) -> None:
        for number in range(1000):
            (loop.post if number % 7 == 0 else loop.queue)(work, name, number)
            (loop.hurry if number % 3 else loop.linger)()

    threads = [threading.Thread(target=program, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    loop.hurry()
    loop.run(nothing)
    assert len(done) == 4000
    assert set(together) == {1}
    for name in range(4):
        assert [number for who, number in done if who == name] == list(range(1000))


def test_who_has_the_turn_lends_it_to_nobody(turn: Turn) -> None:
    assert not turn.lend(lambda: pytest.fail("it is not free"))
    seen: List[bool] = []
    other = threading.Thread(target=lambda: seen.append(turn.lend(nothing)))
    other.start()
    other.join(PATIENCE)
    assert seen == [False]


def test_the_turn_is_free_while_the_selector_waits_and_again_after_work_that_failed(turn: Turn) -> None:
    begun, done = threading.Event(), threading.Event()
    reader, writer = os.pipe()
    turn.register(reader, 1)

    def wait() -> None:
        begun.set()
        turn.select(PATIENCE)
        done.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert begun.wait(PATIENCE)
    lent: List[int] = []
    while not turn.lend(lambda: lent.append(1)):
        pass
    with pytest.raises(KeyError):
        turn.lend(lambda: {}[0])
    assert turn.lend(lambda: os.write(writer, b"x"))
    assert done.wait(PATIENCE)
    waiting.join(PATIENCE)
    assert not turn.lend(lambda: pytest.fail("it came back from its wait"))
    os.close(reader)
    os.close(writer)


def test_a_signal_waits_until_the_work_is_done(turn: Turn) -> None:
    done: List[str] = []

    def work() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGALRM)
        for _ in range(1000):
            done.append("step")

    class Late(Exception):
        pass

    def alarm(*_: Any) -> None:
        raise Late

    turn._lock.release()  # as while it selects
    before = signal.signal(signal.SIGALRM, alarm)
    try:
        with pytest.raises((KeyboardInterrupt, Late)) as caught:
            turn.lend(work)
        assert {caught.type, type(caught.value.__context__)} == {KeyboardInterrupt, Late}
        assert len(done) == 1000
        assert signal.getsignal(signal.SIGALRM) is alarm
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert turn.lend(lambda: done.append("again"))
    finally:
        signal.signal(signal.SIGALRM, before)
