"""Steps as data: what is a step and what is refused, and the numbers that stand among inputs."""

from __future__ import annotations

import reprlib
from typing import Any, List

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asyncsyft import program
from asyncsyft.errors import LimitExceeded, Refused
from asyncsyft.program import Step, check, check_length, literal, literal_array
from asyncsyft.tensor import DTYPES
from asyncsyft.wire import MAX_ID, MAX_LIST


@pytest.mark.parametrize(
    ("raw", "step"),
    [
        (["add", 3, [1, 2]], Step("add", (3,), (1, 2), {})),
        (["get", 0, [3]], Step("get", (0,), (3,), {})),
        (["unstack", [4, 5], [3], {"axis": 0}], Step("unstack", (4, 5), (3,), {"axis": 0})),
        (["delete", [], [MAX_ID]], Step("delete", (), (MAX_ID,), {})),
        (["", 1, []], Step("", (1,), (), {})),
    ],
)
def test_what_is_a_step(raw: List[Any], step: Step) -> None:
    assert check(raw) == step


@pytest.mark.parametrize(
    "raw",
    [
        None,
        "add",
        {},
        [],
        ["add"],
        ["add", 3],
        ["add", 3, [1], {}, None],
        [b"add", 3, [1]],
        [1, 3, [1]],
        ["add", 3, 1],
        ["add", 3, None],
        ["add", 3, {}],
        ["add", 3, [1], []],
        ["add", 3, [1], None],
        ["add", "3", [1]],
        ["add", None, [1]],
        ["add", -1, [1]],
        ["add", True, [1]],
        ["add", MAX_ID + 1, [1]],
        ["add", [3, "4"], [1]],
        ["add", [[3]], [1]],
        ["add", 3, [-1]],
        ["add", 3, [True]],
        ["add", 3, [1.0]],
        ["add", 3, ["ab"]],
        ["add", 3, [None]],
        ["add", 3, [MAX_ID + 1]],
        ["add", 3, [{"<f4": 1, "x": 2}]],
    ],
    ids=repr,
)
def test_what_is_none(raw: Any) -> None:
    with pytest.raises(Refused):
        check(raw)


def test_the_length_of_a_program() -> None:
    assert program.BATCH_STEPS <= program.MAX_STEPS < MAX_LIST
    check_length([None] * program.MAX_STEPS)
    with pytest.raises(LimitExceeded):
        check_length([None] * (program.MAX_STEPS + 1))


@pytest.mark.parametrize("descr", DTYPES)
@pytest.mark.parametrize("value", [0, 1, 2.5, True, 3 - 4j])
def test_a_scalar_there_and_back(descr: str, value: Any) -> None:
    dtype = DTYPES[descr]
    if isinstance(value, complex) and dtype.kind not in "bc":
        with pytest.raises(TypeError):
            literal(value, dtype)
        return
    back = literal_array(literal(value, dtype))
    assert back.dtype == dtype
    assert back.shape == ()
    assert back == np.array(value).astype(dtype)


@pytest.mark.parametrize("descr", [descr for descr in DTYPES if DTYPES[descr].kind in "iu"])
def test_integers_are_in_range_or_refused(descr: str) -> None:
    info = np.iinfo(DTYPES[descr])
    for value in (int(info.min), int(info.max)):
        assert literal_array([descr, value]).item() == value
    for value in (int(info.min) - 1, int(info.max) + 1):
        with pytest.raises(Refused):
            literal_array([descr, value])


def test_floats_that_are_too_large_become_infinite_and_nobody_is_warned() -> None:
    assert literal_array(["<f4", 1e300]) == np.inf
    assert literal_array(["<f4", -(10**300)]) == -np.inf
    assert literal_array(["<c8", [1e300, -1.0]]) == complex(np.inf, -1)
    assert literal_array(["<c16", [1e308, 1e308]]) == complex(1e308, 1e308)
    assert np.isnan(literal_array(["<f8", float("nan")]))


NESTED: Any = 1
for _ in range(980):  # deep enough that repr() gives up, as deep as msgpack lets through
    NESTED = [NESTED]


@pytest.mark.parametrize(
    "item",
    [
        [],
        ["<f4"],
        ["<f4", 1, 2],
        ["<f2", 1.0],
        ["|O", 1],
        ["<f4", "1"],
        ["<f4", b"1"],
        ["<f4", None],
        ["<f4", [1.0]],
        ["<f4", True],
        ["<i4", 1.0],
        ["<i4", True],
        ["|b1", 1],
        ["<f8", 1 << 2000],
        ["<c8", 1.0],
        ["<c8", [1.0]],
        ["<c8", [1.0, 2.0, 3.0]],
        ["<c8", ["1", 2.0]],
        ["<c8", [True, 2.0]],
        [["<f4"], 1.0],
        [None, 1.0],
        NESTED,
        ["<f4", NESTED],
    ],
    ids=reprlib.repr,
)
def test_what_is_no_literal(item: Any) -> None:
    with pytest.raises(Refused) as caught:
        literal_array(item)
    assert len(str(caught.value)) < 500
    with pytest.raises(Refused):
        check(["add", 1, [item, 2]])
    with pytest.raises(Refused):
        check(["add", [1, item], [2]])


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats()
    | st.text(max_size=4)
    | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)
descriptors = st.sampled_from([*DTYPES, "|O", "<f2", ""])
literals = st.tuples(descriptors, plain | st.tuples(st.floats(), st.floats()).map(list)).map(list)
steps = st.tuples(
    st.text(max_size=4), st.integers(-1, 9) | plain, st.lists(st.integers(0, 9) | literals | plain, max_size=4)
)


@given(plain | steps.map(list))
@example(["add", 1, [["<f4", 1e39]]])
@example(["add", 1, [["|u1", 256]]])
def test_a_step_or_refused(raw: Any) -> None:
    try:
        step = check(raw)
    except Refused:
        return
    assert all(type(out) is int and 0 <= out <= MAX_ID for out in step.outs)
    for item in step.inputs:
        assert (type(item) is int and 0 <= item <= MAX_ID) or (item.shape == () and item.dtype in DTYPES.values())
