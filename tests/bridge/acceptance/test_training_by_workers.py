"""Federated averaging with workers that have methods of their own: ``fit``, ``evaluate``, ``async_fit``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, Iterator, List

import pytest
import syft as sy

import bridge

from ..conftest import ROOT, free_port

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # for `programs`

from programs.clinic import Clinic, averaged  # noqa: E402

SCRIPT = """
import sys, warnings
warnings.simplefilter("ignore")
here, name, port, first = sys.argv[1:]
sys.path.insert(0, here)
import syft as sy, torch
from syft.workers.websocket_server import WebsocketServerWorker
from programs.clinic import Clinic

class Server(Clinic, WebsocketServerWorker):
    pass

torch.set_num_threads(1)
worker = Server(sy.TorchHook(torch), "localhost", int(port), id=name)
worker.admit(int(first), 24)
worker.start()
"""


class LocalClinic(Clinic, sy.VirtualWorker):
    pass


@pytest.fixture
def clinics(hook: Any, tmp_path: Path) -> Iterator[List[Any]]:
    """Two of them, in processes of their own."""
    script = tmp_path / "server.py"
    script.write_text(SCRIPT)
    processes, ports = [], []
    for name, first in (("north", 0), ("south", 24)):
        ports.append(free_port())
        command = [sys.executable, "-m", "bridge", str(script), str(HERE), name, str(ports[-1]), str(first)]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True))
    for process in processes:
        assert process.stdout is not None
        assert "Serving" in process.stdout.readline()
    bridge.install()
    made = [sy.WebsocketClientWorker(hook, "localhost", port, id=name) for name, port in zip(("north", "south"), ports)]
    yield made
    for worker in made:
        worker.remove_worker_from_local_worker_registry()
    bridge.uninstall()
    for process in processes:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_workers_train_what_they_are_sent_alone_and_together(hook: Any, clinics: List[Any]) -> None:
    virtual = [LocalClinic(hook, id=name) for name in ("virtual-north", "virtual-south")]
    for worker, first in zip(virtual, (0, 24)):
        worker.admit(first, 24)
    expected = averaged(virtual, rounds=2, together=False)
    for worker in virtual:
        worker.remove_worker_from_local_worker_registry()

    for together in (False, True):
        given = averaged(clinics, rounds=2, together=together)
        assert given["parameters"] == pytest.approx(expected["parameters"], abs=1e-3)
        for theirs, ours in zip(expected["figures"], given["figures"]):
            for one, other in zip(theirs, ours):
                assert other["nr_correct_predictions"] == one["nr_correct_predictions"]
                assert other["nr_predictions"] == 24
                assert other["loss"] == pytest.approx(one["loss"], abs=1e-4)
                assert other["return_histograms"] is False
