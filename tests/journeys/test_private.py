"""Journeys of private data: computed on by drivers, and taken home as its owner lets it."""

from __future__ import annotations

import gc
import json
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, AsyncIterator, Dict, List, Optional

import anyio
import numpy as np
import pytest

import asyncsyft
from asyncsyft import State, plan
from asyncsyft.driver import Driver, RemoteWorker
from asyncsyft.errors import Cancelled, LimitExceeded, Refused, SessionError, UnknownObject
from asyncsyft.executor import sharing
from asyncsyft.executor.releases import MAX_WAITING
from asyncsyft.identity import Key, key_text
from asyncsyft.privacy import Asked
from asyncsyft.remote import RemoteTensor
from asyncsyft.worker import Worker
from tests.journeys.kit import Town, town, until
from tests.journeys.test_survive import cut

pytestmark = pytest.mark.anyio

HEIGHTS = np.array([[1.62, 61.0], [1.78, 80.0], [1.91, 77.0]])


async def found(driver: Driver, name: str = "heights", at: str = "alice") -> RemoteTensor:
    (worker,) = await driver.wait_for(at)
    (tensor,) = await worker.search(name)
    return tensor


def load(made: Town, release: Any, **more: Any) -> Worker:
    alice = made.workers["alice"]
    alice.load("heights", HEIGHTS, release=release, **more)
    return alice


# Policies.


async def test_what_is_loaded_is_private_unless_told_otherwise(road: str) -> None:
    async with town(road, "alice") as made, made.connect() as driver:
        made.workers["alice"].load("heights", HEIGHTS)
        heights = await found(driver)
        assert (heights.shape, heights.dtype) == ((3, 2), np.float64)
        with pytest.raises(Refused, match=r"get at alice: it depends on alice/heights.*\(never\).*recorded at"):
            await heights.get()
        total = (heights * 2).sum()
        assert (await total.info())["private"] == {"alice/heights": "never"}
        with pytest.raises(Refused, match="alice/heights"):
            await total.get()
        mine = await driver["alice"].send(HEIGHTS)
        assert "private" not in await mine.info()
        np.testing.assert_array_equal(await (mine + 1).get(), HEIGHTS + 1)
        await driver.flush()  # what was raised is not raised again


async def test_an_aggregate_leaves_and_may_be_moved(relayed: str) -> None:
    async with town(relayed, "alice", "bob") as made, made.connect() as driver:
        load(made, "aggregate:3")
        heights = await found(driver)
        bob = driver["bob"]
        mean = heights.mean(0)
        np.testing.assert_allclose(await mean.get(), HEIGHTS.mean(0))
        centred = heights.T @ heights / len(HEIGHTS) - mean[:, None] * mean[None, :]
        np.testing.assert_allclose(await centred.get(), np.cov(HEIGHTS.T, bias=True))
        there = mean.move(bob)
        np.testing.assert_allclose(await (there * 2).get(), 2 * HEIGHTS.mean(0))  # let go, and not private any more
        with pytest.raises(Refused, match="alice/heights"):
            await heights.move(bob).get()
        assert made.workers["bob"].store.policies == {}


async def test_a_model_that_trains_on_private_data(road: str) -> None:
    async with town(road, "alice") as made, made.connect() as driver:
        load(made, "training:3")
        heights = await found(driver)
        model = State("model", w=np.zeros(2))

        @plan(state=model)
        def step(state: Any, x: Any) -> Any:
            error = np.tanh(x @ state.w) - 0.5
            state.w = state.w - x.T @ error / 1000
            return (error * error).mean(), error

        wanted = np.zeros(2)
        for _ in range(3):
            loss, errors = step(heights)
            error = np.tanh(HEIGHTS @ wanted) - 0.5
            wanted = wanted - HEIGHTS.T @ error / 1000
        np.testing.assert_allclose(await loss.get(), (error * error).mean())
        np.testing.assert_allclose((await model.get(driver["alice"]))["w"], wanted)
        with pytest.raises(Refused, match="alice/heights"):
            await errors.get()


