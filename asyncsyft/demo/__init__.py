"""The demo: a relay and two workers in processes of their own, and a driver that learns from data it never sees.

``lines`` are the first steps; ``data`` the digits; ``cluster`` the processes; ``model`` and ``train`` the learning;
``run`` all of it; ``show`` how it looks.
"""

from .run import Result, Stage, demo

__all__ = ["Result", "Stage", "demo"]
