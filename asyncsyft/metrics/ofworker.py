"""What a worker has counted: as plain data, and for Prometheus."""

from __future__ import annotations

from typing import Any, Dict, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..worker import Worker
from .limits import limit_families


def worker_status(worker: Worker) -> Dict[str, Any]:
    """What it holds and what it has done, as plain data: sizes in bytes."""
    store, executor, peer = worker.store, worker.executor, worker.peer
    return {
        "name": worker.name,
        "draining": worker.draining,
        "steps": executor.steps_run,
        "jobs": len(executor.jobs),
        "running": executor.turns.running,
        "objects": store.objects,
        "bytes": store.nbytes,
        "limit": store.limit,
        "bound": store.bound,
        "conversations": len(peer.conversations.by_life),
        "redials": peer.redials,
        "resumed": peer.conversations.resumed,
    }


class WorkerCollector(Collector):
    """The worker's counters as Prometheus metrics, read when they are asked for."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def collect(self) -> Iterator[Metric]:
        """One family a metric."""
        worker, now = self._worker, worker_status(self._worker)
        for name, text in _COUNTERS.items():
            yield CounterMetricFamily(f"asyncsyft_worker_{name}", text, value=now[name])
        for name, text in _GAUGES.items():
            yield GaugeMetricFamily(f"asyncsyft_worker_{name}", text, value=now[name])
        yield GaugeMetricFamily("asyncsyft_worker_draining", "1 while the worker ends.", value=int(worker.draining))
        spaces = list(worker.store.spaces.values())
        used = {
            "max_peers": worker.door.open,
            "limit": now["bytes"],
            "limit_per_driver": max([space.nbytes for space in spaces], default=0),
            "max_running": now["running"],
        }
        yield from limit_families("worker", worker.limits, used, worker.door)


_COUNTERS = {
    "steps": "Steps run, those of plans counted one by one.",
    "redials": "Times that its link to the relay was lost and came back.",
    "resumed": "Conversations that went on after a link was lost.",
}
_GAUGES = {
    "jobs": "Programs that wait or run.",
    "objects": "Objects held.",
    "conversations": "Peers with whom it has a conversation.",
}
