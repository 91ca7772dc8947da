"""CrypTen as it comes: its first party makes what the third would deal, and could read everything."""

from __future__ import annotations

from benchmarks.mpc import crypten_party
from benchmarks.mpc.crypten_party import BACKEND, TFP, VERSIONS_OF

__all__ = ["BACKEND", "VERSIONS_OF", "client", "second"]

second, client = crypten_party.second(TFP), crypten_party.client(TFP)
