"""Relays and workers that are about to end: who is let in, what is finished, what their peers are told."""

from __future__ import annotations

from typing import Any, List

import anyio
import anyio.lowlevel
import numpy as np
import pytest

import asyncsyft
from asyncsyft import Relay, Worker, wire
from asyncsyft.errors import LinkClosed, LinkError, WorkerLost
from asyncsyft.metrics import Endpoints
from asyncsyft.peer import Peer, Redialling, redial
from asyncsyft.transport import memory_pair
from tests.journeys.kit import LOOPBACK, SECONDS, bystander, memory, town, until
from tests.journeys.scripted import packed, scripted
from tests.test_metrics import ask

pytestmark = pytest.mark.anyio

UPGRADE = (
    "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: asyncsyft.v1\r\n\r\n"
)


async def test_a_relay_that_drains_lets_nobody_in_and_passes_on_what_is_said() -> None:
    endpoints, done = Endpoints(), anyio.Event()

    async def drain() -> None:
        await relay.drain(SECONDS)
        done.set()

    with anyio.fail_after(SECONDS):
        async with Relay(LOOPBACK, process_request=endpoints) as relay, anyio.create_task_group() as tasks:
            endpoints.of(relay)
            async with Worker("alice", relay.url), asyncsyft.connect(relay.url) as driver:
                x = await driver["alice"].send(np.ones(3))
                tasks.start_soon(drain)
                (road,) = driver.peer.roads
                await until(lambda: road.retry)
                assert road.retry == 1
                assert (await ask(relay, "/readyz"))[::2] == (503, b"draining\n")
                assert (await ask(relay, "/healthz"))[0] == 200
                with pytest.raises(LinkClosed, match="HTTP 503 Service Unavailable: the relay ends"):
                    async with asyncsyft.connect(relay.url):
                        pass
                async with await anyio.connect_tcp("127.0.0.1", relay.port) as stream:
                    await stream.send(UPGRADE.encode())
                    assert b"\r\nRetry-After: 1\r\n" in await stream.receive()
                passed = anyio.current_time() + 3 * 0.25
                while anyio.current_time() < passed:  # longer than it would take if nothing were under way
                    assert float((await (x + 1).get())[0]) == 2.0
                assert not done.is_set()
                assert driver.peer.redials == 0
                await done.wait()
                assert relay.members  # it is left to whoever drains it to end it


async def test_a_relay_drains_for_so_long_and_no_longer() -> None:
    async with town("memory", "alice") as made, bystander(made) as busy:
        await made.relay.drain(0)
        await made.relay.drain(0.3)
        await busy.goes_on()
        async with scripted(await made.dial()) as late:
            late.say(packed(wire.HELLO, [wire.VERSION, "late", "driver", late.incarnation, None, {}]))
            goodbye = await late.says(wire.GOODBYE)
            assert (goodbye.code, goodbye.reason) == ("LinkClosed", "the relay ends")


async def test_a_relay_without_peers_has_nothing_to_drain() -> None:
    async with Relay() as relay:
        with anyio.fail_after(SECONDS):
            await relay.drain(2 * SECONDS)


async def test_bytes_that_wait_are_under_way() -> None:
    """A driver that is slow to read gets what is there for it."""
    done = anyio.Event()

    async def drain() -> None:
        await made.relay.drain(SECONDS)
        done.set()

    async with town("memory", "alice") as made, made.connect() as driver, anyio.create_task_group() as tasks:
        (alice,) = await driver.wait_for("alice")
        x = alice.ones(400_000)
        await driver.flush()
        slow = memory(made.dialled[-1])
        slow.pause()
        tasks.start_soon(x.get)
        await until(lambda: made.relay.waiting > 0)
        tasks.start_soon(drain)
        await anyio.sleep(3 * 0.25)
        assert not done.is_set()
        slow.resume()
        await done.wait()
        assert made.relay.waiting == 0


