"""What a relay or a worker tells over plain HTTP: is it well, is it ready, what has it counted, what are its limits.

It reads counters; it knows nothing of what passes, and no socket. Needs prometheus-client (``[cli]``).
"""

from __future__ import annotations

import hmac
import ipaddress
import json
from contextlib import asynccontextmanager
from typing import AsyncIterator, Callable, Mapping, Optional, Tuple, Union

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from ..peer import join_address, split_address
from ..relay import Relay
from ..transport import Transport
from ..websocket import FORWARDED, Door, listen
from ..worker import Worker
from .ofrelay import RelayCollector, counts, status
from .ofworker import WorkerCollector, worker_status

Told = Union[Relay, Worker]
Answer = Tuple[int, str, bytes]
_TEXT = "text/plain; charset=utf-8"

__all__ = ["Endpoints", "RelayCollector", "WorkerCollector", "counts", "pages", "status", "worker_status"]


class Endpoints:
    """Answers ``/healthz``, ``/readyz``, ``/metrics`` and ``/status``: give it to ``Relay(process_request=...)``.

    The first two are for everyone. The others are for who shows ``token`` (``Authorization: Bearer ...``), a secret of
    these pages alone; without one, for all who can reach what listens on loopback only, or is ``insecure``.
    """

    def __init__(self, token: Optional[str] = None, insecure: bool = False) -> None:
        self._token, self._insecure = token, insecure
        self._told: Optional[Told] = None
        self._address: Callable[[], str] = str
        self._registry = CollectorRegistry()
        self._pages: Mapping[str, Callable[[Told], Answer]] = {
            "/healthz": lambda told: (200, _TEXT, b"ok\n"),
            "/readyz": _ready,
            "/metrics": lambda told: (200, CONTENT_TYPE_LATEST, generate_latest(self._registry)),
            "/status": _status,
        }

    def of(self, told: Told, address: Optional[str] = None) -> None:
        """Tell of this relay or worker from now on; ``address``: where, if not where that listens."""
        self._told = told
        self._address = lambda: told.address if address is None else address
        self._registry.register(RelayCollector(told) if isinstance(told, Relay) else WorkerCollector(told))
        ProcessCollector(registry=self._registry)

    def __call__(self, path: str, headers: Mapping[str, str]) -> Optional[Answer]:
        """As ``process_request``: None for paths that are not of here."""
        page = self._pages.get(path)
        if page is None:
            return None
        if self._told is None:
            return 503, _TEXT, b"starting\n"
        problem = None if path in ("/healthz", "/readyz") else self._keep_out(headers)
        return problem or page(self._told)

    def _keep_out(self, headers: Mapping[str, str]) -> Optional[Answer]:
        if self._token is not None:
            shown = headers.get("authorization", "")
            if hmac.compare_digest(shown.encode(), f"Bearer {self._token}".encode()):
                return None
            return 401, _TEXT, b"the token is missing or wrong: Authorization: Bearer TOKEN\n"
        # Who asks is not known here, but who calls a loopback address is on this machine, unless it is a proxy.
        if FORWARDED & {name.lower() for name in headers} and not self._insecure:
            return 403, _TEXT, b"give it a token for this (--metrics-token)\n"
        if self._insecure or ipaddress.ip_address(split_address(self._address())[0].partition("%")[0]).is_loopback:
            return None
        return 403, _TEXT, b"give it a token for this (--metrics-token)\n"


@asynccontextmanager
async def pages(endpoints: Endpoints, address: str) -> AsyncIterator[str]:
    """Serve these pages, and nothing else, at "host:port" while entered; where that is. Raises: OSError."""

    async def nobody(transport: Transport, headers: Mapping[str, str]) -> None:
        transport.abort()

    door = Door()
    door.close("there are pages here, and nobody to talk to")
    async with listen(*split_address(address), nobody, process_request=endpoints, door=door) as listener:
        yield join_address(listener.address, listener.port)


def _ready(told: Told) -> Answer:
    if told.draining:
        return 503, _TEXT, b"draining\n"
    if isinstance(told, Worker) and not told.linked:
        return 503, _TEXT, b"no relay is there\n"
    return 200, _TEXT, b"ready\n"


def _status(told: Told) -> Answer:
    found = status(told) if isinstance(told, Relay) else worker_status(told)
    return 200, "application/json", json.dumps(found).encode() + b"\n"
