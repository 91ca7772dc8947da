"""Links that are cut at any moment: what goes on meanwhile takes longer, loses nothing and runs nothing twice."""

from __future__ import annotations

import gc
import logging
import random
from typing import Any, Awaitable, Callable, Dict, List

import anyio
import anyio.lowlevel
import numpy as np
import pytest

from asyncsyft import State, plan
from asyncsyft.driver import Driver
from asyncsyft.errors import OpFailed
from asyncsyft.peer import Peer, redial
from tests.journeys.kit import Town, town, until

pytestmark = pytest.mark.anyio

#: Seconds that nobody here waits for, unless a conversation that should go on does not.
LONG = 10.0
CUTS = 8
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


async def test_two_hundred_cuts_leave_nothing_behind(relayed: str) -> None:
    async with town(relayed, "alice", resume_grace=LONG, seconds=60) as made:
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

    port = free_port()
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
                        await driver.aclose_early() if False else None


# Names belong to those who prove them, also to a relay that remembers nothing.

AUTHORITY, KEY, OTHER = Authority.new(), Key.new(), Key.new()
FAR = 4_000_000_000


def token(name: str, key: Optional[Key] = None) -> str:
    return AUTHORITY.issue([name], ["worker", "driver"], expires=FAR, key=key.public if key else None)


def pinned() -> KnownPeers:
    return KnownPeers({"alice": KEY.public, "driver": OTHER.public})


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


@pytest.mark.parametrize("proof", ALICES)
async def test_a_restarted_relay_gives_alice_only_to_alice(proof: str, relayed: str) -> None:
    async def impostors(made: Rebuilt) -> None:
        for shown in IMPOSTORS:
            async with Worker("alice", key=shown.get("key")) as impostor:
                impostor._token = shown.get("token")
                with pytest.raises(Refused):
                    await impostor.join(await made.dial())

    known = pinned() if "known" in proof else None
    async with rebuilt(relayed, admission=Admission([AUTHORITY.public], known)) as made:
        shown = {"token": token("driver", OTHER), "key": OTHER, "resume_grace": LONG}
        async with made.worker("alice", resume_grace=LONG, **ALICES[proof]) as worker:
            async with made.connect("driver", **shown) as driver:
                (alice,) = await driver.wait_for("alice")
                x = await alice.send(np.arange(3.0))
                await driver.flush()
                await impostors(made)
                worker.peer.resume_grace, hold = LONG, anyio.Event()
                dial = worker_dial(worker, hold)
                await made.restart()
                await impostors(made)  # she is not back yet, and they are there before her
                assert "alice" not in made.relay.presence.names
                hold.set()
                np.testing.assert_array_equal(await x.get(), np.arange(3.0))
                await impostors(made)
                assert driver["alice"] is alice
                assert dial
                del x
                gc.collect()
