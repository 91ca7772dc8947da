"""Conversations that park and resume, and roads that are dialled again: who may go on with whom, and when."""

from __future__ import annotations

import itertools
from typing import Any

import anyio
import anyio.lowlevel
import numpy as np
import pytest

from asyncsyft import wire
from asyncsyft.driver import Driver
from asyncsyft.errors import LinkClosed, Refused
from asyncsyft.identity import Key
from asyncsyft.peer import conversations, redial
from asyncsyft.transport import Transport, memory_pair
from asyncsyft.worker import Worker
from tests.journeys.kit import LOOPBACK, SECONDS, memory, town, until
from tests.journeys.scripted import packed, scripted

pytestmark = pytest.mark.anyio
LONG = 10.0


def test_pauses_grow_to_a_limit_and_no_two_peers_come_at_once() -> None:
    some, others = (list(itertools.islice(redial.pauses(), 40)) for _ in range(2))
    assert some != others
    for tried, pause in enumerate(some):
        longest = min(redial.LONGEST_PAUSE, redial.FIRST_PAUSE * 2 ** min(tried, 16))
        assert (0 if not tried else longest / 2) <= pause <= longest
    assert max(some) > redial.LONGEST_PAUSE / 2


async def test_it_dials_until_somebody_is_there_and_lets_it_in(monkeypatch: Any) -> None:
    monkeypatch.setattr(redial, "FIRST_PAUSE", 0.001)
    async with town("memory", "alice") as made, made.connect(resume_grace=LONG) as driver:
        (alice,) = await driver.wait_for("alice")
        x = await alice.send(np.arange(3.0))
        await driver.flush()
        made.workers["alice"].peer.resume_grace = LONG
        faults = iter([LinkClosed("nobody is there"), OSError("no route"), TimeoutError(), "hangs up"])

        async def dial() -> Transport:
            fault = next(faults, None)
            if isinstance(fault, Exception):
                raise fault
            near, far = memory_pair()
            if fault is None:
                made.relay.attach(far)
            else:
                far.abort()
            return near

        driver._redialling.dial = dial
        made.dialled[-1].abort()
        await until(lambda: driver.peer.redials == 1)
        np.testing.assert_array_equal(await x.get(), np.arange(3.0))
        del x


async def test_the_time_of_grace_begins_anew_with_each_loss(monkeypatch: Any) -> None:
    """The timer of a loss that was made good does not end what is parked again."""
    sleeping = []
    real = anyio.sleep

    async def sleep(seconds: float) -> None:
        if seconds == 77.0:
            sleeping.append(anyio.Event())
            await sleeping[-1].wait()
        else:
            await real(seconds)

    monkeypatch.setattr(conversations.anyio, "sleep", sleep)
    monkeypatch.setattr(redial, "FIRST_PAUSE", 0.001)
    async with town("memory", "alice", resume_grace=77.0) as made, made.connect(resume_grace=LONG) as driver:
        (alice,) = await driver.wait_for("alice")
        x = await alice.send(np.arange(3.0))
        await driver.flush()
        theirs = made.workers["alice"].peer.conversations
        driver.peer.roads[0].link.transport.abort()
        await until(lambda: len(sleeping) == 1)
        await x.get()
        parked = driver._redialling.dial
        hold = anyio.Event()

        async def later() -> Transport:
            await hold.wait()
            return await parked()

        driver._redialling.dial = later
        driver.peer.roads[0].link.transport.abort()
        await until(lambda: len(sleeping) == 2)
        sleeping[0].set()
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        assert len(theirs.parked) == 1
        hold.set()
        np.testing.assert_array_equal(await x.get(), np.arange(3.0))
        sleeping[1].set()
        del x


async def test_no_more_are_parked_than_there_is_room_for(monkeypatch: Any) -> None:
    monkeypatch.setattr(conversations, "MAX_PARKED", 1)
    async with town("memory", "alice", resume_grace=0.2) as made:
        alice = made.workers["alice"].peer
        async with scripted(await made.dial()) as one, scripted(await made.dial()) as two:
            for peer, name in ((one, "one"), (two, "two")):
                await peer.hello(name)
                await peer.resume(peer.find("alice").number, alice.incarnation)
            assert len(alice.conversations.by_life) == 2
        await until(lambda: len(alice.conversations.by_life) == 1)
        assert len(alice.conversations.parked) == 1


@pytest.mark.parametrize(("received", "asked"), [(3, 0), (3, 3)])
async def test_what_was_given_up_is_not_gone_on_with(received: int, asked: int) -> None:
    async with town("memory", "alice") as made, scripted(await made.dial()) as mallory:
        await mallory.hello("mallory")
        alice = mallory.find("alice")
        meta = [mallory.incarnation, alice.incarnation, received, 0, {}, asked]
        mallory.say(packed(wire.RESUME, meta, to=alice.number, number=5))
        refused = await mallory.hears(wire.REFUSED)
        assert (refused.id, wire.parse(refused).code) == (5, "UnknownPeer")
        assert not made.workers["alice"].peer.conversations.by_life
        await mallory.resume(alice.number, alice.incarnation)  # something new is welcome


