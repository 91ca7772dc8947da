"""The command line. This file knows only what to say when the packages that it needs are not there."""

from __future__ import annotations

import sys

_NEEDS = ("click", "prometheus_client", "rich", "tomli")


def main() -> None:
    """The command ``asyncsyft``."""
    try:
        from .commands import asyncsyft

        asyncsyft()  # which imports its commands as they are asked for
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        if missing not in _NEEDS:
            raise
        sys.exit(f"asyncsyft: the command line needs {missing}: pip install 'asyncsyft[cli]'")


__all__ = ["main"]
