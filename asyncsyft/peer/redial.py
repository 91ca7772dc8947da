"""Keeps a peer on the road to an address: dials, and dials again when the link is lost, later and later.

It knows no conversations; these park by themselves and resume when the peer meets the far end again.
"""

from __future__ import annotations

import itertools
import logging
import random
import ssl as tls
from functools import partial
from typing import Awaitable, Callable, Iterator, Optional, Union

import anyio

from ..errors import AsyncSyftError, LinkClosed, Refused
from ..transport import Transport
from ..websocket import dial
from .peer import Peer
from .road import Road

logger = logging.getLogger(__name__)

#: Seconds before the second try (the first is at once), doubled for each further one, up to the most.
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0

Dial = Callable[[], Awaitable[Transport]]


def pauses() -> Iterator[float]:
    """Seconds to wait before each try, with jitter: the workers of a relay that restarts must not all come at once."""
    for tries in itertools.count():
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(tries, 16))
        yield longest * random.random() if not tries else longest * (0.5 + random.random() / 2)


class Redialling:
    """One road of a peer, dialled again whenever it is lost; ``on_refused`` is told why, when that ends.

    ``address``: a ws:// or wss:// URL, dialled with ``ssl``; or what dials.
    """

    def __init__(
        self,
        peer: Peer,
        address: Union[str, Dial],
        ssl: Optional[tls.SSLContext],
        token: Optional[str],
        on_refused: Callable[[AsyncSyftError], None],
    ) -> None:
        self.peer, self.token = peer, token
        self.dial: Dial = partial(dial, address, ssl=ssl) if isinstance(address, str) else address
        self.on_refused = on_refused

    async def begin(self) -> Road:
        """The first road. Raises: what ``dial`` raises, Refused, LinkClosed, TimeoutError."""
        return await self.peer.join(await self.dial(), self.token)

    async def stay(self, road: Road) -> None:
        """Dial again whenever the road is lost; returns when the peer closes or is refused."""
        while True:
            await road.ended
            if self.peer.closing:
                return
            lost = road.link.error or LinkClosed(f"{road.where} closed the link")
            if not self.peer.resume_grace or isinstance(lost, Refused):
                self._give_up(lost)
                return
            logger.warning("%s: link to %s lost, dialling again: %s", self.peer.name, road.where, lost)
            try:
                road = await self._again(min(road.retry or 0, LONGEST_PAUSE))
            except Refused as error:
                self._give_up(error)
                return
            self.peer.redials += 1
            logger.info("%s: linked to %s again", self.peer.name, road.where)

    async def _again(self, least: float) -> Road:
        for pause in pauses():
            await anyio.sleep(max(pause, least * (0.5 + random.random() / 2)))
            least = 0
            try:
                return await self.begin()
            except (LinkClosed, TimeoutError, OSError) as error:
                logger.debug("%s: not yet: %s", self.peer.name, error)
            except Refused:
                raise
            except AsyncSyftError as error:
                logger.warning("%s: the handshake failed: %s", self.peer.name, error)
        raise AssertionError("there is always another try")

    def _give_up(self, error: AsyncSyftError) -> None:
        logger.warning("%s: the link is gone: %s", self.peer.name, error)
        self.on_refused(error)
