"""How many programs compute at once, in threads: in all, and of one driver, so that none takes all of them."""

from __future__ import annotations

import collections
from typing import Callable, Counter, Dict, Optional

import anyio
import anyio.to_thread

from ..limits import WorkerLimits
from ..protocol import Conversation


class Turns:
    """The threads of one worker; what waits for one waits in the order in which it came."""

    def __init__(self, limits: WorkerLimits) -> None:
        self._total, self._each = limits.max_running, limits.max_running_per_driver
        self._threads: Optional[anyio.CapacityLimiter] = None
        self._drivers: Dict[Conversation, anyio.CapacityLimiter] = {}
        self._asking: Counter[Conversation] = collections.Counter()
        self.running = 0

    async def run(self, conversation: Conversation, work: Callable[[], None]) -> None:
        """Call in a thread, when it is this driver's turn."""
        if self._threads is None:  # they belong to the event loop
            self._threads = anyio.CapacityLimiter(self._total)
        if conversation not in self._drivers:
            self._drivers[conversation] = anyio.CapacityLimiter(self._each)
        self._asking[conversation] += 1
        try:
            async with self._drivers[conversation]:
                self.running += 1
                try:
                    await anyio.to_thread.run_sync(work, limiter=self._threads)
                finally:
                    self.running -= 1
        finally:
            self._asking[conversation] -= 1
            if not self._asking[conversation]:
                del self._asking[conversation], self._drivers[conversation]
