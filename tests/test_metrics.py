"""What a relay tells over plain HTTP: read by Prometheus' own parser, kept from who should not read it."""

from __future__ import annotations

import json
from typing import Any, AsyncIterator, Dict, Optional, Tuple

import anyio
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

import asyncsyft
from asyncsyft import Relay, Worker
from asyncsyft.errors import LinkClosed, Refused, WorkerLost
from asyncsyft.identity import Admission, Key, KnownPeers, key_text
from asyncsyft.metrics import Endpoints, counts, pages, status
from asyncsyft.testing import cluster
from tests.journeys.kit import LOOPBACK, until

pytestmark = pytest.mark.anyio
SECONDS = 30


async def ask(relay: Relay, path: str, *headers: str) -> Tuple[int, str, bytes]:
    """GET a path: status, content type and body."""
    with anyio.fail_after(SECONDS):
        async with await anyio.connect_tcp("127.0.0.1", relay.port) as stream:
            await stream.send("\r\n".join([f"GET {path} HTTP/1.1", "Host: h", *headers, "", ""]).encode())
            data = b""
            async for piece in stream:
                data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    types = [line.partition(": ")[2] for line in lines if line.lower().startswith("content-type:")]
    return int(lines[0].split()[1]), types[0], body


def values(body: bytes) -> Dict[Any, float]:
    """Samples by name and labels."""
    families = text_string_to_metric_families(body.decode())
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


@pytest.fixture
async def told() -> AsyncIterator[Relay]:
    """A relay that tells of itself."""
    endpoints = Endpoints()
    async with Relay("127.0.0.1:0", process_request=endpoints) as relay:
        endpoints.of(relay)
        yield relay


async def test_metrics_count_what_passes(told: Relay) -> None:
    before = values((await ask(told, "/metrics"))[2])
    assert before["asyncsyft_relay_peers", "worker"] == 0
    async with Worker("alice", told.url), asyncsyft.connect(told.url) as driver:
        with anyio.fail_after(SECONDS):
            (alice,) = await driver.wait_for("alice")
            x = await alice.send(np.ones(1000))
            assert (await (x + x).get()).sum() == 2000
        code, kind, body = await ask(told, "/metrics")
        now = values(body)
        with pytest.raises(Refused, match="taken"):
            async with Worker("alice", told.url):
                pass
    assert code == 200
    assert kind.startswith("text/plain")
    assert now["asyncsyft_relay_peers", "worker"] == now["asyncsyft_relay_peers", "driver"] == 1
    assert now["asyncsyft_relay_joins_total",] == 2
    assert now["asyncsyft_relay_bytes_total",] > 16_000
    assert 0 < now["asyncsyft_relay_frames_total",] < 100
    assert now["asyncsyft_relay_link_bytes_total", "received"] > now["asyncsyft_relay_bytes_total",]
    assert now["asyncsyft_relay_link_messages_total", "sent"] > 0
    assert now["asyncsyft_relay_draining",] == 0

    after = values((await ask(told, "/metrics"))[2])
    assert after["asyncsyft_relay_peers", "driver"] == 0
    assert after["asyncsyft_relay_refusals_total",] == 1
    for name in now:
        if name[0].startswith("asyncsyft") and name[0].endswith("_total"):
            assert after[name] >= now[name] >= before[name], name  # also when links have ended


async def test_two_relays_in_one_process_have_metrics_of_their_own(told: Relay) -> None:
    endpoints = Endpoints()
    async with Relay("127.0.0.1:0", process_request=endpoints) as other:
        endpoints.of(other)
        async with asyncsyft.connect(other.url):
            assert values((await ask(other, "/metrics"))[2])["asyncsyft_relay_joins_total",] == 1
            assert values((await ask(told, "/metrics"))[2])["asyncsyft_relay_joins_total",] == 0


