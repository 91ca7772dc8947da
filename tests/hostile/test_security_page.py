"""Each claim of docs/security.md names tests, and these are there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Iterator, Tuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")


def named() -> Iterator[Tuple[str, str]]:
    """Files and functions, in order; ``::name`` alone belongs to the file before it."""
    file = ""
    for found in re.finditer(r"`(tests/[\w/]+\.py)?(?:::(\w+))?`", PAGE):
        file = found[1] or file
        if found[0] != "``":
            yield file, found[2] or ""


@pytest.mark.parametrize(("file", "name"), sorted(set(named())))
def test_a_test_that_is_named_is_there(file: str, name: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    assert re.search(rf"^(async )?def {name}\(" if name else r"^(async )?def ", text, re.MULTILINE), f"{file}::{name}"


def test_each_section_names_some() -> None:
    for section in PAGE.split("\n## ")[2:]:
        assert re.search(r"`(tests/|::test_)", section), section.split("\n")[0]


def test_each_hostile_test_has_its_place() -> None:
    """What is acted out is claimed."""
    files = {path.name for path in (ROOT / "tests" / "hostile").glob("test_*.py")} - {Path(__file__).name}
    assert {Path(file).name for file, _ in named()} >= files
