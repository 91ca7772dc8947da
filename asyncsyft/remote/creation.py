"""What makes tensors at a worker from nothing: the methods that a driver's view of a worker has for it.

It knows the worker's recorder, and nothing else of it.
"""

from __future__ import annotations

from typing import Any, Optional, Sequence, Union

from . import steps
from .namespace import Namespace
from .recorder import Recorder
from .steps import Operand, Scalar
from .tensor import RemoteTensor

Shape = Union[int, Sequence[int]]
Real = Union[int, float]


class Creator:
    """A place where tensors are made. All methods record a step and return at once."""

    recorder: Recorder

    @property
    def xp(self) -> Namespace:
        """The Python array API at this worker: ``alice.xp.linalg.solve(a, b)``, ``alice.xp.eye(3)``."""
        return Namespace(RemoteTensor, self.recorder)

    def call(self, op: str, *args: Any, **kwargs: Any) -> Any:
        """Record any op of the table at this worker, with the array API's arguments; its result, or a tuple of them.

        Raises: TypeError, ValueError, IndexError, OverflowError for a call that cannot work, before anything is sent.
        """
        return steps.shaped(op, steps.call(op, args, kwargs, self.recorder, RemoteTensor))

    def asarray(self, data: Any, dtype: Any = None) -> RemoteTensor:
        """Local data of at most 256 KiB, lists included, as a tensor; ``await send(data)`` takes any size."""
        result: RemoteTensor = self.xp.asarray(data, dtype=dtype)
        return result

    def zeros(self, shape: Shape, dtype: Any = None) -> RemoteTensor:
        """Zeros; float64 unless told otherwise."""
        return self._make("zeros", shape=shape, dtype=dtype)

    def ones(self, shape: Shape, dtype: Any = None) -> RemoteTensor:
        """Ones; float64 unless told otherwise."""
        return self._make("ones", shape=shape, dtype=dtype)

    def empty(self, shape: Shape, dtype: Any = None) -> RemoteTensor:
        """What is to be overwritten; zeros, in fact."""
        return self._make("empty", shape=shape, dtype=dtype)

    def full(self, shape: Shape, fill_value: Union[Scalar, Operand], dtype: Any = None) -> RemoteTensor:
        """One value everywhere."""
        return self._make("full", shape=shape, fill_value=fill_value, dtype=dtype)

    def arange(self, start: Real, stop: Optional[Real] = None, step: Real = 1, dtype: Any = None) -> RemoteTensor:
        """Numbers from ``start`` (0 if only one bound is given) up to and without ``stop``."""
        return self._make("arange", start=start, stop=stop, step=step, dtype=dtype)

    def linspace(self, start: Real, stop: Real, num: int, dtype: Any = None, endpoint: bool = True) -> RemoteTensor:
        """``num`` numbers at equal distances."""
        return self._make("linspace", start=start, stop=stop, num=num, dtype=dtype, endpoint=endpoint)

    def eye(self, n_rows: int, n_cols: Optional[int] = None, k: int = 0, dtype: Any = None) -> RemoteTensor:
        """Ones on a diagonal, zeros elsewhere."""
        return self._make("eye", n_rows=n_rows, n_cols=n_cols, k=k, dtype=dtype)

    def _make(self, op: str, **params: Any) -> RemoteTensor:
        result: RemoteTensor = self.call(op, **params)
        return result
