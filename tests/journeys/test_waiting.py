"""Journeys of those who wait: deadlines, cancelled waits, heavy work beside small talk, bounds on recording."""

from __future__ import annotations

import threading
from typing import Any, List

import anyio
import numpy as np
import pytest

from asyncsyft import ops
from asyncsyft.errors import LimitExceeded
from asyncsyft.ops import Spec
from asyncsyft.remote import RemoteTensor
from asyncsyft.remote import recorder as recorder_module
from tests.journeys.kit import bystander, memory, town, until

pytestmark = pytest.mark.anyio

HEAVY = np.ones((600, 600))


class Gate:
    """Holds the worker's thread within a matmul until it is opened."""

    def __init__(self, monkeypatch: Any) -> None:
        self.opened, self.entered = threading.Event(), threading.Event()
        self.times = 0
        matmul = ops.OPS["matmul"].run

        def held(*args: Any, **kwargs: Any) -> Any:
            self.times += 1
            self.entered.set()
            assert self.opened.wait(30)
            return matmul(*args, **kwargs)

        monkeypatch.setattr(ops.OPS["matmul"], "run", held)


@pytest.fixture
def gate(monkeypatch: Any) -> Any:
    made = Gate(monkeypatch)
    yield made
    made.opened.set()


async def test_a_heavy_matmul_while_pings_and_others_are_answered(road: str, gate: Gate) -> None:
    async with town(road, "alice") as made, made.connect() as driver:
        (alice,) = await driver.wait_for("alice")
        x = await alice.send(HEAVY)
        product = x @ x
        done: List[str] = []

        async def wait_for_product() -> None:
            np.testing.assert_array_equal(await product.get(), HEAVY @ HEAVY)
            done.append("product")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait_for_product)
            await until(gate.entered.is_set)
            await alice.ping()
            async with bystander(made):
                done.append("bystander")
            gate.opened.set()
        assert done == ["bystander", "product"]


async def test_a_real_matmul_of_2000_while_another_driver_computes() -> None:
    async with town("memory", "alice") as made, made.connect() as driver:
        alice = driver["alice"]
        x = alice.call("ones", (2000, 2000))
        product = x @ x
        done = anyio.Event()

        async def wait_for_product() -> None:
            np.testing.assert_array_equal(await product[0, :3].get(), np.full(3, 2000.0))
            done.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait_for_product)
            await until(lambda: made.workers["alice"].executor.jobs)
            async with bystander(made) as other:
                await alice.ping()
                assert other.rounds > 0
                assert not done.is_set()


async def test_a_small_call_is_answered_before_a_large_tensor_lands(road: str) -> None:
    async with town(road, "alice") as made, made.connect() as driver:
        (alice,) = await driver.wait_for("alice")
        large = np.arange(8 << 20, dtype="<f8")  # 64 MiB
        landed = anyio.Event()
        sent: List[Any] = []

        async def send() -> None:
            sent.append(await alice.send(large))
            landed.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            worker = made.workers["alice"]
            await until(lambda: worker.executor._landings)
            small = await alice.send(np.arange(3))
            np.testing.assert_array_equal(await (small + 1).get(), [1, 2, 3])
            assert not landed.is_set()
        came: List[Any] = []

        async def get() -> None:
            came.append(await sent[0].get())
            landed.set()

        landed = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(get)
            conversation = alice.recorder.conversation
            await until(lambda: any(request.landings for request in conversation.unanswered.values()))
            np.testing.assert_array_equal(await (small + 2).get(), [2, 3, 4])
            assert not landed.is_set()
        assert came[0].shape == large.shape
        assert (came[0] == large).all()


async def test_steps_wait_for_a_tensor_that_arrives_and_others_do_not(road: str) -> None:
    async with town(road, "alice") as made, made.connect() as driver:
        (alice,) = await driver.wait_for("alice")
        ours = np.arange(1 << 19, dtype="<f8")
        out, landed = alice.recorder.put_large(ours)
        total = alice.call("sum", RemoteTensor(alice.recorder, out, Spec(ours.dtype, ours.shape)))
        alice.recorder.close_program()  # what follows is another program
        small = await alice.send(np.arange(3))
        np.testing.assert_array_equal(await small.get(), [0, 1, 2])
        assert not landed.is_set
        np.testing.assert_array_equal(await total.get(), ours.sum())
        assert landed.is_set


