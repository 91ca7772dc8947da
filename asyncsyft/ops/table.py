"""What an op is, the table of them all, and inference with its memory.

It knows no op itself: the other modules of this folder define them here when they are imported.
"""

from __future__ import annotations

import inspect
import marshal
import math
from typing import Any, Callable, Dict, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from ..tensor import MAX_DIMS, Array, DType

#: What only the data can size (``repeat`` with counts) and what index arrays select is refused past this many bytes;
#: for all other outputs the executor asks ``infer`` and applies its own limit.
MAX_OUTPUT_BYTES = 1 << 30
#: Inference remembers this many (op, inputs, params), none longer than ``MAX_KEY_BYTES`` of params.
MAX_CACHED, MAX_KEY_BYTES = 4096, 1024

Shape = Tuple[Optional[int], ...]
REQUIRED: Any = inspect.Parameter.empty


class Spec(NamedTuple):
    """What is known of an array without having it: its dtype, and its shape with None for what the data decides."""

    dtype: DType
    shape: Shape

    @property
    def nbytes(self) -> Optional[int]:
        """Bytes of the array, exactly; None if an unknown dimension leaves it open."""
        if None in self.shape:
            return None
        return math.prod(self.shape) * self.dtype.itemsize  # type: ignore[arg-type]


def whole(spec: Spec) -> Tuple[int, ...]:
    """The shape inferred from arrays that are at hand, of which no dimension is unknown."""
    return spec.shape  # type: ignore[return-value]


Known = Union[Array, Spec]
Cost = Callable[[Sequence[Known], Mapping[str, Any]], int]


class Op:
    """One entry of the worker's allow-list.

    ``run(*arrays, **params)`` gives an ndarray, a numpy scalar, or a tuple of them if ``outputs`` is not 1; the caller
    holds ``np.errstate(all="ignore")`` around it. ``rule(*specs, **params)`` gives the Spec or Specs of the same call.
    Both check all that they are given: whatever is wrong raises TypeError, ValueError, IndexError or OverflowError.
    """

    __slots__ = (
        "name",
        "run",
        "rule",
        "arrays",
        "min_arrays",
        "max_arrays",
        "params",
        "outputs",
        "expands",
        "heavy",
        "cost",
        "meeting",
        "direct",
    )

    def __init__(
        self,
        name: str,
        run: Callable[..., Any],
        rule: Callable[..., Any],
        outputs: Optional[int],
        expands: bool,
        cost: Optional[Cost],
        meeting: slice,
        direct: Mapping[DType, Callable[..., Any]],
    ) -> None:
        arrays, params = [], {}
        self.min_arrays = 0
        #: None: any number of them.
        self.max_arrays: Optional[int] = 0
        for parameter in inspect.signature(run).parameters.values():
            if parameter.kind is parameter.KEYWORD_ONLY:
                params[parameter.name] = parameter.default
                continue
            arrays.append(parameter.name)
            if parameter.kind is parameter.VAR_POSITIONAL:
                self.min_arrays, self.max_arrays = max(1, self.min_arrays), None
            else:
                self.min_arrays += parameter.default is REQUIRED
                self.max_arrays = len(arrays)
        self.name, self.run, self.rule = name, run, rule
        self.arrays: Tuple[str, ...] = tuple(arrays)
        #: Parameter names in call order with their defaults, ``REQUIRED`` for those that have none.
        self.params: Dict[str, Any] = params
        #: How many arrays come out; None if it depends on the inputs (``infer`` tells).
        self.outputs = outputs
        #: Whether an output can have more elements than the inputs together, or broadcast: the executor then asks
        #: ``infer`` first. Without it only the dtype can widen, 16-fold at most.
        self.expands = expands
        #: Whether the work is more than linear in inputs and outputs; ``cost`` tells how much.
        self.heavy = cost is not None
        self.cost: Cost = cost or linear
        #: Which inputs meet in one dtype, so that a Python scalar among them takes that of the others.
        self.meeting = meeting
        #: By dtype, what ``run`` calls when all inputs have it: who knows the dtypes beforehand can do without ``run``.
        self.direct = direct

    def __repr__(self) -> str:
        arrays = list(self.arrays)
        if self.max_arrays is None:
            arrays[-1] = f"*{arrays[-1]}"
        else:
            arrays[self.min_arrays :] = [f"{name}=None" for name in arrays[self.min_arrays :]]
        params = [name if value is REQUIRED else f"{name}={value!r}" for name, value in self.params.items()]
        return f"{self.name}({', '.join(arrays + params)})"


