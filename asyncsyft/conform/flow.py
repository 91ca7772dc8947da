"""Level 1, order: credit, answers, cancelling, resent requests, lanes."""

from __future__ import annotations

from typing import List

from .. import wire
from .chunks import LARGE, announce, send_all
from .objects import failed, none_failed, ramp, same
from .probe import WINDOW, Broken
from .steps import Steps, frame
from .target import Case, Target, registrar

CASES: List[Case] = []
check = registrar(1, CASES)


@check
async def credit_is_granted(target: Target) -> None:
    """As a peer takes what is sent, it grants more, so that more than 1 MiB may follow."""
    piece = ramp("|u1", wire.CHUNK - 2048)
    async with target.link() as probe:
        sent = 0
        for number in range(1, 8):
            program = Steps()
            program.put(number, piece)
            program.add("delete", 0, [number])
            before, sent = sent, sent + len(piece) + 1024
            await probe.until(
                lambda sent=sent: sent <= probe.granted.get(0, WINDOW),  # type: ignore[misc]
                f"credit for more than the {before} bytes that were sent and taken",
            )
            await probe.run_program(program)
        none_failed(probe)


@check
async def credit_is_kept_to(target: Target) -> None:
    """A peer that has sent 1 MiB stops until it is granted more, and then goes on."""
    large = ramp("|u1", 3 * WINDOW // 4)
    async with target.link() as probe:
        probe.generous = False
        first = announce(probe, large)
        send_all(probe, first, 0, large)
        program = Steps()
        program.get(1)
        program.get(1)
        asked = probe.ask(program)
        await probe.until(lambda: probe.received.get(0, 0) > WINDOW - wire.CHUNK - 8192, "most of 1 MiB")
        for _ in range(8):  # round trips, in which a peer that does not count would send on
            await probe.alive()
        if probe.overrun > 0 or probe.is_answered(asked):
            raise Broken(f"at most {WINDOW} bytes", f"{WINDOW + probe.overrun}")
        probe.grant(4 * WINDOW)
        await probe.answered(asked)
        for step in (0, 1):
            same(probe.values.get((asked, step)), large)


@check
async def cumulative_answers(target: Target) -> None:
    """Requests sent together are all answered, each after its values, by a floor that reaches the last of them."""
    async with target.link() as probe:
        program = Steps()
        program.put(1, ramp("<f4", 2))
        probe.ask(program)
        for _ in range(50):
            program = Steps()
            program.get(1)
            program.add("get", 0, [99])
            asked = probe.ask(program)
        await probe.until(lambda: probe.floor == asked, f"answers up to {asked}")
        at = {what: place for place, what in reversed(list(enumerate(probe.order)))}
        for number in range(2, asked + 1):
            told = at[f"answered {number}"]
            for what in (f"value {number}.0", f"failure {number}.1"):
                if at.get(what, told + 1) > told:
                    raise Broken(f"{what} before the answer to {number}", str(probe.order[:20]))


@check
async def quiet_steps_cost_nothing(target: Target) -> None:
    """A request of steps that return nothing is answered without a value and without a failure."""
    async with target.link() as probe:
        program = Steps()
        program.put(1, ramp("<f4", 2))
        program.add("delete", 0, [1])
        await probe.run_program(program)
        await probe.run_program(Steps())
        if probe.order != ["answered 1", "answered 2"]:
            raise Broken("two answers and nothing else", str(probe.order))


@check
async def resent_request(target: Target) -> None:
    """A request that comes again under its id is not run again."""
    async with target.link() as probe:
        program = Steps()
        program.put(1, ramp("<f4", 2))
        program.get(1)
        number = await probe.run_program(program)
        probe.ask(program, number=number, seen=0)
        after = Steps()
        after.get(1)
        asked = await probe.run_program(after)
        same(probe.values.get((asked, 0)), ramp("<f4", 2))
        if probe.order != [f"value {number}.1", f"answered {number}", f"value {asked}.0", f"answered {asked}"]:
            raise Broken("each request answered once, without a failure", str(probe.order))


@check
async def request_after_seen(target: Target) -> None:
    """A peer may forget the answers that were seen; a request resent even then is not run."""
    async with target.link() as probe:
        program = Steps()
        program.put(1, ramp("<f4", 2))
        number = await probe.run_program(program)
        await probe.run_program(Steps())
        probe.ask(program, number=number)
        await probe.run_program(Steps())
        none_failed(probe)


@check
async def cancel_what_arrives(target: Target) -> None:
    """A put that waits for its chunks can be cancelled, again and again: it fails, and its result is poisoned."""
    large = ramp("<f4", LARGE)
    async with target.link() as probe:
        number = announce(probe, large)
        probe.chunk(number, 0, large, 0, wire.CHUNK)
        probe.send(frame(wire.CANCEL, [0, 0], number=number), frame(wire.CANCEL, [0, 0], number=number))
        await probe.answered(number)
        failed(probe, number, 0, "Cancelled")
        probe.chunk(number, 0, large, wire.CHUNK, 2 * wire.CHUNK)  # was on its way
        program = Steps()
        program.get(1)
        asked = await probe.run_program(program)
        failure = failed(probe, asked, 0, "Cancelled")
        if (failure.cause_id, failure.cause_step) != (number, 0):
            raise Broken(f"the cause {number}.0", f"{failure.cause_id}.{failure.cause_step}")


@check
async def cancel_what_waits(target: Target) -> None:
    """A step that has not begun can be cancelled; the others of its request are run."""
    large = ramp("<f4", LARGE)
    async with target.link() as probe:
        number = announce(probe, large)
        program = Steps()
        program.get(1)
        program.put(2, ramp("<f4", 2))
        program.get(2)
        parked = probe.ask(program)
        probe.send(frame(wire.CANCEL, [0, 1], number=parked))
        send_all(probe, number, 0, large)
        await probe.answered(parked)
        same(probe.values.get((parked, 0)), large)
        failed(probe, parked, 1, "Cancelled")
        failed(probe, parked, 2, "Cancelled")


@check
async def cancel_too_late(target: Target) -> None:
    """A cancel of what is answered, or of a step that is not there, changes nothing."""
    async with target.link() as probe:
        program = Steps()
        program.put(1, ramp("<f4", 2))
        number = await probe.run_program(program)
        probe.send(*(frame(wire.CANCEL, [0, step], number=n) for n, step in ((number, 0), (number, 9), (99, 0))))
        after = Steps()
        after.get(1)
        asked = await probe.run_program(after)
        same(probe.values.get((asked, 0)), ramp("<f4", 2))


@check
async def lanes(target: Target) -> None:
    """A request on another lane is answered, and what it costs is counted on that lane."""
    async with target.link() as probe:
        program = Steps()
        program.put(1, ramp("<f4", 2))
        program.get(1)
        probe.last_id += 1
        meta = [0, program.steps, []]
        probe.send(frame(wire.PROGRAM, meta, program.body, number=1, lane=3))
        await probe.answered(1)
        same(probe.values.get((1, 1)), ramp("<f4", 2))
        if list(probe.received) != [3]:
            raise Broken("the value on lane 3", f"on lanes {list(probe.received)}")
