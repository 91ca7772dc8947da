"""Dialling, listening, the opening handshake, and what hostile or careless other ends do to a websocket."""

from __future__ import annotations

import errno
import logging
import os
import socket
import ssl
import struct
import warnings
from contextlib import asynccontextmanager
from typing import Any, AsyncIterator, Callable, Dict, List, Mapping, Optional, Tuple

import anyio
import anyio.abc
import anyio.lowlevel
import pytest

from asyncsyft import framing
from asyncsyft.errors import LinkClosed, RemoteProtocolError
from asyncsyft.framing import BINARY, CLOSE, PING, PONG, Decoder, Encoder
from asyncsyft.transport import Transport
from asyncsyft.websocket import (
    SUBPROTOCOL,
    Listener,
    core,
    dial,
    dialling,
    handshake,
    listen,
    listening,
    on_asyncio,
    shells,
)
from tests.echo import Echo

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # cryptography will leave Python 3.8, and says so
    import trustme

pytestmark = pytest.mark.anyio

SECONDS = 30
REQUEST = (
    "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{more}\r\n"
)
OFFER = f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n"
ACCEPTED = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: {key}\r\n{more}\r\n"
)


class Server:
    """A listener that echoes, and remembers what came of each connection."""

    def __init__(self) -> None:
        self.listener: Listener
        self.headers: List[Mapping[str, str]] = []
        self.outcomes: List[Optional[BaseException]] = []
        self.transports: List[Transport] = []
        self._news = anyio.Event()

    async def accept(self, transport: Transport, headers: Mapping[str, str]) -> None:
        self.headers.append(headers)
        self.transports.append(transport)
        outcome: Optional[BaseException] = None
        try:
            await transport.run(Echo(transport))
        except Exception as error:
            outcome = error
            raise
        finally:
            self.outcomes.append(outcome)
            self._news.set()

    async def outcome(self) -> Optional[BaseException]:
        while not self.outcomes:
            await self._news.wait()
        return self.outcomes[0]

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.listener.port}/"


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[Server]:
    server = Server()
    with anyio.fail_after(SECONDS):
        async with listen("127.0.0.1", 0, server.accept, **options) as server.listener:
            yield server


class Raw:
    """A client that writes what it likes."""

    def __init__(self, stream: anyio.abc.SocketStream) -> None:
        self.stream = stream
        self.encoder = Encoder(masked=True)
        self._decoder = Decoder(masked=False)
        self._events: List[Tuple[int, bytes]] = []

    async def send(self, data: bytes) -> None:
        await self.stream.send(data)

    def message(self, data: bytes) -> bytes:
        out: List[Any] = []
        self.encoder.message([data], out)
        return b"".join(out)

    async def head(self) -> bytes:
        head = b""
        while b"\r\n\r\n" not in head:
            head += await self.stream.receive()
        head, _, rest = head.partition(b"\r\n\r\n")
        self._take(rest)
        return head

    async def everything(self) -> bytes:
        data = b""
        while True:
            try:
                data += await self.stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return data

    def _take(self, data: bytes) -> None:
        if data:
            self._decoder.room()[: len(data)] = data
            self._events += [(opcode, bytes(payload)) for opcode, payload in self._decoder.received(len(data))]

    async def event(self) -> Tuple[int, bytes]:
        while not self._events:
            self._take(await self.stream.receive(1000))
        return self._events.pop(0)


@asynccontextmanager
async def raw(server: Server, opened: bool = True) -> AsyncIterator[Raw]:
    """A raw connection, after a good handshake unless told otherwise."""
    async with await anyio.connect_tcp("127.0.0.1", server.listener.port) as stream:
        client = Raw(stream)
        if opened:
            await client.send(REQUEST.format(path="/", more=OFFER).encode())
            assert (await client.head()).startswith(b"HTTP/1.1 101 ")
        yield client


async def ask(server: Server, request: str) -> bytes:
    async with raw(server, opened=False) as client:
        await client.send(request.encode("latin-1"))
        return await client.everything()


