"""Workers by id at a relay: found, lost and found again; sealed; by old scripts too; and the command that runs them."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Iterator, List

import numpy as np
import pytest
import syft as sy
import torch
from websocket import WebSocketConnectionClosedException

import bridge
from asyncsyft import Relay
from asyncsyft.errors import LinkClosed
from asyncsyft.identity import Admission, Authority, Key, authority_text, key_text
from bridge.loop import Loop

from .conftest import ROOT, free_port


class RelayHere:
    """A relay in a thread of this process, whose links a test may cut."""

    def __init__(self, **options: Any) -> None:
        self.loop = Loop()
        self.relay: Relay
        self.options = options
        self.loop.run(self._open)
        self.url = self.relay.url

    async def _open(self) -> None:
        self.relay = await Relay("127.0.0.1:0", **self.options).open()

    async def _cut(self) -> None:
        for member in list(self.relay.members.values()):
            member.link.abort(LinkClosed("cut by the test"))

    def cut(self) -> None:
        """All links are lost."""
        self.loop.run(self._cut)

    def stop(self) -> None:
        self.loop.stop(self.relay.aclose)


class Worker:
    """``python -m bridge worker`` in a process of its own."""

    def __init__(self, name: str, *arguments: str) -> None:
        command = [sys.executable, "-W", "ignore", "-m", "bridge", "worker", "--id", name, *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True)
        self.said: List[str] = []
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line.rstrip("\n"))
            if line.startswith("worker "):
                break

    def stop(self) -> None:
        """Kill it. Idempotent."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


Start = Callable[..., Worker]


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    made: List[Worker] = []

    def begin(name: str, *arguments: str) -> Worker:
        made.append(Worker(name, *arguments))
        return made[-1]

    yield begin
    for worker in made:
        worker.stop()


@pytest.fixture(scope="module")
def crossing() -> Iterator[RelayHere]:
    relay = RelayHere()
    yield relay
    relay.stop()


@pytest.fixture(scope="module")
def network(hook: Any, crossing: RelayHere, start: Start) -> Iterator[Any]:
    for name in ("ann", "ben"):
        start(name, "--relay", crossing.url)
    with bridge.connect(hook, crossing.url) as workers:
        workers.wait_for("ann", "ben")
        yield workers
    bridge.uninstall()


def test_workers_are_found_by_their_ids(network: Any) -> None:
    assert list(network) == ["ann", "ben"]
    assert len(network) == 2
    assert "zoe" not in network
    with pytest.raises(KeyError):
        network["zoe"]
    with pytest.raises(TimeoutError, match="zoe"):
        network.wait_for("ann", "zoe", seconds=0.01)
    ann = network["ann"]
    assert ann is network["ann"]
    assert isinstance(ann, sy.WebsocketClientWorker)
    assert (torch.ones(2).send(ann) + 1).get().tolist() == [2, 2]


def test_workers_reach_each_other_by_id(network: Any, crossing: RelayHere) -> None:
    ann, ben = network["ann"], network["ben"]
    x = torch.arange(200_000.0)
    passed = crossing.relay.bytes_passed
    pointer = x.send(ann)
    moved = pointer.move(ben)
    assert bool((moved.get() == x).all())
    assert (
        crossing.relay.bytes_passed - passed < 3.5 * 800_000
    )  # here to ann, ann to ben, ben to here: not by way of us
    shared = torch.tensor([1, 2]).send(ann).fix_prec().share(ann, ben, crypto_provider=ann).get()
    assert (shared + shared).get().float_prec().tolist() == [2, 4]


def test_what_is_lost_is_dialled_again_and_nothing_is_lost_with_it(network: Any, crossing: RelayHere) -> None:
    ann, ben = network["ann"], network["ben"]
    x = torch.zeros(3).send(ann)
    for number in range(60):
        x = x + 1
        if not number % 20:
            crossing.cut()
    y = x.move(ben)
    crossing.cut()
    assert (y + 1).get().tolist() == [61] * 3


