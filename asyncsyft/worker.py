"""A worker: a peer that holds tensors and computes on them, for the drivers that it has a conversation with."""

from __future__ import annotations

import logging
import os
import ssl as tls
import time
from typing import Any, Dict, Iterable, Mapping, Optional, Union

import anyio

from . import tensor
from .compression import AUTO
from .errors import AsyncSyftError
from .executor import Executor
from .executor.kept import Revive
from .identity import Admission, Challenge, Grant, Key, KnownPeers, Path
from .identity import known_peers as pinned
from .keeping import Keeping
from .lifetime import Lifetime
from .link import HEARTBEAT, SILENCE
from .mpc.service import Meetings, Sessions
from .ops import OPS
from .peer import RESUME_GRACE, WORKER, Dial, Peer, Redialling, Road, join_address, split_address, vouch
from .program import MAX_PLAN_STEPS
from .protocol import Conversation
from .store import DEFAULT_LIMIT, Store
from .transport import Transport
from .waiting import Slot
from .websocket import listen
from .wire import Hello

logger = logging.getLogger(__name__)

#: What this worker can do, for the other side to see: level 3 is put, get, delete, ops and plans (docs/protocol.md).
LEVEL = 3
#: Seconds that programs under way may take to end before the worker says goodbye.
DRAIN = 3.0


