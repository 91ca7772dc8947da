"""Runs all that `make test` promises, part by part, and closes with what each took.

A part that fails does not stop the others. Python 3.8 may be missing on one's own machine, and is then skipped loudly;
where ``CI`` is set nothing is skipped.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable, Dict, List, Mapping, Optional, Sequence, Union

ROOT = Path(__file__).resolve().parent.parent
OLD = ROOT / ".venv-syft" / "bin" / "python"
LIMIT = 1800.0  # seconds; no command of any part runs longer

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


class Failed(Exception):
    """A part of the run failed; what failed is on the screen already."""


def run(
    *command: Union[str, Path],
    cwd: Path = ROOT,
    env: Optional[Mapping[str, str]] = None,
    quiet: bool = False,
    show: bool = False,
) -> None:
    """Run a command to its end; what a quiet one prints is shown at its end, if it fails or ``show`` says so."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
        timeout=LIMIT,
        check=False,
    )
    if quiet and (show or done.returncode):
        print(done.stdout.decode(errors="replace"), end="", flush=True)
    if done.returncode:
        raise Failed(f"{Path(command[0]).name} ended with {done.returncode}")


def python(*words: Union[str, Path]) -> None:
    run(sys.executable, *words)


def style() -> None:
    python("-m", "ruff", "check")
    python("-m", "ruff", "format", "--check")


def types() -> None:
    python("-m", "mypy")


def halves(*command: Union[str, Path]) -> None:
    """Run the suite as two commands side by side, one a core; what each prints is shown when it has ended."""
    slow = [f"tests/{folder}" for folder in ("cli", "fuzz", "journeys", "plan")]
    rest = ["tests", *(f"--ignore={folder}" for folder in slow)]
    failed = []
    with ThreadPoolExecutor(2) as pool:
        for half in [pool.submit(run, *command, *words, quiet=True, show=True) for words in (slow, rest)]:
            try:
                half.result()
            except (Failed, subprocess.TimeoutExpired) as why:
                failed.append(str(why))
    if failed:
        raise Failed(", ".join(failed))


def suite() -> None:
    python("-m", "coverage", "erase")
    try:
        halves(sys.executable, "-m", "coverage", "run", "-m", "pytest", "-p", "no:cacheprovider")
    finally:
        python("-m", "coverage", "combine", "-q")
        python("-m", "coverage", "report")


def wheel() -> None:
    """Build the sdist and, from it, the wheel; install it where nothing else is; compute with it."""
    with tempfile.TemporaryDirectory() as folder:
        away = Path(folder)
        run(sys.executable, "-m", "build", "--outdir", away, ROOT, quiet=True)
        run(ROOT / "requirements" / "make-venv", sys.executable, away / "env", quiet=True)
        there = away / "env" / "bin" / "python"
        run(there, "-m", "pip", "install", "-qq", *away.glob("*.whl"), cwd=away, quiet=True)
        run(there, "-W", "error", "-c", ROUND_TRIP, cwd=away, env={"PYTHONPATH": ""})


class OldPython:
    """The environment of Python 3.8: set up beside the other parts, then tested."""

    def __init__(self) -> None:
        self.skipped = ""
        self._setting_up: Optional[subprocess.Popen[bytes]] = None
        finder = ROOT / "requirements" / "find-python38"
        found = subprocess.run([str(finder)], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
        if found.returncode and not os.environ.get("CI"):
            self.skipped = found.stderr.decode().strip()
            return
        env = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}}
        self._setting_up = subprocess.Popen(["make", "--no-print-directory", ".venv-syft/.test"], cwd=ROOT, env=env)

    def suite(self) -> None:
        if self._setting_up is None:
            return
        if self._setting_up.wait(LIMIT):
            raise Failed("Python 3.8 could not be set up")
        halves(OLD, "-m", "pytest", "-p", "no:cacheprovider")


def heading(text: str) -> None:
    print(f"\n== {text}", flush=True)


def timed(part: Callable[[], None]) -> Dict[str, str]:
    """Run one part; how it ended and the seconds that it took."""
    start = time.monotonic()
    try:
        part()
        ended = "passed"
    except (Failed, subprocess.TimeoutExpired) as why:
        ended = f"FAILED: {why}"
    return {"ended": ended, "seconds": f"{time.monotonic() - start:.1f}"}


def main(wanted: Sequence[str]) -> int:
    old = OldPython()
    version = ".".join(map(str, sys.version_info[:2]))
    parts: Dict[str, Callable[[], None]] = {
        "style": style,
        "types": types,
        f"suite on {version}": suite,
        "suite on 3.8, oldest versions": old.suite,
        "wheel": wheel,
    }
    rows: List[str] = []
    for name, part in parts.items():
        if wanted and not any(word in name for word in wanted):
            continue
        heading(name)
        row = timed(part)
        if part == old.suite and old.skipped:
            row["ended"] = f"SKIPPED: {old.skipped}"
            print(row["ended"], flush=True)
        rows.append(f"{name:<30} {row['seconds']:>7} s  {row['ended']}")
    heading("all")
    print("\n".join(rows), flush=True)
    return int(any("FAILED" in row for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