async def test_the_owner_s_own_function() -> None:
    asked: List[Asked] = []

    def three_or_more(one: Asked) -> Any:
        asked.append(one)
        with pytest.raises(ValueError, match="read-only"):
            one.value[...] = 0
        if one.who == "mallory":
            raise ZeroDivisionError("what it raises is told to nobody")
        if one.who == "eve":
            raise SystemExit("which ends no worker")
        return True if one.rows >= 3 else "not so few"

    async with town("memory", "alice") as made, made.connect("lab") as driver:
        load(made, three_or_more)
        heights = await found(driver)
        (total, first) = heights.sum(0), heights[0]
        np.testing.assert_allclose(await total.get(), HEIGHTS.sum(0))
        with pytest.raises(Refused, match="not so few"):
            await first.get()
        assert [(one.who, one.what, one.label, one.rows, one.how, one.shape) for one in asked] == [
            ("lab", "get", "alice/heights", 3, ("sum",), (2,)),
            ("lab", "get", "alice/heights", 0, ("getitem",), (2,)),
        ]
        for name, raised in (("mallory", "ZeroDivisionError"), ("eve", "SystemExit")):
            async with made.connect(name) as other:
                with pytest.raises(Refused, match=rf"function failed \({raised}\)") as error:
                    await (await found(other)).sum().get()
                assert "told to nobody" not in str(error.value)
        await total.get()


async def test_a_policy_that_is_none() -> None:
    worker = Worker("alice")
    for text in ("sometimes", "aggregate", "aggregate:0", "aggregate:x", "training:-1", "no.such.module:f", "math:pi"):
        with pytest.raises(ValueError, match="polic|rows"):
            worker.load("x", HEIGHTS, release=text)
    worker.load("x", HEIGHTS, release="ask")
    with pytest.raises(ValueError, match="alice/x is there with the policy ask"):
        worker.load("x", HEIGHTS, release="aggregate:3")


# A person decides.


async def waits(worker: Worker, count: int = 1) -> List[int]:
    await until(lambda: len(worker.requests.list()) == count)
    return [one["id"] for one in worker.requests.list()]


async def test_a_get_waits_for_a_person_and_the_rest_goes_on(road: str) -> None:
    async with town(road, "alice") as made, made.connect("lab") as driver, anyio.create_task_group() as tasks:
        alice = load(made, "ask")
        heights = await found(driver)
        got: Dict[str, Any] = {}
        told: List[str] = []

        async def get(name: str, tensor: RemoteTensor) -> None:
            try:
                got[name] = await tensor.get(on_wait=told.extend)
            except Refused as error:
                got[name] = error

        total = heights.sum(0)
        tasks.start_soon(get, "total", total)
        (number,) = await waits(alice)
        tasks.start_soon(get, "first", heights[0])
        await waits(alice, 2)
        mine = await driver["alice"].send(np.ones(2))
        assert told == ["alice/heights"] * 2
        np.testing.assert_array_equal(await (mine + mine).get(on_wait=told.extend), [2, 2])
        assert len(told) == 2
        assert (await (total + mine).info())["private"] == {"alice/heights": "ask"}
        assert got == {}

        one, other = alice.requests.list()
        assert one.items() >= {
            "who": "lab", "what": "get", "labels": ["alice/heights"], "dtype": "float64", "shape": [2],
            "rows": {"alice/heights": 3}, "how": ["sum"],
        }.items()  # fmt: skip
        assert "preview" not in one
        assert alice.requests.show(number)["preview"] == str(HEIGHTS.sum(0))
        alice.requests.approve(number)
        await until(lambda: "total" in got)
        np.testing.assert_array_equal(got["total"], HEIGHTS.sum(0))
        assert "first" not in got
        alice.requests.deny(other["id"], "a single patient")
        await until(lambda: "first" in got)
        assert "it depends on alice/heights, which is private there, and was denied: a single patient" in str(
            got["first"]
        )
        with pytest.raises(KeyError, match="no request 1 waits at alice"):
            alice.requests.approve(number)
        assert alice.requests.list() == []


async def test_who_gives_up_waiting_withdraws_the_request(road: str) -> None:
    async with town(road, "alice") as made, made.connect() as driver:
        alice = load(made, "ask")
        heights = await found(driver)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(heights.get)
            await waits(alice)
            tasks.cancel_scope.cancel()
        await waits(alice, 0)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(heights.sum().get)
            (number,) = await waits(alice)
            del heights
            gc.collect()
            alice.requests.approve(number)


