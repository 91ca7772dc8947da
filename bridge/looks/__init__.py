"""Looks into a worker: what programs read and change there, as if it were in their own process.

Programs for PySyft, and PySyft itself, look into workers: ``bob.object_store._objects``, ``alice.crypto_store``,
``bob._get_msg(-1)``. Each look becomes a message, a worker's command named ``_look``, whose answer is a copy. What the
program does to a copy stays with the copy.
"""

from __future__ import annotations

from .proxy import LooksInto, attach, detach
from .seen import SeenInto

__all__ = ["LooksInto", "SeenInto", "attach", "detach"]
