"""Calls of ops as recorded steps: which worker, which dtypes and shapes come out, what travels along.

All that can be wrong with a call is found before anything is recorded. It does not know when steps leave, or how.
"""

from __future__ import annotations

import sys
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Type, TypeVar, Union

import numpy as np

from .. import ops, program, tensor, wire
from ..ops import OPS, Spec
from ..tensor import Array, DType
from .handle import Handle
from .recorder import Recorder

H = TypeVar("H", bound=Handle)
Scalar = Union[bool, int, float, complex]
#: What may stand beside a remote tensor.
Operand = Union[Handle, Scalar, "np.generic", Array]

SCALARS = (bool, int, float, complex)
_SCALAR_TYPES = frozenset(SCALARS)
# Inference of the operators, by the specs themselves: one dictionary look-up a step.
_RESULTS: Dict[Any, Any] = {}
_MAX_RESULTS = 4096
_new: Callable[[Type[H]], H] = object.__new__
#: Modules that record for whoever called them: a step's origin is the line that called into them.
_NOT_ORIGINS = (__package__, f"{__package__.partition('.')[0]}.driver", "numpy.")


def binary(op: str, x: H, y: Any, depth: int = 3) -> H:
    """Record ``op`` on two tensors of one worker, or a tensor and what can be sent to it; NotImplemented otherwise.

    ``depth``: frames from ``Recorder.record`` up to the line that wrote the operator.
    """
    kind = type(x)
    if type(y) is kind:
        recorder = x.recorder
        if y.recorder is not recorder:
            raise different_workers(recorder, y.recorder)
        spec = _RESULTS.get((op, x.spec, y.spec))
        if spec is None:
            (spec,) = ops.infer(op, (x.spec, y.spec), {})
            _remember((op, x.spec, y.spec), spec)
        if not x.id or not y.id or recorder.lost is not None:
            x.live_id()
            y.live_id()
        out = recorder.new_id()
        recorder.record((op, out, (x.id, y.id)), depth)
        made = _new(kind)  # as a call of the class, without the two calls within it
        made.recorder, made.id, made.spec = recorder, out, spec
        return made
    if type(y) in _SCALAR_TYPES:
        return _with_scalar(op, x, y, False, depth)
    if isinstance(y, (np.generic, np.ndarray)):
        result: H = call(op, (x, y))[0]
        return result
    if isinstance(y, Handle) and (x.recorder.plan or y.recorder.plan):
        raise different_workers(x.recorder, y.recorder)
    return NotImplemented  # type: ignore[no-any-return]


def reflected(op: str, x: H, y: Any) -> H:
    """As ``binary`` with a Python scalar ``y`` on the left; numpy's own operators call ``__array_ufunc__``."""
    if type(y) in _SCALAR_TYPES:
        return _with_scalar(op, x, y, True, 3)
    return NotImplemented  # type: ignore[no-any-return]


def unary(op: str, x: H) -> H:
    """Record ``op`` on one tensor."""
    result: H = call(op, (x,))[0]
    return result


def _with_scalar(op: str, x: H, y: Scalar, left: bool, depth: int) -> H:
    key = (op, x.spec, type(y), left)
    known = _RESULTS.get(key)
    if known is None:
        pair = ops.scalar_dtypes(op, (y, x.dtype) if left else (x.dtype, y), {})
        dtype = pair[0 if left else 1]
        specs = (Spec(dtype, ()), x.spec) if left else (x.spec, Spec(dtype, ()))
        known = (dtype, ops.infer(op, specs, {})[0])
        _remember(key, known)
    dtype, spec = known
    if dtype.kind in "iu":
        ops.scalar_dtype(y, dtype)  # another value than that of the remembered call may be out of range
    one, two = x.live_id(), program.literal(y, dtype)
    recorder = x.recorder
    out = recorder.new_id()
    recorder.record([op, out, [two, one] if left else [one, two]], depth + 1)
    return type(x)(recorder, out, spec)


def _remember(key: Any, result: Any) -> None:
    if len(_RESULTS) >= _MAX_RESULTS:
        _RESULTS.clear()
    _RESULTS[key] = result


