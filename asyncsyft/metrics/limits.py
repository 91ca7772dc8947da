"""Limits for Prometheus: what they are, what is used of them, and how often they kept somebody out."""

from __future__ import annotations

from typing import Any, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from ..limits import bounds
from ..websocket import Door


def limit_families(who: str, limits: Any, used: Mapping[str, float], door: Door) -> Iterator[Metric]:
    """The limits of a relay or a worker; 0 is no limit."""
    used = {**used, "max_per_address": max(door.places.values(), default=0)}
    text = "What may be used up at most: bytes, seconds or a number; 0: no limit."
    most = GaugeMetricFamily(f"asyncsyft_{who}_limit", text, labels=["limit"])
    text = "What is used of these limits, by whoever uses most."
    now = GaugeMetricFamily(f"asyncsyft_{who}_used", text, labels=["limit"])
    for one in bounds(limits):
        most.add_metric([one.name], getattr(limits, one.name))
        if one.name in used:
            now.add_metric([one.name], used[one.name])
    yield most
    yield now
    yield GaugeMetricFamily(f"asyncsyft_{who}_connections", "Websockets that came in.", value=door.open)
    why = CounterMetricFamily(f"asyncsyft_{who}_turned_away", "Connections that were not let in.", labels=["why"])
    for reason, count in door.turned_away.items():
        why.add_metric([reason], count)
    yield why
