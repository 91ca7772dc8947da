"""CrypTen with its trusted third party, whom its parties trust as asyncsyft's trust the dealer."""

from __future__ import annotations

from benchmarks.mpc import crypten_party
from benchmarks.mpc.crypten_party import BACKEND, TTP, VERSIONS_OF

__all__ = ["BACKEND", "VERSIONS_OF", "client", "second", "third"]

second, third, client = crypten_party.second(TTP), crypten_party.third(TTP), crypten_party.client(TTP)
