"""The fault proxy over real sockets: what each fault does to the bytes, and what it leaves alone."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from random import Random
from typing import Any, AsyncIterator, Awaitable, Callable, List, Tuple

import anyio
import anyio.abc
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsyft.faults import KINDS, FaultProxy, Faults, Mischief, Pace
from asyncsyft.faults.sockets import endpoint, finish

pytestmark = pytest.mark.anyio
SECONDS = 50.0
Stream = anyio.abc.SocketStream


class Target:
    """A server; what connects to it is in ``streams``, to be used by the test."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.send, self.streams = anyio.create_memory_object_stream[Stream](100)


@asynccontextmanager
async def target() -> AsyncIterator[Target]:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    here = Target(f"127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}")
    ended = anyio.Event()

    async def serve(stream: Stream) -> None:
        async with stream:
            await here.send.send(stream)
            await ended.wait()

    async with here.send, here.streams, listener:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, serve)
            try:
                yield here
            finally:
                tasks.cancel_scope.cancel()


@asynccontextmanager
async def between(**faults: Any) -> AsyncIterator[Tuple[FaultProxy, Stream, Stream]]:
    """A proxy, and both ends of a connection through it."""
    with anyio.fail_after(SECONDS):
        async with target() as far, FaultProxy(far.address, seed=1, **faults) as proxy:
            async with await connected(proxy) as near:
                yield proxy, near, await far.streams.receive()


async def connected(proxy: FaultProxy) -> Stream:
    return await anyio.connect_tcp("127.0.0.1", proxy.port)


async def exactly(stream: Stream, size: int) -> bytes:
    got = b""
    while len(got) < size:
        got += await stream.receive()
    return got


async def to_the_end(stream: Stream) -> bytes:
    got = b""
    try:
        while True:
            got += await stream.receive()
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        return got


async def how_it_ends(stream: Stream) -> type:
    with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)) as caught:
        while True:
            await stream.receive()
    return caught.type


async def in_time(seconds: float, wait: Callable[[], Awaitable[Any]]) -> bool:
    """Whether it came in time."""
    with anyio.move_on_after(seconds):
        await wait()
        return True
    return False


def noise(size: int) -> bytes:
    return Random(size).getrandbits(8 * size).to_bytes(size, "big")


# Nothing wrong.


@pytest.mark.parametrize("faults", [{}, {"delay": 0.01, "jitter": 0.01}, {"bandwidth": 200e6}], ids=str)
async def test_what_passes_is_what_came_both_ways_at_once(faults: Any) -> None:
    question, answer = noise(1 << 20), noise(700_001)
    async with between(**faults) as (proxy, near, far), anyio.create_task_group() as tasks:

        async def ask(stream: Stream, data: bytes) -> None:
            await stream.send(data)
            await stream.send_eof()

        tasks.start_soon(ask, near, question)
        tasks.start_soon(ask, far, answer)
        assert await to_the_end(far) == question
        assert await to_the_end(near) == answer
        assert proxy.carried == len(question) + len(answer)
        assert proxy.cuts == 0


async def test_one_way_goes_on_when_the_other_has_ended() -> None:
    async with between() as (_, near, far):
        await near.send_eof()
        assert await to_the_end(far) == b""
        await far.send(b"still here")
        assert await exactly(near, 10) == b"still here"


async def test_an_end_that_dies_takes_the_other_with_it() -> None:
    with anyio.fail_after(SECONDS):
        async with target() as far, FaultProxy(far.address) as proxy:
            near = socket.create_connection(("127.0.0.1", proxy.port))
            stream = await far.streams.receive()
            finish(near, reset=True)
            assert await how_it_ends(stream) is anyio.BrokenResourceError
            await gone(proxy)
            assert proxy.cuts == 0


async def gone(proxy: FaultProxy) -> None:
    while proxy.lines:
        await anyio.lowlevel.checkpoint()


async def test_a_target_that_is_not_there() -> None:
    with anyio.fail_after(SECONDS):
        async with FaultProxy("127.0.0.1:1") as proxy, await connected(proxy) as near:
            assert await to_the_end(near) == b""
            await gone(proxy)


