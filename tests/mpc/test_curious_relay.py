"""A relay that keeps all that passes, and one that alters it: neither reads a share, or changes a result unnoticed."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, AsyncIterator, List, Set

import anyio
import numpy as np
import pytest

from asyncsyft.driver import Driver
from asyncsyft.errors import SessionError
from asyncsyft.identity import Key, key_text
from asyncsyft.mpc import MPC
from asyncsyft.mpc.service.party import PartySession
from asyncsyft.relay import Member, Relay
from asyncsyft.transport import Transport, memory_pair
from asyncsyft.worker import Worker

pytestmark = pytest.mark.anyio

SECONDS = 30
KEYS = {name: Key.new() for name in ("alice", "bob", "james", "me")}
PINS = {name: key_text(key.public) for name, key in KEYS.items()}
VALUES = np.arange(-20.0, 20.0)


class Curious(Relay):
    """Keeps all that passes; from ``alter`` frames on, it changes one byte of each piece in the middle."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: List[bytes] = []
        self.alter = 0

    def forward(self, sender: Member, to: int, piece: memoryview, lanes: Set[int]) -> None:
        self.seen.append(bytes(piece))
        if self.alter:
            self.alter -= 1
            if not self.alter:
                changed = bytearray(piece)
                changed[-1 - len(changed) // 4] ^= 4
                piece = memoryview(changed)
        super().forward(sender, to, piece, lanes)


class Place:
    """The relay, and who is on it."""

    def __init__(self, relay: Curious) -> None:
        self.relay = relay
        self.workers: List[Worker] = []
        self.driver: Any = None

    async def dial(self) -> Transport:
        near, far = memory_pair()
        self.relay.attach(far)
        return near


@asynccontextmanager
async def place(sealed: bool) -> AsyncIterator[Place]:
    with anyio.fail_after(SECONDS):
        async with AsyncExitStack() as stack:
            made = Place(await stack.enter_async_context(Curious()))
            known = PINS if sealed else None
            for name in ("alice", "bob", "james"):
                worker = Worker(name, made.dial, key=KEYS[name], known_peers=known, resume_grace=0.3)
                made.workers.append(await stack.enter_async_context(worker))
            made.driver = Driver(made.dial, "me", key=KEYS["me"], known_peers=known, resume_grace=0.3)
            await stack.enter_async_context(made.driver)
            yield made


async def secrets_of_a_run(here: Place) -> List[bytes]:
    """Runs a session; what nobody but its members may read of it: seeds, shares, masked values."""
    alice, bob, james = await here.driver.wait_for("alice", "bob", "james")
    async with MPC([alice, bob], james) as mpc:
        x, y = await mpc.share(VALUES), await mpc.share(await bob.send(VALUES))
        z = (x * y).relu()
        assert np.array_equal(await z.reveal(), VALUES**2)
        found: List[bytes] = [*mpc._seeds]
        for worker in here.workers:
            for session in worker.sessions.open.values():
                if isinstance(session, PartySession):
                    assert session._seeds.outcome is not None
                    found += session._seeds.outcome[:3]
                    values = session.machine.values
                    found += [values[node.number].delta.tobytes()[8:64] for node in (x.node, y.node)]
        return found


async def test_what_a_relay_sees_is_no_secret() -> None:
    async with place(sealed=True) as here:
        secrets = await secrets_of_a_run(here)
        seen = b"".join(here.relay.seen)
        assert len(secrets) == 2 + 2 * 5
        assert len(seen) > 10_000
        assert not [secret for secret in secrets if secret in seen]


async def test_without_seals_it_sees_all_of_it() -> None:
    """So the test above looks at the right things."""
    async with place(sealed=False) as here:
        secrets = await secrets_of_a_run(here)
        seen = b"".join(here.relay.seen)
        assert [secret for secret in secrets if secret in seen] == secrets


@pytest.mark.parametrize("which", [1, 2, 3, 5, 8, 13])
async def test_what_a_relay_alters_ends_the_session_and_never_changes_a_result(which: int) -> None:
    async with place(sealed=True) as here:
        alice, bob, james = await here.driver.wait_for("alice", "bob", "james")
        async with MPC([alice, bob], james) as mpc:
            x = await mpc.share(VALUES)
            assert np.array_equal(await (x * x).reveal(), VALUES**2)
            here.relay.alter = which
            with pytest.raises(SessionError):
                for _ in range(20):
                    assert np.array_equal(await (x * x).relu().reveal(), VALUES**2)
            assert here.relay.alter == 0
