"""What is told when something is wrong, and to whom; and that no log holds what tensors hold, nor secrets."""

from __future__ import annotations

import base64
import logging
import os
import urllib.request
from pathlib import Path
from typing import Any, Dict, List, Tuple

import anyio
import anyio.to_thread
import numpy as np
import pytest

import asyncsyft
from asyncsyft import MPC, plan, wire
from asyncsyft.errors import LinkClosed, OpFailed, RemoteError, RemoteProtocolError
from asyncsyft.identity import Admission, Authority, Key, authority_text
from asyncsyft.metrics import Endpoints
from tests.cli.conftest import start as start  # a fixture
from tests.cli.kit import url_in
from tests.journeys.kit import LOOPBACK, SECONDS, bystander, town, until
from tests.journeys.scripted import packed, scripted

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]

#: A value that is found nowhere by chance, as a number and as bytes.
SECRET = 471108.150042
DATA = np.full(6, SECRET)


def spellings(secret: bytes) -> List[str]:
    """How bytes may look in a log."""
    return [
        secret.hex(),
        repr(secret)[2:-1],
        base64.b64encode(secret).decode().rstrip("="),
        base64.urlsafe_b64encode(secret).decode().rstrip("="),
        str(list(secret))[1:-1],
    ]


def check(log: str, *secrets: Any) -> None:
    """None of these is in it."""
    shown = ["471108", "4.711081"]
    shown += spellings(np.float64(SECRET).tobytes()) + spellings(np.float32(SECRET).tobytes())
    for secret in secrets:
        shown += spellings(secret) if isinstance(secret, bytes) else [secret]
    for text in shown:
        assert len(text) > 3
        assert text not in log, log[max(0, log.index(text) - 300) : log.index(text) + 100]


def private_bytes(key: Any) -> bytes:
    return bytes(key.private.private_bytes_raw())


async def works(driver: asyncsyft.Driver) -> None:
    """What passes by in a day: tensors, plans, moves, failures of several kinds."""

    @plan
    def scaled(x: Any) -> Any:
        return x * DATA

    alice = driver["alice"]
    x = await alice.send(DATA, name="salaries", tags=["secret"])
    large = await alice.send(np.full(100_000, SECRET))
    assert (await (x + x).get())[0] == 2 * SECRET
    assert (await scaled(x).get())[0] == SECRET * SECRET
    assert (await large.sum().get()) == pytest.approx(100_000 * SECRET)
    for wrong in (
        lambda: alice.call("linalg.inv", alice.zeros((2, 2)) * SECRET),
        lambda: x[471108],
        lambda: alice.call("no such op", x),
        lambda: alice.call("reshape", x, shape=(4, 4)),
        lambda: x @ alice.ones((3, 3)),
    ):
        with pytest.raises(Exception):  # noqa: B017, PT011 - each its own, here or there
            await wrong().get()
    await driver.flush()


# No secrets.