async def greet(server: Server, **options: Any) -> None:
    """The server still serves: dial, say hello, hear it back, close."""
    transport = await dial(server.url, **options)
    heard: List[bytes] = []

    class Caller(Echo):
        def receive(self, message: memoryview) -> None:
            heard.append(bytes(message))
            self.transport.close()

    caller = Caller(transport)
    caller.waiting.append(b"hello")
    await transport.run(caller)
    assert heard == [b"hello"]


# Handshakes, seen from the server.


async def test_hello_with_a_token() -> None:
    async with serving() as server:
        await greet(server, headers={"Authorization": "Bearer abc", "X-Name": "alice"})
        assert await server.outcome() is None
        assert server.headers[0].get("Authorization") == "Bearer abc"
        assert server.headers[0]["x-name"] == "alice"
        assert server.transports[0].remote.startswith("127.0.0.1:")


@pytest.mark.parametrize("more", ["", "Sec-WebSocket-Protocol: chat\r\n"])
async def test_a_client_that_does_not_offer_the_subprotocol(more: str) -> None:
    async with serving() as server:
        reply = await ask(server, REQUEST.format(path="/", more=more))
        assert reply.startswith(b"HTTP/1.1 400 ")
        assert b"the subprotocol asyncsyft.v1 is spoken here, and the request does not offer it" in reply
        await greet(server)


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        (REQUEST.format(path="/other", more=OFFER), 404),
        (REQUEST.format(path="/?a=b", more=OFFER).replace("13\r\n", "12\r\n"), 400),
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 426),
        ("HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n", 426),
        ("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc", 405),
        ("GET /\xff HTTP/1.1\r\n\r\n", 400),
        ("GET http://other/ HTTP/1.1\r\n\r\n", 400),
        ("\x16\x03\x01\x02\x00 a TLS hello \r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nBad\x01: y\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nX: " + "x" * handshake.MAX_HEAD + "\r\n\r\n", 431),
        ("X" * (handshake.MAX_HEAD + 10), 431),
    ],
)
async def test_requests_that_open_nothing(request_text: str, status: int) -> None:
    async with serving() as server:
        reply = await ask(server, request_text)
        assert reply.startswith(f"HTTP/1.1 {status} ".encode())
        assert reply.endswith(b"\r\n\r\n") == request_text.startswith("HEAD")
        await greet(server)
        assert len(server.headers) == 1


async def test_plain_http_on_the_same_port(caplog: pytest.LogCaptureFixture) -> None:
    asked: List[Tuple[str, Optional[str]]] = []

    def process(path: str, headers: Mapping[str, str]) -> Optional[Tuple[int, str, bytes]]:
        asked.append((path, headers.get("Host")))
        if path == "/broken":
            raise ZeroDivisionError
        if path == "/healthz":
            return 200, "text/plain", b"ok\n"
        return (401, "text/plain", b"no token\nsecond line\n") if "authorization" not in headers else None

    async with serving(process_request=process) as server:
        reply = await ask(server, "GET /healthz?verbose=1 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        assert reply.startswith(b"HTTP/1.1 200 OK\r\n")
        assert reply.endswith(b"Content-Length: 3\r\n\r\nok\n")
        reply = await ask(server, "HEAD /healthz HTTP/1.1\r\n\r\n")
        assert reply.endswith(b"Content-Length: 3\r\n\r\n")
        assert asked[:2] == [("/healthz", "a, b"), ("/healthz", None)]
        assert (await ask(server, "GET /broken HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 500 ")
        assert "process_request failed for /broken" in caplog.text
        with pytest.raises(LinkClosed, match=r"refused: HTTP 401 Unauthorized: no token$"):
            await dial(server.url)
        await greet(server, headers={"Authorization": "Bearer x"})


async def test_a_caller_that_says_nothing_is_dropped_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "HANDSHAKE_TIMEOUT", 0.1)
    async with serving() as server, raw(server, opened=False) as client:
        await client.send(b"GET / HT")
        assert await client.everything() == b""


async def test_a_crowd_of_silent_callers_does_not_keep_others_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "MAX_HALF_OPEN", 2)
    async with serving() as server, raw(server, opened=False) as first, raw(server, opened=False):
        await greet(server)
        assert await first.everything() == b""
        await greet(server)


