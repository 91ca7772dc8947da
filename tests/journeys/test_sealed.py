"""Sealed conversations, and a relay that is curious, or malicious: it can delay and drop, and nothing else."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, AsyncIterator, Callable, Dict, List, Optional, Set

import anyio
import msgpack
import numpy as np
import pytest

from asyncsyft import wire
from asyncsyft.driver import Driver
from asyncsyft.errors import AsyncSyftError, LinkClosed, LinkError, OpFailed, Refused, WorkerLost
from asyncsyft.identity import Key, KnownPeers, key_text
from asyncsyft.relay import Member, Relay
from asyncsyft.transport import Transport, memory_pair
from asyncsyft.wire import HEADER
from asyncsyft.worker import Worker
from tests.journeys.kit import SECONDS, leftovers, until
from tests.journeys.scripted import scripted

pytestmark = pytest.mark.anyio

KEYS = {name: Key.new() for name in ("alice", "bob", "me", "other")}
PINS = {name: key_text(key.public) for name, key in KEYS.items()}
#: What must not be read on the way: contents, names, tags, ops, errors.
SECRET = np.frombuffer(b"the patient is ill " * 8, np.uint8)
END_TO_END = range(wire.RESUME, wire.CHUNK_OF + 1)

Tamper = Callable[[bytes], List[bytes]]


class Malicious(Relay):
    """Keeps all that passes; ``tamper`` says what goes on in place of each frame."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: List[bytes] = []
        self.tamper: Tamper = lambda frame: [frame]

    def forward(self, sender: Member, to: int, piece: memoryview, lanes: Set[int]) -> None:
        for frame in split(bytes(piece)):
            self.seen.append(frame)
            for forged in self.tamper(frame):
                super().forward(sender, to, memoryview(bytearray(forged)), lanes)


def split(piece: bytes) -> List[bytes]:
    """The frames of a piece, each as its bytes."""
    found = []
    while piece:
        _, _, _, _, _, meta_len, _, body_len = HEADER.unpack_from(piece)
        size = wire.HEADER_SIZE + (meta_len + 7 & ~7) + (body_len + 7 & ~7)
        found.append(piece[:size])
        piece = piece[size:]
    return found


def kind_of(frame: bytes) -> int:
    return frame[0]


class Place:
    """A malicious relay, and sealed peers on it."""

    def __init__(self, relay: Malicious, stack: AsyncExitStack) -> None:
        self.relay, self._stack = relay, stack
        self.links: List[Transport] = []

    async def dial(self) -> Transport:
        near, far = memory_pair()
        self.relay.attach(far)
        self.links.append(near)
        return near

    async def worker(self, name: str, **options: Any) -> Worker:
        options = {"key": KEYS[name], "known_peers": PINS, "resume_grace": 0.3, **options}
        return await self._stack.enter_async_context(Worker(name, self.dial, **options))

    def driver(self, name: str = "me", **options: Any) -> Driver:
        return Driver(self.dial, name, **{"key": KEYS[name], "known_peers": PINS, "resume_grace": 0.3, **options})


@asynccontextmanager
async def place() -> AsyncIterator[Place]:
    with anyio.fail_after(SECONDS):
        async with AsyncExitStack() as stack:
            yield Place(await stack.enter_async_context(Malicious()), stack)


async def work(driver: Driver) -> None:
    """A bit of everything, whose results are checked."""
    (alice,) = await driver.wait_for("alice")
    x = await alice.send(SECRET, name="diagnosis", tags=["hospital"])
    np.testing.assert_array_equal(await (x + x).get(), SECRET + SECRET)
    large = np.tile(SECRET, 4000)
    y = await alice.send(large, compression="always")
    np.testing.assert_array_equal(await y.get(), large)
    with pytest.raises(OpFailed, match="[Ss]ingular"):
        await alice.call("linalg.inv", alice.call("zeros", (2, 2))).get()
    assert await alice.search("diagnosis")
    await driver.flush()


async def test_a_curious_relay_learns_addresses_and_sizes() -> None:
    async with place() as made:
        await made.worker("alice")
        await made.worker("bob")
        async with made.driver() as driver:
            await work(driver)
            alice, bob = await driver.wait_for("alice", "bob")
            x = await alice.send(SECRET)
            np.testing.assert_array_equal(await x.move(bob).get(), SECRET)
            lanes = [frame for frame in made.relay.seen if kind_of(frame) in END_TO_END]
        assert len(lanes) > 20
        assert all(frame[1] & wire.SEALED for frame in lanes)
        seen = b"".join(made.relay.seen)
        for word in (
            b"patient",
            b"diagnosis",
            b"hospital",
            b"linalg",
            b"zeros",
            b"search",
            b"ingular",
            b"dtype",
        ):  # short ones come by chance
            assert word not in seen
        assert {kind_of(frame) for frame in made.relay.seen} <= {wire.SEAL, wire.GOODBYE, *END_TO_END}
        goodbyes = [frame for frame in made.relay.seen if kind_of(frame) == wire.GOODBYE]
        assert goodbyes
        assert all(frame[1] & wire.SEALED for frame in goodbyes)


