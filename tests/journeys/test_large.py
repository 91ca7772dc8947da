"""Journeys of large tensors: roads that break in the middle, peers that stop half-way, compression call by call."""

from __future__ import annotations

from typing import Any, List

import numpy as np
import pytest

from asyncsyft import wire
from asyncsyft.errors import LinkError
from tests.journeys.kit import Town, town, until
from tests.journeys.scripted import packed, scripted

pytestmark = pytest.mark.anyio

#: 16 MiB: far more than the roads hold.
LARGE = np.arange(2 << 20, dtype="<f8")


def nothing_arrives(made: Town) -> bool:
    """Whether alice holds no tensor of anyone's, and expects none."""
    worker = made.workers["alice"]
    return not worker.executor._landings and not worker.store.objects and not worker.store.nbytes


@pytest.mark.parametrize("way", ["send", "get"])
async def test_a_road_that_breaks_within_a_large_tensor(road: str, way: str) -> None:
    async with town(road, "alice") as made, made.connect() as driver:
        (alice,) = await driver.wait_for("alice")
        x = await alice.send(LARGE) if way == "get" else None
        told: List[int] = []
        came: List[Any] = []

        def progress(done: int, total: int) -> None:
            told.append(done)
            if len(told) == 8:
                made.dialled[-1].abort()

        try:
            came.append(await (x.get(progress=progress) if x is not None else alice.send(LARGE, progress=progress)))
        except LinkError:
            assert told[-1] < LARGE.nbytes
            del x
            await until(lambda: nothing_arrives(made))
        else:  # the road was mended: it is whole
            np.testing.assert_array_equal(came[0] if way == "get" else await came[0].get(), LARGE)


@pytest.mark.parametrize("said", [0, 1, 3])
async def test_a_tensor_that_never_comes_whole_is_forgotten_with_its_sender(relayed: str, said: int) -> None:
    async with town(relayed, "alice") as made:
        async with scripted(await made.dial()) as mallory:
            await mallory.hello("mallory", "driver")
            alice = mallory.find("alice")
            number = alice.number
            await mallory.resume(number, alice.incarnation)
            put = ["put", 1, [], {"dtype": "|u1", "shape": [4 * wire.CHUNK]}]
            mallory.program(number, [put, ["get", 0, [1]]], chunked=[0])
            for at in range(0, said * wire.CHUNK, wire.CHUNK):
                meta = [0, 0, "|u1", [4 * wire.CHUNK], at]
                mallory.say(packed(wire.CHUNK_OF, meta, bytes(wire.CHUNK), to=number, number=1))
            worker = made.workers["alice"]
            landings = worker.executor._landings
            await until(lambda: [landing.at for landing, _ in landings.values()] == [said * wire.CHUNK])
            (space,) = worker.store.spaces.values()
            assert not space.objects
        await until(lambda: nothing_arrives(made))


@pytest.mark.parametrize("size", [1 << 10, 1 << 18])  # in values, and in chunks
async def test_compression_is_chosen_call_by_call(road: str, size: int) -> None:
    async with town(road, "alice", compression="never") as made, made.connect(compression="never") as driver:
        (alice,) = await driver.wait_for("alice")
        ours = np.zeros(size)
        x = await alice.send(ours)
        await driver.flush()
        near = made.dialled[-1]

        async def cost(**options: Any) -> int:
            before = near.bytes_received
            np.testing.assert_array_equal(await x.get(**options), ours)
            return near.bytes_received - before

        assert await cost() > ours.nbytes
        assert await cost(compression="always") < 4096 + ours.nbytes // 100
        assert await cost(compression="never") > ours.nbytes
        assert await cost() > ours.nbytes
        with pytest.raises(ValueError, match="compression is auto, always or never"):
            await x.get(compression="zip")
