"""Journeys of tensors from worker to worker: large, pending and poisoned ones, and workers that die meanwhile."""

from __future__ import annotations

import gc
import os
from typing import Any

import anyio
import numpy as np
import pytest

from asyncsyft import program
from asyncsyft.errors import LinkError, OpFailed, RemoteError, UnknownPeer, WorkerLost
from asyncsyft.ops import Spec
from asyncsyft.remote import RemoteTensor
from tests.journeys.kit import bystander, town, until

pytestmark = pytest.mark.anyio


async def test_a_tensor_moves_without_passing_the_driver(relayed: str) -> None:
    async with town(relayed, "alice", "bob") as made, made.connect() as driver:
        alice, bob = await driver.wait_for("alice", "bob")
        x = alice.call("ones", (1 << 18,))  # 2 MiB, made at alice
        before = made.dialled[-1].bytes_received
        y = x.move(bob)
        assert (y.worker, y.shape, y.dtype) == ("bob", x.shape, x.dtype)
        double = y + y
        total = bob.call("sum", double)
        np.testing.assert_array_equal(await total.get(), float(1 << 19))
        assert made.dialled[-1].bytes_received - before < 10_000
        assert [w.store.objects for w in made.workers.values()] == [1, 3]
        np.testing.assert_array_equal(await x[:2].get(), np.ones(2))  # this one stays
        await driver.flush()


async def test_what_is_not_there_yet_can_be_moved(relayed: str) -> None:
    async with town(relayed, "alice", "bob") as made, made.connect() as driver:
        alice, bob = await driver.wait_for("alice", "bob")
        ours = np.arange(1 << 19, dtype="<f8")
        out, _ = alice.recorder.put_large(ours)
        x = RemoteTensor(alice.recorder, out, Spec(ours.dtype, ours.shape))
        y = (x + 1).move(bob) * 2
        back = y.move(alice) + x
        np.testing.assert_array_equal(await back.get(), (ours + 1) * 2 + ours)
        await driver.flush()


async def test_a_poisoned_tensor_carries_its_cause_along(relayed: str) -> None:
    async with town(relayed, "alice", "bob") as made, made.connect() as driver, bystander(made):
        alice, bob = await driver.wait_for("alice", "bob")
        # Failures at bob first, so that numbers of requests and steps at both workers coincide.
        theirs = bob.call("linalg.cholesky", await bob.send(-np.eye(2)))
        with pytest.raises(OpFailed, match="linalg.cholesky at bob"):
            await theirs.get()
        mine = alice.call("linalg.inv", await alice.send(np.zeros((2, 2))))
        moved = mine.move(bob)
        with pytest.raises(OpFailed, match=r"linalg\.inv.*ingular"):
            await (moved + 1).get()
        with pytest.raises(OpFailed, match=r"linalg\.inv at alice"):
            await mine.get()
        try:
            await driver.flush()
        except OpFailed as error:
            assert "ingular" in str(error)


async def test_a_move_needs_a_relay_that_both_share(relayed: str) -> None:
    async with town(relayed, "alice", "bob") as made, made.connect() as driver:
        alice, bob = await driver.wait_for("alice", "bob")
        x = await alice.send(np.ones(2))
        with pytest.raises(ValueError, match="at alice already"):
            x.move(alice)
        async with town("direct", "carol") as other, other.connect() as second:
            (carol,) = await second.wait_for("carol")
            with pytest.raises(ValueError, match="no relay connects alice and carol"):
                x.move(carol)
        np.testing.assert_array_equal(await x.move(bob).get(), np.ones(2))


async def test_a_move_to_a_worker_that_dies(relayed: str) -> None:
    async with town(relayed, "alice") as made, made.connect() as driver, bystander(made):
        (alice,) = await driver.wait_for("alice")
        x = alice.call("ones", (1 << 20,))
        async with made.worker("bob") as worker:
            (bob,) = await driver.wait_for("bob")
            (road,) = worker.peer.roads
            await driver.flush()
            y = x.move(bob)
            alice.recorder.close_program()
            road.link.transport.abort()
            with pytest.raises(LinkError):
                await y.get()
        with pytest.raises(LinkError):
            await (y + 1).get()
        np.testing.assert_array_equal(await x[:2].get(), np.ones(2))
        try:
            await driver.flush()
        except WorkerLost as error:
            assert "bob" in str(error)


