"""Fuzzes each decoder, led by what code it reaches: ``python -m tests.fuzz --runs 200000 [--jobs 2] [TARGET ...]``.

The inputs begin with the vectors of docs/vectors. What breaks a decoder is left in build/fuzz/TARGET; put it into
tests/fuzz/saved/TARGET, where the replay meets it on every Python. Needs atheris (``pip install -e .[fuzz]``).
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import List, NamedTuple, Sequence

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
#: Seconds that the fuzzers may take, in all; a run that is cut says so and fails.
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
    """Fuzz one target in this process, which ends with it."""
    import atheris  # type: ignore[import-not-found,unused-ignore]

    with atheris.instrument_imports(include=LED_BY):
        from tests.fuzz import targets
    from tests.fuzz.seeds import seeds

    target, found = targets.TARGETS[name], BUILD / name
    corpus = found / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in seeds()[name]:
        (corpus / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    options = {
        "runs": runs,
        "max_len": target.longest,
        "len_control": 20,
        "timeout": HANG,
        "rss_limit_mb": MEMORY,
        "artifact_prefix": f"{found}/",
    }
    atheris.Setup([name, *(f"-{word}={value}" for word, value in options.items()), str(corpus)], target.read)
    atheris.Fuzz()


def child(name: str, runs: int) -> Ran:
    began = time.monotonic()
    command = [sys.executable, "-m", "tests.fuzz", "--one", name, "--runs", str(runs)]
    try:
        done = subprocess.run(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LIMIT, check=False
        )
        said, failed = done.stdout.decode(errors="replace"), done.returncode != 0
    except subprocess.TimeoutExpired as late:
        said, failed = (late.output or b"").decode(errors="replace"), True
    said = "".join(line for line in said.splitlines(True) if not line.startswith("INFO: Instrumenting"))
    counts = [int(count) for count in re.findall(r"^Done (\d+) runs in", said, re.MULTILINE)]
    inputs = counts[-1] if counts else max([0, *map(int, re.findall(r"^#(\d+)", said, re.MULTILINE))])
    failed = failed or inputs < runs
    return Ran(name, inputs, time.monotonic() - began, said[-6000:] if failed else "")


def fuzz(names: Sequence[str], runs: int, jobs: int) -> int:
    """Fuzz these targets, ``runs`` inputs in all at least, and show a table; 1 if something broke."""
    from tests.fuzz.targets import TARGETS

    wanted = {name: TARGETS[name] for name in names or TARGETS}
    shares = sum(target.share for target in wanted.values())
    with ThreadPoolExecutor(jobs) as pool:
        jobs_done = [pool.submit(child, name, -(-runs * target.share // shares)) for name, target in wanted.items()]
        ran: List[Ran] = [job.result() for job in jobs_done]
    for result in ran:
        rate = result.inputs / max(result.seconds, 1e-9)
        row = f"{result.name:<20} {result.inputs:>10,} inputs {result.seconds:>7.1f} s {rate:>8,.0f} a second"
        tell(f"{row}  BROKE\n{result.broke}" if result.broke else row)
    total, broke = sum(result.inputs for result in ran), [result.name for result in ran if result.broke]
    tell(f"{'together':<20} {total:>10,} inputs  {'broke: ' + ', '.join(broke) if broke else 'nothing broke'}")
    return int(bool(broke) or total < runs)


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz what decodes bytes that others wrote.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="all, unless some are named")
    parser.add_argument("--runs", type=int, default=200_000, help="inputs, all targets together")
    parser.add_argument("--jobs", type=int, default=1, help="targets at once")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    told = parser.parse_args()
    if find_spec("atheris") is None:
        tell("SKIPPED: atheris is not installed here; it has wheels for Linux on x86_64")
        return 0
    if told.one:
        one(told.targets[0], told.runs)
        return 0
    return fuzz(told.targets, told.runs, told.jobs)


if __name__ == "__main__":
    sys.exit(main())
