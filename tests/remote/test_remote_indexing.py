"""Any key that numpy takes selects the same elements remotely; any other is refused, and replaces nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import asyncsyft
from asyncsyft.errors import OpFailed

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def alice(anyio_backend):
    async with asyncsyft.local("alice") as driver:
        yield driver["alice"]


SHAPES = st.lists(st.integers(0, 4), max_size=3).map(tuple)


@st.composite
def keys(draw):
    """A shape, and a key that fits it more often than not."""
    shape = draw(SHAPES)
    small = st.integers(-4, 4)
    maybe = st.none() | small
    entries = [
        small,
        st.builds(slice, maybe, maybe, maybe.filter(lambda step: step != 0)),
        st.none(),
        st.just(Ellipsis),
        st.lists(small, max_size=3).map(lambda items: np.array(items, np.int64)),
        # numpy lets an empty mask pass for any dimension; the table wants the dimension of the array.
        st.lists(st.booleans(), min_size=1, max_size=4).map(lambda items: np.array(items, np.bool_)),
    ]
    parts = draw(st.lists(st.one_of(entries), max_size=3).map(tuple))
    whole = st.lists(st.booleans(), min_size=int(np.prod(shape)), max_size=int(np.prod(shape)))
    mask = whole.map(lambda items: np.array(items, np.bool_).reshape(shape))
    return shape, draw(st.sampled_from([parts, parts, parts[0] if len(parts) == 1 else parts]) | mask)


def remote_key(alice, key, there):
    """The same key, with its arrays at the worker."""
    if isinstance(key, tuple):
        return tuple(remote_key(alice, part, there) for part in key)
    return alice.asarray(key) if there and isinstance(key, np.ndarray) else key


def replaced(x, key):
    x[key] = 0
    return x


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(keys=keys(), there=st.booleans())
async def test_keys(alice, keys, there):
    shape, key = keys
    array = np.arange(int(np.prod(shape)), dtype="i4").reshape(shape)
    x = alice.asarray(array)
    try:
        wanted = array[key]
    except (IndexError, DeprecationWarning):  # numpy 1 only warns when nothing is selected
        with pytest.raises((IndexError, ValueError, OpFailed)):
            await x[remote_key(alice, key, there)].get()
        with pytest.raises((IndexError, ValueError, OpFailed)):
            await replaced(x, remote_key(alice, key, there)).get()
        return
    part = x[remote_key(alice, key, there)]
    found = await part.get()
    assert part.ndim == wanted.ndim
    assert all(dim in (None, real) for dim, real in zip(part.shape, wanted.shape))
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)
    array[key] = 7
    x[remote_key(alice, key, there)] = 7
    np.testing.assert_array_equal(await x.get(), array)
