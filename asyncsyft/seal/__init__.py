"""End-to-end sealing: what a relay passes on and must not be able to read (docs/protocol.md, "Sealing")."""

from .cipher import OVERHEAD, OVERHEAD_OF_RESUME, Seal, lives
from .exchange import Ephemeral, Exchange, Initiator, Key, Responder, exchange, leads, prologue

__all__ = [
    "OVERHEAD",
    "OVERHEAD_OF_RESUME",
    "Ephemeral",
    "Exchange",
    "Initiator",
    "Key",
    "Responder",
    "Seal",
    "exchange",
    "leads",
    "lives",
    "prologue",
]
