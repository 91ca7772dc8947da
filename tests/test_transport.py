"""The contract of every transport: in memory, websocket, websocket over TLS, on both event loops."""

from __future__ import annotations

import os
import ssl
import warnings
from collections import deque
from contextlib import asynccontextmanager
from typing import Any, AsyncIterator, Callable, Deque, List, Mapping, Optional, Tuple

import anyio
import anyio.lowlevel
import pytest

from asyncsyft import transport as transport_module
from asyncsyft.errors import LinkClosed, RemoteProtocolError
from asyncsyft.transport import MemoryTransport, Transport, memory_pair, total
from asyncsyft.websocket import core, dial, listen

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # cryptography will leave Python 3.8, and says so
    import trustme

pytestmark = pytest.mark.anyio

SECONDS = 30
MIB = 1024 * 1024


@pytest.fixture(params=["memory", "ws", "wss"])
def road(request: Any) -> Any:
    return request.param


@pytest.fixture(scope="module")
def contexts() -> Tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS contexts for the listener and the dialler."""
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


@asynccontextmanager
async def connected(road: str, contexts: Tuple[ssl.SSLContext, ssl.SSLContext]) -> AsyncIterator[List[Transport]]:
    """Two ends that nobody runs yet; the first is the one that dialled."""
    if road == "memory":
        yield list(memory_pair())
        return
    accepted: List[Transport] = []
    arrived, done = anyio.Event(), anyio.Event()

    async def accept(transport: Transport, headers: Mapping[str, str]) -> None:
        accepted.append(transport)
        arrived.set()
        await done.wait()

    server, client = contexts if road == "wss" else (None, None)
    async with listen("127.0.0.1", 0, accept, ssl=server) as listener:
        dialled = await dial(f"{road}://127.0.0.1:{listener.port}/", ssl=client)
        await arrived.wait()
        yield [dialled, *accepted]
        done.set()
        dialled.abort()


class Person:
    """An end that keeps what it hears, and how its run ended."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.outbox: Deque[List[bytes]] = deque()
        self.supply: Callable[[], Optional[List[bytes]]] = lambda: None
        self.heard: List[bytes] = []
        self.on_message: Callable[[memoryview], None] = lambda message: None
        self.outcome: Optional[BaseException] = None
        self.ended = anyio.Event()
        self.scope = anyio.CancelScope()
        self._news = anyio.Event()

    def pull(self) -> Optional[List[bytes]]:
        return self.outbox.popleft() if self.outbox else self.supply()

    def receive(self, message: memoryview) -> None:
        self.heard.append(bytes(message))
        self._news.set()
        self.on_message(message)

    def say(self, *messages: bytes) -> None:
        self.outbox.extend([message] for message in messages)
        self.transport.wake()

    async def hears(self, count: int) -> List[bytes]:
        while len(self.heard) < count:
            self._news = anyio.Event()
            await self._news.wait()
        return self.heard

    async def run(self) -> None:
        try:
            with self.scope:
                await self.transport.run(self)
        except Exception as error:  # noqa: BLE001 - the tests look at it
            self.outcome = error
        finally:
            self.ended.set()


@asynccontextmanager
async def talking(road: str, contexts: Any, run: bool = True) -> AsyncIterator[Tuple[Person, Person]]:
    """Two people on a road; both run unless told otherwise."""
    with anyio.fail_after(SECONDS):
        async with connected(road, contexts) as ends:
            alice, bob = Person(ends[0]), Person(ends[1])
            async with anyio.create_task_group() as group:
                if run:
                    group.start_soon(alice.run)
                    group.start_soon(bob.run)
                yield alice, bob
                alice.transport.abort()
                bob.transport.abort()


@pytest.fixture
def talk(road: str, contexts: Any) -> Callable[..., Any]:
    def start(run: bool = True) -> Any:
        return talking(road, contexts, run)

    return start


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "CLOSE_TIMEOUT", 0.05)
    monkeypatch.setattr(transport_module, "CLOSE_TIMEOUT", 0.05)


async def turns(count: int = 30) -> None:
    for _ in range(count):
        await anyio.lowlevel.checkpoint()


async def test_messages_of_all_sizes_both_ways(talk: Any) -> None:
    messages = [os.urandom(size) for size in (0, 1, 125, 126, 4096, 65535, 65536, 200_000, MIB)]
    async with talk() as (alice, bob):
        alice.say(*messages)
        bob.say(*messages)
        assert await bob.hears(len(messages)) == messages
        assert await alice.hears(len(messages)) == messages


