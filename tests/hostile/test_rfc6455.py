"""RFC 6455 by the cases of a known suite, at both our ends; docs/conformance-rfc6455.md says what came of each."""

from __future__ import annotations

import base64
import hashlib
import re
from contextlib import asynccontextmanager
from typing import AsyncIterator, Awaitable, Callable, List, Mapping, Tuple

import anyio
import pytest
from anyio.abc import SocketStream

from asyncsyft.errors import LinkClosed, RemoteProtocolError
from asyncsyft.transport import Transport
from asyncsyft.websocket import SUBPROTOCOL, dial, listen
from tests.echo import Echo
from tests.hostile.rfc6455.cases import cases
from tests.hostile.rfc6455.form import BINARY, Case, F, echoed
from tests.hostile.rfc6455.page import PAGE, page
from tests.hostile.rfc6455.play import verdict, written
from tests.hostile.rfc6455.texts import reasons

pytestmark = pytest.mark.anyio

SECONDS = 80
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
REQUEST = (
    "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: {key}\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {protocol}\r\n{more}\r\n"
)
RESPONSE = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {protocol}\r\n{more}\r\n"
)

#: Plays a case against one of our ends and says what went wrong, or "".
Play = Callable[[Case], Awaitable[str]]


async def echo(transport: Transport) -> None:
    try:
        await transport.run(Echo(transport))
    except (LinkClosed, RemoteProtocolError):
        pass  # most cases are about this