async def test_a_move_from_a_worker_that_dies(relayed: str) -> None:
    async with town(relayed, "alice") as made, made.connect() as driver, bystander(made):
        (alice,) = await driver.wait_for("alice")
        async with made.worker("bob") as worker:
            (bob,) = await driver.wait_for("bob")
            x = bob.call("ones", (4 << 20,))  # 32 MiB: it dies in the middle
            y = x.move(alice)
            waiting = y + 1
            bob.recorder.close_program()
            alice.recorder.close_program()
            await until(lambda: [t for f in fetches(made) for t in f.landings])
            (road,) = worker.peer.roads
            road.link.transport.abort()
            with pytest.raises(RemoteError, match="the source of the move is lost") as caught:
                await waiting.get()
            assert isinstance(caught.value, UnknownPeer)
        assert not fetches(made)
        x = await alice.send(np.ones(2))
        np.testing.assert_array_equal(await x.get(), np.ones(2))


def fetches(made: Any) -> Any:
    return [fetch for _, fetch in made.workers["alice"].executor.moves._fetches.values()]


async def test_a_move_from_a_worker_that_left_before(relayed: str) -> None:
    async with town(relayed, "alice") as made, made.connect() as driver:
        (alice,) = await driver.wait_for("alice")
        async with made.worker("bob"):
            (bob,) = await driver.wait_for("bob")
            x = await bob.send(np.ones(3))
            await driver.flush()
        await until(lambda: "bob" not in driver.workers)
        with pytest.raises(WorkerLost, match="bob"):
            x.move(alice)
        with pytest.raises(WorkerLost, match="bob"):
            await (await alice.send(np.ones(3))).move(bob).get()


async def test_a_driver_that_leaves_in_the_middle_of_a_move(relayed: str) -> None:
    async with town(relayed, "alice", "bob") as made:
        async with made.connect() as driver:
            alice, bob = await driver.wait_for("alice", "bob")
            y = alice.call("ones", (1 << 20,)).move(bob)
            bob.recorder.close_program()
            await until(lambda: made.workers["bob"].executor.moves._fetches or made.workers["bob"].store.objects)
            made.dialled[-1].abort()
        del y
        gc.collect()


async def test_a_ticket_is_good_for_one_peer_only() -> None:
    async with town("memory", "alice", "bob") as made, made.connect("one") as one, made.connect("two") as two:
        alice, bob = one["alice"], one["bob"]
        x = await alice.send(np.arange(5))
        moved = x.move(bob)
        (_, ticket) = (moved, alice.recorder._steps[-1][3]["ticket"])
        await one.flush()
        # Another driver that learnt the ticket asks for the same: it waits for an offer that never comes.
        thief = two["alice"].recorder.ask(["claim", 0, [], {"ticket": ticket}])
        with pytest.raises(TimeoutError):
            with anyio.fail_after(0.05):
                await thief
        two["alice"].recorder.cancel(thief)
        np.testing.assert_array_equal(await moved.get(), np.arange(5))
        await two.flush()


async def test_what_nobody_took_is_held_until_its_driver_leaves(relayed: str) -> None:
    async with town(relayed, "alice") as made:
        store = made.workers["alice"].store
        async with made.connect() as driver:
            (alice,) = await driver.wait_for("alice")
            x = await alice.send(np.ones(10))
            params = {"to": os.urandom(8), "ticket": os.urandom(16)}  # to a worker that left
            alice.recorder.record([program.MOVE, 0, [x.id], params])
            x.delete()
            await driver.flush()
            (space,) = store.spaces.values()
            assert (len(space.offers), store.nbytes) == (1, 80)
        await until(lambda: not store.spaces)
        assert store.nbytes == 0