async def test_a_relay_and_a_worker_that_say_all_they_can_show_no_secrets(start: Any, tmp_path: Path) -> None:
    authority, keys = Authority.new(), {name: Key.new() for name in ("relay", "alice", "me")}
    for name, key in keys.items():
        key.save(tmp_path / name)
    (tmp_path / "authority").write_text(authority_text(authority.public))
    tokens = {
        name: authority.issue([name], [role], ["*"], expires=2**33, key=keys[name].public)
        for name, role in (("alice", "worker"), ("me", "driver"))
    }
    np.save(tmp_path / "x.npy", DATA)
    env = {"ASYNCSYFT_METRICS_TOKEN": "open-sesame-4711"}
    words = ["--authority", str(tmp_path / "authority"), "--key", str(tmp_path / "relay"), "-vv"]
    relay = start("relay", "--listen", "127.0.0.1:0", *words, env=env)
    url = url_in(relay.line())
    words = ["--key", str(tmp_path / "alice"), "--load", f"x={tmp_path / 'x.npy'}", "--keep", str(tmp_path / "kept")]
    alice = start("worker", "--name", "alice", "--relay", url, *words, "-vv", env={"ASYNCSYFT_TOKEN": tokens["alice"]})
    alice.line()
    with anyio.fail_after(2 * SECONDS):
        async with asyncsyft.connect(url, name="me", key=keys["me"], token=tokens["me"]) as driver:
            await driver.wait_for("alice")
            await works(driver)
        with pytest.raises(RemoteError):  # a token that came in vain is one still
            async with asyncsyft.connect(url, name="you", key=keys["me"], token=tokens["me"]):
                pass
        async with scripted(await asyncsyft.websocket.dial(url)) as mallory:  # who holds it in the wrong place
            token = tokens["me"]
            hello = [1, "mallory", "driver", b"incarnat", token.encode(), {token: 1}, token, b""]
            mallory.say(packed(wire.HELLO, hello))
            await mallory.ended.wait()
        request = urllib.request.Request(url.replace("ws", "http") + "/status")
        request.add_header("Authorization", "Bearer open-sesame-4711")
        await anyio.to_thread.run_sync(lambda: urllib.request.urlopen(request).read())
        said = []
        for command in (alice, relay):
            command.signal(2)
            _, out, errors = await anyio.to_thread.run_sync(command.end)
            said.append(out + errors)
            assert " DEBUG " in errors
    secrets = [part for token in tokens.values() for part in token.split(".")[1:]]
    check("".join(said), "open-sesame", *secrets, *[private_bytes(key) for key in keys.values()])


async def test_what_is_said_in_a_session_is_not_logged(caplog: pytest.LogCaptureFixture, monkeypatch: Any) -> None:
    caplog.set_level(logging.DEBUG)
    drawn: List[bytes] = []

    def noted(size: int) -> bytes:
        drawn.append(urandom(size))
        return drawn[-1]

    urandom = os.urandom
    monkeypatch.setattr(os, "urandom", noted)
    async with town("relay", "alice", "bob", "carol") as made, made.connect() as driver:
        alice, bob, carol = await driver.wait_for("alice", "bob", "carol")
        await works(driver)
        lives = {peer.incarnation for peer in (driver.peer, *[worker.peer for worker in made.workers.values()])}
        async with MPC(parties=[alice, bob], dealer=carol, insecure=True) as mpc:
            shared = await mpc.share(DATA / 1e6)
            assert (await (shared + shared).reveal())[0] == pytest.approx(2 * SECRET / 1e6, abs=1e-3)
    assert caplog.text
    assert len(drawn) > 5
    check(caplog.text, *[piece for piece in drawn if len(piece) >= 16 and piece not in lives])


# Who, which message, why.

BAD_FRAMES: Dict[str, Tuple[bytes, int, int, str]] = {
    "an unknown kind": (packed(99, [], number=7), 99, 7, "unknown kind of frame: 99"),
    "flags": (packed(wire.PING, [], flags=0x40, number=8), wire.PING, 8, "unknown flags 0x40"),
    "a meta that is none": (packed(wire.SEEK, [[1]], number=9), wire.SEEK, 9, "malformed"),
    "a forged sender": (packed(wire.PING, [], sender=3, number=10), wire.PING, 10, "who sends a frame"),
    "a second hello": (packed(wire.HELLO, [1, "m", "driver", b"incarnat", None, {}]), wire.HELLO, 0, "not for a relay"),
}


@pytest.mark.parametrize(("said", "kind", "number", "why"), BAD_FRAMES.values(), ids=BAD_FRAMES)
async def test_who_breaks_the_rules_of_a_relay_is_told_and_so_is_its_log(
    caplog: pytest.LogCaptureFixture, said: bytes, kind: int, number: int, why: str
) -> None:
    caplog.set_level(logging.WARNING)
    async with town("memory", "alice") as made, bystander(made):
        async with scripted(await made.dial()) as mallory:
            await mallory.hello("mallory")
            mallory.say(packed(wire.PING, [], number=3), said)
            await mallory.ended.wait()
            for told in (str(mallory.outcome), caplog.text):
                assert f"frame of kind {kind}, id {number}: " in told
                assert why in told
        assert "mallory at memory broke the protocol" in caplog.text


