"""Arrays to bytes and back: every dtype and form, what does not travel, and bytes that lie."""

from __future__ import annotations

import io
import pickle
import struct
from typing import Any, List

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsyft import tensor
from asyncsyft.errors import LimitExceeded, RemoteProtocolError
from asyncsyft.tensor import DTYPES, MAX_CHECKED, MAX_DIMS, Landing

SHAPES = [(), (0,), (1,), (7,), (2, 3), (3, 0, 2), (2, 1, 3, 1)]


def sample(dtype: Any, shape: Any) -> tensor.Array:
    values = np.arange(int(np.prod(shape))).reshape(shape)
    return np.asarray(values % 2 if np.dtype(dtype).kind == "b" else values).astype(dtype)


def there_and_back(array: Any) -> tensor.Array:
    ready = tensor.as_tensor(array)
    dtype, shape, nbytes = tensor.check_descr(tensor.descriptor(ready.dtype), list(ready.shape))
    buffer = memoryview(bytes(tensor.raw(ready)))
    assert len(buffer) == nbytes
    return tensor.copy_out(dtype, shape, buffer)


@pytest.mark.parametrize("descr", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("count", [1, 3, 200])
def test_tensors_that_lie_one_behind_the_other_come_back_each_for_itself(descr: str, shape: Any, count: int) -> None:
    arrays = [sample(descr, shape) + np.asarray(number).astype(descr) for number in range(count)]
    dtype, dims, nbytes = tensor.check_descr(descr, list(shape))
    stride = nbytes + 7 & ~7
    buffer = memoryview(bytes(8) + b"".join(array.tobytes().ljust(stride, b"\xff") for array in arrays))
    backs = tensor.copies_at(dtype, dims, nbytes, buffer, 8, stride, count)
    assert len(backs) == count
    for array, back in zip(arrays, backs):
        np.testing.assert_array_equal(back, array)
        assert (type(back), back.dtype, back.shape) == (np.ndarray, array.dtype, array.shape)
        assert back.flags.owndata or back.base.nbytes <= max(nbytes, tensor.SHARED), "it holds the memory of the others"
        assert all((back.flags.writeable, back.flags.c_contiguous, back.flags.aligned))


def test_what_is_written_into_one_tensor_is_in_no_other() -> None:
    dtype, dims, nbytes = tensor.check_descr("<f4", [3])
    buffer = bytearray(16 * 8)
    backs = tensor.copies_at(dtype, dims, nbytes, memoryview(buffer), 0, 16, 8)
    for number, back in enumerate(backs):
        back[:] = number
    assert [back.tolist() for back in backs] == [[number] * 3 for number in range(8)]
    assert not any(buffer)


@pytest.mark.parametrize("descr", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_dtype_and_shape_comes_back(descr: str, shape: Any) -> None:
    array = sample(descr, shape)
    back = there_and_back(array)
    assert back.dtype == array.dtype
    assert back.shape == shape
    np.testing.assert_array_equal(back, array)
    assert back.flags.writeable
    assert back.flags.aligned


@pytest.mark.parametrize("descr", DTYPES)
def test_other_layouts_travel_as_the_neutral_form(descr: str) -> None:
    array = sample(descr, (4, 6))
    swapped = array.astype(array.dtype.newbyteorder(">"))
    for form in (
        array.T,
        array[::2, ::-3],
        np.asfortranarray(array),
        swapped,
        swapped.T,
        np.broadcast_to(array, (2, 4, 6)),
    ):
        np.testing.assert_array_equal(there_and_back(form), form)
        assert tensor.descriptor(tensor.as_tensor(form).dtype) == descr


def test_what_is_neutral_already_is_not_copied() -> None:
    array = np.arange(6.0).reshape(2, 3)
    assert tensor.as_tensor(array) is array
    assert np.shares_memory(np.asarray(tensor.raw(array)), array)
    assert tensor.as_tensor([[1, 2], [3, 4]]).dtype == np.asarray([1]).dtype
    assert there_and_back(True).item() is True


@pytest.mark.parametrize(
    "value",
    [
        np.array([object()]),
        np.array(["text"]),
        np.array([b"bytes"]),
        np.array(["2020-01-01"], "M8[D]"),
        np.array([1], "m8[s]"),
        np.array([1.0], "f2"),
        np.array([1.0], np.longdouble),
        np.array([(1, 2.0)], [("a", "i4"), ("b", "f8")]),
        {"a": 1},
        None,
    ],
    ids=lambda value: str(np.asarray(value).dtype),
)
def test_what_does_not_travel_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError):
        tensor.as_tensor(value)
    with pytest.raises(TypeError):
        tensor.to_npy(value)


@pytest.mark.parametrize(
    ("descr", "shape"),
    [
        ("<f2", [1]),
        (">f4", [1]),
        ("|O", [1]),
        ("f4", [1]),
        (None, [1]),
        (4, [1]),
        (b"<f4", [1]),
        ([], [1]),
        ("<f4", None),
        ("<f4", 3),
        ("<f4", "3"),
        ("<f4", b"\1\2"),
        ("<f4", (3,)),
        ("<f4", [-1]),
        ("<f4", [True]),
        ("<f4", [1.0]),
        ("<f4", [None]),
        ("<f4", [[1]]),
        ("<f4", [1] * (MAX_DIMS + 1)),
    ],
)
def test_a_descriptor_or_shape_that_is_none(descr: Any, shape: Any) -> None:
    # What is like it and right is known already: the answer must not depend on that.
    for known in ([1], [3], [1, 2]):
        tensor.check_descr("<f4", known)
    with pytest.raises(RemoteProtocolError):
        tensor.check_descr(descr, shape)


@pytest.mark.parametrize(
    "shape", [[1 << 41], [0, 1 << 41], [1 << 20, 1 << 21], [1 << 63, 0], [1 << 64], [4] * MAX_DIMS]
)
def test_what_is_too_large_is_refused_before_memory_is_spent(shape: List[int]) -> None:
    with pytest.raises(LimitExceeded):
        tensor.check_descr("<f8", shape)


def test_the_table_of_what_was_checked_is_bounded() -> None:
    for dim in range(MAX_CHECKED + 10):
        assert tensor.check_descr("<i2", [dim]) == (np.dtype("<i2"), (dim,), 2 * dim)
    assert len(tensor._CHECKED) <= MAX_CHECKED


def test_booleans_are_0_or_1_whatever_comes() -> None:
    wild = bytes([0, 1, 2, 255])
    for array in (tensor.copy_out(np.dtype("?"), (2, 2), memoryview(wild)), land(np.dtype("?"), (2, 2), wild)):
        np.testing.assert_array_equal(array, [[False, True], [True, True]])
        assert array.view(np.uint8).max() == 1
        assert array.sum() == 3


# Landing.


def land(dtype: Any, shape: Any, data: bytes) -> tensor.Array:
    landing = Landing(dtype, shape)
    assert landing.land(0, memoryview(data))
    return landing.array


@given(st.integers(1, 300), st.lists(st.integers(1, 40), min_size=1))
def test_pieces_in_order_make_the_tensor(count: int, sizes: List[int]) -> None:
    data = np.arange(count, dtype="<u4").tobytes()
    landing = Landing(np.dtype("<u4"), (count,))
    at = turn = 0
    while at < len(data):
        piece = data[at : at + sizes[turn % len(sizes)]]
        whole = landing.land(at, memoryview(piece))
        assert landing.land(at, memoryview(piece)) is False  # once more: a resend
        at, turn = at + len(piece), turn + 1
        assert whole == (at == len(data))
    np.testing.assert_array_equal(landing.array, np.arange(count))


@given(st.integers(1, 300), st.lists(st.integers(1, 40), min_size=1), st.integers(0, 300))
def test_pieces_of_another_size_are_resent_from_the_start(count: int, sizes: List[int], cut: int) -> None:
    data = np.arange(count, dtype="<u4").tobytes()
    landing = Landing(np.dtype("<u4"), (count,))
    cut = min(cut, len(data) - 1)
    assert cut == 0 or landing.land(0, memoryview(data[:cut])) is False
    at = turn = 0
    while at < len(data):
        piece = data[at : at + sizes[turn % len(sizes)]]
        at, turn = at + len(piece), turn + 1
        assert landing.land(at - len(piece), memoryview(piece)) == (at == len(data))
    np.testing.assert_array_equal(landing.array, np.arange(count))


@pytest.mark.parametrize(
    ("offset", "size"), [(9, 4), (16, 1), (0, 17), (8, 9), (4, 16), (8, 0), (1 << 53, 1)], ids=lambda value: str(value)
)
def test_gaps_and_what_is_past_the_end(offset: int, size: int) -> None:
    landing = Landing(np.dtype("<u8"), (2,))
    assert landing.land(0, memoryview(bytes(8))) is False
    with pytest.raises(RemoteProtocolError):
        landing.land(offset, memoryview(bytes(size)))
    assert landing.land(8, memoryview(bytes(8))) is True  # what is wrong has changed nothing


def test_there_is_no_landing_in_an_empty_tensor() -> None:
    with pytest.raises(RemoteProtocolError):
        Landing(np.dtype("<u8"), (0, 2)).land(0, memoryview(b"\0"))


def test_no_memory_is_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*args: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(tensor.np, "empty", none_left)
    with pytest.raises(LimitExceeded):
        Landing(np.dtype("<u8"), (1 << 30,))


# npy.


@pytest.mark.parametrize("descr", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_npy_there_and_back(descr: str, shape: Any) -> None:
    array = sample(descr, shape)
    ours = tensor.to_npy(array)
    np.testing.assert_array_equal(np.load(io.BytesIO(ours), allow_pickle=False), array)
    for form in (array, np.asfortranarray(array), array.astype(array.dtype.newbyteorder(">"))):
        file = io.BytesIO()
        np.save(file, form)
        for data in (file.getvalue(), bytearray(file.getvalue()), memoryview(file.getvalue())):
            back = tensor.from_npy(data)
            assert back.dtype == array.dtype
            np.testing.assert_array_equal(back, array)


def npy(header: bytes, data: bytes = b"", version: bytes = b"\1\0") -> bytes:
    size = struct.pack("<H" if version == b"\1\0" else "<I", len(header))
    return b"\x93NUMPY" + version + size + header + data


def test_headers_that_others_write() -> None:
    for header in (
        b'{"shape": (2,), "fortran_order": False, "descr": "<i2"}\n',
        b"{'descr':'<i2','fortran_order':False,'shape':(2)}",
        b"  {'fortran_order': True, 'descr': '=i2', 'shape': ( 2 , ), }   \n",
    ):
        for version in (b"\1\0", b"\2\0"):
            np.testing.assert_array_equal(tensor.from_npy(npy(header, b"\1\0\2\0", version)), [1, 2])


GOOD = b"{'descr': '<i2', 'fortran_order': False, 'shape': (2,), }"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\1\0",
        npy(GOOD, b"\1\0\2\0", b"\3\0"),
        npy(GOOD, b"\1\0\2"),
        npy(GOOD, b"\1\0\2\0\3"),
        npy(GOOD)[:-3],
        npy(b""),
        npy(b"{}"),
        npy(GOOD.replace(b"<i2", b"|O"), b"\1\0\2\0"),
        npy(GOOD.replace(b"<i2", b"<f2"), b"\1\0\2\0"),
        npy(GOOD.replace(b"'<i2'", b"[('a', '<i2')]"), b"\1\0\2\0"),
        npy(GOOD.replace(b"(2,)", b"(-2,)"), b"\1\0\2\0"),
        npy(GOOD.replace(b"(2,)", b"(" + b"2," * 40 + b")"), b"\1\0\2\0"),
        npy(GOOD.replace(b"(2,)", b"(" + b"9" * 400 + b",)"), b"\1\0\2\0"),
        npy(GOOD.replace(b"(2,)", b"__import__('os')"), b"\1\0\2\0"),
        npy(GOOD[:-1] + b"'x': 1}", b"\1\0\2\0"),
        npy(b"(" * 5000 + b")" * 5000),
        npy(GOOD + b" " * 20_000, b"\1\0\2\0"),
        pickle.dumps([1, 2, 3]),
    ],
    ids=lambda data: repr(data[10:60]),
)
def test_what_is_no_npy_file(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        tensor.from_npy(data)


def test_a_huge_npy_shape_costs_nothing() -> None:
    with pytest.raises(LimitExceeded):
        tensor.from_npy(npy(GOOD.replace(b"(2,)", b"(1099511627776, 1024)")))


def test_objects_are_never_unpickled(tmp_path: Any) -> None:
    file = io.BytesIO()
    np.save(file, np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(RemoteProtocolError):
        tensor.from_npy(file.getvalue())


def an_array_or_an_error(data: bytes) -> None:
    try:
        array = tensor.from_npy(data)
    except (RemoteProtocolError, LimitExceeded):
        return
    assert array.dtype in DTYPES.values()


@given(st.binary(max_size=300))
def test_any_bytes_as_npy(data: bytes) -> None:
    an_array_or_an_error(data)
    an_array_or_an_error(npy(data, b"\0" * 16))


@given(st.data())
def test_mutated_npy_files(data: st.DataObject) -> None:
    good = bytearray(tensor.to_npy(sample(data.draw(st.sampled_from(sorted(DTYPES))), (3, 2))))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(good) - 1))
        good[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    an_array_or_an_error(bytes(good))
