"""An end: a loop in a thread, a peer in the loop, and the service of PySyft's messages on that peer."""

from __future__ import annotations

import os
from functools import partial
from typing import Any, Callable, Dict, Optional, Tuple

import anyio
import msgpack
import torch
import websocket as legacy

from asyncsyft.errors import LinkError, Refused
from asyncsyft.identity import Key, KnownPeers
from asyncsyft.peer import Peer, Road
from asyncsyft.protocol import Conversation
from asyncsyft.wire import PeerInfo

from ..desks import here
from ..far import Far
from ..loop import Loop
from ..messages import Call, Id, Message
from ..service import Service

#: Seconds between looks at what is still to leave when a conversation ends.
QUIET = 0.002

#: What serves a message, here or by passing it on to the worker of that id.
Handle = Callable[[Message, Id], bytes]
#: Where a worker is that this process asks, as ``End.whereabouts`` says it; nothing for one that is not elsewhere.
Locate = Callable[[Id], Dict[str, Any]]


class End:
    """One peer, in a loop of its own."""

    def __init__(
        self,
        name: str,
        role: str,
        handle: Handle,
        locate: Locate,
        grace: float,
        key: Optional[Key] = None,
        known: Optional[KnownPeers] = None,
    ) -> None:
        self.process = os.getpid()
        self.handle, self.locate = handle, locate
        self.loop = Loop()
        # torch 1.4 keeps the number for each thread: what this one was told holds for those that serve.
        begin = partial(torch.set_num_threads, torch.get_num_threads())
        self.service = Service(name, self._serve, self, begin)
        self._fars: Dict[str, Far] = {}  # by URL, or by name at a relay
        #: Workers that workers served here have asked for: by the one who began the call, and their id for that one.
        self.neighbours: Dict[Tuple[Conversation, Id], Far] = {}
        self.peer: Peer
        self._arrival: anyio.Event
        options = {"can": {"level": 0}, "resume_grace": grace, "key": key, "known": known}
        self.loop.run(self._open, name, role, options)

    async def _open(self, name: str, role: str, options: Dict[str, Any]) -> None:
        self._arrival = anyio.Event()
        self.peer = Peer(name, role, server=self.service, **options)
        self.peer.conversations.on_ended = self._ended
        self.peer.on_joined = self._joined
        self.peer.start(self.loop.tasks)

    def stop(self) -> None:
        """Say goodbye and end."""
        self.loop.stop(self._close)

    async def _close(self) -> None:
        with anyio.move_on_after(1):
            await self.peer.quiet()
        self.peer.close()
        with anyio.move_on_after(1):
            await self.peer.drained()

    # Serving.

    def _serve(self, call: Call, message: Message) -> bytes:
        """At a desk: what a message is answered with, once all that was told meanwhile is done."""
        if not message:
            document: bytes = msgpack.packb(self.locate(call.to) if call.to is not None else {})
            return document
        answer = self.handle(message, call.to)
        for far in list(here().told):
            far.drain()
        return answer

    def _joined(self, road: Road, info: PeerInfo) -> None:
        self._arrival.set()

    def _ended(self, talk: Conversation) -> None:
        self.service.ended(talk)
        for key in [key for key in list(self.neighbours) if key[0] is talk]:
            self.neighbours.pop(key, None)

    # Conversations.

    def reach(self, how: Callable[..., Any], *args: Any) -> Any:
        """What an async function returns that dials. Raises: ConnectionRefusedError, WebSocketTimeoutException."""
        try:
            return self.loop.run(how, *args)
        except (LinkError, Refused) as error:
            raise ConnectionRefusedError(str(error)) from error
        except TimeoutError as error:
            raise legacy.WebSocketTimeoutException(str(error)) from error

    async def converse(self, road: Road, info: PeerInfo) -> Conversation:
        """The conversation with a peer. Raises: Refused if its key is not known, where keys are."""
        return self.peer.converse(road, info)

    def whereabouts(self, far: Far) -> Dict[str, Any]:
        """How others may reach a worker: its life, and its URL or the relay (with its key, if it is sealed)."""
        where: Dict[str, Any] = {"life": far.talk.theirs, "url": far.url}
        road = self.peer.conversations.roads.get(far.talk)
        if road is not None and road.is_relayed and road.far is not None:
            where["relay"], where["key"] = road.far.incarnation, far.talk.key if far.talk.seal is not None else b""
        return where

    def part_with(self, far: Far) -> None:
        """End a conversation, and its link if it has one of its own, once what was asked before has left."""
        for key in [key for key, other in self._fars.items() if other is far]:
            del self._fars[key]
        self.loop.run(self._part_with, far.talk)

    async def _part_with(self, talk: Conversation) -> None:
        while talk.owes and talk.ended is None:  # noqa: ASYNC110
            await anyio.sleep(QUIET)
        road = self.peer.conversations.roads.get(talk)
        self.peer.conversations.leave(talk, LinkError("closed here"))
        if road is not None and not road.is_relayed:
            road.link.close(1000, "")
