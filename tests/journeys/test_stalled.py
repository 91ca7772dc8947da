"""Peers that stop reading or answering: bounded, cut, and of no consequence for anyone else."""

from __future__ import annotations

from typing import Any

import anyio
import numpy as np
import pytest

from asyncsyft import relay as relay_module
from asyncsyft import wire
from asyncsyft.driver import Driver
from asyncsyft.errors import LinkClosed, WorkerLost
from asyncsyft.protocol import WINDOW
from asyncsyft.relay import EXEMPT_ROOM
from asyncsyft.transport import memory_pair
from tests.journeys.kit import SECONDS, Town, bystander, memory, town, until
from tests.journeys.scripted import packed, scripted

pytestmark = pytest.mark.anyio

#: Seconds: links are given up after four of these in a row without a word.
HASTY = {"heartbeat": 0.02, "silence": 0.08}


def waiting(made: Town, name: str) -> int:
    """Bytes that wait at the relay for a peer."""
    return sum(m.waiting for m in made.relay.members.values() if m.info and m.info.name == name)


async def test_a_worker_that_stops_reading_slows_nobody_and_is_cut() -> None:
    async with town("memory", "alice", "bob", relay=HASTY) as made, made.connect() as driver:
        async with bystander(made, "bob") as other:
            alice, bob = await driver.wait_for("alice", "bob")
            memory(made.dialled[0]).pause()
            kept = [alice.recorder.put(np.zeros(1 << 13)) for _ in range(64)]  # 4 MiB
            await until(lambda: waiting(made, "alice") > WINDOW // 2)
            x = await bob.send(np.ones(3))
            np.testing.assert_array_equal(await x.get(), np.ones(3))
            assert waiting(made, "alice") <= WINDOW + EXEMPT_ROOM
            await other.goes_on()
            assert waiting(made, "alice") <= WINDOW + EXEMPT_ROOM
            with pytest.raises(WorkerLost, match=r"alice left: memory answered no ping") as caught:
                await driver.flush()
            assert caught.value.also == []
            assert "alice" not in driver.workers
            assert len(kept) == 64
        del made.workers["alice"].peer.roads[:]


async def raw_worker(made: Town, name: str) -> anyio.abc.SocketStream:
    """A worker on a real websocket that says hello and never reads again; its frames are masked with zeros."""
    stream = await anyio.connect_tcp("127.0.0.1", made.relay.port)
    await stream.send(
        b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Protocol: asyncsyft.v1\r\n\r\n"
    )
    head = b""
    while b"\r\n\r\n" not in head:
        head += await stream.receive()
    hello = packed(wire.HELLO, [1, name, "worker", b"sleeping", None, {}])
    await stream.send(b"\x82" + bytes([0x80 | len(hello)]) + bytes(4) + hello)
    return stream


async def test_a_websocket_that_is_never_read_is_bounded_and_cut() -> None:
    async with town("relay", "bob", relay=HASTY) as made, made.connect() as driver, bystander(made, "bob") as other:
        async with await raw_worker(made, "sleeper"):
            (sleeper,) = await driver.wait_for("sleeper")
            asked = [sleeper.recorder.put(np.zeros(1 << 13)) for _ in range(64)]
            assert asked
            await until(lambda: "sleeper" not in driver.workers)
            with pytest.raises(WorkerLost, match="sleeper left: .* answered no ping"):
                await driver.flush()
            await other.goes_on()
            assert len(made.relay.members) == 3


async def test_many_who_send_to_one_that_does_not_read(monkeypatch: Any) -> None:
    monkeypatch.setattr(relay_module.relay, "MAX_WAITING", 2 << 20)
    async with town("memory", "alice", "bob") as made, bystander(made, "bob") as other:
        memory(made.dialled[0]).pause()
        async with made.connect("one") as one, made.connect("two") as two, made.connect("three") as three:
            async with scripted(await made.dial()) as sleeper:
                await sleeper.hello("sleeper", "worker")
                peers = [one, two, three]
                number = sleeper.number
                sleeper.transport.pause()  # type: ignore[attr-defined]
                for driver in peers:
                    (road,) = driver.peer.roads
                    parcel = wire.Parcel(wire.PROGRAM, 0, (0, [], []), [bytes(400_000)])
                    for _ in range(3):
                        road.link.send(parcel, number, 1)
                await until(lambda: made.relay.slow_consumers == 1)
                await until(lambda: number not in made.relay.members)
                await other.goes_on()
        memory(made.dialled[0]).resume()


async def test_a_pair_that_exceeds_its_credit_is_parted() -> None:
    async with town("memory", "alice", "bob") as made, bystander(made, "bob") as other:
        async with scripted(await made.dial()) as mallory:
            await mallory.hello("mallory")
            alice = mallory.find("alice")
            await mallory.resume(alice.number, alice.incarnation)
            link = memory(made.dialled[0])
            link.pause()
            piece = packed(wire.PROGRAM, [0, [], []], bytes(500_000), to=alice.number, number=1)
            for _ in range(5):
                mallory.say(piece, piece)
            goodbye = await mallory.says(wire.GOODBYE)
            assert goodbye.code == "RemoteProtocolError"
            assert "mallory sent more than its credit to alice" in goodbye.reason
            assert made.relay.credit_exceeded == 1
            await other.goes_on()
            mallory.say(packed(wire.PING, [], number=3))
            await mallory.hears(wire.PONG)  # its own link lives
            link.resume()
            worker = made.workers["alice"]
            await until(lambda: mallory.incarnation not in worker.peer.conversations.by_life)
        async with made.connect() as driver:
            x = await driver["alice"].send(np.ones(3))
            np.testing.assert_array_equal(await x.get(), np.ones(3))


async def test_a_worker_that_is_sent_more_than_it_granted_says_so() -> None:
    async with town("direct", "alice") as made, bystander(made), scripted(await made.dial()) as mallory:
        welcome = await mallory.hello("mallory")
        await mallory.resume(0, welcome.me.incarnation)
        # A tensor that does not come parks the programs that name it: what they hold is not given back.
        put = ["put", 1, [], {"dtype": "<f8", "shape": [1 << 20]}]
        mallory.program(0, [put], chunked=[0])
        for _ in range(3):
            mallory.program(0, [["add", 2, [1, 1]]], bytes(400_000))
        goodbye = await mallory.says(wire.GOODBYE)
        assert goodbye.code == "RemoteProtocolError"
        assert "were granted" in goodbye.reason


@pytest.mark.parametrize("role", ["driver", "worker"])
async def test_a_peer_that_answers_no_ping_is_given_up(role: str) -> None:
    async with town("memory", "alice", relay=HASTY) as made, bystander(made):
        async with scripted(await made.dial()) as silent:
            await silent.hello("silent", role)
            await silent.ended.wait()
            assert [frame.kind for frame in silent.heard].count(wire.PING) >= 1
        await until(lambda: len(made.relay.members) == 2)


async def test_a_driver_that_answers_no_ping_is_given_up_by_the_worker_it_dialled() -> None:
    async with town("direct", "alice", **HASTY) as made, bystander(made), scripted(await made.dial()) as silent:
        await silent.hello("silent")
        await silent.ended.wait()
        assert isinstance(silent.outcome, LinkClosed)


async def test_a_relay_that_answers_no_ping_is_given_up() -> None:
    near, far = memory_pair()

    async def dial() -> Any:
        return near

    with anyio.fail_after(SECONDS):
        async with scripted(far) as relay, anyio.create_task_group() as tasks:
            tasks.start_soon(relay.greet, [2, "alice", "worker", b"sleeping"])
            async with Driver(dial, resume_grace=0, **HASTY) as driver:
                with pytest.raises(WorkerLost, match="alice is lost: memory answered no ping"):
                    await driver["alice"].stats()


async def test_who_answers_only_pings_is_kept() -> None:
    async with town("memory", "alice", relay=HASTY) as made, scripted(await made.dial()) as slow:
        await slow.hello("slow")
        for _ in range(8):
            ping = await slow.hears(wire.PING)
            slow.say(packed(wire.PONG, [], number=ping.id))
        assert not slow.ended.is_set()
