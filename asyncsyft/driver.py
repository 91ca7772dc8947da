"""A driver: a peer from which a program talks to workers.

It gives each worker a handle with a recorder; what is recorded leaves by itself. It does not know what steps mean.
"""

from __future__ import annotations

import itertools
import logging
import os
import ssl as tls
from types import TracebackType
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Type, Union

import anyio
import anyio.lowlevel

from . import program, tensor, wire
from .compression import AUTO, Policy
from .errors import AsyncSyftError, LinkClosed, Refused, UnknownPeer, WorkerLost, fresh
from .identity import Key, KnownPeers, Path
from .identity import known_peers as pinned
from .lifetime import Lifetime
from .link import HEARTBEAT, SILENCE
from .ops import Spec
from .peer import DRIVER, RESUME_GRACE, WORKER, Dial, Peer, Redialling, Road
from .protocol import Conversation
from .remote import Creator, Failures, Recorder, RemoteTensor, described
from .remote.failures import current_scope
from .remote.recorder import Progress
from .waiting import Slot
from .wire import PeerInfo

logger = logging.getLogger(__name__)

#: Seconds after which ids of forgotten tensors leave even if nothing else does.
SWEEP = 1.0
#: Seconds that steps under way may take to be answered when a driver closes.
DRAIN = 2.0


class RemoteWorker(Creator):
    """A worker, as a driver sees it: where tensors are sent and made."""

    def __init__(self, driver: Driver, road: Road, info: PeerInfo) -> None:
        self.driver, self.name = driver, info.name
        peer = driver.peer
        self.conversation = peer.converse(road, info)
        relay = peer.incarnation if road.is_relayed else b""
        self.recorder = Recorder(self.conversation, info.name, driver.new_id, peer.slot, driver.failures, relay)

    def __repr__(self) -> str:
        return f"<RemoteWorker {self.name}>"

    async def send(
        self,
        value: Any,
        *,
        name: str = "",
        tags: Sequence[str] = (),
        compression: Optional[str] = None,
        progress: Optional[Progress] = None,
    ) -> RemoteTensor:
        """Send an array: one of at most 256 KiB is copied and not waited for; a larger one is borrowed until it landed.

        ``compression`` ("auto", "always", "never": shares do not shrink) and ``progress(done, total)``, told of bytes
        that have left, are for the larger ones.

        Raises: TypeError for a dtype that does not travel, LimitExceeded when the worker has no room, LinkError.
        """
        array = tensor.as_tensor(value)
        spec = Spec(array.dtype, array.shape)
        if array.nbytes <= wire.CHUNK:
            remote = RemoteTensor(self.recorder, self.recorder.put(array), spec)
        else:
            policy = None if compression is None else Policy(compression, self.recorder.conversation.policy.bandwidth)
            out, landed = self.recorder.put_large(array, policy=policy, progress=progress)
            remote = RemoteTensor(self.recorder, out, spec)
            try:
                await landed
            except BaseException as error:
                self.recorder.cancel(landed)
                if isinstance(error, WorkerLost):
                    raise remote.lost(error) from error
                raise
        if name or tags:
            remote.tag(*tags, name=name)
        return remote

    async def search(self, *query: str, most: int = 100, owner: Optional[str] = None) -> List[RemoteTensor]:
        """Tensors that bear all of these as name or tags: the worker's own data, this driver's, and what others allow.

        ``owner``: only what the driver of that name allows.
        """
        base = self.driver.new_ids(most)
        params: Dict[str, Any] = {"query": list(query), "base": base, "most": most}
        if owner is not None:
            params["owner"] = owner
        found = await self.recorder.ask([program.SEARCH, 0, [], params])
        tensors = []
        for at, entry in enumerate(found if type(found) is list else [found]):
            spec = described(entry, self.name)
            tensors.append(RemoteTensor(self.recorder, base + at, spec))
        return tensors

    async def plans(self) -> List[Dict[str, Any]]:
        """The plans and states of this driver at the worker: kind, name, version, steps, calls, bytes."""
        listed: List[Dict[str, Any]] = await self.recorder.ask([program.PLANS, 0, []])
        return listed

    async def stats(self) -> Dict[str, int]:
        """What the worker counts: steps run, jobs in flight, objects and bytes held, and its limit in bytes."""
        counts: Dict[str, int] = await self.recorder.ask([program.STATS, 0, []])
        return counts

    async def ping(self) -> float:
        """Seconds of one round trip to the worker, through relay and all. Raises: LinkError when the link is lost."""
        begun = anyio.current_time()
        road = self.driver.peer.conversations.roads.get(self.conversation)
        if road is None:
            raise LinkClosed(f"the link to {self.name} is lost")
        await self.driver.peer.ping(road, self.conversation.to)
        return anyio.current_time() - begun


