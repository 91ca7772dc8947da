"""Who may come in, as people run it: keys, tokens, certificates, and what a relay tells over plain HTTP.

A test here starts up to ten processes, so each runs on one loop; tests/journeys/test_doors.py has both.
"""

from __future__ import annotations

import json
import signal
import ssl
import urllib.error
import urllib.request
import warnings
from pathlib import Path
from typing import Any, Optional, Tuple

import pytest

from asyncsyft.identity import Authority, Key, authority_text, key_text, read_token, revoke
from tests.cli.kit import SECONDS, Command, url_in

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # cryptography will leave Python 3.8, and says so
    import trustme

pytestmark = pytest.mark.timeout(240)  # some start ten processes, one after the other


class Keys:
    """Private keys of three peers, a roster of two of them, an authority, and a file of revoked tokens."""

    def __init__(self, folder: Path) -> None:
        self.of = {name: Key.new() for name in ("alice", "carol", "mallory")}
        for name, key in self.of.items():
            key.save(folder / name)
        self.folder, self.authority = folder, Authority.new()
        known = [f"{name} {key_text(self.of[name].public)}  # since 2024" for name in ("alice", "carol")]
        (folder / "peers.txt").write_text("# who is who\n" + "\n".join(known) + "\n")
        (folder / "authority.pub").write_text(
            f"{authority_text(self.authority.public)}\nSHA256:as keys show prints it\n"
        )
        (folder / "revoked.txt").touch()

    def file(self, name: str) -> str:
        return str(self.folder / name)

    def token(self, name: str, role: str, *reach: str, key: Optional[bytes] = None) -> str:
        return self.authority.issue([name], [role], reach or ["*"], expires=2**33, key=key)


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


@pytest.mark.parametrize("loop", ["asyncio"])
def test_a_relay_that_knows_its_peers_by_their_keys(start: Any, run: Any, keys: Keys, loop: str) -> None:
    relay = start("relay", "--listen", "127.0.0.1:0", "--known-peers", keys.file("peers.txt"), "--loop", loop)
    url = url_in(relay.line())

    def worker(name: str, key: str) -> Command:
        words = ("worker", "--name", name, "--relay", url, "--loop", loop)
        made: Command = start(*words, "--key", keys.file(key))
        return made

    assert "the name alice belongs to a key, and another was proved" in worker("alice", "mallory").end()[2]
    assert "bob is not known here, with the key SHA256:" in worker("bob", "mallory").end()[2]
    assert worker("alice", "alice").line() == f"worker alice at {url}\n"
    assert run("ping", url, "alice", "-c", "1", "--name", "carol", "--key", keys.file("carol"))[0] == 0
    assert "ping-" in run("ping", url, "alice", "-c", "1")[2]  # nobody knows such a one

    relay.process.kill()  # and one that takes its place gives her name to nobody else, though it remembers nothing
    again = start("relay", "--listen", url.partition("//")[2], "--known-peers", keys.file("peers.txt"))
    assert again.line()
    assert "another was proved" in worker("alice", "mallory").end()[2]
    env = {"ASYNCSYFT_KEY": keys.file("carol"), "ASYNCSYFT_PING_NAME": "carol"}
    while run("ping", url, "alice", "-c", "1", env=env)[0]:  # she is on her way
        pass


@pytest.mark.parametrize("loop", ["trio"])
def test_a_relay_that_asks_for_tokens(start: Any, run: Any, keys: Keys, loop: str) -> None:
    words = ["--authority", keys.file("authority.pub"), "--revoked", keys.file("revoked.txt"), "--loop", loop]
    url = url_in(start("relay", "--listen", "127.0.0.1:0", *words).line())
    assert "shows a key only; it needs a token" in run("ping", url, "-c", "1", "--loop", loop)[2]
    for name in ("alice", "bob"):
        env = {"ASYNCSYFT_TOKEN": keys.token(name, "worker")}
        start("worker", "--name", name, "--relay", url, "--loop", loop, env=env).line()
    token = keys.token("lab-*", "driver", "alice")

    def ping(whom: str, *more: str, shown: str = token) -> str:
        words = ("ping", url, whom, "-c", "1", "--name", "lab-1", "--token", shown, "--loop", loop, *more)
        code, out, errors = run(*words)
        return str(errors if code else out)

    assert "1 sent, 1 received" in ping("alice")
    assert "no worker 'bob' is there; workers: alice" in ping("bob")
    assert "is not for lab-1 as a driver" in ping("alice", shown=keys.token("alice", "worker"))
    bound = keys.token("lab-1", "driver", key=keys.of["carol"].public)
    assert "1 received" in ping("bob", "--key", keys.file("carol"), shown=bound)
    assert "is bound to a key that was not proved" in ping("bob", shown=bound)

    revoke(keys.file("revoked.txt"), read_token(token).id)
    assert "was revoked" in ping("alice")


def test_a_worker_whose_token_was_revoked_ends_at_the_next_relay(start: Any, keys: Keys) -> None:
    words = ["--authority", authority_text(keys.authority.public), "--revoked", keys.file("revoked.txt")]
    relay = start("relay", "--listen", "127.0.0.1:0", *words)
    url, token = url_in(relay.line()), keys.token("alice", "worker")
    alice = start("worker", "--name", "alice", "--relay", url, "--token", token)
    alice.line()
    revoke(keys.file("revoked.txt"), read_token(token).id)
    relay.process.kill()
    start("relay", "--listen", url.partition("//")[2], *words).line()
    code, _, errors = alice.end()
    assert code == 1
    assert f"Error: the relay refuses alice: token {read_token(token).id} was revoked\n" in errors


def test_the_key_of_whoever_runs_a_command_is_used_without_being_named(start: Any, run: Any, tmp_path: Path) -> None:
    env = {"XDG_CONFIG_HOME": str(tmp_path)}
    shown = run("keys", "new", env=env)[1].splitlines()[0]
    (tmp_path / "peers.txt").write_text(f"alice {shown}\n")
    url = url_in(start("relay", "--listen", "127.0.0.1:0", "--known-peers", str(tmp_path / "peers.txt")).line())
    words = ("worker", "--name", "alice", "--relay", url)
    assert run(*words)[0] == 1
    first = start(*words, env=env)
    assert first.line()

    second = start(*words, env=env)  # the same key: it takes the place of the first, which does not take it back
    assert second.line()
    code, _, errors = first.end()
    assert code == 1
    assert "Error: the relay refuses alice: another process took the place of alice, with the same key\n" in errors
    (tmp_path / "asyncsyft" / "key").chmod(0o644)
    assert "chmod 600 makes it right" in run(*words, env=env)[2]


def test_a_door_that_is_open_to_nobody_says_so(start: Any, run: Any, keys: Keys) -> None:
    told = "Warning: only peers of this machine may come in; for others give --authority, --known-peers or --insecure\n"
    for words in (["relay"], ["worker", "--name", "alice"]):
        for more, said in (([], told), (["--insecure"], ""), (["--known-peers", keys.file("peers.txt")], "")):
            command = start(*words, "--listen", "0.0.0.0:0", *more)
            assert command.line()
            if said:
                assert command.error("Warning") == said
            command.signal(signal.SIGTERM)
            assert command.end() == (0, "", said)


def test_a_worker_that_listens_lets_in_whom_it_is_told_to(start: Any, run: Any, keys: Keys) -> None:
    words = ["--key", keys.file("alice"), "--known-peers", keys.file("peers.txt")]
    url = url_in(start("worker", "--name", "alice", "--listen", "127.0.0.1:0", *words).line())
    assert run("ping", url, "-c", "1", "--name", "carol", "--key", keys.file("carol"))[0] == 0
    assert "belongs to a key, and another was proved" in run("ping", url, "-c", "1", "--name", "carol")[2]


@pytest.mark.parametrize("loop", ["asyncio"])
def test_a_worker_that_speaks_with_those_it_knows_and_sealed(
    start: Any, run: Any, relay: Tuple[Command, str], keys: Keys, loop: str
) -> None:
    known = ["--known-peers", keys.file("peers.txt"), "--loop", loop]
    words = ["--name", "alice", "--relay", relay[1], "--key", keys.file("alice")]
    start("worker", *words, *known).line()

    def figures(name: str, *more: str) -> Any:
        words = ["--once", "--json", "--interval", "0.1", "--name", name, "--key", keys.file(name), *more]
        told = json.loads(run("top", relay[1], *words)[1])
        (alice,) = [peer for peer in told["peers"] if peer["name"] == "alice"]
        return alice

    assert figures("carol", *known)["steps"] > 0
    assert "steps" not in figures("mallory")


# TLS, and plain HTTP on the relay's port.


def get(url: str, path: str, token: str = "", ca: str = "") -> Tuple[int, bytes]:
    """GET from the port of a relay."""
    request = urllib.request.Request(url.replace("ws", "http", 1) + path)
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    context = ssl.create_default_context(cafile=ca) if ca else None
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(request, timeout=SECONDS) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_figures_have_a_token_of_their_own(start: Any, run: Any) -> None:
    secret = {"ASYNCSYFT_METRICS_TOKEN": "open sesame"}
    url = url_in(start("relay", "--listen", "127.0.0.1:0", env=secret).line())
    assert get(url, "/readyz") == (200, b"ready\n")
    assert [get(url, "/metrics", token)[0] for token in ("", "open barley", "open sesame")] == [401, 401, 200]
    words = ("top", url, "--once", "--json", "--interval", "0.1")
    assert json.loads(run(*words)[1])["relay"] is None
    assert json.loads(run(*words, "--metrics-token", "open sesame")[1])["relay"]["joined"] == 2
    assert json.loads(run(*words, env=secret)[1])["relay"]["joined"] == 3


def test_tls(start: Any, run: Any, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "relay.pem"))
    relay = start("relay", "--tls-cert", str(tmp_path / "relay.pem"), "--listen", "127.0.0.1:0")
    url, ca = url_in(relay.line()), ["--ca", str(tmp_path / "ca.pem")]
    assert url.startswith("wss://")
    assert "certificate" in run("ping", url, "-c", "1")[2]
    start("worker", "--name", "alice", "--relay", url, *ca).line()
    assert run("ping", url, "alice", "-c", "1", *ca)[0] == 0
    assert json.loads(run("top", url, "--once", "--json", "--interval", "0.1", *ca)[1])["relay"]["joined"] >= 2
    assert get(url, "/readyz", ca=str(tmp_path / "ca.pem")) == (200, b"ready\n")


@pytest.mark.parametrize("loop", ["trio"])
def test_tls_of_both_ends_with_files_of_asyncsyft_ca(start: Any, run: Any, tmp_path: Path, loop: str) -> None:
    def file(name: str) -> str:
        return str(tmp_path / "tls" / name)

    assert run("ca", "new", str(tmp_path / "tls"))[0] == 0
    served = ["--tls-cert", file("server.pem"), "--tls-key", file("server.key"), "--tls-client-ca", file("ca.pem")]
    shown = ["--ca", file("ca.pem"), "--tls-cert", file("client.pem"), "--tls-key", file("client.key"), "--loop", loop]
    relay = url_in(start("relay", "--listen", "127.0.0.1:0", *served, "--loop", loop).line())
    assert run("ping", relay, "-c", "1", "--ca", file("ca.pem"))[0] == 1
    start("worker", "--name", "alice", "--relay", relay, *shown).line()
    assert run("ping", relay, "alice", "-c", "1", *shown)[0] == 0
    direct = url_in(start("worker", "--name", "bob", "--listen", "127.0.0.1:0", *served, "--loop", loop).line())
    assert run("top", direct, "--once", "--interval", "0.1", *shown)[0] == 0
    assert run("conform", direct, "--quiet", "--patience", "0.5", "--ca", file("ca.pem"))[0] == 1
