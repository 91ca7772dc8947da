"""Who a peer says it is, and what it may do: one check for relays and for workers that listen."""

from __future__ import annotations

import time

from .. import wire
from ..errors import Refused
from ..identity import Admission, Challenge, Grant
from ..transport import Transport
from ..wire import Hello

#: Seconds that the other end has to say hello or welcome.
HANDSHAKE_TIMEOUT = 10.0


def vouch(hello: Hello, challenge: Challenge, admission: Admission, transport: Transport) -> Grant:
    """What the peer behind a hello may do here. Raises: Refused if it may not come in."""
    if hello.version != wire.VERSION:
        raise Refused(f"protocol version {hello.version}; this is version {wire.VERSION}")
    if hello.key:
        challenge.check(hello.proof, hello.key, hello.transcript)
    now = int(time.time())
    return admission.admit(hello.name, hello.role, hello.key or None, hello.token, transport.is_local, now)
