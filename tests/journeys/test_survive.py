"""Links that are cut at any moment: what goes on meanwhile takes longer, loses nothing and runs nothing twice."""

from __future__ import annotations

import gc
import itertools
import logging
import random
import socket
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, AsyncIterator, Awaitable, Callable, Dict, List, Optional

import anyio
import anyio.lowlevel
import numpy as np
import pytest

from asyncsyft import State, plan
from asyncsyft.driver import Driver, connect
from asyncsyft.errors import LinkClosed, LinkError, OpFailed, Refused, WorkerLost
from asyncsyft.identity import Admission, Authority, Key, KnownPeers, key_text
from asyncsyft.peer import Peer, redial
from asyncsyft.relay import Relay
from asyncsyft.transport import Transport, memory_pair
from asyncsyft.worker import Worker
from tests.journeys.kit import LOOPBACK, SECONDS, Town, memory, town, until
from tests.journeys.test_kills import RELAY, process, says

pytestmark = pytest.mark.anyio

#: Seconds that nobody here waits for, unless a conversation that should go on does not.
LONG = 10.0
CUTS = 6
LARGE = np.arange(200_000.0)  # 1.6 MB: some seven chunks


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Links are dialled again at once, so that many can be cut in little time."""
    monkeypatch.setattr(redial, "FIRST_PAUSE", 0.002)


async def cut(*peers: Peer) -> None:
    """Drop all links of these peers, with all that is on them, and return when they have others."""
    before = [road for peer in peers for road in peer.roads]
    for road in before:
        road.link.transport.abort()
    await until(lambda: all(peer.roads and not set(peer.roads) & set(before) for peer in peers))


class Cutter:
    """Cuts the links of some of its peers at random moments; ``cuts`` counts."""

    def __init__(self, seed: int, *peers: Peer) -> None:
        self.pick = random.Random(seed)
        self.peers = peers
        self.cuts = 0

    async def run(self) -> None:
        """For ever."""
        while True:
            for _ in range(self.pick.randrange(40)):
                await anyio.lowlevel.checkpoint()
            await cut(*([peer for peer in self.peers if self.pick.random() < 0.7] or self.peers))
            self.cuts += 1


# What goes on meanwhile: each is one round, with results that are known.

Round = Callable[[Driver, int], Awaitable[None]]


async def gets(driver: Driver, turn: int) -> None:
    x = await driver["alice"].send(np.arange(10.0) + turn)

    async def one(value: int) -> None:
        np.testing.assert_array_equal(await (x + float(value)).get(), np.arange(10.0) + turn + value)

    async with anyio.create_task_group() as tasks:
        for value in range(32):
            tasks.start_soon(one, value)


async def steps(driver: Driver, turn: int) -> None:
    x = await driver["alice"].send(np.zeros(3))
    for _ in range(1000):
        x = x + 1.0
    np.testing.assert_array_equal(await x.get(), np.full(3, 1000.0))


async def uploads(driver: Driver, turn: int) -> None:
    x = await driver["alice"].send(LARGE + turn)
    assert float(await x.sum().get()) == float((LARGE + turn).sum())


async def downloads(driver: Driver, turn: int) -> None:
    x = driver["alice"].arange(200_000.0) + float(turn)
    np.testing.assert_array_equal(await x.get(), LARGE + turn)


async def plans(driver: Driver, turn: int) -> None:
    @plan
    def shifted(x: Any) -> Any:
        return (x + 1.0) * 2.0

    x = driver["alice"].arange(5.0)
    for _ in range(20):
        np.testing.assert_array_equal(await shifted(x + turn).get(), (np.arange(5.0) + turn + 1) * 2)


async def counts(driver: Driver, turn: int) -> None:
    state = State("counter", total=np.zeros(()))

    @plan(state=state)
    def add(state: Any, x: Any) -> Any:
        state.total = state.total + x
        return state.total

    one = driver["alice"].ones(())
    seen = [float(await add(one).get()) for _ in range(10)]
    totals = [add(one) for _ in range(100)]
    seen += [float(await total.get()) for total in totals]
    assert seen == [float(n) for n in range(1, 111)]
    assert float((await state.get(driver["alice"]))["total"]) == 110


async def moves(driver: Driver, turn: int) -> None:
    alice, bob = driver["alice"], driver["bob"]
    x, large = await alice.send(np.arange(5.0) + turn), alice.ones(100_000)
    there, large_there = x.move(bob), large.move(bob)
    np.testing.assert_array_equal(await (there + there).get(), 2 * (np.arange(5.0) + turn))
    assert float(await large_there.sum().get()) == 100_000
    np.testing.assert_array_equal(await there.move(alice).get(), np.arange(5.0) + turn)


async def flushes(driver: Driver, turn: int) -> None:
    alice = driver["alice"]
    x = await alice.send(np.zeros(3))
    kept = [x + float(i) for i in range(200)]
    await driver.flush()
    wrong = alice.call("linalg.inv", alice.zeros((2, 2)))
    with pytest.raises(OpFailed, match="Singular"):
        await driver.flush()
    await driver.flush()  # told once
    del wrong, kept


ROUNDS: Dict[str, Round] = {
    "awaited gets": gets,
    "a thousand steps": steps,
    "a tensor sent in chunks": uploads,
    "a tensor got in chunks": downloads,
    "calls of a plan": plans,
    "updates of a state": counts,
    "flushes": flushes,
}


async def through_cuts(driver: Driver, cutter: Cutter, work: Round, cuts: int = CUTS) -> None:
    """Do round after round until so many cuts were made, and one more in peace."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(cutter.run)
        turn = 0
        while cutter.cuts < cuts:
            await work(driver, turn)
            turn += 1
        tasks.cancel_scope.cancel()
    await work(driver, -1)


