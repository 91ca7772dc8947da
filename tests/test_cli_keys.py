"""The commands keys, token and ca: what they print, what they write, and what they refuse."""

from __future__ import annotations

import inspect
import json
import re
import ssl
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Tuple

import pytest
from click.testing import CliRunner

from asyncsyft.certificates import client_context, server_context
from asyncsyft.cli.commands import asyncsyft as command
from asyncsyft.identity import (
    Authority,
    Key,
    Revoked,
    check_token,
    fingerprint,
    key_text,
    parse_authority,
    parse_key,
    read_token,
)

SECONDS = 30.0
NOW = 1_700_000_000
DAY = 86_400

Ran = Tuple[int, str, str]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which private keys are unless one says otherwise; the clock stands still."""
    monkeypatch.setattr("click.get_app_dir", lambda name: str(tmp_path / "config" / name))
    monkeypatch.setattr("asyncsyft.cli.token.time", SimpleNamespace(time=lambda: NOW + 0.5))
    return tmp_path / "config" / "asyncsyft"


@pytest.fixture
def run(home: Path) -> Callable[..., Ran]:
    """Runs a command in this process: exit code, output, errors."""
    apart: Any = {"mix_stderr": False} if "mix_stderr" in inspect.signature(CliRunner).parameters else {}

    def run(*words: Any, stdin: str = "") -> Ran:
        result = CliRunner(**apart).invoke(command, [str(word) for word in words], input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout, result.stderr

    return run


@pytest.fixture
def authority(run: Any, home: Path) -> str:
    """The text of an authority whose private key is where the commands look for it."""
    return str(run("keys", "new", "--authority")[1].split()[0])


def is_private(path: Path) -> bool:
    return stat.S_IMODE(path.stat().st_mode) == 0o600


# Keys.


def test_a_key_is_made_and_shown(run: Any, home: Path) -> None:
    code, out, errors = run("keys", "new")
    assert (code, errors) == (0, f"{home / 'key'}: only you may read this; never give it away\n")
    public = Key.load(home / "key").public
    assert out == f"{key_text(public)}\n{fingerprint(public)}\n"
    assert run("keys", "show") == (0, out, "")
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert is_private(home / "key")


def test_a_key_is_never_overwritten(run: Any, home: Path) -> None:
    made = run("keys", "new")[1]
    assert run("keys", "new") == (1, "", f"Error: File exists: {home / 'key'}\n")
    assert run("keys", "show")[1] == made


def test_an_authority_is_made_and_shown(run: Any, home: Path, tmp_path: Path) -> None:
    _, out, _ = run("keys", "new", "--authority")
    public = Authority.load(home / "authority").public
    assert parse_authority(out.split()[0]) == public
    assert run("keys", "show", home / "authority") == (0, out, "")
    assert run("keys", "new", tmp_path / "second", "--authority")[0] == 0
    assert Authority.load(tmp_path / "second").public != public


def test_no_key_to_show(run: Any, home: Path, tmp_path: Path) -> None:
    assert run("keys", "show") == (1, "", f"Error: No such file or directory: {home / 'key'}\n")
    run("keys", "new")
    (home / "key").chmod(0o644)
    code, _, errors = run("keys", "show")
    assert (code, errors) == (
        1,
        f"Error: others than its owner may use this private key (chmod 600 makes it right): {home / 'key'}\n",
    )
    (tmp_path / "text").write_text("hello")
    (tmp_path / "text").chmod(0o600)
    assert run("keys", "show", tmp_path / "text") == (1, "", f"Error: {tmp_path / 'text'} holds no private key\n")


# Tokens.


def test_a_token_is_issued(run: Any, authority: str) -> None:
    words = ["--name", "alice", "--name", "lab-*", "--role", "worker", "--ttl", "12h", "--reach", "bob, carol-*"]
    code, out, errors = run("token", "new", *words)
    token = check_token(out.strip(), [parse_authority(authority)], NOW)
    assert code == 0
    assert (token.names, token.roles, token.reach) == (("alice", "lab-*"), ("worker",), ("bob", "carol-*"))
    assert (token.expires, token.key) == (NOW + DAY // 2, None)
    assert errors == f"token {token.id} is good until {token.until}; whoever holds it may use it\n"


def test_what_a_token_is_when_nothing_is_said(run: Any, authority: str) -> None:
    token = read_token(run("token", "new", "--name", "alice", "--role", "worker", "--role", "driver")[1].strip())
    assert (token.roles, token.reach, token.expires) == (("worker", "driver"), ("*",), NOW + 30 * DAY)


def test_a_token_for_a_key(run: Any, authority: str) -> None:
    bound = run("keys", "new")[1].split()[0]
    _, out, errors = run("token", "new", "--name", "alice", "--role", "driver", "--for", bound)
    assert read_token(out.strip()).key == parse_key(bound)
    assert "whoever" not in errors


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--role", "worker"], "Missing option '--name'"),
        (["--name", "a"], "Missing option '--role'"),
        (["--name", "a", "--role", "relay"], "'relay' is not one of"),
        (["--name", "a", "--role", "worker", "--ttl", "soon"], "'soon' is no time, such as 12h, 30d or 8w"),
        (["--name", "a", "--role", "worker", "--ttl", "0d"], "'0d' is no time"),
        (["--name", "a", "--role", "worker", "--for", "alice"], "'alice' is no public key: x25519:"),
    ],
)
def test_what_makes_no_token(run: Any, authority: str, words: Any, said: str) -> None:
    code, out, errors = run("token", "new", *words)
    assert (code, out) == (2, "")
    assert said in " ".join(errors.split())


def test_a_token_without_its_authority(run: Any, home: Path) -> None:
    words = ["token", "new", "--name", "a", "--role", "worker"]
    assert run(*words) == (1, "", f"Error: No such file or directory: {home / 'authority'}\n")
    run("keys", "new")
    code, _, errors = run(*words, "--authority", home / "key")
    assert code == 1
    assert "holds a private key of another kind, not the Ed25519 key of an authority" in errors


def test_a_token_too_large_or_too_long_is_not_issued(run: Any, authority: str) -> None:
    code, out, errors = run("token", "new", "--name", "a" * 257, "--role", "worker")
    assert (code, out) == (1, "")
    assert "not a name that can be printed" in errors
    code, _, errors = run("token", "new", "--name", "a", "--role", "worker", "--ttl", "9999999999w")
    assert code == 1
    assert "not seconds since 1970" in errors


def test_a_token_is_shown(run: Any, authority: str) -> None:
    text = run("token", "new", "--name", "alice", "--role", "worker", "--reach", "bob,carol-*")[1].strip()
    code, out, _ = run("token", "show", text)
    assert code == 0
    shown = dict(line.split(None, 1) for line in out.splitlines())
    assert shown == {
        "id": read_token(text).id,
        "names": "alice",
        "roles": "worker",
        "reach": "bob, carol-*",
        "expires": "2023-12-14 22:13:20 UTC",
        "key": "any",
        "state": "not checked: give --authority",
    }
    assert run("token", "show", "-", stdin=f"{text}\n") == (0, out, "")


def test_a_token_is_checked(run: Any, authority: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = run("token", "new", "--name", "alice", "--role", "worker", "--ttl", "60s")[1].strip()
    words = ["token", "show", text, "--json", "--authority"]
    code, out, _ = run(*words, authority)
    said = json.loads(out)
    assert (code, said["valid"], said["names"], said["expires"], said["key"]) == (0, True, ["alice"], NOW + 60, None)
    assert json.loads(run("token", "show", text, "--json")[1])["valid"] is None

    other = run("keys", "new", "--authority", tmp_path / "other")[1].split()[0]
    code, out, _ = run(*words, other)
    assert (code, json.loads(out)["valid"]) == (1, False)
    assert "an authority that is not trusted here" in json.loads(out)["state"]

    monkeypatch.setattr("asyncsyft.cli.token.time", SimpleNamespace(time=lambda: NOW + 60))
    code, out, _ = run(*words, authority)
    assert (code, json.loads(out)["valid"]) == (1, False)
    assert "expired on 2023-11-14" in json.loads(out)["state"]


def test_what_is_no_token_is_not_shown(run: Any) -> None:
    assert run("token", "show", "secret") == (1, "", "Error: that is no token: asyncsyft1.PAYLOAD.SIGNATURE\n")


def test_a_token_is_revoked_by_itself_or_by_its_id(run: Any, authority: str, tmp_path: Path) -> None:
    path = tmp_path / "revoked.txt"
    text = run("token", "new", "--name", "alice", "--role", "worker")[1].strip()
    token = read_token(text)
    said = (0, f"token {token.id} is revoked where {path} is read\n", "")
    assert run("token", "revoke", text, "--file", path) == said
    assert run("token", "revoke", "-", "--file", path, stdin=text) == said
    assert run("token", "revoke", token.id, "--file", path) == said
    assert path.read_text() == f"{token.id}  # alice, until {token.until}\n"
    run("token", "revoke", "feed", "--file", path)
    revoked = Revoked(path)
    assert token.id in revoked
    assert "feed" in revoked


def test_what_cannot_be_revoked(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "revoked.txt"
    for text in ("not.a.token", "two words", "#", " "):
        code, out, errors = run("token", "revoke", text, "--file", path)
        assert (code, out) == (1, ""), text
        assert re.fullmatch("Error: .*token.*\n", errors)
    assert not path.exists()


# Certificates.


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> None:
    """TLS from end to end, in memory. Raises: ssl.SSLError."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [server.wrap_bio(there, back, server_side=True), client.wrap_bio(back, there, server_hostname=host)]
    for _ in range(10):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass
    ends[1].write(b"hello")
    assert ends[0].read() == b"hello"


