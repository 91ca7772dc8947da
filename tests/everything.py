"""Runs all that `make test` promises, some commands side by side, and closes with what each part took.

A part that fails does not stop the others. Python 3.8 may be missing on one's own machine, and what needs it is then
skipped loudly; where ``CI`` is set nothing is skipped.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Callable, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

ROOT = Path(__file__).resolve().parent.parent
OLD = ROOT / ".venv-syft" / "bin" / "python"
LIMIT = 1800.0  # seconds; no command of any part runs longer
SIDE_BY_SIDE = 1 + (os.cpu_count() or 1)  # tests wait for processes and for time too: one more keeps the cores busy

#: What takes longest in the core suite, the longest first: a command each. All that is not named here is one more.
SLOW = (
    "tests/cli",
    "tests/mpc",
    "tests/test_conform.py",
    "tests/journeys",
    "tests/hostile",
    "tests/test_benchmarks.py",
    "tests/test_chaos.py",
    "tests/test_demo.py",
    "tests/plan",
    "tests/test_keeping.py",
    "tests/fuzz",
)
BRIDGE = "tests/bridge"
#: Inputs for all decoders together; most of the time goes into starting a fuzzer for each.
FUZZED = 100_000
#: The cores are taken already: an array library that starts a thread for each would only be in the way of the others.
ONE_THREAD = {"OMP_NUM_THREADS": "1"}

#: Typed into the installed wheel, outside the source tree.
ROUND_TRIP = """
import anyio, numpy as np, asyncsyft

async def main():
    async with asyncsyft.local("alice", "bob") as driver:
        alice = driver.worker("alice")
        x = await alice.send(np.ones(10, "float32"))
        assert (await (x + x).get()).tolist() == [2.0] * 10

