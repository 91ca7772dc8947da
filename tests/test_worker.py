"""A worker: programs sent raw, past the driver's inference, fail with a typed error at the step that is wrong."""

from __future__ import annotations

from typing import Any

import anyio
import numpy as np
import pytest

from asyncsyft import program, wire
from asyncsyft.errors import LinkError
from asyncsyft.transport import memory_pair
from asyncsyft.worker import Worker
from tests.journeys.kit import LOOPBACK, SECONDS, bystander, town, until
from tests.journeys.scripted import packed, scripted

pytestmark = pytest.mark.anyio

BODY = np.arange(6.0).tobytes()


def put(out: Any = 3, descr: Any = "<f8", shape: Any = (6,), at: Any = 0) -> Any:
    return ["put", out, [], {"dtype": descr, "shape": list(shape) if isinstance(shape, tuple) else shape, "at": at}]


#: A step after ``put 1`` (6 numbers), ``put 2`` (2 by 3) and the code and words of its failure.
BAD_STEPS = {
    "an unknown op": (["launch", 3, [1]], "UnknownOp", "launch"),
    "a hidden attribute": (["__class__", 3, [1]], "UnknownOp", "__class__"),
    "an op that is no text": ([7, 3, [1]], "Refused", "a step is"),
    "no step at all": ("add", "Refused", "a step is"),
    "a step that is a map": ({"op": "add"}, "Refused", "a step is"),
    "a step of too much": (["add", 3, [1, 1], {}, {}], "Refused", "a step is"),
    "inputs that are no list": (["add", 3, 1], "Refused", "a step is"),
    "params that are no map": (["add", 3, [1, 1], [1]], "Refused", "a step is"),
    "one argument too few": (["add", 3, [1]], "OpFailed", ""),
    "one argument too many": (["add", 3, [1, 1, 1]], "OpFailed", ""),
    "an argument of a wrong type": (["sum", 3, [1], {"axis": "first"}], "OpFailed", ""),
    "an unknown parameter": (["sum", 3, [1], {"out": 1}], "OpFailed", ""),
    "a matmul of shapes that do not match": (["matmul", 3, [2, 2]], "OpFailed", ""),
    "an add of shapes that do not match": (["add", 3, [1, 2]], "OpFailed", ""),
    "more results than there are": (["add", [3, 4], [1, 1]], "Refused", "results"),
    "an object that was never made": (["add", 3, [1, 99]], "UnknownObject", "99"),
    "a get of what was never made": (["get", 0, [99]], "UnknownObject", "99"),
    "a delete of what was never made": (["delete", 0, [99]], "UnknownObject", "99"),
    "a result that is there already": (["add", 1, [1, 1]], "Refused", "object 1 is there already"),
    "an id below 0": (["add", -1, [1, 1]], "Refused", "not an object id"),
    "an id past 2^53-1": (["add", 1 << 53, [1, 1]], "Refused", "not an object id"),
    "an id that is no number": (["add", "x", [1, 1]], "Refused", "not an object id"),
    "an input that is an id below 0": (["add", 3, [-1, 1]], "Refused", "not an object id"),
    "a literal that is none": (["add", 3, [1, ["<f8", "pi"]]], "Refused", "not a literal"),
    "a literal of object dtype": (["add", 3, [1, ["|O", 1]]], "Refused", "not a literal"),
    "a tensor of object dtype": (put(descr="|O"), "Refused", "no such dtype"),
    "a tensor of a dtype that does not travel": (put(descr="<f2"), "Refused", "no such dtype"),
    "a dtype that is no text": (put(descr=5), "Refused", "a dtype's descriptor"),
    "a shape that is no list": (put(shape="6"), "Refused", "a list of at most 32 dimensions"),
    "a shape below 0": (put(shape=(-6,)), "Refused", "not a dimension"),
    "a shape of 33 dimensions": (put(shape=(1,) * 33), "Refused", "32"),
    "a tensor larger than its body": (put(shape=(700,)), "Refused", "of a body of"),
    "a tensor larger than the world": (put(shape=(1 << 50, 1 << 50)), "LimitExceeded", "limit"),
    "a tensor in the middle of a word": (put(shape=(1,), at=3), "Refused", "of a body of"),
    "a tensor before the body": (put(shape=(1,), at=-8), "Refused", "of a body of"),
    "a tensor of nowhere": (put(shape=(1,), at=None), "Refused", "of a body of"),
    "ones without end": (["ones", 3, [], {"shape": [1 << 40, 1 << 20], "dtype": "<f8"}], "OpFailed", ""),
    "a search that is none": (["search", 0, [], {"query": 1, "base": 9, "most": 1}], "Refused", "query"),
    "a search for everything": (["search", 0, [], {"query": [], "base": 9, "most": 1 << 40}], "Refused", "at most"),
    "a tag of nothing": (["tag", 0, [99], {"name": "x"}], "UnknownObject", "99"),
    "tags without end": (["tag", 0, [1], {"name": "x", "tags": ["t"] * 99}], "Refused", "tags"),
    "a move without a ticket": (["move", 0, [1], {"to": b"incarnat"}], "Refused", "16 bytes"),
    "a fetch from nobody": (["fetch", 3, [], {"from": b"nob", "ticket": bytes(16)}], "Refused", "8 bytes"),
    "a fetch from a stranger": (
        ["fetch", 3, [], {"from": b"incarnat", "ticket": bytes(16)}],
        "UnknownPeer",
        "source of the move",
    ),
}


