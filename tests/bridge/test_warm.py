"""Memory that large tensors left: kept for the next one, never while anybody can see it, and not for long."""

from __future__ import annotations

import gc
import os
from typing import Any, Callable, Iterator, List, Tuple

import numpy as np
import pytest
import syft as sy
import torch
from syft.messaging.message import ForceObjectDeleteMessage, ObjectMessage, ObjectRequestMessage

import bridge
from bridge import beside, warm
from bridge.loop import Stopped

SIZE = 1 << 16


class Loop:
    """Notes what is to be done later."""

    def __init__(self) -> None:
        self.later: List[Tuple[float, Callable[[], Any]]] = []
        self.has_ended = False

    def call_later(self, seconds: float, work: Callable[[], Any]) -> None:
        self.later.append((seconds, work))

    def post_soon(self, work: Callable[..., Any], *args: Any) -> None:
        if self.has_ended:
            raise Stopped("ended")
        work(*args)


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    warm.give_back()
    yield
    warm.give_back()


@pytest.fixture
def loop() -> Loop:
    return Loop()


def landing(loop: Loop, size: int = SIZE, dtype: str = "|u1") -> warm.Landing:
    return warm.Landing(np.dtype(dtype), (size,), loop)  # type: ignore[arg-type]


def landed(loop: Loop, value: int, size: int = SIZE) -> Any:
    there = landing(loop, size)
    assert not there.land(0, memoryview(bytes([value]) * (size // 2)))
    assert there.land(size // 2, memoryview(bytes([value]) * (size - size // 2)))
    return there.array


def place(array: Any) -> int:
    return int(array.__array_interface__["data"][0])


def test_memory_is_kept_as_soon_as_nobody_sees_it_and_the_next_tensor_lands_there(loop: Loop) -> None:
    first = landed(loop, 1)
    where = place(first)
    assert not warm.kept
    del first
    assert len(warm.kept) == 1
    second = landed(loop, 2)
    assert place(second) == where
    assert not warm.kept
    assert second.flags.writeable
    assert (second == 2).all()
    del second
    third = landed(loop, 3, SIZE - 100)  # what is a little smaller takes a part
    assert place(third) == where
    assert third.shape == (SIZE - 100,)
    assert (third == 3).all()
    del third
    assert [owner.nbytes for owner in warm.kept.values()] == [SIZE]


@pytest.mark.parametrize(
    "see",
    [
        lambda array: array[1:].reshape(-1, 1)[:5],
        lambda array: memoryview(array)[5:],
        lambda array: torch.from_numpy(array)[3:],
        lambda array: torch.from_numpy(array).numpy()[:9],
        lambda array: torch.from_numpy(array).storage(),
        lambda array: array.view(np.int16),
    ],
)
def test_memory_that_anything_refers_to_is_not_given_to_others(loop: Loop, see: Callable[[Any], Any]) -> None:
    array = landed(loop, 1)
    seen = see(array)
    del array
    gc.collect()
    assert not warm.kept
    other = landed(loop, 2)
    assert all(int(value) in (1, 257) for value in (seen if isinstance(seen, list) else np.array(list(seen)).ravel()))
    del seen
    gc.collect()
    assert len(warm.kept) == 1
    assert (other == 2).all()


def test_what_began_to_land_moves_to_memory_that_came_free(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm, "LITTLE", 100)
    before = landed(loop, 1)
    where = place(before)
    early, late = landing(loop), landing(loop)
    assert not early.land(0, memoryview(b"\5" * 100))
    assert not late.land(0, memoryview(b"\7" * 101))
    del before
    assert late.land(101, memoryview(b"\7" * (SIZE - 101)))
    assert len(warm.kept) == 1  # more of it was there than pays to be moved
    assert early.land(100, memoryview(b"\5" * (SIZE - 100)))
    assert place(early.array) == where
    assert place(late.array) != where
    assert (early.array == 5).all()
    assert (late.array == 7).all()


def test_a_tensor_that_never_became_whole_leaves_nothing_and_takes_nothing_away(loop: Loop) -> None:
    array = landed(loop, 1)
    half = landing(loop)
    assert not half.land(0, memoryview(b"\5"))
    del half
    assert (array == 1).all()
    assert not warm.kept


def test_booleans_are_0_or_1(loop: Loop) -> None:
    there = landing(loop, 8, "|b1")
    assert there.land(0, memoryview(bytes(range(8))))
    assert there.array.view(np.uint8).tolist() == [0, 1, 1, 1, 1, 1, 1, 1]


def test_memory_of_another_size_is_left_alone(loop: Loop) -> None:
    array = landed(loop, 1)
    del array
    for size in (SIZE // 2, SIZE + 1):
        landed(loop, 2, size)
        assert SIZE in [owner.nbytes for owner in warm.kept.values()]


def test_it_is_kept_for_a_moment_since_its_last_use(loop: Loop) -> None:
    landed(loop, 1)
    ((seconds, first),) = loop.later
    assert seconds == warm.SECONDS
    landed(loop, 2)  # which lands there, so that the first moment says nothing any more
    first()
    assert len(warm.kept) == 1
    loop.later[1][1]()
    assert not warm.kept


def test_it_is_not_kept_without_bounds(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm, "MOST", 2 * SIZE)
    arrays = [landed(loop, value) for value in range(3)]
    arrays.clear()
    assert len(warm.kept) == 2


def test_it_is_not_kept_where_nobody_would_let_it_go(loop: Loop) -> None:
    array = landed(loop, 1)
    loop.has_ended = True
    del array
    assert not warm.kept


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
def test_a_child_keeps_nothing(loop: Loop) -> None:
    array = landed(loop, 1)
    landed(loop, 2)
    assert warm.kept
    child = os.fork()
    if not child:  # pragma: no cover - in another process
        was_forgotten = not warm.kept
        del array
        os._exit(0 if was_forgotten and not warm.kept else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert warm.kept


def test_a_worker_has_it_back_before_it_computes(hook: Any, loop: Loop) -> None:
    bridge.install()
    try:
        worker, me = sy.VirtualWorker(hook, id="computes"), sy.local_worker
        worker.is_client_worker = False
        x = torch.ones(2).send(worker)
        landed(loop, 1)
        for frugal in (ObjectMessage(torch.ones(2)), ForceObjectDeleteMessage([1]), ObjectRequestMessage(5, None, "")):
            message = beside.write(frugal, me)
            try:
                worker.recv_msg(message)
            except sy.exceptions.ObjectNotFoundError:
                assert type(frugal) is ObjectRequestMessage
            assert warm.kept
        message = beside.write(sy.messaging.message.TensorCommandMessage.computation("__add__", x, (x,), {}, (77,)), me)
        worker.recv_msg(message)
        assert not warm.kept
    finally:
        bridge.uninstall()
