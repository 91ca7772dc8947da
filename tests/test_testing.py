"""A whole cluster in one process: the embedded default."""

from __future__ import annotations

import anyio
import numpy as np
import pytest

import asyncsyft
from asyncsyft.errors import LimitExceeded, Refused, UnknownPeer
from asyncsyft.testing import cluster
from asyncsyft.worker import Worker

pytestmark = pytest.mark.anyio


async def test_local_needs_no_server() -> None:
    with anyio.fail_after(10):
        async with asyncsyft.local("alice", "bob") as driver:
            x = await driver["alice"].send(np.arange(4))
            y = (x * 2).move(driver["bob"])
            np.testing.assert_array_equal(await y.get(), [0, 2, 4, 6])
            assert sorted(driver.workers) == ["alice", "bob"]
            with pytest.raises(UnknownPeer, match="workers: alice, bob"):
                driver["carol"]


async def test_options_go_to_each_worker() -> None:
    with anyio.fail_after(10):
        async with asyncsyft.local("alice", limit=1000) as driver:
            x = await driver["alice"].send(np.zeros(1000))
            with pytest.raises(LimitExceeded, match="limit of 1000"):
                await x.get()


async def test_an_error_in_the_body_comes_out_as_it_is() -> None:
    with anyio.fail_after(10):
        with pytest.raises(ZeroDivisionError):
            async with asyncsyft.local("alice"):
                raise ZeroDivisionError


async def test_one_more_peer_comes_in_by_dial() -> None:
    with anyio.fail_after(10):
        async with cluster("alice") as made, Worker("bob") as bob:
            await bob.join(await made.dial())
            made.workers["alice"].load("digits", np.arange(3), release="always")
            alice, there = await made.driver.wait_for("alice", "bob")
            (digits,) = await alice.search("digits")
            np.testing.assert_array_equal(await digits.move(there).get(), [0, 1, 2])
            async with asyncsyft.Driver(made.dial, "second") as second:
                assert sorted(second.workers) == ["alice", "bob"]
            async with Worker("alice") as another:
                with pytest.raises(Refused):
                    await another.join(await made.dial())


async def test_two_clusters_do_not_know_each_other() -> None:
    with anyio.fail_after(10):
        async with asyncsyft.local("alice") as one, asyncsyft.local("alice") as two:
            x, y = await one["alice"].send(np.ones(1)), await two["alice"].send(np.zeros(1))
            with pytest.raises(ValueError, match="alice"):
                x + y
            assert (await x.get(), await y.get()) == (1, 0)
