"""asyncsyft: two parties, a dealer and a driver, each in a process of its own, sealed end to end."""

from __future__ import annotations

import hashlib
from contextlib import AsyncExitStack, asynccontextmanager
from typing import AsyncIterator, Awaitable, Callable, Dict, Sequence

import anyio
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

import asyncsyft
from asyncsyft.identity import Key, key_text
from benchmarks.mpc.work import one_thread
from benchmarks.stacks import Ready

BACKEND = "asyncio"
VERSIONS_OF = ("asyncsyft", "anyio", "websockets", "msgpack", "cryptography", "numpy", "torch")

MEMBERS = ("alice", "bob", "james")
Server = Callable[..., Awaitable[None]]


def key_of(name: str) -> Key:
    """The same in all processes: no secret is at stake."""
    return Key(X25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest()))


PINS: Dict[str, str] = {name: key_text(key_of(name).public) for name in (*MEMBERS, "driver")}


def url(port: int) -> str:
    return f"ws://127.0.0.1:{port}"


def listening(name: str) -> Server:
    """A member that listens. Members of a session that listen are linked directly to each other."""

    async def serve(ready: Ready, *_: int) -> None:
        one_thread()
        async with asyncsyft.Worker(name, listen="127.0.0.1:0", key=key_of(name), known_peers=PINS) as worker:
            ready(worker.port)
            await anyio.sleep_forever()

    return serve


def behind(name: str) -> Server:
    """A member that others reach by a line, whose port is the last but one; the last is where it leads."""

    async def serve(ready: Ready, *ports: int) -> None:
        one_thread()
        line, port = ports[-2:]
        listen = f"127.0.0.1:{port}"
        async with asyncsyft.Worker(name, listen=listen, announce=url(line), key=key_of(name), known_peers=PINS):
            ready()
            await anyio.sleep_forever()

    return serve


def dialling(name: str) -> Server:
    """A member that reaches the others through the relay, the first of the servers."""

    async def serve(ready: Ready, relay: int, *_: int) -> None:
        one_thread()
        async with asyncsyft.Worker(name, url(relay), key=key_of(name), known_peers=PINS):
            ready()
            await anyio.sleep_forever()

    return serve


class Reached:
    """A session, and the members that it is among."""

    def __init__(self, mpc: asyncsyft.MPC, driver: asyncsyft.Driver) -> None:
        self.mpc, self.driver = mpc, driver
        self.alice, self.bob = mpc.parties


@asynccontextmanager
async def session(ports: Sequence[int]) -> AsyncIterator[Reached]:
    """A session of a driver that is linked to each of these ports, and that all is sealed. Raises: AssertionError."""
    one_thread()
    async with AsyncExitStack() as stack:
        driver = asyncsyft.connect(url(ports[0]), name="driver", key=key_of("driver"), known_peers=PINS)
        await stack.enter_async_context(driver)
        for port in ports[1:]:
            await driver.dial(url(port))
        alice, bob, james = await driver.wait_for(*MEMBERS)
        mpc = await stack.enter_async_context(asyncsyft.MPC([alice, bob], james))
        if any(worker.conversation.seal is None for worker in (alice, bob, james)):
            raise AssertionError("what should be sealed is not")
        yield Reached(mpc, driver)