async def test_an_open_websocket_is_not_half_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "MAX_HALF_OPEN", 1)
    monkeypatch.setattr(listening, "HANDSHAKE_TIMEOUT", 0.1)
    async with serving() as server, raw(server) as client:
        await greet(server)
        await anyio.sleep(0.2)  # past the handshake's deadline, which must not end it
        await client.send(client.message(b"still here"))
        assert await client.event() == (BINARY, b"still here")


async def test_no_descriptor_left(monkeypatch: pytest.MonkeyPatch) -> None:
    real, problems = shells.accept, [OSError(errno.EMFILE, "too many"), OSError(errno.ECONNABORTED, "gone")]

    async def accept(sock: socket.socket) -> socket.socket:
        connection = await real(sock)
        if problems:
            connection.close()
            raise problems.pop(0)
        return connection

    monkeypatch.setattr(shells, "accept", accept)
    monkeypatch.setattr(listening, "EXHAUSTED_PAUSE", 0.01)
    async with serving() as server:
        for _ in range(2):
            with pytest.raises(LinkClosed):
                await dial(server.url)
        await greet(server)


async def test_an_accept_that_fails_costs_its_own_connection(caplog: pytest.LogCaptureFixture) -> None:
    async def accept(transport: Transport, headers: Mapping[str, str]) -> None:
        raise ZeroDivisionError("a bug")

    with anyio.fail_after(SECONDS):
        async with listen("127.0.0.1", 0, accept) as listener:
            for _ in range(2):
                transport = await dial(f"ws://127.0.0.1:{listener.port}")
                with pytest.raises(LinkClosed):
                    await transport.run(Echo(transport))
    assert "a bug" in caplog.text


async def test_leaving_the_listener_ends_what_is_open_and_passes_exceptions_on() -> None:
    with anyio.fail_after(SECONDS):
        transport = None
        try:
            async with serving() as server:
                transport = await dial(server.url)
                raise KeyError
        except KeyError:
            pass
        assert transport is not None
        with pytest.raises(LinkClosed):
            await transport.run(Echo(transport))
        with pytest.raises(LinkClosed, match="connection refused"):
            await dial(server.url)


async def test_a_port_that_is_taken() -> None:
    async with serving() as server:
        with pytest.raises(OSError, match=r"[Aa]ddress already in use"):
            async with listen("127.0.0.1", server.listener.port, server.accept):
                pass


async def test_localhost_has_one_port_for_all_its_addresses() -> None:
    server = Server()
    with anyio.fail_after(SECONDS):
        async with listen("localhost", 0, server.accept) as server.listener:
            transport = await dial(f"ws://localhost:{server.listener.port}")
            assert transport.is_local
            transport.abort()


async def test_ipv6() -> None:
    server = Server()
    try:
        socket.socket(socket.AF_INET6).close()
        listener = listen("::1", 0, server.accept)
        await listener.__aenter__()
    except OSError:
        pytest.skip("no IPv6 here")
    try:
        with anyio.fail_after(SECONDS):
            transport = await dial(f"ws://[::1]:{listener.port}")
            assert transport.remote == f"[::1]:{listener.port}"
            assert transport.is_local
            transport.abort()
    finally:
        await listener.__aexit__(None, None, None)


# Handshakes, seen from the client.


