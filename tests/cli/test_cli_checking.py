"""``--check-config``: what is found, what is said of it, and that it shows no secrets and opens no port."""

from __future__ import annotations

import socket
import warnings
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Dict, List

import numpy as np
import pytest
from click.testing import CliRunner

from asyncsyft.certificates import validity
from asyncsyft.cli.commands import asyncsyft as command
from asyncsyft.identity import Authority, Key, authority_text, key_text

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # cryptography will leave Python 3.8, and says so
    import trustme

SECRET = "open-sesame-4711"


def run(*words: str, env: Any = None) -> Any:
    """Exit code, and all that was said."""
    result = CliRunner().invoke(command, [*words, "--check-config"], env=env)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, " ".join(result.output.split())


@pytest.fixture
def no_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever binds or connects fails."""

    def refuse(*args: Any) -> None:
        raise AssertionError("a port was opened")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)


pytestmark = pytest.mark.usefixtures("no_ports")


@pytest.fixture
def files(tmp_path: Path) -> Dict[str, str]:
    """Certificates of several kinds, a key, an authority, known peers, revoked tokens, data."""
    now = datetime.now(timezone.utc)
    ca = trustme.CA()
    days = {"good": 300, "soon": 3, "over": -1}
    for name, until in days.items():
        made = ca.issue_cert("relay.example", not_after=now + timedelta(days=until))
        made.cert_chain_pems[0].write_to_path(str(tmp_path / f"{name}.pem"))
        made.private_key_pem.write_to_path(str(tmp_path / f"{name}.key"))
    for path in tmp_path.glob("*.key"):
        path.chmod(0o600)
    Key.new().save(tmp_path / "key")
    authority = Authority.new()
    (tmp_path / "authority").write_text(authority_text(authority.public))
    (tmp_path / "peers").write_text(f"alice {key_text(Key.new().public)}\nbob {key_text(Key.new().public)}\n")
    (tmp_path / "bad-peers").write_text("alice x25519:short\n")
    (tmp_path / "revoked").write_text("")
    (tmp_path / "bad").write_text("nothing of the kind")
    np.save(tmp_path / "x.npy", np.array([4711.25, 2.0, 3.0]))
    for name, who in (("token", "alice"), ("other-token", "bob")):
        (tmp_path / name).write_text(authority.issue([who], ["worker"], ["*"], expires=2**33))
    (tmp_path / "old-token").write_text(authority.issue(["alice"], ["worker"], ["*"], expires=1_000_000_000))
    return {path.name: str(path) for path in tmp_path.iterdir()}


def filled(words: str, files: Dict[str, str]) -> List[str]:
    """``{name}`` is a path, ``{name:}`` what the file holds."""
    for name, path in files.items():
        if f"{{{name}:}}" in words:
            words = words.replace(f"{{{name}:}}", Path(path).read_text())
        words = words.replace(f"{{{name}}}", path)
    return words.split()


def test_a_relay_that_is_well(files: Dict[str, str]) -> None:
    code, out = run(
        "relay", "--listen", "0.0.0.0:8765", "--tls-cert", files["good.pem"], "--tls-key", files["good.key"],
        "--authority", files["authority"], "--known-peers", files["peers"], "--revoked", files["revoked"],
        "--key", files["key"], "--metrics-token", SECRET, "--max-peers", "50", "--origin", "https://lab.example",
        "--trusted-proxy", "10.0.0.0/8",
    )  # fmt: skip
    assert (code, out.count("Warning"), out.count("Error")) == (0, 0, 0), out
    for said in (
        "would listen on wss://0.0.0.0:8765",
        "for relay.example, until 20",
        "known by the key SHA256:",
        "lets in who shows a token of 1 authority or a key of 2 known peers",
        "figures: for who shows the metrics token",
        "lets in web pages of https://lab.example",
        "believes X-Forwarded-For of 10.0.0.0/8",
        "limits: max_peers 50",
        "relay: good",
    ):
        assert said in out
    assert SECRET not in out


def test_a_worker_that_is_well(files: Dict[str, str]) -> None:
    token = Path(files["token"]).read_text()
    words = ["worker", "--name", "alice", "--relay", "wss://relay.example", "--load", f"x={files['x.npy']}"]
    code, out = run(*words, "--key", files["key"], "--metrics", "127.0.0.1:9100", env={"ASYNCSYFT_TOKEN": token})
    assert (code, out.count("Error")) == (0, 0), out
    assert "would dial wss://relay.example" in out
    assert "would load x <f8 (3,) release never" in out
    assert "figures at http://127.0.0.1:9100: for this machine" in out
    assert "worker alice: good" in out
    assert "4711" not in out
    assert token not in out
    assert token.split(".")[2] not in out


RELAY: List[Any] = [
    ("--tls-cert {over.pem} --tls-key {over.key}", "over.pem ended on "),
    ("--tls-cert {good.pem} --tls-key {soon.key}", "are no certificate: key values mismatch"),
    ("--tls-cert {bad}", "are no certificate"),
    ("--tls-cert {nowhere}", "does not exist"),
    ("--key {bad}", "bad"),
    ("--authority {bad}", "is no public key"),
    ("--known-peers {bad-peers}", "bad-peers, line 1"),
    ("--revoked {revoked}", "--revoked is about tokens, which need an --authority"),
    ("--listen no-such-host.invalid:1", "--listen no-such-host.invalid:1: "),
    ("--listen 8765", "is not host:port"),
    ("--max-rate 1000", "max_rate (1000) is below one frame (524288 bytes)"),
    ("--max-waiting 1000", "max_waiting (1000) is below one frame"),
    ("--trusted-proxy proxy", "'proxy' is no address, such as 127.0.0.1"),
    ("--origin lab.example/page", "is no origin, such as https://lab.example"),
    ("--max-peers 0", "0 is not in the range x>=1"),
    ("--config {bad}", "is no TOML"),
]


@pytest.mark.parametrize(("words", "said"), RELAY)
def test_what_is_wrong_with_a_relay(files: Dict[str, str], words: str, said: str) -> None:
    code, out = run("relay", *filled(words, {**files, "nowhere": "nowhere.pem"}))
    assert code == 1, out
    assert said in out


WORKER: List[Any] = [
    ("--relay ws://h --token {old-token:}", "has run out, on 2001-09-09"),
    ("--relay ws://h --token {other-token:}", "is not for alice as a worker"),
    ("--relay ws://h --token nonsense", "the token: "),
    ("--relay ws://h --load x={bad}", "load takes .npy, .npz and .csv files"),
    ("--relay ws://h --load x={x.npy} --limit 10", "what is loaded has 24 bytes, and limit is 10"),
    ("--relay ws://h --load x={x.npy} --release y=always", "y"),
    ("--relay ws://h --keep /no/such/folder/file", "--keep: there is no folder /no/such/folder"),
    ("--relay ws://h --known-peers {bad-peers}", "bad-peers, line 1"),
    ("--relay ws://h --max-running 2", "max_running_per_driver (8) is above max_running (2)"),
    ("--relay ws://h --limit-per-driver 9GiB", "is above limit"),
    ("--relay ws://h --tls-cert {good.pem}", "--tls-cert is for wss:// URLs"),
    ("--relay ws://h --origin https://x", "--origin is for --listen"),
    ("--relay ws://h --trusted-proxy 10.0.0.1", "--trusted-proxy is for --listen"),
    ("--listen h.invalid:1", "--listen h.invalid:1: "),
    ("--listen 127.0.0.1:1 --metrics h.invalid:1", "--metrics h.invalid:1: "),
    ("", "give --relay URL, or --listen host:port, and not both"),
]


@pytest.mark.parametrize(("words", "said"), WORKER)
def test_what_is_wrong_with_a_worker(files: Dict[str, str], words: str, said: str) -> None:
    code, out = run("worker", "--name", "alice", *filled(words, files))
    assert code == 1, out
    assert said in out
    assert Path(files["token"]).read_text() not in out


def test_all_that_is_wrong_is_said_at_once(files: Dict[str, str]) -> None:
    code, out = run("relay", "--key", files["bad"], "--known-peers", files["bad-peers"], "--max-rate", "1")
    assert (code, out.count("Error: ")) == (1, 3)
    assert out.endswith("relay: not good")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--listen 0.0.0.0:1", "it listens for other machines, and none may come in"),
        ("--listen 0.0.0.0:1 --insecure", "--insecure: whoever reaches it may come in"),
        ("--listen 0.0.0.0:1 --known-peers {peers}", "without --tls-cert what is said can be read on the way"),
        ("--tls-cert {soon.pem} --tls-key {soon.key}", "soon.pem ends on "),
    ],
)
def test_what_is_worth_a_warning(files: Dict[str, str], words: str, said: str) -> None:
    code, out = run("relay", *filled(words, files))
    assert code == 0, out
    assert f"Warning: {said}" in out or f"{said}" in out.partition("Warning: ")[2]


def test_a_private_key_that_others_may_read(files: Dict[str, str]) -> None:
    Path(files["good.key"]).chmod(0o644)
    code, out = run("relay", "--tls-cert", files["good.pem"], "--tls-key", files["good.key"])
    assert code == 0
    assert "Warning: others may read " in out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[relay]\nmax-pears = 3\n", "has no key 'max-pears': is it 'max-peers'?"),
        ("[relay]\nmetrics_tokn = 'x'\n", "has no key 'metrics_tokn': is it 'metrics-token'?"),
        ("[relay]\nzzz = 3\n", "has no key 'zzz'"),
        ("[reley]\n", "unknown key 'reley': is it 'relay'?"),
        ("[server]\n", "unknown key 'server': its sections are ca, "),
    ],
)
def test_a_key_that_is_unknown_is_named_with_what_it_may_be(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "asyncsyft.toml"
    file.write_text(text)
    code, out = run("relay", "--config", str(file))
    assert code == 1
    assert said in out


def test_what_a_file_says_is_checked(tmp_path: Path) -> None:
    file = tmp_path / "asyncsyft.toml"
    file.write_text('[relay]\nlisten = "127.0.0.1:7000"\nmax-per-address = 7\ndrain = 9\n')
    code, out = run("relay", "--config", str(file))
    assert (code, "would listen on ws://127.0.0.1:7000" in out, "max_per_address 7" in out) == (0, True, True)
    assert "drains for 9 s" in out


def test_without_the_check_mistakes_of_spelling_exit_with_2() -> None:
    assert CliRunner().invoke(command, ["relay", "--listen", "8765"]).exit_code == 2


def test_validity(files: Dict[str, str]) -> None:
    names, begins, ends = validity(files["good.pem"])
    assert names == ["relay.example"]
    assert begins < datetime.now(timezone.utc) < ends
    with pytest.raises(ValueError, match="holds no certificate"):
        validity(files["bad"])


def test_a_process_may_open_as_many_files_as_it_has_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    from asyncsyft.cli.running import open_files

    state = {"now": (1024, 4096)}
    monkeypatch.setattr(resource, "getrlimit", lambda what: state["now"])
    monkeypatch.setattr(resource, "setrlimit", lambda what, limits: state.update(now=limits))
    assert open_files(100) == 100
    assert state["now"] == (1024, 4096)
    assert open_files(2000) == 2000
    assert state["now"] == (2000, 4096)
    assert open_files(10_000) == 4096
    code, out = run("relay", "--max-peers", "9000")
    assert code == 0
    assert "max_peers 9000 needs 9768 open files, and this user may have 4096 (ulimit -n)" in out
