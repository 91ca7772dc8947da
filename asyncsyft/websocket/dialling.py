"""Dialling out: names to addresses, TCP, TLS and the client's handshake, within one deadline.

It knows nothing of what the transport will carry.
"""

from __future__ import annotations

import socket
import ssl as tls
from typing import Any, List, Mapping, Optional

import anyio

from asyncsyft.errors import LinkClosed, RemoteProtocolError
from asyncsyft.framing import MAX_MESSAGE
from asyncsyft.transport import Transport
from asyncsyft.websocket import shells
from asyncsyft.websocket.handshake import (
    Address,
    BadHead,
    Dialling,
    length_of,
    parse_url,
    status_of,
)


async def dial(
    url: str,
    *,
    ssl: Optional[tls.SSLContext] = None,
    headers: Optional[Mapping[str, str]] = None,
    timeout: float = 10.0,  # noqa: ASYNC109 - the names may resolve to several addresses, which share it
    max_message: int = MAX_MESSAGE,
) -> Transport:
    """Connect to a relay at a ws:// or wss:// URL; ``timeout`` in seconds, ``max_message`` in bytes.

    Raises: LinkClosed if nobody is there or the other end refused, LimitExceeded if it did because there are too many
    from here, RemoteProtocolError if it is no relay of ours, TimeoutError, ValueError for a URL or a header that makes
    no sense.
    """
    address = parse_url(url)
    opening = Dialling(url, headers)
    if ssl is not None and not address.secure:
        raise ValueError(f"a TLS context was given for {address.shown}, which is not wss://")
    context = (ssl or tls.create_default_context()) if address.secure else None
    with anyio.fail_after(timeout):
        sock = await _connect(address, timeout)
        return await _open(sock, address, context, opening, max_message)


async def _connect(address: Address, seconds: float) -> socket.socket:
    """Try all addresses of the name, each with its share of the time; the last problem is told."""
    try:
        found = await anyio.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise LinkClosed(f"no relay at {address.shown}: {_reason(error)}") from error
    problem: Optional[OSError] = None
    for position, (family, kind, protocol, _, where) in enumerate(found):
        last = position == len(found) - 1
        with anyio.move_on_after(seconds * 2 if last else seconds / len(found)):
            try:
                return await _connect_one(family, kind, protocol, where)
            except OSError as error:
                problem = error
    if problem is None:
        raise TimeoutError(f"no answer from {address.shown}")
    raise LinkClosed(f"no relay at {address.shown}: {_reason(problem)}") from problem


async def _connect_one(family: int, kind: int, protocol: int, where: Any) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        shells.prepare(sock)
        await shells.connect(sock, where)
    except BaseException:
        sock.close()
        raise
    return sock


async def _open(
    sock: socket.socket, address: Address, context: Optional[tls.SSLContext], opening: Dialling, max_message: int
) -> Transport:
    stream: Optional[shells.Stream] = None
    try:
        remote, is_local = shells.describe(sock)
        stream = await shells.current().open_stream(
            sock, context=context, hostname=address.host, max_message=max_message
        )
        stream.remote, stream.is_local = remote, is_local
        await _shake_hands(stream, opening)
    except BaseException as error:
        if stream is None:
            sock.close()
        else:
            stream.abort()
        if isinstance(error, tls.SSLError):
            raise LinkClosed(f"no TLS with {address.shown}: {_reason(error)}") from error
        if isinstance(error, (OSError, EOFError)) and not isinstance(error, TimeoutError):
            raise LinkClosed(f"no relay at {address.shown}: {_reason(error)}") from error
        raise
    return stream


async def _shake_hands(stream: shells.Stream, opening: Dialling) -> None:
    await stream.send(opening.request)
    try:
        head = await shells.read_head(stream)
    except BadHead as error:
        raise RemoteProtocolError(f"{stream.remote} is no relay: {error}") from None
    status, phrase = status_of(head)
    if status != 101:
        raise opening.refusal(status, phrase, await _read_body(stream, length_of(head)))
    opening.response(head)


async def _read_body(stream: shells.Stream, size: int) -> bytes:
    body = bytearray()
    while len(body) < size:
        data = await stream.receive()
        if not data:
            break
        body += data
    return bytes(body[:size])


def _reason(error: BaseException) -> str:
    """What went wrong, in the words of the system, without its numbers."""
    words: List[Optional[str]] = [getattr(error, "verify_message", None), getattr(error, "strerror", None), str(error)]
    said = next((word for word in words if word), type(error).__name__)
    return said[0].lower() + said[1:]