@pytest.mark.parametrize("others", [0, 1])
async def test_what_came_before_it_ended_is_not_run_again(others: int, monkeypatch: Any) -> None:
    monkeypatch.setattr(conversations, "MAX_ENDED", 1)  # with one more nobody knows who was here
    async with town("memory", "alice") as made, scripted(await made.dial()) as mallory:
        if others:
            made.workers["alice"].peer.conversations._ended.add(b"somebody")
        await mallory.hello("mallory")
        alice = mallory.find("alice")
        await mallory.resume(alice.number, alice.incarnation)
        put = ["put", 7, [], {"dtype": "<f8", "shape": [2], "at": 0}]
        assert await mallory.answers(mallory.program(alice.number, [put], np.ones(2).tobytes())) == []
        mallory.say(packed(wire.GOODBYE, ["", ""], to=alice.number))
        meta = [mallory.incarnation, alice.incarnation, 0, 0, {}, 1]
        mallory.say(packed(wire.RESUME, meta, to=alice.number, number=5))
        refused = await mallory.hears(wire.REFUSED)
        assert (refused.id, wire.parse(refused).code) == (5, "UnknownPeer")
        await mallory.resume(alice.number, alice.incarnation)


async def test_what_never_came_is_sent_again() -> None:
    async with town("memory", "alice") as made, made.connect(resume_grace=LONG) as driver:
        (alice,) = await driver.wait_for("alice")
        x = await alice.send(np.arange(3.0))
        made.dialled[-1].abort()  # nothing has left yet: what was asked is in the first resume that comes
        assert not made.workers["alice"].peer.conversations.by_life
        np.testing.assert_array_equal(await x.get(), np.arange(3.0))
        assert driver.peer.redials == 1
        del x


async def test_a_far_end_that_forgot_what_it_asked_begins_anew() -> None:
    async with town("memory", "alice") as made, scripted(await made.dial()) as mallory:
        await mallory.hello("mallory")
        alice = mallory.find("alice")
        await mallory.resume(alice.number, alice.incarnation)
        put = ["put", 7, [], {"dtype": "<f8", "shape": [2], "at": 0}]
        assert await mallory.answers(mallory.program(alice.number, [put], np.ones(2).tobytes())) == []
        worker = made.workers["alice"]
        worker.peer.resume_grace = LONG
        before = worker.peer.conversations.by_life[mallory.incarnation]
        mallory.transport.abort()
        await until(lambda: worker.peer.conversations.parked)
        async with scripted(await made.dial()) as again:
            again.incarnation = mallory.incarnation
            await again.hello("mallory")
            await again.resume(alice.number, alice.incarnation)
            await until(lambda: worker.peer.conversations.by_life.get(mallory.incarnation) not in (None, before))
            await until(lambda: worker.store.objects == 0)
            assert await again.answers(again.program(alice.number, [put], np.ones(2).tobytes())) == []
        worker.peer.resume_grace = 0
        await until(lambda: not worker.peer.conversations.roads)
        for talk in worker.peer.conversations.parked:
            worker.peer.conversations.end(talk, LinkClosed("the test ends"))


@pytest.mark.parametrize("same_key", [True, False])
async def test_a_newer_link_to_a_listening_worker_wins_if_it_proves_the_same_key(same_key: bool) -> None:
    async def dial() -> Transport:
        near, far = memory_pair()
        worker._tasks.start_soon(worker.peer.accept, far, worker._admit)
        return near

    key = Key.new()
    with anyio.fail_after(SECONDS):
        async with Worker("alice", listen=LOOPBACK, resume_grace=LONG) as worker:
            async with Driver(dial, "driver", key=key, resume_grace=LONG) as driver:
                (alice,) = await driver.wait_for("alice")
                x = await alice.send(np.arange(3.0))
                await driver.flush()
                (half_open,) = worker.peer.roads
                ours = memory(driver.peer.roads[0].link.transport)
                ours.peer.pause()
                ours.peer = memory_pair()[0]  # what the driver does is not seen there any more
                if not same_key:
                    driver.peer.key = Key.new()
                    with pytest.raises(Refused, match="not the key that it proved"):
                        await driver.peer.join(await dial())
                    assert worker.peer.roads == [half_open]
                    driver.peer.key = key
                ours.abort()
                np.testing.assert_array_equal(await x.get(), np.arange(3.0))
                await until(lambda: half_open not in worker.peer.roads)
                assert driver["alice"] is alice
                del x
