"""Calls that are prepared: the dealer deals before the inputs are there, and a call sends only these."""

from __future__ import annotations

from typing import Any, List

import anyio
import anyio.lowlevel
import numpy as np
import pytest

import asyncsyft
from asyncsyft.errors import SessionError
from asyncsyft.mpc import MPC, Like
from asyncsyft.mpc.service.dealer import DealerSession
from asyncsyft.mpc.service.party import PartySession
from asyncsyft.testing import cluster

pytestmark = pytest.mark.anyio

SECONDS = 30
RNG = np.random.default_rng(8)
WEIGHTS = RNG.normal(size=(6, 3))


@asyncsyft.plan
def model(x: Any, weights: Any) -> Any:
    return (x @ weights + 1).relu()


def wanted(x: Any) -> Any:
    return np.maximum(x @ WEIGHTS + 1, 0)


@pytest.mark.parametrize("parties", [2, 3])
async def test_calls_that_were_dealt_ahead(parties: int) -> None:
    names = [*("alice", "bob", "carol")[:parties], "james"]
    with anyio.fail_after(SECONDS):
        async with cluster(*names) as made:
            *members, james = await made.driver.wait_for(*names)
            async with MPC(members, james) as mpc:
                w = await mpc.share(WEIGHTS)
                async with mpc.ahead(model, Like((2, 6)), w, calls=3) as call:
                    (dealer,) = made.workers["james"].sessions.open.values()
                    assert isinstance(dealer, DealerSession)
                    while dealer.counts()["dealt"] < 3 * 2 * 3 * 60:  # of three calls, before there is any input
                        await anyio.lowlevel.checkpoint()
                    for _ in range(5):
                        x = RNG.normal(size=(2, 6))
                        assert np.allclose(await call(x), wanted(x), atol=1e-3)
                    batches = mpc.stats["batches"]
                    await call(x)
                    assert mpc.stats["batches"] == batches + 1
                with pytest.raises(SessionError, match="no calls are prepared"):
                    await call(x)
                assert np.allclose(await w.reveal(), WEIGHTS, atol=1e-4)  # the session goes on
                for worker in made.workers.values():
                    for session in worker.sessions.open.values():
                        assert not (isinstance(session, PartySession) and session._late)


async def test_calls_at_once_and_inputs_of_a_party() -> None:
    with anyio.fail_after(SECONDS):
        async with asyncsyft.local("alice", "bob", "james") as driver:
            alice, bob, james = await driver.wait_for("alice", "bob", "james")
            async with MPC([alice, bob], james) as mpc:
                w = await mpc.share(WEIGHTS)
                found: List[bool] = []
                async with mpc.ahead(
                    lambda x, b: (model(x, w), x + b), Like((2, 6), at=bob), Like((), whole=True)
                ) as call:

                    async def one(number: int) -> None:
                        x = RNG.normal(size=(2, 6))
                        y, z = await call(await bob.send(x), number)
                        found.append(np.allclose(y, wanted(x), atol=1e-3) and np.allclose(z, x + number, atol=1e-4))

                    async with anyio.create_task_group() as tasks:
                        for number in range(6):
                            tasks.start_soon(one, number)
                assert found == [True] * 6


async def test_what_is_not_as_was_said() -> None:
    with anyio.fail_after(SECONDS):
        async with asyncsyft.local("alice", "bob", "james") as driver:
            alice, bob, james = await driver.wait_for("alice", "bob", "james")
            async with MPC([alice, bob], james) as mpc:
                w = await mpc.share(WEIGHTS)
                for arguments, calls in (([w, w], 2), ([Like((2, 6)), w], 0), ([Like((2, 6)), w], 1000)):
                    with pytest.raises(ValueError, match="Like|prepared"):
                        mpc.ahead(model, *arguments, calls=calls)
                with pytest.raises(ValueError, match="james is no party"):
                    async with mpc.ahead(model, Like((2, 6), at=james), w):
                        raise AssertionError("it was entered")
                with pytest.raises(ZeroDivisionError):
                    async with mpc.ahead(lambda x: x / 0, Like((2,))):
                        raise AssertionError("it was entered")
                async with mpc.ahead(sum_of, Like((2,), True, bob)) as call:
                    for remote, error, match in (
                        (await alice.send(np.ones(2, int)), ValueError, "at bob"),
                        (await bob.send(np.ones(2)), TypeError, "whole"),
                    ):
                        with pytest.raises(error, match=match):
                            await call(remote)
                    with pytest.raises(TypeError, match="1 inputs"):
                        await call()
                    for wait in (w.reveal, mpc.flush, mpc.ahead(model, Like((2, 6)), w).__aenter__):
                        with pytest.raises(SessionError, match="calls are prepared in this session"):
                            await wait()
                async with mpc.ahead(model, Like((2, 6)), w) as call:
                    for value, error, match in (
                        (np.ones(3), ValueError, "shape"),
                        (await bob.send(np.ones((2, 6))), TypeError, "an array of this driver's"),
                        (np.full((2, 6), 1e30), SessionError, "2\\^62"),
                    ):
                        with pytest.raises(error, match=match):
                            await call(value)
                    x = RNG.normal(size=(2, 6))
                    assert np.allclose(await call(x), wanted(x), atol=1e-3)


def sum_of(x: Any) -> Any:
    return x.sum()
