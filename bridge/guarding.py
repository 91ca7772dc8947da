"""What a worker's PySyft is not asked to do: functions that reach its machine, and commands that show what is private.

PySyft runs any method of what it holds, and any function that it finds in torch, ``torch.load`` among them; and the
values of a private tensor are told by whatever returns something, as ``__str__`` does.
"""

from __future__ import annotations

import re
from typing import Any, Dict, Tuple

from syft.exceptions import GetNotPermittedError
from syft.execution.computation import ComputationAction
from syft.messaging.message import TensorCommandMessage, WorkerCommandMessage

#: Functions that read and write files, load code, or change how the whole process computes.
_FORBIDDEN = re.compile(
    r"torch\.(load|save|from_file|get_file_path|fork|wait|hub|jit|import_|parse_|set_|compiled_|serialization"
    r"|(functional\.|nn\.functional\.)?__|_C\b|_StorageBase|_classes|_ops|_import|_jit|_sobol|_cufft_set|_cudnn_init)"
)
#: Methods of any object by which Python itself is reached.
_METHODS = re.compile(
    r"__(class|dict|init|new|del|reduce|reduce_ex|getattribute|getattr|setattr|delattr|setstate|getstate|globals|call_"
    r"|subclass\w*|init_subclass|subclasshook|dir|module|weakref|mro|bases|code|closure|builtins|import)__|_forward_\w+"
)
_LISTS = {"list_objects": "_objects", "list_tensors": "_tensors"}
#: What is no tensor, and most of what is not one.
_PLAIN = {int, float, bool, str, bytes, type(None)}
_allowed: Dict[Tuple[Any, bool], bool] = {}


def is_private(value: Any) -> bool:
    """Whether it is a tensor that nobody gets without saying who asks."""
    try:
        return not value.allow(None)
    except (AttributeError, TypeError):
        return False


def check(worker: Any, message: Any) -> bool:
    """Whether what a command makes has to be private. Raises: RuntimeError for one that is not done for others."""
    if type(message) is WorkerCommandMessage:
        _check_name(message.command_name, is_method=True)
    if type(message) is not TensorCommandMessage or type(message.action) is not ComputationAction:
        return False
    action = message.action
    _check_name(action.name, is_method=action.target is not None)
    target = action.target
    if type(target) is int:
        target = worker.object_store.get_obj(target)
    return holds_private((target, action.args, action.kwargs))


def holds_private(values: Any, depth: int = 0) -> bool:
    """Whether any of these, or of what they hold, is private; on the way of every command."""
    for value in values:
        kind = type(value)
        if kind is tuple or kind is list or kind is dict:
            if value and depth < 8 and holds_private(value.values() if kind is dict else value, depth + 1):
                return True
        elif kind not in _PLAIN and is_private(value):
            return True
    return False


def _check_name(name: Any, is_method: bool) -> None:
    may = _allowed.get((name, is_method))
    if may is None:
        may = type(name) is str and not (_METHODS.fullmatch(name) if is_method else _FORBIDDEN.match(name))
        if len(_allowed) < 4096:
            _allowed[name, is_method] = may
    if not may:
        raise RuntimeError(f"Command {name!r:.80} is not done for others.")


def checked(worker: Any, message: Any, response: Any, of_private: bool) -> Any:
    """The response, if it shows nothing private. Raises: GetNotPermittedError."""
    if of_private:
        _keep_private(worker, message.action.return_ids or ())
        if response is not None:
            raise GetNotPermittedError()
    if type(message) is WorkerCommandMessage:
        return _of_worker(worker, message.command_name, response)
    if type(message) is TensorCommandMessage and type(message.action) is ComputationAction:
        return _of_worker(worker, message.action.name, response) if type(message.action.target) is str else response
    return response


def _of_worker(worker: Any, name: str, response: Any) -> Any:
    """What a method of the worker itself may answer."""
    held = getattr(worker.object_store, _LISTS[name]) if name in _LISTS else {}
    if any(map(is_private, held.values())):
        return str({at: "(private)" if is_private(value) else value for at, value in held.items()})
    if holds_private([response, getattr(response, "object", None)]):
        raise GetNotPermittedError()
    return response


def _keep_private(worker: Any, made: Any) -> None:
    """What was made of a private tensor and is not private is not kept."""
    for number in made if type(made) in (list, tuple) else (made,):
        found = worker.object_store._objects.get(number)
        if found is not None and not is_private(found):
            worker.object_store.rm_obj(number)
            raise GetNotPermittedError()
