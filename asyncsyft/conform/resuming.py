"""Level 1: links that are cut, and conversations that go on: nothing is lost, and nothing is run twice.

A peer that keeps no conversation whose link is lost says so by refusing the resume, and these checks do not apply.
"""

from __future__ import annotations

from typing import List

from .. import wire
from .chunks import LARGE, announce, send_all
from .objects import none_failed, ramp, same
from .probe import Broken, Probe
from .steps import Steps
from .target import Case, Target, registrar

CASES: List[Case] = []
check = registrar(1, CASES)


def _put_and_get(out: int) -> Steps:
    program = Steps()
    program.put(out, ramp("<f4", out + 1))
    program.get(out)
    return program


async def _told_once(probe: Probe, *numbers: int) -> None:
    """Raises: Broken unless the value of each of these requests comes, and each is answered, once."""
    for number in numbers:
        await probe.answered(number)
    await probe.alive()
    none_failed(probe)
    for number in numbers:
        same(probe.values.get((number, 1)), ramp("<f4", number + 1))
        for what in (f"value {number}.1", f"answered {number}"):
            if probe.order.count(what) != 1:
                raise Broken(f"{what}, once", str(probe.order))


@check
async def requests_outlive_their_link(target: Target) -> None:
    """Requests whose link is cut as they are sent are run once each, and answered on the next link."""
    async with target.link() as probe:
        for number in (1, 2, 3):
            probe.ask(_put_and_get(number))
    async with target.link(after=probe) as probe:
        for number in range(probe.resumed[0].received + 1, 4):
            probe.ask(_put_and_get(number), number=number)
        await _told_once(probe, 1, 2, 3)


@check
async def answers_outlive_their_link(target: Target) -> None:
    """Answers that were not seen are given again on the next link without a second run, and what was put is there."""
    async with target.link() as probe:
        await probe.run_program(_put_and_get(1))
    async with target.link(after=probe) as probe:
        if probe.resumed[0].received != 1:
            raise Broken("received 1", f"received {probe.resumed[0].received}")
        await _told_once(probe, 1)
        again = Steps()
        again.get(1)
        asked = await probe.run_program(again)
        same(probe.values.get((asked, 0)), ramp("<f4", 2))


@check
async def what_was_resent_is_not_run_again(target: Target) -> None:
    """A request that comes again on the next link, although it was received, is answered once and not run."""
    async with target.link() as probe:
        await probe.run_program(_put_and_get(1))
    async with target.link(after=probe) as probe:
        probe.ask(_put_and_get(1), number=1, seen=0)
        await _told_once(probe, 1)


@check
async def chunks_go_on(target: Target) -> None:
    """A tensor whose link was cut between its chunks goes on from where the next link's resume says, and is whole."""
    large = ramp("<f4", LARGE)
    async with target.link() as probe:
        number = announce(probe, large)
        probe.chunk(number, 0, large, 0, wire.CHUNK)
        await probe.alive()
    async with target.link(after=probe) as probe:
        if probe.resumed[0].received != number:
            raise Broken(f"received {number}", f"received {probe.resumed[0].received}")
        landed = {tuple(entry[:3]): entry[3] for entry in probe.resumed[0].landed}.get((0, number, 0), 0)
        if landed not in (0, wire.CHUNK):
            raise Broken(f"{wire.CHUNK} bytes landed, or none that it kept", str(landed))
        send_all(probe, number, 0, large, landed)
        get = Steps()
        get.get(1)
        asked = await probe.run_program(get)
        none_failed(probe)
        same(probe.values.get((asked, 0)), large)


@check
async def chunks_sent_twice(target: Target) -> None:
    """Chunks that come again on the next link, although the peer has them, are ignored."""
    large = ramp("<f4", LARGE)
    async with target.link() as probe:
        number = announce(probe, large)
        probe.chunk(number, 0, large, 0, wire.CHUNK)
        await probe.alive()
    async with target.link(after=probe) as probe:
        send_all(probe, number, 0, large)
        get = Steps()
        get.get(1)
        asked = await probe.run_program(get)
        none_failed(probe)
        same(probe.values.get((asked, 0)), large)


@check
async def large_answers_begin_anew(target: Target) -> None:
    """A large tensor whose link was cut as it was sent, and of which nothing landed, is sent whole on the next link."""
    large = ramp("|u1", wire.CHUNK * 3)
    async with target.link() as probe:
        probe.generous = False
        send_all(probe, announce(probe, large), 0, large)
        get = Steps()
        get.get(1)
        get.get(1)  # together more than is granted, so that they are cut in the middle
        asked = probe.ask(get)
        await probe.until(lambda: probe.received.get(0, 0) > wire.CHUNK, "a part of the tensor")
    async with target.link(after=probe) as probe:
        await probe.answered(asked)
        none_failed(probe)
        for step in (0, 1):
            same(probe.values.get((asked, step)), large)