@pytest.mark.parametrize("work", ROUNDS.values(), ids=ROUNDS)
async def test_links_are_cut_on_either_side_while_there_is(work: Round, road: str) -> None:
    async with town(road, "alice", resume_grace=LONG) as made, made.connect(resume_grace=LONG) as driver:
        (before,) = await driver.wait_for("alice")
        await through_cuts(driver, Cutter(7, driver.peer, made.workers["alice"].peer), work)
        assert driver["alice"] is before
        gc.collect()


async def test_links_are_cut_while_tensors_move(relayed: str) -> None:
    async with town(relayed, "alice", "bob", resume_grace=LONG) as made, made.connect(resume_grace=LONG) as driver:
        await driver.wait_for("alice", "bob")
        peers = [driver.peer, *(worker.peer for worker in made.workers.values())]
        await through_cuts(driver, Cutter(3, *peers), moves, 2 * CUTS)
        gc.collect()


@pytest.mark.parametrize("side", ["driver", "worker", "both"])
async def test_an_idle_link_that_is_cut_is_a_log_line_and_a_counter(side: str, road: str, caplog: Any) -> None:
    caplog.set_level(logging.INFO, "asyncsyft.peer")
    async with town(road, "alice", resume_grace=LONG) as made, made.connect("driver", resume_grace=LONG) as driver:
        (alice,) = await driver.wait_for("alice")
        x = await alice.send(np.arange(3.0))
        await driver.flush()
        ours, theirs = driver.peer, made.workers["alice"].peer
        await cut(*{"driver": [ours], "worker": [theirs], "both": [ours, theirs]}[side])
        np.testing.assert_array_equal(await x.get(), np.arange(3.0))
        assert driver["alice"] is alice
        dials = ours if side == "driver" or road == "direct" else theirs
        assert dials.redials == 1
        assert ours.conversations.resumed >= 1 <= theirs.conversations.resumed
        said = [(record.levelname, record.getMessage()) for record in caplog.records]
        assert any(level == "WARNING" and "lost, dialling again" in text for level, text in said)
        assert ("INFO", "driver: goes on with alice") in said
        assert ("INFO", "alice: goes on with driver") in said
        assert not [text for level, text in said if level == "ERROR"]
        del x


