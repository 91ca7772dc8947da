"""Exceptions at a worker, for the one who asked: the same class, with the worker's traceback in its text.

Only names and text travel. The class is looked up among those that the asking process has imported already.
"""

from __future__ import annotations

import sys
import traceback
from typing import Any, Dict, Optional, Type

#: Characters of a message and of a traceback that travel.
MAX_TEXT = 1 << 14
MAX_TRACEBACK = 1 << 16


def described(error: BaseException, worker: str) -> Dict[str, Any]:
    """An exception as a document."""
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    only = error.args[0] if len(error.args) == 1 and type(error.args[0]) is str else str(error)
    return {
        "module": type(error).__module__,
        "name": type(error).__qualname__,
        "text": only[:MAX_TEXT],
        "traceback": text[-MAX_TRACEBACK:],
        "worker": worker[:256],
    }


def rebuilt(document: Any) -> Exception:
    """The exception of a document; a ``RuntimeError`` that names it, where its class is not known here."""
    if type(document) is not dict:
        return RuntimeError("the worker failed and did not say why")
    fields = {key: str(document.get(key, "")) for key in ("module", "name", "text", "traceback", "worker")}
    text = fields["text"]
    if document.get("operation"):
        text = f"{text} [at an earlier {document['operation']!r:.80}, which was not waited for]"
    error = _blank(_class(fields["module"], fields["name"]))
    if error is None:
        error, text = RuntimeError(), f"{fields['module']}.{fields['name']}: {text}"
    error.args = (f"{text}\n\nAt the worker {fields['worker']}:\n{fields['traceback']}",)
    return error


def _blank(cls: Optional[Type[Exception]]) -> Optional[Exception]:
    """An instance that nothing was said to: its own ``__init__`` may ask for anything."""
    try:
        return None if cls is None else cls.__new__(cls)
    except TypeError:
        return None


def _class(module: str, name: str) -> Optional[Type[Exception]]:
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, type) and issubclass(found, Exception) else None
