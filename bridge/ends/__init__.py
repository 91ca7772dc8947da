"""This process's ends: those from which its threads ask workers, and one for each worker that it serves."""

from __future__ import annotations

import atexit
import os
import ssl as tls
from typing import Any, Dict, Optional

from asyncsyft.identity import Key
from asyncsyft.peer import DRIVER, RESUME_GRACE, WORKER
from asyncsyft.websocket.handshake import parse_url

from ..desks import forget
from ..service import HOMES
from .direct import Direct
from .end import End, Handle, Locate
from .relayed import Relayed
from .serving import Serving

__all__ = [
    "Direct",
    "End",
    "Handle",
    "Locate",
    "Relayed",
    "Serving",
    "asking",
    "at_relay",
    "leave",
    "part_with",
    "relayed",
    "serving",
]

_asking: Optional[Direct] = None
_relayed: Dict[str, Relayed] = {}


def _name() -> str:
    """What this program is called, where a key or a token is for a name."""
    return os.environ.get("ASYNCSYFT_NAME") or f"pysyft-{os.urandom(4).hex()}"


def _key() -> Optional[Key]:
    """Who it is. Raises: OSError, ValueError."""
    path = os.environ.get("ASYNCSYFT_KEY")
    return Key.load(path) if path else None


def asking(handle: Handle, locate: Locate) -> Direct:
    """The end from which this process dials workers; made when first needed.

    ``handle`` serves what workers ask of it, ``locate`` says where others are.
    """
    global _asking
    if _asking is None:
        # A link that ends is not dialled again: a dead worker fails at once.
        _asking = Direct(_name(), DRIVER, handle, locate, 0, _key())
        atexit.register(_asking.stop)
    return _asking


def relayed(url: str) -> Optional[Relayed]:
    """The end of this process that is at a relay, if one is."""
    return _relayed.get(_where(url))


def _where(url: str) -> str:
    address = parse_url(url)
    return f"{address.host}:{address.port}"


def at_relay(
    url: str, handle: Handle, locate: Locate, ssl: Optional[tls.SSLContext], token: Optional[str], **options: Any
) -> Relayed:
    """An end from which this process asks the workers at a relay; ``options`` as of ``End``.

    Raises: ConnectionRefusedError, WebSocketTimeoutException, Refused, ValueError if it is no relay.
    """
    name, key = options.pop("name", None) or _name(), options.pop("key", None) or _key()
    end = Relayed(name, DRIVER, handle, locate, **{"grace": RESUME_GRACE, "key": key, **options})
    try:
        end.stay_at(url, ssl, token)
    except BaseException:
        end.stop()
        raise
    _relayed[_where(url)] = end
    atexit.register(end.stop)
    return end


def serving(name: str, handle: Handle, locate: Locate, **options: Any) -> Serving:
    """An end of a worker."""
    return Serving(name, WORKER, handle, locate, **{"grace": RESUME_GRACE, **options})


def leave() -> None:
    """Close the ends from which this process asks, and all their links."""
    global _asking
    ends, _asking = (_asking, *_relayed.values()), None
    _relayed.clear()
    for end in ends:
        if end is not None:
            atexit.unregister(end.stop)
            end.stop()


def part_with(end: Relayed) -> None:
    """Leave a relay."""
    for where in [where for where, other in _relayed.items() if other is end]:
        del _relayed[where]
    atexit.unregister(end.stop)
    end.stop()


def _forget() -> None:
    """In a child of this process: the threads of the loops are not there, and their links are the parent's."""
    global _asking
    forget()
    HOMES.clear()
    for end in (_asking, *_relayed.values()):
        if end is not None:
            atexit.unregister(end.stop)
    _asking = None
    _relayed.clear()


os.register_at_fork(after_in_child=_forget)
