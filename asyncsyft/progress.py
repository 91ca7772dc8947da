"""Ready callbacks for ``progress=``: a bar in a terminal (rich), a bar in a notebook (IPython).

They know numbers of bytes and nothing of tensors; what draws them is imported when it is used.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Callable, Iterator

Progress = Callable[[int, int], None]


@contextmanager
def bar(description: str = "") -> Iterator[Progress]:
    """A bar in the terminal, with speed and time left: ``with bar("weights") as progress``. Needs rich."""
    from rich import progress as rich

    columns = (rich.TextColumn("{task.description}"), rich.BarColumn(), rich.DownloadColumn())
    with rich.Progress(*columns, rich.TransferSpeedColumn(), rich.TimeRemainingColumn()) as drawn:
        task = drawn.add_task(description, total=None)
        yield lambda done, total: drawn.update(task, completed=done, total=total)


def notebook() -> Progress:
    """A bar under the cell of a notebook: ``await x.get(progress=notebook())``. Needs IPython, as notebooks have."""
    from IPython import display

    drawn: Any = display.ProgressBar(100)  # type: ignore[no-untyped-call]
    drawn.display()

    def progress(done: int, total: int) -> None:
        percent = 100 * done // max(total, 1)
        if percent != drawn.progress:
            drawn.progress = percent

    return progress
