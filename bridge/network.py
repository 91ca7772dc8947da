"""Workers by id, at a relay: they come and go, and need no port of their own."""

from __future__ import annotations

import ssl as tls
from typing import Any, Dict, Iterator, List, Mapping, Optional

from syft.workers import websocket_client

from asyncsyft.identity import Key
from asyncsyft.identity import known_peers as pinned
from asyncsyft.peer import RESUME_GRACE
from asyncsyft.websocket.handshake import parse_url

from . import ends, installing
from .client import WebsocketClientWorker
from .neighbours import locate, serve


class Network(Mapping[str, Any]):
    """The workers that are at a relay now, by id; each becomes a PySyft worker when it is first looked up."""

    def __init__(self, hook: Any, end: ends.Relayed, relay: str) -> None:
        self.hook, self.relay = hook, relay
        self._end = end
        self._workers: Dict[str, WebsocketClientWorker] = {}

    def __getitem__(self, id: str) -> WebsocketClientWorker:
        worker = self._workers.get(id)
        if worker is not None and worker.is_linked:
            return worker
        if id not in self._end.present():
            raise KeyError(id)
        if worker is None:
            worker = self._workers[id] = self._made(id)
        worker.connect()  # it was started anew
        return worker

    def _made(self, id: str) -> WebsocketClientWorker:
        where = parse_url(self.relay)
        made: WebsocketClientWorker = websocket_client.WebsocketClientWorker(
            self.hook, where.host, where.port, secure=where.secure, id=id
        )
        return made

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._end.present()))

    def __len__(self) -> int:
        return len(self._end.present())

    def __contains__(self, id: object) -> bool:
        return id in self._end.present()

    def wait_for(self, *ids: str, seconds: float = 30.0) -> List[Any]:
        """These workers, once all are there. Raises: TimeoutError, naming those that are not."""
        self._end.await_workers(list(ids), seconds)
        return [self[id] for id in ids]

    def close(self) -> None:
        """Leave the relay; its workers are of no more use here. Idempotent."""
        ends.part_with(self._end)

    def __enter__(self) -> Network:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Network {self.relay}: {', '.join(self) or 'no workers'}>"


def connect(
    hook: Any,
    relay: str,
    *,
    name: Optional[str] = None,
    token: Optional[str] = None,
    key: Optional[Key] = None,
    known_peers: Any = None,
    ssl: Optional[tls.SSLContext] = None,
    resume_grace: float = RESUME_GRACE,
) -> Network:
    """The workers at a relay (a ws:// or wss:// URL); PySyft's transports are replaced, if they were not.

    ``name``, ``token``, ``key``: what this program shows the relay. ``known_peers``: names and keys of workers; what is
    said to them is sealed, and others are not spoken with. ``resume_grace``: seconds that a lost link may take to come
    back.

    Raises: ConnectionRefusedError, WebSocketTimeoutException, OSError, ValueError.
    """
    if not installing.is_installed():
        installing.install()
    before = ends.relayed(relay)
    if before is not None:
        raise ValueError(f"this program is at {relay} already")
    options = {"name": name, "key": key, "known": pinned(known_peers), "grace": resume_grace}
    return Network(hook, ends.at_relay(relay, serve, locate, ssl, token, **options), relay)
