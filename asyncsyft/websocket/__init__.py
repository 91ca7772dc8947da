"""The real transport: websockets over TCP or TLS, on asyncio and on trio, by ``dial`` and ``listen``.

It knows no frames of docs/protocol.md and no peers. Each loop has a shell of its own, because no single one is fast on
both (facts/transport.md).
"""

from __future__ import annotations

from asyncsyft.websocket.dialling import dial
from asyncsyft.websocket.door import FORWARDED, Door
from asyncsyft.websocket.handshake import SUBPROTOCOL, ProcessRequest
from asyncsyft.websocket.listening import Accept, Listener, listen

__all__ = ["FORWARDED", "SUBPROTOCOL", "Accept", "Door", "Listener", "ProcessRequest", "dial", "listen"]