class Worker(Lifetime):
    """Dials a relay, listens itself, or both, while entered; ``load`` puts data of its own there.

    ``relay``: a ws:// or wss:// URL (or what dials it). ``listen``: "host:port", port 0 for a free one; ``address``
    tells which. ``announce``: the URL by which other workers reach it there, if that is another: members of an MPC
    session link directly to those that listen. ``key``: who it is; ``token``: what it shows the relay. ``admission``:
    who may come in where it listens; without one only peers of this machine, or with ``insecure`` all. ``ssl``: for
    dialling and for listening.
    ``limit``: bytes that it holds at most. ``keep``: a file (SQLite) for the tensors, plans and states that drivers
    name, so that they outlive this worker; entering raises OSError if it is in use, ValueError if it is another kind of
    file, or damaged. ``resume_grace``: seconds that a lost link may take to come back; until then it is dialled again,
    and what a driver has here is held. ``max_plan_steps``: longer plans are refused.
    ``known_peers``: names and public keys of drivers and workers (a file, a mapping, or a ``KnownPeers``); all that is
    said to them is sealed, and others are not spoken with.
    """

    def __init__(
        self,
        name: str,
        relay: Union[str, Dial, None] = None,
        *,
        listen: Optional[str] = None,
        announce: Optional[str] = None,
        key: Optional[Key] = None,
        token: Optional[str] = None,
        admission: Optional[Admission] = None,
        ssl: Optional[tls.SSLContext] = None,
        limit: int = DEFAULT_LIMIT,
        keep: Optional[Path] = None,
        resume_grace: float = RESUME_GRACE,
        insecure: bool = False,
        heartbeat: float = HEARTBEAT,
        silence: float = SILENCE,
        compression: str = AUTO,
        known_peers: Union[KnownPeers, Path, Mapping[str, str], None] = None,
        max_plan_steps: int = MAX_PLAN_STEPS,
    ) -> None:
        self.name = name
        self.store = Store(limit, max_plan_steps)
        self.executor = Executor(self.store, name)
        self._keep = keep
        can = {"level": LEVEL, "ops": sorted(OPS), "limits": {"bytes": limit, "plan_steps": max_plan_steps}}
        self.peer = Peer(
            name,
            WORKER,
            server=self.executor,
            can=can,
            key=key,
            heartbeat=heartbeat,
            silence=silence,
            resume_grace=resume_grace,
            compression=compression,
            known=pinned(known_peers),
        )
        meetings = Meetings(self.peer, ssl, token)
        self.peer.on_joined = meetings.joined
        self.sessions = self.executor.sessions = Sessions(self.executor, self.peer.incarnation, meetings)
        self.peer.conversations.on_ended = self._ended
        self.executor.converse = self.peer.converse_with
        self.executor.counts = self._counts
        self.address = ""
        self._relay, self._listen, self._token, self._ssl = relay, listen, token, ssl
        self._announce = announce
        self._admission = admission or Admission(insecure=insecure)
        self._lost: Optional[Slot[None]] = None

    @property
    def port(self) -> int:
        """The port on which it listens."""
        return split_address(self.address)[1]

    def load(self, name: str, array: Any, tags: Iterable[str] = ()) -> None:
        """Hold data of the worker's own, for drivers to find by ``search(name)``."""
        self.store.load(name, tensor.as_tensor(array), tags)

    async def join(self, transport: Transport) -> Road:
        """Say hello on a transport; what ``relay`` does with a dialled one."""
        return await self.peer.join(transport, self._token)

    async def serve(self, transport: Transport) -> None:
        """Serve a transport that was dialled from the other end, until it ends."""
        await self.peer.accept(transport, self._admit)

    async def closed(self) -> None:
        """Return when the relay will not have this worker any more; for ever, if it only listens. Raises: why."""
        assert self._lost is not None
        await self._lost

    async def _open(self) -> None:
        self.executor.tasks = self._tasks
        self.peer.start(self._tasks)
        self._lost = self.peer.slot()
        if self._keep is not None:
            room = self.store.limit - self.store.nbytes
            self.store.kept = Keeping(os.fspath(self._keep), room, Revive(self.store))
            await self._tasks.start(self.store.kept.run)
        if self._listen is not None:
            self._tasks.start_soon(self._review)
            await self._tasks.start(self._serve, *split_address(self._listen))
        if self._relay is not None:
            redialling = Redialling(self.peer, self._relay, self._ssl, self._token, self._refused)
            self._tasks.start_soon(redialling.stay, await redialling.begin())

    async def _close(self) -> None:
        self.sessions.close()
        with anyio.move_on_after(DRAIN):
            await self._idle()
            await self.peer.quiet()
        self.peer.close("the worker ends")
        await self.peer.drained()

    async def _idle(self) -> None:
        """Return when no program is running or waiting."""
        if self.executor.jobs:
            idle: Slot[None] = self.peer.slot()
            self.executor.on_idle = lambda: idle.set(None)
            await idle

    async def _review(self) -> None:
        """Part with drivers whose token has run out, or was revoked, since they came in."""
        while True:
            await anyio.sleep(self.peer.heartbeat)
            now = time.time()
            for road in self.peer.roads:
                if road.admit is not None and not self._admission.stands(road.grant, now):
                    logger.info("%s: the token of %s is no longer good", self.name, road.where)
                    road.link.close(1008, "the token is no longer good")

    async def _serve(self, host: str, port: int, *, task_status: Any) -> None:
        async def accept(transport: Transport, headers: Mapping[str, str]) -> None:
            await self.serve(transport)

        async with listen(host, port, accept, ssl=self._ssl) as listener:
            self.address = join_address(listener.address, listener.port)
            url = self._announce or f"{'ws' if self._ssl is None else 'wss'}://{self.address}"
            self.peer.can = {**self.peer.can, "url": url}
            task_status.started()
            await anyio.sleep_forever()

    def _admit(self, hello: Hello, challenge: Challenge, transport: Transport) -> Grant:
        return vouch(hello, challenge, self._admission, transport)

    def _counts(self) -> Dict[str, int]:
        return {"redials": self.peer.redials, "resumed": self.peer.conversations.resumed}

    def _refused(self, error: AsyncSyftError) -> None:
        if self._lost is not None:
            self._lost.fail(error)

    def _ended(self, conversation: Conversation) -> None:
        self.executor.ended(conversation)
        self.store.release(conversation.theirs)
