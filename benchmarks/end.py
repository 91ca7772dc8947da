"""One end of a stack, in a process of its own: ``python -m benchmarks.end STACK SERVER|drive [PORT...]``.

It is told what to do by lines of JSON on its standard input, answers in kind on its standard output, and ends when
its input does. It knows nothing of rounds, medians or other stacks.
"""

from __future__ import annotations

import functools
import json
import os
import resource
import signal
import socket
import struct
import sys
import threading
import time
import traceback
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Dict, List

import anyio
import anyio.to_thread

from benchmarks.stacks import Stack, load

#: Where Linux's tcp_info has the count of bytes sent.
BYTES_SENT = 200


def tell(**answer: object) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def usage() -> Dict[str, float]:
    """CPU seconds of this process, all threads; bytes that it holds, the most since :func:`forget_peak`, bytes sent."""
    return {"cpu": time.process_time(), "held": memory("VmRSS"), "peak": memory("VmHWM"), "sent": sent()}


def sent() -> int:
    """Bytes that this process sent on its TCP connections that are open, as Linux counts them; 0 elsewhere."""
    total = 0
    with suppress(OSError):
        for number in os.listdir("/proc/self/fd"):
            with suppress(OSError, struct.error):
                if os.readlink(f"/proc/self/fd/{number}").startswith("socket:"):
                    with socket.socket(fileno=os.dup(int(number))) as each:
                        told = each.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, BYTES_SENT + 8)
                    total += struct.unpack_from("=Q", told, BYTES_SENT)[0]
    return total


def memory(name: str) -> int:
    # Not ru_maxrss where /proc is: on Linux that starts at the peak of the process that forked this one.
    try:
        lines = Path("/proc/self/status").read_text("ascii").splitlines()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


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


async def serve(stack: Stack, server: str, ports: List[int]) -> None:
    def ready(*mine: int) -> None:
        tell(ports=mine)
        threading.Thread(target=answer_usage, daemon=True).start()

    await getattr(stack, server)(ready, *ports)


async def drive(stack: Stack, ports: List[int]) -> None:
    async with stack.client(*ports) as measures:
        tell(measures=list(measures), **usage())
        while True:
            line = await anyio.to_thread.run_sync(sys.stdin.readline)
            if not line:
                return
            order = json.loads(line)
            forget_peak()
            before = usage()
            sample = await measures[order["measure"]](order["seconds"])
            tell(**sample._asdict(), before=before, after=usage())


def check(names: List[str]) -> None:
    """Say which versions are here of what these stacks need, or which stack lacks what."""
    versions: Dict[str, str] = {}
    for name in names:
        try:
            versions.update({each: metadata.version(each) for each in load(name).VERSIONS_OF})
        except ImportError as why:  # PackageNotFoundError is one
            tell(failed=f"{name} cannot run here: {why}")
            return
    tell(versions=versions)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started this end hears it too, and ends it
    name, role, *rest = sys.argv[1:]
    if name == "check":
        return check([role, *rest])
    stack, ports = load(name), [int(port) for port in rest]
    does = functools.partial(drive, stack, ports) if role == "drive" else functools.partial(serve, stack, role, ports)
    try:
        anyio.run(does, backend=stack.BACKEND)
    except Exception as why:  # noqa: BLE001 - told to the one that started this end
        traceback.print_exc()
        tell(failed=f"{type(why).__name__}: {why}")


if __name__ == "__main__":
    main()
