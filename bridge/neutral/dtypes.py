"""dtypes as torch 1.4 has them, for tensors that live where there is no torch: promotion and casts.

torch itself is asked which dtypes meet in which; tensors without dimensions and numbers count for less, as it says.
"""

from __future__ import annotations

from typing import Any, Dict, Optional, Union

import numpy as np
import torch

from asyncsyft import RemoteTensor
from asyncsyft.remote.steps import do

from .errors import NotTranslated

Number = Union[bool, int, float]
Operand = Union[RemoteTensor, Number]

NEUTRAL: Dict[torch.dtype, np.dtype] = {
    torch.bool: np.dtype("bool"),
    torch.uint8: np.dtype("uint8"),
    torch.int8: np.dtype("int8"),
    torch.int16: np.dtype("int16"),
    torch.int32: np.dtype("int32"),
    torch.int64: np.dtype("int64"),
    torch.float32: np.dtype("float32"),
    torch.float64: np.dtype("float64"),
}
_TORCH = {neutral: dtype for dtype, neutral in NEUTRAL.items()}

BOOL, UINT8, INT64, FLOAT64 = (NEUTRAL[dtype] for dtype in (torch.bool, torch.uint8, torch.int64, torch.float64))


def neutral(dtype: Any, op: str) -> np.dtype:
    """A dtype of torch as others know it. Raises: NotTranslated for one that nobody else has (half, quantised)."""
    found = NEUTRAL.get(dtype)
    if found is None:
        raise NotTranslated(op, f"{dtype} does not travel to a worker without PySyft")
    return found


def of_torch(dtype: np.dtype, op: str) -> torch.dtype:
    """The opposite of ``neutral``. Raises: NotTranslated for a dtype that torch has not (uint16, complex)."""
    found = _TORCH.get(dtype)
    if found is None:
        raise NotTranslated(op, f"torch has no {dtype}")
    return found


def dtype_of(value: Operand, op: str) -> torch.dtype:
    """torch's dtype of an operand; a number with a point has the default one."""
    if isinstance(value, RemoteTensor):
        return of_torch(value.dtype, op)
    if type(value) is bool:
        return torch.bool
    if type(value) is int:
        return torch.int64
    if type(value) is float:
        return torch.get_default_dtype()
    raise TypeError(f"{op}: neither a tensor nor a number: {type(value).__name__}")


def result_type(op: str, *operands: Operand) -> np.dtype:
    """The dtype in which operands meet: dimensioned tensors before those without dimensions, and these before numbers.

    What counts for less has a say only if it is of a higher kind.
    """
    ranks: Dict[int, torch.dtype] = {}
    for value in operands:
        rank = 0 if not isinstance(value, RemoteTensor) else 1 if not value.ndim else 2
        dtype = dtype_of(value, op)
        ranks[rank] = torch.promote_types(ranks[rank], dtype) if rank in ranks else dtype
    met: Optional[torch.dtype] = None
    for rank in sorted(ranks):
        met = ranks[rank] if met is None else _combined(ranks[rank], met)
    assert met is not None
    return neutral(met, op)


def _combined(higher: torch.dtype, lower: torch.dtype) -> torch.dtype:
    if higher.is_floating_point or not (higher is torch.bool or lower.is_floating_point):
        return higher
    return torch.promote_types(higher, lower)


def can_cast(source: np.dtype, to: np.dtype) -> bool:
    """Whether an in-place operation may write one dtype into the other: never into a lower kind."""
    return _kind(source) <= _kind(to)


def _kind(dtype: np.dtype) -> int:
    return "biuf".index(dtype.kind.replace("u", "i"))


def cast(x: RemoteTensor, dtype: Any) -> RemoteTensor:
    """The tensor in this dtype; itself if it has it."""
    return x if x.dtype == dtype else do("astype", x, dtype)


def operand(value: Operand, dtype: np.dtype) -> Operand:
    """A tensor in this dtype, or a number of its kind."""
    if isinstance(value, RemoteTensor):
        return cast(value, dtype)
    return bool(value) if dtype.kind == "b" else int(value) if dtype.kind in "iu" else float(value)


def floating(op: str, x: RemoteTensor) -> RemoteTensor:
    """The tensor itself. Raises: RuntimeError if it is not of floating point, as torch has it of these ops."""
    if x.dtype.kind != "f":
        raise RuntimeError(f"{op}: not for tensors of {of_torch(x.dtype, op)}")
    return x


def alike(op: str, *tensors: RemoteTensor) -> np.dtype:
    """The dtype of them all. Raises: RuntimeError if they differ, where torch does not promote."""
    dtypes = {x.dtype for x in tensors}
    if len(dtypes) != 1:
        raise RuntimeError(f"{op}: expected tensors of one dtype, not of {', '.join(sorted(map(str, dtypes)))}")
    return dtypes.pop()