async def test_a_deadline_ends_the_wait_and_the_step_is_not_run(road: str, gate: Gate) -> None:
    async with town(road, "alice") as made, made.connect() as driver, bystander(made):
        (alice,) = await driver.wait_for("alice")
        x = await alice.send(HEAVY)
        product = x @ x
        asked = x + 1
        with anyio.move_on_after(0):  # a deadline that has passed: the get is queued and given up at once
            await product.get()
        await until(gate.entered.is_set)
        with pytest.raises(TimeoutError):
            with anyio.fail_after(0.01):
                await (asked + 1).get()
        gate.opened.set()
        np.testing.assert_array_equal(await x.get(), HEAVY)
        await driver.flush()
        assert gate.times == 1


async def test_a_cancelled_get_that_was_sent_is_not_run(gate: Gate) -> None:
    async with town("memory", "alice") as made, made.connect() as driver:
        alice, worker = driver["alice"], made.workers["alice"]
        x = await alice.send(HEAVY)
        product = x @ x
        await driver.ready()
        await until(gate.entered.is_set)
        scopes = [anyio.CancelScope() for _ in range(3)]

        async def give_up(scope: anyio.CancelScope) -> None:
            with scope:
                await product.get()
            assert scope.cancelled_caught

        before = made.dialled[0].bytes_sent
        async with anyio.create_task_group() as tasks:
            for scope in scopes:
                tasks.start_soon(give_up, scope)
            await until(lambda: len(worker.executor.jobs) > 1)  # the gets are there, and wait for the product
            for scope in scopes:
                scope.cancel()
        await until(lambda: sum(len(job.cancelled) for job in worker.executor.jobs.values()) == 3)
        gate.opened.set()
        await driver.flush()
        # Three answers of 2.9 MB each were not given.
        assert made.dialled[0].bytes_sent - before < 100_000


async def test_a_large_send_that_is_given_up_leaves_nothing(road: str) -> None:
    async with town(road, "alice") as made, made.connect() as driver, bystander(made):
        (alice,) = await driver.wait_for("alice")
        worker = made.workers["alice"]
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(alice.send, np.zeros(4 << 20))
                await until(lambda: worker.executor._landings)
                scope.cancel()
        await driver.flush()
        x = await alice.send(np.ones(3))
        np.testing.assert_array_equal(await x.get(), np.ones(3))
        await until(lambda: not worker.executor._landings)


@pytest.fixture
def tight(monkeypatch: Any) -> None:
    monkeypatch.setattr(recorder_module, "MAX_RECORDED_STEPS", 4000)
    monkeypatch.setattr(recorder_module, "MAX_RECORDED_BYTES", 4 << 20)


async def test_what_is_recorded_is_bounded_and_ready_makes_room(road: str, tight: None) -> None:
    async with town(road, "alice") as made, made.connect() as driver:
        (alice,) = await driver.wait_for("alice")
        x = await alice.send(np.ones(2))
        await driver.flush()
        kept: List[Any] = []
        with pytest.raises(LimitExceeded, match=r"await driver\.ready\(\)"):
            while len(kept) < 1_000_000:
                kept.append(x + x)
        await driver.ready()
        for _ in range(3):
            kept += [x + x for _ in range(1000)]
            await driver.ready()
        await driver.flush()
        assert made.workers["alice"].store.objects == len(kept) + 1


async def test_bytes_that_wait_are_bounded_too(road: str, tight: None) -> None:
    async with town(road, "alice") as made, made.connect() as driver:
        (alice,) = await driver.wait_for("alice")
        ours = np.zeros(1 << 13)  # 64 KiB
        kept: List[Any] = []
        for _ in range(3):
            with pytest.raises(LimitExceeded, match=r"await driver\.ready\(\)"):
                while len(kept) < 10_000:
                    kept.append(alice.recorder.put(ours))
            await driver.ready()
            kept += [alice.recorder.put(ours) for _ in range(8)]
        await driver.flush()
        assert made.workers["alice"].store.objects == len(kept)


async def test_ready_waits_for_a_worker_that_does_not_read(tight: None) -> None:
    async with town("memory", "alice") as made, made.connect() as driver:
        alice, link = driver["alice"], memory(made.dialled[0])
        link.pause()
        with pytest.raises(LimitExceeded):
            while True:
                alice.recorder.put(np.zeros(1 << 13))
        ready = anyio.Event()

        async def wait() -> None:
            await driver.ready()
            ready.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            assert not ready.is_set()
            link.resume()
        assert ready.is_set()
        await driver.flush()
