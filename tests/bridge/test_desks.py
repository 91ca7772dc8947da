"""Desks: who waits serves what belongs to the same call, and a worker's threads take turns."""

from __future__ import annotations

import _thread
import threading
from typing import Any, Callable, List

import pytest
import torch

from bridge import ends
from bridge.desks import Desk, Gradients, Office, gradients, here
from bridge.loop import Outcome
from bridge.messages import Call


class Job:
    """A task that runs a function at its desk, in turn, and remembers in which thread."""

    talk: Any = None
    is_waited = False
    is_followed = False

    def __init__(self, office: Office, call: Call, work: Callable[[], Any]) -> None:
        self.office, self.call, self.work = office, call, work
        self.ended = Outcome()
        self.answer: Callable[[], None] = lambda: None

    def serve(self) -> None:
        try:
            self.ended.set((threading.current_thread(), self.office.serve(self.call, self.work)))
        except BaseException as error:  # noqa: BLE001 - the test sees it
            self.ended.set(error=error)
        self.answer()


class Reply:
    done = False

    def give(self, desk: Desk) -> None:
        self.done = True
        desk.mail.put(self)


@pytest.fixture
def office() -> Office:
    return Office("bob")


@pytest.mark.parametrize(
    ("call", "talk", "waited", "followed"),
    [
        (Call(b"a", 1), "talk", True, True),
        (Call(b"a", 1), "talk", False, False),
        (Call(b"b", 1), "talk", True, False),
        (Call(b"a", 2), "talk", True, False),
        (Call(b"a", 1), "another", True, False),
    ],
    ids=["asked next", "told next", "another program", "deeper", "another conversation"],
)
def test_what_is_told_knows_whether_the_same_call_asks_next(
    office: Office, call: Call, talk: str, waited: bool, followed: bool
) -> None:
    go = Outcome()
    busy = Job(office, Call(b"a", 1), go.wait)
    told, after = Job(office, Call(b"a", 1), lambda: None), Job(office, call, lambda: None)
    told.talk, after.talk, after.is_waited = "talk", talk, waited
    for job in (busy, told, after):
        office.deliver("talk", job)
    assert (busy.is_followed, told.is_followed, after.is_followed) == (False, followed, False)
    go.set()
    assert len({job.ended.wait()[0] for job in (busy, told, after)}) == 1  # one after the other


def test_each_conversation_has_a_thread_and_keeps_its_order(office: Office) -> None:
    seen: List[Any] = []
    jobs = [(talk, Job(office, Call(talk, 1), lambda: None)) for _ in range(50) for talk in (b"a", b"b")]
    for number, (talk, job) in enumerate(jobs):
        job.work = lambda talk=talk, number=number: seen.append((talk, number))  # type: ignore[misc]
        office.deliver(talk, job)
    threads = {(talk, job.ended.wait()[0]) for talk, job in jobs}
    assert len(threads) == 2
    for talk in (b"a", b"b"):
        numbers = [number for who, number in seen if who == talk]
        assert numbers == sorted(numbers)
        office.ended(talk)
    for _, thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def test_who_waits_serves_what_is_deeper_and_leaves_the_rest_for_later(office: Office) -> None:
    reply, begun, order = Reply(), Outcome(), []  # type: ignore[var-annotated]

    def outer() -> None:
        begun.set(here())
        here().wait(reply)
        order.append("outer")

    first = Job(office, Call(b"root", 1), outer)
    after = Job(office, Call(b"root", 1), lambda: order.append("after"))
    deeper = Job(office, Call(b"root", 3), lambda: (order.append("deeper"), reply.give(here())))
    office.deliver("talk", first)
    begun.wait()
    office.deliver("talk", after)
    office.deliver("another", deeper)
    (one, _), (two, _), (three, _) = first.ended.wait(), deeper.ended.wait(), after.ended.wait()
    assert one is two is three
    assert order == ["deeper", "outer", "after"]


def test_the_turn_is_free_while_its_thread_waits(office: Office) -> None:
    reply, desk = Reply(), Outcome()

    def waits() -> str:
        desk.set(here())
        here().wait(reply)
        assert office.turn.locked()
        return "answered"

    first = Job(office, Call(b"one", 1), waits)
    office.deliver("one", first)
    waiting = desk.wait()
    second = Job(office, Call(b"two", 1), lambda: reply.give(waiting))
    office.deliver("two", second)
    assert second.ended.wait()[0] is not first.ended.wait()[0]
    assert first.ended.wait()[1] == "answered"