BAD_REQUESTS: Dict[str, Tuple[bytes, str]] = {
    "a gap": (packed(wire.PROGRAM, [0, [], []], number=5), "id 5"),
    "a program that is none": (packed(wire.PROGRAM, [0, 7, []], number=1), "a program is a number, a list of steps"),
    "chunks of no step": (packed(wire.PROGRAM, [0, [["get", 0, [1]]], [4]], number=1), "step 4 announces no chunks"),
}


@pytest.mark.parametrize("road", ["memory", "direct"])
@pytest.mark.parametrize(("said", "why"), BAD_REQUESTS.values(), ids=BAD_REQUESTS)
async def test_who_breaks_the_rules_of_a_worker_is_told_and_so_is_its_log(
    caplog: pytest.LogCaptureFixture, road: str, said: bytes, why: str
) -> None:
    caplog.set_level(logging.WARNING)
    async with town(road, "alice") as made, bystander(made):
        async with scripted(await made.dial()) as mallory:
            await mallory.hello("mallory")
            alice = mallory.find("alice") if road == "memory" else None
            worker = made.workers["alice"].peer
            await mallory.resume(alice.number if alice else 0, worker.incarnation)
            number, kind = wire.HEADER.unpack_from(said)[6], wire.PROGRAM
            header = bytearray(said)
            header[4:8] = (alice.number if alice else 0).to_bytes(4, "little")
            mallory.say(bytes(header))
            goodbye = await mallory.says(wire.GOODBYE)
            assert goodbye.code == RemoteProtocolError.__name__
            for told in (goodbye.reason, caplog.text):
                assert f"frame of kind {kind}, id {number}: " in told
                assert why in told
            assert "alice: mallory broke the protocol" in caplog.text


async def test_the_failure_of_a_step_says_where_which_and_why() -> None:
    async with town("memory", "alice") as made, made.connect() as driver:
        (alice,) = await driver.wait_for("alice")
        x = alice.zeros((3, 3))
        await driver.flush()
        asked = alice.conversation.last_id
        with pytest.raises(OpFailed, match="Singular") as caught:
            await alice.call("linalg.inv", x).get()
        error = caught.value
        assert (error.worker, error.op) == ("alice", "linalg.inv")
        assert error.request is not None
        assert error.request[0] == asked + 1
        assert "test_telling.py" in str(error)


@pytest.mark.parametrize(
    ("name", "role", "code"), [("alice", "worker", "Refused"), ("", "driver", "Refused"), ("x", "king", "Refused")]
)
async def test_who_is_refused_is_told_and_so_is_the_log(
    caplog: pytest.LogCaptureFixture, name: str, role: str, code: str
) -> None:
    caplog.set_level(logging.INFO)
    async with town("memory", "alice") as made:
        async with scripted(await made.dial()) as mallory:
            mallory.say(packed(wire.HELLO, [1, name, role, b"incarnat", None, {}]))
            goodbye = await mallory.says(wire.GOODBYE)
            assert goodbye.code == code
            assert goodbye.reason in caplog.text
            await mallory.ended.wait()


async def test_headers_with_tokens_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Nor are they by the package that reads them."""
    caplog.set_level(logging.DEBUG)
    endpoints = Endpoints("open-sesame")
    admission = Admission(insecure=True)
    with anyio.fail_after(SECONDS):
        async with asyncsyft.Relay(LOOPBACK, process_request=endpoints, admission=admission) as relay:
            endpoints.of(relay)
            for last in ("", "Upgrade: websocket\r\nConnection: Upgrade\r\nOrigin: https://evil.example\r\n"):
                async with await anyio.connect_tcp("127.0.0.1", relay.port) as stream:
                    head = f"GET / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer open-sesame\r\n{last}\r\n"
                    await stream.send(head.encode())
                    assert await stream.receive()
            headers = {"Authorization": "Bearer open-sesame"}
            near = await asyncsyft.websocket.dial(relay.url, headers=headers)
            near.abort()
            with pytest.raises(LinkClosed):
                await near.run(_Nobody())
            await until(lambda: not relay._links)
    assert "open-sesame" not in caplog.text


class _Nobody:
    def pull(self) -> None:
        """Nothing to send."""

    def receive(self, message: memoryview) -> None:
        """Nobody listens."""
