"""The roads that journeys take; the event loops come from tests/conftest.py."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["memory", "relay", "direct"])
def road(request: pytest.FixtureRequest) -> str:
    """In memory, by websocket through a relay, straight to a worker that listens."""
    return str(request.param)


@pytest.fixture(params=["memory", "relay"])
def relayed(request: pytest.FixtureRequest) -> str:
    """The roads with a relay, for journeys with several workers."""
    return str(request.param)
