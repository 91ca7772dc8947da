"""Links that die and a relay that is killed, under load: is any step lost or doubled, does anything hang or leak?"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from typing import Any, Dict, List

from benchmarks.chaos.run import FULL, QUICK, Size, chaos, worst
from benchmarks.ends import BenchmarkFailed
from benchmarks.report import columns, machine
from benchmarks.transport import progress, show

LOOPS = ("asyncio", "trio")
#: What the results may be at most.
ALLOWED = {
    "steps_lost": 0.0,
    "steps_doubled": 0.0,
    "wrong_results": 0.0,
    "hangs": 0.0,
    "leaked_objects": 0.0,
    "leaked_mb": 5.0,
}
#: Problems in the table; all that are known are in the JSON.
SHOWN = 5
TOLD = ("steps", "megabytes", "cuts", "kills", "seconds")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="a fifth of everything, in less than two minutes")
    parser.add_argument("--json", metavar="FILE", help="write the figures there; - prints them, the table on stderr")
    parser.add_argument("--loop", choices=LOOPS, help="only this event loop (default: one after the other)")
    parser.add_argument("--cuts", type=int, help="links to cut at least (default 200, quick 50)")
    parser.add_argument("--kills", type=int, help="how often the relay is killed (default 5, quick 2)")
    parser.add_argument("--largest", type=int, metavar="BYTES", help="tensor (default 32 MiB, quick 4 MiB)")
    parser.add_argument("--soak", type=float, default=0.0, metavar="MINUTES", help="go on at least so long on each")
    parser.add_argument("--seed", type=int, help="when to cut what (default: another each time)")


async def measure(size: Size, loops: List[str], seed: int, soak: float = 0.0) -> Dict[str, Any]:
    """Run on these event loops; the JSON object. Raises: BenchmarkFailed."""
    runs = {loop: await chaos(loop, size, progress, seed, soak) for loop in loops}
    details = {"loops": runs, "size": size._asdict(), "seed": seed, "machine": machine()}
    return {"results": worst(list(runs.values())), "details": details}


def table(made: Dict[str, Any]) -> str:
    runs = made["details"]["loops"]
    rows = [["", *runs, "at most"]]
    rows += [[key, *(f"{run[key]:,.0f}" for run in runs.values()), ""] for key in TOLD]
    for key, most in ALLOWED.items():
        rows.append([key, *(f"{run['results'][key]:.4g}" for run in runs.values()), f"{most:.0f}"])
    problems = [problem for run in runs.values() for problem in run["problems"]]
    return "\n".join([*columns(rows), f"seed {made['details']['seed']}", *problems[:SHOWN]])


def main(asked: argparse.Namespace) -> int:
    seed = int.from_bytes(os.urandom(3), "big") if asked.seed is None else asked.seed
    loops = [asked.loop] if asked.loop else list(LOOPS)
    size = QUICK if asked.quick else FULL
    size = size._replace(
        **{key: getattr(asked, key) for key in ("cuts", "kills", "largest") if getattr(asked, key) is not None}
    )
    try:
        made = asyncio.run(measure(size, loops, seed, asked.soak * 60))
    except BenchmarkFailed as why:
        print(f"benchmark failed: {why}", file=sys.stderr)
        return 1
    show(made, table(made), asked.json)
    return int(any(made["results"][key] > most for key, most in ALLOWED.items()))
