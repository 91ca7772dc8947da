"""The commands as people run them: real processes on loopback, what they print, and how they end.

Nothing sleeps: each wait is for a line that a process prints or for its end, and is bounded.
"""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import ssl
import subprocess
import sys
import threading
import urllib.request
import warnings
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple

import anyio
import numpy as np
import pytest

import asyncsyft

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # cryptography will leave Python 3.8, and says so
    import trustme

SECONDS = 30.0


class Command:
    """``python -m asyncsyft`` with some words: its lines as they come, and its end."""

    def __init__(self, *words: str, env: Optional[Mapping[str, str]] = None, cwd: Optional[Path] = None) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ASYNCSYFT_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "asyncsyft", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**clean, **(env or {})},
            cwd=cwd,
            universal_newlines=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._errors: List[str] = []
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._threads = [
            threading.Thread(target=_read, args=(self.process.stdout, self._lines.put)),
            threading.Thread(target=_read, args=(self.process.stderr, self._errors.append)),
        ]
        for thread in self._threads:
            thread.start()

    def line(self) -> str:
        """The next line of its output; "" at its end."""
        return self._lines.get(timeout=SECONDS)

    def signal(self, number: int) -> None:
        """As from a keyboard or an init system."""
        self.process.send_signal(number)

    def end(self) -> Tuple[int, str, str]:
        """Its exit code, what is left of its output, and all of its errors."""
        code = self.process.wait(SECONDS)
        for thread in self._threads:
            thread.join(SECONDS)
        left = []
        while not self._lines.empty():
            left.append(self._lines.get())
        return code, "".join(left), "".join(self._errors)

    def stop(self) -> None:
        """End it, whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
        self.end()


def _read(stream: Any, take: Any) -> None:
    with stream:
        for line in stream:
            take(line)
    take("")


@pytest.fixture
def start() -> Iterator[Any]:
    """Starts commands that end with the test."""
    commands: List[Command] = []

    def start(*words: str, **options: Any) -> Command:
        commands.append(Command(*words, **options))
        return commands[-1]

    yield start
    for command in commands:
        command.stop()


@pytest.fixture
def run(start: Any) -> Any:
    """Runs a command to its end: exit code, output, errors."""
    return lambda *words, **options: start(*words, **options).end()


def url_in(line: str) -> str:
    found = re.search(r"wss?://\S+", line)
    assert found, line
    return found[0]


@pytest.fixture
def relay(start: Any) -> Tuple[Command, str]:
    """A relay, and its URL."""
    command = start("relay", "--listen", "127.0.0.1:0")
    return command, url_in(command.line())


@pytest.fixture(scope="module")
def nobody() -> str:
    """A URL where nobody listens."""
    import socket

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"ws://127.0.0.1:{sock.getsockname()[1]}"


# Relay and worker.


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_sigterm_drains_relay_and_worker(start: Any, loop: str) -> None:
    relay = start("relay", "--listen", "127.0.0.1:0", "--loop", loop, "-v")
    url = url_in(relay.line())
    alice = start("worker", "--name", "alice", "--relay", url, "--loop", loop)
    bob = start("worker", "--name", "bob", "--relay", url, "--loop", loop)
    assert alice.line() == f"worker alice at {url}\n"
    assert bob.line() == f"worker bob at {url}\n"

    alice.signal(signal.SIGTERM)
    assert alice.end() == (0, "", "")
    relay.signal(signal.SIGTERM)
    code, out, errors = relay.end()
    assert (code, out) == (0, "")
    assert "worker alice left: goodbye" in errors
    assert bob.end() == (1, "", "Error: bob lost its relay: the relay said goodbye: the relay ends\n")


def test_ctrl_c_ends_a_relay_and_a_worker_that_listens(start: Any, relay: Tuple[Command, str]) -> None:
    worker = start("worker", "--name", "alice", "--listen", "127.0.0.1:0")
    assert worker.line().startswith("worker alice listening on ws://127.0.0.1:")
    for command in (worker, relay[0]):
        command.signal(signal.SIGINT)
        assert command.end() == (0, "", "")


def test_a_name_that_is_taken_and_a_relay_that_is_killed(start: Any, run: Any, relay: Tuple[Command, str]) -> None:
    command, url = relay
    alice = start("worker", "--name", "alice", "--relay", url)
    alice.line()
    assert run("worker", "--name", "alice", "--relay", url) == (1, "", "Error: the name 'alice' is taken\n")
    command.process.kill()
    code, out, errors = alice.end()
    assert (code, out) == (1, "")
    assert re.fullmatch(r"Error: alice lost its relay: .+\n", errors), errors


def test_no_relay(run: Any, nobody: str) -> None:
    said = f"Error: no relay at {nobody}: connection refused\n"
    assert run("worker", "--name", "alice", "--relay", nobody) == (1, "", said)
    assert run("ping", nobody) == (1, "", said)


def test_a_port_that_is_taken(run: Any, relay: Tuple[Command, str]) -> None:
    code, _, errors = run("relay", "--listen", relay[1].partition("//")[2])
    assert code == 1
    assert errors == "Error: Address already in use\n"


# Data from the worker's own disk.


def test_load_takes_npy_npz_and_csv(start: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(6.0).reshape(2, 3))
    np.savez(tmp_path / "parts.npz", a=np.zeros(3, "float32"), b=np.array(7))
    (tmp_path / "table.csv").write_text("age,weight\n40,71.5\n50,80\n")
    (tmp_path / "plain.csv").write_text("1,2,3\n")
    words = [f"--load={name}={name}.{kind}" for name, kind in
             [("x", "npy"), ("parts", "npz"), ("table", "csv"), ("plain", "csv")]]  # fmt: skip
    worker = start("worker", "--name", "alice", "--listen", "127.0.0.1:0", "--tag", "ours", *words, cwd=tmp_path)
    url = url_in(worker.line())
    lines = [worker.line().split() for _ in range(5)]
    assert lines[0] == ["x", "<f8", "(2,", "3)"]
    assert [line[0] for line in lines] == ["x", "parts.a", "parts.b", "table", "plain"]

    async def look() -> Dict[str, Any]:
        with anyio.fail_after(SECONDS):
            async with asyncsyft.connect(url) as driver:
                (alice,) = driver.workers.values()
                ours = await alice.search("ours")
                (table,) = await alice.search("table", "ours")
                (scalar,) = await alice.search("parts.b")
                return {"ours": len(ours), "table": await table.get(), "scalar": await scalar.get()}

    found = anyio.run(look)
    assert found["ours"] == 5
    assert found["table"].tolist() == [[40.0, 71.5], [50.0, 80.0]]
    assert found["scalar"].shape == ()
    assert found["scalar"] == 7


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("x.npy", None, "Object arrays cannot be loaded when allow_pickle=False"),
        ("x.npz", None, "it is no .npz file"),
        ("x.npz", {"a": [{}]}, "Object arrays cannot be loaded when allow_pickle=False"),
        ("x.npy", b"no array", "magic string"),
        ("x.npy", b"", "EOF"),
        ("x.csv", b"1,2\n3\n", "a row of 1 values where the first has 2"),
        ("x.csv", b"a,b\n1,c\n", "could not convert string to float: 'c'"),
        ("x.csv", b"a,b\n", "there are no numbers in it"),
        ("x.txt", b"1", "load takes .npy, .npz and .csv files"),
    ],
)
def test_what_cannot_be_loaded(tmp_path: Path, name: str, data: Any, said: str) -> None:
    from asyncsyft.cli.loading import read

    path = tmp_path / name
    if data is None:
        with open(path, "wb") as file:
            np.save(file, np.array([{"never": "unpickled"}], object))
    elif isinstance(data, dict):
        np.savez(path, **{key: np.array(value, object) for key, value in data.items()})
    else:
        path.write_bytes(data)
    with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
        read("x", str(path))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_worker_does_not_start_with_a_pickle_or_without_its_file(run: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{}], object))
    words = ["worker", "--name", "alice", "--listen", "127.0.0.1:0"]
    code, out, errors = run(*words, "--load", "x=x.npy", cwd=tmp_path)
    assert (code, out) == (1, "")
    assert errors == "Error: x.npy cannot be loaded: Object arrays cannot be loaded when allow_pickle=False\n"
    code, out, errors = run(*words, "--load", "x=y.npy", cwd=tmp_path)
    assert (code, out, errors) == (1, "", "Error: No such file or directory: y.npy\n")


# Configuration.


def test_what_is_typed_comes_before_the_environment_and_that_before_the_file(run: Any, tmp_path: Path) -> None:
    file = tmp_path / "asyncsyft.toml"
    file.write_text('[worker]\nname = "from-file"\nlisten = "127.0.0.1:0"\nload = ["x=missing.npy"]\n')
    env = {"ASYNCSYFT_WORKER_LOAD": "x=env.npy"}
    words = ["worker", "--config", str(file)]
    assert "missing.npy" in run(*words)[2]
    assert "env.npy" in run(*words, env=env)[2]
    assert "typed.npy" in run(*words, "--load", "x=typed.npy", env=env)[2]
    assert "missing.npy" in run("worker", env={"ASYNCSYFT_CONFIG": str(file)})[2]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[relay]\nlisten = "127.0.0.1:0"\nport = 1\n', "[relay] has no key 'port'"),
        ("[worker]\nnames = 1\n", "[worker] has no key 'names'"),
        ("[server]\n", "unknown key 'server'"),
        ("listen = 1\n", "unknown key 'listen'"),
        ("[relay]\nmax-peers = true\n", "key 'max-peers' cannot be True"),
        ('[relay]\ninsecure = "yes"\n', "key 'insecure' cannot be 'yes'"),
        ("[relay]\nlisten = [1]\n", "key 'listen' cannot be [1]"),
        ('[relay]\nmax_peers = "many"\n', "'many' is not a valid integer"),
        ("[relay\n", "is no TOML"),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    from click.testing import CliRunner

    from asyncsyft.cli.commands import asyncsyft as command

    file = tmp_path / "asyncsyft.toml"
    file.write_text(text)
    result = CliRunner().invoke(command, ["relay", "--config", str(file)])
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("worker --name alice", "give --relay URL, or --listen host:port, and not both"),
        ("worker --name alice --relay ws://h --listen h:1", "and not both"),
        ("worker --relay ws://h", "Missing option '--name'"),
        ("worker --name alice --relay http://h", "is no URL like ws://127.0.0.1:8765"),
        ("worker --name alice --listen h:1 --limit much", "is no number of bytes, such as 500MB or 8GiB"),
        ("worker --name alice --listen h:1 --load x", "--load x: not NAME=FILE"),
        ("worker --name alice --relay ws://h --ca {cert}", "--ca is for wss:// URLs"),
        ("worker --name alice --relay wss://h --tls-cert {cert}", "--tls-cert and --tls-key are for --listen"),
        ("worker --name alice --listen h:1 --ca {cert}", "--ca is for --relay"),
        ("relay --listen 8765", "'8765' is not host:port"),
        ("relay --listen h:65536", "'h:65536' is not host:port"),
        ("relay --tls-key {cert}", "--tls-key needs --tls-cert"),
        ("relay --tls-cert {cert}", "are no certificate"),
        ("ping wss://h --ca {cert}", "holds no certificates"),
        ("ping ws://h -c 0", "0 is not in the range x>=1"),
    ],
)
def test_usage_errors(tmp_path: Path, words: str, said: str) -> None:
    from click.testing import CliRunner

    from asyncsyft.cli.commands import asyncsyft as command

    cert = tmp_path / "cert.pem"
    cert.write_text("nothing")
    result = CliRunner().invoke(command, [word.format(cert=cert) for word in words.split()])
    assert result.exit_code == 2, result.output
    assert said in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("text", "size"),
    [("1048576", 1 << 20), ("8GiB", 8 << 30), ("500MB", 500_000_000), ("1.5k", 1500), ("2 Gi", 2 << 30)],
)
def test_sizes(text: str, size: int) -> None:
    from asyncsyft.cli.options import Size

    assert Size().convert(text, None, None) == size


def test_help_has_an_example_for_each_command() -> None:
    from click.testing import CliRunner

    from asyncsyft.cli.commands import asyncsyft as command

    for name in ("relay", "worker", "demo", "ping", "top"):
        result = CliRunner().invoke(command, [name, "--help"])
        assert result.exit_code == 0
        assert f"asyncsyft {name}" in result.output.partition("Usage")[2].partition("\n")[2]
    assert CliRunner().invoke(command, ["--version"]).output.endswith("0.1.0\n")


# Ping and top.


def test_ping(start: Any, run: Any, relay: Tuple[Command, str]) -> None:
    _, url = relay
    start("worker", "--name", "alice", "--relay", url).line()
    code, out, errors = run("ping", url, "alice", "-c", "3", "-i", "0")
    assert (code, errors) == (0, "")
    lines = out.splitlines()
    assert [re.sub(r"\d+\.\d+", "T", line) for line in lines[:3]] == [f"alice: seq={n} time=T ms" for n in (1, 2, 3)]
    assert lines[4] == "3 sent, 3 received, 0% lost"
    assert re.fullmatch(r"round trip min/avg/max/mdev = [\d.]+/[\d.]+/[\d.]+/[\d.]+ ms", lines[5])

    code, out, _ = run("ping", url, "-c", "2", "-i", "0", "--json")
    told = json.loads(out)
    assert code == 0
    assert (told["to"], told["sent"], told["received"], told["loss"]) == ("relay", 2, 2, 0)
    assert 0 < told["min"] <= told["avg"] <= told["max"]
    assert len(told["times"]) == 2
    assert run("ping", url, "bob", "-c", "1") == (1, "", "Error: no worker 'bob' is there; workers: alice\n")


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_ctrl_c_of_ping_still_gives_the_figures(start: Any, relay: Tuple[Command, str], loop: str) -> None:
    ping = start("ping", relay[1], "--loop", loop)
    assert ping.line().startswith("relay: seq=1 time=")
    ping.signal(signal.SIGINT)
    code, out, errors = ping.end()
    assert (code, errors) == (130, "")
    assert " sent, " in out


def test_ping_says_when_the_relay_ends(start: Any, relay: Tuple[Command, str]) -> None:
    ping = start("ping", relay[1], "-i", "0.05")
    ping.line()
    relay[0].signal(signal.SIGTERM)
    code, out, errors = ping.end()
    assert code == 1
    assert re.fullmatch(r"Error: .+\n", errors), errors
    assert " sent, " in out


def test_top_once(start: Any, run: Any, relay: Tuple[Command, str]) -> None:
    _, url = relay
    start("worker", "--name", "alice", "--relay", url, "--limit", "1MB").line()
    code, out, errors = run("top", url, "--once", "--json", "--interval", "0.1")
    assert (code, errors) == (0, "")
    told = json.loads(out)
    alice, me = sorted(told["peers"], key=lambda peer: str(peer["role"]), reverse=True)
    assert (alice["name"], alice["role"], alice["limit"], alice["objects"]) == ("alice", "worker", 1_000_000, 0)
    assert alice["latency"] > 0
    assert alice["steps_per_second"] > 0  # our own questions
    assert me["role"] == "driver"
    assert told["relay"]["frames_per_second"] > 0
    assert told["relay"]["bytes_per_second"] > 0

    code, out, errors = run("top", url, "--once", "--interval", "0.1")
    assert (code, errors) == (0, "")
    assert re.search(r"alice\W+worker\W+127\.0\.0\.1:\d+ .* ms", out)
    assert re.search(r"relay: \d+ frames/s", out)


def test_top_goes_on_until_ctrl_c_or_the_relay_ends(start: Any, relay: Tuple[Command, str]) -> None:
    command, url = relay
    one, other = (start("top", url, "--json", "--interval", "0.1") for _ in range(2))
    one.line(), other.line()
    one.signal(signal.SIGINT)
    code, _, errors = one.end()
    assert (code, errors) == (130, "")
    command.signal(signal.SIGTERM)
    code, _, errors = other.end()
    assert code == 1
    assert "is lost" in errors


def test_top_of_a_worker_that_listens(start: Any, run: Any) -> None:
    url = url_in(start("worker", "--name", "alice", "--listen", "127.0.0.1:0").line())
    code, out, _ = run("top", url, "--once", "--json", "--interval", "0.1")
    told = json.loads(out)
    assert (code, told["relay"]) == (0, None)
    assert [(peer["name"], peer["objects"]) for peer in told["peers"]] == [("alice", 0)]


# A token, TLS, and plain HTTP on the relay's port.


def test_token_and_tls(start: Any, run: Any, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "relay.pem"))
    words = ["--tls-cert", str(tmp_path / "relay.pem"), "--listen", "127.0.0.1:0"]
    url = url_in(start("relay", *words, env={"ASYNCSYFT_TOKEN": "open sesame"}).line())
    assert url.startswith("wss://")
    ca, token = ["--ca", str(tmp_path / "ca.pem")], {"ASYNCSYFT_TOKEN": "open sesame"}

    assert "certificate" in run("ping", url, "-c", "1", env=token)[2]
    assert "the token is missing or wrong" in run("ping", url, "-c", "1", *ca)[2]
    start("worker", "--name", "alice", "--relay", url, *ca, env={"ASYNCSYFT_WORKER_TOKEN": "open sesame"}).line()
    assert run("ping", url, "alice", "-c", "1", *ca, "--token", "open sesame")[0] == 0
    code, out, _ = run("top", url, "--once", "--json", "--interval", "0.1", *ca, env=token)
    assert code == 0
    assert json.loads(out)["relay"]["joined"] >= 2

    context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    with urllib.request.urlopen(url.replace("wss", "https") + "/readyz", context=context, timeout=SECONDS) as answer:
        assert answer.read() == b"ready\n"


def test_verbose_logs_to_stderr(start: Any) -> None:
    relay = start("relay", "--listen", "127.0.0.1:0", "-vv")
    relay.line()
    relay.signal(signal.SIGTERM)
    code, _, errors = relay.end()
    assert code == 0
    assert re.search(r"INFO asyncsyft\.relay: listening on 127\.0\.0\.1:\d+", errors)
    assert re.search(r"INFO asyncsyft\.cli\.running: signal 15", errors)


# Without the packages of the command line.


def test_without_its_packages_the_command_says_how_to_install_them() -> None:
    code = "import sys; sys.modules['rich'] = None; from asyncsyft.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, timeout=SECONDS, check=False)
    assert done.returncode == 1
    assert done.stderr.decode() == "asyncsyft: the command line needs rich: pip install 'asyncsyft[cli]'\n"


def test_importing_asyncsyft_needs_none_of_them() -> None:
    code = "import asyncsyft, sys; sys.exit(any(n in sys.modules for n in ('click', 'rich', 'prometheus_client')))"
    assert subprocess.run([sys.executable, "-c", code], timeout=SECONDS, check=False).returncode == 0
