"""PySyft 0.2.9 on the bridge beside PySyft's own workers: the same programs, the same results, and how fast."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import sys
from statistics import median
from typing import Any, Dict, List, Optional, Set

from benchmarks.ends import BenchmarkFailed
from benchmarks.keys import Figures, Key, Pair, gain, more, rate
from benchmarks.report import report, table
from benchmarks.rounds import Run, Wanted, run
from benchmarks.transport import progress, show

#: Rounds are at least so many, also in a hurry: their medians are compared.
ROUNDS = 7
SIZE = 100e6  # bytes of the large tensor
#: Seconds for which PyGrid's Socket.IO worker sleeps before it looks for an answer, once at least for each message.
POLL = 0.1


class Excess(Key):
    """Of each pair what the one is above the other, or nothing."""

    def ratios(self, figures: Figures) -> Dict[str, float]:
        over = {}
        for above, below in self.pairs:
            under = below if isinstance(below, float) else median(below.by_round(figures))
            over[above.figure] = max(0.0, median(above.by_round(figures)) - under)
        return over

    def by_round(self, figures: Figures) -> List[float]:
        rounds: List[float] = []
        for above, below in self.pairs:
            tops = above.by_round(figures)
            unders = [below] * len(tops) if isinstance(below, float) else below.by_round(figures)
            rounds += [max(0.0, top - under) for top, under in zip(tops, unders)]
        return rounds


def _ratio(above: str, below: str, target: float, what: str) -> Key:
    return Key((Pair(rate(above), rate(below)),), target, what)


def keys(quick: bool) -> Dict[str, Key]:
    """``quick``: PySyft's own pair is timed with a tenth of the large tensor; both rates are in MB/s."""
    size = 10 if quick else 100
    roles = [("send", "client"), ("send", "alice"), ("get", "client"), ("get", "alice")]
    large = "100 MB float32, MB/s / PySyft's websocket pair"
    return {
        "add_vs_websocket": _ratio(
            "syft-bridge.adds", "syft-websocket.adds", 4, "`x_ptr + y_ptr`, 10 elements / PySyft's websocket pair"
        ),
        "add_vs_virtual": _ratio("syft-bridge.adds", "syft-virtual.adds", 1.2, "the same / VirtualWorker, one process"),
        "roundtrip_vs_websocket": _ratio(
            "syft-bridge.roundtrips", "syft-websocket.roundtrips", 1.5, "send and get / PySyft's websocket pair"
        ),
        "send_100mb_vs_websocket": _ratio(
            "syft-bridge-large.send_100mb", f"syft-websocket-large.send_{size}mb", 30, f"send: {large}"
        ),
        "get_100mb_vs_websocket": _ratio(
            "syft-bridge-large.get_100mb", f"syft-websocket-large.get_{size}mb", 250, f"get: {large}"
        ),
        "memory_100mb_ratio": Key(
            tuple(Pair(gain(f"syft-bridge-large.{way}_100mb", role), SIZE) for way, role in roles),
            1.5,
            "peak memory that client or worker gains, the larger / the tensor's bytes",
            at_most=True,
        ),
        "four_workers_mm": _ratio(
            "syft-bridge.mm_on_four", "syft-bridge.mm_on_one", 1.5, "300 x 300 products on four workers / on one"
        ),
        "four_workers_vs_virtual": _ratio(
            "syft-bridge.adds_on_four", "syft-virtual.adds_on_four", 1.0, "adds on four workers / four VirtualWorkers"
        ),
        "mlp_square_vs_websocket": _ratio(
            "syft-bridge.mlp_square",
            "syft-websocket.mlp_square",
            12,
            "MLP 784-128-64-10 on shares, square activation, batch 1 / PySyft's websocket pair",
        ),
        "mlp_fss_vs_virtual": _ratio(
            "syft-bridge.mlp_fss", "syft-virtual.mlp_fss", 1.5, "the same with ReLU by FSS / VirtualWorkers"
        ),
        "mlp_securenn_vs_virtual": _ratio(
            "syft-bridge.mlp_securenn", "syft-virtual.mlp_securenn", 2.0, "with ReLU by SecureNN / VirtualWorkers"
        ),
        "leaked_objects": Excess(
            (Pair(more("syft-bridge.leaks", "left"), more("syft-virtual.leaks", "left")),),
            0,
            "objects left at the workers after 100 products of shares, above what VirtualWorkers keep",
            at_most=True,
        ),
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="short rounds; about three minutes in all")
    parser.add_argument("--json", metavar="FILE", help="write the figures there; - prints them, the table on stderr")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"how many (default {ROUNDS})")
    parser.add_argument("--seconds", type=float, help="of each measure in a round (default 1, quick 0.3)")
    parser.add_argument("--only", metavar="KEY,...", help=f"only these keys: {', '.join(keys(True))}")


def wanted(chosen: Dict[str, Key]) -> Wanted:
    """What must be measured for these keys."""
    needed: Dict[str, Optional[Set[str]]] = {}
    for key in chosen.values():
        for stack, measures in key.needs().items():
            needed[stack] = (needed.get(stack) or set()) | measures
    return needed


def choice(all_keys: Dict[str, Key], only: Optional[str]) -> Dict[str, Key]:
    """Raises: BenchmarkFailed for a word that is no key."""
    words = only.split(",") if only else list(all_keys)
    for word in words:
        if word not in all_keys:
            raise BenchmarkFailed(f"{word!r} is no key: see --help")
    return {word: all_keys[word] for word in words}


def beside_socketio(made: Dict[str, Any]) -> Dict[str, Any]:
    """What PyGrid's Socket.IO pair can reach at best, whatever the machine: it sleeps before it looks for an answer."""
    figure = made["details"]["figures"].get("syft-bridge.adds")
    told = {"poll_seconds": POLL, "messages_per_second_at_most": 1 / POLL}
    return {**told, "add_vs_poll": figure["per_second"]["median"] * POLL} if figure else told


def main(asked: argparse.Namespace) -> int:
    seconds = asked.seconds or (0.3 if asked.quick else 1.0)
    try:
        if importlib.util.find_spec("syft") is None:
            raise BenchmarkFailed("PySyft is not here: make bridge-env, and run this with .venv-syft")
        chosen = choice(keys(asked.quick), asked.only)
        taken = asyncio.run(run(wanted(chosen), Run(asked.rounds, seconds, False, progress)))
    except BenchmarkFailed as why:
        print(f"benchmark failed: {why}", file=sys.stderr)
        return 1
    made = report(taken, chosen)
    made["details"]["run"] = {"rounds": asked.rounds, "seconds": seconds, "quick": asked.quick}
    made["details"]["socketio"] = beside_socketio(made)
    show(made, table(made), asked.json)
    return 0
