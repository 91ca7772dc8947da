"""An end of a transport for tests that need somebody to talk with."""

from __future__ import annotations

from typing import List, Optional

from asyncsyft.transport import Transport


class Echo:
    """An end that says back what it hears."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.waiting: List[bytes] = []

    def pull(self) -> Optional[List[bytes]]:
        return [self.waiting.pop(0)] if self.waiting else None

    def receive(self, message: memoryview) -> None:
        self.waiting.append(bytes(message))
        self.transport.wake()
