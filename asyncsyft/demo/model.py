"""A small network and how it learns, written with numpy alone.

Every function here takes numpy's arrays and remote tensors alike: given remote tensors, each line becomes steps for the
worker that holds them, and nothing is waited for. It does not know which of the two it has.
"""

from __future__ import annotations

from typing import Any, List, Sequence, Tuple

import numpy as np

from ..tensor import Array

#: An array, or a remote tensor that stands for one.
Tensor = Any
Batch = Tuple[Tensor, Tensor]

HIDDEN, CLASSES = 32, 10
# So small that a product of matrices takes one thread: on two cores, two workers with two each would get in each
# other's way, and be ten times slower.
BATCH = 10
RATE = 0.15


def beginning(inputs: int) -> List[Array]:
    """The parameters to start from, always the same: two layers of weights and biases."""
    random = np.random.RandomState(1)
    first = random.normal(0, inputs**-0.5, (inputs, HIDDEN))
    second = random.normal(0, HIDDEN**-0.5, (HIDDEN, CLASSES))
    return [first, np.zeros(HIDDEN), second, np.zeros(CLASSES)]


def batches(pixels: Tensor, labels: Tensor) -> List[Batch]:
    """Pixels from 0 to 1 and labels as rows with a single 1, cut into batches."""
    x = pixels / 255
    y = (labels[:, None] == np.arange(CLASSES)) * 1.0
    return [(x[at : at + BATCH], y[at : at + BATCH]) for at in range(0, len(x), BATCH)]


def learn(model: Sequence[Tensor], data: Sequence[Batch]) -> List[Tensor]:
    """The parameters after one pass over the batches."""
    for x, y in data:
        model = step(model, x, y)
    return list(model)


def step(model: Sequence[Tensor], x: Tensor, y: Tensor) -> List[Tensor]:
    """One step of gradient descent on the cross-entropy of a batch."""
    w1, b1, w2, b2 = model
    hidden = np.tanh(x @ w1 + b1)
    scores = hidden @ w2 + b2
    powers = np.exp(scores - np.max(scores, axis=1, keepdims=True))
    off = (powers / np.sum(powers, axis=1, keepdims=True) - y) * (RATE / BATCH)
    back = off @ w2.T * (1 - hidden * hidden)
    return [w1 - x.T @ back, b1 - np.sum(back, axis=0), w2 - hidden.T @ off, b2 - np.sum(off, axis=0)]


def right(model: Sequence[Tensor], pixels: Tensor, labels: Tensor) -> Tensor:
    """How many of these digits the network names rightly."""
    w1, b1, w2, b2 = model
    scores = np.tanh(pixels / 255 @ w1 + b1) @ w2 + b2
    return np.count_nonzero(np.argmax(scores, axis=1) == labels)
