"""RemoteTensor: feels like an array, and each operation on it is a step recorded for its worker.

Shapes and dtypes are inferred here, without the data. It does not know when steps leave, or how.
"""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, List, Mapping, Optional, Protocol, Sequence, Tuple, Union

import numpy as np

from .. import ops, program, tensor, wire
from ..errors import LocalProtocolError
from ..ops import Spec
from ..tensor import Array, DType
from .recorder import Recorder

Scalar = Union[bool, int, float, complex]
_SCALARS = (bool, int, float, complex)
# Inference of the operators, by the specs themselves: one dictionary look-up a step.
_RESULTS: Dict[Tuple[str, Spec, Spec], Spec] = {}
_MAX_RESULTS = 4096


class Place(Protocol):
    """Where a tensor can be moved to: a worker, as the driver sees it."""

    name: str
    recorder: Recorder


class RemoteTensor:
    """A handle on a tensor at a worker; made by ``worker.send``, creation functions and operations, never directly."""

    __slots__ = ("recorder", "id", "spec", "label")

    def __init__(self, recorder: Recorder, number: int, spec: Spec) -> None:
        self.recorder = recorder
        self.id = number
        self.spec = spec

    def __del__(self) -> None:
        # In any thread, also inside our own code: only note the id.
        if self.id:
            self.recorder.forgotten.append(self.id)

    # What is known without a round trip.

    @property
    def dtype(self) -> DType:
        """Its dtype, as inferred when it was recorded."""
        return self.spec.dtype

    @property
    def shape(self) -> Tuple[Optional[int], ...]:
        """Its shape; None for a dimension that only the data can tell (``await x.info()`` fills it)."""
        return self.spec.shape

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.spec.shape)

    @property
    def size(self) -> Optional[int]:
        """Number of elements; None if a dimension is unknown."""
        size = 1
        for dim in self.spec.shape:
            if dim is None:
                return None
            size *= dim
        return size

    @property
    def worker(self) -> str:
        """Name of the worker that holds it."""
        return self.recorder.worker

    def __len__(self) -> int:
        if not self.spec.shape:
            raise TypeError("len() of a 0-d remote tensor")
        if self.spec.shape[0] is None:
            raise TypeError("the length is unknown until the data is there: await x.info()")
        return self.spec.shape[0]

    def __repr__(self) -> str:
        shape = ", ".join("?" if dim is None else str(dim) for dim in self.spec.shape)
        return f"<RemoteTensor {self.spec.dtype}[{shape}] at {self.recorder.worker}>"

    # What brings data or certainty back.

    async def get(self) -> Array:
        """The data, as an array of its own.

        Raises: the error of the step that failed to make it, LinkError when the worker is lost.
        """
        slot = self.recorder.ask([program.GET, 0, [self._live_id()]])
        try:
            return await slot  # type: ignore[no-any-return]
        except BaseException:
            self.recorder.cancel(slot)
            raise

    async def info(self) -> Dict[str, Any]:
        """What the worker knows of it (dtype, shape, bytes, name, tags); fills unknown dimensions of ``shape``."""
        info: Dict[str, Any] = await self.recorder.ask([program.INFO, 0, [self._live_id()]])
        dtype, shape, _ = tensor.check_descr(info.get("dtype"), info.get("shape"))
        self.spec = Spec(dtype, shape)
        return info

    # What is recorded.

    def delete(self) -> None:
        """Delete it at its worker; using it afterwards is an error."""
        number, self.id = self._live_id(), 0
        self.recorder.record([program.DELETE, 0, [number]])

    def move(self, worker: Place) -> RemoteTensor:
        """The tensor at another worker, sent there directly; does not wait. This one stays until it is deleted.

        Raises: ValueError if no road leads from one worker to the other.
        """
        number, there, ticket = self._live_id(), worker.recorder, os.urandom(16)
        if there is self.recorder:
            raise ValueError(f"the tensor is at {worker.name} already")
        here, far = self.recorder.conversation, there.conversation
        if not (self.recorder.relay and self.recorder.relay == there.relay):
            raise ValueError(f"no relay connects {self.worker} and {worker.name}: get the tensor and send it")
        out = there.new_id()
        there.record([program.FETCH, out, [], {"from": here.theirs, "peer": here.to, "ticket": ticket}])
        self.recorder.record([program.MOVE, 0, [number], {"to": far.theirs, "ticket": ticket}])
        return RemoteTensor(there, out, self.spec)

    def tag(self, *tags: str, name: str = "") -> RemoteTensor:
        """Let ``search`` find it by a name and by tags; itself."""
        self.recorder.record([program.TAG, 0, [self._live_id()], {"name": name, "tags": list(tags)}])
        return self

    def _live_id(self) -> int:
        if not self.id:
            raise LocalProtocolError("this remote tensor was deleted")
        return self.id


