"""SIGTERM and Ctrl-C under load: a relay is started anew and nothing is lost or run twice; nobody waits for ever."""

from __future__ import annotations

import signal
from typing import Any, Awaitable, Callable, List, Tuple

import anyio
import anyio.to_thread
import numpy as np
import pytest

import asyncsyft
from asyncsyft import State, plan
from asyncsyft.errors import LinkError
from tests.cli.kit import SECONDS, Command, url_in
from tests.journeys.kit import until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]

#: Seconds of a drain that nobody here waits for.
LONG = "600"


class Load:
    """Calls at a worker, each of which says what it must give; ``answered`` counts them by task."""

    def __init__(self, driver: asyncsyft.Driver) -> None:
        self.driver = driver
        self.answered = [0] * 9
        self.totals: List[float] = []
        self.stop = False

    async def goes_on(self) -> None:
        """Return when each task had more answers since now."""
        before = list(self.answered)
        await until(lambda: all(now > then + 1 for now, then in zip(self.answered, before)))

    async def calls(self, task: int) -> None:
        x = await self.driver["alice"].send(np.arange(8.0) + task)
        while not self.stop:
            turn = self.answered[task]
            np.testing.assert_array_equal(await (x + float(turn)).get(), np.arange(8.0) + task + turn)
            self.answered[task] += 1

    async def counts(self, task: int) -> None:
        """A state at the worker, which shows a call that is run twice, or never."""
        state = State("counter", total=np.zeros(()))

        @plan(state=state)
        def add(state: Any, one: Any) -> Any:
            state.total = state.total + one
            return state.total

        one = self.driver["alice"].ones(())
        while not self.stop:
            self.totals.append(float(await add(one).get()))
            self.answered[task] += 1


async def under_load(url: str, main: Callable[[Load], Awaitable[None]]) -> Load:
    async with asyncsyft.connect(url, resume_grace=SECONDS) as driver, anyio.create_task_group() as tasks:
        await driver.wait_for("alice")
        load = Load(driver)
        for task in range(8):
            tasks.start_soon(load.calls, task)
        tasks.start_soon(load.counts, 8)
        await load.goes_on()
        await main(load)
        load.stop = True
    return load


async def ended(command: Command) -> Tuple[int, str, str]:
    with anyio.fail_after(SECONDS):
        return await anyio.to_thread.run_sync(command.end)


def cluster(start: Any, *words: str) -> Tuple[Command, str, Command]:
    relay = start("relay", "--listen", "127.0.0.1:0", *words)
    url = url_in(relay.line())
    words = ["--drain", LONG, "--resume-grace", str(SECONDS)]  # starting a process takes long where much else is done
    alice = start("worker", "--name", "alice", "--relay", url, *words)
    alice.line()
    return relay, url, alice


async def test_a_relay_that_is_started_anew_under_load_loses_nothing(start: Any) -> None:
    relay, url, alice = cluster(start, "--drain", "0.5", "-v")

    async def main(load: Load) -> None:
        relay.signal(signal.SIGTERM)
        code, out, errors = await ended(relay)
        assert (code, out) == (0, ""), errors
        assert "signal 15" in errors
        again = start("relay", "--listen", url.partition("//")[2])
        await anyio.to_thread.run_sync(again.line)
        await load.goes_on()
        assert load.driver.peer.redials == 1

    with anyio.fail_after(2 * SECONDS):
        load = await under_load(url, main)
    assert load.totals == [float(n) for n in range(1, len(load.totals) + 1)]
    alice.signal(signal.SIGTERM)
    assert (await ended(alice))[0] == 0


async def test_a_second_signal_does_not_wait(start: Any, anyio_backend_name: str) -> None:
    second = signal.SIGTERM if anyio_backend_name == "trio" else signal.SIGINT
    relay, url, alice = cluster(start, "--drain", LONG, "-v")

    async def main(load: Load) -> None:
        relay.signal(signal.SIGTERM)
        await anyio.to_thread.run_sync(relay.error, "signal 15")
        await until(lambda: load.driver.peer.roads[0].retry)
        await load.goes_on()  # it is let finish what it never finishes
        relay.signal(second)
        assert (await ended(relay))[0] == 0
        again = start("relay", "--listen", url.partition("//")[2])
        await anyio.to_thread.run_sync(again.line)
        await load.goes_on()

    with anyio.fail_after(2 * SECONDS):
        await under_load(url, main)
    alice.signal(signal.SIGINT)
    assert (await ended(alice))[0] == 0


async def test_a_worker_that_is_told_to_end_finishes_the_call(start: Any) -> None:
    _, url, alice = cluster(start)
    with anyio.fail_after(2 * SECONDS):
        async with asyncsyft.connect(url) as driver:
            (worker,) = await driver.wait_for("alice")
            x = worker.ones((600, 600))
            for _ in range(40):
                x = x @ worker.ones((600, 600)) / 600.0
            await worker.ping()
            alice.signal(signal.SIGTERM)
            assert float((await x.get())[0, 0]) == 1.0
            assert (await ended(alice))[0] == 0
            with pytest.raises(LinkError):
                await (x + 1).get()
