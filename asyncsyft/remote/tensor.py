"""RemoteTensor: feels like an array, and each operation on it is a step recorded for its worker.

Its face towards numpy is in ``numpy_face.py``, the array API's functions are in ``namespace.py``. It knows no ops but
those that an array has as methods.
"""

from __future__ import annotations

from typing import Any, Callable, Iterator, List, NoReturn, Optional, Sequence, Tuple, Union

from . import numpy_face, steps
from .handle import Place
from .namespace import Namespace, check_version
from .operators import Operators
from .recorder import Recorder
from .steps import Operand, do

Axis = Union[int, Sequence[int], None]


def call(op: str, *args: Any, recorder: Optional[Recorder] = None, **kwargs: Any) -> List[RemoteTensor]:
    """Record any op of the table; its results. As ``steps.call``."""
    return steps.call(op, args, kwargs, recorder, RemoteTensor)


def _no_data(what: str) -> Callable[..., NoReturn]:
    """A method by which Python or numpy would ask for the data, which only ``await`` can bring."""

    def refuse(self: RemoteTensor, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(f"{what} needs the data of a remote tensor, which is at {self.worker}: await x.get() first")

    return refuse


class RemoteTensor(Operators):
    """A handle on a tensor at a worker; made by ``worker.send``, creation functions and operations, never directly.

    Operators, methods, ``x[key]`` and numpy's functions record steps and return at once; ``await x.get()`` brings the
    data. ``==`` compares by element; the hash is that of the handle itself, so that tensors can be keys and in sets.
    """

    __slots__ = ()

    # Parts.

    def __getitem__(self, key: Any) -> RemoteTensor:
        result: RemoteTensor = do("getitem", self, key)
        return result

    def __setitem__(self, key: Any, value: Operand) -> None:
        """Bind this handle to a new tensor with that part replaced: objects are written once, no other tensor changes.

        A name or tag stays with the old tensor, and is forgotten with it.
        """
        (changed,) = call("setitem", self, key, value)
        # The ids change hands: the handle that is dropped here forgets the old one.
        self.id, changed.id = changed.id, self.id
        self.spec = changed.spec

    def __iter__(self) -> Iterator[RemoteTensor]:
        if not self.spec.shape:
            raise TypeError("iteration over a 0-d remote tensor")
        return (self[at] for at in range(len(self)))

    @property
    def T(self) -> RemoteTensor:
        """The transpose of a matrix. Raises: ValueError for other than 2 dimensions."""
        if self.ndim != 2:
            raise ValueError(f"x.T is for 2 dimensions, not {self.ndim}: x.mT, or x.transpose()")
        return self.transpose()

    @property
    def mT(self) -> RemoteTensor:
        """The transposes of a stack of matrices."""
        return steps.unary("matrix_transpose", self)

    @property
    def real(self) -> RemoteTensor:
        """The real part."""
        return steps.unary("real", self)

    @property
    def imag(self) -> RemoteTensor:
        """The imaginary part of complex numbers."""
        return steps.unary("imag", self)

    # The array API beside the operators.

    def __array_namespace__(self, *, api_version: Optional[str] = None) -> Namespace:
        """The array API's functions; what they make from nothing, as ``zeros``, is made at this tensor's worker."""
        check_version(api_version)
        return Namespace(type(self), self.recorder)

    def to_device(self, device: Union[Place, str], /, *, stream: None = None) -> RemoteTensor:
        """The tensor at another worker: ``move``; itself if it is there already."""
        if stream is not None:
            raise ValueError("a worker has no streams")
        if isinstance(device, str):
            if device != self.worker:
                raise ValueError(f"{device!r} is the name of another worker: give the worker itself, or x.move(worker)")
            return self
        return self if device.recorder is self.recorder else self.move(device)

    # Methods with the names that numpy gives them, and the parameters of the array API.

    def sum(self, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> RemoteTensor:
        return self._do("sum", axis=axis, dtype=dtype, keepdims=keepdims)

    def prod(self, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> RemoteTensor:
        return self._do("prod", axis=axis, dtype=dtype, keepdims=keepdims)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> RemoteTensor:
        return self._do("mean", axis=axis, keepdims=keepdims)

    def var(self, axis: Axis = None, correction: float = 0, keepdims: bool = False) -> RemoteTensor:
        return self._do("var", axis=axis, correction=correction, keepdims=keepdims)

    def std(self, axis: Axis = None, correction: float = 0, keepdims: bool = False) -> RemoteTensor:
        return self._do("std", axis=axis, correction=correction, keepdims=keepdims)

    def max(self, axis: Axis = None, keepdims: bool = False) -> RemoteTensor:
        return self._do("max", axis=axis, keepdims=keepdims)

    def min(self, axis: Axis = None, keepdims: bool = False) -> RemoteTensor:
        return self._do("min", axis=axis, keepdims=keepdims)

    def all(self, axis: Axis = None, keepdims: bool = False) -> RemoteTensor:
        return self._do("all", axis=axis, keepdims=keepdims)

    def any(self, axis: Axis = None, keepdims: bool = False) -> RemoteTensor:
        return self._do("any", axis=axis, keepdims=keepdims)

    def argmax(self, axis: Optional[int] = None, keepdims: bool = False) -> RemoteTensor:
        return self._do("argmax", axis=axis, keepdims=keepdims)

    def argmin(self, axis: Optional[int] = None, keepdims: bool = False) -> RemoteTensor:
        return self._do("argmin", axis=axis, keepdims=keepdims)

    def clip(self, min: Optional[Operand] = None, max: Optional[Operand] = None) -> RemoteTensor:
        return self._do("clip", min=min, max=max)

    def round(self) -> RemoteTensor:
        return self._do("round")

    def conj(self) -> RemoteTensor:
        return self._do("conj")

    def astype(self, dtype: Any) -> RemoteTensor:
        return self._do("astype", dtype=dtype)

    def copy(self) -> RemoteTensor:
        """Another handle with a life of its own; the worker keeps the elements once."""
        return self._do("astype", dtype=self.dtype)

    def reshape(self, *shape: Union[int, Sequence[int]]) -> RemoteTensor:
        """As ``x.reshape(2, -1)`` or ``x.reshape((2, -1))``."""
        return self._do("reshape", shape=_ints(shape))

    def flatten(self) -> RemoteTensor:
        return self._do("reshape", shape=(-1,))

    ravel = flatten

    def transpose(self, *axes: Union[int, Sequence[int], None]) -> RemoteTensor:
        """The axes in another order; reversed if none is given."""
        order = _ints(axes) if axes and axes != (None,) else range(self.ndim - 1, -1, -1)
        return self._do("permute_dims", axes=tuple(order))

    def squeeze(self, axis: Axis = None) -> RemoteTensor:
        """Without the axes of size 1, or those named."""
        result: RemoteTensor = numpy_face.squeeze(self, axis)
        return result

    def dot(self, other: Operand) -> RemoteTensor:
        """As ``np.dot``: the product of matrices or vectors; else along the last axis and the other's last but one."""
        result: RemoteTensor = numpy_face.dot(self, other)
        return result

    def _do(self, op: str, **params: Any) -> RemoteTensor:
        result: RemoteTensor = do(op, self, **params)
        return result

    # numpy's protocols.

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return numpy_face.ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, func: Any, types: Any, args: Tuple[Any, ...], kwargs: Any) -> Any:
        return numpy_face.function(func, types, args, kwargs)

    __bool__ = _no_data("a truth value")
    __int__ = _no_data("int()")
    __float__ = _no_data("float()")
    __complex__ = _no_data("complex()")
    __index__ = _no_data("an index")
    __contains__ = _no_data("'in'")
    __array__ = _no_data("a numpy array")
    __dlpack__ = __dlpack_device__ = _no_data("dlpack")
    item = _no_data("item()")
    tolist = _no_data("tolist()")
    # A copied handle would delete the tensor twice; a pickled one would be without its worker.
    __reduce_ex__ = _no_data("pickle")

    def __copy__(self) -> RemoteTensor:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> RemoteTensor:
        return self.copy()


def _ints(values: Tuple[Any, ...]) -> Tuple[Any, ...]:
    """Numbers given one by one, or all as one sequence."""
    return tuple(values[0]) if len(values) == 1 and isinstance(values[0], (tuple, list)) else values
