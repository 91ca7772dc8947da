"""Who is let in: tokens, strangers from other machines, TLS, and doors where nobody is."""

from __future__ import annotations

import socket
import ssl
import warnings
from typing import Any, Iterator, Tuple

import anyio
import numpy as np
import pytest

import asyncsyft
from asyncsyft.errors import LinkClosed, Refused
from asyncsyft.identity import Admission, Authority, Key
from asyncsyft.relay import Relay
from asyncsyft.transport import memory_pair
from asyncsyft.websocket import SUBPROTOCOL
from asyncsyft.worker import Worker
from tests.journeys.kit import LOOPBACK, SECONDS, bystander, town

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # cryptography will leave Python 3.8, and says so
    import trustme

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
async def in_time() -> Any:
    with anyio.fail_after(SECONDS):
        yield


@pytest.fixture(scope="module")
def contexts() -> Tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS contexts for the listener and the dialler."""
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


AUTHORITY = Authority.new()


def token(*names: str, **more: Any) -> str:
    return AUTHORITY.issue(names, more.pop("roles", ["driver", "worker"]), **{"expires": 1 << 33, **more})


WRONG = {
    "none": (None, "neither a key nor a token|a key only"),
    "no token": ("open sesame", "that is no token"),
    "of another authority": (Authority.new().issue(["*"], ["driver"], expires=1 << 33), "authority"),
    "for another name": (token("bob"), "is not for mallory as a driver"),
    "for another role": (token("mallory", roles=["worker"]), "is not for mallory as a driver"),
    "run out": (token("mallory", expires=1), "expired|run out"),
    "revoked": (token("mallory", id="stolen"), "stolen was revoked"),
    "bound to another key": (token("mallory", key=Key.new().public), "a key that was not proved"),
}


@pytest.mark.parametrize(("wrong", "why"), WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("door", ["relay", "worker"])
async def test_a_token_opens_and_nothing_else_does(door: str, wrong: Any, why: str) -> None:
    admission = Admission([AUTHORITY.public], revoked={"stolen"})
    async with Relay(LOOPBACK, admission=admission) as relay:
        shown = token("alice")
        async with Worker("alice", relay.url, listen=LOOPBACK, token=shown, admission=admission) as alice:
            url = relay.url if door == "relay" else f"ws://{alice.address}"
            async with asyncsyft.connect(url, name="me", token=token("me", "you")) as driver:
                await driver.wait_for("alice")
                with pytest.raises(Refused, match=why):
                    async with asyncsyft.connect(url, name="mallory", token=wrong):
                        pass
                x = await driver["alice"].send(np.ones(2))
                np.testing.assert_array_equal(await x.get(), np.ones(2))


async def test_a_token_says_whom_its_bearer_may_reach() -> None:
    async with Relay(LOOPBACK, admission=Admission([AUTHORITY.public])) as relay:
        async with Worker("alice", relay.url, token=token("alice")), Worker("bob", relay.url, token=token("bob")):
            async with asyncsyft.connect(relay.url, name="me", token=token("me", reach=["al*"])) as driver:
                (alice,) = await driver.wait_for("alice")
                assert await (await alice.send(np.ones(2))).get() is not None
                assert list(driver.workers) == ["alice"]
                (bob,) = [m.info.number for m in relay.members.values() if m.info and m.info.name == "bob"]
                (road,) = driver.peer.roads
                with pytest.raises(Refused, match="me may not reach bob"):
                    await driver.peer.ping(road, bob)


@pytest.mark.parametrize("insecure", [False, True])
async def test_strangers_from_elsewhere_need_a_token(insecure: bool) -> None:
    async with Relay(insecure=insecure) as relay:
        near, far = memory_pair()
        far.is_local, far.remote = False, "192.0.2.7:5000"
        relay.attach(far)
        async with Worker("alice") as worker:
            if insecure:
                await worker.join(near)
                assert [member.info.name for member in relay.members.values() if member.info] == ["alice"]
            else:
                with pytest.raises(Refused, match="alice comes from another machine"):
                    await worker.join(near)
                assert not relay.members


async def test_over_tls_with_a_ca(contexts: Tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    server, client = contexts
    async with Relay(LOOPBACK, ssl=server) as relay:
        url = f"wss://localhost:{relay.port}"
        assert relay.url.startswith("wss://")
        async with Worker("alice", url, ssl=client), asyncsyft.connect(url, ssl=client) as driver:
            (alice,) = await driver.wait_for("alice")
            ours = np.arange(1 << 17, dtype="<f8")
            np.testing.assert_array_equal(await (await alice.send(ours)).get(), ours)


async def test_over_tls_straight_to_a_worker(contexts: Tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    server, client = contexts
    async with Worker("alice", listen=LOOPBACK, ssl=server) as worker:
        async with asyncsyft.connect(f"wss://localhost:{worker.port}", ssl=client) as driver:
            x = await driver["alice"].send(np.ones(2))
            np.testing.assert_array_equal(await x.get(), np.ones(2))


async def test_a_certificate_that_nobody_vouches_for_is_refused(
    contexts: Tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    server, client = contexts
    async with Relay(LOOPBACK, ssl=server) as relay:
        with pytest.raises(LinkClosed, match="no TLS with"):
            async with asyncsyft.connect(relay.url):
                pass
        with pytest.raises(LinkClosed):  # it speaks TLS, we do not
            async with asyncsyft.connect(f"ws://localhost:{relay.port}"):
                pass
        assert not relay.members
        with pytest.raises(LinkClosed, match="no TLS with"):
            async with Worker("alice", f"wss://localhost:{relay.port}", ssl=ssl.create_default_context()):
                pass
        async with asyncsyft.connect(f"wss://localhost:{relay.port}", ssl=client):
            assert len(relay.members) == 1


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address at which nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield "ws://{}:{}".format(*held.getsockname())


async def test_no_relay_at_the_address(nobody: str) -> None:
    with pytest.raises(LinkClosed, match=f"no relay at {nobody}: connection refused"):
        async with asyncsyft.connect(nobody):
            pass
    with pytest.raises(LinkClosed, match="no relay at"):
        async with Worker("alice", nobody):
            pass
    with pytest.raises(ValueError, match="not a websocket URL"):
        async with asyncsyft.connect("http://127.0.0.1"):
            pass


async def raw_client(port: int, protocol: str) -> Tuple[Any, bytes]:
    """A connection after the opening handshake, and the head of the answer."""
    stream = await anyio.connect_tcp("127.0.0.1", port)
    await stream.send(
        b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Protocol: " + protocol.encode() + b"\r\n\r\n"
    )
    head = b""
    while b"\r\n\r\n" not in head:
        head += await stream.receive()
    return stream, head


async def test_another_subprotocol_is_refused_with_its_name() -> None:
    async with town("relay", "alice") as made, bystander(made):
        stream, head = await raw_client(made.relay.port, "graphql-ws")
        async with stream:
            assert head.startswith(b"HTTP/1.1 4")
            while SUBPROTOCOL.encode() not in head:
                head += await stream.receive()


async def test_a_relay_of_another_subprotocol_is_no_relay() -> None:
    async def answer(stream: Any) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, answer)
        with pytest.raises(LinkClosed, match="refused: HTTP 200 OK: hello"):
            async with asyncsyft.connect(f"ws://127.0.0.1:{port}"):
                pass
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("data", [b"\x81\x85\0\0\0\0hello", b"\x82\x85\0\0\0\0hello", b"\x82\xff\xff\xff\xff\xff\xff"])
async def test_text_and_nonsense_cost_the_link_that_they_came_on(data: bytes, monkeypatch: Any) -> None:
    monkeypatch.setattr("asyncsyft.websocket.core.CLOSE_TIMEOUT", 0.05)  # this client answers no close frame
    async with town("relay", "alice") as made, bystander(made):
        stream, head = await raw_client(made.relay.port, SUBPROTOCOL)
        async with stream:
            assert b" 101 " in head
            await stream.send(data + bytes(16))
            answer = b""
            with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                while True:
                    answer += await stream.receive()
            while answer[:1] == b"\x82":  # the challenge, on its way already
                answer = answer[2 + answer[1] :]
            assert answer[:1] == b"\x88"  # a close frame says why
            assert int.from_bytes(answer[2:4], "big") in (1002, 1003, 1009)
