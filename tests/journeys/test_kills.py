"""Processes that are killed: a worker in the middle of a program, a relay, a driver. By their handles, at once."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

import anyio
import anyio.to_thread
import numpy as np
import pytest

import asyncsyft
from asyncsyft.errors import LinkClosed, LinkError, WorkerLost
from asyncsyft.worker import Worker
from tests.journeys.kit import LOOPBACK, bystander, town, until

pytestmark = pytest.mark.anyio

ROOT = Path(asyncsyft.__file__).resolve().parent.parent
HEAD = "import sys, anyio, asyncsyft, numpy as np\n"
WORKER = """
async def main(url):
    async with asyncsyft.Worker("victim", url):
        print("ready", flush=True)
        await anyio.sleep_forever()
"""
RELAY = """
async def main(address):
    async with asyncsyft.Relay(address) as relay:
        print(relay.url, flush=True)
        await anyio.sleep_forever()
"""
DRIVER = """
async def main(url):
    async with asyncsyft.connect(url) as driver:
        (alice,) = await driver.wait_for("alice")
        x = await alice.send(np.ones(1000))
        await driver.flush()
        print("ready", flush=True)
        await anyio.sleep_forever()
"""


@contextmanager
def process(script: str, argument: str, backend: str) -> Iterator[Any]:
    """A Python process that runs a script's ``main``; it is killed at the end if it was not before."""
    code = f"{HEAD}{script}\nanyio.run(main, {argument!r}, backend={backend!r})"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=env, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


async def says(running: Any) -> str:
    """The first line that a process prints."""
    return str(await anyio.to_thread.run_sync(running.stdout.readline)).strip()


async def test_a_worker_killed_in_the_middle_of_a_program(anyio_backend: str) -> None:
    async with town("relay", "alice") as made, made.connect() as driver, bystander(made) as other:
        with process(WORKER, made.url, anyio_backend) as running:
            assert await says(running) == "ready"
            (victim,) = await driver.wait_for("victim")
            x = victim.call("ones", (1500, 1500))
            product = x
            for _ in range(40):
                product = product @ x
            victim.recorder.close_program()
            await victim.ping()

            async def kill() -> None:
                running.kill()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(kill)
                with pytest.raises(WorkerLost, match="victim left"):
                    await product.get()
            await until(lambda: "victim" not in driver.workers)
            with pytest.raises(WorkerLost, match="victim left"):
                await victim.send(np.ones(3))
            await other.goes_on()
        with process(WORKER, made.url, anyio_backend) as running:
            (again,) = await driver.wait_for("victim")
            y = await again.send(np.ones(3))
            np.testing.assert_array_equal(await y.get(), np.ones(3))
            with pytest.raises(WorkerLost):
                await x.get()
        await until(lambda: "victim" not in driver.workers)


async def test_a_relay_that_is_killed(anyio_backend: str) -> None:
    with anyio.fail_after(50), process(RELAY, LOOPBACK, anyio_backend) as running:
        url = await says(running)
        async with Worker("alice", url, resume_grace=0) as worker, asyncsyft.connect(url, resume_grace=0) as driver:
            (alice,) = await driver.wait_for("alice")
            x = await alice.send(np.ones(3))
            await driver.flush()
            running.kill()
            with pytest.raises(LinkError):
                await worker.closed()
            await until(lambda: not driver.workers)
            with pytest.raises(WorkerLost, match="alice is lost"):
                await x.get()
            with pytest.raises(LinkError):
                await driver.wait_for("alice")
            assert not worker.store.spaces
            assert not worker.executor.jobs
        with pytest.raises(LinkClosed, match="no relay at"):
            async with asyncsyft.connect(url):
                pass


async def test_a_driver_that_is_killed(anyio_backend: str) -> None:
    async with town("relay", "alice") as made, bystander(made) as other:
        store = made.workers["alice"].store
        with process(DRIVER, made.url, anyio_backend) as running:
            assert await says(running) == "ready"
            await until(lambda: store.nbytes >= 8000)
            running.kill()
            await until(lambda: len(store.spaces) == 1)
        await other.goes_on()
