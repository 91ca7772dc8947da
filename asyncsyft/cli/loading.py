"""Reads arrays from a worker's own disk: .npy, .npz and .csv. Never pickle."""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path
from typing import Dict, List

import numpy as np

from ..tensor import Array, as_tensor


def read(name: str, path: str) -> Dict[str, Array]:
    """The arrays in a file, by the names that they get. Raises: OSError, ValueError with a sentence naming the file."""
    kind = Path(path).suffix.lower()
    reader = {".npy": _npy, ".npz": _npz, ".csv": _csv}.get(kind)
    if reader is None:
        raise ValueError(f"{path}: load takes .npy, .npz and .csv files")
    try:
        return {f"{name}.{key}" if key else name: as_tensor(array) for key, array in reader(path).items()}
    except (ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} cannot be loaded: {_first_sentence(error)}") from None


def _npy(path: str) -> Dict[str, Array]:
    with open(path, "rb") as file:
        return {"": np.lib.format.read_array(file, allow_pickle=False)}


def _npz(path: str) -> Dict[str, Array]:
    if not zipfile.is_zipfile(path):
        raise ValueError("it is no .npz file")
    with np.load(path, allow_pickle=False) as arrays:
        return {key: arrays[key] for key in arrays.files}


def _csv(path: str) -> Dict[str, Array]:
    """Numbers in rows of one length; a first row in which not all are numbers names the columns, and is left out."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.reader(file) if row]
    if rows and not _numeric(rows[0]):
        rows = rows[1:]
    if not rows:
        raise ValueError("there are no numbers in it")
    for row in rows:
        if len(row) != len(rows[0]):
            raise ValueError(f"a row of {len(row)} values where the first has {len(rows[0])}")
    return {"": np.array([[float(value) for value in row] for row in rows])}


def _numeric(row: List[str]) -> bool:
    try:
        return bool([float(value) for value in row])
    except ValueError:
        return False


def _first_sentence(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__