async def test_pieces_are_joined(talk: Any) -> None:
    pieces: List[Any] = [b"ab", bytearray(b"cd"), memoryview(b"x" * 150_000), b"", memoryview(bytearray(b"ef"))]
    async with talk() as (alice, bob):
        for end, other in ((alice, bob), (bob, alice)):
            end.outbox.append(pieces)
            end.transport.wake()
            assert await other.hears(1) == [b"".join(pieces)]


async def test_many_small_messages_keep_their_order(talk: Any) -> None:
    messages = [b"%d" % number for number in range(5000)]
    async with talk() as (alice, bob):
        alice.say(*messages)
        bob.say(*messages)
        assert await bob.hears(5000) == messages
        assert await alice.hears(5000) == messages


async def test_a_received_view_may_be_written_to(talk: Any) -> None:
    async with talk() as (alice, bob):
        seen = []

        def scribble(message: memoryview) -> None:
            assert not message.readonly
            message[:] = b"z" * len(message)
            seen.append(bytes(message))

        bob.on_message = scribble
        alice.say(b"abc", b"de")
        await bob.hears(2)
        assert seen == [b"zzz", b"zz"]


async def test_full_duplex_of_large_messages(talk: Any) -> None:
    data = os.urandom(MIB)
    async with talk() as (alice, bob):
        bob.on_message = lambda message: bob.say(bytes(message))
        alice.say(*[data] * 64)
        bob.say(*[data] * 64)
        await alice.hears(128)
        assert all(message == data for message in alice.heard)
        assert len(bob.heard) == 64


async def test_an_answer_from_within_receive(talk: Any) -> None:
    async with talk() as (alice, bob):
        bob.on_message = lambda message: bob.say(bytes(message) + b"!")
        for number in range(1, 50):
            alice.say(b"%d" % number)
            assert (await alice.hears(number))[-1] == b"%d!" % number


@pytest.mark.parametrize("who", [0, 1])
async def test_close_sends_what_is_left_first(talk: Any, who: int) -> None:
    messages = [os.urandom(100_000) for _ in range(20)]
    async with talk() as people:
        closer, other = people[who], people[1 - who]
        closer.say(*messages)
        closer.transport.close()
        closer.transport.close(4000, "only the first counts")
        await closer.ended.wait()
        await other.ended.wait()
        assert other.heard == messages
        assert (closer.outcome, other.outcome) == (None, None)


async def test_both_close_at_once(talk: Any) -> None:
    async with talk() as (alice, bob):
        alice.say(b"one")
        bob.say(b"two")
        alice.transport.close()
        bob.transport.close()
        await alice.ended.wait()
        await bob.ended.wait()
        assert (alice.outcome, bob.outcome) == (None, None)


async def test_a_close_for_a_reason_is_told_to_the_other_end(talk: Any) -> None:
    async with talk() as (alice, bob):
        bob.transport.close(1008, "a slow consumer")
        await alice.ended.wait()
        await bob.ended.wait()
        assert bob.outcome is None
        assert isinstance(alice.outcome, LinkClosed)
        assert "1008 a slow consumer" in str(alice.outcome)


async def test_a_code_that_may_not_be_sent(talk: Any) -> None:
    async with talk() as (alice, _):
        with pytest.raises(ValueError, match="1006"):
            alice.transport.close(1006)


@pytest.mark.parametrize("who", [0, 1])
async def test_abort(talk: Any, who: int) -> None:
    async with talk() as people:
        people[1 - who].say(b"hello")
        await people[who].hears(1)
        people[who].transport.abort()
        people[who].transport.abort()
        for person in people:
            await person.ended.wait()
            assert isinstance(person.outcome, LinkClosed)
        assert "aborted" in str(people[who].outcome)


@pytest.mark.parametrize("who", [0, 1])
async def test_cancelling_run_aborts(talk: Any, who: int) -> None:
    async with talk() as people:
        people[who].say(b"hello")
        await people[1 - who].hears(1)
        people[who].scope.cancel()
        await people[who].ended.wait()
        assert people[who].scope.cancel_called
        assert people[who].outcome is None
        await people[1 - who].ended.wait()
        assert isinstance(people[1 - who].outcome, LinkClosed)


