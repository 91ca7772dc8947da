"""Journeys of someone who computes: tensors go out, work is named before it is done, results come back."""

from __future__ import annotations

import gc
from typing import Any, List

import anyio
import numpy as np
import pytest

from asyncsyft.errors import UnknownObject
from tests.journeys.kit import town, until

pytestmark = pytest.mark.anyio


async def test_send_add_get_delete(road: str) -> None:
    async with town(road, "alice") as made, made.connect() as driver:
        (alice,) = await driver.wait_for("alice")
        ours = np.arange(12, dtype="<i8").reshape(3, 4)
        x = await alice.send(ours)
        y = await alice.send(ours * 10)
        z = x + y
        assert (z.shape, z.dtype, z.worker) == ((3, 4), np.dtype("<i8"), "alice")
        np.testing.assert_array_equal(await z.get(), ours * 11)
        for tensor in (x, y, z):
            tensor.delete()
        await driver.flush()
        assert made.workers["alice"].store.objects == 0


@pytest.mark.parametrize("descr", ["|b1", "|i1", "<i2", "<i4", "<u8", "<f4", "<f8", "<c8", "<c16"])
async def test_every_kind_of_number_comes_back_as_it_went(descr: str) -> None:
    async with town("memory", "alice") as made, made.connect() as driver:
        alice = driver["alice"]
        for shape in [(), (0,), (3, 0, 2), (2, 3)]:
            ours = np.ones(shape, descr)
            theirs = await (await alice.send(ours)).get()
            assert (theirs.dtype, theirs.shape) == (ours.dtype, ours.shape)
            np.testing.assert_array_equal(theirs, ours)


async def test_a_chain_of_a_hundred_waits_for_nothing(road: str) -> None:
    async with town(road, "alice") as made, made.connect() as driver:
        (alice,) = await driver.wait_for("alice")
        x = await alice.send(np.ones(4))
        total = x
        for _ in range(100):
            total = total + x
        assert made.workers["alice"].executor.steps_run == 0  # nothing gave it a turn yet
        np.testing.assert_array_equal(await total.get(), np.full(4, 101.0))


async def test_ten_thousand_steps_and_one_flush(road: str) -> None:
    async with town(road, "alice") as made, made.connect() as driver:
        (alice,) = await driver.wait_for("alice")
        x = await alice.send(np.ones(4))
        results = [x + x for _ in range(10_000)]
        await driver.flush()
        worker = made.workers["alice"]
        assert worker.store.objects == 10_001
        assert worker.executor.steps_run == 10_001
        np.testing.assert_array_equal(await results[-1].get(), np.full(4, 2.0))
        # Programs, not messages of one step each: the batches made themselves.
        assert made.dialled[-1].messages_sent < 200


async def test_256_tasks_in_flight_each_get_their_own(road: str) -> None:
    async with town(road, "alice") as made, made.connect() as driver:
        (alice,) = await driver.wait_for("alice")
        seen: List[int] = []

        async def ask(number: int) -> None:
            x = await alice.send(np.full(3, number))
            np.testing.assert_array_equal(await (x * 2).get(), np.full(3, number * 2))
            seen.append(number)

        async with anyio.create_task_group() as tasks:
            for number in range(256):
                tasks.start_soon(ask, number)
        assert sorted(seen) == list(range(256))


async def test_large_tensors_each_way(road: str) -> None:
    async with town(road, "alice") as made, made.connect() as driver:
        (alice,) = await driver.wait_for("alice")
        ours = np.arange(1 << 20, dtype="<f8")
        x = await alice.send(ours)
        theirs = await (x + x).get()
        np.testing.assert_array_equal(theirs, ours + ours)
        theirs[0] = 5.0  # an array of its own


async def test_what_python_forgets_is_deleted_without_a_request_of_its_own(road: str) -> None:
    async with town(road, "alice") as made, made.connect() as driver:
        (alice,) = await driver.wait_for("alice")
        store = made.workers["alice"].store
        x = await alice.send(np.ones(4))
        many = [x + x for _ in range(50)]
        await driver.flush()
        assert store.objects == 51
        asked = alice.recorder.conversation.last_id
        del many
        gc.collect()
        await x.get()
        await driver.flush()
        assert store.objects == 1
        assert alice.recorder.conversation.last_id == asked + 1


async def test_forgotten_tensors_are_deleted_even_if_nothing_else_is_asked(monkeypatch: Any) -> None:
    monkeypatch.setattr("asyncsyft.driver.SWEEP", 0.001)
    async with town("memory", "alice") as made, made.connect() as driver:
        x = await driver["alice"].send(np.ones(4))
        await driver.flush()
        del x
        gc.collect()
        await until(lambda: made.workers["alice"].store.objects == 0)


async def test_a_worker_s_own_data_is_found_by_name_and_tags(road: str) -> None:
    async with town(road, "alice") as made, made.connect() as driver:
        made.workers["alice"].load("digits", np.arange(10), ["test", "small"], release="always")
        made.workers["alice"].load("letters", np.zeros(26), tags=["test"])
        (alice,) = await driver.wait_for("alice")
        (digits,) = await alice.search("digits")
        np.testing.assert_array_equal(await (digits + 1).get(), np.arange(1, 11))
        assert sorted(t.shape for t in await alice.search("test")) == [(10,), (26,)]
        assert [t.shape for t in await alice.search("test", "small")] == [(10,)]
        assert await alice.search("nothing of the kind") == []
        digits.delete()  # the alias; the data is the worker's own
        assert len(await alice.search("digits")) == 1


async def test_a_driver_s_own_tags_are_found_and_described() -> None:
    async with town("memory", "alice") as made, made.connect() as driver:
        alice = driver["alice"]
        x = await alice.send(np.ones((2, 3), "<f4"), name="weights", tags=["round 1"])
        (found,) = await alice.search("weights", "round 1")
        np.testing.assert_array_equal(await found.get(), np.ones((2, 3)))
        info = await x.info()
        assert (info["name"], info["tags"], info["shape"], info["nbytes"]) == ("weights", ["round 1"], [2, 3], 24)


async def test_two_drivers_do_not_see_each_other_s_objects(road: str) -> None:
    async with town(road, "alice") as made, made.connect("one") as one, made.connect("two") as two:
        (mine,), (theirs,) = await one.wait_for("alice"), await two.wait_for("alice")
        secret = await mine.send(np.arange(4.0), name="secret", tags=["x"])
        await one.flush()
        assert await theirs.search("secret") == []
        guess = await theirs.send(np.zeros(4))
        await two.flush()
        mine_too, guess.id = guess.id, secret.id
        with pytest.raises(UnknownObject):
            await guess.get()
        guess.id = mine_too
        np.testing.assert_array_equal(await guess.get(), np.zeros(4))
        np.testing.assert_array_equal(await secret.get(), np.arange(4.0))


async def test_what_a_worker_counts() -> None:
    async with town("memory", "alice", limit=1 << 20) as made, made.connect() as driver:
        alice = driver["alice"]
        x = await alice.send(np.ones(16))
        stats = await alice.stats()
        assert (stats["objects"], stats["bytes"], stats["limit"]) == (1, 128, 1 << 20)
        assert await alice.ping() >= 0
        x.delete()
