"""A bad network to order: a TCP proxy that cuts, freezes, delays, throttles and corrupts what passes between two ends.

It carries bytes; it knows no websocket. What it does is decided by a seed, by its owner, or by ``Mischief``.
"""

from .line import Line
from .mischief import KINDS, Mischief
from .pace import FEWEST, MOST, Pace
from .proxy import FaultProxy
from .way import Faults

__all__ = ["FEWEST", "KINDS", "MOST", "FaultProxy", "Faults", "Line", "Mischief", "Pace"]