async def test_status_says_who_is_there(told: Relay) -> None:
    async with Worker("alice", told.url), asyncsyft.connect(told.url, name="me"):
        code, kind, body = await ask(told, "/status")
        found = json.loads(body)
    assert (code, kind) == (200, "application/json")
    peers = [(peer["name"], peer["role"], peer["where"].split(":")[0]) for peer in found["peers"]]
    assert peers == [("alice", "worker", "127.0.0.1"), ("me", "driver", "127.0.0.1")]
    assert all(peer["age"] >= 0 and peer["waiting"] == 0 for peer in found["peers"])
    assert found["joined"] == 2
    assert found["draining"] is False


async def test_health_and_readiness(told: Relay) -> None:
    assert (await ask(told, "/healthz"))[::2] == (200, b"ok\n")
    assert (await ask(told, "/readyz"))[::2] == (200, b"ready\n")
    assert (await ask(told, "/elsewhere"))[0] == 404


async def test_a_relay_that_drains_is_alive_and_not_ready() -> None:
    """While a peer that does not answer the close keeps the relay from ending."""
    endpoints = Endpoints()
    relay = Relay("127.0.0.1:0", process_request=endpoints)
    leave = anyio.Event()
    ended = anyio.Event()

    async def serve(*, task_status: Any = anyio.TASK_STATUS_IGNORED) -> None:
        async with relay:
            endpoints.of(relay)
            task_status.started()
            await leave.wait()
        ended.set()

    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    upgrade = f"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{key}\r\n"
    async with anyio.create_task_group() as tasks:
        await tasks.start(serve)
        with anyio.fail_after(SECONDS):
            async with await anyio.connect_tcp("127.0.0.1", relay.port) as stuck:
                more = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: asyncsyft.v1\r\n\r\n"
                await stuck.send((upgrade + more).encode())
                assert b" 101 " in await stuck.receive()
                leave.set()
                assert await stuck.receive()  # the goodbye
                assert (await ask(relay, "/readyz"))[::2] == (503, b"draining\n")
                assert (await ask(relay, "/healthz"))[0] == 200
                with pytest.raises(LinkClosed, match="the relay ends"):
                    async with asyncsyft.connect(relay.url):
                        pass
                assert not ended.is_set()
            await ended.wait()


async def test_figures_are_for_who_shows_the_token() -> None:
    endpoints, mine = Endpoints("open sesame"), Key.new()
    admission = Admission(known=KnownPeers({"me": key_text(mine.public)}))
    async with Relay("127.0.0.1:0", admission=admission, process_request=endpoints) as relay:
        endpoints.of(relay)
        for path in ("/metrics", "/status"):
            assert (await ask(relay, path))[0] == 401
            assert (await ask(relay, path, "Authorization: Bearer open barley"))[0] == 401
            assert (await ask(relay, path, "Authorization: Bearer open sesame"))[0] == 200
        assert (await ask(relay, "/readyz"))[0] == 200
        async with asyncsyft.connect(relay.url, name="me", key=mine):
            found = json.loads((await ask(relay, "/status", "Authorization: Bearer open sesame"))[2])
    assert found["peers"][0]["key"] == key_text(mine.public)


async def test_a_process_that_takes_the_place_of_another_keeps_it(told: Relay) -> None:
    """With the same key; the other is told, and does not dial again."""
    key = Key.new()
    async with Worker("alice", told.url, key=key) as first, asyncsyft.connect(told.url) as driver:
        x = await driver["alice"].send(np.ones(3))
        await x.get()
        async with Worker("alice", told.url, key=key) as second:
            with anyio.fail_after(SECONDS):
                with pytest.raises(Refused, match="another process took the place of alice, with the same key"):
                    await first.closed()
                with pytest.raises(WorkerLost):
                    await (x + 1).get()
                (alice,) = await driver.wait_for("alice")
                assert (await (await alice.send(np.ones(3))).get()).sum() == 3
            assert second.peer.redials == 0
        found = values((await ask(told, "/metrics"))[2])
    assert found["asyncsyft_relay_replacements_total",] == 1
    assert first.peer.redials == 0


