"""The relay: what it refuses, whom that costs the link, and what it tells of those who come and go."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any, List

import anyio
import msgpack
import pytest

from asyncsyft import relay as relay_module
from asyncsyft import wire
from asyncsyft.errors import LinkClosed
from asyncsyft.identity import Grant
from asyncsyft.peer import hall
from asyncsyft.relay import Relay
from asyncsyft.transport import memory_pair
from tests.journeys.kit import SECONDS, bystander, town, until
from tests.journeys.scripted import packed, scripted

pytestmark = pytest.mark.anyio

LIFE = b"incarnat"
HELLO: List[Any] = [wire.VERSION, "mallory", "driver", LIFE, None, {}]
DEEP = b"\x91" * 50_000
WIDE = b"\x96" + b"\xdd\x7f\xff\xff\xff" * 6  # arrays that declare two thousand million entries


def hello(**changes: Any) -> bytes:
    fields = dict(zip(("version", "name", "role", "incarnation", "token", "can"), HELLO))
    return packed(wire.HELLO, list({**fields, **changes}.values()))


PING = packed(wire.PING, [])
#: What costs the link that it came on: said instead of a hello.
INSTEAD_OF_HELLO = {
    "nothing but a few bytes": b"12345",
    "half a header": PING[:20],
    "a meta that is cut": packed(wire.PING, [], meta_len=64),
    "a body that is cut": packed(wire.PING, [], body_len=1 << 20),
    "a body of 2^63 bytes": packed(wire.PING, [], body_len=1 << 63),
    "a meta of 2^32-1 bytes": packed(wire.PING, [], meta_len=(1 << 32) - 1),
    "frames that overlap": packed(wire.PING, [], body_len=16) + PING[:8],
    "a frame past the limit": packed(wire.PING, [], bytes(wire.MAX_FRAME)),
    "an id past 2^53-1": packed(wire.PING, [], number=1 << 53),
    "nonsense": bytes(range(256)),
    "an unknown kind": packed(99, []),
    "kind 0": packed(0, []),
    "a welcome": packed(wire.WELCOME, [1, 1, LIFE, [0, "relay", "relay", LIFE], [], {}]),
    "news of peers": packed(wire.PEERS, [[], []]),
    "a program": packed(wire.PROGRAM, [0, [], []], number=1),
    "a frame for somebody before the hello": packed(wire.PING, [], to=1),
    "flags on a hello": packed(wire.HELLO, HELLO, flags=0x40),
    "a sealed hello": packed(wire.HELLO, HELLO, flags=wire.SEALED),
    "a hello that names its sender": packed(wire.HELLO, HELLO, sender=3),
    "a hello that is no list": packed(wire.HELLO, {"name": "mallory"}),
    "a hello that is no msgpack": packed(wire.HELLO, b"\xc1\xc1\xc1\xc1"),
    "a hello that ends early": packed(wire.HELLO, msgpack.packb(HELLO)[:-3]),
    "a hello with a tail": packed(wire.HELLO, msgpack.packb(HELLO) + b"\x01"),
    "a hello of too few fields": packed(wire.HELLO, HELLO[:3]),
    "a depth bomb": packed(wire.HELLO, DEEP),
    "huge declared lengths": packed(wire.HELLO, WIDE),
    "an incarnation of 7 bytes": hello(incarnation=b"1234567"),
    "an incarnation that is text": hello(incarnation="12345678"),
    "a name of 257 characters": hello(name="n" * 257),
    "a name that is no text": hello(name=7),
    "a role that is no text": hello(role=None),
    "a token of a million characters": hello(token="t" * 300_000),
    "a version that is no number": hello(version="1"),
    "abilities that are no map": hello(can=[]),
}
#: The same, said after a good hello.
AFTER_HELLO = {
    "a second hello": packed(wire.HELLO, HELLO),
    "a forged sender": packed(wire.PING, [], to=1, sender=7),
    "a forged sender to the relay": packed(wire.PING, [], sender=7),
    "a routed hello": packed(wire.HELLO, HELLO, to=1),
    "a routed welcome": packed(wire.WELCOME, [1, 1, LIFE, [0, "relay", "relay", LIFE], [], {}], to=1),
    "routed news": packed(wire.PEERS, [[], [[1, ""]]], to=1),
    "a routed id past 2^53-1": packed(wire.PROGRAM, [0, [], []], to=1, number=1 << 53),
    "a routed frame past the limit": packed(wire.PROGRAM, [0, [], []], bytes(wire.MAX_FRAME), to=1, number=1),
    "a good frame and half a one": packed(wire.PING, [], to=1) + PING[:9],
    "a resume of the relay": packed(wire.RESUME, [LIFE, LIFE, 0, 0, {}]),
    "garbage in a goodbye": packed(wire.GOODBYE, b"\xc1"),
}
REFUSED = {
    "another version": (hello(version=2), "protocol version 2; this is version 1"),
    "a role that is none": (hello(role="relay"), "a driver or a worker"),
    "no name": (hello(name=""), "with a name"),
    "a name that prints badly": (hello(name="a\nb"), "name"),
    "a name that is taken": (hello(name="alice", role="worker"), "the name 'alice' is taken"),
}


@pytest.mark.parametrize("said", INSTEAD_OF_HELLO.values(), ids=INSTEAD_OF_HELLO)
async def test_what_is_no_hello_costs_the_link_it_came_on(said: bytes) -> None:
    async with town("memory", "alice") as made, bystander(made):
        async with scripted(await made.dial()) as mallory:
            mallory.say(said)
            await mallory.ended.wait()
            assert isinstance(mallory.outcome, LinkClosed)
            assert "1002" in str(mallory.outcome)
        assert sorted(m.info.name for m in made.relay.members.values() if m.info) == ["alice", "bystander"]


@pytest.mark.parametrize("said", AFTER_HELLO.values(), ids=AFTER_HELLO)
async def test_a_member_that_breaks_the_protocol_is_out(said: bytes) -> None:
    async with town("memory", "alice") as made, bystander(made):
        async with scripted(await made.dial()) as mallory:
            await mallory.hello("mallory")
            mallory.say(said)
            await mallory.ended.wait()
            assert "1002" in str(mallory.outcome)
        await until(lambda: len(made.relay.members) == 2)


@pytest.mark.parametrize(("said", "reason"), REFUSED.values(), ids=REFUSED)
async def test_a_hello_that_is_refused_is_told_why(said: bytes, reason: str) -> None:
    async with town("memory", "alice") as made, bystander(made):
        async with scripted(await made.dial()) as mallory:
            mallory.say(said)
            goodbye = await mallory.says(wire.GOODBYE)
            assert goodbye.code == "Refused"
            assert reason in goodbye.reason
            await mallory.ended.wait()
        assert len(made.relay.members) == 2
        assert made.relay.peers_refused == 1


async def test_a_hello_that_never_comes(monkeypatch: Any) -> None:
    async with town("memory", "alice") as made, bystander(made):
        monkeypatch.setattr(hall, "HANDSHAKE_TIMEOUT", 0.02)
        async with scripted(await made.dial()) as mallory:
            await mallory.ended.wait()
            assert isinstance(mallory.outcome, LinkClosed)


async def test_a_crowd_that_says_no_hello_does_not_stay(monkeypatch: Any) -> None:
    monkeypatch.setattr(hall, "UNGREETED", 3)
    monkeypatch.setattr(hall, "AT_LEAST", 0.0)
    async with town("memory", "alice") as made, bystander(made), AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(scripted(await made.dial())) for _ in range(5)]
        await until(lambda: sum(one.ended.is_set() for one in crowd) == 2)
        (first, *_) = left = [one for one in crowd if not one.ended.is_set()]
        await first.hello("mallory")
        assert not any(one.ended.is_set() for one in left)


async def test_full_is_full() -> None:
    async with town("memory", "alice", relay={"max_peers": 1}) as made:
        async with scripted(await made.dial()) as mallory:
            mallory.say(hello())
            assert (await mallory.says(wire.GOODBYE)).reason == "there are 1 peers already (max_peers)"


async def test_the_relay_writes_who_sent_a_frame_and_passes_the_rest_untouched() -> None:
    async with town("memory") as made:
        async with scripted(await made.dial()) as one, scripted(await made.dial()) as two:
            await one.hello("one")
            await two.hello("two")
            body = bytes(range(200))
            sent = packed(wire.PROGRAM, [0, [["nonsense"]], []], body, to=two.number, number=5, lane=3, flags=0x42)
            one.say(sent, packed(wire.PING, [], number=9), sent)
            first, second = await two.hears(wire.PROGRAM), await two.hears(wire.PROGRAM)
            assert first == second
            assert (first.sender, first.to, first.id) == (one.number, two.number, 5)
            assert (first.lane, first.flags) == (3, 0x42)
            assert bytes(first.body) == body
            assert (await one.hears(wire.PONG)).id == 9
            totals = made.relay.totals()
            assert totals["frames"] == 2
            assert totals["bytes_received"] >= 2 * len(sent)


async def test_a_frame_for_nobody_is_answered() -> None:
    async with town("memory", "alice") as made, bystander(made):
        async with scripted(await made.dial()) as one:
            await one.hello("one")
            one.say(packed(wire.PING, [], to=4711))
            refused = await one.says(wire.REFUSED)
            assert (refused.to, refused.code) == (4711, "UnknownPeer")
            one.say(packed(wire.PING, [], number=2))
            await one.hears(wire.PONG)


async def test_drivers_are_told_who_joins_and_leaves() -> None:
    async with town("memory") as made:
        async with scripted(await made.dial()) as one, scripted(await made.dial()) as worker:
            assert (await one.hello("one")).peers == []
            await worker.hello("alice", "worker")
            (joined,) = (await one.says(wire.PEERS)).joined
            assert (joined.name, joined.role, joined.incarnation) == ("alice", "worker", worker.incarnation)
            async with scripted(await made.dial()) as two:
                welcome = await two.hello("two")
                assert [info.name for info in welcome.peers] == ["alice"]
                two.say(packed(wire.GOODBYE, ["", "enough"]))
                two.transport.close()
                await two.ended.wait()
            async with scripted(await made.dial()) as other:
                await other.hello("bob", "worker")
                (news,) = (await one.says(wire.PEERS)).joined
                other.say(packed(wire.GOODBYE, ["", "enough"]))
                other.transport.close()
                await other.ended.wait()
            assert (await one.says(wire.PEERS)).left == [(news.number, "")]
            worker.transport.abort()
            ((number, reason),) = (await one.says(wire.PEERS)).left
            assert number == worker.number
            assert reason
            # Workers are told of nobody with whom they never talked, and drivers of no drivers.
            assert [frame.kind for frame in (*worker.heard, *one.heard)] == [wire.CHALLENGE] * 2


async def test_a_worker_is_told_who_speaks_to_it_before_it_hears_it() -> None:
    async with town("memory") as made:
        async with scripted(await made.dial()) as one, scripted(await made.dial()) as worker:
            await worker.hello("alice", "worker")
            await one.hello("one")
            one.say(packed(wire.RESUME, [one.incarnation, worker.incarnation, 0, 0, {}], to=worker.number))
            await worker.hears(wire.RESUME)
            (joined,) = (await worker.says(wire.PEERS)).joined
            assert (joined.number, joined.name, joined.incarnation) == (one.number, "one", one.incarnation)
            one.transport.abort()
            ((number, reason),) = (await worker.says(wire.PEERS)).left
            assert number == one.number
            assert reason


async def test_who_seeks_a_life_is_told_when_it_comes_and_it_of_the_seeker() -> None:
    async with town("memory") as made:
        async with scripted(await made.dial()) as bob, scripted(await made.dial()) as alice:
            await bob.hello("bob", "worker")
            bob.say(packed(wire.SEEK, [[alice.incarnation, LIFE]]))
            bob.say(packed(wire.PING, [], number=1))
            await bob.hears(wire.PONG)
            await alice.hello("alice", "worker")
            assert [info.name for info in (await bob.says(wire.PEERS)).joined] == ["alice"]
            assert [info.name for info in (await alice.says(wire.PEERS)).joined] == ["bob"]
            assert list(made.relay.presence.sought) == [LIFE]
            alice.say(packed(wire.SEEK, [[bob.incarnation]]))  # known already: nothing is said twice
            alice.say(packed(wire.PING, [], number=1))
            await alice.hears(wire.PONG)
            assert [frame.kind for frame in alice.heard] == [wire.CHALLENGE]
        await until(lambda: not made.relay.presence.sought)


async def test_a_crowd_is_presented_in_small_frames(monkeypatch: Any) -> None:
    monkeypatch.setattr(relay_module.entering, "PEERS_TOGETHER", 3)
    monkeypatch.setattr(relay_module.member, "PEERS_TOGETHER", 3)
    async with town("memory") as made:
        relay = made.relay
        far = []
        for number in range(8):
            near, end = memory_pair()
            member = relay_module.Member(end, relay)
            member.info = wire.PeerInfo(100 + number, f"w{number}", "worker", LIFE)
            member.grant = Grant()
            relay.members[100 + number] = member
            far.append(near)
        async with scripted(await made.dial()) as one:
            assert len((await one.hello("one")).peers) == 3
            assert [len((await one.says(wire.PEERS)).joined) for _ in range(2)] == [3, 2]
        for number in range(8):
            del relay.members[100 + number]


async def test_the_relay_ends_in_peace() -> None:
    near, end = memory_pair()
    with anyio.fail_after(SECONDS):
        async with scripted(near) as one:
            async with Relay() as relay:
                relay.attach(end)
                await one.hello("one")
            await one.ended.wait()
            (goodbye,) = [frame for frame in one.heard if frame.kind == wire.GOODBYE]
            assert wire.parse(goodbye).reason == "the relay ends"
            assert one.outcome is None
