"""Limits: each is told and named by who keeps it, costs who exceeds it, and nobody beside."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List

import anyio
import numpy as np
import pytest

import asyncsyft
from asyncsyft import Relay, Worker, limits, plan, store, wire
from asyncsyft.errors import LimitExceeded, LinkClosed
from asyncsyft.limits import Bucket, DoorLimits, RelayLimits, WorkerLimits, bounds, told
from asyncsyft.memory import available
from asyncsyft.metrics import Endpoints
from asyncsyft.relay import member
from asyncsyft.websocket import Door
from asyncsyft.websocket.door import MAX_REMEMBERED, Caller
from tests.journeys.kit import LOOPBACK, SECONDS, bystander, memory, town, until
from tests.journeys.scripted import packed, scripted
from tests.test_metrics import ask, values

pytestmark = pytest.mark.anyio


# Rules.


def test_a_bucket_fills_up_with_time() -> None:
    bucket = Bucket(10, 20, now=100.0)
    assert bucket.take(20, 100.0) == 0.0
    assert bucket.take(5, 100.0) == 0.5  # in advance
    assert bucket.take(0, 100.5) == 0.0
    assert not bucket.has(100.5)
    assert bucket.has(100.625)
    assert not bucket.has(100.625)
    assert bucket.take(20, 1000.0) == 0.0  # no more than 20 at once
    assert bucket.take(1, 1000.0) == pytest.approx(0.1)


@pytest.mark.parametrize("kind", [DoorLimits, RelayLimits, WorkerLimits])
def test_each_limit_has_a_help_and_a_sensible_default(kind: Any) -> None:
    for one in bounds(kind):
        assert one.metadata["text"].endswith(".")
        assert one.default >= one.metadata["least"]
    names = [one.metadata["told"] for one in bounds(kind) if one.metadata["told"]]
    assert len(set(names)) == len(names)


def test_limits_that_do_not_bind_are_not_told() -> None:
    assert "bytes_per_driver" not in told(WorkerLimits())
    assert told(WorkerLimits(limit_per_driver=7))["bytes_per_driver"] == 7
    with pytest.raises(TypeError, match="max_piers"):
        Relay(max_piers=3)


# The door.

HERE = Caller("127.0.0.1", True, False)


def caller(address: str) -> Caller:
    return Caller(address, False, False)


def refusal(door: Door, who: Caller, now: float = 0.0, **headers: str) -> Any:
    """Status and sentence of a refusal, or None."""
    refused = door.admit(who, headers, now)
    return None if refused is None else (refused.status, refused.sentence)


def test_so_many_connections_and_no_more(monkeypatch: Any) -> None:
    monkeypatch.setattr("asyncsyft.websocket.door.UNGREETED", 1)
    door = Door(DoorLimits(max_peers=2))
    assert [refusal(door, caller(f"10.0.0.{n}")) for n in range(3)] == [None] * 3
    assert refusal(door, caller("10.0.0.9")) == (503, "there are 2 peers already (max_peers)")
    door.left(caller("10.0.0.1"))
    assert refusal(door, caller("10.0.0.9")) is None
    assert door.turned_away == {"max_peers": 1}


def test_so_many_from_one_address_and_no_more() -> None:
    door = Door(DoorLimits(max_per_address=2))
    one = caller("10.0.0.1")
    assert [refusal(door, one) for _ in range(2)] == [None, None]
    assert refusal(door, one) == (429, "10.0.0.1 has 2 connections already (max_per_address)")
    assert refusal(door, caller("10.0.0.2")) is None
    door.left(one)
    assert refusal(door, one) is None
    for _ in range(2):
        door.left(one)
    assert set(door.places) == {"10.0.0.2"}  # nothing is kept of who has left


def test_an_ipv6_site_is_one_address() -> None:
    door = Door(DoorLimits(max_per_address=1))
    assert refusal(door, caller("2001:db8::1")) is None
    assert refusal(door, caller("2001:db8::ffff:2"))[0] == 429
    assert refusal(door, caller("2001:db8:0:1::1")) is None


def test_so_fast_and_no_faster() -> None:
    door = Door(DoorLimits(max_new=2))
    one = caller("10.0.0.1")
    assert [refusal(door, one) for _ in range(20)] == [None] * 20
    assert refusal(door, one) == (429, "10.0.0.1 opens more than 2 connections a second (max_new)")
    assert refusal(door, caller("10.0.0.2")) is None
    assert refusal(door, one, now=0.5) is None
    assert refusal(door, one, now=0.5)[0] == 429


def test_addresses_without_end_are_not_remembered_without_end() -> None:
    door = Door()
    for n in range(MAX_REMEMBERED + 10):
        who = caller(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}")
        assert refusal(door, who) is None or n > 10_000
        door.left(who)
    assert len(door._buckets) == MAX_REMEMBERED


def test_web_pages_are_kept_out_unless_they_are_listed() -> None:
    page = {"origin": "https://evil.example"}
    assert refusal(Door(), HERE, **page) == (403, "web pages of https://evil.example may not connect here")
    assert refusal(Door(), HERE, origin="null")[0] == 403
    listed = Door(origins=["https://lab.example/", "https://other.example:8443"])
    assert refusal(listed, HERE, **page)[0] == 403
    assert refusal(listed, HERE, origin="https://LAB.example") is None
    assert refusal(listed, HERE, origin="http://lab.example")[0] == 403
    assert refusal(listed, HERE, origin="https://lab.example.evil")[0] == 403
    assert refusal(listed, HERE) is None
    assert refusal(Door(origins=["*"]), HERE, **page) is None


@pytest.mark.parametrize(
    ("host", "header", "address", "is_local"),
    [
        ("127.0.0.1", None, "127.0.0.1", True),
        ("127.0.0.1", "203.0.113.9", "127.0.0.1", False),  # a proxy of which nothing was said: what it says is not so
        ("203.0.113.9", "127.0.0.1", "203.0.113.9", False),
    ],
)
def test_a_proxy_that_is_not_trusted_is_the_caller(host: str, header: Any, address: str, is_local: bool) -> None:
    headers = {} if header is None else {"x-forwarded-for": header}
    assert Door().caller(host, host == "127.0.0.1", headers) == Caller(address, is_local, False)


@pytest.mark.parametrize(
    ("header", "address"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("127.0.0.1", "127.0.0.1"),  # that is who dialled the proxy, or what it made up: not one of this machine
        ("1.2.3.4, 203.0.113.9", "203.0.113.9"),  # what the caller says of itself is left of it
        ("1.2.3.4, 203.0.113.9, 10.1.2.3", "203.0.113.9"),  # the outer one of two proxies
        ("10.9.9.9", "10.9.9.9"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("", "127.0.0.1"),
    ],
)
def test_a_trusted_proxy_says_for_whom_it_speaks(header: str, address: str) -> None:
    door = Door(proxies=["127.0.0.1", "10.0.0.0/8"])
    headers = {"x-forwarded-for": header} if header else {}
    found = door.caller("127.0.0.1", True, headers)
    assert (found.address, found.is_local) == (address, False)


@pytest.mark.parametrize("header", ["localhost", "1.2.3", "1.2.3.4, unknown", "1.2.3.4;5", "x" * 3000])
def test_a_trusted_proxy_that_talks_nonsense(header: str) -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        Door(proxies=["127.0.0.1"]).caller("127.0.0.1", True, {"x-forwarded-for": header})


def test_a_door_that_trusts_nonsense() -> None:
    with pytest.raises(ValueError, match="appear"):
        Door(proxies=["the proxy"])


async def test_those_who_dial_are_told_which_limit_it_was() -> None:
    with anyio.fail_after(SECONDS):
        async with Relay(LOOPBACK, max_per_address=2) as relay, Worker("alice", relay.url):
            async with asyncsyft.connect(relay.url) as driver:
                with pytest.raises(LimitExceeded, match=r"HTTP 429 Too Many Requests: 127.0.0.1 has 2 connections"):
                    async with asyncsyft.connect(relay.url):
                        pass
                x = await driver["alice"].send(np.ones(3))
                assert (await x.get()).sum() == 3
            await until(lambda: relay.door.open == 1)
            async with asyncsyft.connect(relay.url):
                assert relay.door.turned_away == {"max_per_address": 1}


async def test_a_worker_that_listens_keeps_the_same_door() -> None:
    with anyio.fail_after(SECONDS):
        async with Worker("alice", listen=LOOPBACK, max_peers=2, max_per_name=1, insecure=True) as alice:
            url = f"ws://{alice.address}"
            async with asyncsyft.connect(url, name="me"):
                with pytest.raises(LimitExceeded, match=r"me has 1 connections already \(max_per_name\)"):
                    async with asyncsyft.connect(url, name="me"):
                        pass
                async with asyncsyft.connect(url, name="you"):
                    with pytest.raises(LimitExceeded, match=r"there are 2 peers already \(max_peers\)"):
                        async with asyncsyft.connect(url, name="they"):
                            pass


# What a relay lets its peers use up.


async def test_who_sends_too_much_is_read_later(monkeypatch: Any) -> None:
    """And loses nothing by it; beside it others go on."""
    monkeypatch.setattr(member, "A_WHILE", 10)
    async with town("relay", "alice", relay={"max_frames": 2000}) as made, bystander(made) as honest:
        async with scripted(await made.dial()) as flood:
            await flood.hello("flood")
            begun = anyio.current_time()
            for _ in range(4):
                flood.say(*[packed(wire.PING, [], number=n) for n in range(50)])  # each counts 20: two seconds' worth
            await honest.goes_on()
            for _ in range(4):
                for n in range(50):
                    assert (await flood.hears(wire.PONG)).id == n
            assert anyio.current_time() - begun < 4
            assert made.relay.slowed > 0
            flood.say(packed(wire.PING, [], number=99))
            assert (await flood.hears(wire.PONG)).id == 99
            assert anyio.current_time() - begun > 0.5


@pytest.mark.parametrize("road", ["memory", "relay"])
async def test_bytes_a_second(road: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(member, "A_LOT", 1 << 16)
    async with town(road, "alice", relay={"max_rate": 2_000_000}) as made, made.connect() as driver:
        (alice,) = await driver.wait_for("alice")
        begun = anyio.current_time()
        for turn in range(4):
            ours = np.random.default_rng(turn).random(100_000)  # nothing that could be compressed
            x = await alice.send(ours)
            assert float(await x.sum().get()) == pytest.approx(ours.sum())
        assert anyio.current_time() - begun > 0.4  # 3.2 MB, of which 2 at once
        assert made.relay.slowed > 0


async def test_all_that_waits_is_bounded() -> None:
    """Who reads least is cut, and comes back."""
    async with town("memory", "alice", relay={"max_waiting": 3_000_000}) as made, bystander(made) as honest:
        (alice,) = [m for m in made.relay.members.values() if m.info and m.info.name == "alice"]
        async with scripted(await made.dial()) as slow, scripted(await made.dial()) as fast:
            await slow.hello("slow", "worker")
            await fast.hello("fast")
            memory(slow.transport).pause()
            body = bytes(400_000)
            for lane in range(9):
                fast.say(packed(wire.PROGRAM, [0, [], []], body, to=fast.find("slow").number, number=1, lane=lane))
            await until(lambda: made.relay.slow_consumers)
            await until(lambda: made.relay.waiting < 3_000_000)
            assert alice.link.error is None
            memory(slow.transport).resume()
            await slow.ended.wait()
        await honest.goes_on()
        await until(lambda: made.relay.waiting == 0)


# What a worker lets drivers use up.


async def test_one_driver_does_not_take_all_the_room() -> None:
    async with town("memory", "alice", limit_per_driver=100_000) as made, bystander(made) as honest:
        async with made.connect() as driver:
            (alice,) = await driver.wait_for("alice")
            x = alice.ones(10_000)
            await driver.flush()
            refused = [alice.ones(10_000), x + 1.0, x.astype("float32") * 1.0]  # the last by its first step
            with pytest.raises(LimitExceeded) as caught:
                await driver.flush()
            for error in (caught.value, *caught.value.also):
                assert "would pass the 100000 of one driver (limit_per_driver)" in str(error)
            assert len(caught.value.also) == len(refused) - 1
            del refused
            with pytest.raises(LimitExceeded, match="limit_per_driver"):
                await (await alice.send(np.zeros(1_000_000))).get()
            small = [alice.ones(100) + 1.0 for _ in range(100)]  # the short way
            with pytest.raises(LimitExceeded, match="limit_per_driver"):
                await driver.flush()
            del small, x
            await driver.flush()
            assert (await alice.ones(10_000).sum().get()) == 10_000
            await honest.goes_on()


async def test_what_moves_in_is_counted_too() -> None:
    async with town("memory", "alice", "bob") as made, made.connect() as driver:
        made.workers["bob"].store.limit_per_driver = 1000
        alice, bob = await driver.wait_for("alice", "bob")
        x = alice.ones(1000)
        with pytest.raises(LimitExceeded, match="limit_per_driver"):
            await x.move(bob).get()


def write(folder: Path, **texts: Any) -> None:
    for name, text in texts.items():
        path = folder / name.replace("__", "/").replace("_max", ".max").replace("_current", ".current")
        path = path.with_name(path.name.replace("_stat", ".stat"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(text))


def test_memory_that_is_left(tmp_path: Path) -> None:
    proc, groups = tmp_path / "proc", tmp_path / "groups"
    assert available(proc, groups) is None  # where nobody tells
    write(proc, meminfo="MemTotal:  8000 kB\nMemAvailable:  4000 kB\n")
    assert available(proc, groups) == 4000 << 10
    write(proc, self__cgroup="0::/system.slice/relay.service\n")
    assert available(proc, groups) == 4000 << 10
    service = groups / "system.slice" / "relay.service"
    write(service, memory_max="max\n", memory_current=1000, memory_stat="anon 1\n")
    assert available(proc, groups) == 4000 << 10
    write(service, memory_max=3_000_000, memory_current=2_000_000, memory_stat="anon 7\ninactive_file 500000\n")
    assert available(proc, groups) == 1_500_000
    write(groups / "system.slice", memory_max=1000, memory_current=900, memory_stat="")
    assert available(proc, groups) == 100  # that of those above holds too
    write(groups / "system.slice", memory_max=1000, memory_current=1900)
    assert available(proc, groups) == 0
    write(proc, meminfo="nothing of the kind\n")
    write(service, memory_max="nonsense")
    assert available(proc, groups) == 0


def test_memory_that_is_left_here() -> None:
    found = available()
    assert found is None or found > 1 << 20


async def test_a_worker_whose_memory_runs_out_refuses_new_objects(monkeypatch: Any) -> None:
    free = {"bytes": 1 << 40}
    monkeypatch.setattr("asyncsyft.worker.available", lambda: free["bytes"])
    monkeypatch.setattr("asyncsyft.worker.LOOK", 0.01)
    async with town("memory", "alice", memory_reserve=10_000_000) as made, made.connect() as driver:
        (alice,) = await driver.wait_for("alice")
        x = alice.ones(100_000)
        await driver.flush()
        held = made.workers["alice"].store
        assert held.limit == 8 << 30
        free["bytes"] = 10_000_100
        await until(lambda: held.bound == "memory_reserve")
        for refused in (lambda: x + 1.0, lambda: alice.ones(20)):
            refused()
            with pytest.raises(LimitExceeded, match=r"\(memory_reserve\)"):
                await driver.flush()
        assert await x.sum().get() == 100_000  # what is there is there, and 8 bytes are
        free["bytes"] = 1 << 40
        await until(lambda: held.bound == "limit")
        assert await (x + 1.0).sum().get() == 200_000


async def test_memory_is_looked_at_before_much_of_it_is_taken(monkeypatch: Any) -> None:
    """However long ago that was done; and what is on its way is not taken for free."""
    monkeypatch.setattr("asyncsyft.worker.LOOK", 1000.0)
    monkeypatch.setattr(store, "MUCH", 1000)
    free = {"bytes": 1 << 40}
    monkeypatch.setattr("asyncsyft.worker.available", lambda: free["bytes"])
    async with town("memory", "alice", memory_reserve=1_000_000) as made, made.connect() as driver:
        (alice,) = await driver.wait_for("alice")
        await alice.ping()
        free["bytes"] = 4_000_000
        made.workers["alice"].store.own.expect(1, 2_000_000)
        made.workers["alice"].store.spaces[b"somebody"] = made.workers["alice"].store.own
        alice.ones(200_000)
        with pytest.raises(LimitExceeded, match="memory_reserve"):
            await driver.flush()
        assert await alice.ones(50_000).sum().get() == 50_000
        made.workers["alice"].store.spaces.pop(b"somebody")


async def test_a_program_that_computes_too_long_is_ended_between_steps() -> None:
    async with town("memory", "alice", cpu_seconds=0.05) as made, bystander(made) as honest:
        async with made.connect() as driver:
            (alice,) = await driver.wait_for("alice")
            x = alice.ones((300, 300))
            for _ in range(500):
                x = x @ alice.ones((300, 300)) / 300.0
            with pytest.raises(LimitExceeded, match=r"more CPU time than it may here \(cpu_seconds\)"):
                await x.get()
            await honest.goes_on()


async def test_a_step_that_cannot_but_take_too_long_does_not_begin() -> None:
    async with town("memory", "alice", cpu_seconds=0.05) as made, made.connect() as driver:
        (alice,) = await driver.wait_for("alice")
        x = alice.ones((1, 2000)) * alice.ones((2000, 1))
        await driver.flush()
        before = made.workers["alice"].executor.steps_run
        y = x @ x @ x  # by the estimate 0.1 s each
        with pytest.raises(LimitExceeded, match="cpu_seconds"):
            await y.get()
        assert made.workers["alice"].executor.steps_run > before


async def test_a_plan_that_computes_too_long_is_ended_between_its_steps() -> None:
    @plan
    def long(x: Any) -> Any:
        for _ in range(150):
            x = x @ x / 200.0
        return x

    async with town("memory", "alice", cpu_seconds=0.02) as made, made.connect() as driver:
        (alice,) = await driver.wait_for("alice")
        with pytest.raises(LimitExceeded, match=r"step [1-9]\d* of plan 'long': .* \(cpu_seconds\)"):
            await long(alice.ones((200, 200))).get()


async def test_one_driver_does_not_take_all_threads(monkeypatch: Any) -> None:
    running: Dict[int, List[int]] = {}
    async with town("memory", "alice", max_running=3, max_running_per_driver=2) as made, bystander(made) as honest:
        turns = made.workers["alice"].executor.turns
        running[0] = []
        gate = anyio.Event()

        async def sync(work: Any, limiter: Any) -> None:
            running[0].append(1)
            async with limiter:
                await gate.wait()
                work()

        monkeypatch.setattr("asyncsyft.executor.turns.anyio.to_thread.run_sync", sync)
        async with made.connect() as driver, anyio.create_task_group() as tasks:
            talk: Any = object()
            for _ in range(5):
                tasks.start_soon(turns.run, talk, lambda: None)
            await until(lambda: len(running[0]) == 2)
            await honest.goes_on()
            assert turns.running == 2
            tasks.start_soon(turns.run, object(), lambda: None)
            await until(lambda: turns.running == 3)
            gate.set()
            await until(lambda: not turns.running and not turns._drivers and not turns._asking)
            assert driver.peer.roads


# Limits are told.


async def test_the_hello_the_welcome_and_the_metrics_tell_them() -> None:
    endpoints = Endpoints()
    with anyio.fail_after(SECONDS):
        async with Relay(LOOPBACK, process_request=endpoints, max_peers=17) as relay:
            endpoints.of(relay)
            async with Worker("alice", relay.url, limit=12345, cpu_seconds=9) as alice:
                async with asyncsyft.connect(relay.url) as driver:
                    await driver["alice"].ping()
                    x = await driver["alice"].send(np.ones(3))
                    await x.get()
                    can = driver["alice"].conversation.their_can["limits"]
                    assert (can["bytes"], can["cpu_seconds"], can["objects"]) == (12345, 9, 1_000_000)
                    pages = Endpoints()
                    pages.of(alice, "127.0.0.1:1")
                    answer = pages("/metrics", {})
                    assert answer is not None
                    found = values(answer[2])
                    assert found["asyncsyft_worker_limit", "limit"] == 12345
                    assert found["asyncsyft_worker_used", "limit"] == 24
                    assert found["asyncsyft_worker_used", "limit_per_driver"] == 24
                async with scripted(await asyncsyft.websocket.dial(relay.url)) as one:
                    welcome = await one.hello("one")
                    assert welcome.can["limits"]["peers"] == 17
                    now = values((await ask(relay, "/metrics"))[2])
            for limit in bounds(RelayLimits):
                assert now["asyncsyft_relay_limit", limit.name] == getattr(relay.limits, limit.name)
            assert now["asyncsyft_relay_used", "max_peers"] == 2
            assert now["asyncsyft_relay_used", "max_per_address"] == 2


def test_each_limit_is_an_option_with_its_help() -> None:
    from click.testing import CliRunner

    from asyncsyft.cli.commands import asyncsyft as command

    for name, kind in (("relay", RelayLimits), ("worker", WorkerLimits)):
        text = " ".join(CliRunner().invoke(command, [name, "--help"]).output.split())
        for one in bounds(kind):
            assert f"--{one.name.replace('_', '-')} " in text
            assert " ".join(one.metadata["text"].split())[:30] in text


def test_the_docs_tell_each_limit() -> None:
    page = (Path(limits.__file__).resolve().parent.parent / "docs" / "operators.md").read_text("utf-8")
    for kind in (RelayLimits, WorkerLimits):
        for one in bounds(kind):
            assert f"`--{one.name.replace('_', '-')}`" in page, one.name


async def test_a_crowd_of_one_address_drops_its_own(monkeypatch: Any) -> None:
    """Of connections that do not shake hands."""
    monkeypatch.setattr("asyncsyft.websocket.listening.MAX_HALF_OPEN", 3)
    with anyio.fail_after(SECONDS):
        async with Relay(LOOPBACK) as relay:
            from asyncsyft.websocket.listening import Listener

            listener = Listener("127.0.0.1", 0, None, None, None, 1, Door())  # type: ignore[arg-type]
            scopes = [anyio.CancelScope() for _ in range(6)]
            listener._enter("10.0.0.1", scopes[0])
            for scope in scopes[1:]:
                listener._enter("10.0.0.2", scope)
            assert [scope.cancel_called for scope in scopes] == [False, True, True, True, False, False]
            for scope in scopes:
                listener._leave("10.0.0.2", scope)
            listener._leave("10.0.0.1", scopes[0])
            assert (listener._half_open, listener._knocking) == ({}, 0)
            assert relay.port
    assert LinkClosed