def binary(op: str, x: RemoteTensor, y: Any, depth: int = 3) -> RemoteTensor:
    """Record ``op`` on two tensors of one worker, or a tensor and what can be sent to it; NotImplemented otherwise."""
    if type(y) is RemoteTensor:
        recorder = x.recorder
        if y.recorder is not recorder:
            raise different_workers(x, y)
        spec = _RESULTS.get((op, x.spec, y.spec))
        if spec is None:
            (spec,) = ops.infer(op, (x.spec, y.spec), {})
            if len(_RESULTS) >= _MAX_RESULTS:
                _RESULTS.clear()
            _RESULTS[op, x.spec, y.spec] = spec
        if not x.id or not y.id:
            raise LocalProtocolError("this remote tensor was deleted")
        out = recorder.new_id()
        recorder.record([op, out, [x.id, y.id]], depth)
        return RemoteTensor(recorder, out, spec)
    if isinstance(y, (*_SCALARS, np.generic, np.ndarray)):
        return one(call(op, x, y, depth=depth + 1))
    return NotImplemented


def call(op: str, *args: Any, recorder: Optional[Recorder] = None, depth: int = 2, **kwargs: Any) -> List[RemoteTensor]:
    """Record any op of the table, with the arguments that the array API gives it; its results.

    Raises: TypeError, ValueError, IndexError for a call that cannot work, before anything is sent.
    """
    inputs, params = ops.bind(op, args, kwargs, _is_remote)
    for item in inputs:
        if isinstance(item, RemoteTensor):
            if recorder is None:
                recorder = item.recorder
            elif item.recorder is not recorder:
                raise different_workers(recorder, item)
    if recorder is None:
        raise TypeError(f"{op}: no remote tensor among the arguments, so no worker to run it at")
    known = [item if type(item) in _SCALARS else item.dtype for item in inputs]
    dtypes = ops.scalar_dtypes(op, known, params)
    specs = tuple(_spec(item, dtype) for item, dtype in zip(inputs, dtypes))
    results = ops.infer(op, specs, params)
    lent: List[int] = []  # small arrays that travel along, needed by this step alone
    names = [_name(item, dtype, recorder, depth, lent) for item, dtype in zip(inputs, dtypes)]
    outs = [recorder.new_id() for _ in results]
    step: List[Any] = [op, outs[0] if len(outs) == 1 else outs, names]
    recorder.record([*step, params] if params else step, depth)
    recorder.forgotten.extend(lent)
    return [RemoteTensor(recorder, out, spec) for out, spec in zip(outs, results)]


def one(results: Sequence[RemoteTensor]) -> RemoteTensor:
    """The only result."""
    (result,) = results
    return result


def different_workers(x: Any, y: RemoteTensor) -> ValueError:
    """The error of an operation across workers."""
    where = x.worker
    return ValueError(f"one tensor is at {where}, the other at {y.worker}: move one first (x.move({where!r}))")


def _is_remote(value: Any) -> bool:
    return isinstance(value, RemoteTensor)


def _spec(item: Any, dtype: DType) -> Spec:
    return Spec(dtype, ()) if type(item) in _SCALARS else item.spec if _is_remote(item) else Spec(dtype, item.shape)


def _name(item: Any, dtype: DType, recorder: Recorder, depth: int, lent: List[int]) -> Any:
    """An input as the step names it: an id, a literal, or the id of a small array that travels along."""
    if type(item) in _SCALARS:
        return program.literal(item, dtype)
    if isinstance(item, RemoteTensor):
        return item._live_id()
    array = tensor.as_tensor(item)
    if array.nbytes > wire.CHUNK:
        raise ValueError(f"an array of {array.nbytes} bytes does not travel by itself: await worker.send(array) first")
    lent.append(recorder.put(array, depth + 1))
    return lent[-1]


def _operator(op: str, reflected: bool = False) -> Callable[..., Any]:
    if not reflected:
        return lambda self, other: binary(op, self, other)

    def reflect(self: RemoteTensor, other: Any) -> Any:
        if isinstance(other, (*_SCALARS, np.generic, np.ndarray)):
            return one(call(op, other, self, depth=3))
        return NotImplemented

    return reflect


_OPERATORS: Mapping[str, str] = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "floordiv": "floor_divide",
    "mod": "remainder", "pow": "pow", "matmul": "matmul", "and": "bitwise_and", "or": "bitwise_or",
    "xor": "bitwise_xor", "lshift": "bitwise_left_shift", "rshift": "bitwise_right_shift",
}  # fmt: skip
for _python, _op in _OPERATORS.items():
    setattr(RemoteTensor, f"__{_python}__", _operator(_op))
    setattr(RemoteTensor, f"__r{_python}__", _operator(_op, reflected=True))
