"""A relay and workers without PySyft, in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from typing import List

from .conftest import ROOT


class Town:
    """A relay and the workers that joined it; they end with ``stop``."""

    def __init__(self) -> None:
        self._processes: List[subprocess.Popen[str]] = []
        self.url = self._start("relay", "--listen", "127.0.0.1:0").split()[-1]

    def _start(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "asyncsyft", *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT, text=True)
        self._processes.append(process)
        assert process.stdout is not None
        return process.stdout.readline()

    def worker(self, name: str, *options: str) -> subprocess.Popen[str]:
        """One more worker at the relay."""
        self._start("worker", "--name", name, "--relay", self.url, *options)
        return self._processes[-1]

    @property
    def port(self) -> int:
        """Where the relay listens."""
        return int(self.url.rpartition(":")[2])

    def stop(self) -> None:
        """Kill them all; nothing is left."""
        for process in reversed(self._processes):
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
