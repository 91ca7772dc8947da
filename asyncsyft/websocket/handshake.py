"""The opening handshake (RFC 6455 4), as bytes in and bytes out, and the plain HTTP that shares its port.

It knows no socket and no clock; the rules of the upgrade are those of ``websockets``.
"""

from __future__ import annotations

import logging
from email.utils import formatdate
from http import HTTPStatus
from typing import Callable, Dict, Mapping, NamedTuple, Optional, Sequence, Tuple

from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.exceptions import InvalidURI, NegotiationError
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from asyncsyft.errors import AsyncSyftError, LimitExceeded, LinkClosed, RemoteProtocolError
from asyncsyft.websocket.door import TurnedAway

#: What both ends must speak.
SUBPROTOCOL = "asyncsyft.v1"
#: The longest request or response head taken: a token of a few KiB fits.
MAX_HEAD = 16 * 1024
#: How much of a refusal's body is read, to name its first line.
MAX_BODY = 4 * 1024
END_OF_HEAD = b"\r\n\r\n"

#: Path and headers of a request; returns status, content type and body to answer it with plain HTTP, or None.
ProcessRequest = Callable[[str, Mapping[str, str]], Optional[Tuple[int, str, bytes]]]

#: The headers of a request to open a websocket; returns why it is refused, or None.
Admit = Callable[[Mapping[str, str]], Optional[TurnedAway]]

logger = logging.getLogger(__name__)
#: For ``websockets``, which would log all headers, tokens among them.
_SILENT = logging.Logger("websockets", logging.CRITICAL)


class Address(NamedTuple):
    """Where a URL points; ``shown`` is for people and holds no credentials."""

    host: str
    port: int
    secure: bool
    shown: str


def parse_url(url: str) -> Address:
    """Raises: ValueError if it is no ws:// or wss:// URL."""
    try:
        uri = parse_uri(url)
    except InvalidURI as error:
        raise ValueError(f"not a websocket URL: {error}") from None
    host = f"[{uri.host}]" if ":" in uri.host else uri.host
    return Address(uri.host, uri.port, uri.secure, f"{'wss' if uri.secure else 'ws'}://{host}:{uri.port}")


class Dialling:
    """The client's side: ``request`` is sent, then ``response`` is given the head of what came back."""

    def __init__(self, url: str, headers: Optional[Mapping[str, str]] = None) -> None:
        self._shown = parse_url(url).shown
        self._protocol = ClientProtocol(parse_uri(url), subprotocols=[Subprotocol(SUBPROTOCOL)], logger=_SILENT)
        request = self._protocol.connect()
        for name, value in (headers or {}).items():
            if "\r" in value or "\n" in value or not name.isprintable():
                raise ValueError(f"header {name!r} cannot be sent")
            request.headers.pop(name, None)  # credentials in the URL give way
            request.headers[name] = value
        self._protocol.send_request(request)
        self.request = b"".join(self._protocol.data_to_send())

    def response(self, head: bytes) -> None:
        """Take a 101 response up to its blank line. Raises: RemoteProtocolError if it is not one we can accept."""
        self._protocol.receive_data(head)
        problem = self._protocol.handshake_exc
        if problem is not None:
            raise RemoteProtocolError(f"{self._shown} is no asyncsyft relay: {problem}")
        if self._protocol.subprotocol != SUBPROTOCOL:
            raise RemoteProtocolError(f"{self._shown} did not select the subprotocol {SUBPROTOCOL}")

    def refusal(self, status: int, reason: str, body: bytes) -> AsyncSyftError:
        """What to raise for another status than 101: LimitExceeded for 429, else LinkClosed."""
        first = body.strip().split(b"\n", 1)[0].decode("utf-8", "replace").strip()
        said = f"HTTP {status} {reason}".rstrip()
        kind = LimitExceeded if status == HTTPStatus.TOO_MANY_REQUESTS else LinkClosed
        return kind(f"{self._shown} refused: {said}: {first}" if first else f"{self._shown} refused: {said}")


def status_of(head: bytes) -> Tuple[int, str]:
    """The status and its phrase in the head of a response. Raises: RemoteProtocolError."""
    line = head.split(b"\r\n", 1)[0].decode("latin-1")
    version, _, rest = line.partition(" ")
    number, _, phrase = rest.partition(" ")
    if not version.startswith("HTTP/1.") or len(number) != 3 or not (number.isascii() and number.isdigit()):
        raise RemoteProtocolError(f"not an HTTP response: {line[:80]!r}")
    return int(number), phrase


def length_of(head: bytes) -> int:
    """The declared length of a response's body, at most ``MAX_BODY``, which also stands for "until it ends"."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            return min(int(value.strip()[:9]), MAX_BODY)
    return MAX_BODY


class BadHead(ValueError):
    """What arrives is not the head of an HTTP message; ``answer`` tells its sender."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.answer = _plain(status, sentence)


def end_of_head(head: bytearray) -> int:
    """Where a head ends, after its blank line; 0 if that has not arrived. Raises: BadHead."""
    if head and not 0x41 <= head[0] <= 0x5A:  # so that one who speaks TLS need not wait for the deadline
        raise BadHead(400, "this is not HTTP")
    at = head.find(END_OF_HEAD) + len(END_OF_HEAD)
    if at > MAX_HEAD or (at < len(END_OF_HEAD) and len(head) > MAX_HEAD):
        raise BadHead(431, f"a head of more than {MAX_HEAD} bytes")
    return at if at >= len(END_OF_HEAD) else 0