@asynccontextmanager
async def answering(reply: Callable[[bytes], bytes], linger: bool = False) -> AsyncIterator[str]:
    """A server that reads a request head, sends ``reply`` and hangs up; gives its URL."""

    async def serve(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            head = b""
            while b"\r\n\r\n" not in head:
                head += await stream.receive()
            try:
                await stream.send(reply(head))
                if linger:
                    await stream.receive()
            except (anyio.BrokenResourceError, anyio.EndOfStream):
                pass

    with anyio.fail_after(SECONDS):
        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as server:
            port = server.extra(anyio.abc.SocketAttribute.local_port)
            async with anyio.create_task_group() as group:
                group.start_soon(server.serve, serve)
                yield f"ws://127.0.0.1:{port}/"
                group.cancel_scope.cancel()


def upgrade(head: bytes, more: str) -> bytes:
    from websockets.utils import accept_key

    key = head.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0].decode()
    return ACCEPTED.format(key=accept_key(key), more=more).encode()


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (lambda head: upgrade(head, ""), RemoteProtocolError, "did not select the subprotocol asyncsyft.v1"),
        (lambda head: upgrade(head, "Sec-WebSocket-Protocol: chat\r\n"), RemoteProtocolError, "chat"),
        (
            lambda head: upgrade(head, OFFER + "Sec-WebSocket-Extensions: permessage-deflate\r\n"),
            RemoteProtocolError,
            "no extensions",
        ),
        (lambda head: ACCEPTED.format(key="x", more=OFFER).encode(), RemoteProtocolError, "Accept"),
        (lambda head: b"HTTP/1.1 101 Ok\r\nbad\r\n\r\n", RemoteProtocolError, "no asyncsyft relay"),
        (lambda head: b"SSH-2.0-OpenSSH\r\n\r\n", RemoteProtocolError, "not an HTTP response: 'SSH-2.0-OpenSSH'"),
        (lambda head: b"HTTP/1.1 \xb2\xb2\xb2 x\r\n\r\n", RemoteProtocolError, "not an HTTP response"),
        (lambda head: b"HTTP/1.1 301 Moved\r\nLocation: x\r\n\r\n", LinkClosed, "HTTP 301 Moved$"),
        (
            lambda head: b"HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\ntry later",
            LinkClosed,
            "HTTP 503 Busy: try later$",
        ),
        (lambda head: b"HTTP/1.1 500 E\r\n\r\n" + b"x" * 100_000, LinkClosed, "HTTP 500 E: x+$"),
        (lambda head: b"H" * (handshake.MAX_HEAD + 1), RemoteProtocolError, "more than"),
        (lambda head: b"HTTP/1.1 1", LinkClosed, "ended within the opening handshake"),
        (lambda head: b"", LinkClosed, "ended within the opening handshake"),
    ],
)
async def test_servers_that_are_no_relay(reply: Any, kind: Any, words: str) -> None:
    async with answering(reply) as url:
        with pytest.raises(kind, match=words):
            await dial(url)


async def test_a_server_that_does_not_answer() -> None:
    async with answering(lambda head: b"HTTP", linger=True) as url:
        with pytest.raises(TimeoutError):
            await dial(url, timeout=0.1)


async def test_frames_that_come_with_the_handshake_are_not_lost() -> None:
    heard: List[bytes] = []

    class Listens(Echo):
        def receive(self, message: memoryview) -> None:
            heard.append(bytes(message))

    with_frames = b"\x82\x03one\x82\x03two"
    async with answering(lambda head: upgrade(head, OFFER) + with_frames) as url:
        transport = await dial(url)
        with pytest.raises(LinkClosed, match="without a close frame"):
            await transport.run(Listens(transport))
        assert heard == [b"one", b"two"]

    async with serving() as server, raw(server, opened=False) as client:
        await client.send(REQUEST.format(path="/", more=OFFER).encode() + client.message(b"early"))
        await client.head()
        assert await client.event() == (BINARY, b"early")


async def test_nobody_is_there() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(LinkClosed, match=f"^no relay at ws://127.0.0.1:{port}: connection refused$"):
            await dial(f"ws://user:secret@127.0.0.1:{port}/")


async def test_a_name_that_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(anyio, "getaddrinfo", getaddrinfo)
    with pytest.raises(LinkClosed, match=r"no relay at ws://nowhere\.invalid:80: name or service not known"):
        await dial("ws://nowhere.invalid/")


async def test_all_addresses_of_a_name_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as server:
        good = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.listener.port))
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            bad = (*good[:4], unused.getsockname())

            async def getaddrinfo(*_: Any, **__: Any) -> Any:
                return [bad, good]

            monkeypatch.setattr(anyio, "getaddrinfo", getaddrinfo)
            await greet(server)


@pytest.mark.parametrize("url", ["http://localhost/", "localhost:80", "ws:///", "ws://localhost/#part", "ws://h:port/"])
async def test_urls_that_make_no_sense(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        await dial(url)


async def test_headers_that_cannot_be_sent() -> None:
    with pytest.raises(ValueError, match="cannot be sent"):
        await dial("ws://localhost/", headers={"X": "a\r\nY: b"})


async def test_a_context_without_wss() -> None:
    with pytest.raises(ValueError, match="not wss://"):
        await dial("ws://localhost/", ssl=ssl.create_default_context())


# TLS.


@pytest.fixture(scope="module")
def contexts() -> Dict[str, ssl.SSLContext]:
    authority = trustme.CA()
    made = {"server": ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), "client": ssl.create_default_context()}
    authority.issue_cert("127.0.0.1").configure_cert(made["server"])
    authority.configure_trust(made["client"])
    made["other"] = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("elsewhere.example").configure_cert(made["other"])
    return made