async def test_two_hundred_cuts_leave_nothing_behind() -> None:
    async with town("memory", "alice", resume_grace=LONG, seconds=60) as made:
        async with made.connect("driver", resume_grace=LONG) as driver:
            (alice,) = await driver.wait_for("alice")
            worker = made.workers["alice"]
            await through_cuts(driver, Cutter(11, driver.peer, worker.peer), gets, 200)
            gc.collect()
            alice.recorder.close_program()
            await driver.flush()
            talk, far = alice.conversation, worker.peer.conversations.by_life[driver.peer.incarnation]
            await alice.stats()  # its request says what was seen
            await until(lambda: worker.store.objects == 0)
            assert not talk.unanswered
            assert len(far.served) <= 1
            assert len(driver.peer.roads) == len(worker.peer.roads) == 1
            assert list(driver.peer.conversations.by_life.values()) == [talk]
            assert not driver.peer.conversations.parked
            assert not worker.peer.conversations.parked
            assert len(driver.peer.roads[0].peers) == 1
            assert len(worker.peer.roads[0].peers) <= 1
            assert len(made.relay.members) == len(made.relay._links) == 2
            assert not made.relay.presence.sought


# A relay that is killed and started anew at the same address.


class Rebuilt(Town):
    """A town whose relay may be killed; who dials it meanwhile finds nobody."""

    def __init__(self, road: str, **options: Any) -> None:
        super().__init__(road, None)
        self.options = options
        self.address = LOOPBACK
        self.gate: Optional[anyio.Event] = None  # who dials waits for it

    async def start(self) -> None:
        """A new life of the relay, at the address of the first."""
        self._relay = await Relay(self.address if self.road == "relay" else None, **self.options).open()
        self.address = self._relay.address

    async def kill(self) -> None:
        """End it without a word."""
        relay, self._relay = self.relay, None
        for member in list(relay._links):
            member.link.transport.abort()
        await relay.aclose()

    async def restart(self) -> None:
        """Both."""
        await self.kill()
        await self.start()

    @property
    def url(self) -> str:
        return f"ws://{self.address}"

    async def dial(self) -> Transport:
        if self.gate is not None:
            await self.gate.wait()
        return await self.dial_now()

    async def dial_now(self) -> Transport:
        """A transport to the relay, if it is there."""
        if self._relay is None and self.road == "memory":
            raise LinkClosed("nobody is there")
        return await super().dial()


@asynccontextmanager
async def rebuilt(road: str, *names: str, seconds: float = SECONDS, **options: Any) -> AsyncIterator[Rebuilt]:
    """A town with a relay that may be killed; ``options`` go to the relay."""
    with anyio.fail_after(seconds):
        made = Rebuilt(road, **options)
        await made.start()
        try:
            async with AsyncExitStack() as stack:
                for name in names:
                    await stack.enter_async_context(made.worker(name, resume_grace=LONG))
                yield made
                await made.empties()
        finally:
            await made.relay.aclose()


@pytest.mark.parametrize("work", [gets, steps, uploads, downloads, counts, moves], ids=lambda work: work.__name__)
async def test_a_relay_is_killed_and_started_anew_while_there_are(work: Round, relayed: str) -> None:
    async with rebuilt(relayed, "alice", "bob") as made, made.connect(resume_grace=LONG) as driver:
        before = await driver.wait_for("alice", "bob")
        pick = random.Random(5)
        done = False

        async def killing() -> None:
            nonlocal done
            for _ in range(4):
                for _ in range(pick.randrange(100)):
                    await anyio.lowlevel.checkpoint()
                await made.restart()
                await until(lambda: len(made.relay.members) == 3)
            done = True

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(killing)
            turn = 0
            while not done:
                await work(driver, turn)
                turn += 1
        await work(driver, -1)
        assert [driver["alice"], driver["bob"]] == before
        gc.collect()


