"""Level 0: the handshake, pings, a conversation's opening and end, and the refusal of what breaks the rules."""

from __future__ import annotations

from typing import List

import anyio

from .. import wire
from ..websocket import SUBPROTOCOL
from .hostile import HOSTILE, Hostile
from .probe import Broken
from .steps import Steps, frame
from .target import Case, Run, Target, of_subprotocol, registrar

CASES: List[Case] = []
check, vital = registrar(0, CASES), registrar(0, CASES, vital=True)


@vital
async def subprotocol(target: Target) -> None:
    """A request that offers asyncsyft.v1 is answered 101 and selects it."""
    stream, head = await target.upgrade(SUBPROTOCOL)
    await anyio.aclose_forcefully(stream)
    if " 101 " not in head.split("\r\n")[0] or not of_subprotocol(head):
        raise Broken(f"101 with {SUBPROTOCOL}", head.split("\r\n")[0])


@check
async def other_subprotocol(target: Target) -> None:
    """A request that does not offer asyncsyft.v1 gets another status than 101."""
    for offer in (None, "asyncsyft.v0"):
        stream, head = await target.upgrade(offer)
        await anyio.aclose_forcefully(stream)
        if " 101 " in head.split("\r\n")[0]:
            raise Broken("a refusal", head.split("\r\n")[0])


@check
async def text_message(target: Target) -> None:
    """A text message closes the websocket."""
    stream, _ = await target.upgrade(SUBPROTOCOL)
    mask = b"\0\0\0\0"
    try:
        await stream.send(b"\x81\x82" + mask + b"hi")
        with anyio.move_on_after(target.patience):
            data = b""
            while not data.startswith(b"\x88"):  # what comes before a close was under way, as a challenge may be
                data = _after_first(data) or data + await stream.receive()
            return
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        return
    finally:
        await anyio.aclose_forcefully(stream)
    raise Broken("a close", "none")


def _after_first(data: bytes) -> bytes:
    """What follows the first message of a websocket, of less than 64 KiB; empty if it is not whole."""
    head, size = (2, data[1] & 0x7F) if len(data) > 3 else (0, len(data))
    if size == 126:
        head, size = 4, int.from_bytes(data[2:4], "big")
    return data[head + size :]


@vital
async def welcome(target: Target) -> None:
    """A hello is answered by a welcome of version 1, from a worker with a name and a level."""
    async with target.link(resume=False) as probe:
        said = probe.welcome
        assert said is not None
        target.name, target.can = said.me.name, said.can
        for good, expected, found in (
            (said.version == wire.VERSION, "version 1", said.version),
            (said.me.role == "worker", "the role worker", said.me.role),
            (said.me.number == 0, "its own number to be 0", said.me.number),
            (said.me.name, "a name", said.me.name),
            (any(said.me.incarnation), "an incarnation that is not 0", said.me.incarnation.hex()),
            (type(said.can.get("level")) is int, "a level that is a whole number", said.can.get("level")),
        ):
            if not good:
                raise Broken(expected, repr(found))


@check
async def incarnation(target: Target) -> None:
    """The peer has one incarnation and one name on all links of its life."""
    async with target.link(resume=False) as one, target.link(resume=False) as other:
        assert one.welcome is not None
        assert other.welcome is not None
        if one.welcome.me != other.welcome.me:
            raise Broken(repr(one.welcome.me), repr(other.welcome.me))


@check
async def unknown_version(target: Target) -> None:
    """A hello of another version is answered by a goodbye with the code Refused, and the link is closed."""
    async with target.link(hello=False) as probe:
        probe.send(frame(wire.HELLO, target.hello_of(probe, version=2)))
        await probe.shut("version 2 is unknown")
        if not probe.goodbyes or probe.goodbyes[0].code != "Refused":
            raise Broken("a goodbye with the code Refused", probe.state())


@check
async def hello_comes_first(target: Target) -> None:
    """A resume before the hello closes the link."""
    async with target.link(hello=False) as probe:
        probe.resume()
        await probe.shut("there was no hello")


@check
async def hello_comes_once(target: Target) -> None:
    """A second hello closes the link."""
    async with target.link(resume=False) as probe:
        probe.send(frame(wire.HELLO, target.hello_of(probe)))
        await probe.shut("a second hello")


@check
async def ping(target: Target) -> None:
    """Each ping is answered by one pong of the same id; several frames may share a message."""
    ids = [0, 7, wire.MAX_ID]
    async with target.link(resume=False) as probe:
        probe.send(*(frame(wire.PING, [], number=number) for number in ids))
        await probe.until(lambda: len(probe.pongs) >= len(ids), "three pongs")
        await probe.alive()
        if probe.pongs[:3] != ids:
            raise Broken(f"pongs {ids}", str(probe.pongs))


@check
async def unknown_fields(target: Target) -> None:
    """Fields that a later version may append to a meta are ignored."""
    async with target.link() as probe:  # whose hello and resume have one field too many
        probe.send(frame(wire.PING, ["later", [1], {"a": None}], number=1))
        probe.send(frame(wire.CREDIT, [0, 1 << 20, "later"]), frame(wire.CANCEL, [0, 0, "later"], number=1))
        await probe.until(lambda: probe.pongs == [1], "a pong")
        await probe.alive()
        if probe.goodbyes:
            raise Broken("no goodbye", probe.state())


@vital
async def resume(target: Target) -> None:
    """A resume is answered by one that names both incarnations, and says that nothing was received or seen."""
    async with target.link() as probe:
        said = probe.resumed[0]
        if (said.mine, said.yours) != (probe.theirs, probe.mine):
            raise Broken(f"{probe.theirs.hex()}, {probe.mine.hex()}", f"{said.mine.hex()}, {said.yours.hex()}")
        if said.received or said.seen or said.asked:
            raise Broken("received 0, seen 0, asked 0", f"{said.received}, {said.seen}, {said.asked}")


@check
async def only_a_relay_names_senders(target: Target) -> None:
    """On a link without a relay a frame that names its sender closes the link."""
    async with target.link(resume=False) as probe:
        header = wire.HEADER.pack(wire.PING, 0, 0, 0, 5, 1, 0, 0)
        probe.send(header + b"\x90" + bytes(7))
        await probe.shut("a frame from peer 5")


@check
async def resume_comes_once(target: Target) -> None:
    """A second resume of a conversation on one link ends it."""
    async with target.link() as probe:
        probe.resume()
        await probe.broken_off("a second resume")


@check
async def no_conversation(target: Target) -> None:
    """A request without a conversation is refused with UnknownPeer and the request's id, and is not run."""
    async with target.link(resume=False) as probe:
        probe.ask(Steps(), number=5)
        await probe.refuses(5)


@check
async def goodbye(target: Target) -> None:
    """After a driver's goodbye the conversation is over, and a later request is refused with UnknownPeer."""
    async with target.link() as probe:
        probe.send(frame(wire.GOODBYE, ["", "enough"]))
        probe.ask(Steps(), number=1)
        await probe.until(lambda: probe.refused or probe.ended, "a refusal, or the link closed")


def _hostile(hostile: Hostile) -> Run:
    async def run(target: Target) -> None:
        async with target.link(resume=not hostile.ends_link) as probe:
            probe.send(hostile.message)
            if hostile.ends_link:
                await probe.shut(hostile.name)
            else:
                await probe.broken_off(hostile.name)
        async with target.link():
            pass

    return run


for _one in HOSTILE:
    _costs = "the link" if _one.ends_link else "the conversation"
    CASES.append(Case(0, f"hostile: {_one.name}", f"It costs {_costs}; others are served.", _hostile(_one)))
