"""Who says too much, too slowly, or opens too much: it costs them, and nobody else."""

from __future__ import annotations

import gc
import os
import socket
from pathlib import Path
from typing import Any, List

import anyio
import anyio.to_thread
import pytest

from asyncsyft import wire
from asyncsyft.peer import greeting
from asyncsyft.websocket import SUBPROTOCOL, listening
from tests.hostile.kit import scene
from tests.journeys.kit import bystander, town, until
from tests.journeys.scripted import packed, scripted

pytestmark = pytest.mark.anyio

VERIFY = os.environ.get("HYPOTHESIS_PROFILE") == "verify"
CONNECTIONS = 10_000 if VERIFY else 500
REQUEST = (
    "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
).encode()


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def resident() -> int:
    """Bytes of this process in memory."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts by /proc, which is not here")

# Slowly.


async def drip(port: int, data: bytes, opened: bool) -> None:
    """Send octet by octet, until the other end has had enough."""
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        try:
            if opened:
                await stream.send(REQUEST)
                await stream.receive()
            for octet in data:
                await stream.send(bytes((octet,)))
                await anyio.sleep(0.01)  # this is the attack, not a wait for something
            while True:
                await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return


DRIPS = {
    "a head": (REQUEST * 9, False),
    "a head without an end": (b"GET / HTTP/1.1\r\nX: " + b"x" * 4000, False),
    "nothing": (b"", False),
    "a hello": (b"\x82\xfe\x02\x00abcd" + bytes(512), True),
    "a header, then nothing": (b"\x82\xff" + (1 << 20).to_bytes(8, "big") + b"abcd", True),
    "no hello": (b"", True),
}


@pytest.mark.parametrize("kind", DRIPS)
@pytest.mark.parametrize("road", ["relay", "direct"])
async def test_slow_loris(kind: str, road: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has not greeted in time is cut, however busy it seems; a crowd of them keeps nobody out."""
    data, opened = DRIPS[kind]
    async with town(road, "alice") as made, bystander(made) as honest:
        port = int(made.url.rsplit(":", 1)[1].strip("/"))
        monkeypatch.setattr(listening, "HANDSHAKE_TIMEOUT", 0.4)
        for module in (greeting, "asyncsyft.peer.peer", "asyncsyft.peer.hall"):
            target = module if isinstance(module, str) else module.__name__
            monkeypatch.setattr(f"{target}.HANDSHAKE_TIMEOUT", 0.4, raising=False)
        async with anyio.create_task_group() as slow:
            for _ in range(12):
                slow.start_soon(drip, port, data, opened)
            await honest.goes_on()
        await honest.goes_on()


async def test_half_a_frame_and_then_silence_costs_its_buffer_alone(road: str) -> None:
    async with scene(road) as made:
        await made.meet()
        whole = packed(wire.PROGRAM, [0, [["search", 0, [], {"query": [], "base": 1, "most": 1}]], []], number=1)
        made.mallory.say(whole[: len(whole) // 2])  # a message holds whole frames: this one breaks the protocol
        await made.cut_off()


# Too much.


@pytest.mark.parametrize("kind", ["pings", "cancels", "programs", "searches", "lanes"])
async def test_a_flood_harms_nobody_else(kind: str, road: str) -> None:
    """Far more than is read of the answers; mallory may be served, slowed, or cut."""
    async with scene(road) as made:
        await made.meet()
        before = made.honest.rounds
        for number in range(1, 1201):
            made.mallory.say(*flood(kind, number, made.to))
            if not number % 200:
                await made.honest.goes_on()
                if made.mallory.ended.is_set():
                    break
        assert made.honest.rounds > before
        alice = made.made.workers["alice"]
        talks = [talk for talk in alice.peer.conversations.by_life.values() if talk.theirs == made.mallory.incarnation]
        assert all(len(talk.lanes) <= 1024 and len(talk.served) <= 1 << 16 for talk in talks)


def flood(kind: str, number: int, to: int) -> List[bytes]:
    if kind == "pings":
        return [packed(wire.PING, [], number=number)] * 4
    if kind == "cancels":
        return [packed(wire.CANCEL, [0, number], to=to, number=number % 7)] * 4
    search = ["search", 0, [], {"query": [], "base": 1 << 30, "most": 10}]
    steps: List[Any] = [search] * 20 if kind == "searches" else []
    return [packed(wire.PROGRAM, [0, steps, []], to=to, number=number, lane=number if kind == "lanes" else 0)]


async def test_what_is_never_read_is_not_kept_for_ever(road: str) -> None:
    """Mallory asks for large answers and grants no credit: so much leaves as was granted, and no more."""
    async with scene(road) as made:
        await made.meet()
        steps: List[Any] = [["zeros", 5, [], {"shape": [1 << 15], "dtype": "float64"}]]
        await made.tries(*steps)
        for _ in range(40):
            made.mallory.program(made.to, [["get", 0, [5]]] * 8)
        await made.honest.goes_on()
        came = sum(len(frame.body) for frame in made.mallory.heard)
        assert came <= 2 << 20
        alice = made.made.workers["alice"]
        assert alice.store.nbytes < 4 << 20


# Ten thousand connections.


def knock(port: int, count: int) -> List[bytes]:
    """Connect so often, ask to open a websocket, read how that is answered, hang up."""
    answers = []
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
            sock.sendall(REQUEST)
            answers.append(sock.recv(200).split(b"\r\n")[0])
    return answers


@needs_proc
@pytest.mark.timeout(600 if VERIFY else 90)
@pytest.mark.parametrize("open_door", [False, True], ids=["limits as they are", "no limit on new ones"])
async def test_ten_thousand_connections(open_door: bool) -> None:
    """Opened and left, one after the other: descriptors and memory come back, and others are served meanwhile."""
    options = {"max_new": 1 << 20} if open_door else {}
    seconds = 500 if VERIFY else 50
    async with town("relay", "alice", relay=options, seconds=seconds) as made, bystander(made) as honest:
        port = int(made.url.rsplit(":", 1)[1].strip("/"))
        answers = await anyio.to_thread.run_sync(knock, port, 200)  # what is made once is made now
        await until(lambda: not made.relay._links or len(made.relay._links) <= 2)
        before, held, rounds = descriptors(), resident(), honest.rounds
        answers += await anyio.to_thread.run_sync(knock, port, CONNECTIONS)
        await until(lambda: descriptors() <= before)
        assert resident() - held < 32 << 20
        assert honest.rounds > rounds + 2
        opened = sum(b" 101 " in answer for answer in answers)
        turned_away = sum(b" 429 " in answer for answer in answers)
        assert opened + turned_away == CONNECTIONS + 200
        assert opened == CONNECTIONS + 200 if open_door else opened >= 200
        await honest.goes_on()


async def test_ten_thousand_lives(relayed: str) -> None:
    """Peers that come, greet, open a conversation and vanish leave nothing behind."""
    count = 1000 if VERIFY else 60
    async with scene(relayed) as made:
        alice = made.made.workers["alice"]
        for turn in range(count):
            async with scripted(await made.made.dial()) as other:
                await other.hello(f"passer-by-{turn}")
                info = other.find("alice")
                await other.resume(info.number, info.incarnation)
        lives = {made.victim.peer.incarnation, made.honest.driver.peer.incarnation}
        await until(lambda: set(alice.store.spaces) <= lives)
        assert len(made.made.relay.members) <= 4
        await made.meet()
