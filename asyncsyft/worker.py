"""A worker: a peer that holds tensors and computes on them, for the drivers that it has a conversation with."""

from __future__ import annotations

import logging
import ssl as tls
from typing import Any, Iterable, Mapping, Optional

import anyio

from . import tensor
from .compression import AUTO
from .errors import LinkError
from .executor import RELEASE_AFTER, Executor
from .lifetime import Lifetime
from .link import HEARTBEAT, SILENCE
from .ops import OPS
from .peer import WORKER, Peer, Road, admit, join_address, split_address
from .program import MAX_PLAN_STEPS
from .protocol import Conversation
from .store import DEFAULT_LIMIT, Store
from .transport import Transport
from .waiting import Slot
from .websocket import dial, listen
from .wire import Hello

logger = logging.getLogger(__name__)

#: What this worker can do, for the other side to see: level 2 is put, get, delete and ops (docs/protocol.md).
LEVEL = 2
#: Seconds that programs under way may take to end before the worker says goodbye.
DRAIN = 3.0


class Worker(Lifetime):
    """Dials a relay, listens itself, or both, while entered; ``load`` puts data of its own there.

    ``relay``: a ws:// or wss:// URL. ``listen``: "host:port", port 0 for a free one; ``address`` tells which.
    ``limit``: bytes that it holds at most. ``release_after``: seconds that the objects of a driver who vanished are
    kept. ``ssl``: for dialling and for listening. ``insecure``: accept peers without a token that are not local.
    ``max_plan_steps``: longer plans are refused.
    """

    def __init__(
        self,
        name: str,
        relay: Optional[str] = None,
        *,
        listen: Optional[str] = None,
        token: Optional[str] = None,
        ssl: Optional[tls.SSLContext] = None,
        limit: int = DEFAULT_LIMIT,
        release_after: float = RELEASE_AFTER,
        insecure: bool = False,
        heartbeat: float = HEARTBEAT,
        silence: float = SILENCE,
        compression: str = AUTO,
        max_plan_steps: int = MAX_PLAN_STEPS,
    ) -> None:
        self.name = name
        self.store = Store(limit, max_plan_steps)
        self.executor = Executor(self.store, name)
        can = {"level": LEVEL, "ops": sorted(OPS), "limits": {"bytes": limit, "plan_steps": max_plan_steps}}
        self.peer = Peer(
            name, WORKER, server=self.executor, can=can, heartbeat=heartbeat, silence=silence, compression=compression
        )
        self.peer.on_ended = self._ended
        self.executor.converse = self._converse
        self.address = ""
        self._relay, self._listen, self._token, self._ssl = relay, listen, token, ssl
        self._release_after, self._insecure = release_after, insecure
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

    async def closed(self) -> None:
        """Return when the link to the relay is gone; for ever, if the worker only listens. Raises: LinkError."""
        assert self._lost is not None
        await self._lost

    async def _open(self) -> None:
        self.executor.tasks = self._tasks
        self.peer.start(self._tasks)
        self._lost = self.peer.slot()
        self.peer.on_road_lost = self._road_lost
        if self._listen is not None:
            await self._tasks.start(self._serve, *split_address(self._listen))
        if self._relay is not None:
            await self.join(await dial(self._relay, ssl=self._ssl))

    async def _close(self) -> None:
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

    async def _serve(self, host: str, port: int, *, task_status: Any) -> None:
        async def accept(transport: Transport, headers: Mapping[str, str]) -> None:
            await self.peer.accept(transport, self._admit)

        async with listen(host, port, accept, ssl=self._ssl) as listener:
            self.address = join_address(listener.address, listener.port)
            task_status.started()
            await anyio.sleep_forever()

    def _admit(self, hello: Hello, transport: Transport) -> None:
        admit(hello, transport, self._token, self._insecure)

    def _road_lost(self, road: Road, error: LinkError) -> None:
        if road.admit is None and self._lost is not None:
            self._lost.fail(error)

    def _converse(self, asking: Conversation, number: int, incarnation: bytes) -> Conversation:
        return self.peer.converse_beside(asking, number, incarnation)

    def _ended(self, conversation: Conversation, goodbye: bool) -> None:
        self.executor.ended(conversation)
        owner = conversation.theirs
        if goodbye or not self._release_after:
            self.store.release(owner)
        elif owner in self.store.spaces:
            self._tasks.start_soon(self._release_later, owner)

    async def _release_later(self, owner: bytes) -> None:
        await anyio.sleep(self._release_after)
        if not self.peer.knows(owner):
            self.store.release(owner)
            logger.info("%s: the objects of a driver that vanished are released", self.name)
