"""The end that dials workers which listen; what is lost of these does not come back."""

from __future__ import annotations

import logging
import socket
import ssl as tls
import threading
from typing import Any, Optional

import anyio

from asyncsyft.errors import AsyncSyftError
from asyncsyft.peer import Road
from asyncsyft.websocket import dial
from asyncsyft.websocket.handshake import parse_url

from ..far import Far
from .end import End

logger = logging.getLogger(__name__)

#: Seconds that a worker may take to answer a dial of another one, before it is reached by way of the client.
MEETING = 3.0


class Direct(End):
    """Has a link to each worker."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._dialling = threading.Lock()  # two links to one worker would take its conversation from each other

    def dial(self, url: str, ssl: Optional[tls.SSLContext], token: Optional[str] = None) -> Optional[Far]:
        """The worker that listens there, linked to by whoever asks first; None if it is a relay.

        Raises: ConnectionRefusedError, WebSocketTimeoutException, AsyncSyftError.
        """
        with self._dialling:
            far = self._linked(url)
            if far is None:
                road = self.reach(self._dial, url, ssl, token)
                if road.is_relayed:
                    self.loop.post(road.link.close, 1000, "")
                    return None
                far = self._link(url, road)
            far.users += 1
        return far

    async def _dial(self, url: str, ssl: Optional[tls.SSLContext], token: Optional[str] = None) -> Road:
        return await self.peer.join(await dial(url, ssl=ssl), token)

    def meet(self, url: str, ssl: Optional[tls.SSLContext], life: bytes) -> Optional[Far]:
        """The worker of that life, if it is the one that listens there."""
        with self._dialling:
            far = self._linked(url)
            if far is None:
                try:
                    road = self.loop.run(self._meet, url, ssl, life)
                except (AsyncSyftError, OSError, ValueError, TimeoutError) as error:
                    logger.info("%s is not to be reached from here: %s", url, error)
                    return None
                if road is None:
                    return None
                far = self._link(url, road)
        return far if far.talk.theirs == life else None

    def _linked(self, url: str) -> Optional[Far]:
        far = self._fars.get(_address(url))
        return far if far is not None and far.is_open else None

    def _link(self, url: str, road: Road) -> Far:
        far = self._fars[_address(url)] = Far(self, self.loop.run(self.converse, road, road.far), url)
        return far

    async def _meet(self, url: str, ssl: Optional[tls.SSLContext], life: bytes) -> Optional[Road]:
        with anyio.fail_after(MEETING):
            road = await self._dial(url, ssl)
        if road.far is not None and road.far.incarnation == life:
            return road
        road.link.close(1000, "")  # the same address, but another worker: that of another machine
        return None


def _address(url: str) -> str:
    """The same for all names of a machine."""
    where = parse_url(url)
    try:
        return f"{socket.gethostbyname(where.host)}:{where.port}"
    except (OSError, UnicodeError):
        return f"{where.host}:{where.port}"
