"""Arrays to bytes and back: npy's neutral form (dtype descriptor, shape, C-order little-endian bytes).

It knows no frames: who carries the descriptor and where the bytes stand is decided by ``wire.py``.
"""

from __future__ import annotations

import io
import math
import re
import struct
from typing import TYPE_CHECKING, Any, Dict, List, Sequence, Tuple, Union

import numpy as np

from .errors import LimitExceeded, RemoteProtocolError

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]
    DType = np.dtype[Any]
else:
    Array, DType = np.ndarray, np.dtype

#: The dtypes of the Python array API standard, by their npy descriptors; nothing else travels, least of all objects.
DTYPES: Dict[str, DType] = {
    descr: np.dtype(descr)
    for descr in ("|b1", "|i1", "<i2", "<i4", "<i8", "|u1", "<u2", "<u4", "<u8", "<f4", "<f8", "<c8", "<c16")
}
#: numpy refuses more than 32 dimensions before version 2, so that is the bound for everyone.
MAX_DIMS = 32
#: A tensor is at most 2^40 bytes: far above what a worker holds, far below what overflows a length.
MAX_BYTES = 1 << 40

_WHOLE = frozenset((int,))

#: Pairs of descriptor and shape that were checked and found good, up to this many.
_CHECKED: Dict[Tuple[str, Tuple[int, ...]], Tuple[DType, Tuple[int, ...], int]] = {}
MAX_CHECKED = 4096
#: Bytes of an array whose rows are given out, since a copy of each costs more: who keeps one keeps no more than this.
SHARED = 4096

_DESCR: Dict[DType, str] = {dtype: descr for descr, dtype in DTYPES.items()}


def descriptor(dtype: DType) -> str:
    """The npy descriptor of a dtype, as "<f4".

    Raises: TypeError for a dtype that does not travel (object, strings, dates, float16, extended precision).
    """
    try:
        return _DESCR[dtype]
    except KeyError:
        pass
    try:
        return _DESCR[dtype.newbyteorder("<")]
    except KeyError:
        names = ", ".join(sorted(known.name for known in _DESCR))
        raise TypeError(f"dtype {dtype} does not travel; one of {names} does") from None


def as_tensor(value: Any) -> Array:
    """Any array-like as an array that can travel: C order, little-endian, one of ``DTYPES``; no copy if it is one.

    Raises: TypeError for a dtype that does not travel.
    """
    array = np.asarray(value)
    wanted = DTYPES[descriptor(array.dtype)]
    if array.flags.c_contiguous and array.dtype == wanted and array.dtype.isnative:
        return array
    return np.array(array, dtype=wanted, order="C")


def raw(array: Array) -> memoryview:
    """The bytes of a C-ordered array, without a copy."""
    # A view on an empty array cannot be cast, and one on a 0-d array has no length: both go by reshape.
    return array.reshape(-1).view(np.uint8).data if array.size else memoryview(b"")


def check_descr(descr: Any, shape: Any) -> Tuple[DType, Tuple[int, ...], int]:
    """A dtype descriptor and a shape from the network, checked: (dtype, shape, bytes).

    Raises: RemoteProtocolError if they are not what they should be, LimitExceeded past ``MAX_BYTES``.
    """
    # The types first: True and 1.0 are found in a table where 1 is.
    if type(descr) is not str or type(shape) is not list or len(shape) > MAX_DIMS:
        raise RemoteProtocolError(f"a tensor is a dtype's descriptor and a list of at most {MAX_DIMS} dimensions")
    if not _WHOLE.issuperset(map(type, shape)):
        raise RemoteProtocolError("a dimension is a whole number")
    try:
        return _CHECKED[descr, tuple(shape)]
    except KeyError:
        pass
    dtype = DTYPES.get(descr)
    if dtype is None:
        raise RemoteProtocolError(f"no such dtype: {descr[:40]!r}")
    if shape and min(shape) < 0:
        raise RemoteProtocolError(f"not a dimension: {min(shape)}")
    nbytes = math.prod(shape) * dtype.itemsize
    # The dimensions beside a 0 count too: numpy multiplies them before it sees the 0.
    if math.prod(dim or 1 for dim in shape) * dtype.itemsize > MAX_BYTES:
        raise LimitExceeded(f"a tensor of shape {shape} is past the limit of {MAX_BYTES} bytes")
    if len(_CHECKED) >= MAX_CHECKED:
        _CHECKED.clear()
    checked = _CHECKED[descr, tuple(shape)] = dtype, tuple(shape), nbytes
    return checked


def copy_out(dtype: DType, shape: Sequence[int], buffer: memoryview) -> Array:
    """A fresh, writable, aligned array from bytes that stay somebody else's."""
    return copy_at(dtype, shape, len(buffer), buffer, 0)


def copy_at(dtype: DType, shape: Sequence[int], nbytes: int, buffer: memoryview, at: int) -> Array:
    """As ``copy_out``, from the ``nbytes`` at byte ``at``."""
    if not nbytes:
        return np.empty(shape, dtype)
    if dtype.kind == "b":  # numpy relies on its booleans being 0 or 1; bytes that came may be anything
        return np.not_equal(np.frombuffer(buffer, np.uint8, nbytes, at), 0).reshape(shape)
    there: Array = np.ndarray(shape, dtype, buffer, at)
    return there.copy()


