"""SecretTensor: what a program writes with, as with arrays. Operators record and return at once."""

from __future__ import annotations

import math
from typing import Any, ContextManager, List, NoReturn, Optional, Protocol, Tuple

import numpy as np

from ..remote import RemoteTensor
from . import functions
from .axes import Axes, Pair, axes_of, axis_of, items, pair, shape_of
from .circuit import Circuit
from .node import BIT, Node
from .operators import OPEN, Operators

__all__ = ["SecretTensor"]


class Session(Protocol):
    """What a tensor needs of its session."""

    circuit: Circuit

    def recorded(self) -> None: ...

    def together(self) -> ContextManager[None]: ...

    async def reveal(self, *tensors: SecretTensor) -> List[Any]: ...

    async def reveal_to(self, worker: Any, secret: SecretTensor, name: str) -> None: ...


class SecretTensor(Operators):
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
        return f"<SecretTensor {self.dtype}[{', '.join(map(str, self.shape))}]>"

    def __bool__(self) -> bool:
        raise TypeError("nobody knows whether a secret is true: (await x.reveal()), or where(x, y, z)")

    def _is_no_number(self, *_: Any, **__: Any) -> NoReturn:
        """Raises: TypeError, where numpy or Python would read what is secret."""
        raise TypeError("nobody knows what a secret is: await x.reveal(), or the methods of x and asyncsyft.mpc")

    __float__ = __int__ = __index__ = __complex__ = __array__ = __array_function__ = __contains__ = _is_no_number

    @property
    def shape(self) -> Tuple[int, ...]:
        return self.node.shape

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return self.node.size

    @property
    def dtype(self) -> Any:
        """What it is when revealed: int64 for whole numbers and bits, float64 for others."""
        return np.dtype(np.float64 if self.node.scale and self.node.form != BIT else np.int64)

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
        if isinstance(value, RemoteTensor):
            raise TypeError(f"{value!r} is no secret yet: await mpc.share(it)")
        return self.mpc.circuit.public(value) if isinstance(value, OPEN) else None

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

    # Shapes.

    def __getitem__(self, key: Any) -> SecretTensor:
        return self._linear("index", *items(key))

    @property
    def T(self) -> SecretTensor:
        return self.transpose()

    def transpose(self, *axes: Any) -> SecretTensor:
        wanted = shape_of(axes) if axes else tuple(range(self.ndim))[::-1]
        return self._linear("transpose", [axis_of(axis, self.ndim) for axis in wanted])

    def reshape(self, *shape: Any) -> SecretTensor:
        return self._linear("reshape", np.broadcast_to(0, self.shape).reshape(shape_of(shape)).shape)

    def flatten(self) -> SecretTensor:
        return self.reshape(self.size)

    def sum(self, axis: Axes = None, keepdims: bool = False) -> SecretTensor:
        return self._linear("sum", axes_of(axis, self.ndim), keepdims)

    def mean(self, axis: Axes = None, keepdims: bool = False) -> SecretTensor:
        return self._one("mean", axes_of(axis, self.ndim), keepdims)

    # The largest, and the smallest.

    def max(self, axis: Axes = None, keepdims: bool = False) -> SecretTensor:
        return self._top("max", axis, keepdims)

    def min(self, axis: Axes = None, keepdims: bool = False) -> SecretTensor:
        least: SecretTensor = -(-self)._top("max", axis, keepdims)
        return least

    def argmax(self, axis: Optional[int] = None, keepdims: bool = False) -> SecretTensor:
        """Where the largest is, the first of equals; among all elements, counted one row after another, for None."""
        return self._top("argmax", axis if axis is None else axis_of(axis, self.ndim), keepdims)

    def argmin(self, axis: Optional[int] = None, keepdims: bool = False) -> SecretTensor:
        negative: SecretTensor = -self
        return negative.argmax(axis, keepdims)

    def _top(self, want: str, axis: Axes, keepdims: bool) -> SecretTensor:
        """Along axes that are brought behind the others, as one."""
        axes = axes_of(axis, self.ndim)
        others = tuple(one for one in range(self.ndim) if one not in axes)
        kept = tuple(self.shape[one] for one in others)
        lines = self.transpose(*others, *axes).reshape(*kept, math.prod(self.shape[one] for one in axes))
        found = lines._one("top", len(kept), False, want)
        return found.reshape([1 if one in axes else n for one, n in enumerate(self.shape)]) if keepdims else found

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
        return self._one("softmax", axis_of(axis, self.ndim))

    # Images: (n, c, h, w).

    def conv2d(self, kernels: Any, stride: Pair = 1, padding: Pair = 0) -> SecretTensor:
        """With kernels (o, c, kh, kw), secret or public."""
        other = self._other(kernels)
        if other is None:
            raise TypeError(f"kernels are a tensor, not {type(kernels).__name__}")
        return self._new(functions.conv2d(self.mpc.circuit, self.node, other, pair(stride), pair(padding, 0)))

    def avg_pool(self, size: Pair, stride: Optional[Pair] = None) -> SecretTensor:
        return self._windows(size, stride).mean(4)

    def max_pool(self, size: Pair, stride: Optional[Pair] = None) -> SecretTensor:
        return self._windows(size, stride).max(4)

    def _windows(self, size: Pair, stride: Optional[Pair]) -> SecretTensor:
        """(n, c, oh, ow, elements of a window)."""
        if self.ndim != 4:
            raise ValueError(f"images are (n, c, h, w), not {self.shape}")
        both = pair(size)
        seen = self._one("patches", both, both if stride is None else pair(stride), (0, 0))
        n, height, width, _ = seen.shape
        return seen.reshape(n, height, width, self.shape[1], math.prod(both)).transpose(0, 3, 1, 2, 4)
