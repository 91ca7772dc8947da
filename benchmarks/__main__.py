"""``python -m benchmarks NAME [--quick] [--json FILE|-]``: a table for people, a JSON object for programs."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path

from benchmarks import transport
from benchmarks.report import report, table
from benchmarks.rounds import BenchmarkFailed, run
from benchmarks.stacks import STACKS

BENCHMARKS = {"transport": transport}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=sorted(BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="short rounds; less than two minutes in all")
    parser.add_argument("--json", metavar="FILE", help="write the figures there; - prints them, the table on stderr")
    parser.add_argument("--rounds", type=int, help="how many (default 9, quick 5)")
    parser.add_argument("--seconds", type=float, help="of each measure in a round (default 2, quick 1)")
    parser.add_argument(
        "--stack", action="append", choices=sorted(STACKS), help="only this one (repeatable); no ratios"
    )
    return parser.parse_args()


def main() -> int:
    asked = arguments()
    benchmark = BENCHMARKS[asked.name]
    stacks = asked.stack or benchmark.STACKS
    ratios = {} if asked.stack else benchmark.RATIOS
    rounds = asked.rounds or (5 if asked.quick else 9)
    seconds = asked.seconds or (1.0 if asked.quick else 2.0)

    def progress(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    try:
        taken = asyncio.run(run(stacks, rounds, seconds, progress))
    except BenchmarkFailed as why:
        print(f"benchmark failed: {why}", file=sys.stderr)
        return 1
    made = report(taken, ratios)
    if asked.json == "-":
        print(table(made), file=sys.stderr)
        print(json.dumps(made, indent=2))
    else:
        print(table(made))
        if asked.json:
            Path(asked.json).write_text(json.dumps(made, indent=2) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
