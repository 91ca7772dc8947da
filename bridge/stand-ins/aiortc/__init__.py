"""Stands in for aiortc, which PySyft 0.2.9 imports for WebRTC alone: whoever uses a name of it is told so."""

from typing import Any


class _Missing:
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise ImportError(f"{type(self).__name__} needs the real aiortc: pip install aiortc==1.9.0")


class RTCPeerConnection(_Missing):
    """Not here."""


class RTCSessionDescription(_Missing):
    """Not here."""
