"""Messages as requests: what is packed comes out the same, and hostile steps are refused."""

from __future__ import annotations

from typing import Any, List

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsyft.errors import LimitExceeded, RemoteProtocolError
from asyncsyft.wire import CHUNK, Program
from bridge.messages import BUFFER, MAX_DEPTH, MESSAGE, SMALL, Arriving, Call, pack

CALL = Call(b"root", 1, True)


def arrive(buffers: List[Any]) -> List[Any]:
    steps, pieces, chunked = pack(CALL, buffers)
    body = b"".join(bytes(piece) + b"\0" * (-len(piece) % 8) for piece in pieces)
    assert len(body) <= CHUNK + 8
    arriving = Arriving(Program(0, steps, [step for step, _ in chunked]), memoryview(body))
    assert arriving.call == CALL
    for step, array in chunked:
        assert arriving.landings[step].land(0, memoryview(array.tobytes()))
    return arriving.buffers


def test_small_large_and_empty_arrays_arrive_as_they_were() -> None:
    sent = [
        np.frombuffer(b"words", np.uint8),
        np.arange(SMALL, dtype="<f8").reshape(2, -1),
        np.zeros((0, 3), "<f4"),
        np.array(5, "<i8"),
        *[np.full(SMALL // 4, number, "<i4") for number in range(9)],
        np.array([True, False]),
    ]
    arrived = arrive(sent)
    assert len(arrived) == len(sent)
    for one, other in zip(arrived, sent):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert one.flags.writeable
        np.testing.assert_array_equal(one, other)


def test_a_message_says_for_whom_it_is() -> None:
    for to in ("bob", 7, None):
        call = Call(b"root", 2, False, to)
        steps, pieces, _ = pack(call, [np.zeros(0, np.uint8)])
        arriving = Arriving(Program(0, steps, []), memoryview(b"".join(pieces)))
        assert arriving.call == call
        assert arriving.buffers[0].size == 0


def test_calls_within_calls_have_an_end() -> None:
    steps, _, _ = pack(Call(b"root", MAX_DEPTH, True), [np.zeros(0, np.uint8)])
    steps[0][2] += 1
    with pytest.raises(RemoteProtocolError):
        Arriving(Program(0, steps, []), memoryview(b""))
    with pytest.raises(ValueError, match="deep"):
        pack(Call(b"root", MAX_DEPTH + 1, True), [np.zeros(0, np.uint8)])


def test_too_many_arrays_are_refused_before_they_leave() -> None:
    with pytest.raises(ValueError, match="past the limit"):
        pack(CALL, [np.zeros(1, "|u1")] * 3000)


anything = st.recursive(
    st.none() | st.integers() | st.binary(max_size=9) | st.text(max_size=9) | st.sampled_from(["<f4", "|u1", 0, 8]),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)
entries = st.lists(st.tuples(anything, anything, anything).map(list) | anything, max_size=3)
steps = st.lists(
    st.one_of(
        anything,
        st.tuples(st.just(BUFFER), anything, anything).map(list),
        st.tuples(st.just(MESSAGE), st.binary(), st.integers(0, 3), st.booleans(), anything, entries).map(list),
    ),
    max_size=3,
)


@given(steps, st.lists(st.integers(0, 3), max_size=3), st.binary(max_size=64))
def test_hostile_steps_are_refused_and_nothing_else_happens(steps: Any, chunked: List[int], body: bytes) -> None:
    try:
        arriving = Arriving(Program(0, steps, chunked), memoryview(body))
    except (RemoteProtocolError, LimitExceeded):
        return
    assert arriving.buffers[0].dtype == np.uint8
