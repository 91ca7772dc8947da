"""How long who was presented may take to resume, when it is lost and presented again meanwhile."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any, List

import anyio
import anyio.lowlevel
import pytest

from asyncsyft import wire
from asyncsyft.peer import conversations
from tests.journeys.kit import Town, town, until
from tests.journeys.scripted import Scripted, packed, scripted

pytestmark = pytest.mark.anyio
#: What a worker sleeps until somebody must have answered: a number that nothing else sleeps.
SILENCE = 38.5


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> List[anyio.Event]:
    """Sleeps of ``2 * SILENCE``, in the order in which they began; each ends when its event is set."""
    begun: List[anyio.Event] = []
    real = anyio.sleep

    async def sleep(seconds: float) -> None:
        if seconds != 2 * SILENCE:
            await real(seconds)
            return
        begun.append(anyio.Event())
        await begun[-1].wait()

    monkeypatch.setattr(conversations.anyio, "sleep", sleep)  # type: ignore[attr-defined] # it is imported there
    return begun


async def presented(made: Town, stack: AsyncExitStack, life: bytes = b"") -> Scripted:
    """A driver that a worker was told of, and that did not resume yet; with ``life``: again."""
    driver = await stack.enter_async_context(scripted(await made.dial()))
    driver.incarnation = life or driver.incarnation
    await driver.hello("mallory")
    driver.say(packed(wire.PING, [], to=driver.find("alice").number))
    await driver.hears(wire.PONG)
    return driver


async def test_who_came_back_has_its_own_time_to_resume(clocks: List[anyio.Event]) -> None:
    async with town("memory", "alice", silence=SILENCE, resume_grace=5) as made, AsyncExitStack() as drivers:
        alice = made.workers["alice"].peer
        first = await presented(made, drivers)
        await first.resume(first.find("alice").number, alice.incarnation)
        (talk,) = alice.conversations.by_life.values()
        first.transport.abort()
        await until(lambda: alice.conversations.parked)
        again = await presented(made, drivers, first.incarnation)
        await until(lambda: len(clocks) == 2 and not talk.greeted)
        clocks[0].set()
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        assert talk.ended is None
        clocks[1].set()
        await until(lambda: talk.ended is not None)
        assert "did not answer within 77 s" in str(talk.ended)
        assert not leftover(alice)
        again.transport.abort()


def leftover(peer: Any) -> Any:
    return peer.conversations.roads or peer.conversations.parked
