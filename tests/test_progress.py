"""Progress of large tensors, in numbers and as the ready adapters show it."""

from __future__ import annotations

from typing import List, Tuple

import anyio
import numpy as np
import pytest

import asyncsyft
from asyncsyft.progress import bar, notebook

pytestmark = pytest.mark.anyio


async def test_sending_and_getting_tell_every_chunk_up_to_the_whole() -> None:
    array = np.arange(1 << 18, dtype=np.int64)
    sent: List[Tuple[int, int]] = []
    got: List[Tuple[int, int]] = []
    with anyio.fail_after(10):
        async with asyncsyft.local("alice") as driver:
            x = await driver["alice"].send(array, progress=lambda *at: sent.append(at))
            assert np.array_equal(await x.get(progress=lambda *at: got.append(at)), array)
    for told in (sent, got):
        assert [done for done, _ in told] == [(at + 1) << 18 for at in range(8)]
        assert {total for _, total in told} == {array.nbytes}


async def test_a_callback_that_fails_disturbs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    calls: List[int] = []

    def fail(done: int, total: int) -> None:
        calls.append(done)
        raise RuntimeError("no room on the screen")

    array = np.ones(1 << 18)
    with anyio.fail_after(10):
        async with asyncsyft.local("alice") as driver:
            x = await driver["alice"].send(array, progress=fail)
            assert np.array_equal(await x.get(), array)
    assert len(calls) == 1
    assert "no room on the screen" in caplog.text


async def test_a_bar_in_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with bar("weights") as progress:
        progress(1 << 20, 2 << 20)
        progress(2 << 20, 2 << 20)
    assert "weights" in capsys.readouterr().out


async def test_a_bar_in_a_notebook(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("IPython")
    progress = notebook()
    progress(1, 2)
    progress(2, 2)
    shown = capsys.readouterr().out
    assert "50" in shown
    assert "100" in shown
