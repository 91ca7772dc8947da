"""Commands as real processes: their lines as they come, and their end."""

from __future__ import annotations

import os
import queue
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, List, Mapping, Optional, Tuple

#: Seconds for the next line of a process, or its end; starting one takes many on a machine that does much else.
SECONDS = 60.0


class Command:
    """``python -m asyncsyft`` with some words: its lines as they come, and its end."""

    def __init__(self, *words: str, env: Optional[Mapping[str, str]] = None, cwd: Optional[Path] = None) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ASYNCSYFT_")}
        clean["XDG_CONFIG_HOME"] = os.devnull  # whoever runs the tests may have a key of their own
        self.process = subprocess.Popen(
            [sys.executable, "-m", "asyncsyft", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**clean, **(env or {})},
            cwd=cwd,
            universal_newlines=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._errors: queue.Queue[str] = queue.Queue()
        self._told: List[str] = []  # of the errors, what was taken
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._threads = [
            threading.Thread(target=_read, args=(self.process.stdout, self._lines.put)),
            threading.Thread(target=_read, args=(self.process.stderr, self._errors.put)),
        ]
        for thread in self._threads:
            thread.start()

    def line(self) -> str:
        """The next line of its output; "" at its end."""
        return self._lines.get(timeout=SECONDS)

    def error(self, text: str) -> str:
        """The next line of its errors that has this in it."""
        while True:
            line = self._errors.get(timeout=SECONDS)
            self._told.append(line)
            if text in line:
                return line
            assert line, f"{text!r} was never said: {self._told}"

    def signal(self, number: int) -> None:
        """As from a keyboard or an init system."""
        self.process.send_signal(number)

    def end(self) -> Tuple[int, str, str]:
        """Its exit code, what is left of its output, and all of its errors."""
        code = self.process.wait(SECONDS)
        for thread in self._threads:
            thread.join(SECONDS)
        left, told = [], self._told
        while not self._lines.empty():
            left.append(self._lines.get())
        while not self._errors.empty():
            told.append(self._errors.get())
        return code, "".join(left), "".join(told)

    def stop(self) -> None:
        """End it, whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
        self.end()


def _read(stream: Any, take: Any) -> None:
    with stream:
        for line in stream:
            take(line)
    take("")


def url_in(line: str) -> str:
    found = re.search(r"wss?://\S+", line)
    assert found, line
    return found[0]
