"""One end of many conversations: handshake, roads that are redialled, and which frame belongs to which conversation."""

from __future__ import annotations

from .address import join_address, split_address
from .conversations import RESUME_GRACE
from .greeting import HANDSHAKE_TIMEOUT, vouch
from .hall import Hall
from .peer import NoServer, Peer
from .redial import Dial, Redialling, pauses
from .road import DRIVER, RELAY, WORKER, Road

__all__ = [
    "DRIVER",
    "HANDSHAKE_TIMEOUT",
    "RELAY",
    "RESUME_GRACE",
    "WORKER",
    "Dial",
    "Hall",
    "NoServer",
    "Peer",
    "Redialling",
    "Road",
    "join_address",
    "pauses",
    "split_address",
    "vouch",
]
