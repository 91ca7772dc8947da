"""One process of a chaos run: ``python -m benchmarks.chaos.end relay|worker|driver LOOP ...``.

It is told what to do by lines of JSON on its standard input, answers in kind, and ends when its input does.
"""

from __future__ import annotations

import ctypes
import gc
import json
import logging
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import Any, Awaitable, Callable, Dict, List

import anyio
import anyio.to_thread

import asyncsyft
from asyncsyft.driver import RemoteWorker
from benchmarks.chaos.jobs import HANG, Burst
from benchmarks.end import memory, tell

#: Seconds between pings of a silent link, and after which it is given up: short, so that half-open links are found.
ALIVE: Dict[str, Any] = {"heartbeat": 1.0, "silence": 4.0}
#: Seconds that nobody gives up on anybody; a run takes all links away for less.
GRACE: Dict[str, Any] = {"resume_grace": 60.0}


def held() -> int:
    """Bytes that this process needs: what is free goes back to the system first."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    return memory("VmRSS")


def answer_held() -> None:
    """Beside the loop, in a thread: each line asks for what is held; the end of the input ends the process."""
    for _ in sys.stdin:
        tell(held=held())
    os._exit(0)


async def relay(port: int) -> None:
    async with asyncsyft.Relay(f"127.0.0.1:{port}", **ALIVE) as here:
        tell(port=here.port)
        threading.Thread(target=answer_held, daemon=True).start()
        await anyio.sleep_forever()


async def worker(name: str, url: str) -> None:
    async with asyncsyft.Worker(name, url, **ALIVE, **GRACE):
        tell()
        threading.Thread(target=answer_held, daemon=True).start()
        await anyio.sleep_forever()


async def answer_stats(workers: List[RemoteWorker]) -> None:
    try:
        with anyio.fail_after(HANG):
            tell(stats=[await each.stats() for each in workers])
    except (asyncsyft.AsyncSyftError, TimeoutError) as why:
        tell(problem=f"no stats: {type(why).__name__}: {why}")


async def driver(name: str, url: str, *names: str) -> None:
    """Orders: ``burst`` begins one, ``stop`` ends it, ``stats`` asks the workers, ``held`` is memory."""
    async with asyncsyft.connect(url, name=name, **ALIVE, **GRACE) as here, anyio.create_task_group() as tasks:
        workers = await here.wait_for(*names)
        tell()
        burst: Any = None

        async def run(burst: Burst) -> None:
            tell(**await burst.run())

        while True:
            line = await anyio.to_thread.run_sync(sys.stdin.readline)
            order: Dict[str, Any] = json.loads(line) if line else {}
            if "burst" in order:
                burst = Burst(here, workers, **order["burst"])
                tasks.start_soon(run, burst)
            elif "stop" in order:
                burst.stopping = True
            elif "stats" in order:
                burst = None
                await answer_stats(workers)
            elif "held" in order:
                burst = None
                tell(held=held())
            else:
                tasks.cancel_scope.cancel()
                return


def main(words: List[str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started this end hears it too, and ends it
    logging.getLogger("asyncsyft").setLevel(logging.ERROR)  # that links are lost is no news here
    role, loop, *rest = words
    if role == "relay":
        anyio.run(relay, int(rest[0]), backend=loop)
    else:
        serve: Callable[..., Awaitable[None]] = worker if role == "worker" else driver
        anyio.run(serve, *rest, backend=loop)


if __name__ == "__main__":
    main(sys.argv[1:])