@pytest.mark.parametrize("who", [0, 1])
async def test_a_broken_rule_closes_with_1002(talk: Any, who: int) -> None:
    async with talk() as people:
        error = RemoteProtocolError("an unknown kind of frame")

        def refuse(message: memoryview) -> None:
            raise error

        people[who].on_message = refuse
        people[1 - who].say(b"bad", b"never seen")
        for person in people:
            await person.ended.wait()
        assert people[who].outcome is error
        assert people[who].heard == [b"bad"]
        assert isinstance(people[1 - who].outcome, LinkClosed)
        assert "1002 an unknown kind of frame" in str(people[1 - who].outcome)


async def test_one_who_is_refused_while_closing_is_told(talk: Any) -> None:
    async with talk() as (alice, bob):

        def refuse(message: memoryview) -> None:
            raise RemoteProtocolError("no")

        bob.on_message = refuse
        alice.say(b"bad")
        alice.transport.close(4000)
        await alice.ended.wait()
        await bob.ended.wait()
        assert isinstance(alice.outcome, LinkClosed)
        assert "1002 no" in str(alice.outcome)
        assert isinstance(bob.outcome, RemoteProtocolError)


async def test_a_close_code_of_ours_that_is_answered_is_no_error(talk: Any) -> None:
    async with talk() as (alice, bob):
        alice.transport.close(4000, "enough")
        await alice.ended.wait()
        await bob.ended.wait()
        assert alice.outcome is None
        assert "4000 enough" in str(bob.outcome)


@pytest.mark.parametrize("where", ["receive", "pull"])
async def test_a_bug_of_the_end_is_raised_by_run(talk: Any, where: str) -> None:
    async with talk() as (alice, bob):
        await turns()

        def fail(*_: Any) -> Any:
            raise ZeroDivisionError("a bug")

        if where == "receive":
            bob.on_message = fail
            alice.say(b"hello")
        else:
            bob.supply = fail
            bob.transport.wake()
        await bob.ended.wait()
        assert isinstance(bob.outcome, ZeroDivisionError)
        await alice.ended.wait()
        assert isinstance(alice.outcome, LinkClosed)


async def test_run_is_called_once(talk: Any) -> None:
    async with talk() as (alice, _):
        await turns()
        with pytest.raises(RuntimeError, match="once"):
            await alice.transport.run(alice)


async def test_what_was_asked_before_run_is_done_by_run(talk: Any) -> None:
    async with talk(run=False) as (alice, bob):
        alice.say(b"early")
        alice.transport.pump()
        alice.transport.close()
        bob.transport.wake()
        async with anyio.create_task_group() as group:
            group.start_soon(alice.run)
            group.start_soon(bob.run)
        assert bob.heard == [b"early"]
        assert (alice.outcome, bob.outcome) == (None, None)


async def test_abort_before_run(talk: Any) -> None:
    async with talk(run=False) as (alice, bob):
        alice.transport.abort()
        await alice.run()
        assert isinstance(alice.outcome, LinkClosed)
        await bob.run()
        assert isinstance(bob.outcome, LinkClosed)


async def test_pump_sends_without_a_turn_of_the_loop(talk: Any) -> None:
    async with talk() as (alice, bob):
        await turns()
        alice.outbox.append([b"now"])
        alice.transport.pump()
        assert alice.transport.messages_sent == 1
        assert await bob.hears(1) == [b"now"]


@pytest.mark.parametrize("act", ["close", "abort", "pump", "wake"])
async def test_the_end_may_act_from_within_receive_and_pull(talk: Any, act: str) -> None:
    async with talk() as (alice, bob):
        calls = []

        def supply() -> Optional[List[bytes]]:
            calls.append(act)
            if len(calls) < 5:
                getattr(alice.transport, act)()
            return [b"pulled"] if len(calls) < 3 else None

        await turns()
        alice.supply = supply
        bob.on_message = lambda message: getattr(bob.transport, act)()
        alice.transport.wake()
        if act in ("close", "abort"):
            await alice.ended.wait()
            await bob.ended.wait()
        else:
            await bob.hears(2)


async def test_counters_and_names(talk: Any, road: str) -> None:
    async with talk() as (alice, bob):
        alice.say(b"x" * 1000, b"y" * 1000)
        await bob.hears(2)
        assert alice.transport.messages_sent == bob.transport.messages_received == 2
        assert alice.transport.bytes_sent == bob.transport.bytes_received >= 2000
        for person in (alice, bob):
            assert person.transport.is_local
            assert person.transport.remote.startswith("memory" if road == "memory" else "127.0.0.1:")


