"""The proxy: it listens, dials its target for each connection that comes, and does what it is told to the lines."""

from __future__ import annotations

import math
import os
import socket
from functools import partial
from typing import List, Optional

import anyio

from ..lifetime import Lifetime
from . import sockets
from .line import Line
from .way import Faults

#: Seconds to wait when the system has no more files for connections.
BREATH = 0.05


class FaultProxy(Lifetime):
    """What comes to ``listen`` goes to ``target`` and back while entered; ``there`` and ``back`` say what befalls it.

    ``target``: "host:port" or a URL. ``listen``: "host:port", port 0 for a free one; ``address`` tells which, ``url``
    is what to dial. ``delay``, ``jitter``, ``bandwidth`` and ``corrupt`` are the first ``Faults`` of both directions.
    ``seed``: the same one draws the same jitter and the same bits for each line again. ``refuse``: new connections are
    cut at once. ``lines``: the connections that there are.
    """

    def __init__(
        self,
        target: str,
        *,
        listen: str = "127.0.0.1:0",
        delay: float = 0.0,
        jitter: float = 0.0,
        bandwidth: float = math.inf,
        corrupt: float = 0.0,
        seed: Optional[int] = None,
    ) -> None:
        """Raises: ValueError for what is no address or no network."""
        self.target, self._listen = sockets.endpoint(target), sockets.endpoint(listen)
        self.there = Faults(delay, jitter, bandwidth, corrupt)
        self.back = Faults(delay, jitter, bandwidth, corrupt)
        self.seed = int.from_bytes(os.urandom(4), "big") if seed is None else seed
        self.refuse = False
        self.lines: List[Line] = []
        self.port = 0
        self._count = self._cut_before = self._carried_before = 0
        self._freeze_new = False

    @property
    def address(self) -> str:
        """Where it listens: "host:port"."""
        host = self._listen[0]
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """What to dial instead of the target, if that is without TLS."""
        return f"ws://{self.address}"

    @property
    def cuts(self) -> int:
        """Lines that were cut so far, truncated ones too."""
        return self._cut_before + sum(line.was_cut for line in self.lines)

    @property
    def carried(self) -> int:
        """Bytes that have passed, on all lines and both ways."""
        return self._carried_before + sum(line.carried for line in self.lines)

    def cut(self, line: Optional[Line] = None, *, reset: bool = True) -> int:
        """End a line, or all, at both ends, with RST or with FIN; how many it were. What is under way is lost."""
        return sum(each.cut(reset) for each in ([line] if line else list(self.lines)))

    def freeze(self, line: Optional[Line] = None, *, seconds: float = math.inf, new: bool = False) -> None:
        """Make a line, or all, half open: bytes wait, and no end hears that the other has gone; ``thaw`` ends it.

        ``seconds``: thaw by itself after so long. ``new``: lines to come are frozen too, as if the network were away;
        else only the lines that there are, as when a router has forgotten them.
        """
        frozen = [line] if line else list(self.lines)
        for each in frozen:
            each.freeze()
        self._freeze_new = self._freeze_new or new
        if seconds < math.inf:
            self._tasks.start_soon(self._thaw_later, frozen, new, seconds)

    async def _thaw_later(self, frozen: List[Line], new: bool, seconds: float) -> None:
        await anyio.sleep(seconds)
        if new:
            self.thaw()
        for line in frozen:
            line.thaw()

    def thaw(self, line: Optional[Line] = None) -> None:
        """Let what has waited pass on: on a line, or on all and on those to come."""
        for each in [line] if line else list(self.lines):
            each.thaw()
        self._freeze_new = self._freeze_new and line is not None

    async def _open(self) -> None:
        listener = await sockets.listen(*self._listen)
        self.port = int(listener.getsockname()[1])
        self._tasks.start_soon(self._serve, listener)

    async def _serve(self, listener: socket.socket) -> None:
        with listener:
            while True:
                try:
                    near = await sockets.accept(listener)
                except ConnectionError:
                    continue  # it has gone again
                except OSError:
                    await anyio.sleep(BREATH)
                    continue
                if self.refuse:
                    sockets.finish(near, reset=True)
                else:
                    self._tasks.start_soon(self._carry, near)

    async def _carry(self, near: socket.socket) -> None:
        self._count += 1
        line = Line(self._count, self.there, self.back, self.seed)
        if self._freeze_new:
            line.freeze()
        self.lines.append(line)
        try:
            await line.run(near, partial(sockets.dial, *self.target))
        finally:
            self.lines.remove(line)
            self._cut_before += line.was_cut
            self._carried_before += line.carried
