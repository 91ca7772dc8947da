"""PySyft's ``_simplify``, for what most messages are made of: the same result, in a third of the time.

PySyft looks into each of its tables by way of a property that looks whether the tables are stale, about 66 times for a
message; and each object has its fields simplified one call each, most of which return what they were given. Here a
table of our own has a function for each of the hot types; whatever is not in it goes PySyft's way.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Tuple

import torch
from syft.execution.computation import ComputationAction
from syft.generic.pointers.pointer_tensor import PointerTensor
from syft.messaging.message import (
    ForceObjectDeleteMessage,
    ObjectMessage,
    ObjectRequestMessage,
    TensorCommandMessage,
)
from syft.serde.msgpack import serde

_original = serde._simplify
_state = serde.msgpack_global_state.update()
#: PySyft's tables themselves: they are filled further in place, never replaced.
_simplifiers = _state._simplifiers
_plain = _state._no_simplifiers_found
#: From here on an integer goes as text.
_TOO_LARGE = serde.field

_CODES: Dict[type, int] = {
    kind: _simplifiers[kind][0]
    for kind in (
        str, tuple, list, set, dict, torch.Size, torch.Tensor, PointerTensor, ComputationAction, TensorCommandMessage,
        ForceObjectDeleteMessage, ObjectMessage, ObjectRequestMessage,
    )
}  # fmt: skip
_STR, _TUPLE, _LIST, _DICT = (_CODES[kind] for kind in (str, tuple, list, dict))
_POINTER, _COMPUTATION, _TENSOR = _CODES[PointerTensor], _CODES[ComputationAction], _CODES[torch.Tensor]
_NO_TAGS = _CODES[set], ()

_tensor = _simplifiers[torch.Tensor][1]

#: Characters of a text that is kept as it was written, and how many are.
SHORT, TEXTS = 64, 1024


def _simplify(worker: Any, obj: Any, **kwargs: Any) -> Any:
    hot = _HOT.get(type(obj))
    if hot is None:
        if type(obj) in _plain:
            return obj
    elif not kwargs:
        return hot(worker, obj)
    return _original(worker, obj, **kwargs)


def _same(worker: Any, obj: Any) -> Any:
    return obj


def _int(worker: Any, obj: int) -> Any:
    return obj if obj < _TOO_LARGE else (_STR, (str(obj).encode(),))


def _str(worker: Any, obj: str) -> Any:
    return _written.get(obj) or _write(obj)


#: Short texts, mostly names of workers and of what they are to do, as they were written before.
_written: Dict[str, Any] = {}


def _write(text: str) -> Any:
    made = _STR, (text.encode(),)
    if len(text) < SHORT and type(text) is str:
        if len(_written) >= TEXTS:
            _written.clear()
        _written[text] = made
    return made


def _several(worker: Any, parts: Any) -> Tuple[Any, ...]:
    return tuple([_simplify(worker, part) for part in parts])


def _dict(worker: Any, obj: Dict[Any, Any]) -> Any:
    return _DICT, tuple([(_simplify(worker, key), _simplify(worker, value)) for key, value in obj.items()])


def _pointer(worker: Any, pointer: Any) -> Any:
    attribute, shape, tags = pointer.point_to_attr, pointer._shape, pointer.tags
    return _POINTER, (
        _simplify(worker, pointer.id),
        _simplify(worker, pointer.id_at_location),
        _simplify(worker, pointer.location.id),
        None if attribute is None else _simplify(worker, attribute),
        None if shape is None else _simplify(worker, shape),
        pointer.garbage_collect_data,
        None if tags is None else _NO_TAGS if type(tags) is set and not tags else _simplify(worker, tags),
        pointer.description,
    )


def _computation(worker: Any, action: Any) -> Any:
    target = action.target
    return _COMPUTATION, (
        _simplify(worker, action.name),
        _pointer(worker, target) if type(target) is PointerTensor else _simplify(worker, target),
        _simplify(worker, action.args),
        _simplify(worker, action.kwargs),
        _simplify(worker, action.return_ids),
        action.return_value,
    )


def _around(code: int, name: str) -> Callable[[Any, Any], Any]:
    """For a message that is a tuple of this one attribute."""

    def simplify(worker: Any, message: Any) -> Any:
        return code, (_simplify(worker, getattr(message, name)),)

    return simplify


_HOT: Dict[type, Callable[[Any, Any], Any]] = {
    type(None): _same,
    bool: _same,
    float: _same,
    bytes: _same,
    int: _int,
    str: _str,
    tuple: lambda worker, obj: (_TUPLE, _several(worker, obj)),
    list: lambda worker, obj: (_LIST, _several(worker, obj)),
    set: lambda worker, obj: (_CODES[set], _several(worker, obj)),
    dict: _dict,
    torch.Tensor: lambda worker, obj: (_TENSOR, _tensor(worker, obj)),
    torch.Size: lambda worker, obj: (_CODES[torch.Size], tuple(obj)),
    PointerTensor: _pointer,
    ComputationAction: _computation,
    TensorCommandMessage: _around(_CODES[TensorCommandMessage], "action"),
    ObjectMessage: _around(_CODES[ObjectMessage], "object"),
    ObjectRequestMessage: lambda worker, message: (
        _CODES[ObjectRequestMessage],
        (_simplify(worker, message.object_id), _simplify(worker, message.user), _simplify(worker, message.reason)),
    ),
    ForceObjectDeleteMessage: lambda worker, obj: (
        _CODES[ForceObjectDeleteMessage],
        _simplify(worker, obj.object_ids),
    ),
}

PLACES: List[Tuple[Any, str, Any]] = [(serde, "_simplify", _simplify)]