@pytest.mark.parametrize(("hint", "least"), [(1, 0.5), (60, 1.0), (0, 0.0), (None, 0.0)])
async def test_who_was_told_when_to_come_back_waits_that_long(monkeypatch: Any, hint: Any, least: float) -> None:
    """Within bounds: conversations are kept for seconds only."""
    pauses: List[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await anyio.lowlevel.checkpoint()

    async with Relay() as relay, anyio.create_task_group() as tasks:

        async def dial() -> Any:
            near, far = memory_pair()
            relay.attach(far)
            return near

        peer = Peer("alice", "worker")
        peer.start(tasks)
        redialling = Redialling(peer, dial, None, None, lambda error: None)
        with anyio.fail_after(SECONDS):
            road = await redialling.begin()
            road.retry = hint
            monkeypatch.setattr(redial, "anyio", _With(sleep))
            tasks.start_soon(redialling.stay, road)
            road.link.abort(LinkClosed("cut"))
            await until(lambda: peer.redials)
        tasks.cancel_scope.cancel()
    assert least <= pauses[0] <= 2 * max(least, 0.05)


class _With:
    """anyio, with another ``sleep``."""

    def __init__(self, sleep: Any) -> None:
        self.sleep = sleep


@pytest.mark.parametrize("road", ["memory", "direct"])
async def test_a_worker_that_drains_finishes_what_is_under_way(road: str) -> None:
    done = anyio.Event()

    async def drain() -> None:
        await worker.drain(SECONDS)
        done.set()

    async with town(road, "alice") as made, anyio.create_task_group() as tasks:
        worker = made.workers["alice"]
        async with made.connect() as driver:
            (alice,) = await driver.wait_for("alice")
            x = alice.ones((500, 500))
            for _ in range(30):
                x = x @ alice.ones((500, 500)) / 500.0
            await alice.ping()
            await until(lambda: worker.executor.jobs)
            tasks.start_soon(drain)
            await until(lambda: worker.peer.draining)
            with pytest.raises((WorkerLost, LinkClosed), match="alice.* is about to end"):
                async with made.connect("late") as late:
                    (alice,) = await late.wait_for("alice")
                    await (await alice.send(np.ones(3))).get()
            assert float((await x.get())[0, 0]) == 1.0
            await done.wait()
            assert not worker.executor.jobs


async def test_what_a_worker_that_drains_holds_may_be_moved_away() -> None:
    async with town("memory", "alice", "bob") as made, made.connect() as driver:
        alice, bob = await driver.wait_for("alice", "bob")
        x = await alice.send(np.arange(5.0))
        await driver.flush()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(made.workers["alice"].drain, SECONDS)
            await until(lambda: made.workers["alice"].draining)
            there = x.move(bob)
            np.testing.assert_array_equal(await there.get(), np.arange(5.0))


async def test_a_worker_drains_for_so_long_and_no_longer() -> None:
    async with town("memory", "alice") as made, bystander(made) as busy:
        await made.workers["alice"].drain(0.3)
        await busy.goes_on()


async def test_a_worker_that_has_drained_ends_at_once(monkeypatch: Any) -> None:
    """What ran longer than it was given is not waited for again."""
    monkeypatch.setattr("asyncsyft.worker.CLOSING", SECONDS)
    with anyio.fail_after(SECONDS / 2):
        async with Relay(LOOPBACK) as relay, asyncsyft.connect(relay.url, resume_grace=0) as driver:
            async with Worker("alice", relay.url) as worker:
                (alice,) = await driver.wait_for("alice")
                never = alice.ones(3)
                monkeypatch.setattr(type(worker.executor), "_run", lambda *_: None)
                never = never @ alice.ones((3, 200_000))  # not for the short way: it is queued, and never runs
                alice.recorder.close_program()
                await until(lambda: worker.executor.jobs)
                await worker.drain(0.1)
            with pytest.raises(LinkError):
                await never.get()
