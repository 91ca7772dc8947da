"""A bounded fuzz of a live relay and a live worker: good talk with a few bytes changed. Others must not notice.

``HYPOTHESIS_PROFILE=verify`` makes it long.
"""

from __future__ import annotations

import logging
import os
import random
from typing import Any, List

import anyio
import numpy as np
import pytest

from asyncsyft import wire
from asyncsyft.driver import Driver
from asyncsyft.errors import AsyncSyftError
from asyncsyft.transport import memory_pair
from tests.journeys.kit import SECONDS, Town, bystander, town
from tests.journeys.scripted import Scripted, packed, scripted

pytestmark = pytest.mark.anyio

ROUNDS = 3000 if os.environ.get("HYPOTHESIS_PROFILE") == "verify" else 60
NUMBERS = [0, 1, 7, 8, 31, 127, 128, 255]


def mutated(rng: random.Random, frame: bytes, keep: int = 0) -> bytes:
    """A frame with some of its bytes changed, cut, doubled or moved; the first ``keep`` stay."""
    data = bytearray(frame)
    for _ in range(rng.choice([1, 1, 2, 5])):
        at = rng.randrange(keep, max(len(data), keep + 1))
        choice = rng.randrange(6)
        if choice <= 2 and at < len(data):
            data[at] = rng.choice([*NUMBERS, rng.randrange(256)])
        elif choice == 3:
            data[at:at] = rng.choice([bytes(8), b"\xff" * 8, bytes(data[at : at + 16])])
        elif choice == 4:
            del data[at : at + rng.choice([1, 8, 40])]
        elif at + 8 <= len(data):
            data[at : at + 8] = rng.choice([bytes(8), b"\xff" * 8, (1 << 53).to_bytes(8, "little")])
    return bytes(data)


def talk(rng: random.Random, me: bytes, worker: wire.PeerInfo) -> List[bytes]:
    """What a driver might say to a worker, in order: every kind of frame, every kind of step."""
    to, body = worker.number, np.arange(8.0).tobytes()
    steps: List[Any] = [
        ["put", 1, [], {"dtype": "<f8", "shape": [8], "at": 0}],
        ["add", 2, [1, ["<f8", 1.5]]],
        ["matmul", 3, [1, 2]],
        ["reshape", 4, [1], {"shape": [2, 4]}],
        ["get", 0, [rng.choice([1, 2, 3, 4])]],
        ["info", 0, [1]],
        ["tag", 0, [1], {"name": "x", "tags": ["y"]}],
        ["search", 0, [], {"query": ["x"], "base": 50, "most": 3}],
        ["stats", 0, []],
        ["move", 0, [2], {"to": b"incarnat", "ticket": bytes(16)}],
        ["fetch", 9, [], {"from": b"incarnat", "ticket": bytes(16)}],
        ["claim", 0, [], {"ticket": b"t" * 16}],
        ["delete", 0, [1, 4]],
    ]
    large = ["put", 5, [], {"dtype": "<f8", "shape": [1 << 16]}]
    piece = [0, 0, "<f8", [1 << 16], 0]
    seek = [packed(wire.SEEK, [[worker.incarnation, me, b"sleeping"]])] if to else []  # only a relay is asked
    return [
        *seek,
        packed(wire.RESUME, [me, worker.incarnation, 0, 0, {}], to=to),
        packed(wire.PROGRAM, [0, steps, []], body, to=to, number=1),
        packed(wire.PROGRAM, [0, [large], [0]], to=to, number=2),
        packed(wire.CHUNK_OF, piece, bytes(1 << 12), to=to, number=2),
        packed(wire.PROGRAM, [1, [["sum", 6, [5]], ["get", 0, [6]]], []], to=to, number=3, lane=rng.choice([0, 2])),
        packed(wire.CANCEL, [0, 0], to=to, number=2),
        packed(wire.CREDIT, [0, 1 << 21], to=to),
        packed(wire.ANSWERS, [0, [], []], to=to),
        packed(wire.PING, [], to=to, number=4),
        packed(wire.PONG, [], to=to, number=4),
        packed(wire.REFUSED, [0, "Refused", "no"], to=to),
        packed(wire.GOODBYE, ["", "enough"], to=to),
    ]


