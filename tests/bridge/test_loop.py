"""The loop in a thread: what is handed to it is done in order, and waiting for it can be interrupted."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from typing import Any, Iterator, List

import anyio
import anyio.lowlevel
import pytest

from bridge.loop import Loop, Outcome, Stopped


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.stop(nothing)


async def nothing() -> None:
    """What is left to do."""


async def double(number: int) -> int:
    await anyio.lowlevel.checkpoint()
    return 2 * number


def test_run_gives_what_the_function_returns_and_raises_what_it_raises(loop: Loop) -> None:
    async def fail() -> None:
        raise KeyError("of the loop")

    assert loop.run(double, 21) == 42
    with pytest.raises(KeyError, match="of the loop"):
        loop.run(fail)
    assert loop.run(double, 4) == 8


def test_what_each_thread_posts_is_done_in_its_order(loop: Loop) -> None:
    done: List[Any] = []

    def post(name: str) -> None:
        for number in range(2000):
            loop.post(done.append, (name, number))

    threads = [threading.Thread(target=post, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    loop.run(double, 0)
    for name in "abc":
        assert [number for who, number in done if who == name] == list(range(2000))


def test_work_that_fails_does_not_stop_what_comes_after(loop: Loop) -> None:
    done: List[int] = []
    loop.post(done.index, 5)
    loop.post(done.append, 1)
    loop.run(double, 0)
    assert done == [1]


def test_work_that_posts_work_does_not_keep_the_loop_from_its_sockets(loop: Loop) -> None:
    posting = True

    def again() -> None:
        if posting:
            loop.post(again)

    again()
    assert loop.run(double, 3) == 6
    posting = False


def test_a_signal_interrupts_a_wait(loop: Loop) -> None:
    class Interrupted(Exception):
        pass

    def interrupt(*_: Any) -> None:
        raise Interrupted

    async def never() -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        await anyio.sleep_forever()

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with pytest.raises(Interrupted):
            loop.run(never)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert loop.run(double, 1) == 2


def test_it_works_within_a_running_loop(loop: Loop) -> None:
    async def program() -> int:
        return loop.run(double, 10)

    assert asyncio.run(program()) == 20


def test_after_it_ended_nothing_waits(loop: Loop) -> None:
    waiting = Outcome()

    def wait() -> None:
        try:
            loop.run(anyio.sleep_forever)
        except Stopped as error:
            waiting.set(error)

    begun = threading.Thread(target=wait)
    begun.start()
    while not loop._running:
        pass
    loop.stop(nothing)
    assert isinstance(waiting.wait(), Stopped)
    with pytest.raises(Stopped):
        loop.run(double, 1)
    with pytest.raises(Stopped):
        loop.post(nothing)
    begun.join()