def test_an_old_script_finds_a_worker_at_a_relay(network: Any, crossing: RelayHere, tmp_path: Path) -> None:
    script = tmp_path / "old.py"
    script.write_text(
        "import warnings; warnings.simplefilter('ignore')\n"
        "import sys, syft as sy, torch\n"
        "hook, port = sy.TorchHook(torch), int(sys.argv[1])\n"
        "ann, ben = [sy.WebsocketClientWorker(hook, '127.0.0.1', port, id=name) for name in ('ann', 'ben')]\n"
        "print((torch.ones(2).send(ann).move(ben) + 1).get().tolist())\n"
        "try:\n"
        "    sy.WebsocketClientWorker(hook, '127.0.0.1', port, id='zoe')\n"
        "except ConnectionRefusedError as error:\n"
        "    print(error, 'zoe' in sy.local_worker._known_workers)\n"
    )
    command = [sys.executable, "-m", "bridge", str(script), str(crossing.relay.port)]
    said = subprocess.run(command, stdout=subprocess.PIPE, cwd=ROOT, text=True, timeout=150, check=True).stdout
    assert said.splitlines() == ["[2.0, 2.0]", "no worker zoe is at the relay; workers there: ann, ben False"]


def test_a_worker_that_is_killed_is_lost_when_its_time_is_over(hook: Any, start: Start) -> None:
    relay = RelayHere()
    doomed = start("doomed", "--relay", relay.url)
    try:
        with bridge.connect(hook, relay.url, resume_grace=0.2) as workers:
            (worker,) = workers.wait_for("doomed")
            x = torch.ones(2).send(worker)
            doomed.process.kill()
            with pytest.raises(WebSocketConnectionClosedException):
                x.get()
    finally:
        relay.stop()


def test_a_worker_that_leaves_and_comes_back_is_another_one(network: Any, crossing: RelayHere, start: Start) -> None:
    first = start("mary", "--relay", crossing.url)
    (mary,) = network.wait_for("mary")
    x = torch.ones(2).send(mary)
    first.process.terminate()
    assert first.process.wait(60) == 0
    with pytest.raises(WebSocketConnectionClosedException):
        x.get()
    start("mary", "--relay", crossing.url)
    (mary,) = network.wait_for("mary")
    with pytest.raises(sy.exceptions.ObjectNotFoundError):
        x.get()
    assert torch.ones(2).send(mary).get().tolist() == [1, 1]


def test_what_is_said_is_sealed_where_keys_are_known(
    hook: Any, crossing: RelayHere, start: Start, tmp_path: Path
) -> None:
    keys = {name: Key.new() for name in ("sue", "tom", "program")}
    pins = {name: key_text(key.public) for name, key in keys.items()}
    peers = tmp_path / "peers"
    peers.write_text("".join(f"{name} {text}\n" for name, text in pins.items()))
    for name in ("sue", "tom"):
        keys[name].save(str(tmp_path / name))
    bridge.ends.leave()
    arguments = ("--relay", crossing.url, "--known-peers", str(peers))
    for name in ("sue", "tom"):
        start(name, *arguments, "--key", str(tmp_path / name))
    with bridge.connect(hook, crossing.url, name="program", key=keys["program"], known_peers=pins) as workers:
        sue, tom = workers.wait_for("sue", "tom")
        far = sue.far()
        assert far.talk.seal is not None
        assert (torch.ones(2).send(sue).move(tom) + 1).get().tolist() == [2, 2]
        with pytest.raises(ConnectionRefusedError, match="ann"):
            workers["ann"]


def test_a_relay_that_wants_proof_refuses_who_shows_none(hook: Any) -> None:
    guarded = RelayHere(admission=Admission([Key.new().public]))
    try:
        with pytest.raises(ConnectionRefusedError):
            bridge.connect(hook, guarded.url)
        with pytest.raises(ConnectionRefusedError):
            sy.WebsocketClientWorker(hook, "127.0.0.1", guarded.relay.port, id="ann")
    finally:
        guarded.stop()


