"""The objects that a worker holds: written once, counted, pending, on offer."""

from __future__ import annotations

from typing import Any, List, Optional

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsyft.errors import LimitExceeded
from asyncsyft.store import Space, Store, Title
from asyncsyft.wire import Failure

ONE, OTHER = b"\1" * 8, b"\2" * 8
TICKET = (ONE, b"t" * 16)
POISON = Failure(1, 0, "OpFailed", "ValueError", "no", "add", 1, 0)


def array(count: int) -> Any:
    return np.zeros(count, np.uint8)


def space_of(*sizes: int) -> Space:
    """A space with objects 1, 2, ... of these sizes."""
    space = Space()
    for number, size in enumerate(sizes, 1):
        space.keep(number, array(size))
    return space


def test_what_is_kept_is_found_counted_and_deleted() -> None:
    space = space_of(10, 20)
    space.keep(3, POISON)
    assert (space.nbytes, space.taken) == (30, 3)
    assert [space.knows(number) for number in (1, 2, 3, 4)] == [True, True, True, False]
    assert space.outcome(2) is space.objects[2]
    assert space.outcome(3) is POISON
    assert space.outcome(4) is None
    assert [space.delete(number) for number in (1, 3, 1, 4)] == [True, True, False, False]
    assert (space.nbytes, space.taken) == (20, 1)


def test_an_empty_array_is_an_object_like_any_other() -> None:
    space = space_of(0)
    assert space.outcome(1) is space.objects[1]
    assert space.delete(1)


@pytest.mark.parametrize("numbers", [[1, 3], [1, 1], [1, 9], [9]], ids=str)
def test_arrays_are_deleted_together_or_not_at_all(numbers: List[int]) -> None:
    space = space_of(10, 20, 40)
    expected = numbers == [1, 3]
    assert space.delete_arrays(numbers) is expected
    assert space.nbytes == (20 if expected else 70)
    assert sorted(space.objects) == ([2] if expected else [1, 2, 3])


def test_titles_poisons_and_pending_objects_are_deleted_one_by_one() -> None:
    space = space_of(10)
    space.keep(2, POISON)
    space.expect(3)
    assert not space.delete_arrays([2])
    assert not space.delete_arrays([3])
    space.titles[1] = Title("x", ())
    assert not space.delete_arrays([1])
    assert space.delete(1)
    assert space.titles == {}


def test_who_waits_is_told_when_an_object_comes() -> None:
    space, told = Space(), []
    space.expect(5, 100)
    assert (space.knows(5), space.outcome(5), space.nbytes) == (True, None, 100)
    space.pending[5].waiters += [lambda number, outcome: told.append((number, outcome))] * 2
    came = array(60)
    space.resolve(5, came)
    assert [(number, outcome is came) for number, outcome in told] == [(5, True)] * 2
    assert space.outcome(5) is came
    assert (space.nbytes, space.pending) == (60, {})
    space.resolve(5, array(1))  # too late: it is written once
    assert space.outcome(5) is came


def test_a_failure_comes_in_the_place_of_an_object() -> None:
    space, told = Space(), []
    space.expect(5, 100)
    space.pending[5].waiters.append(lambda number, outcome: told.append(outcome))
    space.resolve(5, POISON)
    assert told == [POISON]
    assert space.outcome(5) is POISON
    assert space.nbytes == 0


def test_deleted_before_it_came() -> None:
    """Those who named it before still get it; it is gone for all others, even while they are told."""
    space, told = Space(), []
    space.expect(5, 100)

    def waiter(number: int, outcome: Optional[Any]) -> None:
        told.append((outcome is None, space.outcome(number)))

    space.pending[5].waiters.append(waiter)
    assert space.delete(5) is True
    assert space.delete(5) is False
    space.resolve(5, array(100))
    assert told == [(False, None)]
    assert (space.knows(5), space.nbytes) == (False, 0)


def test_one_that_never_came() -> None:
    space, told = Space(), []
    space.expect(5, 7)
    space.pending[5].waiters.append(lambda number, outcome: told.append(outcome))
    space.settle(5)
    space.settle(6)
    assert told == [None]
    assert (space.knows(5), space.nbytes) == (False, 0)


def test_what_is_on_offer_counts_and_is_given_once() -> None:
    space = space_of(10)
    assert space.offer(TICKET, space.objects[1])
    assert not space.offer(TICKET, array(99))
    assert space.delete(1)
    assert space.nbytes == 10
    given_away = space.claim(TICKET)
    assert isinstance(given_away, np.ndarray)
    assert space.nbytes == 0
    assert space.claim(TICKET) is None
    assert space.offer(TICKET, POISON)
    assert space.claim(TICKET) is POISON
    assert space.nbytes == 0


def test_names_and_tags() -> None:
    space = space_of(1, 1, 1)
    space.titles.update({1: Title("x", ("a", "b")), 2: Title("y", ("a",)), 3: Title("", ("x",)), 4: Title("x", ())})
    assert space.named(["x"]) == [1, 3]  # 4 is not there
    assert space.named(["a"]) == [1, 2]
    assert space.named(["a", "x"]) == [1]
    assert space.named([]) == [1, 2, 3]
    assert space.named(["z"]) == []


# Store.


def test_each_owner_has_a_space() -> None:
    store = Store(100)
    store.space(ONE).keep(1, array(30))
    store.space(OTHER).keep(1, array(20))
    assert store.space(ONE) is store.space(ONE)
    assert (store.nbytes, store.objects) == (50, 2)
    released = store.release(ONE)
    assert released is not None
    assert (store.nbytes, store.objects) == (20, 1)
    assert store.release(ONE) is None


def test_the_limit_counts_what_is_held_and_what_is_expected() -> None:
    store = Store(100)
    number = store.load("digits", array(40), ["mnist"])
    assert store.own.titles[number] == Title("digits", ("mnist",))
    store.space(ONE).expect(1, 50)
    store.check_room(10)
    with pytest.raises(LimitExceeded):
        store.check_room(11)
    store.check_room(0)
    store.space(ONE).resolve(1, POISON)
    store.check_room(60)


def test_data_of_its_own_has_ids_of_its_own() -> None:
    store = Store()
    ids = [store.load(name, array(1)) for name in ("a", "b", "c")]
    assert len(set(ids)) == 3
    assert [store.own.named([name]) for name in ("a", "b", "c")] == [[number] for number in ids]


moves = st.sampled_from(["keep", "poison", "delete", "many", "expect", "resolve", "fail", "offer", "claim"])


@given(st.lists(st.tuples(moves, st.integers(1, 5), st.integers(0, 20)), max_size=40))
def test_bytes_are_counted_whatever_happens(history: List[Any]) -> None:
    space = Space()
    for what, number, size in history:
        if what == "keep" and not space.knows(number):
            space.keep(number, array(size))
        elif what == "poison" and not space.knows(number):
            space.keep(number, POISON)
        elif what == "delete":
            assert space.delete(number) in (True, False)
        elif what == "many":
            space.delete_arrays([number, size % 5 + 1])
        elif what == "expect" and not space.knows(number):
            space.expect(number, size)
        elif what == "resolve":
            space.resolve(number, array(size))
        elif what == "fail":
            space.resolve(number, POISON)
        elif what == "offer" and isinstance(space.outcome(number), np.ndarray):
            space.offer((ONE, bytes([number])), space.objects[number])
        elif what == "claim":
            space.claim((ONE, bytes([number])))
        held = [*space.objects.values(), *space.pending.values(), *space.offers.values()]
        assert space.nbytes == sum(item.nbytes for item in held)  # type: ignore[union-attr]
        assert not set(space.objects) & set(space.poisons)
