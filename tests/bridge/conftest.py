"""Tests against the real PySyft 0.2.9, in real processes; where it is not installed there is nothing to test."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import warnings
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Iterator, List

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
HAS_SYFT = importlib.util.find_spec("syft") is not None

collect_ignore_glob: List[str] = [] if HAS_SYFT else ["test_*.py"]

if HAS_SYFT:
    with warnings.catch_warnings():  # PySyft's and torch's own are of 2020
        warnings.simplefilter("ignore")
        import syft  # noqa: F401

        import bridge  # noqa: F401


def pytest_collection_modifyitems(items: List[pytest.Item]) -> None:
    here = str(Path(__file__).parent)
    for item in items:
        if str(item.path).startswith(here):
            if item.get_closest_marker("timeout") is None:  # processes begin, each of which imports torch and PySyft
                item.add_marker(pytest.mark.timeout(180))
            for module in ("syft", "torch"):
                item.add_marker(pytest.mark.filterwarnings(f"ignore:::{module}"))


WORKER = """
import sys, warnings
warnings.simplefilter("ignore")
import syft as sy, torch
from syft.workers.websocket_server import WebsocketServerWorker
name, port, *paths = sys.argv[1:]
hook = sy.TorchHook(torch)
cert, key = paths or (None, None)


class Trainer(WebsocketServerWorker):
    def fit(self, dataset_key, device="cpu"):
        return torch.tensor([0.25]) if dataset_key == "ours" else None

    def evaluate(self, dataset_key, **options):
        return {"dataset": dataset_key, **options}


worker = Trainer(hook, "localhost", int(port), id=name, cert_path=cert, key_path=key)
worker.register_obj(torch.tensor([7.0, 8.0]).tag("#own").describe("the worker's own"))
worker.start()
"""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("localhost", 0))
        return int(sock.getsockname()[1])


class Process:
    """A worker in a process of its own, started as a user would: an old script, by ``python -m bridge``.

    Who asks for its port waits until it serves; so several begin side by side.
    """

    def __init__(self, folder: Path, name: str, *paths: str) -> None:
        self.name, self._port = name, free_port()
        script = folder / f"{name}.py"
        script.write_text(WORKER)
        command = [sys.executable, "-m", "bridge", str(script), name, str(self._port), *paths]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT, text=True)

    @cached_property
    def port(self) -> int:
        assert self.process.stdout is not None
        assert "Serving" in self.process.stdout.readline()
        return self._port

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Within, it does nothing, and is not dead either."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)  # all its threads stand still
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Kill it; nothing is left of it. Idempotent."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Makes worker processes; they end with the file: what one has left at them is not found by the next."""
    made: List[Process] = []

    def make(name: str, *paths: str) -> Process:
        made.append(Process(tmp_path_factory.mktemp(name), name, *paths))
        return made[-1]

    yield make
    for process in made:
        process.stop()


@pytest.fixture(scope="session")
def hook() -> Any:
    """PySyft's hook of this process."""
    import syft
    import torch

    return syft.TorchHook(torch)


@pytest.fixture(scope="module", autouse=True)
def among_themselves() -> Iterator[None]:
    """The workers of a file are not known to the next one, which has others of these names."""
    yield
    me = getattr(sys.modules["syft"], "local_worker", None)
    if me is not None:
        me._known_workers = {name: worker for name, worker in me._known_workers.items() if worker is me}


@pytest.fixture(scope="module")
def bob_process(processes: Any) -> Process:
    return processes("bob")


@pytest.fixture(scope="module")
def alice_process(processes: Any) -> Process:
    return processes("alice")
