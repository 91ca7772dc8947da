"""Functions of several secrets: to choose among them, to take the larger, to join them."""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np

from . import functions
from .axes import axis_of
from .node import BIT, PUBLIC
from .tensor import SecretTensor

__all__ = ["concat", "maximum", "minimum", "where"]


def where(bit: SecretTensor, x: Any, y: Any) -> SecretTensor:
    """x where a secret bit is 1, y elsewhere; one of them at least may be public. Raises: TypeError for no bit."""
    if not isinstance(bit, SecretTensor) or bit.node.form != BIT:
        raise TypeError("where chooses by a secret bit, which comparisons give")
    nodes = [bit._other(value) for value in (x, y)]
    if nodes[0] is None or nodes[1] is None:
        raise TypeError("where chooses between tensors and numbers")
    circuit = bit.mpc.circuit
    if nodes[0].form == nodes[1].form == PUBLIC:
        return bit._new(circuit.add(circuit.mul(bit.node, circuit.sub(nodes[0], nodes[1])), nodes[1]))
    return bit._new(functions.where(circuit, bit.node, nodes[0], nodes[1]))


def concat(tensors: Sequence[Any], axis: int = 0) -> SecretTensor:
    """Tensors one behind the other; one of them at least is secret. Raises: TypeError if none is."""
    secret = next((one for one in tensors if isinstance(one, SecretTensor)), None)
    if secret is None:
        raise TypeError("none of them is secret")
    axis = axis_of(axis, secret.ndim)
    nodes = [secret._other(one) for one in tensors]
    if any(node is None for node in nodes):
        raise TypeError("only tensors and numbers are joined")
    return secret._new(secret.mpc.circuit.concat([node for node in nodes if node is not None], axis))


def maximum(x: Any, y: Any) -> SecretTensor:
    """The larger of two, element by element; one of them may be public. Raises: TypeError if none is secret."""
    if not isinstance(x, SecretTensor):
        x, y = y, x
    found = x._two("maximum", y) if isinstance(x, SecretTensor) else NotImplemented
    if found is NotImplemented:
        raise TypeError("maximum and minimum are of secrets, and of a secret and numbers")
    return found  # type: ignore[no-any-return]


def minimum(x: Any, y: Any) -> SecretTensor:
    """The smaller of two, element by element; one of them may be public. Raises: TypeError if none is secret."""
    least: SecretTensor = -maximum(*(-each if isinstance(each, SecretTensor) else -np.asarray(each) for each in (x, y)))
    return least