async def test_a_tensor_moves_although_the_relay_is_away_when_it_is_asked_to(relayed: str) -> None:
    async with rebuilt(relayed, "alice", "bob") as made, made.connect(resume_grace=LONG) as driver:
        alice, bob = await driver.wait_for("alice", "bob")
        x = await alice.send(np.arange(4.0))
        await driver.flush()
        await made.kill()
        await until(lambda: not driver.peer.roads)
        there = x.move(bob)
        total = there.sum()
        await made.start()
        assert float(await total.get()) == 6
        assert driver["alice"] is alice
        del x, there, total
        gc.collect()


async def test_a_relay_process_that_is_killed_under_load(anyio_backend: str) -> None:
    async def computing(driver: Driver, turns: List[int]) -> None:
        while True:
            await steps(driver, 0)
            await counts(driver, 0)
            turns.append(1)

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with anyio.fail_after(SECONDS):
        with process(RELAY, f"127.0.0.1:{port}", anyio_backend) as running:
            url = await says(running)
            turns: List[int] = []
            async with Worker("alice", url, resume_grace=LONG), connect(url, resume_grace=LONG) as driver:
                (alice,) = await driver.wait_for("alice")
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(computing, driver, turns)
                    await until(lambda: turns)
                    running.kill()
                    await until(lambda: not driver.peer.roads)
                    with process(RELAY, f"127.0.0.1:{port}", anyio_backend) as again:
                        assert await says(again) == url
                        before = len(turns)
                        await until(lambda: len(turns) >= before + 2)
                        tasks.cancel_scope.cancel()
                        await driver.flush()
                        assert driver["alice"] is alice


# Names belong to those who prove them, also to a relay that remembers nothing.

AUTHORITY, KEY, OTHER = Authority.new(), Key.new(), Key.new()
FAR = 4_000_000_000


def token(name: str, key: Optional[Key] = None) -> str:
    return AUTHORITY.issue([name], ["worker", "driver"], expires=FAR, key=key.public if key else None)


ALICES: Dict[str, Dict[str, Any]] = {
    "a token that is bound to her key": {"token": token("alice", KEY), "key": KEY},
    "a key that is known": {"key": KEY},
}
IMPOSTORS: List[Dict[str, Any]] = [
    {},
    {"key": OTHER},
    {"token": token("mallory"), "key": OTHER},
    {"token": token("alice", KEY), "key": OTHER},
]


async def impostors(made: Rebuilt) -> None:
    """All of them try, and none comes in."""
    for shown in IMPOSTORS:
        async with Worker("alice", key=shown.get("key"), token=shown.get("token")) as impostor:
            with pytest.raises(Refused):
                await impostor.join(await made.dial_now())


@pytest.mark.parametrize("proof", ALICES)
async def test_a_restarted_relay_gives_alice_only_to_alice(proof: str, relayed: str) -> None:
    names = {"alice": key_text(KEY.public), "driver": key_text(OTHER.public)}
    admission = Admission([AUTHORITY.public], KnownPeers(names) if "known" in proof else None)
    shown = {"token": token("driver", OTHER), "key": OTHER, "resume_grace": LONG}
    async with rebuilt(relayed, admission=admission) as made:
        async with made.worker("alice", resume_grace=LONG, **ALICES[proof]), made.connect("driver", **shown) as driver:
            (alice,) = await driver.wait_for("alice")
            x = await alice.send(np.arange(3.0))
            await driver.flush()
            await impostors(made)
            made.gate = anyio.Event()
            await made.restart()
            await impostors(made)  # she is not back yet
            assert not made.relay.members
            made.gate.set()
            np.testing.assert_array_equal(await x.get(), np.arange(3.0))
            await impostors(made)
            assert driver["alice"] is alice
            del x
            gc.collect()


