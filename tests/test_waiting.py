"""How a task waits for one outcome, on both event loops."""

from __future__ import annotations

import asyncio
from typing import Any, List

import anyio
import anyio.lowlevel
import pytest

from asyncsyft.waiting import Slot, slot_class, spawn, turn_here

pytestmark = pytest.mark.anyio


async def settle() -> None:
    """Let all other tasks run until they wait."""
    for _ in range(5):
        await anyio.lowlevel.checkpoint()


async def outcome(slot: Slot[Any]) -> Any:
    with anyio.fail_after(5):
        return await slot


async def test_what_is_there_already_needs_no_turn_of_the_loop() -> None:
    slot = slot_class()()
    others: List[str] = []

    async def other() -> None:
        others.append("ran")

    slot.set(7)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        assert await outcome(slot) == 7
        assert others == []
    assert others == ["ran"]


async def test_who_waits_first_is_woken() -> None:
    slot, got = slot_class()(), []

    async def wait() -> None:
        got.append(await outcome(slot))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await settle()
        assert not slot.is_set
        slot.set("here")
        assert slot.is_set
        assert got == []
    assert got == ["here"]
    assert await outcome(slot) == "here"  # and again


async def test_many_are_set_together() -> None:
    slots = [slot_class()() for _ in range(4)]
    got: List[Any] = []

    async def wait(slot: Slot[Any]) -> None:
        got.append(await outcome(slot))

    slots[2].set("before")
    async with anyio.create_task_group() as tasks:
        for slot in slots[:2]:
            tasks.start_soon(wait, slot)
        await settle()
        slot_class().set_all([slots[0], None, *slots[1:]], range(5))
        assert got == []
    assert sorted(got) == [0, 2]
    assert [await outcome(slot) for slot in slots] == [0, 2, "before", 4]


async def test_an_error_takes_the_place_of_the_outcome() -> None:
    before, after = slot_class()(), slot_class()()
    before.fail(KeyError("before"))
    with pytest.raises(KeyError, match="before"):
        await outcome(before)
    async with anyio.create_task_group() as tasks:

        async def wait() -> None:
            with pytest.raises(KeyError, match="after"):
                await outcome(after)

        tasks.start_soon(wait)
        await settle()
        after.fail(KeyError("after"))
    assert isinstance(after.error, KeyError)


async def test_the_first_outcome_counts() -> None:
    slot = slot_class()()
    slot.set(None)
    slot.set(2)
    slot.fail(ValueError("late"))
    assert await outcome(slot) is None
    failed = slot_class()()
    failed.fail(ValueError("first"))
    failed.set(3)
    failed.fail(KeyError("late"))
    with pytest.raises(ValueError, match="first"):
        await outcome(failed)


async def test_two_outcomes_before_the_waiter_runs() -> None:
    slot, got = slot_class()(), []

    async def wait() -> None:
        got.append(await outcome(slot))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await settle()
        slot.set(1)
        slot.set(2)
        slot.fail(ValueError("late"))
    assert got == [1]


async def test_giving_up_leaves_the_slot_usable() -> None:
    slot = slot_class()()
    with anyio.move_on_after(0.001) as scope:
        await slot
    assert scope.cancelled_caught
    assert not slot.is_set
    slot.set("later")  # wakes nobody
    assert await outcome(slot) == "later"


async def test_another_may_wait_once_the_first_gave_up() -> None:
    slot, got = slot_class()(), []

    async def wait() -> None:
        got.append(await outcome(slot))

    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await slot
        tasks.start_soon(wait)
        await settle()
        slot.set(3)
    assert got == [3]


async def test_cancelled_while_the_outcome_arrives() -> None:
    slot, got = slot_class()(), []

    async def wait() -> None:
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            got.append(await slot)

    scopes: List[anyio.CancelScope] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await settle()
        slot.set(4)
        scopes[0].cancel()
    assert got in ([], [4])  # either is right; the outcome is kept
    assert await outcome(slot) == 4
    async with anyio.create_task_group() as tasks:
        slot, got = slot_class()(), []
        tasks.start_soon(wait)
        await settle()
        scopes[1].cancel()
        slot.set(5)
    assert got in ([], [5])
    assert await outcome(slot) == 5


async def test_many_wait_each_for_its_own() -> None:
    slots = [slot_class()() for _ in range(50)]
    got: List[int] = []

    async def wait(slot: Slot[int]) -> None:
        got.append(await outcome(slot))

    async with anyio.create_task_group() as tasks:
        for slot in slots:
            tasks.start_soon(wait, slot)
        await settle()
        for number, slot in enumerate(slots):
            slot.set(number)
    assert sorted(got) == list(range(50))


async def test_a_task_of_no_scope() -> None:
    done = slot_class()()

    async def run() -> None:
        await anyio.lowlevel.checkpoint()
        done.set("ran")

    kept = spawn(run)
    assert await outcome(done) == "ran"
    assert kept is not None


def test_a_task_that_ends_the_loop_keeps_none_of_those_that_were_woken_with_it() -> None:
    loop = asyncio.new_event_loop()
    got: List[int] = []

    async def wait(slot: Slot[int]) -> None:
        got.append(await slot)
        if len(got) == 1:
            raise SystemExit

    slots: List[Slot[int]] = [slot_class()() for _ in range(3)]  # before the loop runs
    tasks = [loop.create_task(wait(slot)) for slot in slots]
    try:
        loop.run_until_complete(asyncio.sleep(0))
        for number, slot in enumerate(slots):
            loop.call_soon(slot.set, number)
        with pytest.raises(SystemExit):
            loop.run_forever()
        with pytest.raises(SystemExit):
            tasks[0].result()
        loop.run_until_complete(asyncio.wait_for(asyncio.gather(*tasks[1:]), 5))
    finally:
        loop.close()
    assert got == [0, 1, 2]


@pytest.mark.parametrize("is_reader", [True, False])
def test_what_a_reader_causes_is_done_in_its_turn_tasks_first(is_reader: bool) -> None:
    happened: List[str] = []

    async def wait(slot: Slot[str]) -> None:
        happened.append(await slot)
        turn_here().call(lambda: happened.append("call of a task"))

    def read(slot: Slot[str]) -> None:
        turn = turn_here()
        turn.due = is_reader
        turn.call(lambda: happened.append("call"))
        slot.set("task")
        assert happened == []
        if is_reader:
            turn.run()
        happened.append("read")

    async def main() -> None:
        slot: Slot[str] = slot_class()()
        task = asyncio.ensure_future(wait(slot))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(read, slot)
        await asyncio.wait_for(task, 5)
        await asyncio.sleep(0)

    asyncio.run(main())
    caused = ["task", "call", "call of a task"]
    assert happened == (["read", *caused] if not is_reader else [*caused, "read"])


def test_without_a_loop_that_is_trio_it_is_asyncios() -> None:
    assert slot_class().__name__ == "_AsyncioSlot"
