"""Whether a link's loop had better stay awake for a moment than fall asleep: the next message may come at once.

To be woken costs a sleeping processor 50 to 100 us, in a virtual machine above all: more than all else of a short
question and its answer. As the Linux kernel's halt polling does, this believes what came true lately, and gives up
where it did not. It knows neither loops nor sockets.
"""

from __future__ import annotations

import os
from time import perf_counter
from typing import ClassVar, Set

#: Seconds awake after a message, at most.
MOMENT = 100e-6
#: Seconds within which a message that came to a sleeper would have come to one who was awake within a moment.
NEAR = 300e-6
#: Bytes read at once, and sent before, at most: what is larger is work, which others want the processors for.
SMALL = 16384
#: How many messages in a row that came near are remembered, and how many of them one that did not come takes away.
MOST, LESS = 16, 4
#: Seconds for which another process had this processor, when it was offered: somebody else has work for it.
TAKEN = 20e-6


def _spare() -> int:
    """Processors beside the one that this loop runs on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) - 1
    return (os.cpu_count() or 1) - 1


class Vigil:
    """That of one link. Whoever reads it tells what ``came``, and asks before each sleep whether it ``stays`` awake."""

    spare: ClassVar[int] = _spare()
    #: Those of this process whose link is up; at its other end is somebody who wants a processor to answer with.
    up: ClassVar[Set[Vigil]] = set()

    def __init__(self) -> None:
        self._near = 0  # of late; below zero, it would have been in vain
        self._since = 0.0  # when the last message had been dealt with
        self._sent = 0  # bytes, when it came
        self._small = self._dealt_with = self._awake = False

    def begin(self) -> None:
        """The link is up."""
        Vigil.up.add(self)

    def end(self) -> None:
        """It is no more; idempotent."""
        Vigil.up.discard(self)

    def came(self, size: int, sent: int) -> None:
        """So many bytes were read, and so many sent so far in all."""
        self._small = size <= SMALL and sent - self._sent <= SMALL
        self._sent, self._dealt_with = sent, False
        if not self._small:
            self._near = min(self._near, 0)
        elif self._near < MOST and perf_counter() - self._since < NEAR:
            self._near += 1

    def stays(self) -> bool:
        """Whether to look again at once, rather than sleep until something comes."""
        now = perf_counter()
        if not self._dealt_with:
            self._dealt_with, self._since = True, now
            self._awake = self._small and self._near > 0 and len(Vigil.up) <= Vigil.spare
        elif self._awake and not (now - self._since < MOMENT and self._is_spare(now)):
            self._awake = False
            self._near -= LESS
        return self._awake

    @staticmethod
    def _is_spare(now: float) -> bool:
        """Offer the processor to others; whether nobody took it."""
        if hasattr(os, "sched_yield"):
            os.sched_yield()
        return perf_counter() - now < TAKEN
