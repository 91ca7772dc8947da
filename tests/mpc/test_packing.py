"""Gates as bytes: what goes in comes out, and hostile bytes are refused and nothing else."""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsyft.errors import Refused
from asyncsyft.mpc import functions
from asyncsyft.mpc.circuit import Circuit
from asyncsyft.mpc.packing import pack, unpack


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return bool(a.shape == b.shape and (a == b).all())
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def test_what_goes_in_comes_out() -> None:
    c = Circuit(16)
    x = c.input(-1, (2, 3), 16)
    functions.softmax(c, c.linear("index", x, ["all"], ["slice", None, 2, None], ["new"]), 1)
    functions.sigmoid(c, c.add(x, c.public(np.arange(3.0))))
    gates = c.gates
    back = unpack(pack(gates))
    assert len(back) == len(gates)
    assert all(same(one, two) for one, two in zip(gates, back))


def test_only_gates_are_packed() -> None:
    with pytest.raises(TypeError, match="object"):
        pack([("neg", 1, (), (object(),))])  # type: ignore[list-item]


@given(st.binary(max_size=200))
def test_any_bytes_are_gates_or_refused(data: bytes) -> None:
    try:
        unpack(data)
    except Refused:
        pass


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@given(VALUES)
def test_any_document_is_gates_or_refused(value: Any) -> None:
    for document in (value, [value], [["neg", 1, [], [value]]], [["neg", 1, value, []]]):
        try:
            gates = unpack(msgpack.packb(document))
        except Refused:
            continue
        assert all(type(gate.op) is str and type(gate.ins) is tuple for gate in gates)


@given(VALUES, st.integers(0, 5))
def test_any_extension_is_an_array_or_refused(value: Any, code: int) -> None:
    data = msgpack.packb([["public", 1, [], [msgpack.ExtType(code, msgpack.packb(value))]]])
    try:
        unpack(data)
    except Refused:
        pass
