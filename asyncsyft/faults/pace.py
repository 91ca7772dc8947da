"""When bytes arrive over a slow line. It reads no clock."""

from __future__ import annotations

import math

#: Seconds of line read beyond what is on its way, so that it never runs dry.
AHEAD = 0.02
#: Pieces held for one direction at once.
FEWEST, MOST = 4, 4096


class Pace:
    """A line of ``bandwidth`` bits per second and ``delay`` seconds; both may change while it is used."""

    def __init__(self, bandwidth: float = math.inf, delay: float = 0.0) -> None:
        self.bandwidth, self.delay = bandwidth, delay
        self._free = -math.inf  # when the line has taken all that it was given
        self._last = -math.inf  # when the last of that arrives

    def due(self, now: float, size: int, late: float = 0.0) -> float:
        """When the last of ``size`` bytes arrives, ``late`` seconds later than usual, if they come to the line now.

        Nothing overtakes what came before.
        """
        self._free = max(now, self._free) + size * 8 / self.bandwidth
        self._last = max(self._last, self._free + self.delay + late)
        return self._last

    def capacity(self, piece: int) -> int:
        """Pieces of so many bytes to hold so that the line is never idle while there is something to carry."""
        seconds = piece * 8 / self.bandwidth
        wanted = (self.delay + AHEAD) / seconds if seconds else math.inf
        return math.ceil(min(max(wanted, FEWEST), MOST))