async def test_without_proofs_the_first_who_comes_has_the_name(relayed: str) -> None:
    async with rebuilt(relayed) as made, made.worker("alice", resume_grace=LONG) as worker:
        async with made.connect(resume_grace=LONG) as driver:
            (alice,) = await driver.wait_for("alice")
            x = await alice.send(np.arange(3.0))
            await driver.flush()
            made.gate = anyio.Event()
            await made.restart()
            async with Worker("alice") as first:
                await first.join(await made.dial_now())
                made.gate.set()
                with pytest.raises(Refused, match="the name 'alice' is taken"):
                    await worker.closed()
                with pytest.raises(WorkerLost, match=r"object \d+ \(float64\[3\]\) is gone: alice was started anew"):
                    await x.get()
                await driver.wait_for("alice")
                assert driver["alice"].conversation.theirs == first.peer.incarnation


async def test_a_newer_link_with_her_key_wins_over_one_that_is_half_open() -> None:
    async with town("memory", "alice", resume_grace=LONG, key=KEY) as made, made.connect(resume_grace=LONG) as driver:
        (alice,) = await driver.wait_for("alice")
        x = await alice.send(np.arange(3.0))
        await driver.flush()
        near = memory(made.dialled[0])
        near.peer.pause()
        near.peer, far = memory_pair()[0], near.peer  # what alice does is not seen there any more
        async with Worker("alice", key=OTHER) as impostor:
            with pytest.raises(Refused, match="the name 'alice' is taken"):
                await impostor.join(await made.dial())
        assert not far._over
        near.abort()
        np.testing.assert_array_equal(await x.get(), np.arange(3.0))
        assert far._over
        assert driver["alice"] is alice
        assert len(made.relay.members) == 2
        del x
        gc.collect()


# What does not come back.


@pytest.mark.parametrize("proof", [{}, {"key": KEY}], ids=["no key", "a key"])
async def test_a_worker_that_was_started_anew_takes_its_objects_along(proof: Any, relayed: str) -> None:
    async with town(relayed) as made, made.connect(resume_grace=LONG) as driver:
        async with AsyncExitStack() as stack:
            worker = await stack.enter_async_context(Worker("alice", made.dial, resume_grace=LONG, **proof))
            (alice,) = await driver.wait_for("alice")
            x = await alice.send(np.zeros((2, 3), "f4"))
            await driver.flush()
            failed: List[str] = []

            async def wait() -> None:
                with pytest.raises(WorkerLost) as caught:
                    await x.get()
                failed.append(str(caught.value))

            async with anyio.create_task_group() as tasks:
                worker.executor.program = lambda *args: None  # type: ignore[method-assign] # it is never answered
                tasks.start_soon(wait)
                await until(lambda: alice.conversation.unanswered)
                worker.peer.resume_grace = 0  # it does not dial again
                for road in list(worker.peer.roads):
                    road.link.transport.abort()
                await until(lambda: len(made.relay.members) == 1)
                assert not failed
                async with made.worker("alice", **proof):
                    await until(lambda: failed)
                    named = f"object {x.id} (float32[2, 3]) is gone: alice was started anew"
                    assert failed[0].startswith(named)
                    for use in (lambda: x + x, lambda: x + 1, lambda: x.sum(), lambda: x.tag("a"), x.delete):
                        with pytest.raises(WorkerLost) as caught:
                            use()
                        assert str(caught.value).startswith(named)
                    for ask in (x.get, x.info):
                        with pytest.raises(WorkerLost) as caught:
                            await ask()
                        assert str(caught.value).startswith(named)
                    (again,) = await driver.wait_for("alice")
                    assert again is not alice
                    y = await again.send(np.ones(2))
                    np.testing.assert_array_equal(await y.get(), np.ones(2))
                    del y
                    gc.collect()


async def test_a_goodbye_is_for_good_at_once(relayed: str) -> None:
    async with town(relayed) as made, made.connect(resume_grace=LONG) as driver:
        async with made.worker("alice", resume_grace=LONG):
            (alice,) = await driver.wait_for("alice")
            x = await alice.send(np.zeros(3))
            await driver.flush()
        begun = anyio.current_time()
        with pytest.raises(WorkerLost, match=r"object \d+ \(float64\[3\]\) is gone: alice .*goodbye"):
            await x.get()
        assert anyio.current_time() - begun < LONG / 2
        assert not driver.workers
        assert not driver.peer.conversations.parked


