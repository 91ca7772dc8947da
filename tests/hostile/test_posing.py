"""Who speaks for another: by its number, its name, its life, its proof, or with its own words played once more."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, AsyncIterator, List, Tuple

import anyio
import numpy as np
import pytest

from asyncsyft import wire
from asyncsyft.driver import Driver
from asyncsyft.identity import Admission, Authority, Key, KnownPeers, key_text
from asyncsyft.relay import Relay
from asyncsyft.transport import memory_pair
from asyncsyft.worker import Worker
from tests.hostile.kit import NEEDLES, SECRET, scene
from tests.hostile.recording import recorded
from tests.journeys.kit import SECONDS, Town, bystander, town, until
from tests.journeys.scripted import Scripted, packed, scripted

pytestmark = pytest.mark.anyio

KEYS = {name: Key.new() for name in ("alice", "victim", "mallory")}
PINS = {name: key_text(key.public) for name, key in KEYS.items()}


def heard(mallory: Scripted) -> bytes:
    return b"".join(bytes(frame.meta) + bytes(frame.body) for frame in mallory.heard)


async def over(mallory: Scripted) -> None:
    """Wait until its link has ended; it learnt nothing."""
    await mallory.ended.wait()
    assert not [needle for needle in NEEDLES if needle in heard(mallory)]


async def test_a_forged_sender_ends_the_link_it_came_on(relayed: str) -> None:
    async with scene(relayed) as made:
        await made.meet()
        (victim,) = [m for m in made.made.relay.members.values() if m.info and m.info.name == "victim"]
        assert victim.info is not None
        steps = [["get", 0, [made.secret.id]], ["delete", 0, [made.secret.id]]]
        made.mallory.say(packed(wire.PROGRAM, [0, steps, []], to=made.to, number=1, sender=victim.info.number))
        await made.cut_off()
        assert made.mallory.outcome is not None


@pytest.mark.parametrize("proves", ["nothing", "its own key", "the name's key, said and not proved"])
async def test_a_name_that_is_pinned_is_its_key_s_alone(proves: str) -> None:
    known = KnownPeers({"victim": PINS["victim"]})
    async with town("memory", "alice", relay={"admission": Admission(known=known, insecure=True)}) as made:
        async with bystander(made) as honest, made.connect("victim", key=KEYS["victim"]) as victim:
            secret = await victim["alice"].send(SECRET)
            async with scripted(await made.dial()) as mallory:
                fields: List[Any] = [wire.VERSION, "victim", "driver", b"mallorys", None, {}]
                if proves != "nothing":
                    key = KEYS["mallory" if proves == "its own key" else "victim"].public
                    fields += [key, bytes(32)]
                mallory.say(packed(wire.HELLO, fields))
                await over(mallory)
                said = [wire.parse(frame) for frame in mallory.heard if frame.kind == wire.GOODBYE]
                assert [one.code for one in said] == ["Refused"]
            np.testing.assert_array_equal(await secret.get(), SECRET)
            await honest.goes_on()


async def test_a_name_that_is_there_is_not_given_away(road: str) -> None:
    """Nor is a life: who says the victim's hello with a key of its own, or none, is refused; the victim stays."""
    async with scene(road) as made:
        life = made.victim.peer.incarnation
        for name, incarnation in (("victim", life), ("mallory", life), ("victim", b"mallorys")):
            async with scripted(await made.made.dial()) as other:
                other.say(packed(wire.HELLO, [wire.VERSION, name, "driver", incarnation, None, {}]))
                if road == "direct" and incarnation != life:  # several drivers of one name may ask a worker
                    await other.hears(wire.WELCOME)
                else:
                    await over(other)
        await made.meet()


async def test_a_life_in_a_resume_does_not_open_its_conversation(road: str) -> None:
    """Mallory is linked as itself, and resumes as the victim."""
    async with scene(road) as made:
        welcome = await made.mallory.hello("mallory")
        info = welcome.me if road == "direct" else made.mallory.find("alice")
        life = made.victim.peer.incarnation
        for asked in (0, 1, 7):
            made.mallory.say(packed(wire.RESUME, [life, info.incarnation, 0, 0, {}, asked], to=info.number))
        made.mallory.program(info.number, [["get", 0, [made.secret.id]]])
        if road == "direct":
            await until(lambda: made.mallory.heard or made.mallory.ended.is_set())
        else:
            assert (await made.mallory.says(wire.REFUSED)).code == "UnknownPeer"
        assert not [frame for frame in made.mallory.heard if frame.kind == wire.VALUES]


# Words played once more.


@asynccontextmanager
async def victim_recorded(made: Town, **options: Any) -> AsyncIterator[Tuple[Driver, List[bytes]]]:
    """A driver of whom all is copied that it says."""
    log: List[bytes] = []
    async with Driver(recorded(made.dial, log), "victim", resume_grace=0, **options) as driver:
        yield driver, log


async def say_again(made: Town, log: List[bytes]) -> Scripted:
    """Open a link and say all of it once more; what was heard, once the link ended."""
    async with scripted(await made.dial()) as mallory:
        for message in log:
            mallory.say(message)
        await over(mallory)
    return mallory