@pytest.mark.parametrize(("step", "code", "words"), BAD_STEPS.values(), ids=BAD_STEPS)
async def test_a_bad_step_fails_alone(step: Any, code: str, words: str) -> None:
    quick = {"resume_grace": 0.05}
    async with town("memory", "alice", **quick) as made, bystander(made), scripted(await made.dial()) as mallory:
        await mallory.hello("mallory")
        alice = mallory.find("alice")
        await mallory.resume(alice.number, alice.incarnation)
        good = ["add", 20, [1, 1]]
        number = mallory.program(alice.number, [put(1), put(2, shape=(2, 3)), step, good], BODY)
        (failure,) = await mallory.answers(number)
        assert (failure.id, failure.step, failure.code) == (number, 2, code), failure
        assert words in failure.message
        mallory.program(alice.number, [["get", 0, [20]]])
        (came,) = await mallory.values()
        np.testing.assert_array_equal(came, np.arange(6.0) * 2)


@pytest.mark.parametrize(
    ("step", "code"),
    [
        (["get", 0, [1]], "Refused"),
        (["put", 5, [], {"dtype": "|O", "shape": [9]}], "Refused"),
        (["put", 5, [], {"dtype": "<f8", "shape": [1 << 38]}], "LimitExceeded"),
        (["put", 1, [], {"dtype": "<f8", "shape": [1 << 16]}], "Refused"),
    ],
)
async def test_chunks_that_have_no_place_are_dropped(step: Any, code: str) -> None:
    async with town("memory", "alice", limit=1 << 26) as made, bystander(made), scripted(await made.dial()) as mallory:
        await mallory.hello("mallory")
        alice = mallory.find("alice")
        await mallory.resume(alice.number, alice.incarnation)
        number = mallory.program(alice.number, [put(1)], BODY)
        assert await mallory.answers(number) == []
        number = mallory.program(alice.number, [step], chunked=[0])
        piece = packed(wire.CHUNK_OF, [0, 0, "<f8", [1 << 16], 0], bytes(1 << 12), to=alice.number, number=number)
        mallory.say(piece)
        (failure,) = await mallory.answers(number)
        assert failure.code == code
        mallory.program(alice.number, [["get", 0, [1]]])
        (came,) = await mallory.values()
        np.testing.assert_array_equal(came, np.arange(6.0))


@pytest.mark.parametrize(
    "chunks",
    [
        [(8, 8)],
        [(0, 1 << 12), (1 << 13, 8)],
        [(0, 1 << 18), (1 << 17, 3 * (1 << 17) + 8)],
        [(0, 1 << 18), (1 << 18, 1 << 18), (1 << 19, 8)],
        [(0, 0)],
    ],
)
async def test_chunks_with_gaps_or_past_the_end_end_the_conversation(chunks: Any) -> None:
    async with town("memory", "alice") as made, bystander(made), scripted(await made.dial()) as mallory:
        await mallory.hello("mallory")
        alice = mallory.find("alice")
        await mallory.resume(alice.number, alice.incarnation)
        number = mallory.program(alice.number, [put(5, shape=(1 << 16,), at=0)], chunked=[0])
        for offset, size in chunks:
            meta = [0, 0, "<f8", [1 << 16], offset]
            mallory.say(packed(wire.CHUNK_OF, meta, bytes(size), to=alice.number, number=number))
        if chunks[-1][0] == 1 << 19:  # whole before the last: that one finds no place
            await mallory.answers(number)
        else:
            assert "a chunk of bytes" in (await mallory.says(wire.GOODBYE)).reason


async def test_a_program_of_too_many_steps() -> None:
    async with town("memory", "alice") as made, bystander(made), scripted(await made.dial()) as mallory:
        await mallory.hello("mallory")
        alice = mallory.find("alice")
        await mallory.resume(alice.number, alice.incarnation)
        number = mallory.program(alice.number, [["delete", 0, []]] * program.MAX_STEPS)
        assert await mallory.answers(number) == []
        (failure,) = await mallory.answers(mallory.program(alice.number, [1] * (program.MAX_STEPS + 1)))
        assert failure.code == "LimitExceeded"


async def test_a_worker_dials_and_listens_at_once() -> None:
    async with town("relay") as made, made.connect() as driver:
        async with Worker("alice", made.url, listen=LOOPBACK) as worker:
            (alice,) = await driver.wait_for("alice")
            x = await alice.send(np.ones(2))
            np.testing.assert_array_equal(await x.get(), np.ones(2))
            assert worker.port > 0
            async with scripted(await town_dial(worker)) as direct:
                welcome = await direct.hello("direct")
                assert (welcome.me.name, welcome.me.role) == ("alice", "worker")
                assert welcome.can["level"] >= 2
                assert "matmul" in welcome.can["ops"]
            await until(lambda: len(worker.peer.roads) == 1)


async def town_dial(worker: Worker) -> Any:
    from asyncsyft.websocket import dial

    return await dial(f"ws://{worker.address}")


async def test_a_worker_is_told_that_its_relay_is_gone() -> None:
    near, far = memory_pair()

    async def dial() -> Any:
        return near

    with anyio.fail_after(SECONDS):
        async with scripted(far) as relay, anyio.create_task_group() as tasks:
            tasks.start_soon(relay.greet)
            async with Worker("alice", dial, resume_grace=0) as worker:
                far.abort()
                with pytest.raises(LinkError):
                    await worker.closed()


async def test_a_worker_that_ends_lets_programs_end() -> None:
    async with town("memory") as made, made.connect() as driver:
        async with made.worker("alice") as worker:
            (alice,) = await driver.wait_for("alice")
            x = alice.call("ones", (400, 400))
            product = x @ x
            asked = alice.recorder.ask(["get", 0, [product.id]])
            await until(lambda: worker.executor.jobs)
        np.testing.assert_array_equal(await asked, np.full((400, 400), 400.0))
