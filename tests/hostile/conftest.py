"""The roads of the journeys; the event loops come from tests/conftest.py."""

from __future__ import annotations

from tests.journeys.conftest import relayed, road

__all__ = ["relayed", "road"]
