"""Remote tensors over websockets on loopback, beside what else carries messages: the keys, and their figures."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional, Set

from benchmarks.ends import BenchmarkFailed
from benchmarks.keys import Key, Pair, cpu, gain, more, rate
from benchmarks.report import report, table
from benchmarks.rounds import Run, Wanted, run
from benchmarks.stacks import STACKS

TENSOR = float(64 << 20)  # bytes of the large one


def _ratio(above: str, below: str, target: float, what: str) -> Key:
    return Key((Pair(rate(above), rate(below)),), target, what)


KEYS: Dict[str, Key] = {
    "calls_vs_websockets": _ratio(
        "asyncsyft.calls",
        "websockets.echo_256",
        2.0,
        "256 tasks, each looping `await (x + y).get()` / `websockets` echo of 64 bytes, 256 in flight",
    ),
    "calls_vs_socketio": _ratio("asyncsyft.calls", "socketio.echo_256", 15.0, "the same / python-socketio echo"),
    "steps_vs_websockets": _ratio(
        "asyncsyft.steps",
        "websockets.echo_256",
        5.0,
        "`z = x + y` in a loop, one flush / `websockets` echo of 64 bytes, 256 in flight",
    ),
    "plan_vs_numpy": _ratio(
        "asyncsyft-plan.plan", "numpy.adds", 0.5, "steps of a stored plan of 1,000 adds / `np.add` in a Python loop"
    ),
    "single_vs_websockets": _ratio(
        "asyncsyft.single", "websockets.echo_1", 1.0, "one `await (x + y).get()` at a time / one echo at a time"
    ),
    "large_vs_websockets": Key(
        tuple(Pair(rate(f"asyncsyft-large.{way}"), rate("websockets.large")) for way in ("send", "get")),
        5.0,
        "64 MiB, the slower of `send` and `get` / `websockets` echo, its time halved",
    ),
    "large_vs_tcp": Key(
        tuple(Pair(rate(f"asyncsyft-large.{way}"), rate("tcp.large")) for way in ("send", "get")),
        0.4,
        "the same / raw TCP, blocking sockets, 1 MiB pieces into one buffer",
    ),
    "large_memory_ratio": Key(
        (Pair(gain("asyncsyft-large.send", "serve"), TENSOR), Pair(gain("asyncsyft-large.get", "client"), TENSOR)),
        1.2,
        "peak memory that the receiving process gains / the tensor's bytes, the worse way",
        at_most=True,
    ),
    "relay_large_memory_mb": Key(
        (Pair(gain("asyncsyft-relay-large.gigabyte", "relay"), 1e6),),
        32.0,
        "megabytes that the relay gains while 1 GB passes",
        at_most=True,
    ),
    "relay_vs_direct": _ratio("asyncsyft-relay.calls", "asyncsyft.calls", 0.5, "the awaited calls, by relay / direct"),
    "relay_cpu_vs_websockets": Key(
        (Pair(cpu("asyncsyft-relay.calls", "relay"), cpu("websockets-relay.echo_256", "relay")),),
        0.25,
        "CPU of the relay per small round trip / that of a plain `websockets` relay",
        at_most=True,
    ),
    "zstd_auto_worst": Key(
        tuple(
            Pair(more(f"asyncsyft-zstd.loopback_{way}", "auto"), more(f"asyncsyft-zstd.loopback_{way}", "never"))
            for way in ("send", "get")
        ),
        0.95,
        "zstd left to itself / off: float32 noise over loopback, the worse way",
    ),
    "zstd_auto_100mbit": Key(
        tuple(
            Pair(more(f"asyncsyft-zstd.100mbit_{way}", "auto"), more(f"asyncsyft-zstd.100mbit_{way}", "never"))
            for way in ("send", "get")
        ),
        2.5,
        "zstd left to itself / off: fixed-precision int64 over 100 Mbit/s, the worse way",
    ),
    "sealed_vs_clear": Key(
        tuple(
            Pair(more(f"asyncsyft-sealed.{each}", "sealed"), more(f"asyncsyft-sealed.{each}", "clear"))
            for each in ("calls", "send", "get")
        ),
        0.6,
        "sealed end to end / in the clear, the worst of the awaited calls and 64 MiB each way",
    ),
    "trio_vs_asyncio": _ratio("asyncsyft-trio.calls", "asyncsyft.calls", 0.5, "the awaited calls, on trio / asyncio"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="short rounds; about two minutes in all")
    parser.add_argument("--json", metavar="FILE", help="write the figures there; - prints them, the table on stderr")
    parser.add_argument("--rounds", type=int, help="how many (default 9, quick 5)")
    parser.add_argument("--seconds", type=float, help="of each measure in a round (default 2, quick 0.2)")
    parser.add_argument(
        "--only", metavar="KEY,...", help=f"only these keys and whole stacks: {', '.join([*KEYS, *STACKS])}"
    )


def keys_and_stacks(only: Optional[str]) -> List[str]:
    """Raises: BenchmarkFailed for a word that is neither."""
    words = only.split(",") if only else [*KEYS, *STACKS]
    for word in words:
        if word not in KEYS and word not in STACKS:
            raise BenchmarkFailed(f"{word!r} is neither a key nor a stack: see --help")
    return words


def wanted(words: List[str]) -> Wanted:
    """What must be measured for these keys and stacks."""
    needed: Dict[str, Optional[Set[str]]] = {}
    for word in words:
        if word in STACKS:
            needed[word] = None
            continue
        for stack, measures in KEYS[word].needs().items():
            so_far = needed.setdefault(stack, set())
            if so_far is not None:
                so_far |= measures
    return needed


def show(made: Dict[str, Any], text: str, where: Optional[str]) -> None:
    """The table for people; the JSON object to a file, or to the standard output instead of the table."""
    if where == "-":
        print(text, file=sys.stderr)
        print(json.dumps(made, indent=2))
        return
    print(text)
    if where:
        Path(where).parent.mkdir(parents=True, exist_ok=True)
        Path(where).write_text(json.dumps(made, indent=2) + "\n", "utf-8")


def progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(asked: argparse.Namespace) -> int:
    rounds = asked.rounds or (5 if asked.quick else 9)
    seconds = asked.seconds or (0.2 if asked.quick else 2.0)
    try:
        words = keys_and_stacks(asked.only)
        taken = asyncio.run(run(wanted(words), Run(rounds, seconds, not asked.quick, progress)))
    except BenchmarkFailed as why:
        print(f"benchmark failed: {why}", file=sys.stderr)
        return 1
    made = report(taken, {word: KEYS[word] for word in words if word in KEYS})
    made["details"]["run"] = {"rounds": rounds, "seconds": seconds, "quick": asked.quick}
    show(made, table(made), asked.json)
    return 0
