"""What a relay tells over plain HTTP on its own port: is it well, is it ready, what has it counted.

It reads the relay's counters; it knows nothing of what passes, and no socket. Needs prometheus-client (``[cli]``).
"""

from __future__ import annotations

import hmac
import ipaddress
import json
from collections import Counter
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Tuple

import anyio
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from .identity import key_text
from .peer import DRIVER, WORKER, split_address
from .relay import Relay

Answer = Tuple[int, str, bytes]
_TEXT = "text/plain; charset=utf-8"


class Endpoints:
    """Answers ``/healthz``, ``/readyz``, ``/metrics`` and ``/status``: give it to ``Relay(process_request=...)``.

    The first two are for everyone. The others are for who shows ``token`` (``Authorization: Bearer ...``), a secret of
    these pages alone; without one, for all who can reach a relay that listens on loopback only, or is ``insecure``.
    """

    def __init__(self, token: Optional[str] = None, insecure: bool = False) -> None:
        self._token, self._insecure = token, insecure
        self._relay: Optional[Relay] = None
        self._registry = CollectorRegistry()
        self._pages: Mapping[str, Callable[[Relay], Answer]] = {
            "/healthz": lambda relay: (200, _TEXT, b"ok\n"),
            "/readyz": _ready,
            "/metrics": lambda relay: (200, CONTENT_TYPE_LATEST, generate_latest(self._registry)),
            "/status": lambda relay: (200, "application/json", json.dumps(status(relay)).encode() + b"\n"),
        }

    def of(self, relay: Relay) -> None:
        """Tell of this relay from now on."""
        self._relay = relay
        self._registry.register(RelayCollector(relay))
        ProcessCollector(registry=self._registry)

    def __call__(self, path: str, headers: Mapping[str, str]) -> Optional[Answer]:
        """As ``process_request``: None for paths that are not of here."""
        page = self._pages.get(path)
        if page is None:
            return None
        if self._relay is None:
            return 503, _TEXT, b"starting\n"
        problem = None if path in ("/healthz", "/readyz") else self._keep_out(self._relay, headers)
        return problem or page(self._relay)

    def _keep_out(self, relay: Relay, headers: Mapping[str, str]) -> Optional[Answer]:
        if self._token is not None:
            shown = headers.get("authorization", "")
            if hmac.compare_digest(shown.encode(), f"Bearer {self._token}".encode()):
                return None
            return 401, _TEXT, b"the token is missing or wrong: Authorization: Bearer TOKEN\n"
        # Who asks is not known here, but a caller of a loopback address is on this machine.
        if self._insecure or ipaddress.ip_address(split_address(relay.address)[0].partition("%")[0]).is_loopback:
            return None
        return 403, _TEXT, b"give the relay a token for this (--metrics-token)\n"


def _ready(relay: Relay) -> Answer:
    return (503, _TEXT, b"draining\n") if relay.draining else (200, _TEXT, b"ready\n")


def status(relay: Relay) -> Dict[str, Any]:
    """Who is there and what has passed, as plain data: ages in seconds, sizes in bytes."""
    now = anyio.current_time()
    peers: List[Dict[str, Any]] = []
    for member in relay.members.values():
        if member.info is not None:
            number, name, role, _, key = member.info
            where, age = member.link.transport.remote, round(now - member.joined, 3)
            mine = {"key": key_text(key) if key else None, "frames": member.frames, "waiting": member.waiting}
            peers.append({"number": number, "name": name, "role": role, "where": where, "age": age, **mine})
    return {"draining": relay.draining, "peers": peers, **counts(relay)}


def counts(relay: Relay) -> Dict[str, int]:
    """The relay's counters by name; all but ``waiting`` only grow."""
    return {
        **relay.totals(),
        "bytes": relay.bytes_passed,
        "waiting": sum(member.waiting for member in relay.members.values()),
        "joined": relay.peers_joined,
        "refused": relay.peers_refused,
        "replaced": relay.peers_replaced,
        "slow_consumers": relay.slow_consumers,
        "credit_exceeded": relay.credit_exceeded,
    }


_COUNTERS = {
    "frames": ("frames", "Frames passed on from peer to peer."),
    "bytes": ("bytes", "Bytes of frames passed on from peer to peer."),
    "joined": ("joins", "Links of peers that joined; one that dials again joins again."),
    "refused": ("refusals", "Peers that were refused: no key or token that is good here, a name that is taken."),
    "replaced": ("replacements", "Links that gave way to a newer one of the same peer, as a half-open one does."),
    "slow_consumers": ("slow_consumers", "Peers that were cut because they did not read."),
    "credit_exceeded": ("credit_exceeded", "Conversations that were ended because one end sent more than its credit."),
}


class RelayCollector(Collector):
    """The relay's counters as Prometheus metrics, read when they are asked for."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def collect(self) -> Iterator[Metric]:
        """One family a metric."""
        relay, now = self._relay, counts(self._relay)
        for name, (shown, text) in _COUNTERS.items():
            yield CounterMetricFamily(f"asyncsyft_relay_{shown}", text, value=now[name])
        for unit, text in (("bytes", "Bytes on the wire, framing included."), ("messages", "Websocket messages.")):
            family = CounterMetricFamily(f"asyncsyft_relay_link_{unit}", text, labels=["direction"])
            for direction in ("sent", "received"):
                family.add_metric([direction], now[f"{unit}_{direction}"])
            yield family
        roles = Counter(member.info.role for member in relay.members.values() if member.info is not None)
        peers = GaugeMetricFamily("asyncsyft_relay_peers", "Peers that are there.", labels=["role"])
        for role in (DRIVER, WORKER):
            peers.add_metric([role], roles[role])
        yield peers
        yield GaugeMetricFamily("asyncsyft_relay_waiting_bytes", "Bytes that wait to be sent.", value=now["waiting"])
        yield GaugeMetricFamily("asyncsyft_relay_draining", "1 while the relay ends.", value=int(relay.draining))
