"""The audit log as a file: a line for each thing that happened, whatever happened to the line before it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from asyncsyft.privacy import Audit


def test_a_line_that_was_cut_off_takes_none_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Audit(str(tmp_path / "log"))
    write = os.write
    log.note(what="first")
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda file, data: write(file, data[:20]))
        with pytest.raises(OSError, match="is full"):
            log.note(what="cut off")
    for what in ("second", "third"):
        log.note(what=what)
    log.close()
    first, cut, second, third = (tmp_path / "log").read_text().splitlines()
    assert [json.loads(line)["what"] for line in (first, second, third)] == ["first", "second", "third"]
    assert len(cut) == 20


def test_no_text_of_a_driver_makes_a_line_of_its_own(tmp_path: Path) -> None:
    log = Audit(str(tmp_path / "log"))
    hostile = 'x\n{"what":"approved"}\r\u2028\x1b[2J"'
    log.note(what="search", query=[hostile])
    log.close()
    (line,) = (tmp_path / "log").read_bytes().splitlines()
    assert json.loads(line)["query"] == [hostile]
    assert line.decode("ascii").isprintable()
