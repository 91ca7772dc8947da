"""Sessions over conversations: what a user writes, on both event loops, in one process and over sealed websockets."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, AsyncIterator, List, Tuple

import anyio
import numpy as np
import pytest

import asyncsyft
from asyncsyft.driver import Driver, RemoteWorker
from asyncsyft.errors import LinkClosed, Refused, SessionError
from asyncsyft.identity import Key, key_text
from asyncsyft.mpc import MPC, concat, joining, where
from asyncsyft.mpc.machine import Gate
from asyncsyft.mpc.service import sessions
from asyncsyft.testing import Cluster, cluster
from asyncsyft.worker import Worker

pytestmark = pytest.mark.anyio

SECONDS = 30
U = 2.0**-16
RNG = np.random.default_rng(3)
NAMES = ("alice", "bob", "carol", "dave", "erin", "james")


@asynccontextmanager
async def members(count: int = 2, **options: Any) -> AsyncIterator[Tuple[Cluster, List[RemoteWorker], RemoteWorker]]:
    """Parties and a dealer, in this process."""
    names = (*NAMES[:count], "james")
    with anyio.fail_after(SECONDS):
        async with cluster(*names, **options) as made:
            *parties, dealer = await made.driver.wait_for(*names)
            yield made, parties, dealer


def near(got: Any, wanted: Any, most: float = 3 * U) -> None:
    assert np.shape(got) == np.shape(wanted)
    assert np.max(np.abs(got - wanted), initial=0) <= most


@pytest.mark.parametrize("count", [2, 3, 5])
async def test_what_a_user_writes(count: int) -> None:
    a, w, b = RNG.normal(size=(4, 6)), RNG.normal(size=(6, 3)), RNG.normal(size=3)
    async with members(count) as (made, parties, dealer):
        async with asyncsyft.MPC(parties=parties, dealer=dealer) as mpc:
            x = await mpc.share(a)
            secret = await mpc.share(await parties[-1].send(w))
            y = (x @ secret + b).relu()
            near(await y.reveal(), np.maximum(a @ w + b, 0), 20 * U)
            assert mpc.stats["hops"] == 5
            assert mpc.stats["dealt"] > 0
            assert len(mpc.stats["opened"]) == count


async def test_operators_are_those_of_arrays() -> None:
    a, b = RNG.uniform(0.5, 4, (3, 4)), RNG.uniform(-3, 3, (3, 4))
    async with members() as (_, parties, dealer):
        async with MPC(parties, dealer) as mpc:
            x, y = await mpc.share(a), await mpc.share(b)
            cases = [
                (x + y, a + b),
                (1 - x, 1 - a),
                (b - x, b - a),
                (x * y, a * b),
                (2 * x * 0.5, a),
                (x @ y.T, a @ b.T),
                (a.T @ y, a.T @ b),
                (-x, -a),
                (x / 7, a / 7),
                (y / x, b / a),
                (1 / x, 1 / a),
                (x[1:, ::2], a[1:, ::2]),
                (x[..., None, 0], a[..., None, 0]),
                (x[[2, 0]], a[[2, 0]]),
                (x.reshape(2, -1), a.reshape(2, -1)),
                (x.sum(), a.sum()),
                (x.sum(0, keepdims=True), a.sum(0, keepdims=True)),
                (x.mean(1), a.mean(1)),
                (y.max(), b.max()),
                (y.max(-1), b.max(-1)),
                (abs(y), abs(b)),
                (concat([x, y, a], 1), np.concatenate([a, b, a], 1)),
                (where(x < y, x, 0), np.where(a < b, a, 0)),
                (where(x < y, 1, 0.5), np.where(a < b, 1, 0.5)),
                (x.sqrt(), np.sqrt(a)),
                (y.tanh(), np.tanh(b)),
                (y.sigmoid(), 1 / (1 + np.exp(-b))),
                (y.exp() / 100, np.exp(b) / 100),
            ]
            found = await mpc.reveal(*(case[0] for case in cases))
            for got, (_, wanted) in zip(found, cases):
                near(got, wanted, 12 * U)
            bits = [x < y, x <= y, x > y, x >= y, x == x, x != y, ~(x < 1)]
            wanted = [a < b, a <= b, a > b, a >= b, a == a, a != b, a >= 1]
            assert all(np.array_equal(g, r) for g, r in zip(await mpc.reveal(*bits), wanted))
            assert np.array_equal(await y.argmax(1).reveal(), b.argmax(1))
            assert np.array_equal(await y.argmax().reveal(), b.argmax())
            near(await y.softmax().reveal(), np.exp(b) / np.exp(b).sum(1, keepdims=True), 20 * U)


async def test_images() -> None:
    a, w = RNG.normal(size=(2, 3, 6, 6)), RNG.normal(size=(4, 3, 3, 3))
    seen = np.lib.stride_tricks.sliding_window_view(a, (3, 3), axis=(2, 3))
    blocks = a.reshape(2, 3, 3, 2, 3, 2)
    async with members() as (_, parties, dealer):
        async with MPC(parties, dealer) as mpc:
            x, k = await mpc.share(a), await mpc.share(w)
            near(await x.conv2d(k).reveal(), np.einsum("ncijhw,ochw->noij", seen, w), 20 * U)
            near(await x.conv2d(w).reveal(), np.einsum("ncijhw,ochw->noij", seen, w), 20 * U)
            assert (await x.conv2d(k, stride=2, padding=1).reveal()).shape == (2, 4, 3, 3)
            near(await x.avg_pool(2).reveal(), blocks.mean((3, 5)))
            near(await x.max_pool(2).reveal(), blocks.max((3, 5)))


async def test_whole_numbers_stay_whole() -> None:
    async with members() as (_, parties, dealer):
        async with MPC(parties, dealer, bits=8) as mpc:
            x = await mpc.share(np.array([-5, 3, 1 << 40]))
            y = await (x * 3 + 1).reveal()
            assert y.dtype == np.int64
            assert y.tolist() == [-14, 10, 3 * (1 << 40) + 1]


async def test_what_only_one_party_may_know() -> None:
    async with members(3) as (made, parties, dealer):
        async with MPC(parties, dealer) as mpc:
            x = await mpc.share([1.5, -2.5])
            assert await (x * 2).reveal(to=parties[1], name="double") is None
            known = made.workers["bob"].sessions
            assert (await known.result("double")).tolist() == [3.0, -5.0]
            assert not made.workers["alice"].sessions.results
            with pytest.raises(ValueError, match="no party"):
                await x.reveal(to=dealer, name="double")


async def test_large_tensors_go_in_pieces() -> None:
    values = RNG.normal(size=300_000)
    async with members() as (_, parties, dealer):
        async with MPC(parties, dealer) as mpc:
            x = await mpc.share(values)
            y = await mpc.share(await parties[0].send(values))
            near(await (x * y).relu().reveal(), values**2, 1e-3)


async def test_many_sessions_and_programs_side_by_side() -> None:
    async with members(3) as (_, parties, dealer):
        found: List[Any] = []

        async def work(number: int) -> None:
            order = parties[number % 3 :] + parties[: number % 3]
            async with MPC(order[: 2 + number % 2], dealer) as mpc:
                x = await mpc.share(np.full(5, float(number)))
                for _ in range(4):
                    x = (x * x).relu() / (number + 1)
                plain = await parties[0].send(np.arange(3.0))
                assert (await (plain + number).get()).tolist() == [number, number + 1, number + 2]
                found.append((number, await x.reveal()))

        async with anyio.create_task_group() as tasks:
            for number in range(8):
                tasks.start_soon(work, number)
        assert len(found) == 8
        for number, got in found:
            wanted = float(number)
            for _ in range(4):
                wanted = wanted * wanted / (number + 1)
            near(got, np.full(5, wanted), 1e-3 * max(1, wanted))


async def test_a_plan_over_secrets_is_one_batch() -> None:
    @asyncsyft.plan
    def network(x: Any, weights: Any, times: int) -> Any:
        for _ in range(times):
            x = (x @ weights).relu()
        return x, x.sum()

    a, w = RNG.uniform(-1, 1, (2, 5)), RNG.uniform(0, 1, (5, 5))
    w /= w.sum(0)
    wanted = a
    async with members() as (_, parties, dealer):
        async with MPC(parties, dealer) as mpc:
            x, secret = await mpc.share(a), await mpc.share(w)
            await mpc.flush()
            before = mpc.stats
            out, whole = network(x, secret, 60)  # 60 layers are far more gates than leave by themselves
            for _ in range(60):
                wanted = np.maximum(wanted @ w, 0)
            got = await mpc.reveal(out, whole)
            near(got[0], wanted, 0.01)
            near(got[1], wanted.sum(), 0.05)
            assert mpc.stats["batches"] == before["batches"] + 2  # the plan, and what reveals
            assert mpc.stats["hops"] - before["hops"] == 60 * 5 - 1
            with pytest.raises(ValueError, match="no state"):
                asyncsyft.plan(state=asyncsyft.State("model", w=w))(lambda state, x: x)(x)


async def test_a_session_leaves_nothing_behind() -> None:
    async with members() as (made, parties, dealer):
        for _ in range(3):
            async with MPC(parties, dealer) as mpc:
                x = await mpc.share(np.ones((3, 3)))
                await (x @ x).relu().reveal()
            for worker in made.workers.values():
                while worker.sessions.open or worker.executor.jobs:
                    await anyio.lowlevel.checkpoint()
        await made.driver.flush()
        for worker in made.workers.values():
            assert worker.store.nbytes == 0
            assert not any(worker.sessions._lanes.values())


async def test_lanes_are_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 3)
    monkeypatch.setattr(joining, "LANES", 3)
    async with members() as (_, parties, dealer):
        for number in range(8):
            async with MPC(parties, dealer) as mpc, MPC(parties, dealer) as other:
                x, y = await mpc.share(float(number)), await other.share(1.0)
                assert await (x * x).reveal() == number**2
                assert await (y + y).reveal() == 2
        async with MPC(parties, dealer), MPC(parties, dealer), MPC(parties, dealer):
            with pytest.raises(SessionError, match="sessions are open"):
                await MPC(parties, dealer).__aenter__()


# What is refused.


async def test_who_may_take_part() -> None:
    async with members(3) as (_, (alice, bob, carol), dealer):
        for parties, james in (([alice], dealer), ([alice, alice], dealer), ([alice, bob], alice)):
            with pytest.raises(ValueError, match="two parties"):
                MPC(parties, james)
        with pytest.raises(ValueError, match="fractional bits"):
            MPC([alice, bob], dealer, bits=40)
        async with MPC([alice, bob], dealer) as mpc, MPC([alice, bob], dealer) as other:
            x, y = await mpc.share(1.0), await other.share(1.0)
            with pytest.raises(ValueError, match="different sessions"):
                x + y
            with pytest.raises(ValueError, match="no party"):
                await mpc.share(await carol.send(np.ones(2)))
            with pytest.raises(SessionError, match="2\\^62"):
                await mpc.share(1e30)
            for wrong in (lambda: bool(x), lambda: ~x, lambda: x + "a", lambda: x[y], lambda: where(x, 1, 2)):
                with pytest.raises(TypeError):
                    wrong()
            with pytest.raises(ZeroDivisionError):
                x / 0
        with pytest.raises(SessionError, match="closed"):
            await mpc.share(1.0)


async def test_a_tensor_that_failed_ends_the_session_and_says_why() -> None:
    async with members() as (_, parties, dealer):
        async with MPC(parties, dealer) as mpc:
            there = await parties[0].send(np.ones(2))
            x = await mpc.share(there)
            there.delete()
            await parties[0].recorder.flushed()
            with pytest.raises(Exception, match="deleted|no tensor"):
                await x.reveal()


@pytest.mark.parametrize("lost", ["alice", "bob", "james"])
async def test_a_lost_member_ends_the_session_for_all(lost: str) -> None:
    async with AsyncExitStack() as stack:
        made, parties, dealer = await stack.enter_async_context(members(2))
        mpc = await stack.enter_async_context(MPC(parties, dealer))
        x = await mpc.share(np.ones(3))
        await (x * x).reveal()
        made.workers[lost].peer.close("it goes")
        with pytest.raises(SessionError, match=lost):
            for _ in range(1000):
                await (x * x).reveal()
        for name, worker in made.workers.items():
            while name != lost and worker.sessions.open:
                await anyio.lowlevel.checkpoint()


async def test_a_driver_that_leaves_ends_its_sessions() -> None:
    async with members() as (made, _, _dealer):
        async with Driver(made.dial, "other") as driver:
            alice, bob, james = await driver.wait_for("alice", "bob", "james")
            mpc = await MPC([alice, bob], james).__aenter__()
            await (await mpc.share(1.0)).reveal()
            assert all(worker.sessions.open for worker in made.workers.values())
        for worker in made.workers.values():
            while worker.sessions.open:
                await anyio.lowlevel.checkpoint()


async def test_strangers_can_say_nothing_to_a_session() -> None:
    async with members(3) as (made, parties, dealer):
        async with MPC(parties[:2], dealer) as mpc:
            x = await mpc.share(np.ones(3))
            async with Driver(made.dial, "stranger") as stranger:
                (alice,) = await stranger.wait_for("alice")
                for op, params in (
                    ("mpc.close", {"reason": "ha"}),
                    ("mpc.run", {"batch": 0, "drop": [], "inputs": []}),
                    ("mpc.seeds", {"own": bytes(32), "before": bytes(32), "after": bytes(32)}),
                    ("mpc.opened", {"hop": 1, "at": 0, "total": 0}),
                    ("mpc.reveal", {"number": 1}),
                    ("mpc.deal", {}),
                ):
                    alice.recorder.record([op, [], [], {"session": mpc.name, **params}])
                    with pytest.raises(Refused):
                        await stranger.flush()
                for params in (
                    {},
                    {"session": b"short"},
                    {"session": bytes(16), "form": sessions.FORM, "place": 0, "parties": [], "dealer": 1},
                    {"session": bytes(16), "form": sessions.FORM - 1, "place": 0, "parties": [], "dealer": 1},
                ):
                    alice.recorder.record(["mpc.open", [], [], params])
                    with pytest.raises(Refused):
                        await stranger.flush()
            assert (await (x + 1).reveal()).tolist() == [2, 2, 2]


# Over sockets.

KEYS = {name: Key.new() for name in (*NAMES, "me")}
PINS = {name: key_text(key.public) for name, key in KEYS.items()}


async def test_sealed_over_websockets() -> None:
    a, w = RNG.normal(size=(2, 8)), RNG.normal(size=(8, 4))
    with anyio.fail_after(SECONDS):
        async with AsyncExitStack() as stack:
            relay = await stack.enter_async_context(asyncsyft.Relay("127.0.0.1:0"))
            for name in ("alice", "bob", "james"):
                options: Any = {"key": KEYS[name], "known_peers": PINS}
                await stack.enter_async_context(Worker(name, relay.url, **options))
            driver = Driver(relay.url, "me", key=KEYS["me"], known_peers=PINS)
            await stack.enter_async_context(driver)
            alice, bob, james = await driver.wait_for("alice", "bob", "james")
            async with MPC([alice, bob], james) as mpc:
                y = ((await mpc.share(a)) @ (await mpc.share(await bob.send(w)))).relu()
                near(await y.reveal(), np.maximum(a @ w, 0), 20 * U)


async def test_what_is_not_sealed_is_refused_unless_one_says_so() -> None:
    with anyio.fail_after(SECONDS):
        async with AsyncExitStack() as stack:
            relay = await stack.enter_async_context(asyncsyft.Relay("127.0.0.1:0"))
            for name in ("alice", "bob", "james"):
                await stack.enter_async_context(Worker(name, relay.url))
            driver = await stack.enter_async_context(Driver(relay.url, "me"))
            alice, bob, james = await driver.wait_for("alice", "bob", "james")
            with pytest.raises(Refused, match="sealed"):
                await MPC([alice, bob], james).__aenter__()
            async with MPC([alice, bob], james, insecure=True) as mpc:
                assert await (await mpc.share(2.0)).reveal() == 2.0


# Hostile drivers, and links that are lost.


@pytest.mark.parametrize(
    "gate",
    [
        ("evil", 1, (), ()),
        ("neg", 1, (9,), ()),
        ("input", 1, (), (1, 7, (3,))),
        ("input", 1, (), (1, -1, (-3,))),
        ("input", 1, (), (1, -1, (1 << 40,))),
        ("input", 1, (), (1, -1, (1 << 30,))),
        ("input", 1, (), (1, "x", 3)),
        ("public", 1, (), (None,)),
        ("neg", 1, (), (1, 2, 3)),
        ("reveal", 1, (), (1, 99)),
        ("drop", 1, (), ()),
    ],
    ids=lambda gate: f"{gate[0]}-{gate[3]}",
)
async def test_gates_that_cannot_run_cost_their_session_alone(gate: Any) -> None:
    async with members() as (made, parties, dealer):
        async with MPC(parties, dealer) as mpc, MPC(parties, dealer) as other:
            x = await mpc.share(1.0)
            mpc.circuit.gates.append(Gate(*gate))
            with pytest.raises(SessionError):
                await x.reveal()
            assert await (await other.share(2.0)).reveal() == 2.0
        for worker in made.workers.values():
            while worker.sessions.open or worker.executor.jobs:
                await anyio.lowlevel.checkpoint()
            assert not worker.sessions._early


async def test_a_lost_link_is_resumed_and_nothing_is_used_twice() -> None:
    """The links of all members are cut again and again; the results are right, and no mask is drawn anew."""
    async with members(2) as (made, parties, dealer):
        async with MPC(parties, dealer) as mpc:
            x = await mpc.share(np.arange(-3.0, 4.0))
            for turn in range(6):
                y = (x * x).relu()
                worker = made.workers[("alice", "bob", "james")[turn % 3]]
                for road in list(worker.peer.roads):
                    road.link.abort(LinkClosed("cut"))
                near(await y.reveal(), np.arange(-3.0, 4.0) ** 2)
            sessions = [next(iter(worker.sessions.open.values())) for worker in made.workers.values()]
            alice, bob, james = (session.machine for session in sessions)
            drawn = [stream.drawn for stream in james._own]
            assert alice._own.drawn == drawn[0] > 0
            assert bob._own.drawn == drawn[1] > 0
            assert alice.hops == bob.hops


async def test_what_a_session_holds_is_bounded() -> None:
    async with members(limit=1 << 22) as (_, parties, dealer):
        async with MPC(parties, dealer) as mpc:
            x = await mpc.share(np.ones((20_000, 1)))
            for _ in range(20):
                await (x * x).relu().reveal()  # what is forgotten does not count
            y = x @ x.T
            with pytest.raises(SessionError, match="more than 4194304 bytes"):
                await y.reveal()


async def test_a_batch_is_never_run_twice() -> None:
    async with members() as (made, parties, dealer):
        async with MPC(parties, dealer) as mpc:
            x = await mpc.share(1.0)
            assert await x.reveal() == 1.0
            mpc._batch -= 1
            y = x * x
            with pytest.raises(SessionError, match="batch 0 where 1 is due"):
                await y.reveal()
