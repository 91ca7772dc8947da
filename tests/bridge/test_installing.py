"""``install`` and ``uninstall``: PySyft's classes stay the objects that they are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, Iterator

import pytest
import syft as sy
from syft.generic.abstract.syft_serializable import SyftSerializable
from syft.serde.msgpack import torch_serde
from syft.workers.base import BaseWorker
from syft.workers.virtual import VirtualWorker
from syft.workers.websocket_client import WebsocketClientWorker
from syft.workers.websocket_server import WebsocketServerWorker

import bridge

from .conftest import ROOT


@pytest.fixture(autouse=True)
def taken_out() -> Iterator[None]:
    yield
    bridge.uninstall()


def state() -> Any:
    classes = (WebsocketClientWorker, WebsocketServerWorker, BaseWorker, VirtualWorker)
    own = [{name: value for name, value in vars(cls).items() if name != "_abc_impl"} for cls in classes]
    serde = (torch_serde._serialize_tensor, torch_serde._deserialize_tensor)
    return own, [cls.__bases__ for cls in classes], serde


def test_uninstall_undoes_install() -> None:
    bridge.uninstall()
    before = state()
    bridge.install()
    bridge.install()
    assert state() != before
    bridge.uninstall()
    assert state() == before
    bridge.uninstall()
    assert state() == before


def test_classes_made_before_are_ours_while_installed() -> None:
    class Mine(WebsocketClientWorker):
        pass

    assert not issubclass(Mine, VirtualWorker)
    bridge.install()
    assert issubclass(Mine, VirtualWorker)
    assert issubclass(Mine, bridge.WebsocketClientWorker)
    assert issubclass(Mine, SyftSerializable)
    assert sy.grid.clients.data_centric_fl_client.DataCentricFLClient.search is not None
    bridge.uninstall()
    assert not issubclass(Mine, VirtualWorker)


@pytest.mark.parametrize("how", [["{folder}/program.py"], ["-m", "program"]])
def test_a_program_runs_as_python_would_run_it(tmp_path: Path, how: Any) -> None:
    (tmp_path / "beside_it.py").write_text("word = 'found'\n")
    (tmp_path / "program.py").write_text(
        "import sys, syft as sy, beside_it\n"
        "print(__name__, beside_it.word, sys.argv[1:], sy.WebsocketClientWorker.__bases__[0].__module__)\n"
        "sys.exit(3)\n"
    )
    command = [sys.executable, "-W", "ignore", "-m", "bridge", *[part.format(folder=tmp_path) for part in how]]
    environment = {"PYTHONPATH": f"{ROOT}:{tmp_path}"}
    ended = subprocess.run(
        [*command, "-x", "y"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    assert ended.stdout == "__main__ found ['-x', 'y'] bridge.client\n"
    assert ended.returncode == 3


def test_without_a_program_it_says_how() -> None:
    ended = subprocess.run([sys.executable, "-m", "bridge"], cwd=ROOT, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 1
    assert "usage: python -m bridge" in ended.stderr