async def test_a_request_outlives_links(relayed: str) -> None:
    async with town(relayed, "alice", resume_grace=10) as made, made.connect(resume_grace=10) as driver:
        alice = load(made, "ask")
        heights = await found(driver)
        async with anyio.create_task_group() as tasks:
            got: List[Any] = []

            async def get() -> None:
                got.append(await heights.mean().get())

            tasks.start_soon(get)
            (number,) = await waits(alice)
            await cut(driver.peer)
            assert await waits(alice) == [number]
            await cut(alice.peer)
            alice.requests.approve(number)
            await until(lambda: got)
            np.testing.assert_allclose(got, HEIGHTS.mean())


async def test_a_driver_that_leaves_takes_its_requests_along(road: str) -> None:
    async with town(road, "alice") as made:
        alice = load(made, "ask")
        async with made.connect() as driver:
            heights = await found(driver)
            slot = heights.recorder.ask(["get", 0, [heights.id]])
            await waits(alice)
            heights.recorder.cancel(slot)
        await waits(alice, 0)


async def test_requests_of_one_driver_are_bounded() -> None:
    async with town("memory", "alice") as made, made.connect() as driver:
        alice = load(made, "ask")
        heights = await found(driver)
        async with anyio.create_task_group() as tasks:
            for _ in range(MAX_WAITING):
                tasks.start_soon(heights.get)
            await waits(alice, MAX_WAITING)
            with pytest.raises(LimitExceeded, match="wait for their release already"):
                await heights.get()
            for number in await waits(alice, MAX_WAITING):
                alice.requests.approve(number)


async def test_a_worker_that_ends_says_so_to_who_waits() -> None:
    with anyio.fail_after(20):
        async with asyncsyft.Relay("127.0.0.1:0") as relay, asyncsyft.connect(relay.url) as driver:
            async with anyio.create_task_group() as tasks:
                async with Worker("alice", relay.url) as alice:
                    alice.load("heights", HEIGHTS, release="ask")
                    heights = await found(driver)

                    async def get() -> None:
                        with pytest.raises(Cancelled, match="ended before it was decided"):
                            await heights.get()

                    tasks.start_soon(get)
                    await waits(alice)


async def test_a_worker_that_drains_waits_for_no_person() -> None:
    async with town("memory", "alice") as made, made.connect() as driver:
        alice = load(made, "ask")
        heights = await found(driver)

        async def get() -> None:
            with pytest.raises(Cancelled, match="ended before it was decided"):
                await heights.get()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(get)
            await waits(alice)
            await alice.drain(60)
        await get()


async def test_a_move_waits_too(relayed: str) -> None:
    async with town(relayed, "alice", "bob") as made, made.connect() as driver:
        alice = load(made, "ask")
        heights = await found(driver)
        there, again = heights.move(driver["bob"]), heights.sum().move(driver["bob"])
        await driver["bob"].stats()
        one, other = await waits(alice, 2)
        assert alice.requests.show(one)["what"] == "move"
        alice.requests.approve(one)
        alice.requests.deny(other)
        np.testing.assert_array_equal(await there.get(), HEIGHTS)
        with pytest.raises(Refused, match="denied"):
            await again.get()
        with pytest.raises(Refused, match="denied"):
            await driver.flush()


# Whose is it.


async def test_objects_of_one_driver_are_invisible_to_another(road: str) -> None:
    async with town(road, "alice") as made, made.connect("bob") as bob, made.connect("carol") as carol:
        (mine,), (hers,) = await bob.wait_for("alice"), await carol.wait_for("alice")
        x = await mine.send(np.arange(3.0), name="x", tags=["t"])
        await bob.flush()
        assert await hers.search() == []
        assert await hers.search("x") == []
        assert await hers.search(owner="bob") == []
        stolen = RemoteTensor(hers.recorder, x.id, x.spec)
        with pytest.raises(UnknownObject):
            await stolen.get()
        with pytest.raises(UnknownObject):
            await (stolen + 1).get()
        with pytest.raises(UnknownObject):
            await stolen.info()
        stolen.id = 0