async def test_a_flood_leaves_room_for_other_tasks(talk: Any) -> None:
    async with talk() as (alice, bob):
        sent = 0

        def supply() -> Optional[List[bytes]]:
            nonlocal sent
            sent += 1
            return [b"x" * 10_000] if sent <= 20_000 else None

        alice.supply = supply
        alice.transport.wake()
        ticks = 0
        while len(bob.heard) < 1000:
            await anyio.lowlevel.checkpoint()
            ticks += 1
            bob.heard[:] = bob.heard[-1000:]
        assert ticks > 2
        assert sent < 20_000  # it is still under way


async def test_an_end_that_is_not_read_stops_pulling(talk: Any, road: str) -> None:
    """What is pulled is bounded by the system's socket buffers and ours; reading again lets the rest go."""
    async with talk(run=False) as (alice, bob):
        message, count = b"x" * 100_000, 600
        left = count

        def supply() -> Optional[List[bytes]]:
            nonlocal left
            left -= 1
            return [message] if left >= 0 else None

        alice.supply = supply
        async with anyio.create_task_group() as group:
            group.start_soon(alice.run)
            await turns(300)
            pulled = alice.transport.messages_sent * len(message)
            assert pulled <= (transport_module.IN_FLIGHT + len(message) if road == "memory" else 32 * MIB)
            assert left > 0
            group.start_soon(bob.run)
            await bob.hears(count)
            alice.transport.close()
        assert alice.outcome is None


async def test_who_is_held_is_read_later(talk: Any) -> None:
    """And is sent to meanwhile; nothing is lost, and nothing comes twice."""
    held = 0.3
    async with talk() as (alice, bob):
        alice.say(b"first")
        await bob.hears(1)
        bob.transport.hold(held)
        begun = anyio.current_time()
        alice.say(*[b"%d" % n for n in range(100)], bytes(MIB))
        bob.say(b"I hear nothing")
        assert await alice.hears(1) == [b"I hear nothing"]
        assert len(bob.heard) == 1
        assert anyio.current_time() - begun < held
        heard = await bob.hears(102)
        assert anyio.current_time() - begun > 0.9 * held
        assert heard == [b"first", *[b"%d" % n for n in range(100)], bytes(MIB)]


async def test_who_is_held_from_within_receive(talk: Any) -> None:
    """As a relay holds a peer; again and again."""
    held = 0.05
    async with talk() as (alice, bob):
        bob.on_message = lambda message: bob.transport.hold(held)
        begun = anyio.current_time()
        for n in range(4):
            alice.say(b"%d" % n)
            await bob.hears(n + 1)
        assert anyio.current_time() - begun > 3 * 0.9 * held


@pytest.mark.parametrize("how", ["abort", "cancel"])
async def test_who_is_held_may_be_dropped(talk: Any, how: str) -> None:
    async with talk() as (alice, bob):
        alice.say(b"first")
        await bob.hears(1)
        bob.transport.hold(10 * SECONDS)
        await anyio.lowlevel.checkpoint()
        bob.transport.abort() if how == "abort" else bob.scope.cancel()
        await bob.ended.wait()
        await alice.ended.wait()


@pytest.mark.usefixtures("impatient")
async def test_a_close_that_nobody_answers(talk: Any) -> None:
    async with talk(run=False) as (alice, _):
        alice.supply = lambda: [b"x" * MIB]
        alice.transport.close()
        await alice.run()
        assert isinstance(alice.outcome, LinkClosed)
        assert "did not answer the close within 0.05 s" in str(alice.outcome)


async def test_a_paused_memory_transport() -> None:
    with anyio.fail_after(SECONDS):
        one, other = memory_pair()
        alice, bob = Person(one), Person(other)
        async with anyio.create_task_group() as group:
            group.start_soon(alice.run)
            group.start_soon(bob.run)
            other.pause()
            alice.say(*[b"x" * 1000] * 2000)
            await turns(100)
            assert bob.heard == []
            assert one.bytes_sent <= transport_module.IN_FLIGHT + 1000
            other.resume()
            await bob.hears(2000)
            one.close()


async def test_a_memory_pair_takes_turns() -> None:
    one, other = memory_pair()
    assert isinstance(one, MemoryTransport)
    assert one.peer is other
    assert total([b"ab", memoryview(b"c")]) == 3