async def test_certificates_are_verified(contexts: Dict[str, ssl.SSLContext]) -> None:
    async with serving(ssl=contexts["server"]) as server:
        url = server.url.replace("ws", "wss")
        with pytest.raises(LinkClosed, match=r"no TLS with wss://.*unable to get local issuer certificate"):
            await dial(url)
        transport = await dial(url, ssl=contexts["client"])
        assert transport.is_local
        transport.abort()
    async with serving(ssl=contexts["other"]) as server:
        with pytest.raises(LinkClosed, match="mismatch"):
            await dial(server.url.replace("ws", "wss"), ssl=contexts["client"])


async def test_tls_on_one_side_only(contexts: Dict[str, ssl.SSLContext]) -> None:
    async with serving() as server:
        with pytest.raises(LinkClosed):
            await dial(server.url.replace("ws", "wss"), ssl=contexts["client"])
        await greet(server)
    async with serving(ssl=contexts["server"]) as server:
        with pytest.raises((LinkClosed, RemoteProtocolError)):
            await dial(server.url)


async def test_plain_http_over_tls(contexts: Dict[str, ssl.SSLContext]) -> None:
    async with serving(ssl=contexts["server"]) as server:
        with pytest.raises(LinkClosed, match="HTTP 404 Not Found: nothing is served at /x"):
            await dial(server.url.replace("ws", "wss") + "x", ssl=contexts["client"])


async def test_silence_within_the_tls_handshake(
    contexts: Dict[str, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "HANDSHAKE_TIMEOUT", 0.1)
    async with serving(ssl=contexts["server"]) as server, raw(server, opened=False) as client:
        assert await client.everything() == b""
        async with answering(lambda head: b"") as url:
            with pytest.raises(TimeoutError):
                await dial(url.replace("ws", "wss"), ssl=contexts["client"], timeout=0.1)


# Once it is open.


def masked(first: int, payload: bytes = b"") -> bytes:
    return bytes((first, 0x80 | len(payload))) + bytes(4) + payload


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (masked(0x81, b"text"), 1003),
        (b"\x82\x01x", 1002),
        (masked(0xC2), 1002),
        (masked(0x80), 1002),
        (masked(0x88, b"\x03\xe8\xff"), 1007),
        (b"\x82\xff" + struct.pack(">Q", 1 << 40), 1009),
        (b"GET / HTTP/1.1\r\n\r\n", 1002),
    ],
    ids=lambda value: value[:8].hex() if isinstance(value, bytes) else str(value),
)
async def test_what_is_refused(data: bytes, code: int) -> None:
    async with serving() as server, raw(server) as client:
        await client.send(data + os.urandom(1000))
        opcode, payload = await client.event()
        assert (opcode, framing.close_reason(payload)[0]) == (CLOSE, code)
        await client.stream.send_eof()
        assert isinstance(await server.outcome(), RemoteProtocolError)
        await greet(server)


async def test_one_who_was_refused_and_goes_on_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "CLOSE_TIMEOUT", 0.05)
    async with serving() as server, raw(server) as client:
        await client.send(masked(0x81, b"text"))
        assert (await client.event())[0] == CLOSE
        assert isinstance(await server.outcome(), RemoteProtocolError)


async def test_a_smaller_limit_for_messages() -> None:
    async with serving(max_message=1000) as server, raw(server) as client:
        await client.send(client.message(b"x" * 1000))
        assert (await client.event())[0] == BINARY
        await client.send(client.message(b"x" * 1001))
        assert framing.close_reason((await client.event())[1])[0] == 1009


async def test_pings_are_answered_while_idle_and_pongs_ignored() -> None:
    async with serving() as server, raw(server) as client:
        await client.send(client.encoder.control(PONG, b"unasked"))
        for payload in (b"", b"a" * 125):
            await client.send(client.encoder.control(PING, payload))
            assert await client.event() == (PONG, payload)