def call(
    op: str,
    args: Sequence[Any],
    kwargs: Optional[Mapping[str, Any]] = None,
    recorder: Optional[Recorder] = None,
    kind: Optional[Type[Handle]] = None,
) -> List[Any]:
    """Record any op of the table, with the arguments that the array API gives it; its results.

    They are of the class of the tensors given, or of ``kind``, at the worker of those tensors, or of ``recorder``.

    Raises: TypeError, ValueError, IndexError, OverflowError for a call that cannot work, before anything is sent.
    """
    inputs, params = ops.bind(op, args, kwargs or {}, is_remote)
    for item in inputs:
        if isinstance(item, Handle):
            kind = type(item)
            recorder = recorder or item.recorder
            if item.recorder is not recorder:
                raise different_workers(recorder, item.recorder)
    if recorder is None or kind is None:
        raise TypeError(f"{op}: no remote tensor among the arguments, so no worker to run it at")
    inputs = [travelling(item, recorder) if isinstance(item, np.ndarray) else item for item in inputs]
    dtypes = ops.scalar_dtypes(op, [item if type(item) in _SCALAR_TYPES else item.dtype for item in inputs], params)
    results = ops.infer(op, tuple(map(_spec, inputs, dtypes)), params)
    names = [_name(item, dtype) for item, dtype in zip(inputs, dtypes)]
    depth = _depth()
    lent = [at for at, name in enumerate(names) if name is None]
    for at in lent:
        names[at] = recorder.put(inputs[at], depth)
    try:
        outs = [recorder.new_id() for _ in results]
        step: List[Any] = [op, outs[0] if len(outs) == 1 else outs, names]
        recorder.record([*step, params] if params else step, depth)
    finally:
        # The arrays that travelled along are needed by this step alone.
        recorder.forgotten.extend(names[at] for at in lent)
    return [kind(recorder, out, spec) for out, spec in zip(outs, results)]


def do(op: str, *args: Any, **kwargs: Any) -> Any:
    """Record any op on remote tensors; its result in the form that the standard gives it."""
    return shaped(op, call(op, args, kwargs))


def put(recorder: Recorder, array: Array) -> int:
    """Record a small array as a tensor; its id."""
    return recorder.put(array, _depth())


def is_remote(value: Any) -> bool:
    """Whether it is a remote tensor."""
    return isinstance(value, Handle)


def travelling(array: Array, recorder: Recorder) -> Array:
    """A local array in the form in which it travels along with a step; as a constant of a plan it may be of any size.

    Raises: ValueError if it is too large for that, TypeError for a dtype that does not travel.
    """
    if array.nbytes > wire.CHUNK and not recorder.plan:
        raise ValueError(f"an array of {array.nbytes} bytes does not travel by itself: await worker.send(array) first")
    return tensor.as_tensor(array)


def different_workers(here: Recorder, there: Recorder) -> ValueError:
    """The error of an operation across workers, or of one that would make a tensor a part of a plan."""
    plan = here.plan or there.plan
    if plan:
        other = there.worker if here.plan else here.worker
        return ValueError(
            f"plan {plan!r} has no value for the tensor at {other}: give it as an argument, or make it a state"
        )
    return ValueError(f"one tensor is at {here.worker}, the other at {there.worker}: move one first (x.move(worker))")


def _spec(item: Any, dtype: DType) -> Spec:
    if isinstance(item, Handle):
        return item.spec
    return Spec(dtype, item.shape if isinstance(item, np.ndarray) else ())


def _name(item: Any, dtype: DType) -> Any:
    """An input as the step names it: an id, a literal, or None for an array that is to travel along."""
    if isinstance(item, Handle):
        return item.live_id()
    return None if isinstance(item, np.ndarray) else program.literal(item, dtype)


def _depth() -> int:
    """Frames from ``Recorder.record``, called by the caller of this function, up to the line that wrote the step."""
    depth, frame = 2, sys._getframe(2)
    while frame.f_back is not None and _is_ours(frame.f_globals.get("__name__"), frame.f_code.co_filename):
        depth, frame = depth + 1, frame.f_back
    return depth


def _is_ours(module: Optional[str], file: str) -> bool:
    # numpy before 1.25 makes its dispatching functions by exec, under this name and in no module.
    return module.startswith(_NOT_ORIGINS) if module is not None else file == "<__array_function__ internals>"


# The results of ops that give several arrays, under the standard's names.


class UniqueAll(NamedTuple):
    """What ``unique_all`` gives."""

    values: Any
    indices: Any
    inverse_indices: Any
    counts: Any


class UniqueCounts(NamedTuple):
    """What ``unique_counts`` gives."""

    values: Any
    counts: Any


class UniqueInverse(NamedTuple):
    """What ``unique_inverse`` gives."""

    values: Any
    inverse_indices: Any


class Eigh(NamedTuple):
    """What ``linalg.eigh`` gives."""

    eigenvalues: Any
    eigenvectors: Any


class QR(NamedTuple):
    """What ``linalg.qr`` gives."""

    Q: Any
    R: Any


class SlogDet(NamedTuple):
    """What ``linalg.slogdet`` gives."""

    sign: Any
    logabsdet: Any


class SVD(NamedTuple):
    """What ``linalg.svd`` gives."""

    U: Any
    S: Any
    Vh: Any


_FORMS: Dict[str, Any] = {
    "unique_all": UniqueAll,
    "unique_counts": UniqueCounts,
    "unique_inverse": UniqueInverse,
    "linalg.eigh": Eigh,
    "linalg.qr": QR,
    "linalg.slogdet": SlogDet,
    "linalg.svd": SVD,
}


def shaped(op: str, results: List[Any]) -> Any:
    """Results as the standard gives them: one tensor, a tuple, or a tuple with names."""
    if OPS[op].outputs == 1:
        return results[0]
    form = _FORMS.get(op)
    return tuple(results) if form is None else form(*results)