async def test_what_is_allowed_is_found_by_whom_it_is_allowed(road: str) -> None:
    async with town(road, "alice") as made, made.connect("bob") as bob:
        (mine,) = await bob.wait_for("alice")
        x = (await mine.send(np.arange(3.0), name="x", tags=["t"])).allow("carol")
        y = (x * 2).tag("t").allow("carol")
        await bob.flush()
        async with made.connect("carol") as carol, made.connect("dave") as dave:  # she was not there yet
            (hers,), (his,) = await carol.wait_for("alice"), await dave.wait_for("alice")
            assert await his.search() == []
            (found_x,) = await hers.search("x")
            assert len(await hers.search("t")) == len(await hers.search("t", owner="bob")) == 2
            assert await hers.search(owner="dave") == []
            y.disallow("carol")
            x.delete()
            await bob.flush()
            assert await hers.search("t") == []
            np.testing.assert_array_equal(await (found_x + 1).get(), [1, 2, 3])  # her alias keeps it alive
            with pytest.raises(Refused, match="not shared with 'carol'"):
                y.disallow("carol")
                await bob.flush()
        assert made.workers["alice"].store.objects == 1


async def test_what_may_be_used_is_not_seen(road: str) -> None:
    async with town(road, "alice") as made, made.connect("bob") as bob, made.connect("carol") as carol:
        (mine,), (hers,) = await bob.wait_for("alice"), await carol.wait_for("alice")
        x = (await mine.send(np.arange(3.0), name="x")).allow("carol", "use")
        await bob.flush()
        (there,) = await hers.search("x", owner="bob")
        with pytest.raises(Refused, match=r"depends on driver bob/x, which is private there \(never\)"):
            await (there * 0 + there.sum()).get()
        np.testing.assert_array_equal(await x.get(), [0, 1, 2])
        with pytest.raises(Refused, match='"get" or "use"'):
            x.allow("carol", "everything")
            await bob.flush()


async def test_what_is_shared_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "MAX_GRANTS", 2)
    monkeypatch.setattr(sharing, "MAX_SHARED", 2)
    async with town("memory", "alice") as made, made.connect("bob") as bob:
        (mine,) = await bob.wait_for("alice")
        x, y, z = [await mine.send(np.ones(1)) for _ in range(3)]
        x.allow("carol").allow("dave").allow("carol", "use")
        y.allow("carol")
        await bob.flush()
        with pytest.raises(LimitExceeded, match="a tensor is shared with at most 2"):
            x.allow("eve")
            await bob.flush()
        with pytest.raises(LimitExceeded, match="a driver shares at most 2 tensors"):
            z.allow("carol")
            await bob.flush()
        y.delete()
        z.allow("carol")
        await bob.flush()
        del x, z


async def test_a_private_label_rides_along() -> None:
    async with town("memory", "alice") as made, made.connect("bob") as bob, made.connect("carol") as carol:
        load(made, "aggregate:3")
        rows = ((await found(bob)) * 2).tag(name="doubled").allow("carol")
        await bob.flush()
        doubled = await found(carol, "doubled")
        with pytest.raises(Refused, match="alice/heights"):
            await doubled.get()
        np.testing.assert_allclose(await doubled.sum(0).get(), 2 * HEIGHTS.sum(0))
        rows.delete()


async def test_a_key_is_allowed_what_its_holder_alone_finds() -> None:
    key, other = Key.new(), Key.new()
    async with town("memory", "alice") as made, made.connect("bob") as bob:
        (mine,) = await bob.wait_for("alice")
        x = (await mine.send(np.ones(1), name="x")).allow(key_text(key.public))
        await bob.flush()
        async with made.connect("carol", key=key) as carol, made.connect("mallory", key=other) as mallory:
            assert len(await (await carol.wait_for("alice"))[0].search("x")) == 1
            assert await (await mallory.wait_for("alice"))[0].search("x") == []
        x.delete()


# What is kept.


async def test_labels_are_kept_over_a_restart(tmp_path: Path) -> None:
    model = State("sums", total=np.zeros(2))

    @plan(state=model)
    def add(state: Any, x: Any) -> Any:
        state.total = state.total + x
        return state.total

    @asynccontextmanager
    async def life(release: Optional[str]) -> AsyncIterator[RemoteWorker]:
        async with Worker("alice", listen="127.0.0.1:0", keep=tmp_path / "kept") as worker:
            if release:
                worker.load("heights", HEIGHTS, release=release)
            async with asyncsyft.connect(f"ws://{worker.address}", name="lab") as driver:
                yield (await driver.wait_for("alice"))[0]

    with anyio.fail_after(30):
        async with life("aggregate:3") as alice:
            (heights,) = await alice.search("heights")
            (heights * 2.0).tag("rows", name="doubled")
            heights.sum(0).tag(name="total")
            add(heights[0])
            await alice.driver.flush()
        for release in ("aggregate:3", "never", None):  # with None its policy is gone, and nothing leaves
            async with life(release) as alice:
                (doubled,), (total,) = await alice.search("doubled"), await alice.search("total")
                for tensor in (doubled, doubled[0], *([] if release == "aggregate:3" else [total])):
                    with pytest.raises(Refused, match="alice/heights"):
                        await tensor.get()
                if release == "aggregate:3":
                    np.testing.assert_allclose(await total.get(), HEIGHTS.sum(0))
                    np.testing.assert_allclose(await doubled.mean(0).get(), 2 * HEIGHTS.mean(0))
                assert await model.recall(alice)
                with pytest.raises(Refused, match="alice/heights"):
                    await model.get(alice)


