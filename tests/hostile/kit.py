"""A hostile driver that is let in as any other is, an honest one beside it, and what the first could have seen."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import Any, AsyncIterator, List, Sequence, Tuple

import anyio
import numpy as np

from asyncsyft import wire
from asyncsyft.driver import Driver
from asyncsyft.remote import RemoteTensor
from tests.journeys.kit import Bystander, Town, bystander, town
from tests.journeys.scripted import Scripted, packed, scripted

#: What nobody but its owner may see: its bytes are looked for in all that a thief hears.
SECRET = np.frombuffer(b"the patient is ill " * 8, np.uint8).astype("<f8")
NEEDLES = (SECRET[:4].tobytes(), b"the patient", b"diagnosis")

#: Code, kind and text of a failure: what a thief can compare.
Said = Tuple[str, str, str]


class Scene:
    """A worker, its victim, a bystander, and mallory, who talks to the worker as a driver."""

    def __init__(self, made: Town, victim: Driver, secret: RemoteTensor, honest: Bystander, mallory: Scripted) -> None:
        self.made, self.victim, self.secret, self.honest, self.mallory = made, victim, secret, honest, mallory
        #: All that mallory was answered.
        self.heard: List[bytes] = []
        self.to = 0

    async def meet(self) -> None:
        """Say hello, and open a conversation with the worker, as an honest driver does."""
        welcome = await self.mallory.hello("mallory")
        info = welcome.me if self.made.road == "direct" else self.mallory.find("alice")
        self.to = info.number
        await self.mallory.resume(info.number, info.incarnation)

    async def tries(self, *steps: Any, body: bytes = b"") -> List[Said]:
        """A program of these steps; how they failed, and nothing of the secret is among what came back."""
        failures = await self.answered(self.mallory.program(self.to, steps, body))
        self.look()
        return [(failure.code, failure.kind, failure.message) for failure in failures]

    async def answered(self, number: int) -> List[wire.Failure]:
        """Wait until a request is answered, by values or otherwise; its failures."""
        failures: List[wire.Failure] = []
        while True:
            for frame in self.mallory.heard[:]:
                said = wire.parse(frame) if frame.kind == wire.ANSWERS else None
                if said is not None:
                    self.mallory.heard.remove(frame)
                    self.heard.append(bytes(frame.meta))
                    failures += [failure for failure in said.failures if failure.id == number]
                last = frame.kind == wire.VALUES and frame.flags & wire.LAST and frame.id >= number
                if last or (said is not None and (frame.id >= number or number in said.above)):
                    return failures
            assert not self.mallory.ended.is_set(), f"the link ended: {self.mallory.outcome}"
            self.mallory._news = anyio.Event()
            await self.mallory._news.wait()

    def look(self) -> None:
        """Nothing that mallory heard holds the secret. Raises: AssertionError."""
        self.heard += [bytes(frame.meta) + bytes(frame.body) for frame in self.mallory.heard]
        whole = b"\0".join(self.heard)
        assert not [needle for needle in NEEDLES if needle in whole]

    async def unharmed(self) -> None:
        """The victim has its tensor, and the bystander goes on."""
        np.testing.assert_array_equal(await self.secret.get(), SECRET)
        await self.honest.goes_on()

    async def cut_off(self) -> None:
        """Wait until mallory's link, or its conversation, has ended."""
        await self.mallory.ended.wait()


@asynccontextmanager
async def scene(road: str, **options: Any) -> AsyncIterator[Scene]:
    """While entered; at the end the victim and the bystander must be unharmed."""
    async with town(road, "alice", **options) as made, bystander(made) as honest, made.connect("victim") as victim:
        secret = await victim["alice"].send(SECRET, name="diagnosis", tags=["hospital"])
        await victim.flush()
        async with scripted(await made.dial()) as mallory:
            made_scene = Scene(made, victim, secret, honest, mallory)
            yield made_scene
            made_scene.look()
        await made_scene.unharmed()


def told(frames: Sequence[wire.Frame], kind: int) -> List[Any]:
    """What the frames of a kind say."""
    return [wire.parse(frame) for frame in frames if frame.kind == kind]


__all__ = ["NEEDLES", "SECRET", "Said", "Scene", "packed", "scene", "told"]