class Answer(NamedTuple):
    """What a server writes back; ``headers`` are the request's if the websocket is now open, else None."""

    data: bytes
    headers: Optional[Mapping[str, str]]
    said: str


def answer(head: bytes, process_request: Optional[ProcessRequest] = None, admit: Optional[Admit] = None) -> Answer:
    """Answer a request head up to its blank line: an upgrade, plain HTTP, or a refusal.

    ``admit`` is asked before a websocket is opened, and before nothing else.
    """
    method, target, problem = _request_line(head)
    bodyless = method == "HEAD"
    if problem is not None:
        return _plain(400, problem)
    if method not in ("GET", "HEAD"):
        return _plain(405, f"{method} is not served here", extra="Allow: GET, HEAD\r\n")
    protocol = ServerProtocol(
        subprotocols=[Subprotocol(SUBPROTOCOL)], select_subprotocol=_select, logger=_SILENT, max_size=None
    )
    line, _, rest = head.partition(b"\r\n")
    is_old = line.endswith(b" HTTP/1.0")  # as health checks, and proxies, like to ask
    protocol.receive_data(b"GET" + line[len(method) :].replace(b" HTTP/1.0", b" HTTP/1.1") + b"\r\n" + rest)
    events = protocol.events_received()
    if not events or not isinstance(events[0], Request):
        return _plain(400, f"the request is not understood: {protocol.handshake_exc}", bodyless=bodyless)
    path = target.split("?", 1)[0]
    headers = _flat(events[0].headers)
    plain = _process(process_request, path, headers)
    if plain is not None:
        return _plain(*plain, bodyless=bodyless)
    if path != "/":
        return _plain(404, f"nothing is served at {path[:80]}", bodyless=bodyless)
    if bodyless or is_old:
        return _plain(426, "a websocket is served here", bodyless=bodyless, extra="Upgrade: websocket\r\n")
    return _upgrade(protocol, events[0], headers, admit)


def _request_line(head: bytes) -> Tuple[str, str, Optional[str]]:
    """Method and target, or what is wrong with them."""
    parts = head.split(b"\r\n", 1)[0].split(b" ")
    if len(parts) != 3 or not parts[2].startswith(b"HTTP/1."):
        return "", "", "not an HTTP/1.1 request"
    method, target = parts[0], parts[1]
    if not (method.isalpha() and method.isupper() and target.startswith(b"/") and target.isascii()):
        return "", "", "not an HTTP/1.1 request line"
    return method.decode("ascii"), target.decode("ascii"), None


def _flat(headers: Headers) -> Mapping[str, str]:
    """One value a name, repeated ones joined (RFC 9110 5.3): then looking one up never raises."""
    joined: Dict[str, str] = {}
    for name, value in headers.raw_items():
        name = name.lower()
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return Headers(joined)


def _process(
    process_request: Optional[ProcessRequest], path: str, headers: Mapping[str, str]
) -> Optional[Tuple[int, str, Optional[str], bytes]]:
    if process_request is None:
        return None
    try:
        given = process_request(path, headers)
    except Exception:
        logger.exception("process_request failed for %s", path[:80])
        return 500, "", None, b"the server failed\n"
    return None if given is None else (given[0], "", given[1], given[2])


def _upgrade(protocol: ServerProtocol, request: Request, headers: Mapping[str, str], admit: Optional[Admit]) -> Answer:
    try:
        response = protocol.accept(request)
    except ValueError:  # websockets 13 quotes a header in its refusal, and cannot if it is no text
        return _plain(400, "a header is no text")
    refused = admit(headers) if admit is not None and response.status_code == 101 else None
    if refused is not None:
        retry = f"Retry-After: {refused.retry}\r\n" if refused.retry else ""
        return _plain(refused.status, refused.sentence, extra=retry)
    said = f"{response.status_code} {response.reason_phrase}"
    protocol.send_response(response)
    return Answer(b"".join(protocol.data_to_send()), headers if response.status_code == 101 else None, said)


def _select(protocol: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol:
    if SUBPROTOCOL not in offered:
        raise NegotiationError(f"the subprotocol {SUBPROTOCOL} is spoken here, and the request does not offer it")
    return Subprotocol(SUBPROTOCOL)


def _plain(
    status: int,
    sentence: str,
    content_type: Optional[str] = None,
    body: Optional[bytes] = None,
    *,
    bodyless: bool = False,
    extra: str = "",
) -> Answer:
    """A plain HTTP response, after which the connection is closed."""
    if body is None:
        body = f"{sentence}\n".encode("utf-8", "replace")
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown"
    head = (
        f"HTTP/1.1 {status} {phrase}\r\nDate: {formatdate(usegmt=True)}\r\nConnection: close\r\n"
        f"Content-Type: {content_type or 'text/plain; charset=utf-8'}\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    )
    return Answer(head.encode("latin-1") + (b"" if bodyless else body), None, f"{status} {sentence}".rstrip())