# Sessions.


async def test_what_may_be_shared_goes_into_a_session_and_nothing_else() -> None:
    async with town("memory", "alice", "bob", "dealer") as made, made.connect() as driver:
        load(made, "never", share=True)
        made.workers["alice"].load("secret", HEIGHTS, release="aggregate:3")
        alice, bob, dealer = await driver.wait_for("alice", "bob", "dealer")
        (heights,), (secret,) = await alice.search("heights"), await alice.search("secret")
        async with asyncsyft.MPC(parties=[alice, bob], dealer=dealer, insecure=True) as mpc:
            total = (await mpc.share(heights) * 2).sum()
            np.testing.assert_allclose(await total.reveal(), 2 * HEIGHTS.sum(), atol=0.01)
        with pytest.raises(SessionError, match="alice/secret, which is private and not to be shared"):
            async with asyncsyft.MPC(parties=[alice, bob], dealer=dealer, insecure=True) as mpc:
                await (await mpc.share(secret)).reveal()


# What is written down.


async def test_the_audit_log(tmp_path: Path) -> None:
    key = Key.new()
    log = tmp_path / "audit.jsonl"
    async with town("relay", "alice", "bob", audit=None) as made, made.connect("lab", key=key) as driver:
        async with made.worker("carol", audit=log) as carol:
            carol.load("heights", HEIGHTS, release="aggregate:3")
            carol.load("scans", HEIGHTS, release="ask")
            heights, (there,) = await found(driver, at="carol"), await driver.wait_for("carol")
            await heights.sum().get()
            with pytest.raises(Refused):
                await heights.get()
            await (await there.send(np.ones(3), name="mine")).allow("dave").get()
            heights.mean().move(driver["bob"])
            (scans,) = await there.search("scans")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(scans.get)
                carol.requests.approve((await waits(carol))[0])
            await driver.flush()
            log.rename(tmp_path / "yesterday.jsonl")  # rotated from without
            await heights.sum().get()
            del heights, scans
        lines = [json.loads(line) for line in (tmp_path / "yesterday.jsonl").read_text().splitlines()]
        assert {line["who"] for line in lines} == {"lab"}
        assert len({line["key"] for line in lines} | {line["incarnation"] for line in lines}) == 2
        told = [(line["what"], line["outcome"], line.get("labels")) for line in lines]
        assert told == [
            ("search", "found", None),
            ("get", "released", ["carol/heights"]),
            ("get", "refused", ["carol/heights"]),
            ("allow", "done", []),
            ("get", "given", []),
            ("move", "released", ["carol/heights"]),
            ("search", "found", None),
            ("get", "waits", ["carol/scans"]),
            ("get", "approved", ["carol/scans"]),
        ]
        assert lines[2].items() >= {"dtype": "<f8", "shape": [3, 2], "nbytes": 48, "step": 0}.items()
        assert "1.62" not in (tmp_path / "yesterday.jsonl").read_text()
        (again,) = log.read_text().splitlines()
        assert json.loads(again)["outcome"] == "released"
        assert log.stat().st_mode & 0o077 == 0


async def test_what_cannot_be_written_down_is_not_released(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "audit.jsonl"
    log.parent.mkdir()
    async with town("memory") as made, made.connect() as driver:
        async with made.worker("alice", audit=log) as alice:
            alice.load("heights", HEIGHTS, release="aggregate:3")
            heights = await found(driver)
            await heights.sum().get()
            log.unlink()
            log.parent.rmdir()
            with pytest.raises(Refused, match="cannot write its audit log"):
                await heights.sum().get()
            mine: RemoteWorker = driver["alice"]
            np.testing.assert_array_equal(await (await mine.send(np.ones(2))).get(), [1, 1])
            del heights
