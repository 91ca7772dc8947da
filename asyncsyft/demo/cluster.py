"""Starts ``asyncsyft relay`` and ``asyncsyft worker`` as real processes, and ends them again, whatever happens."""

from __future__ import annotations

import os
import re
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from subprocess import DEVNULL, PIPE
from typing import AsyncIterator, Dict, Mapping

import anyio
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream

#: What the workers let out of their digits: what sums up so many of them, such as a trained network.
RELEASE = "training:100"
#: Seconds for a process to say that it is there, and to end when it is asked to.
START, END = 30.0, 5.0


@asynccontextmanager
async def cluster(files: Mapping[str, str], loop: str = "asyncio") -> AsyncIterator[str]:
    """A relay, and workers by name with the file that each loads as ``digits``; the relay's URL.

    Raises: ChildProcessError when a process does not start.
    """
    async with AsyncExitStack() as stack:
        words = ["--loop", loop]
        line = await stack.enter_async_context(command("relay", "--listen", "127.0.0.1:0", *words))
        found = re.search(r"\bws://\S+", line)
        if found is None:
            raise ChildProcessError(f"the relay does not say where it listens: {line!r}")
        for name, file in files.items():
            mine = ["--load", f"digits={file}", "--release", RELEASE]
            await stack.enter_async_context(command("worker", "--name", name, "--relay", found[0], *mine, *words))
        yield found[0]


@asynccontextmanager
async def command(*words: str) -> AsyncIterator[str]:
    """``asyncsyft`` with these words, in a process of its own; the first line that it prints.

    It has a session of its own, so that Ctrl-C reaches the demo alone, which ends it: workers first, then the relay.
    """
    argv = [sys.executable, "-m", "asyncsyft", *words]
    process = await anyio.open_process(
        argv, stdin=DEVNULL, stdout=PIPE, stderr=None, env=environment(), start_new_session=True
    )
    try:
        with anyio.fail_after(START):
            line = await first_line(process)
        if not line:
            raise ChildProcessError(f"asyncsyft {words[0]} ended with {await process.wait()}")
        yield line
    finally:
        with anyio.CancelScope(shield=True):
            await end(process)


def environment() -> Dict[str, str]:
    """Ours, but for what would configure the commands."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ASYNCSYFT_")}


async def first_line(process: Process) -> str:
    """Up to the first line's end; "" if the process ended before."""
    assert process.stdout is not None
    text = ""
    async for piece in TextReceiveStream(process.stdout):
        text += piece
        if "\n" in text:
            return text.split("\n")[0]
    return ""


async def end(process: Process) -> None:
    """Ask it to end; make it, if it does not."""
    if process.returncode is None:
        process.terminate()
        with anyio.move_on_after(END):
            await process.wait()
    if process.returncode is None:
        process.kill()
    await process.aclose()
