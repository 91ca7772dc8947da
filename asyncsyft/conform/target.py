"""The peer under test: how it is reached, and the checks that are made of it, each with a name and what it expects.

It knows the websocket's opening handshake well enough to get it wrong on purpose; it knows no check by name.
"""

from __future__ import annotations

import base64
import os
import ssl as tls
from contextlib import asynccontextmanager
from typing import Any, AsyncIterator, Awaitable, Callable, Dict, List, NamedTuple, Optional, Tuple

import anyio
from anyio.abc import ByteStream

from .. import tensor, wire
from ..errors import LinkClosed
from ..identity import Key, prove
from ..lifetime import Lifetime
from ..websocket import SUBPROTOCOL, dial
from ..websocket.handshake import Address, parse_url
from ..wire import INCARNATION_SIZE
from .probe import Broken, Probe
from .steps import frame

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


Run = Callable[["Target"], Awaitable[None]]


class Skip(Exception):
    """The check does not apply to this peer, and why."""


class Check(NamedTuple):
    """One check and how it went; ``found`` says what came instead when it failed, or why it was skipped."""

    level: int
    name: str
    expected: str
    outcome: str
    found: str = ""


class Case(NamedTuple):
    """A check to be made; when a ``vital`` one fails, those after it are not made."""

    level: int
    name: str
    expected: str
    run: Run
    vital: bool = False


def registrar(level: int, into: List[Case], vital: bool = False) -> Callable[[Run], Run]:
    """A decorator that makes cases of functions: named after them, expecting what their docstring says."""

    def register(run: Run) -> Run:
        into.append(Case(level, run.__name__.replace("_", " "), (run.__doc__ or "").strip(), run, vital))
        return run

    return register


class Target(Lifetime):
    """The peer under test while entered; ``can`` is what it said of itself."""

    def __init__(
        self, url: str, token: Optional[str], key: Optional[Key], ssl: Optional[tls.SSLContext], patience: float
    ) -> None:
        self.url, self.patience = url, patience
        self.key = key or Key.new()
        self.name = ""
        self.can: Dict[str, Any] = {}
        self._token, self._ssl = token, ssl

    @property
    def level(self) -> int:
        """The level that the peer says it reaches."""
        level = self.can.get("level")
        return level if type(level) is int else 0

    @property
    def ops(self) -> List[str]:
        """The ops that it says it has."""
        ops = self.can.get("ops")
        return [op for op in ops if type(op) is str] if type(ops) is list else []

    @property
    def dtypes(self) -> List[str]:
        """The dtypes that it says it has: all, unless it lists them."""
        listed = self.can.get("dtypes")
        return [descr for descr in tensor.DTYPES if type(listed) is not list or descr in listed]

    def need(self, *ops: str, dtypes: Tuple[str, ...] = ("<f4",)) -> None:
        """Raises: Skip if the peer does not say that it has all of these."""
        missing = [op for op in ops if op not in self.ops] + [descr for descr in dtypes if descr not in self.dtypes]
        if missing:
            raise Skip(f"the peer does not offer {', '.join(missing)}")

    @asynccontextmanager
    async def link(
        self, *, hello: bool = True, resume: bool = True, after: Optional[Probe] = None
    ) -> AsyncIterator[Probe]:
        """A link of its own, greeted and with an open conversation unless said otherwise.

        ``after``: the life whose conversation goes on. Raises: Broken; Skip if the peer did not keep that conversation.
        """
        transport = await dial(self.url, ssl=self._ssl, timeout=self.patience)
        probe = Probe(transport, after.mine if after else os.urandom(INCARNATION_SIZE), self.patience)
        probe.last_id = after.last_id if after else 0
        self._tasks.start_soon(probe.run)
        try:
            await probe.until(lambda: probe.challenge, "a challenge, before anything is said")
            if hello:
                await self._greet(probe)
                if resume:
                    await self._resume(probe)
            yield probe
        finally:
            probe.close()

    async def _greet(self, probe: Probe) -> None:
        probe.send(frame(wire.HELLO, self.hello_of(probe, self.key)))
        await probe.until(lambda: probe.welcome or probe.goodbyes, "a welcome in answer to the hello")
        if probe.welcome is None:
            raise Broken("a welcome in answer to the hello", probe.state())

    @staticmethod
    async def _resume(probe: Probe) -> None:
        probe.resume()
        await probe.until(lambda: probe.resumed or probe.refused, "a resume in answer to the resume")
        if probe.refused and probe.last_id:
            raise Skip("the peer keeps no conversation whose link is lost")
        if probe.refused:
            raise Broken("a resume in answer to the resume", probe.state())

    def hello_of(self, probe: Probe, key: Optional[Key] = None, **changes: Any) -> List[Any]:
        """The fields of a hello, some changed, that proves a key; one more than version 1 knows disturbs nobody."""
        name = f"conform-{probe.mine.hex()[:8]}"
        hello = wire.Hello(wire.VERSION, name, "driver", probe.mine, self._token, {})._replace(**changes)
        if key is not None:
            assert probe.challenge is not None
            hello = hello._replace(key=key.public, proof=prove(key, probe.challenge.public, hello.transcript))
        return [*hello, "a later field"]

    async def upgrade(self, offer: Optional[str]) -> Tuple[ByteStream, str]:
        """Ask for a websocket by hand; the open stream, and the head of the answer. Raises: Broken."""
        address = parse_url(self.url)
        key = base64.b64encode(os.urandom(16)).decode()
        offered = f"Sec-WebSocket-Protocol: {offer}\r\n" if offer else ""
        request = (
            f"GET / HTTP/1.1\r\nHost: {address.host}:{address.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{offered}\r\n"
        )
        with anyio.move_on_after(self.patience):
            stream = await self._connect(address)
            try:
                await stream.send(request.encode())
                head = b""
                while b"\r\n\r\n" not in head:
                    head += await stream.receive()
                return stream, head.decode("latin-1")
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                await anyio.aclose_forcefully(stream)
                raise Broken("an answer to the request for a websocket", "the connection ended") from None
        raise Broken("an answer to the request for a websocket", f"none within {self.patience:g} s")

    async def _connect(self, address: Address) -> ByteStream:
        try:
            if not address.secure:
                return await anyio.connect_tcp(address.host, address.port)
            context = self._ssl or tls.create_default_context()
            return await anyio.connect_tcp(
                address.host, address.port, ssl_context=context, tls_standard_compatible=False
            )
        except OSError as error:
            raise LinkClosed(f"nobody answers at {address.shown}: {error}") from None


def of_subprotocol(head: str) -> bool:
    """Whether the head of an answer selects the subprotocol."""
    lines = [line.partition(":") for line in head.split("\r\n")[1:]]
    return any(n.lower() == "sec-websocket-protocol" and value.strip() == SUBPROTOCOL for n, _, value in lines)
