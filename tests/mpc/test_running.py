"""What a session tells of itself, and what it does when members are slow, gone, or too eager."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, Dict, List, Tuple

import anyio
import anyio.lowlevel
import numpy as np
import pytest

import asyncsyft
from asyncsyft.driver import Driver
from asyncsyft.errors import LimitExceeded, Refused, SessionError
from asyncsyft.mpc import MPC, outgoing
from asyncsyft.mpc.service import sessions
from asyncsyft.mpc.service.dealer import DealerSession
from asyncsyft.testing import cluster
from asyncsyft.worker import Worker

pytestmark = pytest.mark.anyio

SECONDS = 30
LOCAL = "127.0.0.1:0"
VALUES = np.arange(-4.0, 5.0)


# What it tells.


async def test_a_profile_is_a_table_of_operations() -> None:
    with anyio.fail_after(SECONDS):
        async with asyncsyft.local("alice", "bob", "james") as driver:
            alice, bob, james = await driver.wait_for("alice", "bob", "james")
            async with MPC([alice, bob], james, profile=True) as mpc:
                x, w = await mpc.share(np.ones((3, 4))), await mpc.share(np.ones((4, 4)))
                for _ in range(2):
                    x = (x @ w).relu()
                await x.reveal()
                await mpc.flush()
                assert mpc.profile is not None
                rows = {row.name: row for row in mpc.profile.rows()}
                assert rows["matmul"].calls == rows["relu"].calls == 2
                assert rows["share"].calls == 2
                assert rows["relu"].rounds > rows["matmul"].rounds > 0
                assert sum(row.opened for row in rows.values()) == mpc.stats["opened"][0]
                assert sum(row.dealt for row in rows.values()) == mpc.stats["dealt"]
                assert all(row.seconds > 0 for row in rows.values())
                lines = str(mpc.profile).splitlines()
                assert lines[0].split() == ["operation", "calls", "ms", "rounds", "opened,", "bytes", "dealt,", "bytes"]
                assert len(lines) == 1 + len(rows)
                assert len({len(line) for line in lines}) == 1
            async with MPC([alice, bob], james) as plain:
                assert plain.profile is None


async def test_progress_of_a_long_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "GATES", 8)
    told: List[Tuple[int, int]] = []
    with anyio.fail_after(SECONDS):
        async with asyncsyft.local("alice", "bob", "james") as driver:
            alice, bob, james = await driver.wait_for("alice", "bob", "james")
            async with MPC([alice, bob], james) as mpc:
                x = await mpc.share(np.ones(4))
                for _ in range(30):
                    x = x * x
                await mpc.flush(progress=lambda done, total: told.append((done, total)))
                assert len({total for _, total in told}) == 1
                assert [done for done, _ in told] == sorted(done for done, _ in told)
                assert told[-1][0] == told[-1][1] > 60
                assert len({done for done, _ in told}) > 3


async def test_what_is_on_its_way_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "GATES", 4)
    monkeypatch.setattr(outgoing, "MOST_GATES", 64)
    monkeypatch.setattr(outgoing, "ON_THE_WAY", 3)
    with anyio.fail_after(SECONDS):
        async with asyncsyft.local("alice", "bob", "james") as driver:
            alice, bob, james = await driver.wait_for("alice", "bob", "james")
            async with MPC([alice, bob], james) as mpc:
                x = y = await mpc.share(np.ones(2))
                with pytest.raises(LimitExceeded, match=r"await mpc.ready\(\)"):
                    for _ in range(1000):
                        y = y + x
                assert mpc.stats["batches"] == 3
                y = x
                for _ in range(100):
                    await mpc.ready()
                    y = y + x
                assert (await y.reveal()).tolist() == [101, 101]


# The dealer.


async def test_the_driver_deals_only_if_one_says_that_this_is_insecure() -> None:
    with anyio.fail_after(SECONDS):
        async with asyncsyft.local("alice", "bob") as driver:
            parties = await driver.wait_for("alice", "bob")
            with pytest.raises(Refused, match="could read all of it"):
                MPC(parties)
            for _ in range(2):
                async with MPC(parties, insecure=True) as mpc:
                    x = await mpc.share(VALUES)
                    assert np.array_equal(await (x * x).relu().reveal(), VALUES**2)
            while set(driver.workers) != {"alice", "bob"}:
                await anyio.lowlevel.checkpoint()


async def test_the_driver_deals_to_parties_that_it_dialled() -> None:
    with anyio.fail_after(SECONDS):
        async with Worker("alice", listen=LOCAL) as alice, Worker("bob", listen=LOCAL) as bob:
            async with Driver(f"ws://{alice.address}") as driver:
                await driver.dial(f"ws://{bob.address}")
                async with MPC(await driver.wait_for("alice", "bob"), insecure=True) as mpc:
                    x = await mpc.share(VALUES)
                    assert np.array_equal(await (x * x).relu().reveal(), VALUES**2)


@pytest.mark.parametrize("patience", [None, 0.2])
async def test_a_slow_dealer_is_waited_for_or_not(patience: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    go = anyio.Event()
    deal = DealerSession.run

    async def slow(self: DealerSession, *batch: Any) -> None:
        await go.wait()
        await deal(self, *batch)

    monkeypatch.setattr(DealerSession, "run", slow)
    with anyio.fail_after(SECONDS):
        async with asyncsyft.local("alice", "bob", "james") as driver:
            alice, bob, james = await driver.wait_for("alice", "bob", "james")
            async with MPC([alice, bob], james, patience=patience) as mpc:
                x = await mpc.share(VALUES)
                if patience is None:
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(anyio.lowlevel.checkpoint)
                        go.set()
                        assert np.array_equal(await (x * x).relu().reveal(), VALUES**2)
                else:
                    with pytest.raises(SessionError, match=r"the dealer \(james\) has dealt nothing for 0.2 s"):
                        await (x * x).relu().reveal()
            with pytest.raises(SessionError, match="patience is a number of seconds"):
                await MPC([alice, bob], james, patience=-1).__aenter__()


# Who is gone.


async def _start(name: str, *options: str) -> Tuple[Any, str]:
    """A worker in a process of its own, and where it listens."""
    program = (
        "import sys, anyio, asyncsyft\n"
        "async def main():\n"
        "    async with asyncsyft.Worker(sys.argv[1], listen='127.0.0.1:0', resume_grace=0.5) as worker:\n"
        "        print(worker.address, flush=True)\n"
        "        await anyio.sleep_forever()\n"
        "anyio.run(main)\n"
    )
    process = await anyio.open_process([sys.executable, "-c", program, name], stderr=None)
    assert process.stdout is not None
    return process, (await process.stdout.receive()).decode().strip()


@pytest.mark.parametrize("lost", ["alice", "bob", "james"])
async def test_a_process_that_is_killed_ends_the_session_for_all_and_is_named(lost: str) -> None:
    names = ("alice", "bob", "james")
    processes: Dict[str, Any] = {}
    try:
        with anyio.fail_after(SECONDS):
            processes[lost], address = await _start(lost)
            others = [name for name in names if name != lost]
            async with Worker(others[0], listen=LOCAL, resume_grace=0.5) as one, Worker(
                others[1], listen=LOCAL, resume_grace=0.5
            ) as two, Driver(f"ws://{address}", resume_grace=0.5) as driver:
                for worker in (one, two):
                    await driver.dial(f"ws://{worker.address}")
                alice, bob, james = await driver.wait_for(*names)
                async with MPC([alice, bob], james, insecure=True) as mpc:
                    x = await mpc.share(VALUES)
                    await (x * x).relu().reveal()
                    os.kill(processes[lost].pid, signal.SIGKILL)
                    begun = anyio.current_time()
                    with pytest.raises(SessionError, match=lost):
                        while True:
                            await (x * x).relu().reveal()
                    for worker in (one, two):
                        while worker.sessions.open:
                            await anyio.lowlevel.checkpoint()
                    assert anyio.current_time() - begun < 5
                    assert all(lost in said for worker in (one, two) for said in worker.sessions._ended.values())
    finally:
        for process in processes.values():
            if process.returncode is None:
                process.kill()
            await process.aclose()


# Bounds.


async def test_what_one_peer_says_too_early_leaves_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MAX_EARLY", 3)
    with anyio.fail_after(SECONDS):
        async with cluster("alice", "bob", "james") as made:
            alice, bob, james = await made.driver.wait_for("alice", "bob", "james")
            async with Driver(made.dial, "stranger") as stranger:
                (there,) = await stranger.wait_for("alice")
                for number in range(3):
                    there.recorder.record(["mpc.close", [], [], {"session": bytes([number]) * 16, "reason": ""}])
                there.recorder.close_program()
                worker = made.workers["alice"]
                while len(worker.sessions._early) < 3:
                    await anyio.lowlevel.checkpoint()
                with pytest.raises(LimitExceeded, match="too much was said"):
                    await there.recorder.ask(["mpc.close", [], [], {"session": b"x" * 16, "reason": ""}])
                async with MPC([bob, alice], james) as mpc:
                    assert np.array_equal(await (await mpc.share(VALUES)).reveal(), VALUES)
            while worker.sessions._early or worker.sessions._kept:
                await anyio.lowlevel.checkpoint()


async def test_sessions_share_the_memory_of_a_worker() -> None:
    with anyio.fail_after(SECONDS):
        async with asyncsyft.local("alice", "bob", "james", limit=1 << 21) as driver:
            alice, bob, james = await driver.wait_for("alice", "bob", "james")
            async with MPC([alice, bob], james) as one, MPC([alice, bob], james) as other:
                kept = [await one.share(np.ones(40_000)) for _ in range(2)]
                await one.flush()
                x = await other.share(np.ones(10_000))
                await (x * x).reveal()
                y = await other.share(np.ones(40_000))
                with pytest.raises(SessionError, match="take more than"):
                    await (y * y).reveal()
                assert np.array_equal(await kept[0].reveal(), np.ones(40_000))