async def test_fragments_with_a_ping_between() -> None:
    async with serving() as server, raw(server) as client:
        await client.send(masked(0x02, b"in "))
        await client.send(masked(0x00, b"three ") + client.encoder.control(PING, b"!"))
        assert await client.event() == (PONG, b"!")
        await client.send(masked(0x80, b"parts"))
        assert await client.event() == (BINARY, b"in three parts")


async def test_pings_of_one_who_never_reads_cost_nothing() -> None:
    async with serving() as server, raw(server) as client:
        pings = client.encoder.control(PING, b"x" * 125) * 2000
        with anyio.move_on_after(0.5):
            for _ in range(100):
                await client.send(pings)
        assert server.transports[0].bytes_sent < server.transports[0].bytes_received


async def test_what_a_socket_takes_bit_by_bit_arrives_whole_and_little_is_copied(anyio_backend: str) -> None:
    messages = [bytes([number]) * (200_000 + number) for number in range(8)]
    async with serving() as server, raw(server) as client, anyio.create_task_group() as tasks:
        await client.send(client.message(b"here"))
        assert await client.event() == (BINARY, b"here")
        (transport,) = server.transports
        sock: Any = getattr(transport, "direct" if anyio_backend == "asyncio" else "_sock")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        tasks.start_soon(client.send, b"".join(map(client.message, messages)))
        held = 0
        for message in messages:
            assert await client.event() == (BINARY, message)
            if anyio_backend == "asyncio":
                held = max(held, transport._transport.get_write_buffer_size())  # type: ignore[attr-defined]
        assert held <= on_asyncio.REST
        assert held or anyio_backend == "trio"


@pytest.mark.parametrize("code", [None, 1000, 1001, 4000])
async def test_a_close_is_answered_with_its_code(code: Optional[int]) -> None:
    async with serving() as server, raw(server) as client:
        await client.send(client.encoder.close(code, "bye"))
        opcode, payload = await client.event()
        assert (opcode, framing.close_reason(payload)[0]) == (CLOSE, code or 1005)
        assert await client.everything() == b""
        outcome = await server.outcome()
        assert (outcome is None) == (code != 4000)


@pytest.mark.parametrize("data", [b"", b"\x82", b"\x82\xff\x00\x00", masked(0x02, b"begun")])
async def test_an_end_in_mid_message(data: bytes) -> None:
    async with serving() as server:
        async with raw(server) as client:
            await client.send(data or masked(0x82, b"whole"))
        outcome = await server.outcome()
        assert isinstance(outcome, LinkClosed)
        assert "hung up" in str(outcome)


async def test_byte_by_byte() -> None:
    async with serving() as server, raw(server, opened=False) as client:
        for byte in REQUEST.format(path="/", more=OFFER).encode():
            await client.send(bytes((byte,)))
        await client.head()
        for byte in client.message(b"drip" * 40):
            await client.send(bytes((byte,)))
        assert await client.event() == (BINARY, b"drip" * 40)


async def test_nothing_is_logged_above_info_for_hostile_bytes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving() as server:
        for data in (b"", b"\x00" * 100 + b"\r\n\r\n", REQUEST.format(path="/", more=OFFER).encode() + b"\xff" * 100):
            async with raw(server, opened=False) as client:
                await client.send(data or b"x")
        await greet(server)
    ours = [record for record in caplog.records if record.name.startswith("asyncsyft")]
    assert ours
    assert all(record.levelno <= logging.INFO for record in ours)


async def test_the_shares_of_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that never answers leaves time for the next."""
    async with serving() as server:
        real, tried = shells.connect, []

        async def connect(sock: socket.socket, where: Any) -> None:
            tried.append(where)
            if len(tried) == 1:
                await anyio.sleep_forever()
            await real(sock, where)

        good = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.listener.port))

        async def getaddrinfo(*_: Any, **__: Any) -> Any:
            return [good, good]

        monkeypatch.setattr(shells, "connect", connect)
        monkeypatch.setattr(anyio, "getaddrinfo", getaddrinfo)
        transport = await dialling.dial(server.url, timeout=0.5)
        transport.abort()
        assert len(tried) == 2
