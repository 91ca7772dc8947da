"""Gates that need nobody: what is linear is done to each part of a value, at the parties and at the dealer alike."""

from __future__ import annotations

from typing import Any, Callable, Dict, Sequence, Tuple

import numpy as np

from .. import ring
from ..machine import Bit, Carried, Loose, Public, Wire
from ..ring import Ring

Shape = Sequence[int]


def _index(a: Ring, *items: Any) -> Ring:
    """``items``: ["slice", start, stop, step], ["new"], ["all"], an int, or ["take", numbers]."""
    return np.asarray(a[tuple(_item(item) for item in items)])


def _item(item: Any) -> Any:
    if isinstance(item, int):
        return item
    kind, *rest = item
    if kind == "slice":
        return slice(*rest)
    if kind == "take":
        return np.asarray(rest[0], np.intp)
    return {"new": None, "all": Ellipsis}[kind]


def _patches(a: Ring, size: Shape, stride: Shape, padding: Shape) -> Ring:
    return ring.patches(a, *((int(each[0]), int(each[1])) for each in (size, stride, padding)))


#: Of one array. What only moves elements is for bits too.
MOVES: Dict[str, Callable[..., Ring]] = {
    "reshape": lambda a, shape: np.reshape(a, tuple(shape)),
    "transpose": lambda a, axes: np.transpose(a, tuple(axes)),
    "broadcast": lambda a, shape: np.broadcast_to(a, tuple(shape)),
    "index": _index,
}
LINEAR: Dict[str, Callable[..., Ring]] = {
    **MOVES,
    "neg": ring.neg,
    "shift": ring.shift,
    "sum": lambda a, axes, keepdims: ring.total(a, tuple(axes), bool(keepdims)),
    "patches": _patches,
}


def _of_one(change: Callable[..., Ring]) -> Callable[..., Any]:
    return lambda machine, value, *params: value.map(lambda array: change(array, *params))


def _moving(change: Callable[..., Ring]) -> Callable[..., Any]:
    def move(machine: Any, value: Any, *params: Any) -> Any:
        way = value.move if isinstance(value, Carried) else value.map
        return way(lambda array: change(array, *params))

    return move


def negative(machine: Any, value: Any) -> Any:
    return value.negative() if isinstance(value, Carried) else value.map(ring.neg)


def public(machine: Any, array: Any) -> Public:
    return Public(ring.ring(array))


def concat(machine: Any, *rest: Any) -> Any:
    """Values, then the axis and their shapes; the result is of the loosest of their forms."""
    *values, axis, shapes = rest
    return _joined(machine, values, lambda arrays: np.concatenate(arrays, axis), [tuple(shape) for shape in shapes])


# Both sides of a sum have the same shape: it is broadcast before.


def add(machine: Any, a: Any, b: Any) -> Any:
    if isinstance(b, Carried):
        a, b = b, a
    if isinstance(a, Carried) and _stays(b):
        return a.moved_by(*_known(b))
    return _joined(machine, [a, b], lambda arrays: ring.add(*arrays))


def sub(machine: Any, a: Any, b: Any) -> Any:
    if isinstance(b, Carried) and _stays(a):
        return b.negative().moved_by(*_known(a))
    if isinstance(a, Carried) and _stays(b):
        return a.moved_by(*_known(b.map(ring.neg)))
    return _joined(machine, [a, b], lambda arrays: ring.sub(*arrays))


def _stays(value: Any) -> bool:
    """Whether a carried value, with this added, is still one."""
    return isinstance(value, Public) or (isinstance(value, Wire) and value.settled)


def _known(value: Any) -> Tuple[Any, Any]:
    """Delta and mask of a wire, or of a public number."""
    return (value.array, np.uint64(0)) if isinstance(value, Public) else (value.delta, value.mask)


def _joined(
    machine: Any,
    values: Sequence[Any],
    join: Callable[[Sequence[Ring]], Ring],
    shapes: Sequence[Tuple[int, ...]] = (),
) -> Any:
    if all(isinstance(value, Public) for value in values):
        return Public(join([value.array for value in values]))
    if not any(isinstance(value, Loose) for value in values) and len({v.settled for v in values if _wire(v)}) == 1:
        return _wires(values, join)
    parts = [machine.part(value) for value in values]
    if isinstance(parts[0], tuple):  # a party's
        return Loose(join([part[0] for part in parts]), all(part[1] for part in parts))
    there = [part for part in parts if part is not None]
    if not there:
        return Loose(None)
    wanted = shapes or [there[0].shape] * len(parts)
    return Loose(join([np.zeros(s, ring.DTYPE) if p is None else p for s, p in zip(wanted, parts)]), False)


def _wire(value: Any) -> bool:
    return isinstance(value, Wire)


def _wires(values: Sequence[Any], join: Callable[[Sequence[Ring]], Ring]) -> Wire:
    """Wires, and what is public, which has no mask."""
    settled = next(value.settled for value in values if _wire(value))
    deltas = [value.array if isinstance(value, Public) else value.delta for value in values]
    masks = [np.zeros_like(value.array) if isinstance(value, Public) else value.mask for value in values]
    delta = None if any(delta is None for delta in deltas) else join(deltas)
    return Wire(delta, None if any(mask is None for mask in masks) else join(masks), settled)


def scale(machine: Any, a: Any, b: Public) -> Any:
    """Times a public array."""
    return a.map(lambda array: ring.mul(array, b.array))


def matmul_public(machine: Any, a: Any, b: Any) -> Any:
    """A product of matrices of which one is public."""
    if isinstance(b, Public):
        return a.map(lambda array: ring.matmul(array, b.array))
    return b.map(lambda array: ring.matmul(a.array, array))


def flip(machine: Any, bit: Bit) -> Bit:
    """Not b."""
    return Bit(None if bit.public is None else bit.public ^ np.uint64(1), bit.mask, bit.number)


def differ(machine: Any, a: Bit, b: Bit) -> Bit:
    """a xor b."""
    if a.public is None:
        return Bit(None, a.mask ^ b.mask)
    return Bit(a.public ^ b.public, None)


RULES: Dict[str, Callable[..., Any]] = {
    **{name: _of_one(change) for name, change in LINEAR.items()},
    **{name: _moving(change) for name, change in MOVES.items()},
    "neg": negative,
    "public": public,
    "concat": concat,
    "add": add,
    "sub": sub,
    "scale": scale,
    "matmul_public": matmul_public,
    "flip": flip,
    "differ": differ,
}
