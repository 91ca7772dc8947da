"""The names of PyGrid's Socket.IO pair: client workers by way of a relay, and a server worker that is one."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any, Callable, Dict, Iterator, List, Tuple

import pytest
import syft as sy
import torch
from websocket import WebSocketConnectionClosedException, WebSocketTimeoutException

import bridge

from ..conftest import ROOT


@pytest.fixture(scope="module", autouse=True)
def installed(hook: Any) -> Iterator[None]:
    bridge.install()
    known = dict(hook.local_worker._known_workers)
    yield
    hook.local_worker._known_workers = known  # other tests have workers of these names
    bridge.uninstall()


@pytest.fixture(scope="module")
def came() -> Dict[str, Any]:
    """What the payload did with each worker that came; and a word when it has."""
    return {"sums": {}, "both": threading.Event()}


@pytest.fixture(scope="module")
def server(hook: Any, came: Dict[str, Any]) -> Iterator[Any]:
    """A server worker with a payload, a worker of PySyft and one without PySyft."""

    def payload(worker: Any) -> None:
        x, y = torch.tensor([1.0, 2.0]).send(worker), torch.tensor([10.0, 20.0]).send(worker)
        came["sums"][worker.id] = (x + y).get().tolist()
        if len(came["sums"]) == 2:
            came["both"].set()

    made = bridge.WebsocketIOServerWorker(hook, "localhost", 0, payload, id="server")
    made.listen()
    url = f"ws://localhost:{made.port}"
    with_pysyft = [sys.executable, "-W", "ignore", "-m", "bridge", "worker", "--id", "alice", "--relay", url]
    without = [sys.executable, "-m", "asyncsyft", "worker", "--name", "bob", "--relay", url]
    options: Dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": ROOT}
    processes = [subprocess.Popen(command, **options) for command in (with_pysyft, without)]
    yield made
    for process in processes:
        process.kill()
        process.wait()
    made.terminate()
    made.terminate()


Client = Callable[..., Any]


@pytest.fixture
def client(hook: Any, server: Any, came: Dict[str, Any]) -> Iterator[Client]:
    assert came["both"].wait(120)  # they are there
    made: List[Any] = []

    def make(id: str, **options: Any) -> Any:
        made.append(bridge.WebsocketIOClientWorker(hook, host="localhost", port=server.port, id=id, **options))
        return made[-1]

    yield make
    for worker in made:
        worker.disconnect()


def test_a_payload_is_run_with_each_worker_that_comes(server: Any, came: Dict[str, Any]) -> None:
    assert came["both"].wait(120)
    assert came["sums"] == {"alice": [11, 22], "bob": [11, 22]}
    assert sorted(server.clients) == ["alice", "bob"]


@pytest.mark.parametrize("id", ["alice", "bob"])
def test_tensors_are_added_at_a_worker_with_pysyft_and_at_one_without(client: Client, id: str) -> None:
    worker = client(id)
    worker.connect()
    x_ptr, y_ptr = torch.tensor([1.0, 2.0]).send(worker), torch.tensor([3.0, 4.0]).send(worker)
    z = (x_ptr + y_ptr).get()
    assert z.tolist() == [4, 6]
    assert isinstance(worker, (bridge.WebsocketIOClientWorker, sy.VirtualWorker))
    assert isinstance(worker, bridge.WebsocketIOClientWorker)
    assert type(worker).__name__ == "WebsocketIOClientWorker"
    assert "WebsocketIOClientWorker id:" + id in str(worker)


@pytest.mark.parametrize("id", ["alice", "bob"])
def test_nothing_is_sent_before_connect_nor_after_disconnect(client: Client, id: str) -> None:
    worker = client(id)
    with pytest.raises(WebSocketConnectionClosedException, match="connect"):
        torch.ones(2).send(worker)
    worker.connect()
    worker.connect()
    x = torch.ones(2).send(worker)
    worker.disconnect()
    worker.disconnect()
    with pytest.raises(WebSocketConnectionClosedException):
        x.get()
    worker.connect()
    assert torch.tensor([5]).send(worker).get().tolist() == [5]


@pytest.mark.parametrize("id", ["alice", "bob"])
def test_data_given_to_the_worker_is_there(client: Client, id: str) -> None:
    worker = client(id, data=[torch.tensor([7.0]).tag(f"#given-{id}")])
    worker.connect()
    (found,) = sy.local_worker.request_search([f"#given-{id}"], location=worker)
    assert (found + 1).get().tolist() == [8]


def test_a_server_without_payload_passes_on_and_ends(hook: Any) -> None:
    server = bridge.WebsocketIOServerWorker(hook, "localhost", 0, id="plain")
    begun: List[Tuple[str, int]] = []
    real = server.listen
    listening = threading.Event()

    def listen() -> None:
        real()
        begun.append((server.host, server.port))
        listening.set()

    server.listen = listen
    thread = threading.Thread(target=server.start)
    thread.start()
    assert listening.wait(60)
    late = bridge.WebsocketIOClientWorker(hook, "localhost", begun[0][1], id="late")
    process = subprocess.Popen(
        [sys.executable, "-m", "asyncsyft", "worker", "--name", "late", "--relay", f"ws://localhost:{begun[0][1]}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(6):  # it waits for the worker to come, but not for ever
            with suppress(WebSocketTimeoutException):
                late.connect()
                break
        assert (torch.tensor([1]).send(late) * 3).get().tolist() == [3]
        with pytest.raises(RuntimeError, match="holds nothing"):
            torch.ones(1).send(server)
    finally:
        late.disconnect()
        process.kill()
        process.wait()
        server.terminate()
        thread.join(60)
    assert not thread.is_alive()


def test_an_address_that_is_taken(hook: Any, server: Any) -> None:
    with pytest.raises(OSError, match="(?i)address"):
        bridge.WebsocketIOServerWorker(hook, "localhost", server.port, id="second-server").listen()


def test_the_names_are_where_pygrid_has_them() -> None:
    from grid.workers.socketio_client import WebsocketIOClientWorker  # type: ignore[import-not-found]
    from grid.workers.socketio_server import WebsocketIOServerWorker  # type: ignore[import-not-found]

    assert WebsocketIOClientWorker is bridge.WebsocketIOClientWorker
    assert WebsocketIOServerWorker is bridge.WebsocketIOServerWorker
    bridge.uninstall()
    assert "grid.workers.socketio_client" not in sys.modules
    assert "grid" not in sys.modules
    bridge.install()
    assert "grid.workers.socketio_client" in sys.modules