async def mischief(made: Town, rng: random.Random, keep: int) -> None:
    """One peer's whole life, with some of what it says spoilt."""
    async with scripted(await made.dial()) as mallory:
        try:
            welcome = await mallory.hello(f"mallory-{rng.random()}")
        except AssertionError:
            return
        worker = welcome.me if made.road == "direct" else mallory.find("alice")
        for frame in talk(rng, mallory.incarnation, worker):
            mallory.say(mutated(rng, frame, keep) if rng.random() < 0.4 else frame)
        mallory.say(packed(wire.PING, [], number=99))
        while not mallory.ended.is_set() and not any(f.kind == wire.PONG and f.id == 99 for f in mallory.heard):
            mallory._news = anyio.Event()
            await mallory._news.wait()


@pytest.mark.parametrize("keep", [0, 4, wire.HEADER_SIZE], ids=["anywhere", "not the kind", "not the header"])
@pytest.mark.parametrize("road", ["memory", "direct"])
async def test_others_go_on_whatever_one_says(
    road: str, keep: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is said names peers whom nobody presents: at the end, until these are forgotten is waited for.
    monkeypatch.setattr("asyncsyft.peer.peer.RESUME_GRACE", 0.2)
    rng = random.Random(f"{road} {keep}")
    async with town(road, "alice", seconds=SECONDS + ROUNDS / 4) as made, bystander(made) as other:
        for _ in range(ROUNDS):
            await mischief(made, rng, keep)
        await other.goes_on()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def lie(rng: random.Random, relay: Scripted) -> None:
    """A relay and a worker in one that spoil their answers to a driver."""
    hello = await relay.greet([2, "alice", "worker", b"sleeping"])
    await relay.hears(wire.PROGRAM)
    document = b"\x83\xa5dtype\xa3<f8\xa5shape\x91\x02\xa6nbytes\x10"
    answers = [
        packed(wire.RESUME, [b"sleeping", hello.incarnation, 0, 0, {}], sender=2),
        packed(wire.VALUES, [0, [[1, "<f8", [2], 0], [2, "|m", [len(document)], 16]]], bytes(16) + document, sender=2),
        packed(wire.CHUNK_OF, [0, 1, "<f8", [1 << 16], 0], bytes(1 << 12), flags=wire.OF_ANSWER, sender=2),
        packed(wire.ANSWERS, [0, [], [[1, 1, "OpFailed", "ValueError", "no", "add", 1, 0]]], sender=2),
        packed(wire.CREDIT, [0, 1 << 21], sender=2),
        packed(wire.REFUSED, [0, "UnknownPeer", "who?"], sender=2),
        packed(wire.PEERS, [[[3, "bob", "worker", b"another."]], [[2, "gone"]]]),
        packed(wire.GOODBYE, ["", "enough"], sender=2),
    ]
    for frame in rng.sample(answers, k=5):
        relay.say(mutated(rng, frame) if rng.random() < 0.6 else frame)
    relay.transport.close()


async def test_a_driver_only_ever_raises_errors_of_ours() -> None:
    rng = random.Random(11)
    for _ in range(ROUNDS * 2):
        near, far = memory_pair()

        async def dial(near: Any = near) -> Any:
            return near

        with anyio.fail_after(10):
            async with scripted(far) as relay, anyio.create_task_group() as tasks:
                tasks.start_soon(lie, rng, relay)
                async with Driver(dial, resume_grace=0) as driver:
                    x = await driver["alice"].send(np.ones(2))
                    for ask in (x.get, x.info, driver.flush):
                        try:
                            await ask()
                        except AsyncSyftError as error:
                            assert str(error)
                tasks.cancel_scope.cancel()