anyio.run(main)
print("the wheel computed, from", asyncsyft.__file__)
"""

#: Returns what is to be shown of it. Raises: Failed.
Job = Callable[[], str]


class Failed(Exception):
    """A command failed; ``said`` is what it printed."""

    def __init__(self, why: str, said: str = "") -> None:
        super().__init__(why)
        self.said = said


class Part(NamedTuple):
    """What has a line of its own at the end: jobs that run side by side, and what is done when all have ended."""

    name: str
    jobs: Sequence[Job]
    last: Optional[Job] = None
    skipped: str = ""


def run(*command: Union[str, Path], cwd: Path = ROOT, env: Optional[Mapping[str, str]] = None) -> str:
    """Run a command to its end and return what it printed. Raises: Failed."""
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            [str(word) for word in command],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise Failed(f"{name} took more than {LIMIT:.0f} s", (late.output or b"").decode(errors="replace")) from None
    said = done.stdout.decode(errors="replace")
    if done.returncode:
        raise Failed(f"{name} ended with {done.returncode}", said)
    return said


def python(*words: Union[str, Path]) -> Job:
    return lambda: run(sys.executable, *words)


def core() -> List[List[str]]:
    """The core suite, as words for pytest: the slow by themselves, the longest first, and the rest."""
    slow = [name for name in SLOW if (ROOT / name).exists()]
    return [slow[:1], ["tests", *(f"--ignore={name}" for name in (*slow, BRIDGE))], *([name] for name in slow[1:])]


def suite() -> Part:
    measured = (sys.executable, "-m", "coverage", "run", "-m", "pytest", "-p", "no:cacheprovider")

    def piece(words: Sequence[str]) -> Job:
        return lambda: run(*measured, *words, env=ONE_THREAD)

    def report() -> str:
        return run(sys.executable, "-m", "coverage", "combine", "-q") + run(sys.executable, "-m", "coverage", "report")

    version = ".".join(map(str, sys.version_info[:2]))
    return Part(f"suite on {version}", [piece(words) for words in core()], report)


def wheel() -> str:
    """Build the sdist and, from it, the wheel; install it where nothing else is; compute with it."""
    with tempfile.TemporaryDirectory() as folder:
        away = Path(folder)
        run(sys.executable, "-m", "build", "--outdir", away, ROOT)
        run(ROOT / "requirements" / "make-venv", sys.executable, away / "env")
        there = away / "env" / "bin" / "python"
        run(there, "-m", "pip", "install", "-qq", *away.glob("*.whl"), cwd=away)
        return run(there, "-W", "error", "-c", ROUND_TRIP, cwd=away, env={"PYTHONPATH": ""})


def make(target: str) -> None:
    """Make an environment. Raises: Failed."""
    env = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}}
    command = ["make", "--no-print-directory", target]
    if subprocess.run(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, timeout=LIMIT, check=False).returncode:
        raise Failed(f"make {target} failed")


class OldPython:
    """The environment of Python 3.8, set up while other parts run: first as the core suite wants it, then with PySyft.

    Both suites run in the whole of it, so nothing is tested while pip still changes it.
    """

    def __init__(self) -> None:
        finder = ROOT / "requirements" / "find-python38"
        found = subprocess.run([str(finder)], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
        self.skipped = "" if os.environ.get("CI") or not found.returncode else found.stderr.decode().strip()
        self._setting_up = ThreadPoolExecutor(1)
        self._made: List[Future[None]] = []

    def set_up(self) -> None:
        if not self.skipped and not self._made:
            self._made = [self._setting_up.submit(make, target) for target in (".venv-syft/.test", "bridge-env")]

    def suite(self) -> Part:
        pieces = core()
        return Part("suite on 3.8, oldest versions", [self._job(0, words) for words in pieces], skipped=self.skipped)

    def bridge(self) -> Part:
        files = sorted((ROOT / BRIDGE).rglob("test_*.py"), key=lambda file: -file.stat().st_size)
        return Part("bridge, PySyft 0.2.9 on 3.8", [self._job(1, [str(file)]) for file in files], skipped=self.skipped)

    def _job(self, needs: int, words: Sequence[str]) -> Job:
        def job() -> str:
            wait(self._made)
            self._made[needs].result()
            return run(OLD, "-m", "pytest", "-p", "no:cacheprovider", *words, env=ONE_THREAD)

        return job


class Timed(NamedTuple):
    """How a job ended: why it failed or "", what it said, and when it began and ended."""

    failed: str
    said: str
    began: float
    ended: float


def timed(job: Job) -> Timed:
    began = time.monotonic()
    failed = said = ""
    try:
        said = job()
    except Failed as why:
        failed, said = str(why), why.said
    return Timed(failed, said, began, time.monotonic())


def told(part: Part, jobs: Sequence[Future[Timed]]) -> str:
    """Wait for a part, show what it said, and return its line at the end."""
    if part.skipped:
        print(f"\n== {part.name}\nSKIPPED: {part.skipped}", flush=True)
        return f"{part.name:<30} {0:>7.1f} s  SKIPPED: {part.skipped}"
    results = [job.result() for job in jobs]
    if part.last is not None:
        results.append(timed(part.last))
    print(f"\n== {part.name}", flush=True)
    for result in results:
        print(result.said, end="", flush=True)
    failed = ", ".join(result.failed for result in results if result.failed)
    seconds = max(result.ended for result in results) - min(result.began for result in results)
    return f"{part.name:<30} {seconds:>7.1f} s  {f'FAILED: {failed}' if failed else 'passed'}"


def main(wanted: Sequence[str]) -> int:
    began, old = time.monotonic(), OldPython()
    parts = [
        Part("types", [python("-m", "mypy")]),
        Part("style", [python("-m", "ruff", "check"), python("-m", "ruff", "format", "--check")]),
        suite(),
        old.bridge(),
        old.suite(),
        Part("fuzzing", [python("-m", "tests.fuzz", "--runs", str(FUZZED))]),
        Part("wheel", [wheel]),
    ]
    parts = [part for part in parts if not wanted or any(word in part.name for word in wanted)]
    if any("3.8" in part.name for part in parts):
        old.set_up()
    run(sys.executable, "-m", "coverage", "erase")
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        under_way: List[Tuple[Part, List[Future[Timed]]]] = [
            (part, [] if part.skipped else [pool.submit(timed, job) for job in part.jobs]) for part in parts
        ]
        rows = [told(part, jobs) for part, jobs in under_way]
    print("\n== all", *rows, f"{'together':<30} {time.monotonic() - began:>7.1f} s", sep="\n", flush=True)
    return int(any("FAILED" in row for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
