"""What one end lets others use up: every bound that an operator may set, in one place.

The options of the command line, the gauges of ``/metrics``, and what a hello or a welcome tells are made from here. It
does no I/O and reads no clock.
"""

from __future__ import annotations

from dataclasses import Field, dataclass, field, fields
from typing import Any, Dict, List

from .program import MAX_PLAN_STEPS
from .wire import MAX_FRAME

#: What a bound is counted in.
COUNT, BYTES, SECONDS = "", "bytes", "seconds"
#: Connections beyond the peers, of those that have not said hello yet: so that they hear why they are not let in.
UNGREETED = 256
#: Files that a process has open beside: connections that shake hands (256), libraries, logs, what it keeps.
OWN_FILES = 512


def bound(default: Any, text: str, *, told: str = "", unit: str = COUNT, least: float = 1) -> Any:
    """A field: ``text`` is its help, ``told`` its name where a peer is told of it, 0 no bound where ``least`` is 0."""
    return field(default=default, metadata={"text": text, "told": told, "unit": unit, "least": least})


@dataclass(frozen=True)
class DoorLimits:
    """Who may come in, where one listens; the values are what a process of some hundred MB serves well."""

    max_peers: int = bound(10_000, "Peers at once.", told="peers")
    #: Whole sites dial from behind one address; still, one alone shall not take all places.
    max_per_address: int = bound(2_000, "Connections at once from one address (IPv6: one /64).", told="per_address")
    #: Shaking hands costs about 1 ms; after a restart all peers of a site come at once, hence ten seconds' worth of it.
    max_new: int = bound(
        200, "New connections a second from one address; ten times as many at once.", told="new_per_second"
    )


@dataclass(frozen=True)
class RelayLimits(DoorLimits):
    """What a relay lets its peers use up."""

    #: Links are as fast as the machine unless told otherwise: turns are fair, and credit bounds what waits.
    max_rate: int = bound(
        0,
        "Bytes a second that one peer may send, one second's worth at once; the rest is read later. 0: no limit.",
        told="bytes_per_second",
        unit=BYTES,
        least=0,
    )
    #: Far above what one peer says through a relay. What is said to the relay itself counts OWN_WEIGHT times.
    max_frames: int = bound(
        400_000,
        "Frames a second that one peer may send, those to the relay itself counted 20 times. 0: no limit.",
        told="frames_per_second",
        least=0,
    )
    max_waiting: int = bound(
        1 << 30, "Bytes that wait for all peers together; past it, who reads least is cut.", told="waiting", unit=BYTES
    )


@dataclass(frozen=True)
class WorkerLimits(DoorLimits):
    """What a worker lets drivers use up; those of the door are for one that listens."""

    max_peers: int = bound(1_000, "Peers at once, where it listens.", told="peers")
    max_per_address: int = bound(200, "Connections at once from one address (IPv6: one /64).", told="per_address")
    max_per_name: int = bound(64, "Connections at once under one name, where it listens.", told="per_name")
    limit: int = bound(8 << 30, "Bytes that it holds at most.", told="bytes", unit=BYTES)
    limit_per_driver: int = bound(
        0, "Bytes that it holds at most for one driver. 0: as --limit.", told="bytes_per_driver", unit=BYTES, least=0
    )
    #: Shortage is noticed within a second, and temporary arrays are not counted: room for both.
    memory_reserve: int = bound(
        256 << 20,
        "Memory of the machine, or of its cgroup, to leave free: new objects are refused before. 0: do not look.",
        unit=BYTES,
        least=0,
    )
    max_plan_steps: int = bound(MAX_PLAN_STEPS, "Steps of a plan; longer ones are refused.", told="plan_steps")
    #: Threads are shared by all drivers, and numpy's own run beside them.
    max_running: int = bound(32, "Programs that compute at once.", told="running")
    max_running_per_driver: int = bound(8, "Programs of one driver that compute at once.", told="running_per_driver")
    cpu_seconds: float = bound(
        600.0,
        "CPU time of one program; it is ended between two steps, and a step that cannot but take longer is refused."
        " 0: no limit.",
        told="cpu_seconds",
        unit=SECONDS,
        least=0,
    )


def bounds(limits: Any) -> List[Field[Any]]:
    """The fields of one of these classes, or of an instance."""
    return list(fields(limits))


def told(limits: Any) -> Dict[str, float]:
    """What a peer is told of them; those that do not bind are left out."""
    named = [(one.metadata["told"], getattr(limits, one.name)) for one in bounds(limits)]
    return {name: value for name, value in named if name and value}


def files_for(limits: DoorLimits) -> int:
    """Files and sockets that a process has open that lets in so many peers."""
    return limits.max_peers + UNGREETED + OWN_FILES


def contradictions(limits: Any) -> List[str]:
    """What is wrong with them together, each a sentence."""
    found = []
    for smaller, larger in (("limit_per_driver", "limit"), ("max_running_per_driver", "max_running")):
        few, many = getattr(limits, smaller, 0), getattr(limits, larger, 0)
        if few > many:
            found.append(f"{smaller} ({few}) is above {larger} ({many})")
    rate = getattr(limits, "max_rate", 0)
    if 0 < rate < MAX_FRAME:
        found.append(f"max_rate ({rate}) is below one frame ({MAX_FRAME} bytes)")
    waiting = getattr(limits, "max_waiting", MAX_FRAME)
    if waiting < MAX_FRAME:
        found.append(f"max_waiting ({waiting}) is below one frame ({MAX_FRAME} bytes)")
    return found


class Bucket:
    """So much a second, and ``most`` at once; what the time is, in seconds, is told by who takes."""

    __slots__ = ("rate", "most", "left", "at")

    def __init__(self, rate: float, most: float, now: float) -> None:
        self.rate, self.most, self.left, self.at = rate, most, most, now

    def take(self, amount: float, now: float) -> float:
        """Take that much, in advance if need be; the seconds until it is paid back."""
        left = min(self.most, self.left + (now - self.at) * self.rate) - amount
        self.left, self.at = left, now
        return -left / self.rate if left < 0 else 0.0

    def has(self, now: float) -> bool:
        """Take one if it is there."""
        self.take(0, now)
        if self.left < 1:
            return False
        self.left -= 1
        return True