@pytest.mark.parametrize("shows", ["nothing", "a token", "a key"])
def test_a_worker_that_listens_lets_in_who_shows_what_it_wants(
    hook: Any, start: Start, tmp_path: Path, monkeypatch: Any, shows: str
) -> None:
    authority, key = Authority.new(), Key.new()
    key.save(str(tmp_path / "key"))
    (tmp_path / "peers").write_text(f"program {key_text(key.public)}\n")
    rules = ["--authority", authority_text(authority.public), "--known-peers", str(tmp_path / "peers")]
    port = start(f"guarded for {shows}", "--listen", "127.0.0.1:0", *rules).said[0].rpartition(":")[2]
    bridge.uninstall()
    bridge.install()
    if shows == "a token":
        token = authority.issue(["*"], ["driver"], expires=int(time.time()) + 600)
        monkeypatch.setenv("ASYNCSYFT_TOKEN", token)
    elif shows == "a key":
        monkeypatch.setenv("ASYNCSYFT_NAME", "program")
        monkeypatch.setenv("ASYNCSYFT_KEY", str(tmp_path / "key"))
    if shows == "nothing":
        with pytest.raises(ConnectionRefusedError, match="is not known here"):
            sy.WebsocketClientWorker(hook, "127.0.0.1", int(port), id="guarded")
    else:
        worker = sy.WebsocketClientWorker(hook, "127.0.0.1", int(port), id=f"guarded for {shows}")
        assert torch.ones(1).send(worker).get().tolist() == [1]
    bridge.uninstall()


def test_a_worker_holds_data_and_is_of_the_users_class(hook: Any, start: Start, tmp_path: Path) -> None:
    np.save(tmp_path / "scans.npy", np.arange(3, dtype=np.float32))
    (tmp_path / "ages.csv").write_text("age,dose\n1,2\n3,4\n")
    (tmp_path / "ours.py").write_text(
        "import bridge\n"
        "class Counting(bridge.WebsocketServerWorker):\n"
        "    def evaluate(self, dataset_key, **options):\n"
        "        return {'objects': self.objects_count()}\n"
    )
    data = [f"--data=scans={tmp_path / 'scans.npy'}", f"--data={tmp_path / 'ages.csv'}", "--tag=#ward"]
    use = ["--path", str(tmp_path), "--use", "ours:Counting", "--listen", f"127.0.0.1:{free_port()}"]
    worker = start("holder", *data, *use)
    assert worker.said[:2] == ["  scans  torch.float32  (3,)", "  ages  torch.float32  (2, 2)"]
    bridge.install()
    holder = sy.WebsocketClientWorker(hook, "127.0.0.1", int(worker.said[2].rpartition(":")[2]), id="holder")
    assert len(holder.search(["#ward"])) == 2
    (ages,) = holder.search(["ages"])
    assert ages.sum().get().item() == 10
    assert holder.evaluate("all") == {"objects": 2}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "--relay URL, or --listen"),
        (["--listen", "127.0.0.1:0", "--token", "x"], "--relay"),
        (["--listen", "127.0.0.1:0", "--use", "no_such_module"], "no_such_module"),
        (["--listen", "127.0.0.1:0", "--data", "x=no_such_file.npy"], "no_such_file.npy"),
        (["--listen", "127.0.0.1:0", "--data", "x.pt"], ".npy, .npz and .csv"),
        (["--relay", "ws://127.0.0.1:9"], "no relay at"),
    ],
)
def test_the_command_says_what_is_wrong(arguments: List[str], complaint: str) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "bridge", "worker", "--id", "x", *arguments]
    done = subprocess.run(command, stderr=subprocess.PIPE, cwd=ROOT, text=True, timeout=150)
    assert done.returncode
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr
