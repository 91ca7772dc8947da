"""What is in deploy/: units, a container and proxies that name only what there is, and work where they can be tried."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import warnings
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, AsyncIterator, Dict, Iterator, List, Optional

import anyio
import anyio.to_thread
import numpy as np
import pytest
from anyio.abc import SocketAttribute, SocketStream
from click.testing import CliRunner

import asyncsyft
from asyncsyft import Relay, Worker
from asyncsyft.certificates import client_context
from asyncsyft.cli.commands import asyncsyft as command
from asyncsyft.errors import LimitExceeded, LinkClosed, Refused
from asyncsyft.identity import Key, key_text
from asyncsyft.metrics import Endpoints, status
from asyncsyft.relay import DRAIN
from asyncsyft.worker import DRAIN as WORKER_DRAIN
from tests.journeys.kit import LOOPBACK, SECONDS
from tests.test_draining import UPGRADE
from tests.test_metrics import ask

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # cryptography will leave Python 3.8, and says so
    import trustme

DEPLOY = Path(asyncsyft.__file__).resolve().parent.parent / "deploy"
#: Proxies that are not on the path may be named by a folder in this variable.
PATH = os.pathsep.join([os.environ.get("ASYNCSYFT_TEST_PROXIES", ""), os.environ["PATH"], "/usr/sbin"])

pytestmark = pytest.mark.skipif(not DEPLOY.is_dir(), reason="deploy/ is not part of what is installed")


def options(name: str) -> List[str]:
    """The options of a command."""
    found = command.get_command(None, name)  # type: ignore[arg-type]
    assert found is not None
    return [option for param in found.params for option in (*param.opts, *param.secondary_opts)]


# Units of systemd.

UNITS = {"relay": DRAIN, "worker": WORKER_DRAIN}


def unit(name: str) -> Dict[str, List[str]]:
    """Keys and values; a key may stand there more than once."""
    found: Dict[str, List[str]] = {}
    for line in (DEPLOY / f"asyncsyft-{name}.service").read_text("utf-8").splitlines():
        key, is_one, value = line.partition("=")
        if is_one and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_names_options_that_there_are(name: str) -> None:
    told = unit(name)
    assert len(told["ExecStart"]) == len(told["ExecStartPre"]) == 1
    for line in (*told["ExecStart"], *told["ExecStartPre"]):
        program, what, *words = line.split()
        assert (Path(program).name, what) == ("asyncsyft", name)
        assert {word for word in words if word.startswith("-")} <= {*options(name), "--help"}
    assert "--check-config" in told["ExecStartPre"][0]


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_runs_as_nobody_and_has_time_to_drain(name: str) -> None:
    told = unit(name)
    for key, value in {
        "DynamicUser": "yes", "NoNewPrivileges": "yes", "ProtectSystem": "strict", "ProtectHome": "yes",
        "PrivateDevices": "yes", "CapabilityBoundingSet": "", "Restart": "on-failure", "KillSignal": "SIGTERM",
    }.items():  # fmt: skip
        assert told[key] == [value]
    assert told["MemoryMax"]
    assert int(told["TimeoutStopSec"][0]) > UNITS[name] + 10


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
@pytest.mark.parametrize("name", UNITS)
def test_systemd_takes_a_unit(name: str, tmp_path: Path) -> None:
    program = tmp_path / "asyncsyft"
    program.write_text(f"#!{sys.executable}\n")
    program.chmod(0o755)
    path = tmp_path / f"asyncsyft-{name}.service"
    text = (DEPLOY / path.name).read_text("utf-8")
    path.write_text(text.replace("/opt/asyncsyft/bin/asyncsyft", str(program)))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(path)], stderr=subprocess.PIPE, timeout=SECONDS, check=False, text=True
    )
    mine = [line for line in done.stderr.splitlines() if path.name in line]
    assert (done.returncode, mine) == (0, [])


# Files of options.


@pytest.mark.parametrize("name", UNITS)
def test_a_file_of_options_is_good(name: str, tmp_path: Path) -> None:
    text = (DEPLOY / f"{name}.toml").read_text("utf-8")
    file = tmp_path / f"{name}.toml"
    file.write_text(text.replace("/etc/asyncsyft", str(tmp_path)).replace("/srv/asyncsyft", str(tmp_path)))
    (tmp_path / "peers.txt").write_text(f"alice {key_text(Key.new().public)}\n")
    np.save(tmp_path / "scans.npy", np.ones((3, 4)))
    result = CliRunner().invoke(command, [name, "--config", str(file), "--check-config"])
    assert result.exit_code == 0, result.output
    assert float(re.findall(r"^drain = (\d+)$", text, re.MULTILINE)[0]) == UNITS[name]


# The container.


def container() -> str:
    return (DEPLOY / "Containerfile").read_text("utf-8").replace("\\\n", " ")


def test_the_container_runs_as_nobody_and_drains() -> None:
    lines = container().splitlines()
    user = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert user == ["65534:65534"]
    assert lines.index("USER 65534:65534") > max(n for n, line in enumerate(lines) if line.startswith("COPY "))
    assert "STOPSIGNAL SIGTERM" in lines
    assert 'ENTRYPOINT ["asyncsyft"]' in lines


def test_the_container_sets_options_that_there_are() -> None:
    found = re.findall(r"\bASYNCSYFT_(RELAY|WORKER)_([A-Z_]+)=", container())
    assert len(found) >= 2
    for name, option in found:
        assert f"--{option.lower().replace('_', '-')}" in options(name.lower())


def test_what_the_container_copies_is_there() -> None:
    for line in container().splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            for word in line.split()[1:-1]:
                assert (DEPLOY.parent / word).exists(), word


@pytest.mark.anyio
async def test_the_container_s_health_check() -> None:
    (check,) = re.findall(r"HEALTHCHECK .*CMD (\[.*\])", container())
    assert "127.0.0.1:8765" in check
    endpoints = Endpoints()

    async def code(port: int) -> int:
        _, *words = json.loads(check.replace("8765", str(port)))
        done = await anyio.run_process([sys.executable, *words], check=False)
        return done.returncode

    with anyio.fail_after(SECONDS):
        async with Relay(LOOPBACK, process_request=endpoints) as relay:
            endpoints.of(relay)
            assert await code(relay.port) == 0
            port = relay.port
        assert await code(port) != 0


# Behind a proxy.


@asynccontextmanager
async def proxying(relay: Relay, head: Dict[str, str]) -> AsyncIterator[str]:
    """A proxy of a few lines: adds headers to the request, then passes bytes on; its URL."""

    async def pump(one: SocketStream, other: SocketStream) -> None:
        try:
            async for data in one:
                await other.send(data)
            await other.send_eof()
        except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            await other.aclose()

    async def serve(near: SocketStream) -> None:
        async with near, await anyio.connect_tcp("127.0.0.1", relay.port) as far:
            data = b""
            while b"\r\n\r\n" not in data:
                data += await near.receive()
            added = "".join(f"{name}: {value}\r\n" for name, value in head.items())
            line, _, rest = data.partition(b"\r\n")
            await far.send(line + b"\r\n" + added.encode() + rest)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(pump, far, near)
                await pump(near, far)

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield f"ws://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
        tasks.cancel_scope.cancel()


async def computes(url: str, name: str = "me", **options: Any) -> float:
    async with asyncsyft.connect(url, name=name, **options) as driver:
        (alice,) = await driver.wait_for("alice")
        x = await alice.send(np.ones(100_000))
        return float(await (x + x).sum().get())


@pytest.mark.anyio
async def test_a_trusted_proxy_tells_the_relay_who_it_is() -> None:
    with anyio.fail_after(SECONDS):
        limits: Dict[str, Any] = {"max_per_address": 1, "proxies": ["127.0.0.1"], "insecure": True}
        async with Relay(LOOPBACK, **limits) as relay:
            async with proxying(relay, {"X-Forwarded-For": "203.0.113.7"}) as one:
                async with proxying(relay, {"X-Forwarded-For": "6.6.6.6, 203.0.113.8"}) as other:
                    async with Worker("alice", one):
                        assert await computes(other) == 200_000
                        with pytest.raises(LimitExceeded, match=r"203\.0\.113\.7 has 1 connections already"):
                            await computes(one)
                        where = [str(peer["where"]) for peer in status(relay)["peers"]]
                        assert where[0].startswith("203.0.113.7 by 127.0.0.1:")
            async with proxying(relay, {"X-Forwarded-For": "nonsense"}) as lost:
                with pytest.raises(LinkClosed, match="HTTP 400 Bad Request: X-Forwarded-For does not name an address"):
                    await computes(lost)


@pytest.mark.anyio
@pytest.mark.parametrize("proxies", [[], ["127.0.0.1"]])
async def test_what_comes_by_a_proxy_is_not_of_this_machine(proxies: List[str]) -> None:
    """Or all the world could come in to a relay that lets in this machine alone."""
    with anyio.fail_after(SECONDS):
        async with Relay(LOOPBACK, proxies=proxies) as relay:
            for head in ({"X-Forwarded-For": "127.0.0.1"}, {"Forwarded": "for=1.2.3.4"}, {"X-Real-IP": "1.2.3.4"}):
                if not proxies or "X-Forwarded-For" in head:
                    async with proxying(relay, head) as url:
                        with pytest.raises(Refused, match="comes from another machine"):
                            await computes(url)


@pytest.mark.anyio
async def test_pages_of_health_in_an_older_http() -> None:
    """As proxies ask for them."""
    endpoints = Endpoints()
    with anyio.fail_after(SECONDS):
        async with Relay(LOOPBACK, process_request=endpoints) as relay:
            endpoints.of(relay)
            for head, answer in (
                ("GET /readyz HTTP/1.0\r\n\r\n", b"HTTP/1.1 200 OK"),
                ("GET /nowhere HTTP/1.0\r\n\r\n", b"HTTP/1.1 404 Not Found"),
                (UPGRADE.replace("HTTP/1.1", "HTTP/1.0"), b"HTTP/1.1 426 Upgrade Required"),
            ):
                async with await anyio.connect_tcp("127.0.0.1", relay.port) as stream:
                    await stream.send(head.encode())
                    assert (await stream.receive()).startswith(answer)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def running(words: List[str], folder: Path) -> Iterator[None]:
    with open(folder / "log", "wb") as log, subprocess.Popen(words, stdout=log, stderr=log, cwd=folder) as process:
        try:
            yield
        finally:
            process.terminate()
            process.wait(SECONDS)


def certificates(folder: Path) -> str:
    """A certificate for localhost, as each proxy wants it; the file of its CA."""
    ca = trustme.CA()
    made = ca.issue_cert("localhost", "127.0.0.1")
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    made.cert_chain_pems[0].write_to_path(str(folder / "relay.crt"))
    made.private_key_pem.write_to_path(str(folder / "relay.key"))
    made.private_key_and_cert_chain_pem.write_to_path(str(folder / "relay.pem"))
    return str(folder / "ca.pem")


def nginx(folder: Path, relay: int, port: int) -> List[str]:
    """The sample, with other ports and files, within what nginx wants around it."""
    text = (DEPLOY / "proxies" / "nginx.conf").read_text("utf-8").replace("127.0.0.1:8765", f"127.0.0.1:{relay}")
    text = text.replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl").replace("/etc/ssl", str(folder))
    places = "".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log stderr; events {{ }}\nhttp {{ access_log off; {places}\n{text}\n}}"
    )
    return ["-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]


def haproxy(folder: Path, relay: int, port: int) -> List[str]:
    text = (DEPLOY / "proxies" / "haproxy.cfg").read_text("utf-8").replace("127.0.0.1:8765", f"127.0.0.1:{relay}")
    text = text.replace("bind :443", f"bind 127.0.0.1:{port}").replace("/etc/haproxy", str(folder))
    (folder / "haproxy.cfg").write_text(text.replace("maxconn 12000", "maxconn 100"))
    return ["-f", str(folder / "haproxy.cfg")]


PROXIES = {"nginx": (nginx, "-t"), "haproxy": (haproxy, "-c")}


def found(name: str) -> Optional[str]:
    return shutil.which(name, path=PATH)


async def comes_up(port: int) -> None:
    while True:
        try:
            await (await anyio.connect_tcp("127.0.0.1", port)).aclose()
            return
        except OSError:
            await anyio.sleep(0.02)


@pytest.mark.anyio
@pytest.mark.parametrize("name", PROXIES)
async def test_a_relay_behind_a_real_proxy(name: str, tmp_path: Path) -> None:
    program = found(name)
    if program is None:
        pytest.skip(f"there is no {name} here")
    made, check = PROXIES[name]
    ca, port, endpoints, key = certificates(tmp_path), free_port(), Endpoints(), Key.new()
    context = client_context(ca)
    with anyio.fail_after(SECONDS):
        async with Relay(LOOPBACK, proxies=["127.0.0.1"], insecure=True, process_request=endpoints) as relay:
            endpoints.of(relay)
            words = [program, *made(tmp_path, relay.port, port)]
            checked = await anyio.run_process([*words, check], check=False)
            assert checked.returncode == 0, checked.stderr
            with running(words, tmp_path):
                await comes_up(port)
                url = f"wss://localhost:{port}"
                async with Worker("alice", url, ssl=context, key=key):
                    assert await computes(url, ssl=context) == 200_000
                    (where,) = [str(peer["where"]) for peer in status(relay)["peers"]]
                    assert where.startswith("127.0.0.1:")
                    relay.door.close("the relay ends")
                    with pytest.raises(LinkClosed, match="HTTP 503 Service Unavailable: the relay ends"):
                        await computes(url, ssl=context)
            assert (await ask(relay, "/readyz"))[0] == 200


def test_caddy_takes_its_sample() -> None:
    program = found("caddy")
    if program is None:
        pytest.skip("there is no caddy here")
    words = [program, "validate", "--adapter", "caddyfile", "--config", str(DEPLOY / "proxies" / "Caddyfile")]
    assert subprocess.run(words, timeout=SECONDS, check=False).returncode == 0


@pytest.mark.parametrize("sample", ["nginx.conf", "haproxy.cfg", "Caddyfile"])
def test_each_sample_tells_the_relay_for_whom_it_speaks(sample: str) -> None:
    text = (DEPLOY / "proxies" / sample).read_text("utf-8")
    assert "X-Forwarded-For" in text
    assert "--trusted-proxy 127.0.0.1" in text
    assert "/readyz" in text
    assert not re.search(r"^[^#\n]*/(metrics|status)", text, re.MULTILINE)