async def test_it_holds_little_of_what_nobody_reads() -> None:
    sent = 0
    with anyio.fail_after(SECONDS), socket.create_server(("127.0.0.1", 0)) as listener:
        async with FaultProxy(f"127.0.0.1:{listener.getsockname()[1]}") as proxy:
            async with await connected(proxy) as near:
                with anyio.move_on_after(1.0):
                    while sent < 64 << 20:
                        await near.send(bytes(64 * 1024))
                        sent += 64 * 1024
                assert sent < 16 << 20
                assert 0 < proxy.carried < 16 << 20
                proxy.cut()


async def test_errors_of_the_body_come_out_as_they_are() -> None:
    with pytest.raises(KeyError):
        async with FaultProxy("127.0.0.1:1"):
            raise KeyError


# Cuts.


@pytest.mark.parametrize(("reset", "end"), [(True, anyio.BrokenResourceError), (False, anyio.EndOfStream)])
async def test_a_cut_ends_both_ends(reset: bool, end: type) -> None:
    async with between() as (proxy, near, far):
        await near.send(b"x")
        await exactly(far, 1)
        assert proxy.cut(reset=reset) == 1
        assert [await how_it_ends(near), await how_it_ends(far)] == [end, end]
        await gone(proxy)
        assert proxy.cut() == 0
        assert proxy.cuts == 1


async def test_one_line_is_cut_and_the_other_goes_on() -> None:
    with anyio.fail_after(SECONDS):
        async with target() as far, FaultProxy(far.address) as proxy:
            async with await connected(proxy) as first:
                far_of_first = await far.streams.receive()
                async with await connected(proxy) as second:
                    far_of_second = await far.streams.receive()
                    assert [line.number for line in proxy.lines] == [1, 2]
                    assert proxy.cut(proxy.lines[0]) == 1
                    await to_the_end(far_of_first)
                    await to_the_end(first)
                    await second.send(b"x")
                    assert await exactly(far_of_second, 1) == b"x"


async def test_what_is_refused_never_reaches_the_target() -> None:
    async with between() as (proxy, near, far):
        proxy.refuse = True
        with pytest.raises((OSError, anyio.BrokenResourceError)):  # the first if connecting is slower than the cut
            async with await connected(proxy) as refused:
                await refused.receive()
        await near.send(b"x")  # what is there goes on
        assert await exactly(far, 1) == b"x"
        assert len(proxy.lines) == 1


async def test_truncated_in_the_middle() -> None:
    data = noise(300_000)
    async with between() as (proxy, near, far):
        proxy.there.truncate = 123_457
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(until_it_breaks, near, data)
            assert await to_the_end(far) == data[:123_457]
        await gone(proxy)
        assert proxy.cuts == 1
        assert await how_it_ends(near) in (anyio.EndOfStream, anyio.BrokenResourceError)


async def until_it_breaks(stream: Stream, data: bytes) -> None:
    try:
        await stream.send(data)
    except anyio.BrokenResourceError:
        pass


async def test_a_line_is_truncated_so_many_bytes_from_now() -> None:
    async with between() as (proxy, near, far):
        await far.send(b"first")
        assert await exactly(near, 5) == b"first"
        proxy.lines[0].truncate(3, back=True)
        await near.send(b"the other way is not touched")
        await exactly(far, 28)
        await far.send(b"second")
        assert await to_the_end(near) == b"sec"


# Half open.


async def test_a_frozen_line_tells_nobody_anything() -> None:
    async with between() as (proxy, near, far):
        proxy.freeze()
        await near.send(b"waits")
        await near.send_eof()
        assert not await in_time(0.2, far.receive)
        async with await connected(proxy):  # what comes later passes
            assert len(proxy.lines) == 2
            proxy.thaw()
            assert await to_the_end(far) == b"waits"


async def test_a_network_that_is_away_for_a_while() -> None:
    with anyio.fail_after(SECONDS):
        async with target() as far, FaultProxy(far.address) as proxy:
            proxy.freeze(seconds=0.3, new=True)
            begun = anyio.current_time()
            async with await connected(proxy) as near:
                await near.send(b"x")
                assert await exactly(await far.streams.receive(), 1) == b"x"
                assert anyio.current_time() - begun >= 0.25
            async with await connected(proxy):
                await far.streams.receive()


async def test_a_frozen_line_can_be_cut() -> None:
    async with between() as (proxy, near, far):
        proxy.freeze()
        await near.send(bytes(1000))
        assert proxy.cut() == 1
        assert [await to_the_end(near), await to_the_end(far)] == [b"", b""]


