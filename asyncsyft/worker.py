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
from .errors import AsyncSyftError, LimitExceeded, LinkClosed
from .executor import Desk, Executor
from .executor.kept import Revive
from .identity import Admission, Challenge, Grant, Key, KnownPeers, Path
from .identity import known_peers as pinned
from .keeping import Keeping
from .lifetime import Lifetime
from .limits import WorkerLimits, told
from .link import HEARTBEAT, SILENCE
from .memory import available
from .mpc.service import Meetings, Sessions
from .ops import OPS
from .peer import RESUME_GRACE, WORKER, Dial, Peer, Redialling, Road, join_address, split_address, vouch
from .privacy import ALWAYS, NEVER, Audit, Private, Release, control, guard_of, policy_of
from .protocol import MAX_LANES, MAX_REQUESTS, Conversation
from .store import MAX_OBJECTS, Store
from .transport import Transport
from .waiting import Slot
from .websocket import Door, listen
from .wire import Hello

logger = logging.getLogger(__name__)

#: What this worker can do, for the other side to see: level 3 is put, get, delete, ops and plans (docs/protocol.md).
LEVEL = 3
#: Seconds that programs under way may take to end before the worker says goodbye.
CLOSING = 3.0
#: The same for a worker that drains, unless told otherwise: what drivers have here ends with it.
DRAIN = 30.0
#: Seconds between looks at the memory that is left.
LOOK = 1.0
#: Limits that nobody sets.
FIXED = {"objects": MAX_OBJECTS, "requests": MAX_REQUESTS, "lanes": MAX_LANES}
#: Seconds without a program after which drivers have what they wanted.
QUIET = 0.25


