"""How much memory this process may still take before the machine, or its cgroup, runs out: where Linux tells."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, Iterator, Optional

_PROC, _CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def available(proc: Path = _PROC, cgroups: Path = _CGROUPS) -> Optional[int]:
    """Bytes, what the system can take back at once counted as free; None where nobody tells."""
    found = [*_of_machine(proc), *_of_cgroups(proc, cgroups)]
    return max(0, min(found)) if found else None


def _of_machine(proc: Path) -> Iterator[int]:
    try:
        yield _numbers((proc / "meminfo").read_text("ascii"))["MemAvailable"] << 10
    except (OSError, ValueError, KeyError):
        return


def _of_cgroups(proc: Path, root: Path) -> Iterator[int]:
    """What is left of the limit of this process's cgroup (version 2), and of those above it."""
    try:
        lines = (proc / "self" / "cgroup").read_text("utf-8").splitlines()
    except (OSError, ValueError):
        return
    own = [line[3:].strip("/") for line in lines if line.startswith("0::")]
    folder = root / own[0] if own else root
    while own:
        yield from _left(folder)
        if folder == root or root not in folder.parents:
            return
        folder = folder.parent


def _left(folder: Path) -> Iterator[int]:
    try:
        limit = (folder / "memory.max").read_text("ascii").strip()
        if limit != "max":
            used = int((folder / "memory.current").read_text("ascii"))
            yield int(limit) - used + _numbers((folder / "memory.stat").read_text("ascii")).get("inactive_file", 0)
    except (OSError, ValueError):
        return


def _numbers(text: str) -> Dict[str, int]:
    """``name: number ...`` or ``name number``, a line each."""
    words = [line.replace(":", " ").split() for line in text.splitlines()]
    return {line[0]: int(line[1]) for line in words if len(line) > 1 and line[1].isdigit()}