# Slow.


async def test_delay_and_jitter_keep_the_order() -> None:
    async with between(delay=0.05, jitter=0.05) as (_, near, far):
        begun = anyio.current_time()
        for number in range(50):
            await near.send(bytes([number]))
        assert await exactly(far, 50) == bytes(range(50))
        assert anyio.current_time() - begun >= 0.05
        begun = anyio.current_time()
        await far.send(b"x")
        await exactly(near, 1)
        assert anyio.current_time() - begun >= 0.05


async def test_bandwidth_may_change_while_bytes_pass() -> None:
    async with between(bandwidth=8e6) as (proxy, near, far):
        begun = anyio.current_time()
        await near.send(bytes(300_000))
        await exactly(far, 300_000)
        assert anyio.current_time() - begun >= 0.28  # a megabyte a second
        proxy.there.bandwidth = float("inf")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(near.send, bytes(4_000_000))
            await exactly(far, 4_000_000)
        assert anyio.current_time() - begun < 4


def test_nothing_overtakes_when_the_delay_shrinks() -> None:
    pace = Pace(delay=5.0)
    assert pace.due(0.0, 1) == 5.0
    pace.delay = 1.0
    assert pace.due(1.0, 1) == 5.0
    assert pace.due(1.0, 1, late=9.0) == 11.0


# Damage.


async def test_a_bit_flipped_once() -> None:
    async with between() as (proxy, near, far):
        proxy.there.flip = 1
        await near.send(bytes(1000))
        assert await bits(far, 1000) == 1
        await near.send(bytes(1000))
        assert await bits(far, 1000) == 0
        await far.send(bytes(1000))
        assert await bits(near, 1000) == 0


async def bits(stream: Stream, size: int) -> int:
    return sum(bin(byte).count("1") for byte in await exactly(stream, size))


async def test_bits_flipped_at_a_rate_are_the_same_for_the_same_seed() -> None:
    async def once() -> bytes:
        async with between(corrupt=0.001) as (_, near, far):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(near.send, bytes(1_000_000))
                return await exactly(far, 1_000_000)
        raise AssertionError

    first, again = await once(), await once()
    flipped = [at for at, byte in enumerate(first) if byte]
    assert 800 < len(flipped) < 1200
    assert flipped == [at for at, byte in enumerate(again) if byte]


@given(st.sampled_from(["delay", "jitter", "bandwidth", "corrupt"]), st.floats(max_value=-0.001, allow_nan=False))
def test_no_such_network(name: str, value: float) -> None:
    with pytest.raises(ValueError, match="no network"):
        Faults(**{name: value})


@pytest.mark.parametrize("text", ["host", "host:", ":80", "host:port", "ws://host", "127.0.0.1:99999"])
def test_no_such_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        FaultProxy(text)


def test_addresses() -> None:
    assert endpoint("wss://relay.example:8765/x") == ("relay.example", 8765)
    assert endpoint("[::1]:80") == ("::1", 80)


async def test_an_ipv6_listener_says_where_it_is() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    async with FaultProxy("127.0.0.1:1", listen="[::1]:0") as proxy:
        assert proxy.url == f"ws://[::1]:{proxy.port}"


# By chance.


@pytest.mark.parametrize("kind", KINDS)
async def test_each_mischief(kind: str) -> None:
    async with between() as (proxy, near, far):
        mischief = Mischief(1, [kind], half_open=0.1)
        assert mischief.strike(proxy)
        async with anyio.create_task_group() as tasks:
            for stream in (near, far):
                tasks.start_soon(until_it_breaks, stream, bytes(1 << 20))
            if kind == "freeze":
                assert not proxy.lines[0].whole
                assert mischief.strike(proxy) is None
                tasks.start_soon(exactly, near, 1 << 20)
                await exactly(far, 1 << 20)
            else:
                await to_the_end(near)
                await to_the_end(far)
        assert proxy.cuts == (kind != "freeze")
        assert mischief.done == {kind: 1}


async def test_the_same_seed_does_the_same() -> None:
    told: List[List[Any]] = []
    for _ in range(2):
        async with between() as (proxy, _near, _far):
            mischief = Mischief(7, ["middle"])
            told.append([mischief.strike(proxy) for _ in range(5)])
    assert told[0] == told[1]
    assert len(set(told[0])) > 1
