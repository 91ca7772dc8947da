"""One end of a stack, in a process of its own: ``python -m benchmarks.end STACK serve`` or ``... drive PORT``.

It is told what to do by lines of JSON on its standard input, answers in kind on its standard output, and ends when
its input does. It knows nothing of rounds, medians or other stacks.
"""

from __future__ import annotations

import functools
import json
import os
import resource
import sys
import threading
import time
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Dict

import anyio
import anyio.to_thread

from benchmarks.stacks import Stack, load


def tell(**answer: object) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def usage() -> Dict[str, float]:
    """CPU seconds of this process, all threads, and its peak memory in bytes since the last :func:`forget_peak`."""
    return {"cpu": time.process_time(), "peak": peak_memory()}


def peak_memory() -> int:
    # Not ru_maxrss where /proc is: on Linux that starts at the peak of the process that forked this one.
    try:
        lines = Path("/proc/self/status").read_text("ascii").splitlines()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def forget_peak() -> None:
    """Let the peak start again from what is held now, where the system can do that."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", "ascii")


def answer_usage() -> None:
    """Beside a server's loop, in a thread: each line asks for the usage; the end of the input ends the process."""
    for line in sys.stdin:
        if json.loads(line).get("forget"):
            forget_peak()
        tell(**usage())
    os._exit(0)


async def serve(stack: Stack) -> None:
    def ready(port: int) -> None:
        tell(port=port)
        threading.Thread(target=answer_usage, daemon=True).start()

    await stack.serve(ready)


async def drive(stack: Stack, port: int) -> None:
    async with stack.client(port) as measures:
        tell(measures=list(measures), versions={name: metadata.version(name) for name in stack.VERSIONS_OF})
        while True:
            line = await anyio.to_thread.run_sync(sys.stdin.readline)
            if not line:
                return
            order = json.loads(line)
            forget_peak()
            before = usage()
            sample = await measures[order["measure"]](order["seconds"])
            after = usage()
            tell(
                operations=sample.operations,
                seconds=sample.seconds,
                cpu=after["cpu"] - before["cpu"],
                peak=after["peak"],
            )


def main() -> None:
    name, role, *rest = sys.argv[1:]
    stack = load(name)
    if role == "serve":
        anyio.run(serve, stack, backend=stack.BACKEND)
    else:
        anyio.run(functools.partial(drive, stack, int(rest[0])), backend=stack.BACKEND)


if __name__ == "__main__":
    main()