async def test_a_worker_counts_how_often_its_link_came_back() -> None:
    async with Relay("127.0.0.1:0") as relay:
        async with Worker("alice", relay.url) as alice, asyncsyft.connect(relay.url) as driver:
            with anyio.fail_after(SECONDS):
                x = await driver["alice"].send(np.ones(3))
                await x.get()
                before = await driver["alice"].stats()
                for member in list(relay.members.values()):
                    member.link.transport.abort()
                after = await driver["alice"].stats()
            assert driver.peer.redials == driver.peer.conversations.resumed == 1
            assert alice.peer.redials == 1
    assert (before["redials"], before["resumed"]) == (0, 0)
    assert (after["redials"], after["resumed"]) == (1, 1)


@pytest.mark.parametrize(
    ("address", "token", "insecure", "code"),
    [
        ("127.0.0.1:1", None, False, 200),
        ("::1:1", None, False, 200),
        ("0.0.0.0:1", None, False, 403),
        ("10.0.0.1:1", None, False, 403),
        ("0.0.0.0:1", None, True, 200),
        ("127.0.0.1:1", "token", True, 401),
    ],
)
async def test_figures_without_a_token_stay_on_this_machine(
    address: str, token: Optional[str], insecure: bool, code: int
) -> None:
    async with Relay() as relay:
        relay.address = address
        endpoints = Endpoints(token, insecure)
        endpoints.of(relay)
        answer = endpoints("/status", {})
        assert answer is not None
        assert answer[0] == code


async def test_before_there_is_a_relay() -> None:
    answer = Endpoints()("/readyz", {})
    assert answer is not None
    assert answer[0] == 503


async def test_counts_in_memory() -> None:
    async with cluster("alice") as made:
        x = await made.driver.worker("alice").send([1.0, 2.0])
        await x.get()
        found = counts(made.relay)
        assert found["frames"] >= 2
        assert found["bytes"] > 16
        assert [peer["where"] for peer in status(made.relay)["peers"]] == ["memory", "memory"]


async def test_figures_without_a_token_are_not_for_a_proxy_that_speaks_for_others() -> None:
    async with Relay(LOOPBACK) as relay:
        endpoints = Endpoints()
        endpoints.of(relay)
        for header in ("X-Forwarded-For", "Forwarded", "X-Real-IP"):
            answer = endpoints("/metrics", {header: "203.0.113.9"})
            assert answer is not None
            assert answer[0] == 403
        answer = endpoints("/healthz", {"X-Forwarded-For": "203.0.113.9"})
        assert answer is not None
        assert answer[0] == 200


async def test_a_worker_is_ready_while_it_has_a_relay() -> None:
    endpoints = Endpoints()

    def ready() -> Any:
        answer = endpoints("/readyz", {})
        assert answer is not None
        return answer[::2]

    with anyio.fail_after(SECONDS):
        async with Relay(LOOPBACK) as relay, Worker("alice", relay.url) as alice:
            endpoints.of(alice, "127.0.0.1:1")
            assert ready() == (200, b"ready\n")
            page = endpoints("/status", {})
            assert page is not None
            assert json.loads(page[2])["name"] == "alice"
            await relay.drain(0)
            for member in list(relay.members.values()):
                member.link.transport.abort()
            await until(lambda: ready()[0] == 503)
            assert ready() == (503, b"no relay is there\n")
            await alice.drain(0)
            assert ready() == (503, b"draining\n")


async def test_a_worker_s_pages_have_a_port_of_their_own() -> None:
    endpoints = Endpoints("open sesame")
    with anyio.fail_after(SECONDS):
        async with Worker("alice") as alice, pages(endpoints, LOOPBACK) as address:
            endpoints.of(alice, address)
            where = Worker("nobody")
            where.address = address
            found: Any = where
            assert (await ask(found, "/healthz"))[0] == 200
            assert (await ask(found, "/metrics"))[0] == 401
            code, _, body = await ask(found, "/metrics", "Authorization: Bearer open sesame")
            assert (code, values(body)["asyncsyft_worker_draining",]) == (200, 0)
            with pytest.raises(LinkClosed, match="there are pages here, and nobody to talk to"):
                async with asyncsyft.connect(f"ws://{address}"):
                    pass
