"""Level 0: who a peer says it is, what it proves, and in which of its lives it goes on."""

from __future__ import annotations

import os
from typing import Any, List

from .. import wire
from ..identity import Key
from .probe import Broken, Probe
from .steps import Steps, frame
from .target import Case, Skip, Target, registrar

CASES: List[Case] = []
check = registrar(0, CASES)


@check
async def challenge(target: Target) -> None:
    """The accepting end speaks first: a challenge of version 1 and 32 bytes, other ones on each link."""
    async with target.link(hello=False) as one, target.link(hello=False) as other:
        assert one.challenge is not None
        assert other.challenge is not None
        if one.challenge.version != wire.VERSION:
            raise Broken("version 1", str(one.challenge.version))
        if len(one.challenge.public) != wire.KEY_SIZE or one.challenge == other.challenge:
            raise Broken("32 bytes, other ones on each link", f"{one.challenge.public.hex()}, twice")


@check
async def without_a_key(target: Target) -> None:
    """A hello without a key and a proof is welcomed, unless the peer lets nobody in without."""
    async with target.link(hello=False) as probe:
        probe.send(frame(wire.HELLO, target.hello_of(probe)[:6]))
        await probe.until(lambda: probe.welcome or probe.goodbyes, "a welcome or a goodbye")
        if probe.welcome is None:
            _is_refused(probe)
            raise Skip("the peer lets nobody in without a key")


@check
async def wrong_proofs(target: Target) -> None:
    """A hello whose proof is of another key, link, name, life, or none at all is Refused, and the link closed."""
    other = Key.new()
    async with target.link(hello=False) as elsewhere:
        for change in (
            {"key": other.public},
            {"key": bytes(wire.KEY_SIZE)},
            {"proof": bytes(wire.KEY_SIZE)},
            {"proof": b""},
            {"name": "conform-another"},
            {"incarnation": os.urandom(wire.INCARNATION_SIZE)},
            {"proof": wire.Hello(*target.hello_of(elsewhere, target.key)[:8]).proof},
        ):
            await _refused_hello(target, change)


async def _refused_hello(target: Target, change: Any) -> None:
    async with target.link(hello=False) as probe:
        hello = wire.Hello(*target.hello_of(probe, target.key)[:8])._replace(**change)
        probe.send(frame(wire.HELLO, hello))
        await probe.shut(f"the proof does not fit: {', '.join(change)}")
        _is_refused(probe)


def _is_refused(probe: Probe) -> None:
    if not probe.goodbyes or probe.goodbyes[0].code != "Refused":
        raise Broken("a goodbye with the code Refused", probe.state())


@check
async def out_of_place(target: Target) -> None:
    """What only a relay or an accepting end may say closes the link."""
    async with target.link(resume=False) as probe:
        welcome, life = probe.welcome, probe.mine
    for kind, meta in (
        (wire.CHALLENGE, [wire.VERSION, target.key.public]),
        (wire.WELCOME, welcome),
        (wire.PEERS, [[], []]),
        (wire.SEEK, [[life]]),
    ):
        async with target.link(resume=False) as probe:
            probe.send(frame(kind, meta))
            await probe.shut(f"a frame of kind {kind} out of place")


@check
async def another_life_of_the_peer(target: Target) -> None:
    """A resume that names another incarnation of the peer is refused with UnknownPeer."""
    async with target.link(resume=False) as probe:
        probe.theirs = os.urandom(wire.INCARNATION_SIZE)
        probe.resume()
        await probe.refuses(0)


@check
async def another_life_than_the_hello_s(target: Target) -> None:
    """A resume whose own incarnation is not the hello's is refused with UnknownPeer, and costs that life nothing."""
    async with target.link() as other, target.link(resume=False) as probe:
        probe.mine, mine = other.mine, probe.mine
        probe.resume()
        await probe.refuses(0)
        probe.mine = mine
        probe.resume()
        await probe.until(lambda: probe.resumed, "a resume in answer to the right resume")
        await other.run_program(Steps())


@check
async def resume_of_what_is_gone(target: Target) -> None:
    """A resume that speaks of requests that came or were answered is refused if the peer has not that conversation."""
    async with target.link(resume=False) as probe:
        probe.resume(3)
        await probe.refuses(0)
        probe.resume()
        await probe.until(lambda: probe.resumed, "a resume in answer to a new one")


@check
async def resume_of_what_ended(target: Target) -> None:
    """A resume that speaks of requests of a conversation that has ended is refused; a new one is opened."""
    async with target.link() as probe:
        await probe.run_program(Steps())
        probe.send(frame(wire.GOODBYE, ["", ""]))
        probe.ask(Steps(), number=2)
        await probe.until(lambda: probe.refused or probe.ended, "a refusal, or the link closed")
    async with target.link(resume=False, after=probe) as probe:
        probe.last_id = 1  # asked, and answered, in the one that ended
        probe.resume()
        await probe.refuses(0)
        probe.last_id = 0
        probe.resume()
        await probe.until(lambda: probe.resumed, "a resume in answer to a new one")


@check
async def resume_of_what_never_came(target: Target) -> None:
    """A resume that speaks of requests that were asked, and of which none ever came, opens the conversation."""
    async with target.link(resume=False) as probe:
        probe.last_id = 3
        probe.resume()
        await probe.until(lambda: probe.resumed, "a resume in answer to the resume")


@check
async def newer_link(target: Target) -> None:
    """A second link of one life that proves the same key takes the place of the first, and the conversation goes on."""
    async with target.link() as probe, target.link(resume=False, after=probe) as newer:
        await probe.shut("a newer link of the same life")
        newer.resume()
        await newer.until(lambda: newer.resumed, "a resume in answer to the resume")
        await newer.run_program(Steps())


@check
async def second_link_with_another_key(target: Target) -> None:
    """A second link of one life that proves another key, or none, is Refused; the first goes on."""
    async with target.link() as probe:
        for key in (Key.new(), None):
            async with target.link(hello=False, after=probe) as other:
                other.send(frame(wire.HELLO, target.hello_of(other, key)))
                await other.shut("its life is linked already, with another key")
                _is_refused(other)
        await probe.run_program(Steps())


@check
async def resume_after_a_cut(target: Target) -> None:
    """A driver whose link was cut before it asked anything may resume on a new one."""
    async with target.link() as probe:
        pass
    async with target.link(after=probe) as probe:
        await probe.run_program(Steps())