OPS: Dict[str, Op] = {}

_inferred: Dict[Any, Tuple[Spec, ...]] = {}


def define(
    name: str,
    run: Callable[..., Any],
    rule: Callable[..., Any],
    *,
    outputs: Optional[int] = 1,
    expands: bool = False,
    cost: Optional[Cost] = None,
    meeting: slice = slice(None),
    direct: Optional[Mapping[DType, Callable[..., Any]]] = None,
) -> None:
    """Put an op in the table; its arrays are ``run``'s positional arguments, its params the keyword-only ones."""
    if name in OPS:
        raise ValueError(f"{name} is defined twice")
    OPS[name] = Op(name, run, rule, outputs, expands, cost, meeting, direct or {})


def linear(arrays: Sequence[Known], params: Mapping[str, Any]) -> int:
    """Elements of the inputs: the cost of an op that reads each once."""
    total = 0
    for array in arrays:
        size = 1
        for dim in array.shape:
            size *= dim or 0
        total += size
    return total


def find(name: str) -> Op:
    """The op of this name. Raises: TypeError."""
    op = OPS.get(name)
    if op is None:
        raise TypeError(f"no such op: {name!r:.60}")
    return op


def infer(name: str, inputs: Tuple[Spec, ...], params: Mapping[str, Any]) -> Tuple[Spec, ...]:
    """The Spec of each output of a call, without the data; None in a shape is what only the data can tell.

    Raises: TypeError, ValueError, IndexError or OverflowError for a call that cannot work, naming the op.
    """
    try:
        # marshal tells 1 from True and 1.0, as equality does not; only dumps is used, on plain values.
        plain = marshal.dumps(params, 2) if params else b""  # type: ignore[arg-type]
        key = (name, inputs, plain)
        return _inferred[key]
    except KeyError:
        pass
    except ValueError:
        raise TypeError(f"{name}: parameters must be plain values") from None
    specs = _infer(find(name), inputs, params)
    if len(plain) <= MAX_KEY_BYTES:
        if len(_inferred) >= MAX_CACHED:
            _inferred.clear()
        _inferred[key] = specs
    return specs


def _infer(op: Op, inputs: Tuple[Spec, ...], params: Mapping[str, Any]) -> Tuple[Spec, ...]:
    check_call(op, len(inputs), params)
    try:
        result = op.rule(*inputs, **params)
        specs = (result,) if isinstance(result, Spec) else tuple(result)
        for spec in specs:
            check_size(spec)
    except (TypeError, ValueError, IndexError, OverflowError) as error:
        kind = next(k for k in (TypeError, IndexError, OverflowError, ValueError) if isinstance(error, k))
        raise kind(f"{op.name}: {error}") from None
    return specs


def check_call(op: Op, arrays: int, params: Mapping[str, Any]) -> None:
    """Raises: TypeError, with the op's signature, for a wrong number of arrays or a wrong set of parameters."""
    if arrays < op.min_arrays or (op.max_arrays is not None and arrays > op.max_arrays):
        raise TypeError(f"{op!r} does not take {arrays} arrays")
    for name in params:
        if name not in op.params:
            raise TypeError(f"{op!r} has no parameter {str(name)[:40]!r}")
    for name, default in op.params.items():
        if default is REQUIRED and name not in params:
            raise TypeError(f"{op!r} needs the parameter {name!r}")


def check_size(spec: Spec) -> None:
    """Raises: ValueError for what numpy cannot address on any worker."""
    if len(spec.shape) > MAX_DIMS:
        raise ValueError(f"{len(spec.shape)} dimensions; the most is {MAX_DIMS}")
    # numpy multiplies the dimensions beside a 0 as well.
    if math.prod(dim or 1 for dim in spec.shape) * spec.dtype.itemsize >= 1 << 63:
        raise ValueError(f"an array of shape {spec.shape} is too large")


def spec_of(array: Array) -> Spec:
    """What ``infer`` wants to know of an array."""
    return Spec(array.dtype, array.shape)


def run(name: str, arrays: Sequence[Array], params: Mapping[str, Any]) -> Tuple[Array, ...]:
    """Run one op and give its outputs as arrays, always a tuple.

    Raises: as ``infer``, and what only the data can show (a singular matrix: ValueError).
    """
    op = find(name)
    check_call(op, len(arrays), params)
    with np.errstate(all="ignore"):
        result = op.run(*arrays, **params)
    return tuple(np.asarray(item) for item in (result if isinstance(result, tuple) else (result,)))
