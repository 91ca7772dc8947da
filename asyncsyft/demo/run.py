"""The demo from end to end; what it finds out is a ``Result``. It does not know how that is shown."""

from __future__ import annotations

import inspect
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional

import anyio
import anyio.to_thread
import numpy as np

from ..driver import Driver, connect
from . import lines
from .cluster import RELEASE, cluster
from .data import Digits, read, save, split
from .train import ROUNDS, Federation, locally

WORKERS = ("alice", "bob")
#: How close the parameters are to those of the local run: the sums are the same, in the same order, in float64.
TOLERANCE = 1e-6


class Result(NamedTuple):
    """What the demo found out. Times in seconds, bytes and messages as on the driver's websocket."""

    accuracy: float
    local_accuracy: float
    matches_local: int
    difference: float  # the largest, of any parameter
    rounds: int
    released: str  # what leaves the workers of their digits
    steps: int
    messages_sent: int
    messages_received: int
    round_trips: int
    bytes_sent: int
    bytes_received: int
    seconds: float
    local_seconds: float
    total_seconds: float


class Stage:
    """What watches the demo: the first lines with what they show, and how far each training is."""

    def shown(self, source: List[str], results: Dict[int, str]) -> None:
        """The source of the first steps, and what they showed, by the index of the line that did."""

    def progress(self, what: str, done: int, of: int, right: float) -> None:
        """A training got so far; ``right`` is the part of the test digits that it names rightly."""


async def demo(stage: Stage, file: Optional[Path] = None, loop: str = "asyncio") -> Result:
    """Run all of it. Raises: FileNotFoundError when the digits are missing."""
    begun = anyio.current_time()
    *parts, test = split(await anyio.to_thread.run_sync(read, file), len(WORKERS))
    with tempfile.TemporaryDirectory(prefix="asyncsyft-demo-") as folder:
        files = dict(zip(WORKERS, map(str, save(parts, Path(folder)))))
        async with cluster(files, loop) as url, connect(url, name="demo") as driver:
            with anyio.fail_after(10):
                alice, _ = await driver.wait_for(*WORKERS)
            recording = Recording(lines.first_steps)
            await lines.first_steps(alice, recording.note)
            stage.shown(recording.source, recording.results)
            before, start = traffic(driver), anyio.current_time()
            training = Federation(driver, test, _reports(stage, "at the workers", test))
            await training.run()
            seconds = anyio.current_time() - start
            counts = {name: count - before[name] for name, count in traffic(driver).items()}
    start = anyio.current_time()
    local, local_accuracy = await anyio.to_thread.run_sync(
        locally, parts, test, _reports(stage, "here, by numpy", test)
    )
    ended = anyio.current_time()
    difference = max(float(np.max(np.abs(a - b))) for a, b in zip(training.model, local))
    same = all(np.allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE) for a, b in zip(training.model, local))
    return Result(
        accuracy=training.accuracy,
        local_accuracy=local_accuracy,
        matches_local=int(same),
        difference=difference,
        rounds=ROUNDS,
        released=RELEASE,
        round_trips=training.round_trips,
        seconds=round(seconds, 3),
        local_seconds=round(ended - start, 3),
        total_seconds=round(ended - begun, 3),
        **counts,
    )


def traffic(driver: Driver) -> Dict[str, int]:
    """What the driver has recorded and what went over its websocket."""
    (road,) = driver.peer.roads
    names = ("messages_sent", "messages_received", "bytes_sent", "bytes_received")
    counts = {name: getattr(road.link.transport, name) for name in names}
    return {"steps": sum(worker.recorder.steps_recorded for worker in driver.workers.values()), **counts}


def _reports(stage: Stage, what: str, test: Digits) -> Callable[[int, int], None]:
    return lambda number, right: stage.progress(what, number, ROUNDS, right / len(test.labels))


class Recording:
    """The source of a function, and what each of its lines showed while it ran."""

    def __init__(self, function: Callable[..., Any]) -> None:
        found, first = inspect.getsourcelines(function)
        at = next(index for index, line in enumerate(found) if line.rstrip().endswith('"""')) + 1
        self.source = inspect.cleandoc("\n" + "".join(found[at:])).split("\n")  # after the docstring
        self.results: Dict[int, str] = {}  # by index in source
        self._first = first + at

    def note(self, value: object) -> None:
        """Called by the function to show something."""
        self.results[sys._getframe(1).f_lineno - self._first] = str(value)
