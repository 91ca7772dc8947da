"""An end that is at a relay: links that are lost come back, and workers are known by name."""

from __future__ import annotations

import ssl as tls
from contextlib import suppress
from typing import Callable, Dict, List, Optional, Set, Tuple

import anyio

from asyncsyft.errors import AsyncSyftError
from asyncsyft.peer import RELAY, WORKER, Redialling, Road
from asyncsyft.protocol import Conversation
from asyncsyft.wire import PeerInfo

from ..far import Far
from .end import End

#: Seconds that the relay may take to say that a worker is there, to whom it said so already.
ARRIVING = 2.0


class Relayed(End):
    """Asks workers at a relay, or is one there."""

    #: Why the relay does not have this end any more.
    refused: Optional[AsyncSyftError] = None
    #: Told why, when that happens.
    on_refused: Optional[Callable[[AsyncSyftError], None]] = None

    def stay_at(self, url: str, ssl: Optional[tls.SSLContext], token: Optional[str]) -> None:
        """Link to a relay, now and whenever the link is lost.

        Raises: ConnectionRefusedError, WebSocketTimeoutException, Refused, ValueError if it is no relay.
        """
        self.reach(self._stay_at, url, ssl, token)

    async def _stay_at(self, url: str, ssl: Optional[tls.SSLContext], token: Optional[str]) -> None:
        redialling = Redialling(self.peer, url, ssl, token, self._refused)
        road = await redialling.begin()
        if not road.is_relayed:
            road.link.close(1000, "")
            raise ValueError(f"{url} is a worker that listens, and no relay")
        self.loop.tasks.start_soon(redialling.stay, road)

    def _refused(self, error: AsyncSyftError) -> None:
        self.refused = error
        for talk in self.peer.conversations.parked:
            self.peer.conversations.end(talk, error)
        if self.on_refused is not None:
            self.on_refused(error)

    def present(self) -> Dict[str, Tuple[Road, PeerInfo]]:
        """The workers that are at the relay, by name."""
        roads = [road for road in list(self.peer.roads) if road.is_relayed]
        found = [(road, info) for road in roads for info in list(road.peers.values()) if info.role == WORKER]
        return {info.name: (road, info) for road, info in found}

    def await_workers(self, names: List[str], seconds: float) -> None:
        """Return when these workers are at the relay. Raises: TimeoutError."""
        self.loop.run(self._await_workers, names, seconds)

    async def _await_workers(self, names: List[str], seconds: float) -> None:
        with anyio.move_on_after(seconds):
            while not set(names) <= set(self.present()):
                await self._next_arrival()
            return
        missing = ", ".join(sorted(set(names) - set(self.present())))
        raise TimeoutError(f"not at the relay within {seconds:g} s: {missing}")

    def await_more(self, known: Set[str]) -> List[str]:
        """Workers at the relay that are not among those, once there are any. Raises: Stopped when this end leaves."""
        found: List[str] = self.loop.run(self._await_more, known)
        return found

    async def _await_more(self, known: Set[str]) -> List[str]:
        while not set(self.present()) - known:
            await self._next_arrival()
        return sorted(set(self.present()) - known)

    async def _next_arrival(self) -> None:
        if self._arrival.is_set():
            self._arrival = anyio.Event()
        await self._arrival.wait()

    def find(self, name: str) -> Far:
        """The worker of that name at the relay. Raises: ConnectionRefusedError if it is not there, or not known."""
        far = self._fars.get(name)
        if far is None or not far.is_open:
            with suppress(TimeoutError):
                self.await_workers([name], ARRIVING)
            there = self.present()
            if name not in there:
                here_are = ", ".join(sorted(there)) or "none"
                raise ConnectionRefusedError(f"no worker {name} is at the relay; workers there: {here_are}")
            far = self._fars[name] = Far(self, self.reach(self.converse, *there[name]))
        far.users += 1
        return far

    def presented(self, life: bytes, relay: bytes, key: bytes) -> Optional[Far]:
        """The worker of that life, if it is at a relay at which this end is."""
        relays = [road.far.incarnation for road in list(self.peer.roads) if road.far and road.far.role == RELAY]
        return Far(self, self.loop.run(self._presented, life, key)) if relay in relays else None

    async def _presented(self, life: bytes, key: bytes) -> Conversation:
        return self.peer.converse_with(life, key)
