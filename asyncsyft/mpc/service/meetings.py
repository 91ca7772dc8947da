"""Direct links among the members of sessions: one that listens is dialled by the others, once, and kept.

Of two that both listen, the one of the smaller incarnation dials. Conversations need not know: they run on the road
that is there, and a direct one is there before the session begins.
"""

from __future__ import annotations

import logging
import ssl as tls
from typing import Dict, List, Optional, Sequence

import anyio

from ...errors import AsyncSyftError, Refused
from ...identity import read_token
from ...peer import Peer, Road, pauses
from ...waiting import Slot
from ...websocket import dial
from ...wire import PeerInfo

logger = logging.getLogger(__name__)

#: Seconds that a member may take to dial this one, before it is met by way of a relay.
PATIENCE = 10.0
#: Addresses of one member, and characters of each.
MAX_URLS, MAX_URL = 4, 1024


class Meetings:
    """The direct links of one worker; ``ssl``: with which it dials, ``token``: what it shows, if bound to its key."""

    def __init__(self, peer: Peer, ssl: Optional[tls.SSLContext], token: Optional[str]) -> None:
        self.peer, self._ssl = peer, ssl
        self._token = token if token is not None and _is_bound(token) else None
        self._locks: Dict[bytes, anyio.Lock] = {}
        self._waiting: Dict[bytes, List[Slot[bool]]] = {}

    @property
    def has_relay(self) -> bool:
        """Whether others may be met by way of a relay."""
        return any(road.is_relayed for road in self.peer.roads)

    def linked(self, life: bytes) -> bool:
        """Whether there is a direct link to that life."""
        return any(not road.is_relayed and road.far is not None and road.far.incarnation == life for road in self._open)

    @property
    def _open(self) -> List[Road]:
        return [road for road in self.peer.roads if not road.link.closed]

    # The end that dials.

    async def reach(self, life: bytes, urls: Sequence[str]) -> bool:
        """Whether there is a direct link to that life, once one of its addresses was dialled."""
        lock = self._locks.setdefault(life, anyio.Lock())
        try:
            async with lock:
                for url in urls:
                    if self.linked(life) or await self._dial(life, url) is not None:
                        return True
                return False
        finally:
            if not lock.locked():
                self._locks.pop(life, None)

    async def _dial(self, life: bytes, url: str) -> Optional[Road]:
        try:
            with anyio.fail_after(PATIENCE / 2):
                ssl = self._ssl if url.startswith("wss:") else None
                road = await self.peer.join(await dial(url, ssl=ssl), self._token)
        except (AsyncSyftError, OSError, ValueError) as error:
            logger.info("%s: %s is not to be reached from here: %s", self.peer.name, url, error)
            return None
        if road.far is None or road.far.incarnation != life:
            logger.info("%s: somebody else listens at %s", self.peer.name, url)
            road.link.close(1000, "")
            return None
        self.peer.tasks.start_soon(self._keep, life, url, road)
        return road

    async def _keep(self, life: bytes, url: str, road: Road) -> None:
        """Dial again when the link is lost, as long as anybody counts on its coming back."""
        await road.ended
        for pause in pauses():
            await anyio.sleep(pause)
            if life not in self.peer.conversations.by_life or self.linked(life) or self.peer.closing:
                return
            if await self._dial(life, url) is not None:
                self.peer.redials += 1
                return

    # The end that is dialled.

    def joined(self, road: Road, info: PeerInfo) -> None:
        """Somebody is there."""
        if not road.is_relayed:
            for slot in self._waiting.pop(info.incarnation, ()):
                slot.set(True)

    async def expect(self, life: bytes, apart: Slot[bool]) -> bool:
        """Whether that life has dialled this worker; ``apart`` is set if it says that it cannot."""
        if self.linked(life):
            return True
        self._waiting.setdefault(life, []).append(apart)
        try:
            with anyio.move_on_after(PATIENCE):
                return await apart
            return False
        finally:
            if apart in self._waiting.get(life, ()):
                self._waiting[life].remove(apart)
                if not self._waiting[life]:
                    del self._waiting[life]


def _is_bound(token: str) -> bool:
    """Whether it is good for one key alone: drivers say where to dial, and who listens there could use it else."""
    try:
        return read_token(token).key is not None
    except Refused:
        return False
