"""SecretTensor: what a program writes with, as with arrays. Operators record and return at once."""

from __future__ import annotations

import math
from typing import Any, ContextManager, List, Optional, Protocol, Sequence, Tuple, Union

import numpy as np

from . import functions
from .circuit import Circuit
from .node import BIT, PUBLIC, Node

__all__ = ["SecretTensor", "concat", "where"]

Axes = Union[int, Sequence[int], None]
Pair = Union[int, Tuple[int, int]]


class Session(Protocol):
    """What a tensor needs of its session."""

    circuit: Circuit

    def recorded(self) -> None: ...

    def together(self) -> ContextManager[None]: ...

    async def reveal(self, *tensors: SecretTensor) -> List[Any]: ...

    async def reveal_to(self, worker: Any, secret: SecretTensor, name: str) -> None: ...


class SecretTensor:
    """A tensor that nobody knows; each party holds a share of it.

    Operators take other secrets of the session, arrays and numbers, which are public to the members. Numbers with
    fractions are right to one unit in the last place after each product; comparisons give secret bits, which are
    numbers 0 and 1 wherever one is wanted.
    """

    __slots__ = ("mpc", "node")
    #: numpy's own operators leave it to ours.
    __array_ufunc__ = None
    __hash__ = object.__hash__

    def __init__(self, mpc: Session, node: Node) -> None:
        self.mpc, self.node = mpc, node

    def __repr__(self) -> str:
        return f"<SecretTensor {'x'.join(map(str, self.shape)) or 'scalar'}>"

    def __bool__(self) -> bool:
        raise TypeError("nobody knows whether a secret is true: (await x.reveal()), or where(x, y, z)")

    @property
    def shape(self) -> Tuple[int, ...]:
        return self.node.shape

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return self.node.size

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a scalar has no length")
        return self.shape[0]

    async def reveal(self, to: Any = None, name: str = "") -> Any:
        """What it is: to this driver, or with ``to`` to that party alone, which keeps it under a name."""
        if to is None:
            return (await self.mpc.reveal(self))[0]
        await self.mpc.reveal_to(to, self, name)
        return None

    # Recording.

    def _new(self, node: Node) -> SecretTensor:
        self.mpc.recorded()
        return SecretTensor(self.mpc, node)

    def _other(self, value: Any) -> Optional[Node]:
        if isinstance(value, SecretTensor):
            if value.mpc is not self.mpc:
                raise ValueError("the secrets are of different sessions")
            return value.node
        if isinstance(value, (int, float, list, np.ndarray, np.generic)):
            return self.mpc.circuit.public(value)
        return None

    def _two(self, name: str, value: Any, swapped: bool = False) -> Any:
        other = self._other(value)
        if other is None:
            return NotImplemented
        pair = (other, self.node) if swapped else (self.node, other)
        method = getattr(self.mpc.circuit, name, None)
        return self._new(method(*pair) if method else getattr(functions, name)(self.mpc.circuit, *pair))

    def _one(self, name: str, *params: Any) -> SecretTensor:
        return self._new(getattr(functions, name)(self.mpc.circuit, self.node, *params))

    def _linear(self, name: str, *params: Any) -> SecretTensor:
        return self._new(self.mpc.circuit.linear(name, self.node, *params))

    # Arithmetic.

    def __add__(self, other: Any) -> Any:
        return self._two("add", other)

    def __radd__(self, other: Any) -> Any:
        return self._two("add", other, True)

    def __sub__(self, other: Any) -> Any:
        return self._two("sub", other)

    def __rsub__(self, other: Any) -> Any:
        return self._two("sub", other, True)

    def __mul__(self, other: Any) -> Any:
        return self._two("mul", other)

    def __rmul__(self, other: Any) -> Any:
        return self._two("mul", other, True)

    def __matmul__(self, other: Any) -> Any:
        return self._two("matmul", other)

    def __rmatmul__(self, other: Any) -> Any:
        return self._two("matmul", other, True)

    def __neg__(self) -> SecretTensor:
        return self._linear("neg")

    def __truediv__(self, other: Any) -> Any:
        if isinstance(other, SecretTensor):
            return self * other.reciprocal()
        if not isinstance(other, (int, float, list, np.ndarray, np.generic)):
            return NotImplemented
        return self._one("quotient", np.asarray(other, np.float64))

    def __rtruediv__(self, other: Any) -> Any:
        return self.reciprocal() * other

    # Comparisons: secret bits.

    def __lt__(self, other: Any) -> Any:
        return self._two("less", other)

    def __gt__(self, other: Any) -> Any:
        return self._two("less", other, True)

    def __le__(self, other: Any) -> Any:
        return ~(self > other)

    def __ge__(self, other: Any) -> Any:
        return ~(self < other)

    def __eq__(self, other: Any) -> Any:
        return self._two("equal", other)

    def __ne__(self, other: Any) -> Any:
        equal = self == other
        return equal if equal is NotImplemented else ~equal

    def __invert__(self) -> SecretTensor:
        """Not a bit. Raises: TypeError for what is no bit."""
        if self.node.form != BIT:
            raise TypeError("~ is for what a comparison gave")
        return self._new(self.mpc.circuit.flip(self.node))

    # Shapes.

    def __getitem__(self, key: Any) -> SecretTensor:
        return self._linear("index", *map(_item, key if isinstance(key, tuple) else (key,)))

    @property
    def T(self) -> SecretTensor:
        return self.transpose()

    def transpose(self, *axes: int) -> SecretTensor:
        return self._linear("transpose", axes or tuple(range(self.ndim))[::-1])

    def reshape(self, *shape: Any) -> SecretTensor:
        wanted = tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape
        return self._linear("reshape", np.broadcast_to(0, self.shape).reshape(wanted).shape)

    def sum(self, axis: Axes = None, keepdims: bool = False) -> SecretTensor:
        return self._linear("sum", self._axes(axis), keepdims)

    def mean(self, axis: Axes = None, keepdims: bool = False) -> SecretTensor:
        return self._one("mean", self._axes(axis), keepdims)

    def _axes(self, axis: Axes) -> Tuple[int, ...]:
        wanted = range(self.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
        if any(not -self.ndim <= one < self.ndim for one in wanted):
            raise ValueError(f"there is no axis {axis} in {self.shape}")
        return tuple(sorted({one % self.ndim for one in wanted}))

    # The largest.

    def max(self, axis: Optional[int] = None, keepdims: bool = False) -> SecretTensor:
        return self._top("max", axis, keepdims)

    def argmax(self, axis: Optional[int] = None, keepdims: bool = False) -> SecretTensor:
        """Where the largest is, the first of equals."""
        return self._top("argmax", axis, keepdims)

    def _top(self, want: str, axis: Optional[int], keepdims: bool) -> SecretTensor:
        if axis is None:
            return self.reshape(self.size)._one("top", 0, False, want)
        return self._one("top", self._axes(axis)[0], keepdims, want)

    # Functions; ``functions`` says how near they are.

    def relu(self) -> SecretTensor:
        return self._one("relu")

    def abs(self) -> SecretTensor:
        return self._one("absolute")

    __abs__ = abs

    def sigmoid(self) -> SecretTensor:
        return self._one("sigmoid")

    def tanh(self) -> SecretTensor:
        return self._one("tanh")

    def exp(self) -> SecretTensor:
        return self._one("exp")

    def reciprocal(self) -> SecretTensor:
        return self._one("reciprocal")

    def sqrt(self) -> SecretTensor:
        return self._one("sqrt")

    def softmax(self, axis: int = -1) -> SecretTensor:
        return self._one("softmax", self._axes(axis)[0])

    # Images: (n, c, h, w).

    def conv2d(self, kernels: Any, stride: Pair = 1, padding: Pair = 0) -> SecretTensor:
        """With kernels (o, c, kh, kw), secret or public."""
        other = self._other(kernels)
        if other is None:
            raise TypeError(f"kernels are a tensor, not {type(kernels).__name__}")
        return self._new(functions.conv2d(self.mpc.circuit, self.node, other, _pair(stride), _pair(padding)))

    def avg_pool2d(self, size: Pair, stride: Optional[Pair] = None) -> SecretTensor:
        return self._windows(size, stride).mean(4)

    def max_pool2d(self, size: Pair, stride: Optional[Pair] = None) -> SecretTensor:
        return self._windows(size, stride).max(4)

    def _windows(self, size: Pair, stride: Optional[Pair]) -> SecretTensor:
        """(n, c, oh, ow, elements of a window)."""
        both = _pair(size)
        seen = self._one("patches", both, both if stride is None else _pair(stride), (0, 0))
        n, height, width, _ = seen.shape
        return seen.reshape(n, height, width, self.shape[1], math.prod(both)).transpose(0, 3, 1, 2, 4)


def _pair(value: Pair) -> Tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def _item(key: Any) -> Any:
    if isinstance(key, slice):
        return ["slice", key.start, key.stop, key.step]
    if key is None:
        return ["new"]
    if key is Ellipsis:
        return ["all"]
    if isinstance(key, (int, np.integer)):
        return int(key)
    if isinstance(key, SecretTensor):
        raise TypeError("an index is public: a secret one would tell what it is by what it takes")
    return ["take", np.asarray(key, np.intp).tolist()]


def where(bit: SecretTensor, x: Any, y: Any) -> SecretTensor:
    """x where a secret bit is 1, y elsewhere; one of them at least may be public. Raises: TypeError for no bit."""
    if not isinstance(bit, SecretTensor) or bit.node.form != BIT:
        raise TypeError("where chooses by what a comparison gave")
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
    nodes = [secret._other(one) for one in tensors]
    if any(node is None for node in nodes):
        raise TypeError("only tensors and numbers are joined")
    return secret._new(secret.mpc.circuit.concat([node for node in nodes if node is not None], axis % secret.ndim))
