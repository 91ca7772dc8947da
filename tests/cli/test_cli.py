"""The commands as people run them: real processes on loopback, what they print, and how they end.

Nothing sleeps: each wait is for a line that a process prints or for its end, and is bounded.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Tuple

import anyio
import numpy as np
import pytest

import asyncsyft
from asyncsyft.identity import Authority
from tests.cli.kit import SECONDS, Command, url_in

pytestmark = pytest.mark.timeout(240)  # some start ten processes, one after the other

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
    said = bob.error("lost, dialling again")
    assert said == "bob: link to relay lost, dialling again: the relay said goodbye: the relay ends\n"

    start("relay", "--listen", url.partition("//")[2], "--loop", loop).line()
    assert bob.error("again\n") == "bob: linked to relay again\n"
    bob.signal(signal.SIGTERM)
    code, out, errors = bob.end()
    assert (code, out) == (0, "")
    assert len(errors.splitlines()) == 2


def test_ctrl_c_ends_a_relay_and_a_worker_that_listens(start: Any, relay: Tuple[Command, str]) -> None:
    worker = start("worker", "--name", "alice", "--listen", "127.0.0.1:0")
    assert worker.line().startswith("worker alice listening on ws://127.0.0.1:")
    for command in (worker, relay[0]):
        command.signal(signal.SIGINT)
        assert command.end() == (0, "", "")


def test_a_name_that_is_taken(start: Any, run: Any, relay: Tuple[Command, str]) -> None:
    alice = start("worker", "--name", "alice", "--relay", relay[1])
    alice.line()
    assert run("worker", "--name", "alice", "--relay", relay[1]) == (1, "", "Error: the name 'alice' is taken\n")


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_a_relay_that_is_killed_is_dialled_again(
    start: Any, run: Any, relay: Tuple[Command, str], tmp_path: Path, loop: str
) -> None:
    command, url = relay
    np.save(tmp_path / "x.npy", np.arange(3.0))
    alice = start("worker", "--name", "alice", "--relay", url, "--load", f"x={tmp_path / 'x.npy'}", "--loop", loop)
    alice.line()
    ping = start("ping", url, "alice", "-i", "0.05", "--loop", loop)
    assert " time=" in ping.line()
    command.process.kill()
    alice.error("alice: link to relay lost, dialling again: ")
    while not ping.line().endswith(" lost\n"):
        pass
    start("relay", "--listen", url.partition("//")[2]).line()
    alice.error("alice: linked to relay again")
    while " time=" not in ping.line():
        pass

    ping.signal(signal.SIGINT)
    code, _, errors = ping.end()
    assert code == 130
    assert re.fullmatch(r"(ping-\w+: link(ed)? to .*\n)+", errors), errors
    told = json.loads(run("top", url, "--once", "--json", "--interval", "0.1")[1])
    (worker,) = [peer for peer in told["peers"] if peer["name"] == "alice"]
    assert worker["redials"] == 1
    assert worker["objects"] == 1  # what it holds is what it held


def test_a_worker_told_not_to_wait_ends_with_its_link(start: Any, relay: Tuple[Command, str]) -> None:
    alice = start("worker", "--name", "alice", "--relay", relay[1], "--resume-grace", "0")
    alice.line()
    relay[0].process.kill()
    code, out, errors = alice.end()
    assert (code, out) == (1, "")
    assert re.search(r"^Error: alice lost its relay: .+\n", errors, re.MULTILINE), errors


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
    words += ["--release=always", "--release=x=never"]
    worker = start("worker", "--name", "alice", "--listen", "127.0.0.1:0", "--tag", "ours", *words, cwd=tmp_path)
    url = url_in(worker.line())
    lines = [worker.line().split() for _ in range(5)]
    assert lines[0] == ["x", "<f8", "(2,", "3)", "release", "never"]
    assert {line[-1] for line in lines[1:]} == {"always"}
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


def test_what_is_typed_comes_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from asyncsyft.cli.commands import asyncsyft as command

    file = tmp_path / "asyncsyft.toml"
    file.write_text('[worker]\nname = "from-file"\nlisten = "127.0.0.1:0"\nload = ["x=missing.npy"]\n')
    variable = {"ASYNCSYFT_WORKER_LOAD": "x=env.npy"}

    def said(*words: str, **env: str) -> str:
        result = CliRunner().invoke(command, ["worker", *words], env=env)
        assert result.exit_code == 1
        return result.output

    assert "missing.npy" in said("--config", str(file))
    assert "env.npy" in said("--config", str(file), **variable)
    assert "typed.npy" in said("--config", str(file), "--load", "x=typed.npy", **variable)
    assert "missing.npy" in said(ASYNCSYFT_CONFIG=str(file))


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
        ("worker --name alice --relay ws://h --tls-cert {cert}", "--tls-cert is for wss:// URLs"),
        ("worker --name alice --relay wss://h --tls-cert {cert}", "are no certificate"),
        ("worker --name alice --relay wss://h --insecure", "--insecure is for --listen"),
        ("worker --name alice --relay wss://h --tls-client-ca {cert}", "--tls-client-ca is for --listen"),
        ("worker --name alice --listen h:1 --ca {cert}", "--ca is for --relay"),
        ("worker --name alice --listen h:1 --token x", "--token is for --relay"),
        ("worker --name alice --listen h:1 --revoked {cert}", "--revoked is about tokens, which need an --authority"),
        ("worker --name alice --relay ws://h --resume-grace -1", "-1.0 is not in the range x>=0"),
        ("relay --authority ed25519:short", "'ed25519:short' is no public key: ed25519: and 43 characters"),
        ("relay --authority nowhere.pub", "nowhere.pub is no key (ed25519:...), and no file: No such file"),
        ("relay --authority {cert}", "cert.pem, line 1: 'nothing' is no public key"),
        ("relay --authority {private}", "is no public key; give what this prints: asyncsyft keys show"),
        ("relay --authority {empty}", "holds no public key"),
        ("relay --tls-client-ca {cert}", "--tls-client-ca needs --tls-cert"),
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

    files = {name: tmp_path / f"{name}.pem" for name in ("cert", "private", "empty")}
    files["cert"].write_text("nothing")
    files["empty"].write_text("# no key yet\n")
    Authority.new().save(files["private"])
    result = CliRunner().invoke(command, [word.format(**files) for word in words.split()])
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


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_pings_are_lost_while_there_is_no_relay(start: Any, relay: Tuple[Command, str], loop: str) -> None:
    ping = start("ping", relay[1], "-i", "0", "--loop", loop)
    ping.line()
    relay[0].signal(signal.SIGTERM)
    ping.error("link to relay lost, dialling again: the relay said goodbye: the relay ends")
    while not ping.line().endswith(" lost\n"):
        pass
    ping.signal(signal.SIGINT)
    code, out, _ = ping.end()
    assert code == 130
    assert re.search(r"\d+ sent, \d+ received, \d+% lost", out)


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


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_top_goes_on_until_ctrl_c_and_over_a_restart_of_the_relay(
    start: Any, relay: Tuple[Command, str], loop: str
) -> None:
    command, url = relay
    top = start("top", url, "--json", "--interval", "0.05", "--loop", loop)
    table = start("top", url, "--interval", "0.05", "--loop", loop)
    assert json.loads(top.line())["linked"]
    assert url in table.line()
    command.signal(signal.SIGTERM)
    while json.loads(top.line())["linked"]:
        pass
    while "the link is lost, dialling again" not in table.line():
        pass
    start("relay", "--listen", url.partition("//")[2]).line()
    while not json.loads(top.line())["peers"]:
        pass
    for one in (top, table):
        one.signal(signal.SIGINT)
        assert one.end()[0] == 130


def test_top_of_a_worker_that_listens(start: Any, run: Any) -> None:
    url = url_in(start("worker", "--name", "alice", "--listen", "127.0.0.1:0").line())
    code, out, _ = run("top", url, "--once", "--json", "--interval", "0.1")
    told = json.loads(out)
    assert (code, told["relay"]) == (0, None)
    assert [(peer["name"], peer["objects"]) for peer in told["peers"]] == [("alice", 0)]


def test_verbose_logs_to_stderr(start: Any) -> None:
    relay = start("relay", "--listen", "127.0.0.1:0", "-vv")
    relay.line()
    relay.signal(signal.SIGTERM)
    code, _, errors = relay.end()
    assert code == 0
    assert re.search(r"INFO asyncsyft\.relay\.relay: listening on 127\.0\.0\.1:\d+", errors)
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
