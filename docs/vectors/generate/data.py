"""Data: tensors, literals, promotion, and what ops make of their inputs."""

from __future__ import annotations

import math
from typing import Any, Dict, List

import numpy as np

from asyncsyft import ops, program, tensor, wire
from asyncsyft.conform.compute import expected
from asyncsyft.conform.objects import ramp
from asyncsyft.conform.samples import SAMPLES
from asyncsyft.errors import AsyncSyftError
from asyncsyft.tensor import DTYPES

from .plain import array_to_json, to_json

_SHAPES = ((), (1,), (7,), (2, 3), (0,), (2, 0, 3))
_BAD_TENSORS: List[Any] = [
    ("|O", [1]), (">f4", [1]), ("<f2", [1]), ("<U1", [1]), ("f4", [1]), ("", [1]), (7, [1]),
    ("<f4", [-1]), ("<f4", [1.0]), ("<f4", [True]), ("<f4", ["1"]), ("<f4", None), ("<f4", 3), ("<f4", [1] * 33),
    ("<f4", [1 << 38, 2]), ("|u1", [1 << 41, 0]),
]  # fmt: skip
_LITERALS: List[Any] = [
    ["|b1", True], ["|b1", False], ["|i1", -128], ["|u1", 255], ["<i2", -7], ["<u2", 7], ["<i4", 1 << 30],
    ["<u4", 1 << 31], ["<i8", -(1 << 63)], ["<i8", (1 << 63) - 1], ["<u8", (1 << 64) - 1], ["<f4", 0.5], ["<f4", 3],
    ["<f8", 1e300], ["<f8", math.nan], ["<f4", math.inf], ["<f8", -math.inf], ["<c8", [1.0, -2.0]],
    ["<c16", [0, 1e300]],
]  # fmt: skip
_BAD_LITERALS: List[Any] = [
    [], ["<f4"], ["<f4", 1, 2], "<f4", None, ["|O", 1], ["<f2", 1.0], ["<f4", "1"], ["<f4", None], ["<f4", True],
    ["<f4", [1.0]], ["<c8", 1.0], ["<c8", [1.0]], ["<c8", [1.0, "2"]], ["|i1", 128], ["|u1", -1], ["<u8", -1],
    ["<i4", 1.5], ["<i4", math.nan], ["<i4", True], ["|b1", 1],
]  # fmt: skip


def _file(about: str, **content: Any) -> Dict[str, Any]:
    return {"about": about, "protocol": wire.SUBPROTOCOL, "draft": True, **content}


def _refused(call: Any, *args: Any) -> str:
    """The name of the error that a call raises."""
    try:
        call(*args)
    except AsyncSyftError as error:
        return type(error).__name__
    raise AssertionError(f"{args} is not refused")


def tensors() -> Dict[str, Any]:
    """Every dtype, 0-d and empty arrays, and what is no tensor."""
    vectors = []
    for descr in DTYPES:
        for shape in _SHAPES:
            array = ramp(descr, *shape)
            vectors.append({**array_to_json(array), "hex": array.tobytes().hex()})
    truths = {"dtype": "|b1", "shape": [4], "data": [False, True, True, True], "hex": "000102ff"}
    npy = [
        {**array_to_json(array), "npy": tensor.to_npy(array).hex()}
        for array in (np.arange(6, dtype="<f4").reshape(2, 3), np.array(7, "<i8"), np.zeros(0, "|b1"))
    ]
    invalid = [{"dtype": d, "shape": s, "error": _refused(tensor.check_descr, d, s)} for d, s in _BAD_TENSORS]
    about = "dtype, shape, elements in C order and the bytes that travel; whole .npy files; and what is no tensor."
    return _file(about, vectors=[*vectors, truths], npy=npy, invalid=invalid)


def literals() -> Dict[str, Any]:
    """Literals and the 0-d arrays that they stand for, and what is no literal."""
    vectors = [{"literal": to_json(item), **array_to_json(program.literal_array(item))} for item in _LITERALS]
    invalid = [{"literal": to_json(item), "error": _refused(program.literal_array, item)} for item in _BAD_LITERALS]
    return _file("Inputs of steps that are no object ids.", vectors=vectors, invalid=invalid)


def promotion() -> Dict[str, Any]:
    """Every pair of dtypes, and every dtype with each kind of Python scalar."""
    pairs = [[one, other, _meeting(one, other)] for one in DTYPES for other in DTYPES]
    scalars = [
        [descr, name, tensor.descriptor(ops.scalar_dtype(value, DTYPES[descr]))]
        for descr in DTYPES
        for name, value in (("bool", True), ("int", 1), ("float", 0.5), ("complex", 1j))
    ]
    about = (
        "pairs: two arrays and the dtype in which they meet; scalars: an array, a scalar's kind, the literal's dtype."
    )
    return _file(about, pairs=pairs, scalars=scalars)


def _meeting(one: str, other: str) -> str:
    try:
        return tensor.descriptor(ops.result_type(DTYPES[one], DTYPES[other]))
    except TypeError:
        return "TypeError"


def ops_() -> Dict[str, Any]:
    """Sample calls of every op and their results."""
    vectors = []
    for sample in SAMPLES:
        outputs = [array_to_json(array) for array in expected(sample)]
        if sample.compare == "shape":
            for output in outputs:
                output["data"] = None
        vectors.append(
            {
                "op": sample.op,
                "inputs": [array_to_json(array) for array in sample.inputs],
                "params": to_json(sample.params),
                "compare": sample.compare,
                "outputs": outputs,
            }
        )
    about = "Ops by sample calls. compare: exact, close (1e-5 in single precision, 1e-10 in double), magnitude, shape."
    return _file(about, vectors=vectors)
