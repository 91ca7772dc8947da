"""When a link's loop stays awake: only where lately the next message came at once, and a processor is to spare."""

from __future__ import annotations

import os
from typing import Any

import anyio
import pytest

from asyncsyft.transport import Transport
from asyncsyft.websocket import dial, listen, vigil
from asyncsyft.websocket.vigil import LESS, MOMENT, MOST, NEAR, SMALL, TAKEN, Vigil
from tests.echo import Echo

SECONDS = 30
TRIPS = 200


class Clock:
    """Time as the test says; another process takes the processor for ``taken`` seconds when it is offered."""

    def __init__(self) -> None:
        self.now, self.taken = 1000.0, 0.0

    def __call__(self) -> float:
        return self.now

    def sched_yield(self) -> None:
        self.now += self.taken


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(vigil, "perf_counter", clock)
    monkeypatch.setattr(os, "sched_yield", clock.sched_yield, raising=False)
    monkeypatch.setattr(Vigil, "spare", 1)
    monkeypatch.setattr(Vigil, "up", {Vigil()})
    return clock


def come(one: Vigil, clock: Clock, after: float, size: int = 60, sent: int = 0) -> bool:
    """A message, so many seconds after the one before was dealt with; whether its loop stays awake then."""
    clock.now += after
    one.came(size, sent)
    return one.stays()


def test_who_has_never_heard_anything_sleeps(clock: Clock) -> None:
    assert not come(Vigil(), clock, 0.0)


def test_where_messages_follow_each_other_the_loop_stays_awake_for_a_moment(clock: Clock) -> None:
    one = Vigil()
    come(one, clock, 0.0)
    assert come(one, clock, NEAR / 2)
    clock.now += MOMENT / 2
    assert one.stays()
    clock.now += MOMENT
    assert not one.stays()


def test_where_they_do_not_it_sleeps(clock: Clock) -> None:
    one = Vigil()
    for _ in range(MOST):
        assert not come(one, clock, 2 * NEAR)


def test_one_that_did_not_come_in_time_takes_trust_away_but_is_forgiven(clock: Clock) -> None:
    one = Vigil()
    come(one, clock, 0.0)
    assert come(one, clock, NEAR / 2)
    clock.now += 1.2 * MOMENT
    assert not any((one.stays(), one.stays(), one.stays()))  # only the first of these is a disappointment
    assert [come(one, clock, NEAR / 2) for _ in range(LESS)] == [False] * (LESS - 1) + [True]


def test_trust_has_an_end(clock: Clock) -> None:
    one = Vigil()
    for _ in range(10 * MOST):
        come(one, clock, MOMENT / 2)
    for _ in range(MOST // LESS):
        assert come(one, clock, 2 * NEAR)
        clock.now += 2 * MOMENT
        assert not one.stays()
    assert not come(one, clock, 2 * NEAR)


@pytest.mark.parametrize(("read", "sent"), [(SMALL + 1, SMALL), (SMALL, SMALL + 1)], ids=["read", "sent"])
def test_what_is_large_is_work_for_others(clock: Clock, read: int, sent: int) -> None:
    one = Vigil()
    for _ in range(MOST):
        come(one, clock, NEAR / 2)
    assert not come(one, clock, NEAR / 2, read, sent)
    one.came(SMALL, sent + SMALL)
    assert one.stays()  # trust begins anew
    clock.now += 1.2 * MOMENT
    assert not one.stays()
    assert not come(one, clock, NEAR / 2, sent=sent + SMALL)


def test_a_processor_that_somebody_else_took_is_left_to_them(clock: Clock) -> None:
    one = Vigil()
    come(one, clock, 0.0)
    assert come(one, clock, NEAR / 2)
    clock.taken = 2 * TAKEN
    assert not one.stays()


@pytest.mark.parametrize(("links", "spare", "stays"), [(1, 0, False), (1, 1, True), (2, 1, False), (2, 3, True)])
def test_each_link_needs_a_processor_beside_this_one(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, links: int, spare: int, stays: bool
) -> None:
    monkeypatch.setattr(Vigil, "up", {Vigil() for _ in range(links)})
    monkeypatch.setattr(Vigil, "spare", spare)
    one = Vigil()
    come(one, clock, 0.0)
    assert come(one, clock, NEAR / 2) is stays


class Asker(Echo):
    """Says a thing so many times, each when it was said back."""

    def __init__(self, transport: Transport, times: int) -> None:
        super().__init__(transport)
        self.left = times

    def receive(self, message: memoryview) -> None:
        self.left -= 1
        if self.left:
            super().receive(message)
        else:
            self.transport.close()


@pytest.mark.anyio
@pytest.mark.parametrize("spare", [-1, 2])
async def test_questions_one_by_one_are_answered_by_loops_that_stay_awake(
    monkeypatch: pytest.MonkeyPatch, spare: int
) -> None:
    before, stayed = len(Vigil.up), 0
    monkeypatch.setattr(Vigil, "spare", before + spare)
    monkeypatch.setattr(vigil, "NEAR", SECONDS)  # however slow this machine is
    original = Vigil.stays

    def counted(self: Vigil) -> bool:
        nonlocal stayed
        outcome = original(self)
        stayed += outcome
        return outcome

    monkeypatch.setattr(Vigil, "stays", counted)

    async def accept(transport: Transport, headers: Any) -> None:
        await transport.run(Echo(transport))

    with anyio.fail_after(SECONDS):
        async with listen("127.0.0.1", 0, accept) as listener:
            transport = await dial(f"ws://127.0.0.1:{listener.port}")
            asker = Asker(transport, TRIPS)
            asker.waiting.append(b"?")
            transport.wake()
            await transport.run(asker)
    assert asker.left == 0
    assert (stayed > 0) is (spare > 0)
    assert len(Vigil.up) == before
