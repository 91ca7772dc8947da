"""Members that listen are linked to directly, without a relay or beside one; over real sockets, on both event loops."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, AsyncIterator, Dict, List, Optional, Sequence

import anyio
import anyio.lowlevel
import numpy as np
import pytest

import asyncsyft
from asyncsyft.driver import Driver, RemoteWorker
from asyncsyft.errors import LinkClosed, SessionError
from asyncsyft.identity import Authority, Key, key_text
from asyncsyft.mpc import MPC
from asyncsyft.mpc.service import meetings
from asyncsyft.peer import Peer
from asyncsyft.worker import Worker

pytestmark = pytest.mark.anyio

SECONDS = 30
LOCAL = "127.0.0.1:0"
NAMES = ("alice", "bob", "carol", "james")
KEYS = {name: Key.new() for name in (*NAMES, "me")}
PINS = {name: key_text(key.public) for name, key in KEYS.items()}
VALUES = np.arange(-4.0, 5.0)


class Place:
    """Workers, and a driver that is linked to each that listens, and to the relay if there is one."""

    def __init__(self) -> None:
        self.workers: Dict[str, Worker] = {}
        self.driver: Any = None
        self.relay: Optional[asyncsyft.Relay] = None

    def direct(self, name: str) -> List[str]:
        """Of all workers to which this one has a direct link, sorted."""
        names = {worker.peer.incarnation: other for other, worker in self.workers.items()}
        far = [road.far.incarnation for road in self.workers[name].peer.roads if road.far and not road.is_relayed]
        return sorted(names[life] for life in far if life in names)

    async def members(self) -> List[RemoteWorker]:
        found: List[RemoteWorker] = await self.driver.wait_for(*self.workers)
        return found


def options(name: str) -> Dict[str, Any]:
    return {"key": KEYS[name], "known_peers": PINS, "resume_grace": 2.0}


@asynccontextmanager
async def place(listen: Sequence[str], relayed: Sequence[str] = (), **more: Any) -> AsyncIterator[Place]:
    """``listen``: those that listen; ``relayed``: those that are at a relay."""
    with anyio.fail_after(SECONDS):
        async with AsyncExitStack() as stack:
            here = Place()
            if relayed:
                here.relay = await stack.enter_async_context(asyncsyft.Relay(LOCAL))
            urls = [here.relay.url] if here.relay is not None else []
            for name in [name for name in NAMES if name in (*listen, *relayed)]:
                relay = here.relay.url if here.relay is not None and name in relayed else None
                where = LOCAL if name in listen else None
                worker = Worker(name, relay, listen=where, **{**options(name), **more})
                here.workers[name] = await stack.enter_async_context(worker)
                urls += [f"ws://{worker.address}"] if relay is None else []
            here.driver = await stack.enter_async_context(Driver(urls[0], "me", **options("me")))
            for url in urls[1:]:
                await here.driver.dial(url)
            yield here


async def check(here: Place) -> None:
    """A session among all, the last of them as the dealer."""
    *parties, dealer = await here.members()
    async with MPC(parties, dealer) as mpc:
        x, y = await mpc.share(VALUES), await mpc.share(await parties[-1].send(VALUES))
        assert np.array_equal(await (x * y).relu().reveal(), VALUES**2)


@pytest.mark.parametrize("names", [("alice", "bob", "james"), NAMES], ids=len)
async def test_without_any_relay(names: Sequence[str]) -> None:
    async with place(names) as here:
        for _ in range(2):
            await check(here)
        for name in names:
            assert here.direct(name) == sorted(set(names) - {name})
            talks = here.workers[name].peer.conversations.by_life.values()
            assert len(talks) == len(names)  # the driver's among them
            assert all(talk.seal is not None for talk in talks)


async def test_sessions_that_begin_at_once_share_links() -> None:
    async with place(NAMES) as here:
        alice, bob, carol, james = await here.members()

        async def work(parties: List[RemoteWorker], dealer: RemoteWorker) -> None:
            async with MPC(parties, dealer) as mpc:
                x = await mpc.share(VALUES)
                assert np.array_equal(await (x * x).relu().reveal(), VALUES**2)

        async with anyio.create_task_group() as tasks:
            for parties, dealer in (
                ([alice, bob], james),
                ([bob, alice], carol),
                ([carol, james, bob], alice),
                ([james, carol], bob),
            ):
                tasks.start_soon(work, parties, dealer)
        for name in NAMES:
            assert here.direct(name) == sorted(set(NAMES) - {name})


async def test_those_at_a_relay_dial_those_that_listen() -> None:
    """Bob listens, and is at the relay too; nobody listens at alice and at james."""
    async with place(["bob"], ["alice", "bob", "james"]) as here:
        assert here.relay is not None
        await check(here)
        assert [here.direct(name) for name in ("alice", "bob", "james")] == [["bob"], ["alice", "james"], ["bob"]]


async def test_a_conversation_goes_over_to_a_direct_link() -> None:
    """What alice and bob had by way of the relay before: a tensor that moved."""
    async with place(["bob"], ["alice", "bob", "james"]) as here:
        alice, bob, _ = await here.members()
        x = await alice.send(VALUES)
        assert np.array_equal(await x.move(bob).get(), VALUES)
        life = here.workers["bob"].peer.incarnation
        talk = here.workers["alice"].peer.conversations.by_life[life]
        roads = here.workers["alice"].peer.conversations.roads
        assert roads[talk].is_relayed
        await check(here)
        assert here.workers["alice"].peer.conversations.by_life[life] is talk
        assert not roads[talk].is_relayed


async def test_an_address_that_does_not_answer_is_not_needed_if_there_is_a_relay() -> None:
    async with place(["bob"], ["alice", "bob", "james"], announce="ws://127.0.0.1:1") as here:
        await check(here)
        assert here.direct("alice") == here.direct("bob") == []


async def test_an_address_where_somebody_else_listens_is_not_used() -> None:
    async with AsyncExitStack() as stack:
        other = await stack.enter_async_context(Worker("bob", listen=LOCAL, insecure=True))
        announce = f"ws://{other.address}"
        here = await stack.enter_async_context(place(["bob"], ["alice", "bob", "james"], announce=announce))
        await check(here)
        assert here.direct("alice") == here.direct("bob") == []
        while other.peer.roads:
            await anyio.lowlevel.checkpoint()


async def test_an_address_that_does_not_answer_is_an_error_without_a_relay() -> None:
    async with place(("alice", "bob", "james"), announce="ws://127.0.0.1:1") as here:
        *parties, dealer = await here.members()
        with pytest.raises(SessionError, match="is not to be reached by"):
            await MPC(parties, dealer).__aenter__()


async def test_a_direct_link_that_is_cut_is_dialled_again() -> None:
    async with place(("alice", "bob", "james")) as here:
        *parties, dealer = await here.members()
        async with MPC(parties, dealer) as mpc:
            x = await mpc.share(VALUES)
            for turn in range(4):
                y = (x * x).relu()
                for road in list(here.workers[("alice", "bob", "james")[turn % 3]].peer.roads):
                    if road.where != "me":
                        road.link.abort(LinkClosed("cut"))
                assert np.array_equal(await y.reveal(), VALUES**2)


async def test_on_all_addresses() -> None:
    """Such a worker does not know by which of them it is reached: the driver that dialled it does."""
    with anyio.fail_after(SECONDS):
        async with AsyncExitStack() as stack:
            here = Place()
            for name in ("alice", "bob", "james"):
                worker = Worker(name, listen="0.0.0.0:0", **options(name))
                here.workers[name] = await stack.enter_async_context(worker)
            ports = [worker.port for worker in here.workers.values()]
            first, *others = [f"ws://127.0.0.1:{port}" for port in ports]
            here.driver = await stack.enter_async_context(Driver(first, "me", **options("me")))
            for url in others:
                await here.driver.dial(url)
            await check(here)
            assert here.direct("alice") == ["bob", "james"]


@pytest.mark.parametrize("bound", [True, False])
async def test_only_a_token_that_is_bound_to_a_key_is_shown_to_others(bound: bool) -> None:
    authority, key = Authority.new(), KEYS["alice"]
    token = authority.issue(["alice"], ["worker"], expires=2_000_000_000, key=key.public if bound else None)
    met = meetings.Meetings(Peer("alice", "worker", key=key), None, token)
    assert met._token == (token if bound else None)
    assert meetings.Meetings(Peer("alice", "worker", key=key), None, "nonsense")._token is None
