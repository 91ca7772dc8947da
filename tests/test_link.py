"""One transport in use: whose turn it is to send, how much, and what becomes of a peer that falls silent."""

from __future__ import annotations

from typing import Any, Callable, List, Optional

import anyio
import anyio.lowlevel
import pytest

from asyncsyft import link as link_module
from asyncsyft import wire
from asyncsyft.errors import LinkClosed, RemoteProtocolError
from asyncsyft.link import Link, keep_alive
from asyncsyft.transport import Buffer, memory_pair
from asyncsyft.wire import Parcel

PING = Parcel(wire.PING, 0, ())


class Road:
    """A transport that does nothing but note what is asked of it."""

    remote = "somewhere"
    is_local = True
    bytes_sent = bytes_received = messages_sent = messages_received = 0

    def __init__(self) -> None:
        self.woken = 0
        self.said: List[str] = []

    def wake(self) -> None:
        self.woken += 1

    def pump(self) -> None:
        self.said.append("pump")

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.said.append(f"close {code}")

    def abort(self) -> None:
        self.said.append("abort")

    async def run(self, end: Any) -> None:
        raise LinkClosed("broken")


class Pieces:
    """A source of pieces of ``size`` bytes."""

    def __init__(self, name: str, count: int, size: int) -> None:
        self.name, self.count, self.size = name.encode(), count, size
        self.on_take: Callable[[], None] = lambda: None

    def take(self, out: List[Buffer], budget: int) -> int:
        used = 0
        while self.count and used < budget:
            self.count -= 1
            out.append(self.name * self.size)
            used += self.size
        self.on_take()
        return used


def linked() -> Link:
    return Link(Road(), lambda message: None)


def names(link: Link) -> str:
    """Who sent how often in the next message."""
    message = link.pull()
    return "" if message is None else "".join(bytes(piece)[:1].decode() for piece in message)


# Sending.


def test_nothing_to_send() -> None:
    link = linked()
    assert link.pull() is None
    empty = Pieces("a", 0, 1)
    link.ready(empty)
    assert link.pull() is None
    assert link.pull() is None


def test_a_message_is_a_batch_and_sources_take_turns() -> None:
    link = linked()
    third = wire.BATCH // 3
    for name in "abc":
        link.ready(Pieces(name, 7, third))
    assert [names(link) for _ in range(7)] == ["aaaa", "bbbb", "cccc", "aaab", "cccb", "b", ""]
    for name in "abc":
        link.ready(Pieces(name, 8, wire.BATCH))
    assert "".join(names(link) for _ in range(24)) == "abc" * 8
    assert link.pull() is None


def test_small_sources_share_a_message() -> None:
    link = linked()
    for name in "abc":
        link.ready(Pieces(name, 2, 10))
    assert names(link) == "aabbcc"
    assert link.pull() is None


def test_a_busy_source_does_not_hold_up_a_small_one() -> None:
    link = linked()
    link.ready(Pieces("a", 100, 10_000))
    link.ready(Pieces("b", 1, 10))
    assert set(names(link)) == {"a"}
    assert names(link)[0] == "b"


def test_the_size_of_a_message() -> None:
    link = linked()
    for name in "abcdefgh":
        link.ready(Pieces(name, 100, wire.MAX_FRAME))
    link.send(PING)
    for _ in range(100):
        message = link.pull()
        assert message is not None
        assert sum(len(piece) for piece in message) < wire.BATCH + wire.MAX_FRAME + 100


def test_a_source_that_is_ready_twice_has_one_turn() -> None:
    link = linked()
    one = Pieces("a", 4, wire.BATCH)
    for _ in range(3):
        link.ready(one)
    link.ready(Pieces("b", 4, wire.BATCH))
    assert link.transport.woken == 4  # type: ignore[attr-defined]
    assert "".join(names(link) for _ in range(4)) == "abab"


def test_what_becomes_ready_while_it_is_taken_from_is_not_forgotten() -> None:
    link = linked()
    source = Pieces("a", 1, 10)

    def more() -> None:
        source.on_take = lambda: None
        source.count = 1
        link.ready(source)

    source.on_take = more
    link.ready(source)
    assert names(link) + names(link) == "aa"
    assert link.pull() is None


def test_a_source_that_is_forgotten_sends_no_more() -> None:
    link = linked()
    gone, there = Pieces("a", 9, wire.BATCH), Pieces("b", 1, 10)
    link.ready(gone)
    link.ready(there)
    link.forget(gone)
    link.forget(gone)
    assert names(link) == "b"
    assert link.pull() is None


def test_what_the_link_says_itself_goes_first() -> None:
    link = linked()
    link.ready(Pieces("a", 1, 10))
    link.send(PING, to=3, number=7)
    link.send(Parcel(wire.GOODBYE, 0, ("", "bye")), sender=5)
    message = link.pull()
    assert message is not None
    data = b"".join(message)
    found = list(wire.frames(memoryview(data[:-10])))
    assert [(f.kind, f.to, f.id, f.sender) for f in found] == [(wire.PING, 3, 7, 0), (wire.GOODBYE, 0, 0, 5)]
    assert data.endswith(b"a" * 10)


