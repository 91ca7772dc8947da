"""PySyft 0.2.9 as it is, for all ends of the bridge's benchmark: its hook, and its own websocket worker served.

Nothing here installs the bridge: whoever is to run on it says so.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import socket
import sys
import threading
import warnings
from typing import Any, Awaitable, Callable

import anyio

from benchmarks.stacks import Ready

# In the environment, since ``torch.set_num_threads`` is for the thread that calls it, and workers serve in others.
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

with warnings.catch_warnings():  # those of PySyft's and torch's own are of 2020
    warnings.simplefilter("ignore")
    sy: Any = importlib.import_module("syft")
    torch: Any = importlib.import_module("torch")

warnings.filterwarnings("ignore", "coroutine 'WebsocketServerWorker")  # when a client of PySyft's own server leaves
# PySyft makes pools of processes. Those close their standard input first, which waits for ever for the lock that the
# parent's reading thread held as they were forked.
os.register_at_fork(after_in_child=lambda: setattr(sys, "stdin", None))
hook: Any = sy.TorchHook(torch)

#: The workers: shares lie at the first two, the third helps them.
NAMES = ("alice", "bob", "charlie", "dan")
HOST = "localhost"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return int(sock.getsockname()[1])


def own_server(name: str) -> Callable[..., Awaitable[None]]:
    """PySyft's own ``WebsocketServerWorker`` as a server of a stack; its event loop has a thread for itself."""

    async def serve(ready: Ready, *_: int) -> None:
        module = importlib.import_module("syft.workers.websocket_server")
        module.__dict__["print"] = lambda *_: None  # the standard output belongs to the harness
        port = free_port()

        def run() -> None:
            asyncio.set_event_loop(asyncio.new_event_loop())
            module.WebsocketServerWorker(hook, HOST, port, id=name).start()

        threading.Thread(target=run, daemon=True).start()
        await _listening(port)
        ready(port)
        await anyio.sleep_forever()

    return serve


async def _listening(port: int) -> None:
    connect = importlib.import_module("websockets").connect
    with anyio.fail_after(30):
        while True:
            try:
                async with connect(f"ws://{HOST}:{port}"):
                    return
            except OSError:
                await anyio.sleep(0.05)
