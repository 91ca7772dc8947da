"""``%load_ext bridge`` in a notebook: the cells that follow run on the bridge; ``%unload_ext bridge`` undoes it."""

from __future__ import annotations

from typing import Any

from . import installing


def load_ipython_extension(shell: Any) -> None:
    """Replace PySyft's transports; called by ``%load_ext bridge``."""
    installing.install()


def unload_ipython_extension(shell: Any) -> None:
    """Undo it; called by ``%unload_ext bridge``."""
    installing.uninstall()
