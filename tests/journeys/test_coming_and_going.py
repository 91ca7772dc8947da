"""Journeys of those who join and leave: names, restarts, goodbyes, and what is told to whom."""

from __future__ import annotations

import gc
from typing import Any, List

import anyio
import numpy as np
import pytest

import asyncsyft
from asyncsyft.errors import LinkClosed, LinkError, Refused, UnknownPeer, WorkerLost
from asyncsyft.worker import Worker
from tests.journeys.kit import bystander, town, until

pytestmark = pytest.mark.anyio


async def test_workers_come_and_go(relayed: str) -> None:
    async with town(relayed) as made, made.connect() as driver:
        with pytest.raises(UnknownPeer, match="no worker 'alice' is there; workers: none"):
            driver["alice"]
        found: List[Any] = []

        async def wait() -> None:
            found.extend(await driver.wait_for("bob", "alice"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            async with made.worker("alice"):
                async with made.worker("bob"):
                    await until(lambda: found)
                    assert [worker.name for worker in found] == ["bob", "alice"]
                    assert sorted(driver.workers) == ["alice", "bob"]
                await until(lambda: "bob" not in driver.workers)
                with pytest.raises(UnknownPeer, match="workers: alice"):
                    driver["bob"]
                x = await driver["alice"].send(np.ones(3))
                np.testing.assert_array_equal(await x.get(), np.ones(3))


async def test_wait_for_ends_with_the_link_and_with_the_deadline(relayed: str) -> None:
    async with town(relayed, "alice") as made, made.connect() as driver:
        await driver.wait_for("alice")
        with pytest.raises(TimeoutError):
            with anyio.fail_after(0.01):
                await driver.wait_for("alice", "nobody")
        assert not driver._arrivals

        async def lose() -> None:
            made.dialled[-1].abort()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lose)
            with pytest.raises(LinkError):
                await driver.wait_for("nobody")
        with pytest.raises(LinkError):
            await driver.wait_for("nobody")


async def test_a_second_alice_is_refused_and_the_first_goes_on(relayed: str) -> None:
    async with town(relayed, "alice") as made, bystander(made):
        async with Worker("alice") as second:
            with pytest.raises(Refused, match="the name 'alice' is taken"):
                await second.join(await made.dial())
        with pytest.raises(Refused, match="the name 'alice' is taken"):
            async with made.connect("alice"):
                pass


async def test_a_restarted_worker_is_another_life(relayed: str) -> None:
    async with town(relayed, "bob") as made, made.connect() as driver, bystander(made, "bob"):
        async with made.worker("alice"):
            (before,) = await driver.wait_for("alice")
            x = await before.send(np.ones(3))
            await driver.flush()
        await until(lambda: "alice" not in driver.workers)
        with pytest.raises(WorkerLost, match="alice"):
            await x.get()
        with pytest.raises(WorkerLost, match="alice"):
            x + x
        with pytest.raises(WorkerLost, match="alice"):
            await before.send(np.ones(3))
        async with made.worker("alice"):
            (after,) = await driver.wait_for("alice")
            assert after is not before
            y = await after.send(np.ones(3))
            np.testing.assert_array_equal(await y.get(), np.ones(3))
            with pytest.raises(WorkerLost, match="alice"):
                await x.get()


async def test_steps_under_way_when_a_worker_is_lost_are_told_to_flush(road: str) -> None:
    async with town(road, "alice") as made, made.connect() as driver:
        (alice,) = await driver.wait_for("alice")
        x = alice.call("ones", (600, 600))
        kept = [x @ x for _ in range(20)]
        alice.recorder.close_program()
        worker = made.workers["alice"]
        await until(lambda: worker.executor.jobs)

        async def lose() -> None:
            for link in [road.link for road in worker.peer.roads]:
                link.transport.abort()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lose)
            with pytest.raises(WorkerLost, match="alice") as caught:
                await driver.flush()
        assert caught.value.also == []
        await driver.flush()  # once
        with pytest.raises(WorkerLost) as again:
            await kept[-1].get()
        assert repr(again.value.__cause__) == repr(caught.value)  # which names no tensor
        await until(lambda: not worker.executor.jobs)


async def test_a_scope_is_told_of_a_lost_worker_too(relayed: str) -> None:
    async with town(relayed) as made, made.connect() as driver:
        async with made.worker("alice") as worker:
            (alice,) = await driver.wait_for("alice")
            x = await alice.send(np.ones(2))
            await driver.flush()
            with pytest.raises(WorkerLost, match="alice"):
                async with driver.scope():
                    kept = x + x
                    (road,) = worker.peer.roads
                    road.link.transport.abort()
            del kept
            await driver.flush()


async def test_a_goodbye_releases_at_once_and_a_vanished_driver_later(road: str) -> None:
    async with town(road, "alice", resume_grace=0.05) as made:
        store = made.workers["alice"].store
        async with made.connect() as driver:
            (alice,) = await driver.wait_for("alice")
            x = await alice.send(np.ones(100))
            await driver.flush()
            assert store.objects == 1
        await until(lambda: not store.spaces)
        async with made.connect() as driver:
            (alice,) = await driver.wait_for("alice")
            x = await alice.send(np.ones(100))
            await driver.flush()
            made.dialled[-1].abort()
            await until(lambda: not made.workers["alice"].peer.conversations.roads)
            assert store.objects == 1  # kept for resume_grace
            with pytest.raises(WorkerLost, match="alice"):
                await x.get()
            await until(lambda: not store.spaces)
        del x


async def test_last_words_arrive_before_the_news_that_a_worker_left() -> None:
    async with town("memory") as made, made.connect() as driver:
        async with made.worker("alice"):
            (alice,) = await driver.wait_for("alice")
            x = alice.call("ones", (1 << 15,))  # 256 KiB, which fills the road to a driver that does not read
            await driver.flush()
            made.dialled[0].pause()  # type: ignore[attr-defined]
            asked = [alice.recorder.ask(["get", 0, [x.id]]) for _ in range(3)]
            alice.recorder.close_program()
            await until(lambda: sum(member.waiting for member in made.relay.members.values()) > 1 << 19)
        made.dialled[0].resume()  # type: ignore[attr-defined]
        for slot in asked:
            np.testing.assert_array_equal(await slot, np.ones(1 << 15))
        await until(lambda: "alice" not in driver.workers)


async def test_open_and_aclose_from_different_tasks(relayed: str) -> None:
    async with town("relay", "alice") as made:
        drivers: List[Any] = []

        async def enter() -> None:
            drivers.append(await asyncsyft.open(made.url, name="notebook"))

        async def leave() -> None:
            await drivers[0].aclose()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(enter)
        (driver,) = drivers
        (alice,) = await driver.wait_for("alice")
        x = await alice.send(np.arange(3))
        np.testing.assert_array_equal(await (x + x).get(), [0, 2, 4])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(leave)
        await driver.aclose()  # twice does no harm
        with pytest.raises(LinkError):
            await x.get()
        del x
        gc.collect()


async def test_open_says_why_it_could_not() -> None:
    async with town("relay", "alice") as made:
        with pytest.raises(Refused, match="taken"):
            await asyncsyft.open(made.url, name="alice")
        url = made.url
    with pytest.raises(LinkClosed, match="no relay at"):
        await asyncsyft.open(url)
