"""A driver: what it promises of ids, flushes, scopes, and of errors that come from its own hands."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, List

import anyio
import numpy as np
import pytest
import trustme

import asyncsyft
from asyncsyft import wire
from asyncsyft.driver import Driver
from asyncsyft.errors import LimitExceeded, LocalProtocolError, OpFailed, RemoteProtocolError, WorkerLost
from asyncsyft.testing import cluster
from asyncsyft.transport import memory_pair
from tests.journeys.kit import SECONDS, town, until
from tests.journeys.scripted import Scripted, packed, scripted

pytestmark = pytest.mark.anyio


async def test_object_ids_are_never_given_twice() -> None:
    async with town("memory", "alice", "bob") as made, made.connect() as driver:
        tensors = [await driver[name].send(np.ones(1)) for name in ("alice", "bob", "alice")]
        first = driver.new_ids(10)
        tensors.append(tensors[0] + tensors[2])
        ids = [tensor.id for tensor in tensors] + list(range(first, first + 10))
        assert len(set(ids)) == len(ids)


async def test_flush_of_one_worker_does_not_wait_for_another() -> None:
    async with town("memory", "alice", "bob") as made, made.connect() as driver:
        alice, bob = driver["alice"], driver["bob"]
        await driver.flush()
        made.dialled[1].pause()  # type: ignore[attr-defined]
        x, y = await alice.send(np.ones(2)), await bob.send(np.ones(2))
        await driver.flush(alice)
        assert made.workers["bob"].store.objects == 0
        made.dialled[1].resume()  # type: ignore[attr-defined]
        await driver.flush(bob)
        assert made.workers["bob"].store.objects == 1
        del x, y


async def test_a_flush_with_nothing_recorded_returns() -> None:
    async with town("memory", "alice") as made, made.connect() as driver:
        asked = driver["alice"].recorder.conversation.last_id
        for _ in range(3):
            await driver.flush()
        assert driver["alice"].recorder.conversation.last_id == asked


async def test_a_deleted_tensor_is_refused_before_anything_is_sent() -> None:
    async with town("memory", "alice") as made, made.connect() as driver:
        x = await driver["alice"].send(np.ones(2))
        y = x + x
        x.delete()
        for use in (x.delete, lambda: x + y, lambda: y + x, lambda: x + 1):
            with pytest.raises(LocalProtocolError, match="was deleted"):
                use()
        with pytest.raises(LocalProtocolError, match="was deleted"):
            await x.get()
        np.testing.assert_array_equal(await y.get(), [2, 2])


@pytest.mark.parametrize("value", [np.array([None]), np.array(["text"]), np.ones(2, "f2"), object()])
async def test_what_does_not_travel_is_refused_where_it_is_sent(value: Any) -> None:
    async with town("memory", "alice") as made, made.connect() as driver:
        with pytest.raises(TypeError, match="does not travel"):
            await driver["alice"].send(value)
        await driver.flush()
        assert made.workers["alice"].executor.steps_run == 0


async def test_a_small_array_is_copied_when_it_is_sent() -> None:
    async with town("memory", "alice") as made, made.connect() as driver:
        ours = np.ones(4)
        x = await driver["alice"].send(ours)
        ours[:] = 7
        np.testing.assert_array_equal(await x.get(), np.ones(4))


async def test_nested_scopes_each_keep_their_own() -> None:
    async with town("memory", "alice") as made, made.connect() as driver:
        x = await driver["alice"].send(np.zeros((2, 2)))
        kept: List[Any] = []
        async with driver.scope() as outer:
            kept.append(driver["alice"].call("linalg.inv", x))
            async with driver.scope() as inner:
                kept.append(x + x)
                await inner.flush()
            with pytest.raises(OpFailed):
                await outer.flush()
        await driver.flush()


async def test_a_scope_that_ends_in_an_error_does_not_hide_it() -> None:
    async with town("memory", "alice") as made, made.connect() as driver:
        x = await driver["alice"].send(np.zeros((2, 2)))
        with pytest.raises(KeyError):
            await fail_within(driver, x)
        await x.get()


async def fail_within(driver: Driver, x: Any) -> None:
    async with driver.scope():
        driver["alice"].call("linalg.inv", x)
        raise KeyError("mine")


@pytest.mark.parametrize("road", ["memory", "direct"])
async def test_errors_of_the_body_come_out_as_they_are(road: str) -> None:
    async with town(road, "alice") as made:
        with pytest.raises(ZeroDivisionError):
            async with made.connect() as driver:
                await driver.wait_for("alice")
                raise ZeroDivisionError


async def test_what_is_recorded_at_a_worker_that_is_lost_is_told() -> None:
    async with town("memory") as made, made.connect() as driver:
        async with made.worker("alice"):
            alice = (await driver.wait_for("alice"))[0]
            x = await alice.send(np.ones(2))
            await driver.flush()
            for road in driver.peer.roads:
                road.link.transport.abort()
            y = x + x
            z = alice.recorder.ask(["get", 0, [y.id]])
            with pytest.raises(WorkerLost, match="alice is lost"):
                await z
            with pytest.raises(WorkerLost, match="alice is lost"):
                await driver.flush()
            await driver.flush()


async def answering(relay: Scripted, answer: Any) -> None:
    """A relay with one worker, which answers the first program with what ``answer`` gives."""
    hello = await relay.greet([2, "alice", "worker", b"sleeping"])
    relay.say(packed(wire.RESUME, [b"sleeping", hello.incarnation, 0, 0, {}], sender=2))
    await relay.hears(wire.PROGRAM)
    relay.say(answer)


@pytest.mark.parametrize(
    "answer",
    [
        packed(wire.ANSWERS, [0, [], []], number=1, sender=2),
        packed(wire.VALUES, [0, [[0, "|O", [1], 0]]], bytes(8), number=1, sender=2),
        packed(wire.VALUES, [0, [[0, "<f8", [1 << 60], 0]]], bytes(8), number=1, sender=2),
        packed(wire.VALUES, [0, [[0, "<f8", [2], 0]]], bytes(8), number=1, sender=2),
        packed(wire.CHUNK_OF, [0, 0, "<f8", [9], 8], bytes(8), number=1, sender=2, flags=wire.OF_ANSWER),
        packed(wire.ANSWERS, [0, [], []], number=9, sender=2),
        packed(wire.ANSWERS, [0, [9], []], sender=2),
        packed(wire.PROGRAM, [0, [], []], number=1, sender=2),
        packed(wire.VALUES, [0, [[0, "|m", [2], 0]]], b"\xc1\xc1", number=1, sender=2),
    ],
)
async def test_a_worker_that_answers_nonsense(answer: bytes) -> None:
    near, far = memory_pair()

    async def dial() -> Any:
        return near

    with anyio.fail_after(SECONDS):
        async with scripted(far) as relay, anyio.create_task_group() as tasks:
            tasks.start_soon(answering, relay, answer)
            async with Driver(dial, "one", resume_grace=0) as driver:
                with pytest.raises(RemoteProtocolError):
                    await driver["alice"].recorder.ask(["get", 0, [1]])
                assert len(driver.peer.roads) == 1  # the link to the relay lives
            tasks.cancel_scope.cancel()


async def test_a_tensor_past_all_limits_fails_alone() -> None:
    near, far = memory_pair()

    async def dial() -> Any:
        return near

    answer = packed(wire.CHUNK_OF, [0, 0, "<f8", [1 << 60], 0], bytes(8), number=1, sender=2, flags=wire.OF_ANSWER)
    with anyio.fail_after(SECONDS):
        async with scripted(far) as relay, anyio.create_task_group() as tasks:
            tasks.start_soon(answering, relay, answer)
            async with Driver(dial, "one", resume_grace=0) as driver:
                with pytest.raises(LimitExceeded, match="past the limit"):
                    await driver["alice"].recorder.ask(["get", 0, [1]])
                relay.transport.abort()
            tasks.cancel_scope.cancel()


async def test_documents_that_say_nonsense_are_errors_of_ours() -> None:
    near, far = memory_pair()

    async def dial() -> Any:
        return near

    document = b"\x91\x81\xa5dtype\x01"
    answer = packed(wire.VALUES, [0, [[0, "|m", [len(document)], 0]]], document, number=1, sender=2)
    with anyio.fail_after(SECONDS):
        async with scripted(far) as relay, anyio.create_task_group() as tasks:
            tasks.start_soon(answering, relay, answer)
            async with Driver(dial, "one", resume_grace=0) as driver:
                with pytest.raises(RemoteProtocolError):
                    await driver["alice"].search("x")
                relay.transport.abort()  # it will answer nothing more, and closing would wait a while for it
            tasks.cancel_scope.cancel()


async def test_a_worker_that_comes_back_before_the_news_that_it_left() -> None:
    near, far = memory_pair()

    async def dial() -> Any:
        return near

    again = packed(wire.PEERS, [[[3, "alice", "worker", b"anotherl"]], []])
    with anyio.fail_after(SECONDS):
        async with scripted(far) as relay, anyio.create_task_group() as tasks:
            tasks.start_soon(answering, relay, again)
            async with Driver(dial, "one", resume_grace=0) as driver:
                before = driver["alice"]
                with pytest.raises(WorkerLost, match="alice was started anew"):
                    await before.recorder.ask(["get", 0, [1]])
                assert driver["alice"] is not before
                relay.say(packed(wire.PEERS, [[], [[2, "gone"]]]))
                relay.say(packed(wire.PING, [], number=7))
                await relay.hears(wire.PONG)
                assert driver["alice"].conversation.to == 3
                with pytest.raises(WorkerLost, match="alice was started anew"):
                    await before.send(np.ones(2))
                relay.transport.abort()
                await until(lambda: not driver.workers)
            tasks.cancel_scope.cancel()


async def test_names_are_made_up_when_none_is_given() -> None:
    async with town("memory", "alice") as made, made.connect() as one, made.connect() as two:
        assert one.peer.name != two.peer.name
        assert repr(one["alice"]) == "<RemoteWorker alice>"
        assert asyncsyft.connect("ws://127.0.0.1:1", name="me").peer.name == "me"


async def test_a_program_too_large_for_a_frame_is_ours_to_tell() -> None:
    async with town("memory", "alice") as made, made.connect() as driver:
        alice = driver["alice"]
        words = ["w" * 250] * 64
        slots = [alice.recorder.ask(["search", 0, [], {"query": words, "base": 1, "most": 1}]) for _ in range(100)]
        with pytest.raises(LocalProtocolError, match="past the limit"):
            for slot in slots:
                await slot
        x = await alice.send(np.ones(2))
        np.testing.assert_array_equal(await x.get(), np.ones(2))


async def test_an_idle_driver_lets_the_worker_forget_what_it_answered() -> None:
    with anyio.fail_after(SECONDS):
        async with cluster("alice") as here:
            x = await here.driver["alice"].send(np.ones(1 << 13))
            await x.get()
            (talk,) = here.workers["alice"].peer.conversations.roads
            await until(lambda: not talk.served)  # the last answer is pinned until the driver says that it has seen it


@pytest.mark.parametrize("how", ["connect", "open", "tls"])
def test_a_loop_that_anyio_did_not_start(how: str) -> None:
    """``asyncio.run``, and notebooks: what sockets bring comes where no task runs."""
    authority = trustme.CA()
    here, there = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(here)
    authority.configure_trust(there)

    async def twice(driver: Driver) -> Any:
        (alice,) = await driver.wait_for("alice")
        return await (2 * await alice.send(np.arange(3.0))).get()

    async def main() -> Any:
        async with asyncsyft.Worker("alice", listen="127.0.0.1:0", ssl=here if how == "tls" else None) as worker:
            url = f"{'wss' if how == 'tls' else 'ws'}://127.0.0.1:{worker.port}"
            if how == "open":
                driver = await asyncsyft.open(url)
                try:
                    return await twice(driver)
                finally:
                    await driver.aclose()
            async with asyncsyft.connect(url, ssl=there if how == "tls" else None) as driver:
                return await twice(driver)

    assert asyncio.run(asyncio.wait_for(main(), SECONDS)).tolist() == [0.0, 2.0, 4.0]
