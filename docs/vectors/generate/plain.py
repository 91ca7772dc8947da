"""Values as JSON can say them, and back: what docs/protocol.md calls the conventions of the vectors."""

from __future__ import annotations

import math
from typing import Any, Dict, List

import numpy as np

from asyncsyft import tensor
from asyncsyft.tensor import DTYPES, Array

LARGEST = (1 << 53) - 1  # what a JavaScript number holds exactly


def to_json(value: Any) -> Any:
    """A value of msgpack: bytes as {"hex": ...}, large integers as {"int": "..."}, NaN and inf as {"float": "..."}."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"hex": bytes(value).hex()}
    if type(value) is int and abs(value) > LARGEST:
        return {"int": str(value)}
    if type(value) is float and not math.isfinite(value):
        return {"float": str(value)}
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return to_json(value._asdict())
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    return value


def from_json(value: Any) -> Any:
    """The value that ``to_json`` was given, tuples as lists and messages as maps."""
    if isinstance(value, dict):
        if set(value) == {"hex"}:
            return bytes.fromhex(value["hex"])
        if set(value) == {"int"}:
            return int(value["int"])
        if set(value) == {"float"}:
            return float(value["float"])
        return {key: from_json(item) for key, item in value.items()}
    return [from_json(item) for item in value] if isinstance(value, list) else value


def array_to_json(array: Any) -> Dict[str, Any]:
    """A tensor: dtype, shape, and its elements in C order; complex ones as pairs, large integers as texts."""
    array = tensor.as_tensor(array)
    return {
        "dtype": tensor.descriptor(array.dtype),
        "shape": list(array.shape),
        "data": [_element(item) for item in array.reshape(-1).tolist()],
    }


def _element(item: Any) -> Any:
    if isinstance(item, complex):
        return [_element(item.real), _element(item.imag)]
    if isinstance(item, float) and not math.isfinite(item):
        return str(item)
    if type(item) is int and abs(item) > LARGEST:
        return str(item)
    return item


def array_from_json(said: Dict[str, Any]) -> Array:
    """The tensor that ``array_to_json`` was given."""
    dtype = DTYPES[said["dtype"]]
    elements: List[Any] = []
    for item in said["data"]:
        if dtype.kind == "c":
            elements.append(complex(float(item[0]), float(item[1])))
        else:
            elements.append(float(item) if dtype.kind == "f" else bool(item) if dtype.kind == "b" else int(item))
    flat = np.empty(len(elements), dtype)
    for at, element in enumerate(elements):
        flat[at] = element
    return flat.reshape(said["shape"])


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values say the same; floats may differ in their last digits, as libraries of mathematics do."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if type(one) is float and type(other) is float:
        return math.isclose(one, other, rel_tol=1e-5, abs_tol=1e-7)
    return type(one) is type(other) and bool(one == other)
