"""The crossing between peers: what is linked to it, and the relay itself."""

from __future__ import annotations

from .member import MAX_PIECE, PEERS_TOGETHER, Member, Outbox
from .relay import DRAIN, EXEMPT_ROOM, MAX_FROM_ONE, MAX_WAITING, Relay

__all__ = [
    "DRAIN",
    "EXEMPT_ROOM",
    "MAX_FROM_ONE",
    "MAX_PIECE",
    "MAX_WAITING",
    "PEERS_TOGETHER",
    "Member",
    "Outbox",
    "Relay",
]