async def test_a_worker_that_does_not_come_back_is_lost_when_the_grace_is_over(relayed: str) -> None:
    async with town(relayed) as made, made.connect(resume_grace=0.05) as driver:
        async with made.worker("alice") as worker:
            (alice,) = await driver.wait_for("alice")
            x = await alice.send(np.zeros(3))
            await driver.flush()
            for road in list(worker.peer.roads):
                road.link.transport.abort()
            await until(lambda: driver.peer.conversations.parked)
            assert driver["alice"] is alice  # not yet
            with pytest.raises(WorkerLost, match=r"object \d+ .* alice is lost, and did not come back within 0.05 s"):
                await x.get()
            assert not driver.workers


@pytest.mark.parametrize("patient", ["driver", "worker"])
async def test_who_waited_longer_is_told_that_the_other_gave_up(patient: str, road: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(redial, "pauses", lambda: itertools.repeat(0.15))
    graces = {"driver": 0.02, "worker": 0.02, patient: LONG}
    async with town(road, "alice", resume_grace=graces["worker"]) as made:
        async with made.connect(resume_grace=graces["driver"]) as driver:
            (alice,) = await driver.wait_for("alice")
            x = await alice.send(np.zeros(3))
            await driver.flush()
            for road_ in list(driver.peer.roads):
                road_.link.transport.abort()
            with pytest.raises(LinkError):
                await x.get()
            (again,) = await driver.wait_for("alice")
            assert again is not alice
            y = await again.send(np.ones(2))
            np.testing.assert_array_equal(await y.get(), np.ones(2))
            worker = made.workers["alice"]
            await until(lambda: len(worker.store.spaces) == 1)
            assert worker.store.objects == 1
            del y
            gc.collect()


async def test_a_driver_or_a_worker_that_closes_while_it_dials_again_does_so_at_once(relayed: str) -> None:
    async with rebuilt(relayed) as made:
        async with made.worker("alice", resume_grace=LONG) as worker:
            async with made.connect(resume_grace=LONG) as driver:
                (alice,) = await driver.wait_for("alice")
                x = await alice.send(np.zeros(3))
                await driver.flush()
                await made.kill()
                await until(lambda: not driver.peer.roads and not worker.peer.roads)
                begun = anyio.current_time()
            assert anyio.current_time() - begun < 1
            with pytest.raises(LinkError, match="closed here"):
                await x.get()
            assert worker.peer.conversations.parked
            begun = anyio.current_time()
        assert anyio.current_time() - begun < 1
        assert not worker.store.spaces
        assert not worker.peer.conversations.by_life
        await made.start()


async def test_who_is_refused_when_it_dials_again_is_told_so_everywhere(relayed: str) -> None:
    revoked: List[str] = []
    admission = Admission([AUTHORITY.public], revoked=revoked)
    async with rebuilt(relayed, admission=admission) as made:
        theirs = AUTHORITY.issue(["alice"], ["worker"], expires=FAR, id="hers")
        ours = AUTHORITY.issue(["driver"], ["driver"], expires=FAR, id="ours")
        async with made.worker("alice", resume_grace=LONG, token=theirs) as worker:
            async with made.connect("driver", resume_grace=LONG, token=ours) as driver:
                (alice,) = await driver.wait_for("alice")
                x = await alice.send(np.zeros(3))
                await driver.flush()
                revoked += ["hers", "ours"]
                for peer in (driver.peer, worker.peer):
                    peer.roads[0].link.transport.abort()
                with pytest.raises(Refused, match="token hers was revoked"):
                    await worker.closed()
                with pytest.raises(Refused, match="token ours was revoked"):
                    await x.get()
                with pytest.raises(Refused, match="token ours was revoked"):
                    x + x
                with pytest.raises(Refused, match="token ours was revoked"):
                    await driver.wait_for("alice")
                assert not driver.workers
