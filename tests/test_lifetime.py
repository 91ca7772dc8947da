"""What owns its tasks: errors come out as they are, cancellation passes, a task that crashes is heard of."""

from __future__ import annotations

import asyncio
from typing import List

import anyio
import anyio.lowlevel
import pytest

from asyncsyft import lifetime
from asyncsyft.lifetime import Lifetime

pytestmark = pytest.mark.anyio


class Kept(Lifetime):
    """Notes what happens to it; a task runs while it is entered."""

    def __init__(self) -> None:
        self.notes: List[str] = []
        self.crash = anyio.Event()

    async def _open(self) -> None:
        self._tasks.start_soon(self._run)
        self.notes.append("open")

    async def _run(self) -> None:
        try:
            await self.crash.wait()
            raise KeyError("the task crashed")
        finally:
            self.notes.append("task ended")

    async def _close(self) -> None:
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        self.notes.append("close")


class Hanging(Kept):
    async def _close(self) -> None:
        self.notes.append("close")
        await anyio.sleep_forever()


class NeverOpen(Kept):
    async def _open(self) -> None:
        await super()._open()
        raise ValueError("cannot open")


ALL = ["open", "close", "task ended"]


def flat(error: BaseException) -> List[BaseException]:
    """The errors of a group, or the error."""
    return [leaf for part in getattr(error, "exceptions", ()) for leaf in flat(part)] or [error]


async def test_it_opens_and_closes() -> None:
    kept = Kept()
    async with kept as entered:
        assert entered is kept
        assert kept.notes == ["open"]
    assert kept.notes == ALL


async def test_an_error_of_the_body_comes_out_bare() -> None:
    kept = Kept()
    with pytest.raises(ValueError, match="mine") as caught:
        async with kept:
            raise ValueError("mine")
    assert type(caught.value) is ValueError
    assert kept.notes == ALL


async def test_cancellation_from_outside_passes() -> None:
    kept = Kept()
    after = False
    with anyio.move_on_after(0.01) as scope:
        async with kept:
            await anyio.sleep_forever()
        after = True
    assert scope.cancelled_caught
    assert not after
    assert sorted(kept.notes) == sorted(ALL)


async def test_a_cancelled_task_of_asyncio_stays_cancelled(anyio_backend: str) -> None:
    if anyio_backend != "asyncio":
        with anyio.CancelScope() as scope:
            scope.cancel()
            async with Kept():
                await anyio.sleep_forever()
        assert scope.cancelled_caught
        return
    kept, begun = Kept(), asyncio.Event()

    async def run() -> str:
        async with kept:
            begun.set()
            await asyncio.sleep(60)
        return "swallowed"

    task = asyncio.ensure_future(run())
    await asyncio.wait_for(begun.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)
    assert kept.notes == ALL


async def test_a_task_that_crashes_surfaces() -> None:
    kept = Kept()

    async def run() -> None:
        async with kept:
            kept.crash.set()
            await anyio.sleep_forever()

    with anyio.fail_after(5), pytest.raises(BaseException) as caught:  # noqa: PT011 - a group, or the error
        await run()
    (error,) = flat(caught.value)
    assert isinstance(error, KeyError)
    assert kept.notes == ["open", "task ended", "close"]


async def test_a_task_that_crashed_while_the_body_ended_surfaces() -> None:
    kept = Kept()
    with pytest.raises(BaseException) as caught:  # noqa: PT011
        async with kept:
            kept.crash.set()
    assert [type(error) for error in flat(caught.value)] == [KeyError]


async def test_a_close_that_hangs_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifetime, "CLOSE_TIMEOUT", 0.01)
    kept = Hanging()
    with anyio.fail_after(5):
        async with kept:
            pass
    assert kept.notes == ALL
    kept = Hanging()
    with anyio.fail_after(5), pytest.raises(ValueError, match="mine"):
        async with kept:
            raise ValueError("mine")
    assert kept.notes == ALL


async def test_closing_is_not_cut_short_by_the_cancellation_that_caused_it() -> None:
    kept = Kept()
    with anyio.CancelScope() as scope:
        async with kept:
            scope.cancel()
            await anyio.lowlevel.checkpoint()
    assert "close" in kept.notes  # it has a checkpoint before


async def test_what_cannot_open_raises_why_and_ends_its_tasks() -> None:
    kept = NeverOpen()
    with pytest.raises(ValueError, match="cannot open") as caught:
        async with kept:
            raise AssertionError("entered")
    assert type(caught.value) is ValueError
    assert kept.notes[0] == "open"
    assert "close" not in kept.notes


async def test_cancelled_while_it_opens() -> None:
    class Slow(Kept):
        async def _open(self) -> None:
            await super()._open()
            await anyio.sleep_forever()

    kept = Slow()
    with anyio.move_on_after(0.01) as scope:
        async with kept:
            raise AssertionError("entered")
    assert scope.cancelled_caught
    assert kept.notes == ["open", "task ended"]


async def test_open_and_aclose_in_different_tasks() -> None:
    kept = Kept()

    async def enter() -> None:
        with anyio.fail_after(5):
            assert await kept.open() is kept

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(enter)
    assert kept.notes == ["open"]
    with anyio.fail_after(5):
        await kept.aclose()
        await kept.aclose()
    assert kept.notes == ALL


async def test_open_raises_what_entering_raises() -> None:
    with anyio.fail_after(5), pytest.raises(ValueError, match="cannot open"):
        await NeverOpen().open()


async def test_aclose_raises_what_a_task_raised() -> None:
    kept = Kept()
    with anyio.fail_after(5):
        await kept.open()
        kept.crash.set()
        with pytest.raises(BaseException) as caught:  # noqa: PT011
            await kept.aclose()
    assert KeyError in [type(error) for error in flat(caught.value)]


async def test_tasks_go_on_until_the_body_has_met_the_cancellation_and_closed() -> None:
    class Told(Kept):
        async def _run(self) -> None:
            try:
                await anyio.sleep_forever()
            finally:
                self.notes.append("task ended")

    kept = Told()
    with anyio.fail_after(5), anyio.CancelScope() as scope:
        async with anyio.create_task_group() as others:
            others.start_soon(anyio.sleep_forever)
            async with kept:
                scope.cancel()
                try:
                    for _ in range(10):
                        with anyio.CancelScope(shield=True):
                            await anyio.lowlevel.checkpoint()
                    assert kept.notes == ["open"]
                    await anyio.sleep_forever()
                finally:
                    kept.notes.append("body ended")
    assert scope.cancelled_caught
    assert kept.notes == ["open", "body ended", "close", "task ended"]


@pytest.mark.parametrize("tasks", [0, 3])
async def test_entered_when_cancelled_already(tasks: int) -> None:
    class Many(Kept):
        async def _open(self) -> None:
            for _ in range(tasks):
                self._tasks.start_soon(self._run)
            await anyio.sleep_forever()

    kept = Many()
    with anyio.fail_after(5), anyio.CancelScope() as scope:
        scope.cancel()
        async with kept:
            raise AssertionError("entered")
    assert scope.cancelled_caught
    assert kept.notes == ["task ended"] * tasks