def copies_at(
    dtype: DType, shape: Tuple[int, ...], nbytes: int, buffer: memoryview, at: int, stride: int, count: int
) -> List[Array]:
    """As ``copy_at``, of ``count`` tensors that begin ``stride`` bytes apart; small ones are rows of one array."""
    if count == 1 or not nbytes or not shape or dtype.kind == "b":
        return [copy_at(dtype, shape, nbytes, buffer, at + number * stride) for number in range(count)]
    strides = [dtype.itemsize]
    for dim in shape[:0:-1]:
        strides.insert(0, dim * strides[0])
    # One array over all of them, whose rows they are: to make a view of each costs more than to copy it.
    together: Array = np.ndarray((count, *shape), dtype, buffer, at, (stride, *strides))
    return list(together.copy()) if together.nbytes <= SHARED else [row.copy() for row in together]


class Landing:
    """A large tensor on its way in: chunks land in order, straight in the array's own memory."""

    __slots__ = ("array", "at", "nbytes", "_bytes")

    def __init__(self, dtype: DType, shape: Sequence[int]) -> None:
        """Raises: LimitExceeded if there is no memory for it."""
        try:
            self.array: Array = np.empty(shape, dtype)
        except MemoryError:
            raise LimitExceeded(f"no memory for a tensor of shape {list(shape)}") from None
        self._bytes = raw(self.array)
        self.at = 0
        self.nbytes = self.array.nbytes

    def land(self, offset: int, piece: memoryview) -> bool:
        """Take the piece that begins at byte ``offset``; True when the tensor is whole. What landed is not taken again.

        Raises: RemoteProtocolError if the piece leaves a gap or ends past the tensor.
        """
        end = offset + len(piece)
        if end <= self.at and len(piece):
            return False
        if offset > self.at or end > self.nbytes or not len(piece):
            raise RemoteProtocolError(f"a chunk of bytes {offset} to {end} where {self.at} of {self.nbytes} are here")
        # After a resume the pieces may be of another size, so that one is in part here.
        self._bytes[self.at : end] = piece[self.at - offset :]
        self.at = end
        if end < self.nbytes:
            return False
        if self.array.dtype.kind == "b":
            np.not_equal(self.array.view(np.uint8), 0, out=self.array)
        return True


def to_npy(array: Any) -> bytes:
    """A whole ``.npy`` file. Raises: TypeError for a dtype that does not travel."""
    file = io.BytesIO()
    np.lib.format.write_array(file, as_tensor(array), allow_pickle=False)
    return file.getvalue()


def from_npy(data: Union[bytes, bytearray, memoryview]) -> Array:
    """The array of a whole ``.npy`` file, never by pickle.

    Raises: RemoteProtocolError if the bytes are no such file or hold a dtype that does not travel.
    """
    dtype, fortran, shape, at = _npy_header(memoryview(data))
    rest = memoryview(data)[at:]
    descr = descriptor(dtype)
    _, _, nbytes = check_descr(descr, shape)
    if len(rest) != nbytes:
        raise RemoteProtocolError(f"a .npy file of shape {shape} has {len(rest)} bytes of data instead of {nbytes}")
    flat = copy_out(dtype, (-1,) if nbytes else (0,), rest).astype(DTYPES[descr], copy=False)
    return flat.reshape(shape, order="F" if fortran else "C")


#: Bytes of a header: numpy's own are 118, and it refuses longer ones than this too.
MAX_NPY_HEADER = 10_000
_NPY_SIZE = {b"\x93NUMPY\x01\x00": struct.Struct("<H"), b"\x93NUMPY\x02\x00": struct.Struct("<I")}
_NPY_FIELDS = (
    re.compile(rb"""["']descr["']\s*:\s*["']([<>|=]?)([a-z]\d{1,2})["']"""),
    re.compile(rb"""["']fortran_order["']\s*:\s*(True|False)"""),
    re.compile(rb"""["']shape["']\s*:\s*\(((?:\s*\d{1,19}\s*,)*\s*(?:\d{1,19}\s*)?)\)"""),
)


def _npy_header(data: memoryview) -> Tuple[DType, bool, List[int], int]:
    """The dtype, order and shape of a ``.npy`` file and where its data begin; numpy would evaluate this as Python."""
    size_at = _NPY_SIZE.get(bytes(data[:8]))
    if size_at is None or len(data) < 8 + size_at.size:
        raise RemoteProtocolError("not a .npy file of version 1.0 or 2.0")
    begin = 8 + size_at.size
    (size,) = size_at.unpack_from(data, 8)
    if size > MAX_NPY_HEADER or begin + size > len(data):
        raise RemoteProtocolError(f"a .npy header of {size} bytes")
    header, found = bytes(data[begin : begin + size]).strip(), []
    for field in _NPY_FIELDS:
        match = field.search(header)
        if match is None:
            raise RemoteProtocolError(f"not a .npy header, or a dtype that does not travel: {header[:100]!r}")
        header = header[: match.start()] + header[match.end() :]
        found.append(match.groups())
    (endian, code), (order,), (dims,) = found
    descr = ("|" if code in (b"b1", b"i1", b"u1") else "<") + code.decode()
    if not re.fullmatch(rb"\{[\s,]*\}", header) or descr not in DTYPES:
        raise RemoteProtocolError(f"not a .npy header, or a dtype that does not travel: {descr} {header[:100]!r}")
    dtype = DTYPES[descr].newbyteorder(">") if endian == b">" else DTYPES[descr]
    return dtype, order == b"True", [int(dim) for dim in dims.split(b",") if dim.strip()], begin + size
