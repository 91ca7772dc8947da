"""How the demo looks in a terminal. It knows what a result is, not how one comes about."""

from __future__ import annotations

from types import TracebackType
from typing import Dict, List, Optional, Type

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from .run import TOLERANCE, Result, Stage


class Show(Stage):
    """Prints what happens; a context manager, since bars move in it."""

    def __init__(self, quiet: bool = False) -> None:
        self.console = Console(quiet=quiet, highlight=False)
        text = TextColumn("{task.description:<16}")
        accuracy = TextColumn("round {task.completed}/{task.total}  test accuracy {task.fields[right]:.1%}")
        self._progress = Progress(text, BarColumn(), accuracy, TimeElapsedColumn(), console=self.console)
        self._bars: Dict[str, TaskID] = {}

    def __enter__(self) -> Show:
        self.console.print("A relay and two workers, alice and bob, start in processes of their own.", style="bold")
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], traceback: Optional[TracebackType]
    ) -> None:
        self._progress.stop()

    def shown(self, source: List[str], results: Dict[int, str]) -> None:
        """The lines, and what they showed."""
        self.console.print("\nFirst steps with a tensor that is at alice:\n", style="bold")
        for index, line in enumerate(source):
            self.console.print(Text(f"    {line}", style="cyan"))
            if index in results:
                self.console.print(
                    Text(f"    {' ' * (len(line) - len(line.lstrip()))}→ {results[index]}", style="green"),
                    soft_wrap=True,
                )
        self.console.print(
            "\nA network learns digits; each worker holds half of them, and lets out what sums up 100 or more:\n",
            style="bold",
        )
        self._progress.start()

    def progress(self, what: str, done: int, of: int, right: float) -> None:
        """Move a bar."""
        if what not in self._bars:
            self._bars[what] = self._progress.add_task(what, total=of, right=right)
        self._progress.update(self._bars[what], completed=done, right=right)

    def end(self, result: Result) -> None:
        """The closing table."""
        self._progress.stop()
        self.console.print()
        self.console.print(table(result))


def table(result: Result) -> Table:
    """What came of it."""
    same = "equal" if result.matches_local else "DIFFERENT"
    rows = {
        "test accuracy, trained at the workers": f"{result.accuracy:.1%}",
        "test accuracy, trained here with numpy": f"{result.local_accuracy:.1%}",
        f"parameters of both, to within {TOLERANCE:g}": f"{same} (largest difference {result.difference:.1g})",
        "what the workers let out of their digits": result.released,
        "steps recorded and run at the workers": f"{result.steps:,}",
        "websocket messages, sent and received": f"{result.messages_sent:,} and {result.messages_received:,}",
        "round trips waited for": f"{result.round_trips:,}",
        "bytes, sent and received": f"{decimal(result.bytes_sent)} and {decimal(result.bytes_received)}",
        "time at the workers; here; in all": (
            f"{result.seconds:.1f} s; {result.local_seconds:.1f} s; {result.total_seconds:.1f} s"
        ),
    }
    made = Table(show_header=False)
    for row in rows.items():
        made.add_row(*row)
    return made
