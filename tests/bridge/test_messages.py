"""Messages as requests: what is packed comes out the same, and hostile steps are refused."""

from __future__ import annotations

from typing import Any, List, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsyft.errors import LimitExceeded, RemoteProtocolError
from asyncsyft.wire import CHUNK, Program
from bridge.messages import BUFFER, MAX_DEPTH, MESSAGE, SMALL, TOLD, Arriving, Call, Loud, Message, Packed

CALL = Call(b"root", 1)


def message(words: bytes, *tensors: Any) -> Message:
    made = Message(words)
    made.tensors = list(tensors)
    return made


def arrive(packed: Packed) -> Arriving:
    body = b"".join(bytes(piece) + b"\0" * (-len(piece) % 8) for piece in packed.body)
    assert len(body) <= CHUNK + 8
    scratch = bytearray(body)
    arriving = Arriving(Program(0, packed.steps, [step for step, _ in packed.chunked]), memoryview(scratch))
    scratch[:] = bytes(len(scratch))  # the body is valid during the call only
    assert arriving.call == CALL
    for step, array in packed.chunked:
        assert arriving.landings[step].land(0, memoryview(array.tobytes()))
    return arriving


def assert_same(arrived: Sequence[Any], sent: Sequence[Any]) -> None:
    assert len(arrived) == len(sent)
    for one, other in zip(arrived, sent):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert one.flags.writeable
        np.testing.assert_array_equal(one, other)


TENSORS = [
    np.arange(SMALL, dtype="<f8").reshape(2, -1),
    np.zeros((0, 3), "<f4"),
    np.array(5, "<i8"),
    *[np.full(SMALL // 4, number, "<i4") for number in range(9)],
    np.array([True, False]),
]


@pytest.mark.parametrize("words", [b"words", b"", b"w" * (SMALL + 1)])
def test_small_large_and_empty_parts_arrive_as_they_were(words: bytes) -> None:
    arriving = arrive(Packed(CALL).asked(message(words, *TENSORS)))
    assert arriving.is_waited
    ((arrived, is_loud),) = arriving.messages()
    assert is_loud
    assert arrived == words
    assert_same(arrived.tensors, TENSORS)


def test_messages_that_nobody_waits_for_arrive_together_in_their_order() -> None:
    sent: List[Loud] = [
        (message(b"first", TENSORS[0], TENSORS[2]), True),
        (message(b"delete"), False),
        (message(b"l" * (SMALL + 1), TENSORS[1]), True),
        (message(b"last"), True),
    ]
    arriving = arrive(Packed(CALL).told(sent))
    assert not arriving.is_waited
    arrived = arriving.messages()
    assert arrived == sent
    for (one, _), (other, _) in zip(arrived, sent):
        assert_same(one.tensors, other.tensors)


def test_a_message_says_for_whom_it_is() -> None:
    for to in ("bob", 7, None):
        call = Call(b"root", 2, to)
        packed = Packed(call).asked(Message())
        arriving = Arriving(Program(0, packed.steps, []), memoryview(b"".join(packed.body)))
        assert arriving.call == call
        assert arriving.messages() == [(b"", True)]


def test_calls_within_calls_have_an_end() -> None:
    packed = Packed(Call(b"root", MAX_DEPTH)).asked(Message())
    Arriving(Program(0, packed.steps, []), memoryview(b""))
    packed.steps[0][2] += 1
    with pytest.raises(RemoteProtocolError):
        Arriving(Program(0, packed.steps, []), memoryview(b""))
    with pytest.raises(ValueError, match="deep"):
        Packed(Call(b"root", MAX_DEPTH + 1))


def test_too_many_arrays_are_refused_before_they_leave() -> None:
    with pytest.raises(ValueError, match="past the limit"):
        Packed(CALL).asked(message(b"words", *[np.zeros(1, "|u1")] * 3000))


anything = st.recursive(
    st.none() | st.integers() | st.binary(max_size=9) | st.text(max_size=9) | st.sampled_from(["<f4", "|u1", 0, 8]),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)
first = st.tuples(st.integers(-1, 70), st.integers(-1, 70)).map(list) | st.integers(-1, 2) | anything
entries = st.lists(st.tuples(anything, anything, anything).map(list) | anything, max_size=3)
parts = st.tuples(first, entries).map(lambda both: [both[0], *both[1]])
told = st.lists(st.tuples(st.booleans() | anything, parts).map(lambda both: [both[0], *both[1]]) | anything, max_size=3)
head = st.binary(), st.integers(0, 3), st.none() | anything
steps = st.lists(
    st.one_of(
        anything,
        st.tuples(st.just(BUFFER), anything, anything).map(list),
        st.tuples(st.just(MESSAGE), *head, parts | anything).map(list),
        st.tuples(st.just(TOLD), *head, told | anything).map(list),
    ),
    max_size=3,
)


@given(steps, st.lists(st.integers(0, 3), max_size=3), st.binary(max_size=64))
def test_hostile_steps_are_refused_and_nothing_else_happens(steps: Any, chunked: List[int], body: bytes) -> None:
    try:
        arriving = Arriving(Program(0, steps, chunked), memoryview(body))
    except (RemoteProtocolError, LimitExceeded):
        return
    for arrived, is_loud in arriving.messages():
        assert type(arrived) is Message
        assert type(is_loud) is bool
        assert all(isinstance(array, np.ndarray) for array in arrived.tensors)