class Driver(Lifetime):
    """Connects to a relay, or straight to a worker that listens, while entered: ``async with connect(url) as driver``.

    ``relay``: a ws:// or wss:// URL (or what dials it). ``key``: who the driver is, ``token``: what it shows the relay.
    ``ssl``: CAs other than the system's. ``heartbeat`` and ``silence``: seconds between pings of a silent link, and
    after which it is given up. ``resume_grace``: seconds that a lost link may take to come back, before what waits for
    it fails; 0: it is not dialled again. ``known_peers``: names and public keys of workers (a file, a mapping, or a
    ``KnownPeers``); all that is said to them is sealed, and others are not spoken with.

    Raises, on entering: LinkClosed if nobody is there, Refused if the name is taken or the token wrong, TimeoutError.
    """

    def __init__(
        self,
        relay: Union[str, Dial],
        name: str = "",
        *,
        key: Optional[Key] = None,
        token: Optional[str] = None,
        ssl: Optional[tls.SSLContext] = None,
        heartbeat: float = HEARTBEAT,
        silence: float = SILENCE,
        resume_grace: float = RESUME_GRACE,
        compression: str = AUTO,
        known_peers: Union[KnownPeers, Path, Mapping[str, str], None] = None,
    ) -> None:
        self.peer = Peer(
            name or f"driver-{os.urandom(4).hex()}",
            DRIVER,
            can={"lasting": True} if key is not None else {},
            key=key,
            resume_grace=resume_grace,
            heartbeat=heartbeat,
            silence=silence,
            compression=compression,
            known=pinned(known_peers),
        )
        self.peer.on_joined, self.peer.conversations.on_ended = self._joined, self._ended
        self.failures = Failures()
        self.workers: Dict[str, RemoteWorker] = {}
        self._strangers: Dict[str, Refused] = {}  # workers that are there and not to be spoken with
        self._ssl = ssl
        self._redialling = Redialling(self.peer, relay, ssl, token, self._refused)
        #: An object id, never given before.
        self.new_id: Callable[[], int] = itertools.count(1).__next__
        #: Why the other end does not have this driver any more; None while it is linked, or dialled again.
        self.refused: Optional[AsyncSyftError] = None
        self._arrivals: List[Slot[None]] = []

    # Workers.

    def worker(self, name: str) -> RemoteWorker:
        """The worker of that name. Raises: UnknownPeer if it is not there (``await wait_for(name)`` waits).

        Raises: Refused if its key is not the one that is known here.
        """
        worker = self.workers.get(name)
        if worker is None and name in self._strangers:
            raise fresh(self._strangers[name])
        if worker is None:
            here = ", ".join(sorted(self.workers)) or "none"
            raise UnknownPeer(f"no worker {name!r} is there; workers: {here}")
        return worker

    __getitem__ = worker

    async def wait_for(self, *names: str) -> List[RemoteWorker]:
        """The workers of these names, once all are there; bound it by ``anyio.fail_after``.

        Raises: the error with which the relay refused to have this driver again.
        """
        while any(name not in self.workers for name in names):
            if self.refused is not None:
                raise fresh(self.refused)
            for stranger in [self._strangers[name] for name in names if name in self._strangers]:
                raise fresh(stranger)
            slot: Slot[None] = self.peer.slot()
            self._arrivals.append(slot)
            try:
                await slot
            finally:
                self._arrivals.remove(slot)
        return [self.workers[name] for name in names]

    async def dial(self, url: Union[str, Dial], *, token: Optional[str] = None) -> None:
        """Be linked to one more relay, or worker that listens, as to the first; dialled again when the link is lost.

        Raises: LinkClosed if nobody is there, Refused, TimeoutError, ValueError for a URL that makes no sense.
        """
        ssl = None if isinstance(url, str) and url.startswith("ws:") else self._ssl
        redialling = Redialling(self.peer, url, ssl, token, _log_refusal)
        self._tasks.start_soon(redialling.stay, await redialling.begin())

    @property
    def relay_dial(self) -> Dial:
        """What dials the address that this driver was given."""
        return self._redialling.dial

    def new_ids(self, count: int) -> int:
        """The first of ``count`` ids in a row, never given before."""
        first, *_ = [self.new_id() for _ in range(max(count, 1))]
        return first

    # Certainty.

    async def flush(self, worker: Optional[RemoteWorker] = None) -> None:
        """Return when every step recorded before is answered, at one worker or at all.

        Raises: the earliest failure that nothing has raised yet, the others in its ``also``.
        """
        await self._flush(self.failures, worker)
        error = self.failures.take()
        if error is not None:
            raise error

    async def _flush(self, failures: Failures, worker: Optional[RemoteWorker] = None) -> None:
        recorders = [w.recorder for w in ([worker] if worker else list(self.workers.values()))]
        waiting = [recorder.flushed() for recorder in recorders]
        for slot in waiting:
            try:
                await slot
            except AsyncSyftError as error:
                failures.add(error)

    async def ready(self) -> None:
        """Wait until there is room to record more; lets the event loop turn."""
        for worker in list(self.workers.values()):
            await worker.recorder.ready()
        await anyio.lowlevel.checkpoint()

    def scope(self) -> Scope:
        """``async with driver.scope() as s``: what is recorded within keeps its failures to itself; ``s.flush()``."""
        return Scope(self)

    # Life.

    async def _open(self) -> None:
        self.peer.start(self._tasks)
        self._tasks.start_soon(self._sweep)
        self._tasks.start_soon(self._redialling.stay, await self._redialling.begin())

    async def _close(self) -> None:
        with anyio.move_on_after(DRAIN):
            await self._flush(self.failures)
        error = self.failures.take()
        for failure in [error, *error.also] if error else []:
            logger.error("nobody asked for this failure: %s", failure)
        self.peer.close()
        await self.peer.drained()

    async def _sweep(self) -> None:
        while True:
            await anyio.sleep(SWEEP)
            for worker in list(self.workers.values()):
                if worker.recorder.forgotten:
                    worker.recorder.close_program()
                worker.recorder.conversation.acknowledge()

    def _joined(self, road: Road, info: PeerInfo) -> None:
        if info.role != WORKER:
            return
        worker = self.workers.get(info.name)
        if worker is None or worker.conversation.theirs != info.incarnation:
            logger.info("worker %s is there", info.name)
            self._strangers.pop(info.name, None)
            try:
                self.workers[info.name] = RemoteWorker(self, road, info)
            except Refused as error:
                logger.info("%s: %s", self.peer.name, error)
                self._strangers[info.name] = error
        self._tell_arrivals()

    def _tell_arrivals(self) -> None:
        for slot in self._arrivals:
            slot.set(None)

    def _refused(self, error: AsyncSyftError) -> None:
        self.refused = error
        for talk in self.peer.conversations.parked:
            self.peer.conversations.end(talk, error)
        for slot in self._arrivals:
            slot.fail(fresh(error))

    def _ended(self, conversation: Conversation) -> None:
        worker = self.workers.get(conversation.name)
        if worker is None or worker.conversation is not conversation:
            return
        assert conversation.ended is not None
        logger.info("worker %s: %s", conversation.name, conversation.ended)
        del self.workers[conversation.name]
        if isinstance(conversation.ended, Refused):
            self._strangers[conversation.name] = conversation.ended
            self._tell_arrivals()
        worker.recorder.end(conversation.ended)


def _log_refusal(error: AsyncSyftError) -> None:
    """Only the first link is what a driver stands on."""
    logger.info("a further link is gone: %s", error)


class Scope:
    """What one task records, with failures of its own."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._failures = Failures()

    async def __aenter__(self) -> Scope:
        self._token = current_scope.set(self._failures)
        return self

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], traceback: Optional[TracebackType]
    ) -> None:
        current_scope.reset(self._token)
        if error is None:
            await self.flush()

    async def flush(self) -> None:
        """As ``driver.flush``, raising only what was recorded in this scope."""
        await self._driver._flush(self._failures)
        error = self._failures.take()
        if error is not None:
            raise error


connect = Driver


async def open(url: str, **options: Any) -> Driver:
    """As ``connect``, for entering and leaving in different tasks (notebooks): ``await driver.aclose()`` leaves."""
    return await connect(url, **options).open()
