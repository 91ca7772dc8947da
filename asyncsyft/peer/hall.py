"""Links that came in and have not said hello: a crowd of silent ones cannot fill a relay, or a worker that listens."""

from __future__ import annotations

from contextlib import suppress
from typing import Dict, Protocol

import anyio

from ..errors import AsyncSyftError, LinkClosed
from ..limits import UNGREETED
from ..link import Link
from ..waiting import Slot
from .greeting import HANDSHAKE_TIMEOUT

#: Seconds that a link has for its hello however many others there are: those of a site come all at once.
AT_LEAST = 1.0


class Guest(Protocol):
    """A link that came in; ``greeted`` is set when it has said hello, or ended."""

    link: Link
    greeted: Slot[None]


class Hall:
    """Where they wait."""

    def __init__(self) -> None:
        self._waiting: Dict[Guest, float] = {}  # since when, the oldest first

    async def enter(self, guest: Guest) -> None:
        """Wait for the hello of a link, and drop it if that does not come; the oldest one if there are too many."""
        now = anyio.current_time()
        self._waiting[guest] = now
        oldest = next(iter(self._waiting))
        if len(self._waiting) > UNGREETED and now - self._waiting[oldest] >= AT_LEAST:
            del self._waiting[oldest]
            oldest.link.abort(LinkClosed("no hello came, and others wait"))
        try:
            with anyio.move_on_after(HANDSHAKE_TIMEOUT):
                with suppress(AsyncSyftError):  # it ended before it said hello
                    await guest.greeted
                return
            guest.link.abort(LinkClosed("no hello came"))
        finally:
            self._waiting.pop(guest, None)