async def test_a_captured_conversation_played_again_is_refused(road: str) -> None:
    """Drivers prove a key against a challenge made for the link: their hello is good once."""
    async with town(road, "alice") as made, bystander(made) as honest:
        alice = made.workers["alice"]
        async with victim_recorded(made) as (victim, log):
            (worker,) = await victim.wait_for("alice")
            secret = await worker.send(SECRET)
            total = secret + secret
            np.testing.assert_array_equal(await total.get(), SECRET + SECRET)
            mallory = await say_again(made, log)  # while the victim is there
            assert not [frame for frame in mallory.heard if frame.kind in (wire.WELCOME, wire.VALUES)]
            (space,) = [s for life, s in alice.store.spaces.items() if life == victim.peer.incarnation]
            objects = len(space.objects)
            np.testing.assert_array_equal(await secret.get(), SECRET)
            assert len(space.objects) == objects
        await until(lambda: victim.peer.incarnation not in alice.store.spaces)
        mallory = await say_again(made, log)  # and when it is not
        assert not [frame for frame in mallory.heard if frame.kind in (wire.WELCOME, wire.VALUES)]
        assert victim.peer.incarnation not in alice.store.spaces
        await honest.goes_on()


async def test_the_proof_of_another_link_proves_nothing() -> None:
    """The victim's own words, with what a thief may change: the proof is of the challenge, the name, and the life."""
    known = KnownPeers({"victim": PINS["victim"]})
    async with town("memory", "alice", relay={"admission": Admission(known=known, insecure=True)}) as made:
        async with victim_recorded(made, key=KEYS["victim"]) as (victim, log):
            await victim.wait_for("alice")
            hello = next(frame for frame in wire.frames(memoryview(log[0])) if frame.kind == wire.HELLO)
            fields = wire.parse(hello)
            for change in ({}, {"incarnation": b"mallorys"}, {"name": "mallory"}, {"role": "worker"}):
                mallory = await say_again(made, [packed(wire.HELLO, list(fields._replace(**change)))])
                assert not [frame for frame in mallory.heard if frame.kind == wire.WELCOME]


async def test_a_sealed_conversation_played_again_by_the_relay() -> None:
    """The relay itself is hostile and says the victim's sealed frames again, to a worker that still knows it."""
    log: List[bytes] = []
    async with AsyncExitStack() as stack:
        stack.enter_context(anyio.fail_after(SECONDS))
        relay = await stack.enter_async_context(Relay())

        async def dial() -> Any:
            near, far = memory_pair()
            relay.attach(far)
            return near

        options = {"known_peers": PINS, "resume_grace": 10}
        alice = await stack.enter_async_context(Worker("alice", dial, key=KEYS["alice"], **options))
        async with Driver(recorded(dial, log), "victim", key=KEYS["victim"], **options) as victim:
            (worker,) = await victim.wait_for("alice")
            secret = await worker.send(SECRET)
            np.testing.assert_array_equal(await (secret + 1).get(), SECRET + 1)
            assert not [needle for needle in NEEDLES if needle in b"".join(log)]
            ran, life = alice.executor.steps_run, victim.peer.incarnation
            (member,) = [m for m in relay.members.values() if m.info and m.info.name == "victim"]
            (there,) = [m for m in relay.members.values() if m.info and m.info.name == "alice"]
            assert there.info is not None
            ends_with = [message for message in log[1:] if wire.HEADER.unpack_from(message)[0] >= wire.RESUME]
            assert ends_with
            for message in ends_with:
                relay.forward(member, there.info.number, memoryview(bytearray(message)), {0})
            await until(lambda: alice.peer.redials)  # whoever replays has broken the protocol: the link is given up
            np.testing.assert_array_equal(await secret.get(), SECRET)  # on a new one all goes on
            assert alice.executor.steps_run <= ran + 2  # this get, and the delete of a sum that was let go
            assert len(alice.store.spaces[life].objects) <= 2


async def test_a_stolen_token_is_of_no_use_without_the_key_it_is_bound_to(relayed: str) -> None:
    authority = Authority.new()
    bound = authority.issue(["victim"], ["driver"], expires=1 << 33, key=KEYS["victim"].public)
    anyone = authority.issue(["bystander", "alice"], ["driver", "worker"], expires=1 << 33)
    admission = Admission([authority.public])
    async with AsyncExitStack() as stack:
        stack.enter_context(anyio.fail_after(SECONDS))
        made = Town(relayed, await stack.enter_async_context(
            Relay("127.0.0.1:0" if relayed == "relay" else None, admission=admission)))  # fmt: skip
        await stack.enter_async_context(made.worker("alice", token=anyone))
        async with made.connect("victim", key=KEYS["victim"], token=bound) as victim:
            await victim.wait_for("alice")
            async with scripted(await made.dial()) as mallory:
                mallory.say(packed(wire.HELLO, [wire.VERSION, "victim", "driver", b"mallorys", bound, {}]))
                await over(mallory)
            np.testing.assert_array_equal(await (await victim["alice"].send(SECRET)).get(), SECRET)
