"""Arrays to bytes and back: npy's neutral form (dtype descriptor, shape, C-order little-endian bytes).

It knows no frames: who carries the descriptor and where the bytes stand is decided by ``wire.py``.
"""

from __future__ import annotations

import io
import math
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

#: Pairs of descriptor and shape that were checked and found good, up to this many.
_CHECKED: Dict[Tuple[str, Tuple[int, ...]], Tuple[DType, Tuple[int, ...], int]] = {}
MAX_CHECKED = 4096

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
    return memoryview(array.reshape(-1).view(np.uint8)) if array.size else memoryview(b"")


def check_descr(descr: Any, shape: Any) -> Tuple[DType, Tuple[int, ...], int]:
    """A dtype descriptor and a shape from the network, checked: (dtype, shape, bytes).

    Raises: RemoteProtocolError if they are not what they should be, LimitExceeded past ``MAX_BYTES``.
    """
    try:
        return _CHECKED[descr, tuple(shape)]
    except (KeyError, TypeError):
        pass
    dtype = DTYPES.get(descr) if type(descr) is str else None
    if dtype is None:
        raise RemoteProtocolError(f"no such dtype: {str(descr)[:40]!r}")
    if type(shape) is not list or len(shape) > MAX_DIMS:
        raise RemoteProtocolError(f"a shape is a list of at most {MAX_DIMS} dimensions")
    for dim in shape:
        if type(dim) is not int or dim < 0:
            raise RemoteProtocolError(f"not a dimension: {str(dim)[:40]}")
    nbytes = math.prod(shape) * dtype.itemsize
    # The dimensions beside a 0 count too: numpy multiplies them before it sees the 0.
    if math.prod(dim or 1 for dim in shape) * dtype.itemsize > MAX_BYTES:
        raise LimitExceeded(f"a tensor of shape {shape} is past the limit of {MAX_BYTES} bytes")
    if len(_CHECKED) < MAX_CHECKED:
        _CHECKED[descr, tuple(shape)] = dtype, tuple(shape), nbytes
    return dtype, tuple(shape), nbytes


def copy_out(dtype: DType, shape: Sequence[int], buffer: memoryview) -> Array:
    """A fresh, writable, aligned array from bytes that stay somebody else's."""
    if not len(buffer):
        return np.empty(shape, dtype)
    return np.frombuffer(buffer, dtype).reshape(shape).copy()


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
        """Take the piece that begins at byte ``offset``; True when the tensor is whole. A piece that landed is ignored.

        Raises: RemoteProtocolError if the piece leaves a gap or ends past the tensor.
        """
        end = offset + len(piece)
        if end <= self.at and len(piece):
            return False
        if offset != self.at or end > self.nbytes or not len(piece):
            raise RemoteProtocolError(f"a chunk of bytes {offset} to {end} where {self.at} of {self.nbytes} are here")
        self._bytes[offset:end] = piece
        self.at = end
        return end == self.nbytes


def to_npy(array: Any) -> bytes:
    """A whole ``.npy`` file. Raises: TypeError for a dtype that does not travel."""
    file = io.BytesIO()
    np.lib.format.write_array(file, as_tensor(array), allow_pickle=False)
    return file.getvalue()


def from_npy(data: Union[bytes, bytearray, memoryview]) -> Array:
    """The array of a whole ``.npy`` file, never by pickle.

    Raises: RemoteProtocolError if the bytes are no such file or hold a dtype that does not travel.
    """
    file = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(file)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read_header is None:
            raise ValueError(f"npy version {version}")
        shape, fortran, dtype = read_header(file)
    # numpy evaluates the header as a Python literal: hostile bytes bring out any of these.
    except (ValueError, TypeError, SyntaxError, EOFError, MemoryError, RecursionError, UnicodeError) as error:
        raise RemoteProtocolError(f"not a .npy file: {str(error)[:100]}") from None
    try:
        descr = descriptor(dtype)
    except TypeError as error:
        raise RemoteProtocolError(str(error)) from None
    _, _, nbytes = check_descr(descr, list(shape))
    rest = memoryview(data)[file.tell() :]
    if len(rest) != nbytes:
        raise RemoteProtocolError(f"a .npy file of shape {shape} has {len(rest)} bytes of data instead of {nbytes}")
    flat = np.frombuffer(rest, dtype).astype(DTYPES[descr])
    return flat.reshape(shape, order="F" if fortran else "C")


def dims(array: Array) -> List[int]:
    """The shape as a list, as it travels."""
    return list(array.shape)
