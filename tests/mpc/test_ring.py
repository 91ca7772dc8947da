"""The ring against Python's integers, to the last bit; fixed point; streams of randomness."""

from __future__ import annotations

import copy
import pickle
from fractions import Fraction
from typing import Any, List, Tuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from asyncsyft.errors import SessionError
from asyncsyft.mpc import fixed, ring
from asyncsyft.mpc.prg import Stream, new_seeds

M = 1 << 64
WORDS = st.one_of(st.integers(0, M - 1), st.sampled_from([0, 1, M - 1, M // 2, M // 2 - 1, 1 << 21, (1 << 22) - 1]))


def words(shape: Tuple[int, ...]) -> Any:
    return hnp.arrays(np.uint64, shape, elements=WORDS)


def exact(a: Any, b: Any) -> List[List[int]]:
    left, right = a.astype(object), b.astype(object)
    return [[int(value) % M for value in row] for row in left @ right]


@given(words((6,)), words((6,)), st.integers(0, 63))
def test_arithmetic_wraps_as_integers_do(a: Any, b: Any, bits: int) -> None:
    x, y = [int(v) for v in a], [int(v) for v in b]
    assert ring.add(a, b).tolist() == [(i + j) % M for i, j in zip(x, y)]
    assert ring.sub(a, b).tolist() == [(i - j) % M for i, j in zip(x, y)]
    assert ring.mul(a, b).tolist() == [i * j % M for i, j in zip(x, y)]
    assert ring.neg(a).tolist() == [-i % M for i in x]
    assert ring.shift(a, bits).tolist() == [(i << bits) % M for i in x]
    assert int(ring.total(a)) == sum(x) % M


def test_arrays_without_dimensions_wrap_without_a_warning() -> None:
    top = np.array(M - 1, np.uint64)
    assert [int(f(top, top)) for f in (ring.add, ring.sub, ring.mul)] == [M - 2, 0, 1]
    assert int(ring.neg(ring.neg(top))) == M - 1


@given(st.tuples(*[st.integers(1, 9)] * 3).flatmap(lambda s: st.tuples(words(s[:2]), words(s[1:]))))
def test_limbs_are_exact(pair: Tuple[Any, Any]) -> None:
    assert ring.by_limbs(*pair).tolist() == exact(*pair)


@pytest.mark.parametrize("inner", [1, 511, 512, 513, 1025])
@pytest.mark.parametrize("fill", [M - 1, M // 2, (1 << 63) | (1 << 43) | (1 << 21), 0x001FFFFF_FFDFFFFF, None])
def test_limbs_are_exact_at_the_ends_of_their_digits(inner: int, fill: Any) -> None:
    rng = np.random.default_rng(inner)
    a, b = rng.integers(0, M - 1, (3, inner), np.uint64), rng.integers(0, M - 1, (inner, 2), np.uint64)
    if fill is not None:
        a[:] = b[:] = fill
    assert ring.by_limbs(a, b).tolist() == exact(a, b)


SHAPES = [
    ((3,), (3,)),
    ((3,), (3, 4)),
    ((2, 3), (3,)),
    ((5, 2, 3), (3, 4)),
    ((5, 2, 3), (5, 3, 4)),
    ((70, 80), (80, 75)),
]


@pytest.mark.parametrize(("left", "right"), [*SHAPES, ((2, 1, 4, 3), (3, 3, 4)), ((0, 3), (3, 2)), ((2, 0), (0, 2))])
def test_matmul_has_the_shapes_of_numpy_s(left: Any, right: Any) -> None:
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, M - 1, left, np.uint64), rng.integers(0, M - 1, right, np.uint64)
    expected = np.matmul(a, b)
    got = ring.matmul(a, b)
    assert ring.matmul_shape(left, right) == np.shape(expected)
    assert got.shape == np.shape(expected)
    assert (got == expected).all()


@pytest.mark.parametrize("shapes", [((2, 3), (2, 3)), ((), (2,)), ((3,), (2,))])
def test_matmul_of_what_does_not_fit_is_refused(shapes: Any) -> None:
    with pytest.raises(ValueError, match="matmul"):
        ring.matmul(*(np.zeros(shape, np.uint64) for shape in shapes))


@pytest.mark.parametrize("stride", [(1, 1), (2, 1), (3, 2)])
@pytest.mark.parametrize("padding", [(0, 0), (1, 2)])
def test_a_product_of_patches_is_a_convolution(stride: Tuple[int, int], padding: Tuple[int, int]) -> None:
    rng = np.random.default_rng(2)
    x, w = rng.integers(0, M - 1, (2, 3, 6, 7), np.uint64), rng.integers(0, M - 1, (4, 3, 3, 2), np.uint64)
    out = ring.matmul(ring.patches(x, (3, 2), stride, padding), w.reshape(4, -1).T)
    wide = np.zeros((2, 3, 6 + 2 * padding[0], 7 + 2 * padding[1]), np.uint64)
    wide[:, :, padding[0] : padding[0] + 6, padding[1] : padding[1] + 7] = x
    for i in range(out.shape[1]):
        for j in range(out.shape[2]):
            seen = wide[:, :, i * stride[0] : i * stride[0] + 3, j * stride[1] : j * stride[1] + 2]
            assert (out[:, i, j] == np.einsum("nchw,ochw->no", seen, w)).all()
    with pytest.raises(ValueError, match="window"):
        ring.patches(x, (9, 9), stride, padding)


def test_only_integers_enter_the_ring() -> None:
    assert ring.ring([-1, 2]).tolist() == [M - 1, 2]
    assert ring.ring(np.array([-(1 << 70) + 3, 1 << 64], object)).tolist() == [3, 0]
    with pytest.raises(TypeError):
        ring.ring([1.5])


# Fixed point.


@given(st.floats(-1e9, 1e9), st.integers(0, 28))
def test_the_nearest_fraction_is_taken(value: float, bits: int) -> None:
    back = fixed.decode(fixed.encode(np.array([value]), bits), bits)[0]
    assert abs(Fraction(value) - Fraction(float(back))) <= Fraction(1, 2 << bits)


@given(st.integers(-(1 << 45), 1 << 45), st.integers(0, 16))
def test_whole_numbers_are_exact(value: int, bits: int) -> None:
    assert int(fixed.decode(fixed.encode([value], bits), bits)[0]) == value


@pytest.mark.parametrize(
    "value", [2.0**46, -(2.0**46), 1e300, float("inf"), float("nan"), 1 << 46, -(1 << 46), 1 << 80]
)
def test_what_has_no_room_is_refused(value: Any) -> None:
    with pytest.raises(SessionError, match="2\\^62"):
        fixed.encode([0, value], 16)


def test_the_largest_that_has_room() -> None:
    assert fixed.decode(fixed.encode([(1 << 46) - 1, 1 - (1 << 46)], 16), 16).tolist() == [2.0**46 - 1, 1 - 2.0**46]


@pytest.mark.parametrize("values", [["a"], [1j]])
def test_only_numbers_are_encoded(values: Any) -> None:
    with pytest.raises(TypeError):
        fixed.encode(values, 16)


# Randomness.


def test_who_has_the_seed_draws_the_same_however_it_is_asked() -> None:
    whole = Stream(b"s" * 32, b"use").bytes(3 << 20)
    parts = Stream(b"s" * 32, b"use")
    assert np.array_equal(np.concatenate([parts.bytes(n) for n in (1, 15, 17, 1 << 20, (2 << 20) - 33)]), whole)
    blended = np.zeros(3 << 19, np.uint16)
    Stream(b"s" * 32, b"use").blend(np.bitwise_xor, blended)
    assert np.array_equal(blended.view(np.uint8), whole)


def test_streams_of_one_seed_have_nothing_in_common() -> None:
    a, b = Stream(b"s" * 32, b"one").ring((1000,)), Stream(b"s" * 32, b"two").ring((1000,))
    assert not set(a.tolist()) & set(b.tolist())
    assert len({each for seeds in new_seeds(5) for each in (seeds.own, seeds.before, seeds.driver)}) == 15


def test_a_stream_goes_on_and_is_never_copied() -> None:
    stream = Stream(b"s" * 32, b"use")
    assert not np.array_equal(stream.bytes(64), stream.bytes(64))
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="never copied"):
            attempt(stream)
    with pytest.raises(OverflowError):
        stream.bytes(1 << 41)
    with pytest.raises(ValueError, match="seed"):
        Stream(b"short", b"use")


def test_the_shares_of_zero_add_up() -> None:
    for count in (2, 3, 5):
        seeds = new_seeds(count)
        for index, each in enumerate(seeds):
            assert each.after == seeds[(index + 1) % count].before
