"""One connection that a proxy carries: its two ways, and how it is cut or frozen."""

from __future__ import annotations

import socket
from contextlib import suppress
from random import Random
from typing import Awaitable, Callable, Optional, Tuple

import anyio

from .sockets import finish
from .way import Faults, Way


class Line:
    """What someone dialled, on to the target and back; ``number`` counts the lines of one proxy, from 1."""

    def __init__(self, number: int, there: Faults, back: Faults, seed: object) -> None:
        self.number = number
        self.was_cut = False
        self._faults, self._seed = (there, back), seed
        self._reset = False
        self._scope = anyio.CancelScope()
        self._thawed: Optional[anyio.Event] = None
        self._ways: Tuple[Way, ...] = ()

    @property
    def carried(self) -> int:
        """Bytes that have passed, both ways."""
        return sum(way.carried for way in self._ways)

    @property
    def whole(self) -> bool:
        """Whether both ends are there, as far as this line knows, and nobody has cut or frozen it."""
        return bool(self._ways) and not self._scope.cancel_called and self._thawed is None

    def cut(self, reset: bool = True) -> bool:
        """End it at both ends, with RST or with FIN; what is under way is lost. False if it has ended already."""
        if self._scope.cancel_called:
            return False
        self.was_cut, self._reset = True, reset
        self._scope.cancel()
        return True

    def truncate(self, after: int, back: bool = False) -> None:
        """Cut it, with FIN, when so many more bytes have passed there, or back."""
        if self._ways:
            self._ways[back].truncate(after)

    def lost(self) -> None:
        """One of its ends has gone: the other is told by RST."""
        if not self._scope.cancel_called:
            self._reset = True
            self._scope.cancel()

    def freeze(self) -> None:
        """Half open: nothing passes any more, neither bytes nor that an end has gone."""
        if self._thawed is None:
            self._thawed = anyio.Event()

    def thaw(self) -> None:
        """All that has waited passes on."""
        if self._thawed is not None:
            self._thawed.set()
            self._thawed = None

    async def flowing(self) -> None:
        """Return when it is not frozen."""
        while self._thawed is not None:
            await self._thawed.wait()

    async def run(self, near: socket.socket, dial: Callable[[], Awaitable[socket.socket]]) -> None:
        """Carry until both ways have ended, or it is cut; ``near`` is closed then, and what was dialled."""
        sockets = [near]
        try:
            with self._scope:
                await self.flowing()
                with suppress(OSError):
                    sockets.append(await dial())
                if len(sockets) < 2:
                    return
                await self._carry(near, sockets[1])
        finally:
            for sock in sockets:
                finish(sock, self._reset)

    async def _carry(self, near: socket.socket, far: socket.socket) -> None:
        there, back = self._faults
        self._ways = (
            Way(self, near, far, there, Random(f"{self._seed} {self.number} there")),
            Way(self, far, near, back, Random(f"{self._seed} {self.number} back")),
        )
        async with anyio.create_task_group() as tasks:
            for way in self._ways:
                tasks.start_soon(way.carry)
