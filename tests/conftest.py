"""What all tests share: both event loops, and how many examples hypothesis draws.

An async test is marked ``pytest.mark.anyio`` (``pytestmark`` at the head of its file) and runs on asyncio and on trio.
pytest-timeout bounds each test (``timeout`` in pyproject.toml); a wait inside a test has its own ``anyio.fail_after``.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

# A fixed choice of examples in CI, so that a red run is red again; a machine with two busy cores keeps no deadline.
settings.register_profile("default", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("default"), derandomize=True)
settings.register_profile("verify", settings.get_profile("default"), max_examples=20_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "default"))


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)
