"""Workers without PySyft, driven by PySyft code: its messages are translated into programs of array-API ops."""

from .errors import NotTranslated, OperationFailed
from .far import Far, connect, is_neutral
from .translator import Translator
from .worker import NeutralWorker, NotNeutral

__all__ = [
    "Far",
    "NeutralWorker",
    "NotNeutral",
    "NotTranslated",
    "OperationFailed",
    "Translator",
    "connect",
    "is_neutral",
]