@pytest.mark.parametrize("cuts", [0, 8])
async def test_sealing_composes_with_cut_links(cuts: int) -> None:
    rng = random.Random(cuts)
    async with place() as made:
        worker = await made.worker("alice", resume_grace=5.0)
        async with made.driver(resume_grace=5.0) as driver:
            (alice,) = await driver.wait_for("alice")
            x = await alice.send(np.zeros(3))
            for step in range(200):
                x = x + 1
                if step % (200 // max(cuts, 1)) == 9 and cuts:
                    await until(lambda: driver.peer.roads and worker.peer.roads)
                    rng.choice((driver, worker)).peer.roads[0].link.transport.abort()
                if rng.random() < 0.2:
                    np.testing.assert_array_equal(await x.get(), np.full(3, step + 1.0))
            large = np.arange(400_000.0)
            y = await alice.send(large)
            np.testing.assert_array_equal(await (y + x[0]).get(), large + 200)
            assert driver.peer.redials + worker.peer.redials >= cuts
            assert alice.conversation.seal is not None
        await until(lambda: not leftovers(worker, set()))


async def try_to_work(driver: Driver, done: anyio.Event) -> None:
    """Work, or be told why not."""
    try:
        await work(driver)
    except (AsyncSyftError, KeyError) as error:
        assert "forged" not in str(error)
    done.set()


# What a malicious relay does to frames: each gets the frames so far, and gives what goes on in place of one.


def flipped(at: Callable[[bytes], int]) -> Tamper:
    def tamper(frame: bytes) -> List[bytes]:
        changed = bytearray(frame)
        changed[at(frame)] ^= 1
        return [bytes(changed)]

    return tamper


def header(**changes: int) -> Tamper:
    def tamper(frame: bytes) -> List[bytes]:
        names = ("kind", "flags", "lane", "to", "sender", "meta_len", "number", "body_len")
        fields = dict(zip(names, HEADER.unpack_from(frame)))
        fields.update({name: fields[name] ^ bits for name, bits in changes.items()})
        return [HEADER.pack(*fields.values()) + frame[wire.HEADER_SIZE :]]

    return tamper


class Held:
    """Keeps one frame back, and lets it go behind the next."""

    def __init__(self) -> None:
        self.frame: Optional[bytes] = None

    def __call__(self, frame: bytes) -> List[bytes]:
        if self.frame is None:
            self.frame = frame
            return []
        held, self.frame = self.frame, None
        return [frame, held]


TAMPERS: Dict[str, Callable[[], Tamper]] = {
    "a bit of the counter": lambda: flipped(lambda frame: wire.HEADER_SIZE),
    "a bit of the body": lambda: flipped(lambda frame: wire.HEADER_SIZE + 8 + 3),
    "the last bit": lambda: flipped(lambda frame: wire.HEADER_SIZE + 8 + HEADER.unpack_from(frame)[7] - 1),
    "the kind": lambda: header(kind=wire.PROGRAM ^ wire.VALUES),
    "the lane": lambda: header(lane=1),
    "the id": lambda: header(number=1),
    "a flag": lambda: header(flags=wire.LAST),
    "the seal's flag": lambda: header(flags=wire.SEALED),
    "drops it": lambda: lambda frame: [],
    "doubles it": lambda: lambda frame: [frame, frame],
    "swaps two": Held,
    "a clear program": lambda: (
        lambda frame: [wire_frame(wire.PROGRAM, frame, b"\x93\x00\x91\x93\xa6delete\x00\x91\x01\x90"), frame]
    ),
    "a clear resume": lambda: lambda frame: [wire_frame(wire.RESUME, frame, b"\x93\x00\x01\x02"), frame],
    "a clear goodbye": lambda: lambda frame: [wire_frame(wire.GOODBYE, frame, b"\x92\xa0\xa5forged"), frame],
    "a clear refusal": lambda: (
        lambda frame: [wire_frame(wire.REFUSED, frame, b"\x93\x00\xabUnknownPeer\xa6forged"), frame]
    ),
}


def wire_frame(kind: int, like: bytes, meta: bytes) -> bytes:
    """A frame in the clear, with the addresses of another."""
    _, _, _, to, sender, _, number, _ = HEADER.unpack_from(like)
    return HEADER.pack(kind, 0, 0, to, sender, len(meta), number, 0) + meta + bytes(-len(meta) % 8)


@pytest.mark.parametrize("tampering", TAMPERS.values(), ids=TAMPERS)
@pytest.mark.parametrize("kind", [wire.PROGRAM, wire.VALUES, wire.ANSWERS, wire.CHUNK_OF, wire.RESUME])
async def test_what_a_malicious_relay_does_changes_no_result(tampering: Callable[[], Tamper], kind: int) -> None:
    async with place() as made:
        worker = await made.worker("alice")
        async with made.driver() as driver:
            await work(driver)
            tampered: List[bytes] = []
            tamper = tampering()

            def once_in_a_while(frame: bytes) -> List[bytes]:
                if kind_of(frame) == kind and len(tampered) < 2:
                    tampered.append(frame)
                    return tamper(frame)
                return [frame]

            made.relay.tamper = once_in_a_while
            if kind == wire.RESUME:
                made.links[-1].abort()
            # Either it is as if nothing had been, or it is an error: never another result. What is kept back is waited
            # for, until the link is lost.
            done = anyio.Event()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(try_to_work, driver, done)
                while not done.is_set():
                    with anyio.move_on_after(0.3):
                        await done.wait()
                    made.links[-1].abort()
            assert tampered
            made.relay.tamper = lambda frame: [frame]
        assert worker.executor.steps_run < 200
        async with made.driver() as driver:
            await work(driver)  # and the worker serves on
        await until(lambda: not leftovers(worker, set()))


async def test_frames_of_another_conversation_have_no_place_in_this_one() -> None:
    async with place() as made:
        await made.worker("alice")
        async with made.driver("me") as one, made.driver("other") as other:
            for driver in (one, other):
                await driver.wait_for("alice")
                await driver.flush()
            taken: List[bytes] = []

            def splice(frame: bytes) -> List[bytes]:
                if kind_of(frame) != wire.PROGRAM:
                    return [frame]
                if not taken:
                    taken.append(frame)  # of the first driver: swallowed
                    return []
                _, _, _, to, sender, _, _, _ = HEADER.unpack_from(frame)
                forged = bytearray(taken[0])
                forged[4:12] = frame[4:12]  # it goes on in the place of the second driver's
                return [bytes(forged)]

            made.relay.tamper = splice
            x = await one["alice"].send(SECRET)
            asked = one["alice"].recorder.ask(["get", 0, [x.id]])
            await until(lambda: taken)
            with pytest.raises(AsyncSyftError):
                await (await other["alice"].send(np.ones(3))).get()
            made.links[-2].abort()
            made.relay.tamper = lambda frame: [frame]
            np.testing.assert_array_equal(await asked, SECRET)  # resumed: it was never run before


async def test_a_replayed_exchange_opens_nothing() -> None:
    async with place() as made:
        worker = await made.worker("alice")
        async with made.driver() as driver:
            await work(driver)
            life = driver.peer.incarnation
            exchanges = [frame for frame in made.relay.seen if kind_of(frame) == wire.SEAL]
            resumes = [frame for frame in made.relay.seen if kind_of(frame) == wire.RESUME]
            programs = [frame for frame in made.relay.seen if kind_of(frame) == wire.PROGRAM]
            (member,) = [m for m in made.relay.members.values() if m.info and m.info.name == "me"]
            (alice,) = [m for m in made.relay.members.values() if m.info and m.info.name == "alice"]
            assert member.info is not None
            assert alice.info is not None
            before = worker.executor.steps_run
            for frame in [*exchanges[:1], *resumes[:1], *programs]:
                Relay.forward(made.relay, member, alice.info.number, memoryview(bytearray(frame)), {0})
            with pytest.raises((LinkError, AsyncSyftError)):
                while True:
                    await driver.flush()
                    await driver["alice"].stats()
            assert worker.executor.steps_run <= before + 8
        await until(lambda: life not in worker.peer.conversations.by_life)


async def test_who_has_another_key_is_refused_and_a_first_use_is_asked_for() -> None:
    asked: List[str] = []

    def first_use(name: str, key: str) -> bool:
        asked.append(f"{name} {key}")
        return name == "alice"

    async with place() as made:
        await made.worker("alice", known_peers=None)
        await made.worker("bob", known_peers=None)
        async with made.driver(known_peers=KnownPeers({}, first_use)) as driver:
            (alice,) = await driver.wait_for("alice")
            await (await alice.send(SECRET)).get()
            with pytest.raises(Refused, match="bob is not known here"):
                await driver.wait_for("bob")
            with pytest.raises(Refused, match="bob is not known here"):
                driver.worker("bob")
            assert asked == [f"alice {PINS['alice']}", f"bob {PINS['bob']}"]
        async with made.driver(known_peers={"alice": PINS["bob"]}) as driver:
            with pytest.raises(Refused, match="the key of alice is not the one that is known here"):
                await driver.wait_for("alice")


async def test_a_worker_without_a_key_is_refused_and_harms_nobody() -> None:
    async with place() as made:
        await made.worker("alice")
        async with made.driver() as driver, scripted(await made.dial()) as bare:
            await bare.hello("bare", "worker")
            with pytest.raises(Refused, match="bare proved no key"):
                await driver.wait_for("bare")
            await work(driver)


async def test_a_worker_refuses_drivers_that_it_does_not_know() -> None:
    async with place() as made:
        await made.worker("alice", known_peers={"me": PINS["me"]})
        async with made.driver("other") as driver:
            with pytest.raises(Refused, match="not known"):
                await (await driver["alice"].send(SECRET)).get()
        async with made.driver("other", known_peers=None) as driver:
            with pytest.raises(Refused, match="under a seal"):
                await (await driver["alice"].send(SECRET)).get()
        async with made.driver("me") as driver:
            await (await driver["alice"].send(SECRET)).get()


async def test_a_relay_that_plays_a_worker_whose_key_it_has_not() -> None:
    async with place() as made:
        impostor = await made.worker("alice", key=KEYS["other"], known_peers=None)
        (member,) = made.relay.members.values()
        assert member.info is not None
        member.info = member.info._replace(key=KEYS["alice"].public)  # what the relay says is not what was proved
        async with made.driver(silence=0.2) as driver:
            (alice,) = await driver.wait_for("alice")
            with pytest.raises(WorkerLost, match="alice did not answer within 0.4 s"):
                await (await alice.send(SECRET)).get()
        assert not impostor.executor.steps_run
        assert not impostor.store.spaces


async def test_two_workers_that_begin_at_once_agree() -> None:
    async with place() as made:
        await made.worker("alice")
        await made.worker("bob")
        async with made.driver() as driver:
            alice, bob = await driver.wait_for("alice", "bob")
            for _ in range(3):
                x, y = await alice.send(SECRET), await bob.send(SECRET[::-1].copy())
                there, back = x.move(bob), y.move(alice)
                np.testing.assert_array_equal(await there.get(), SECRET)
                np.testing.assert_array_equal(await back.get(), SECRET[::-1])
        # Each told the other the first message of an exchange, and one of them answered.
        assert len([frame for frame in made.relay.seen if kind_of(frame) == wire.SEAL]) == 2 + 2 + 3


async def test_sealed_on_a_direct_link() -> None:
    with anyio.fail_after(SECONDS):
        options: Dict[str, Any] = {"key": KEYS["alice"], "known_peers": PINS}
        async with Worker("alice", listen="127.0.0.1:0", **options) as worker:
            url = f"ws://{worker.address}"
            async with Driver(url, "me", key=KEYS["me"], known_peers=PINS) as driver:
                await work(driver)
                (road,) = driver.peer.roads
                road.link.abort(LinkClosed("cut"))
                await work(driver)
                assert driver.peer.redials == 1
            await until(lambda: not leftovers(worker, set()))
            with pytest.raises(Refused, match="under a seal"):
                async with Driver(url, "me", key=KEYS["me"]) as driver:
                    await (await driver["alice"].send(SECRET)).get()


async def test_a_sealed_conversation_is_not_resumed_in_the_clear() -> None:
    async with place() as made:
        worker = await made.worker("alice", known_peers=None, resume_grace=5.0)
        async with made.driver(resume_grace=5.0) as driver:
            await work(driver)
            mine, yours = driver.peer.incarnation, worker.peer.incarnation
            talk = worker.peer.conversations.by_life[mine]
            forged: List[bytes] = []

            def in_the_clear(frame: bytes) -> List[bytes]:
                if kind_of(frame) != wire.RESUME or forged:
                    return [frame]
                meta = msgpack.packb([mine, yours, 0, talk.floor, {}, talk.received, []])
                forged.append(wire_frame(wire.RESUME, frame, meta))
                return [forged[0]]

            made.relay.tamper = in_the_clear
            made.links[-1].abort()
            await until(lambda: forged)
            forgotten = talk.forgotten
            with anyio.move_on_after(0.2):
                await until(lambda: talk.ended)
            assert talk.forgotten == forgotten  # what it said was not believed: it may have ended the conversation
            made.links[-1].abort()
        async with made.driver() as driver:
            await work(driver)