def test_a_ca_is_made(run: Any, tmp_path: Path) -> None:
    folder = tmp_path / "tls"
    code, out, errors = run("ca", "new", folder)
    assert (code, errors) == (0, "")
    assert out == (
        f"asyncsyft relay --tls-cert {folder / 'server.pem'} --tls-key {folder / 'server.key'}\n"
        f"asyncsyft ping wss://localhost:8765 --ca {folder / 'ca.pem'}\n"
    )
    assert {path.name for path in folder.iterdir()} == {
        "ca.pem", "server.pem", "server.key", "client.pem", "client.key",
    }  # fmt: skip
    assert all(is_private(path) is (path.suffix == ".key") for path in folder.iterdir())

    server = server_context(folder / "server.pem", folder / "server.key", client_ca=folder / "ca.pem")
    client = client_context(folder / "ca.pem", folder / "client.pem", folder / "client.key")
    for host in ("localhost", "127.0.0.1", "::1"):
        handshake(server, client, host)
    with pytest.raises(ssl.SSLError, match="mismatch"):
        handshake(server, client, "relay.example")
    with pytest.raises(ssl.SSLError):
        handshake(server, client_context(folder / "ca.pem"), "localhost")


def test_a_ca_for_other_hosts(run: Any, tmp_path: Path) -> None:
    assert "wss://relay.example:8765" in run("ca", "new", tmp_path, "--host", "relay.example", "--host", "10.0.0.1")[1]
    server = server_context(tmp_path / "server.pem", tmp_path / "server.key")
    for host in ("relay.example", "10.0.0.1"):
        handshake(server, client_context(tmp_path / "ca.pem"), host)
    with pytest.raises(ssl.SSLError, match="mismatch"):
        handshake(server, client_context(tmp_path / "ca.pem"), "localhost")


def test_a_ca_overwrites_nothing(run: Any, tmp_path: Path) -> None:
    run("ca", "new", tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert run("ca", "new", tmp_path) == (1, "", f"Error: File exists: {tmp_path / 'ca.pem'}\n")
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_a_ca_without_its_package(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trustme", None)
    code, out, errors = run("ca", "new", tmp_path / "tls")
    assert (code, out, errors) == (1, "", "Error: certificates need trustme: pip install 'asyncsyft[cli]'\n")
    assert not (tmp_path / "tls").exists()


# All of them.


@pytest.mark.parametrize("name", ["keys", "token", "ca"])
def test_help_shows_how(run: Any, name: str) -> None:
    code, out, _ = run(name, "--help")
    assert code == 0
    assert f"asyncsyft {name} new" in out


def test_as_people_type_it(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "asyncsyft", "keys", "new", str(tmp_path / "key")]
    done = subprocess.run(words, capture_output=True, timeout=SECONDS, check=True)
    assert parse_key(done.stdout.decode().split()[0]) == Key.load(tmp_path / "key").public
