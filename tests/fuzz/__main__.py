"""Fuzzes each decoder, led by what code it reaches: ``python -m tests.fuzz --runs 200000 [--jobs 2] [TARGET ...]``.

The inputs begin with the vectors of docs/vectors. What breaks a decoder is left in build/fuzz/TARGET; put it into
tests/fuzz/saved/TARGET, where the replay meets it on every Python. Needs atheris (``pip install -e .[fuzz]``).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Dict, List, NamedTuple, Sequence, Tuple

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "fuzz"
#: The code whose branches lead the fuzzer: what decodes. The rest would only make its start slow.
LED_BY = [
    *("asyncsyft.framing", "asyncsyft.wire", "asyncsyft.compression", "asyncsyft.tensor", "asyncsyft.program"),
    *("asyncsyft.protocol", "asyncsyft.ops", "asyncsyft.plan.data", "asyncsyft.mpc.packing", "asyncsyft.keeping.file"),
    *("asyncsyft.identity", "asyncsyft.seal", "asyncsyft.websocket.handshake"),
    *("websockets.http11", "websockets.headers", "websockets.server", "websockets.client"),
]
#: Seconds that one input may take before it counts as a hang; MB that a fuzzer may hold.
HANG, MEMORY = 10, 2048
#: Seconds that one fuzzer may take; a run that is cut has too few inputs, and fails.
LIMIT = 4 * 3600


class Ran(NamedTuple):
    """A target's run: inputs, seconds, and what it said if something broke."""

    name: str
    inputs: int
    seconds: float
    broke: str


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def one(name: str, runs: int) -> None:
    """Fuzz one target in this process, which ends with it; what decodes was imported under the fuzzer's eyes."""
    import atheris  # type: ignore[import-not-found,unused-ignore]

    from tests.fuzz.seeds import seeds
    from tests.fuzz.targets import TARGETS

    target, found = TARGETS[name], BUILD / name
    corpus = found / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in seeds()[name]:
        (corpus / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    options = {
        "runs": runs,
        "max_total_time": LIMIT,
        "max_len": target.longest,
        "len_control": 20,
        "timeout": HANG,
        "rss_limit_mb": MEMORY,
        "artifact_prefix": f"{found}/",
    }
    atheris.Setup([name, *(f"-{word}={value}" for word, value in options.items()), str(corpus)], target.read)
    atheris.Fuzz()


def begin(name: str, runs: int) -> int:
    """Fuzz one target in a process forked off this one, so that instrumenting is done once for all; its id."""
    (BUILD / name).mkdir(parents=True, exist_ok=True)
    process = os.fork()
    if not process:
        log = os.open(BUILD / name / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        try:
            one(name, runs)
        finally:
            os._exit(1)  # the fuzzer ends the process itself, with 0
    return process


def ended(name: str, runs: int, seconds: float, status: int) -> Ran:
    """How a target's run went, by what it wrote."""
    said = (BUILD / name / "log").read_text(encoding="utf-8", errors="replace")
    counts = [int(count) for count in re.findall(r"^Done (\d+) runs in", said, re.MULTILINE)]
    inputs = counts[-1] if counts else max([0, *map(int, re.findall(r"^#(\d+)", said, re.MULTILINE))])
    return Ran(name, inputs, seconds, said[-6000:] if status or inputs < runs else "")


def fuzz(names: Sequence[str], runs: int, jobs: int) -> int:
    """Fuzz these targets, ``runs`` inputs in all at least, and show a table; 1 if something broke."""
    import atheris

    with atheris.instrument_imports(include=LED_BY):
        from tests.fuzz.targets import TARGETS

    wanted = {name: TARGETS[name] for name in names or TARGETS}
    shares = sum(target.share for target in wanted.values())
    waiting = [(name, -(-runs * target.share // shares)) for name, target in wanted.items()]
    under_way: Dict[int, Tuple[str, int, float]] = {}
    ran: List[Ran] = []
    while waiting or under_way:
        while waiting and len(under_way) < jobs:
            name, count = waiting.pop(0)
            under_way[begin(name, count)] = name, count, time.monotonic()
        process, status = os.wait()
        name, count, began = under_way.pop(process)
        ran.append(result := ended(name, count, time.monotonic() - began, status))
        row = f"{name:<20} {result.inputs:>10,} inputs {result.seconds:>7.1f} s"
        tell(f"{row}  BROKE\n{result.broke}" if result.broke else row)
    total, broke = sum(result.inputs for result in ran), [result.name for result in ran if result.broke]
    tell(f"{'together':<20} {total:>10,} inputs  {'broke: ' + ', '.join(broke) if broke else 'nothing broke'}")
    return int(bool(broke) or total < runs)


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz what decodes bytes that others wrote.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="all, unless some are named")
    parser.add_argument("--runs", type=int, default=200_000, help="inputs, all targets together")
    parser.add_argument("--jobs", type=int, default=1, help="targets at once")
    told = parser.parse_args()
    if find_spec("atheris") is None:
        tell("SKIPPED: atheris is not installed here; it has wheels for Linux on x86_64")
        return 0
    return fuzz(told.targets, told.runs, told.jobs)


if __name__ == "__main__":
    sys.exit(main())
