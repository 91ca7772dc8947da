"""A peer: what another peer may say to it, what that costs whom, and how links of its own are kept or given up."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, List

import anyio
import numpy as np
import pytest

from asyncsyft import peer as peer_module
from asyncsyft import wire
from asyncsyft.driver import Driver
from asyncsyft.errors import LinkClosed, LinkError, Refused, RemoteProtocolError
from asyncsyft.identity import Admission, Authority, Revoked, revoke
from asyncsyft.peer import split_address
from asyncsyft.relay import Relay
from asyncsyft.transport import Transport, memory_pair
from asyncsyft.worker import Worker
from tests.journeys.kit import SECONDS, bystander, town, until
from tests.journeys.scripted import Scripted, packed, scripted

pytestmark = pytest.mark.anyio

LIFE = b"incarnat"
DEEP = b"\x91" * 50_000
WIDE = b"\x96" + b"\xdd\x7f\xff\xff\xff" * 6
PUT = ["put", 1, [], {"dtype": "<f8", "shape": [1 << 16]}]

#: Said to a worker behind the relay before any conversation, and what comes back.
BEFORE_RESUME = {
    "a program": (wire.PROGRAM, [0, [], []], wire.REFUSED),
    "values": (wire.VALUES, [0, []], wire.REFUSED),
    "an unknown kind": (200, [], wire.REFUSED),
    "a resume that is no msgpack": (wire.RESUME, b"\xc1", wire.GOODBYE),
    "a resume of too few fields": (wire.RESUME, [LIFE], wire.GOODBYE),
    "a resume with a short life": (wire.RESUME, [b"short", LIFE, 0, 0, {}], wire.GOODBYE),
    "a resume of another life": (wire.RESUME, [LIFE, b"somebody", 0, 0, {}], wire.REFUSED),
    "a depth bomb": (wire.RESUME, DEEP, wire.GOODBYE),
    "garbage in a ping": (wire.PING, b"\xc1", wire.GOODBYE),
    "an unknown kind of the link": (10, [], wire.GOODBYE),
    "garbage in a refusal": (wire.REFUSED, [0], wire.GOODBYE),
}
#: Said in a conversation: each ends it, and nothing else.
IN_CONVERSATION = {
    "a program out of turn": packed(wire.PROGRAM, [0, [], []], number=2),
    "a program without a list": packed(wire.PROGRAM, [0, {}, []], number=1),
    "a program that is a depth bomb": packed(wire.PROGRAM, DEEP, number=1),
    "a program with huge declared lengths": packed(wire.PROGRAM, WIDE, number=1),
    "a program of unknown flags": packed(wire.PROGRAM, [0, [], []], number=1, flags=0x10),
    "a program that is compressed": packed(wire.PROGRAM, [0, [], []], number=1, flags=wire.COMPRESSED),
    "a program that saw what was never answered": packed(wire.PROGRAM, [7, [], []], number=1),
    "chunks for a step that is none": packed(wire.PROGRAM, [0, [PUT], [1]], number=1),
    "a chunk for nobody": packed(wire.CHUNK_OF, [0, 0, "<f8", [1], 0], bytes(8), number=1),
    "a chunk that answers nothing": packed(
        wire.CHUNK_OF, [0, 0, "<f8", [1], 0], bytes(8), number=1, flags=wire.OF_ANSWER
    ),
    "values that answer nothing": packed(wire.VALUES, [0, [[0, "<f8", [], 0]]], bytes(8), number=1),
    "answers to what was never asked": packed(wire.ANSWERS, [0, [], []], number=1),
    "answers that are malformed": packed(wire.ANSWERS, [0, [None], []]),
    "a cancel without a step": packed(wire.CANCEL, [0], number=1),
    "credit that is no number": packed(wire.CREDIT, [0, "much"]),
    "an unknown kind": packed(99, [0]),
    "a link's kind": packed(12, [0]),
    "a resume that received too much": packed(wire.RESUME, [LIFE, LIFE, 99, 0, {}]),
}


async def meet(made: Any, mallory: Scripted) -> int:
    """Say hello and open a conversation with alice; her number (0 on a direct road)."""
    welcome = await mallory.hello("mallory")
    info = welcome.me if made.road == "direct" else mallory.find("alice")
    await mallory.resume(info.number, info.incarnation)
    return info.number


@pytest.mark.parametrize(("kind", "meta", "answer"), BEFORE_RESUME.values(), ids=BEFORE_RESUME)
async def test_a_stranger_is_told_and_the_worker_s_link_lives(kind: int, meta: Any, answer: int) -> None:
    async with town("memory", "alice") as made, bystander(made):
        async with scripted(await made.dial()) as mallory:
            await mallory.hello("mallory")
            mallory.say(packed(kind, meta, to=mallory.find("alice").number, number=1))
            said = await mallory.says(answer)
            assert said.code == ("UnknownPeer" if answer == wire.REFUSED else "RemoteProtocolError")
            # It may do better: its own link to the relay is fine as well.
            await mallory.resume(mallory.find("alice").number, mallory.find("alice").incarnation)
        assert len(made.workers["alice"].peer.roads) == 1


@pytest.mark.parametrize("road", ["memory", "direct"])
@pytest.mark.parametrize("said", IN_CONVERSATION.values(), ids=IN_CONVERSATION)
async def test_who_breaks_the_protocol_loses_the_conversation(road: str, said: bytes) -> None:
    async with town(road, "alice") as made, bystander(made):
        async with scripted(await made.dial()) as mallory:
            number = await meet(made, mallory)
            kind, flags, lane, _, _, meta_len, frame_id, body_len = wire.HEADER.unpack_from(said)
            fields = (kind, flags, lane, number, 0, meta_len, frame_id, body_len)
            rest = said[wire.HEADER_SIZE :].replace(LIFE, mallory.incarnation, 1)
            if kind == wire.RESUME:
                rest = rest.replace(LIFE, made.workers["alice"].peer.incarnation)
            mallory.say(wire.HEADER.pack(*fields) + rest)
            goodbye = await mallory.says(wire.GOODBYE)
            assert goodbye.code == "RemoteProtocolError"
            assert goodbye.reason
            (alice,) = made.workers.values()
            assert mallory.incarnation not in alice.peer.conversations.by_life


async def test_more_lanes_than_there_may_be() -> None:
    async with town("memory", "alice") as made, bystander(made):
        async with scripted(await made.dial()) as mallory:
            to = await meet(made, mallory)
            for lane in range(2000):
                mallory.say(packed(wire.CREDIT, [0, 1], to=to, lane=lane))
            assert "more than 1024 lanes" in (await mallory.says(wire.GOODBYE)).reason


async def test_a_number_used_twice_runs_once() -> None:
    async with town("memory", "alice") as made, bystander(made):
        async with scripted(await made.dial()) as mallory:
            to = await meet(made, mallory)
            put = ["put", 7, [], {"dtype": "<f8", "shape": [2], "at": 0}]
            first = mallory.program(to, [put], np.ones(2).tobytes())
            assert await mallory.answers(first) == []
            mallory.asked = 0
            mallory.program(to, [["put", 7, [], {"dtype": "<f8", "shape": [2], "at": 0}]], np.zeros(2).tobytes())
            mallory.program(to, [["get", 0, [7]]])
            (came,) = await mallory.values()
            np.testing.assert_array_equal(came, np.ones(2))


async def test_cancels_of_what_is_not_there_cost_nothing() -> None:
    async with town("memory", "alice") as made, bystander(made):
        async with scripted(await made.dial()) as mallory:
            to = await meet(made, mallory)
            for number in (0, 1, 5, wire.MAX_ID):
                mallory.say(packed(wire.CANCEL, [0, number], to=to, number=number))
            assert await mallory.answers(mallory.program(to, [])) == []


async def test_a_life_that_is_taken_is_not_given_to_another() -> None:
    async with town("memory", "alice") as made, bystander(made), made.connect("victim") as driver:
        secret = await driver["alice"].send(np.arange(4.0))
        await driver.flush()
        async with scripted(await made.dial()) as mallory:
            await mallory.hello("mallory")
            alice = mallory.find("alice")
            mallory.incarnation = driver.peer.incarnation
            mallory.say(packed(wire.RESUME, [mallory.incarnation, alice.incarnation, 0, 0, {}], to=alice.number))
            mallory.program(alice.number, [["get", 0, [secret.id]]])
            assert (await mallory.says(wire.REFUSED)).code == "UnknownPeer"
            assert not [frame for frame in mallory.heard if frame.kind == wire.VALUES]
        np.testing.assert_array_equal(await secret.get(), np.arange(4.0))


# A worker that listens is its own door.

HELLO: List[Any] = [wire.VERSION, "mallory", "driver", LIFE, None, {}]
AT_THE_DOOR = {
    "nonsense": b"nonsense",
    "a frame before the hello": packed(wire.PROGRAM, [0, [], []], number=1),
    "a welcome": packed(wire.WELCOME, [1, 0, LIFE, [0, "r", "relay", LIFE], [], {}]),
    "a short life": packed(wire.HELLO, [*HELLO[:3], b"short", None, {}]),
    "a huge name": packed(wire.HELLO, [1, "n" * 10_000, *HELLO[2:]]),
    "a hello that names a sender": packed(wire.HELLO, HELLO, sender=4),
    "two hellos": packed(wire.HELLO, HELLO) * 2,
    "a forged sender": packed(wire.HELLO, HELLO) + packed(wire.RESUME, [LIFE, LIFE, 0, 0, {}], sender=5),
    "news of peers": packed(wire.HELLO, HELLO) + packed(wire.PEERS, [[[3, "bob", "worker", LIFE]], []]),
    "an unknown kind": packed(wire.HELLO, HELLO) + packed(10, []),
}


@pytest.mark.parametrize("said", AT_THE_DOOR.values(), ids=AT_THE_DOOR)
async def test_what_a_listening_worker_does_not_take(said: bytes) -> None:
    async with town("direct", "alice") as made, bystander(made):
        async with scripted(await made.dial()) as mallory:
            mallory.say(said)
            await mallory.ended.wait()
            assert "1002" in str(mallory.outcome)
        await until(lambda: len(made.workers["alice"].peer.roads) == 1)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({0: 2}, "protocol version 2"), ({2: "relay"}, "a driver or a worker"), ({1: ""}, "with a name")],
)
async def test_a_listening_worker_refuses_politely(changes: Any, reason: str) -> None:
    async with town("direct", "alice") as made, bystander(made):
        async with scripted(await made.dial()) as mallory:
            mallory.say(packed(wire.HELLO, [changes.get(at, field) for at, field in enumerate(HELLO)]))
            goodbye = await mallory.says(wire.GOODBYE)
            assert goodbye.code == "Refused"
            assert reason in goodbye.reason
            await mallory.ended.wait()


async def test_a_listening_worker_survives_who_hangs_up_or_says_nothing(monkeypatch: Any) -> None:
    monkeypatch.setattr(peer_module.hall, "HANDSHAKE_TIMEOUT", 0.02)
    async with town("direct", "alice") as made, bystander(made):
        async with scripted(await made.dial()) as mallory:
            mallory.transport.abort()
            await mallory.ended.wait()
        async with scripted(await made.dial()) as mallory:
            await mallory.ended.wait()
            assert isinstance(mallory.outcome, LinkClosed)


# The other end of a driver's own link.


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (packed(wire.GOODBYE, ["Refused", "not today"]), Refused),
        (packed(wire.GOODBYE, ["", "bye"]), LinkError),
        (packed(wire.WELCOME, [1, 1]), RemoteProtocolError),
        (packed(wire.HELLO, HELLO), RemoteProtocolError),
        (packed(wire.ANSWERS, [0, [], []]), RemoteProtocolError),
        (b"\x01", RemoteProtocolError),
    ],
)
async def test_what_a_driver_is_told_instead_of_a_welcome(answer: bytes, error: Any) -> None:
    near, far = memory_pair()

    async def dial() -> Any:
        return near

    with anyio.fail_after(SECONDS):
        async with scripted(far) as relay:
            relay.say(answer)
            if error is not RemoteProtocolError:
                far.close()
            with pytest.raises(error):
                async with Driver(dial):
                    raise AssertionError("it was let in")


async def test_no_welcome_comes(monkeypatch: Any) -> None:
    monkeypatch.setattr(peer_module.peer, "HANDSHAKE_TIMEOUT", 0.02)
    near, far = memory_pair()
    with anyio.fail_after(SECONDS):
        async with scripted(far) as relay, Worker("alice") as worker:
            with pytest.raises(TimeoutError):
                await worker.join(near)
            await relay.ended.wait()
            assert not relay.heard  # who dials waits for the challenge


async def test_a_ping_ends_with_the_worker_or_the_link() -> None:
    async with town("memory") as made, made.connect() as driver:
        async with scripted(await made.dial()) as silent, anyio.create_task_group() as tasks:
            await silent.hello("silent", "worker")
            (worker,) = await driver.wait_for("silent")
            failed: List[BaseException] = []

            async def ping() -> None:
                with pytest.raises(LinkError) as error:
                    await worker.ping()
                failed.append(error.value)

            tasks.start_soon(ping)
            await silent.hears(wire.PING)
            silent.transport.abort()
        assert "silent" in str(failed[0])
        made.dialled[0].abort()
        await until(lambda: not driver.peer.roads)
        with pytest.raises(LinkError):
            await worker.ping()


@pytest.mark.parametrize("address", ["", "host", "host:", "host:port", ":"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(ValueError, match="is not host:port"):
        split_address(address)


def test_addresses() -> None:
    assert split_address("127.0.0.1:80") == ("127.0.0.1", 80)
    assert split_address("[::1]:0") == ("::1", 0)
    assert split_address(":7") == ("", 7)


@pytest.mark.parametrize("road", ["memory", "direct"])
async def test_a_token_that_is_revoked_ends_what_it_opened(road: str, tmp_path: Path) -> None:
    authority, file = Authority.new(), tmp_path / "revoked"
    file.write_text("")
    tokens = [authority.issue(["*"], ["driver", "worker"], expires=1 << 33, id=name) for name in ("kept", "lost")]
    admission = Admission([authority.public], revoked=Revoked(file))
    with anyio.fail_after(SECONDS):
        async with AsyncExitStack() as stack:
            if road == "direct":
                options: Any = {"listen": "127.0.0.1:0", "admission": admission, "heartbeat": 0.02}
                url: Any = f"ws://{(await stack.enter_async_context(Worker('alice', **options))).address}"
            else:
                relay = await stack.enter_async_context(Relay(admission=admission, heartbeat=0.02))

                async def url() -> Transport:
                    near, far = memory_pair()
                    relay.attach(far)
                    return near

                await stack.enter_async_context(Worker("alice", url, token=tokens[0]))
            kept, lost = [await stack.enter_async_context(Driver(url, token=token)) for token in tokens]
            for driver in (kept, lost):
                (alice,) = await driver.wait_for("alice")
                await alice.stats()
            revoke(file, "lost")
            with pytest.raises(Refused, match="no longer good|was revoked"):
                await lost.wait_for("bob")
            with pytest.raises(Refused, match="no longer good|was revoked"):
                await alice.stats()
            await kept["alice"].stats()