async def head(stream: SocketStream) -> Tuple[str, bytes]:
    """The head of an HTTP message, and what came after it."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += await stream.receive()
    said, _, rest = data.partition(b"\r\n\r\n")
    return said.decode(), rest


async def ask(port: int, more: str = "") -> Tuple[SocketStream, str, bytes]:
    """Dial our listening end, and shake hands by hand."""
    stream = await anyio.connect_tcp("127.0.0.1", port)
    await stream.send(REQUEST.format(key=KEY, protocol=SUBPROTOCOL, more=more).encode())
    return (stream, *await head(stream))


@asynccontextmanager
async def listening() -> AsyncIterator[Play]:
    async def accept(transport: Transport, headers: Mapping[str, str]) -> None:
        await echo(transport)

    async with listen("127.0.0.1", 0, accept) as here:

        async def play(case: Case) -> str:
            stream, said, rest = await ask(here.port)
            async with stream:
                assert " 101 " in said
                return await verdict(stream, case, masked=True, early=rest)

        yield play


@asynccontextmanager
async def dialling() -> AsyncIterator[Play]:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        send, receive = anyio.create_memory_object_stream[SocketStream](1)
        tasks.start_soon(listener.serve, send.send)

        async def ours() -> None:
            await echo(await dial(f"ws://127.0.0.1:{port}"))

        async def play(case: Case) -> str:
            tasks.start_soon(ours)
            stream = await receive.receive()
            async with stream:
                said, rest = await head(stream)
                await stream.send(accepted(said))
                return await verdict(stream, case, masked=False, early=rest)

        async with send, receive:
            yield play
            tasks.cancel_scope.cancel()


def accepted(request: str, more: str = "") -> bytes:
    """The answer that opens a websocket."""
    found = re.search(r"Sec-WebSocket-Key: (\S+)", request)
    assert found
    digest = hashlib.sha1(f"{found[1]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
    return RESPONSE.format(accept=base64.b64encode(digest).decode(), protocol=SUBPROTOCOL, more=more).encode()


ENDS = {"listening": listening, "dialling": dialling}
GROUPS = sorted({case.id.split(".")[0] for case in cases()}, key=int)


async def play_all(end: str, listed: List[Case]) -> List[str]:
    """What went wrong with each of these cases; one at least is played."""
    assert listed
    with anyio.fail_after(SECONDS):
        async with ENDS[end]() as play:
            return [problem for problem in [await play(case) for case in listed] if problem]


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("end", ENDS)
async def test_a_group_with_binary_messages(end: str, group: str) -> None:
    assert await play_all(end, [case.in_binary() for case in cases() if case.id.split(".")[0] == group]) == []


@pytest.mark.parametrize("end", ENDS)
async def test_cases_with_text_as_they_stand(end: str) -> None:
    listed = [case if case.early else case.as_refused() for case in cases() if case.has_text]
    assert await play_all(end, [case for case in listed if case.id.split(".")[0] not in ("9", "10")]) == []


@pytest.mark.parametrize("end", ENDS)
async def test_the_octets_of_group_6_as_reasons(end: str) -> None:
    assert await play_all(end, list(reasons())) == []


def test_a_case_can_fail() -> None:
    """The player notices an end that answers otherwise."""
    wrong = [Case("a", "", [F(BINARY, b"x")], echoed(b"y")), Case("b", "", [F(BINARY, b"x")], closes=(1002,))]

    async def play() -> List[str]:
        async with listening() as end:
            first = await end(wrong[0])
            with anyio.move_on_after(0.2):
                return [first, await end(wrong[1])]
            return [first, "timed out"]

    problems = anyio.run(play)
    assert problems[0].startswith("a: heard")
    assert problems[1]


# Groups 12 and 13.

OFFERS = [
    "permessage-deflate",
    "permessage-deflate; client_max_window_bits",
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
    "permessage-deflate; server_max_window_bits=9; client_max_window_bits=9",
    "permessage-deflate; server_no_context_takeover; server_max_window_bits=15, permessage-deflate",
]


@pytest.mark.parametrize("offer", OFFERS)
async def test_an_offer_to_compress_is_declined(offer: str) -> None:
    async def accept(transport: Transport, headers: Mapping[str, str]) -> None:
        await echo(transport)

    with anyio.fail_after(SECONDS):
        async with listen("127.0.0.1", 0, accept) as here:
            stream, said, rest = await ask(here.port, f"Sec-WebSocket-Extensions: {offer}\r\n")
            async with stream:
                assert " 101 " in said
                assert "sec-websocket-extensions" not in said.lower()
                case = Case("12", "", [F(BINARY, b"as it is" * 64)], echoed(b"as it is" * 64))
                assert await verdict(stream, case, masked=True, early=rest) == ""
            stream, _, rest = await ask(here.port, f"Sec-WebSocket-Extensions: {offer}\r\n")
            async with stream:
                compressed = Case("12", "", [F(BINARY, b"\xaa\x02\x04\x00", rsv=4)], closes=(1002,))
                assert await verdict(stream, compressed, masked=True, early=rest) == ""


async def test_our_dialling_end_offers_no_extension_and_accepts_none() -> None:
    with anyio.fail_after(SECONDS):
        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
            port = listener.extra(anyio.abc.SocketAttribute.local_port)

            async def impose(stream: SocketStream) -> None:
                async with stream:
                    said, _ = await head(stream)
                    assert "sec-websocket-extensions" not in said.lower()
                    await stream.send(accepted(said, "Sec-WebSocket-Extensions: permessage-deflate\r\n"))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(listener.serve, impose)
                with pytest.raises(RemoteProtocolError, match="extension"):
                    await dial(f"ws://127.0.0.1:{port}")
                tasks.cancel_scope.cancel()


def test_the_player_writes_frames_as_the_rfc_s_examples_have_them() -> None:
    """RFC 6455, 5.7."""
    assert written(F(0x1, b"Hello"), masked=False) == bytes.fromhex("810548656c6c6f")
    assert written(F(0x9, b"Hello"), masked=False) == bytes.fromhex("890548656c6c6f")
    assert written(F(0x2, bytes(256)), masked=False)[:4] == bytes.fromhex("827e0100")
    assert written(F(0x2, bytes(65536)), masked=False)[:10] == bytes.fromhex("827f0000000000010000")


def test_the_page_is_what_the_cases_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "python -m tests.hostile.rfc6455.page"


def test_no_case_is_missing() -> None:
    """As many as each group of the suite has."""
    counts = {group: sum(case.id.split(".")[0] == group for case in cases()) for group in GROUPS}
    assert counts == {"1": 16, "2": 11, "3": 7, "4": 10, "5": 20, "6": 145, "7": 37, "9": 54, "10": 1}
