"""Promotion of every pair of dtypes against a table written out by hand, and what Python scalars become."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsyft.ops import OPS, infer, result_type, run, scalar_dtype, scalar_dtypes, spec_of

CODES = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8", "c8", "c16"]
TABLE = """
     ?   i1  i2  i4  i8  u1  u2  u4  u8  f4  f8  c8  c16
?    ?   i1  i2  i4  i8  u1  u2  u4  u8  f4  f8  c8  c16
i1   i1  i1  i2  i4  i8  i2  i4  i8  -   f4  f8  c8  c16
i2   i2  i2  i2  i4  i8  i2  i4  i8  -   f4  f8  c8  c16
i4   i4  i4  i4  i4  i8  i4  i4  i8  -   f4  f8  c8  c16
i8   i8  i8  i8  i8  i8  i8  i8  i8  -   f4  f8  c8  c16
u1   u1  i2  i2  i4  i8  u1  u2  u4  u8  f4  f8  c8  c16
u2   u2  i4  i4  i4  i8  u2  u2  u4  u8  f4  f8  c8  c16
u4   u4  i8  i8  i8  i8  u4  u4  u4  u8  f4  f8  c8  c16
u8   u8  -   -   -   -   u8  u8  u8  u8  f4  f8  c8  c16
f4   f4  f4  f4  f4  f4  f4  f4  f4  f4  f4  f8  c8  c16
f8   f8  f8  f8  f8  f8  f8  f8  f8  f8  f8  f8  c16 c16
c8   c8  c8  c8  c8  c8  c8  c8  c8  c8  c8  c16 c8  c16
c16  c16 c16 c16 c16 c16 c16 c16 c16 c16 c16 c16 c16 c16
"""
PAIRS = {
    (row.split()[0], code): value
    for row in TABLE.strip("\n").splitlines()[1:]
    for code, value in zip(CODES, row.split()[1:])
}


@pytest.mark.parametrize(("a", "b"), list(PAIRS))
def test_every_pair(a, b):
    one, two, wanted = np.dtype(a), np.dtype(b), PAIRS[a, b]
    shapes = [((), ()), ((), (2,)), ((2,), ()), ((2,), (2,)), ((0,), ())]
    if wanted == "-":
        with pytest.raises(TypeError, match="uint64"):
            result_type(one, two)
        with pytest.raises(TypeError):
            run("equal", [np.ones(2, one), np.ones((), two)], {})
        return
    assert result_type(one, two) == np.dtype(wanted)
    for x_shape, y_shape in shapes:
        x, y = np.ones(x_shape, one), np.ones(y_shape, two)
        if wanted == "?":
            with pytest.raises(TypeError, match="numeric"):
                run("add", [x, y], {})
        else:
            (result,) = run("add", [x, y], {})
            assert result.dtype == np.dtype(wanted)
            assert infer("add", (spec_of(x), spec_of(y)), {})[0].dtype == result.dtype
        assert run("equal", [x, y], {})[0].dtype == np.dtype("?")
        assert run("where", [np.array(True), x, y], {})[0].dtype == np.dtype(wanted)


@pytest.mark.parametrize(("a", "b"), list(PAIRS))
def test_ops_infer_what_they_do_for_every_pair(a, b):
    for name in ("divide", "atan2", "matmul", "concat", "bitwise_and", "bitwise_left_shift", "less", "clip"):
        agrees(name, a, b)


def agrees(name, a, b):
    x, y = np.ones(2, a), np.ones(2, b)
    try:
        (expected,) = infer(name, (spec_of(x), spec_of(y)), {})
    except TypeError:
        with pytest.raises(TypeError):
            run(name, [x, y], {})
        return
    (result,) = run(name, [x, y], {})
    assert (result.dtype, result.shape) == (expected.dtype, expected.shape)
    if {a, b} <= set(CODES[1:9]) and name == "divide":
        assert result.dtype == np.dtype("f8")


@given(st.lists(st.sampled_from(CODES), min_size=1, max_size=6))
def test_order_does_not_matter(codes):
    def attempt(order):
        try:
            return result_type(*map(np.dtype, order))
        except TypeError:
            return None

    assert attempt(codes) == attempt(sorted(codes)) == attempt(codes[::-1]) == attempt(codes * 2)


def test_a_value_never_decides():
    tiny, big = np.array(1, "i8"), np.ones(2, "i1")
    assert run("add", [big, tiny], {})[0].dtype == np.dtype("i8")
    assert run("multiply", [np.ones(2, "f4"), np.array(1e300)], {})[0].dtype == np.dtype("f8")


def test_no_dtype_and_foreign_dtypes():
    with pytest.raises(TypeError):
        result_type()
    for foreign in ("f2", "O", "U3", "M8[s]"):
        with pytest.raises(TypeError):
            result_type(np.dtype(foreign), np.dtype("f4"))


SCALARS = {
    True: dict(zip(CODES, CODES)),
    7: {**dict(zip(CODES, CODES)), "?": "i8"},
    1.5: {**dict.fromkeys(CODES, "f8"), "f4": "f4", "c8": "c8", "c16": "c16"},
    2j: {**dict.fromkeys(CODES, "c16"), "f4": "c8", "c8": "c8"},
}


@pytest.mark.parametrize(("value", "code"), list(itertools.product(SCALARS, CODES)))
def test_a_scalar_takes_the_arrays_dtype(value, code):
    assert scalar_dtype(value, np.dtype(code)) == np.dtype(SCALARS[value][code])
    assert scalar_dtypes("add", [np.dtype(code), value], {}) == (np.dtype(code), np.dtype(SCALARS[value][code]))


@pytest.mark.parametrize(
    ("value", "code"), [(128, "i1"), (-129, "i1"), (-1, "u8"), (1 << 64, "u8"), (1 << 63, "?"), (256, "u1")]
)
def test_an_int_out_of_range(value, code):
    with pytest.raises(OverflowError, match=str(value)):
        scalar_dtype(value, np.dtype(code))
    with pytest.raises(OverflowError):
        scalar_dtypes("add", [value, np.dtype(code)], {})


def test_scalars_of_particular_calls():
    f4, i1, b1 = np.dtype("f4"), np.dtype("i1"), np.dtype("?")
    assert scalar_dtypes("where", [b1, f4, 0.0], {}) == (b1, f4, f4)
    assert scalar_dtypes("where", [b1, 1, 0.5], {}) == (b1, np.dtype("f8"), np.dtype("f8"))
    assert scalar_dtypes("clip", [i1, 0, 100], {}) == (i1, i1, i1)
    assert scalar_dtypes("full", [2], {"shape": [2]}) == (np.dtype("i8"),)
    assert scalar_dtypes("full", [1 << 63], {"shape": [2], "dtype": "<u8"}) == (np.dtype("u8"),)
    assert scalar_dtypes("full_like", [i1, 3.5], {"dtype": "<f4"}) == (i1, f4)
    assert scalar_dtypes("setitem", [f4, 1, b1], {}) == (f4, f4, b1)
    assert scalar_dtypes("take", [f4, 1], {}) == (f4, np.dtype("i8"))
    assert scalar_dtypes("getitem", [f4, b1], {}) == (f4, b1)
    assert scalar_dtypes("zeros", [], {}) == ()
    assert scalar_dtypes("add", [np.dtype("u8"), 1 << 63], {}) == (np.dtype("u8"),) * 2
    with pytest.raises(TypeError):
        scalar_dtype("7", f4)  # type: ignore[arg-type]


@pytest.mark.parametrize(("a", "b"), list(PAIRS))
def test_casts_and_totals_of_every_pair(a, b):
    x, params = np.ones((2, 2), a), {"dtype": np.dtype(b).str}
    for name, more in [
        ("astype", {}),
        ("sum", {}),
        ("prod", {"axis": 0}),
        ("cumulative_sum", {"axis": 1}),
        ("linalg.trace", {}),
    ]:
        try:
            (expected,) = infer(name, (spec_of(x),), {**params, **more})
        except TypeError:
            with pytest.raises(TypeError):
                run(name, [x], {**params, **more})
            continue
        (result,) = run(name, [x], {**params, **more})
        assert (result.dtype, result.shape) == (np.dtype(b), expected.shape)


def test_every_element_wise_op_adds_no_more_than_a_lookup():
    """The fast path is the ufunc on the arrays themselves: equal dtypes are not cast, and results not copied."""
    x = np.ones(3, "f4")
    for name in ("add", "negative", "exp"):
        assert type(OPS[name].run(*([x] * OPS[name].min_arrays))) is np.ndarray
