"""As its parent: names that PySyft 0.2.9 imports, and that raise when they are used."""

from typing import Any

from aiortc import _Missing


class CopyAndPasteSignaling(_Missing):
    """Not here."""


def object_from_string(text: str) -> Any:
    """Not here. Raises: ImportError."""
    raise ImportError("object_from_string needs the real aiortc: pip install aiortc==1.9.0")


def object_to_string(value: Any) -> str:
    """Not here. Raises: ImportError."""
    raise ImportError("object_to_string needs the real aiortc: pip install aiortc==1.9.0")