def test_large_frames_of_the_link_itself_do_not_make_a_message_too_large() -> None:
    link = linked()
    for _ in range(20):
        link.send(Parcel(wire.PEERS, 0, ([], []), [bytes(200_000)]))
    sizes = []
    while (message := link.pull()) is not None:
        sizes.append(sum(len(piece) for piece in message))
    assert len(sizes) == 20
    assert max(sizes) < wire.MAX_MESSAGE


def test_who_does_not_read_what_the_link_says_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "MAX_OUTBOX", 5)
    link = linked()
    for _ in range(5):
        link.send(PING)
    assert link.error is None
    link.send(PING)
    assert isinstance(link.error, LinkClosed)
    assert link.transport.said == ["abort"]  # type: ignore[attr-defined]
    message = link.pull()
    assert message is not None
    assert len(list(wire.frames(memoryview(b"".join(message))))) == 5


# Running.


@pytest.mark.anyio
async def test_messages_go_both_ways_and_a_clean_close_is_no_error() -> None:
    got: List[bytes] = []
    one, other = memory_pair()
    near, far = Link(one, lambda message: None), Link(other, lambda message: got.append(bytes(message)))
    near.ready(Pieces("a", 3, 10))
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(far.run)
            near.close()
            await near.run()
    assert got == [b"a" * 30]
    assert near.closed
    assert far.closed
    assert near.error is None
    assert far.error is None


@pytest.mark.anyio
async def test_why_it_ended_is_kept() -> None:
    link = linked()
    await link.run()
    assert str(link.error) == "broken"
    assert link.closed
    link = linked()
    link.abort(LinkClosed("for this reason"))
    link.abort(LinkClosed("another"))
    await link.run()
    assert str(link.error) == "for this reason"


@pytest.mark.anyio
async def test_what_the_owner_cannot_stand_ends_the_link() -> None:
    def refuse(message: memoryview) -> None:
        raise RemoteProtocolError("nonsense")

    one, other = memory_pair()
    near, far = Link(one, lambda message: None), Link(other, refuse)
    near.ready(Pieces("a", 1, 10))
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(far.run)
            await near.run()
    assert isinstance(far.error, RemoteProtocolError)
    assert isinstance(near.error, LinkClosed)


# Silence.


class Clock:
    """``anyio.sleep`` that passes no time: so many turns, then cancelled."""

    def __init__(self, turns: int, each: Optional[Callable[[int], None]] = None) -> None:
        self.turn, self.turns, self.each = 0, turns, each

    async def __call__(self, seconds: float) -> None:
        await anyio.lowlevel.checkpoint()
        if self.turn == self.turns:
            raise Stop
        if self.each is not None:
            self.each(self.turn)
        self.turn += 1


class Stop(Exception):
    """The clock has run down."""


async def watch(link: Link, turns: int, monkeypatch: pytest.MonkeyPatch, each: Any = None) -> None:
    monkeypatch.setattr(link_module.anyio, "sleep", Clock(turns, each))
    with anyio.fail_after(5), pytest.raises(Stop):
        await keep_alive(lambda: [link], 5.0, 20.0)


@pytest.mark.anyio
async def test_a_silent_peer_is_pinged_then_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    link = linked()
    await watch(link, 4, monkeypatch)
    assert link.error is None
    pings = list(wire.frames(memoryview(b"".join(link.pull() or []))))
    assert [ping.kind for ping in pings] == [wire.PING] * 3
    await watch(link, 1, monkeypatch)
    assert isinstance(link.error, LinkClosed)
    assert "20 s" in str(link.error)
    assert link.transport.said == ["abort"]  # type: ignore[attr-defined]


@pytest.mark.anyio
async def test_a_peer_that_says_anything_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    link = linked()
    await watch(link, 100, monkeypatch, lambda turn: link.receive(memoryview(b"")) if turn % 3 == 0 else None)
    assert link.error is None


@pytest.mark.anyio
async def test_a_busy_link_is_not_pinged(monkeypatch: pytest.MonkeyPatch) -> None:
    link = linked()
    await watch(link, 50, monkeypatch, lambda turn: link.receive(memoryview(b"")))
    assert link.pull() is None


@pytest.mark.anyio
async def test_a_peer_that_hangs_is_given_up_on_a_real_clock() -> None:
    one, other = memory_pair()
    other.pause()
    near, far = Link(one, lambda message: None), Link(other, lambda message: None)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(far.run)
            tasks.start_soon(keep_alive, lambda: [near], 0.002, 0.01)
            await near.run()
            tasks.cancel_scope.cancel()
    assert "answered no ping" in str(near.error)
