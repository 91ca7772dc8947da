"""The blocks of docs/pysyft.md run as they stand, against the processes that the page starts."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest

import bridge

from ..conftest import ROOT, free_port

PAGE = ROOT / "docs" / "pysyft.md"
BLOCKS = re.findall(r"^```python pysyft\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)

#: What each of them prints.
PRINTED = [
    r"",
    r"tensor\(\[2\., 4\., 6\.\]\)\n",
    r"bob\n",
    r"tensor\(\[0\.2\d*, +[34]\.\d*\]\) tensor\(\[1\., 0\.\]\)\n",
]


def started(command: List[str]) -> Any:
    """A process of which we wait until it says something."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=ROOT,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    return process


@pytest.fixture(scope="module")
def addresses() -> Iterator[Dict[str, str]]:
    """What the page says, and what is there: a relay with two workers, and one that listens."""
    relay, listening = free_port(), free_port()
    processes = [started(["asyncsyft", "relay", "--listen", f"127.0.0.1:{relay}"])]
    url = f"ws://127.0.0.1:{relay}"
    for where in (["alice", "--relay", url], ["bob", "--relay", url], ["alice", "--listen", f"127.0.0.1:{listening}"]):
        processes.append(started(["bridge", "worker", "--id", *where]))
    yield {"8765": str(relay), "8777": str(listening)}
    bridge.uninstall()
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def test_all_blocks_are_run() -> None:
    assert len(BLOCKS) == len(PRINTED)


@pytest.mark.parametrize("number", range(len(PRINTED)))
def test_a_block_runs_as_it_stands(number: int, addresses: Dict[str, str], tmp_path: Path) -> None:
    source = BLOCKS[number] if number == 0 else "import bridge\n\nbridge.install()\n" + BLOCKS[number]
    for written, there in addresses.items():
        source = source.replace(written, there)
    script = tmp_path / "block.py"
    script.write_text(source)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script)],
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(ROOT)},
        text=True,
        timeout=150,
        check=True,
    )
    assert re.fullmatch(PRINTED[number], done.stdout)