class Worker(Lifetime):
    """Dials a relay, listens itself, or both, while entered; ``load`` puts data of its own there.

    ``relay``: a ws:// or wss:// URL (or what dials it). ``listen``: "host:port", port 0 for a free one; ``address``
    tells which. ``announce``: the URL by which other workers reach it there, if that is another: members of an MPC
    session link directly to those that listen. ``key``: who it is; ``token``: what it shows the relay. ``admission``:
    who may come in where it listens; without one only peers of this machine, or with ``insecure`` all. ``ssl``: for
    dialling and for listening.
    ``keep``: a file (SQLite) for the tensors, plans and states that drivers
    name, so that they outlive this worker; entering raises OSError if it is in use, ValueError if it is another kind of
    file, or damaged. ``resume_grace``: seconds that a lost link may take to come back; until then it is dialled again,
    and what a driver has here is held.
    ``limits``: fields of ``limits.WorkerLimits``: ``limit``, the bytes that it holds at most, ``max_plan_steps``, ...
    ``origins``, ``proxies``: as a relay's, where it listens.
    ``known_peers``: names and public keys of drivers and workers (a file, a mapping, or a ``KnownPeers``); all that is
    said to them is sealed, and others are not spoken with.
    ``audit``: a file for a line of JSON for each get, move and search, and for what became of it; entering raises
    OSError if it cannot be written. ``control``: a Unix socket at which ``asyncsyft requests`` decides what waits.
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
        keep: Optional[Path] = None,
        resume_grace: float = RESUME_GRACE,
        insecure: bool = False,
        heartbeat: float = HEARTBEAT,
        silence: float = SILENCE,
        compression: str = AUTO,
        known_peers: Union[KnownPeers, Path, Mapping[str, str], None] = None,
        audit: Optional[Path] = None,
        control: Optional[Path] = None,
        origins: Iterable[str] = (),
        proxies: Iterable[str] = (),
        **limits: Any,
    ) -> None:
        self.name, self.limits = name, WorkerLimits(**limits)
        self.store = Store(self.limits.limit, self.limits.max_plan_steps)
        self.store.look, self.store.limit_per_driver = self._look, self.limits.limit_per_driver
        self.executor = Executor(self.store, name, self.limits)
        #: The requests that wait for a person's approval.
        self.requests = Desk(name, self.executor.releases)
        self._keep, self._audit, self._control = keep, audit, control
        can = {"level": LEVEL, "ops": sorted(OPS), "limits": {**told(self.limits), **FIXED}}
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
        self.door = Door(self.limits, origins=origins, proxies=proxies)
        self._lost: Optional[Slot[None]] = None
        self._has_drained, self._steps_seen = False, -1

    @property
    def draining(self) -> bool:
        """Whether it is about to end, and lets no new driver in."""
        return self.peer.draining or self.peer.closing

    @property
    def linked(self) -> bool:
        """Whether there is a relay, if it is to have one."""
        return self._relay is None or any(road.is_relayed for road in self.peer.roads)

    @property
    def port(self) -> int:
        """The port on which it listens."""
        return split_address(self.address)[1]

    def load(
        self, name: str, array: Any, tags: Iterable[str] = (), *, release: Release = NEVER, share: bool = False
    ) -> None:
        """Hold data of the worker's own, for drivers to find by ``search(name)`` and to compute on.

        It is private: of what is made of it, that leaves which ``release`` lets out: "never", "ask" (a person, see
        ``requests``), "aggregate:100", "training:100", "always", or a function of ``Asked`` that says True or False.
        ``share``: it may be shared in MPC sessions, whose results the driver may have.
        Raises: ValueError for what is no policy, and if the name is there with another.
        """
        value, policy, label = tensor.as_tensor(array), policy_of(release), f"{self.name}/{name}"
        if policy is ALWAYS:
            self.store.load(name, value, tags)
            return
        if self.store.policies.setdefault(label, policy).text != policy.text:
            raise ValueError(f"{label} is there with the policy {self.store.policies[label].text}")
        if share:
            self.store.shareable.add(label)
        self.store.load(name, Private(value, guard_of(label, value)), tags)

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
        self._tasks.start_soon(self._watch_memory)
        if self._audit is not None:
            self.executor.audit = Audit(os.fspath(self._audit))
            await self._tasks.start(self.executor.audit.run)
        if self._control is not None:
            await self._tasks.start(control.serve, os.fspath(self._control), self.requests.answer)
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

    async def drain(self, seconds: float = DRAIN) -> None:
        """Let no new driver in, and return when no program is under way and all answers have left.

        Or after so many seconds; leaving the worker's context then ends it. What waits for a person is not decided.
        """
        self.peer.draining = self._has_drained = True
        self.executor.releases.close()
        with anyio.move_on_after(seconds):
            while not self._is_quiet():
                await self._idle()
                await self.peer.quiet()
                await anyio.sleep(QUIET)

    def _is_quiet(self) -> bool:
        """Whether nothing was asked for since it was last looked at, and nothing is under way."""
        before, self._steps_seen = self._steps_seen, self.executor.steps_run
        owes = self.executor.jobs or any(talk.owes for talk in self.peer.conversations.roads)
        return before == self._steps_seen and not owes

    async def _close(self) -> None:
        self.sessions.close()
        self.executor.releases.close()
        if not self._has_drained:
            with anyio.move_on_after(CLOSING):
                await self._idle()
                await self.peer.quiet()
        self.peer.close("the worker ends")
        await self.peer.drained()

    async def _watch_memory(self) -> None:
        """Small objects are only counted: look whether the machine has room for them still."""
        while self.limits.memory_reserve:
            self._look()
            await anyio.sleep(LOOK)

    def _look(self) -> None:
        """Hold no more than leaves ``memory_reserve`` bytes of memory free."""
        free = available() if self.limits.memory_reserve else None
        store, most = self.store, self.limits.limit
        left = most if free is None else store.nbytes - store.expected + free - self.limits.memory_reserve
        store.limit, store.bound = (max(left, 0), "memory_reserve") if left < most else (most, "limit")

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

        async with listen(host, port, accept, ssl=self._ssl, door=self.door) as listener:
            self.address = join_address(listener.address, listener.port)
            url = self._announce or f"{'ws' if self._ssl is None else 'wss'}://{self.address}"
            self.peer.can = {**self.peer.can, "url": url}
            task_status.started()
            await anyio.sleep_forever()

    def _admit(self, hello: Hello, challenge: Challenge, transport: Transport) -> Grant:
        if not self.peer.welcomes(hello.incarnation, hello.role):
            raise LinkClosed(f"{self.name} is about to end")
        grant = vouch(hello, challenge, self._admission, transport)
        others = [road.far.name for road in self.peer.roads if road.admit is not None and road.far is not None]
        if len(others) >= self.limits.max_peers:
            raise LimitExceeded(f"there are {len(others)} peers already (max_peers)")
        if others.count(hello.name) >= self.limits.max_per_name:
            raise LimitExceeded(f"{hello.name} has {self.limits.max_per_name} connections already (max_per_name)")
        return grant

    def _counts(self) -> Dict[str, int]:
        return {"redials": self.peer.redials, "resumed": self.peer.conversations.resumed}

    def _refused(self, error: AsyncSyftError) -> None:
        if self._lost is not None:
            self._lost.fail(error)

    def _ended(self, conversation: Conversation) -> None:
        self.executor.ended(conversation)
        self.store.release(conversation.theirs)
