"""What a relay has counted: as plain data, and for Prometheus."""

from __future__ import annotations

from collections import Counter
from typing import Any, Dict, Iterator, List

import anyio
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..identity import key_text
from ..peer import DRIVER, WORKER
from ..relay import Relay
from .limits import limit_families


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
        "waiting": relay.waiting,
        "joined": relay.peers_joined,
        "refused": relay.peers_refused,
        "replaced": relay.peers_replaced,
        "slow_consumers": relay.slow_consumers,
        "credit_exceeded": relay.credit_exceeded,
        "slowed": relay.slowed,
    }


_COUNTERS = {
    "frames": ("frames", "Frames passed on from peer to peer."),
    "bytes": ("bytes", "Bytes of frames passed on from peer to peer."),
    "joined": ("joins", "Links of peers that joined; one that dials again joins again."),
    "refused": ("refusals", "Peers that were refused: no key or token that is good here, a name that is taken."),
    "replaced": ("replacements", "Links that gave way to a newer one of the same peer, as a half-open one does."),
    "slow_consumers": ("slow_consumers", "Peers that were cut because they did not read."),
    "credit_exceeded": ("credit_exceeded", "Conversations that were ended because one end sent more than its credit."),
    "slowed": ("slowed", "Times that a peer was not read from for a while, because it sent faster than it may."),
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
        used = {"max_peers": len(relay.members), "max_waiting": relay.waiting}
        yield from limit_families("relay", relay.limits, used, relay.door)
