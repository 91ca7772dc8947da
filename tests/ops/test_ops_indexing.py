"""Keys: numpy itself is the oracle of what they select, and of the shape that is inferred."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsyft.ops import bind, encode_key, infer, run, spec_of

SHAPES = [(), (4,), (3, 4), (2, 3, 4), (2, 3, 4, 2), (0, 3), (1, 1)]


def counted(shape):
    return np.arange(np.prod(shape, dtype=int)).reshape(shape)


def is_array(value):
    return isinstance(value, np.ndarray)


def shape_fits(found, got):
    return len(found) == len(got) and all(a is None or a == b for a, b in zip(found, got))


def apply(name, *args):
    arrays, params = bind(name, args, {}, is_array)
    arrays = [np.asarray(a) for a in arrays]
    return infer(name, tuple(map(spec_of, arrays)), params)[0], run(name, arrays, params)[0]


@st.composite
def keys(draw):
    """An array and a key that mixes all kinds of entries, valid or not."""
    shape = draw(st.sampled_from(SHAPES))
    index = st.integers(-5, 5)
    bound = st.one_of(st.none(), index)
    step = st.one_of(st.none(), st.sampled_from([-3, -1, 1, 2]))
    index_shape = st.sampled_from([(), (1,), (2,), (3, 1), (0,), (1, 2)])
    entry = st.one_of(
        index,
        st.builds(slice, bound, bound, step),
        st.just(None),
        st.just(Ellipsis),
        st.builds(lambda s, n, d: np.full(s, n, d), index_shape, st.integers(-2, 1), st.sampled_from(["i8", "i1"])),
        st.builds(lambda n, d: np.full(2, n, d), st.integers(0, 1), st.sampled_from(["u1", "u8"])),
        st.sampled_from([(2,), (3,), (4,), (3, 4), (2, 3), ()]).map(lambda s: np.asarray(counted(s) % 2 == 0)),
    )
    return counted(shape), tuple(draw(st.lists(entry, max_size=5)))


@given(keys())
def test_getitem_selects_what_numpy_does(pair):
    x, key = pair
    try:
        expected = x[key]
    except (IndexError, ValueError, DeprecationWarning):
        with pytest.raises((IndexError, ValueError)):
            apply("getitem", x, key)
        return
    spec, result = apply("getitem", x, key)
    assert np.array_equal(result, expected)
    assert result.shape == np.shape(expected)
    assert shape_fits(spec.shape, result.shape)
    if not any(is_array(entry) and entry.dtype == bool for entry in key):
        assert spec.shape == result.shape


@given(keys(), st.sampled_from([(), (1,), (2,), (4,), (3, 1)]))
def test_setitem_is_numpys_on_a_copy(pair, shape):
    x, key = pair
    value = 100 + counted(shape)
    expected = x.copy()
    try:
        if value.ndim > x[key].ndim:
            return  # numpy drops leading dimensions of size 1; we ask for a value that broadcasts
        expected[key] = value
    except (IndexError, ValueError, DeprecationWarning):
        with pytest.raises((IndexError, ValueError)):
            apply("setitem", x, key, value)
        return
    before = x.copy()
    spec, result = apply("setitem", x, key, value)
    assert np.array_equal(result, expected)
    assert np.array_equal(x, before)
    assert (spec.shape, spec.dtype) == (result.shape, result.dtype)


def test_an_index_out_of_range_is_an_error_even_where_nothing_is_selected():
    x = np.zeros((3, 4))
    with pytest.raises(IndexError, match="index 4"):
        apply("getitem", x, (slice(0, 0), np.array([1, 4])))
    with pytest.raises(IndexError, match="index -5"):
        apply("setitem", x, (slice(0, 0), np.array([1, -5])), np.array(1.0))
    assert apply("getitem", x, (slice(0, 0), np.array([], "i8")))[1].shape == (0, 0)


def test_the_plain_form_of_a_key():
    index, mask = np.array([0, 2]), np.array([True, False])
    key, arrays = encode_key((3, slice(1, None, -2), ..., None, index, mask), is_array)
    assert key == [3, ["s", 1, None, -2], "...", None, ["a", 0], ["a", 1]]
    assert arrays[0] is index
    assert arrays[1] is mask
    assert encode_key(np.int8(2), is_array) == ([2], [])
    key, arrays = encode_key([0, 1], is_array)
    assert key == [["a", 0]]
    assert arrays[0].dtype.kind == "i"
    assert encode_key([], is_array)[1][0].dtype == np.int64


@pytest.mark.parametrize("key", [1.5, "x", True, np.bool_(True), (slice(0.5, None),), {1}, object()])
def test_what_is_no_key(key):
    with pytest.raises(TypeError):
        encode_key(key, is_array)


def test_static_indices_out_of_range_are_known_at_once():
    spec = spec_of(np.zeros((3, 4)))
    for key in ([3], [-4], [0, 4], ["...", -5], [0, 0, 0]):
        with pytest.raises(IndexError, match="getitem"):
            infer("getitem", (spec,), {"key": key})
    with pytest.raises(IndexError):
        infer("getitem", (spec, spec_of(np.ones(4, bool))), {"key": [["a", 0]]})


def test_a_value_of_a_higher_kind_is_refused():
    x = np.zeros(3, "i4")
    for value in (np.array(1.5), np.array(1j)):
        with pytest.raises(TypeError, match="cannot put"):
            run("setitem", [x, value], {"key": [0]})
    assert run("setitem", [x, np.array(7, "u8")], {"key": [0]})[0].tolist() == [7, 0, 0]
    assert run("setitem", [x.astype("f4"), np.array(7)], {"key": [0]})[0].dtype == np.dtype("f4")


def test_a_key_that_selects_too_much_is_refused_before_it_is_made():
    many = 1 << 16
    x = np.broadcast_to(np.zeros(()), (many, many))
    mask, column, row = np.ones(many, bool), np.zeros((many, 1), "i8"), np.zeros(many, "i8")
    for key in ([["a", 0], ["a", 1]], [["a", 0], "...", ["a", 1]]):
        for first in (mask, row):
            with pytest.raises(ValueError, match="past the limit"):
                run("getitem", [x, first, column], {"key": key})
    with pytest.raises(ValueError, match="past the limit"):
        run("setitem", [np.zeros((1, 1)), np.array(0.0), column, row], {"key": [["a", 0], ["a", 1]]})