def test_a_call_back_is_served_by_the_thread_that_began(office: Office) -> None:
    mine, reply = here(), Reply()
    back = Job(office, Call(mine.root, 2), lambda: reply.give(mine))
    office.deliver("talk", back)
    mine.wait(reply)
    assert back.ended.wait()[0] is threading.current_thread()
    assert mine.depth == 0


def in_a_foreign_thread(work: Callable[[], Any]) -> Any:
    """What a function gives in a thread that Python's ``threading`` did not make, as torch's own."""
    outcome = Outcome()

    def run() -> None:
        try:
            outcome.set(work())
        except BaseException as error:  # noqa: BLE001 - the test sees it
            outcome.set(error=error)

    _thread.start_new_thread(run, ())
    return outcome.wait()


def test_a_hook_in_torch_s_thread_stands_in_for_the_one_that_waits_for_gradients(office: Office) -> None:
    reply, ready = Reply(), Outcome()

    def hook() -> Any:
        desk = here()
        ready.set(desk)
        desk.wait(reply)
        return desk.root, desk.depth

    job = Job(office, Call(b"root", 1), lambda: gradients(in_a_foreign_thread)(hook))
    office.deliver("talk", job)
    standing = ready.wait()
    inner = Job(office, Call(b"root", 3), lambda: (here() is standing, reply.give(standing)))
    office.deliver("another", inner)
    assert inner.ended.wait()[1][0]
    thread, (root, depth) = job.ended.wait()
    assert (root, depth) == (b"root", 1)
    assert inner.ended.wait()[0] is not thread


def test_who_waits_for_gradients_that_another_is_at_gives_its_turn_away(office: Office) -> None:
    reply, ready, begun = Reply(), Outcome(), Outcome()

    def hook() -> None:
        ready.set(here())
        here().wait(reply)

    def second() -> str:
        begun.set()
        return str(gradients(lambda: "done")())

    first = Job(office, Call(b"one", 1), lambda: gradients(in_a_foreign_thread)(hook))
    office.deliver("one", first)
    standing = ready.wait()
    other = Job(office, Call(b"two", 1), second)
    office.deliver("two", other)
    begun.wait()
    reply.give(standing)
    first.ended.wait()
    assert other.ended.wait()[1] == "done"
    assert not office.turn.locked()


def test_of_two_that_wait_for_each_other_s_gradients_one_gives_up_and_the_other_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bridge.desks.GRADIENTS_EARLY", 0.1)
    ends = {name: (Office(name), Gradients()) for name in ("alice", "bob")}
    both = threading.Barrier(2, timeout=20)

    def crossing(root: bytes, first: str, then: str) -> Job:
        """Gradients at one worker whose hook needs gradients at the other."""

        def hook() -> str:
            both.wait()
            desk, reply = here(), Reply()
            inner = Job(ends[then][0], Call(root, 2), lambda: ends[then][1](lambda: "done")())
            inner.answer = lambda: reply.give(desk)
            ends[then][0].deliver(root + b" there", inner)
            desk.wait(reply, 30)
            return str(inner.ended.wait()[1])

        job = Job(ends[first][0], Call(root, 1), ends[first][1](hook))
        ends[first][0].deliver(root, job)
        return job

    young, old = crossing(b"1", "alice", "bob"), crossing(b"2", "bob", "alice")
    with pytest.raises(TimeoutError, match="opposite directions"):
        young.ended.wait()
    assert old.ended.wait()[1] == "done"
    assert not any(office.turn.locked() for office, _ in ends.values())


def test_a_thread_that_serves_begins_by_what_it_is_told_to_do_first() -> None:
    begun: List[Any] = []
    office = Office("bob", lambda: begun.append(threading.current_thread()))
    jobs = [Job(office, Call(talk, 1), lambda: list(begun)) for talk in (b"a", b"b", b"a")]
    for job in jobs:
        office.deliver(job.call.root, job)
    for job in jobs:
        thread, seen = job.ended.wait()
        assert thread in seen
    assert len(begun) == 2


def test_what_a_script_told_torch_holds_where_it_is_served() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(before + 2)
    try:
        end = ends.serving("bob", lambda buffers, to: buffers, lambda worker_id: {})
    finally:
        torch.set_num_threads(before)
    try:
        job = Job(end.service.office, Call(b"root", 1), torch.get_num_threads)
        end.service.office.deliver("talk", job)
        assert job.ended.wait()[1] == before + 2
    finally:
        end.stop()


def test_a_wait_has_an_end(office: Office) -> None:
    with pytest.raises(TimeoutError):
        here().wait(Reply(), 0.01)
