"""Level 1, order: chunks, credit, answers, cancelling, resent requests."""

from __future__ import annotations

from typing import List

from .. import wire
from ..tensor import Array
from .objects import failed, none_failed, ramp, same
from .probe import WINDOW, Broken, Probe, Steps, frame
from .target import Case, Target, registrar

CASES: List[Case] = []
check = registrar(1, CASES)

#: A tensor of three chunks, the last of 4 bytes.
_LARGE = 2 * wire.CHUNK // 4 + 1


def _send_all(probe: Probe, number: int, step: int, array: Array) -> None:
    for begin in range(0, array.nbytes, wire.CHUNK):
        probe.chunk(number, step, array, begin, min(begin + wire.CHUNK, array.nbytes))


def _announce(probe: Probe, array: Array, out: int = 1) -> int:
    program = Steps()
    step = program.announce(out, array)
    return probe.ask(program, [step])


@check
async def chunks_in(target: Target) -> None:
    """A tensor announced as chunked arrives in chunks; a chunk that came already is ignored."""
    large = ramp("<f4", _LARGE)
    async with target.link() as probe:
        number = _announce(probe, large)
        probe.chunk(number, 0, large, 0, wire.CHUNK)
        probe.chunk(number, 0, large, 0, wire.CHUNK)
        for begin in (wire.CHUNK, 2 * wire.CHUNK):
            probe.chunk(number, 0, large, begin, min(begin + wire.CHUNK, large.nbytes))
        await probe.answered(number)
        program = Steps()
        program.get(1)
        asked = await probe.run_program(program)
        none_failed(probe)
        same(probe.values.get((asked, 0)), large)


@check
async def chunks_of_odd_sizes(target: Target) -> None:
    """A chunk may be of any size but 0, and end anywhere."""
    array = ramp("<i2", 600)
    async with target.link() as probe:
        number = _announce(probe, array)
        for begin, end in ((0, 1), (1, 8), (8, 501), (501, 1200)):
            probe.chunk(number, 0, array, begin, end)
        program = Steps()
        program.get(1)
        asked = await probe.run_program(program)
        same(probe.values.get((asked, 0)), array)


@check
async def half_arrived(target: Target) -> None:
    """A request that names a tensor still arriving waits for it; one that does not goes on, and is answered above."""
    large = ramp("<f4", _LARGE)
    async with target.link() as probe:
        number = _announce(probe, large)
        probe.chunk(number, 0, large, 0, wire.CHUNK)
        waits, goes_on = Steps(), Steps()
        waits.get(1)
        goes_on.put(2, ramp("<f4", 2))
        goes_on.get(2)
        parked, free = probe.ask(waits), probe.ask(goes_on)
        await probe.answered(free)
        if probe.floor or probe.is_answered(parked):
            raise Broken(f"request {free} answered above, {number} and {parked} not", str(probe.order))
        for begin in (wire.CHUNK, 2 * wire.CHUNK):
            probe.chunk(number, 0, large, begin, min(begin + wire.CHUNK, large.nbytes))
        await probe.until(lambda: probe.floor == free, f"answers up to {free}")
        same(probe.values.get((parked, 0)), large)


@check
async def bad_announcements(target: Target) -> None:
    """What is announced as chunked and is no put of a new tensor with elements fails alone; its chunks are ignored."""
    array = ramp("<f4", 2)
    async with target.link() as probe:
        program = Steps()
        program.put(1, array)
        await probe.run_program(program)
        program = Steps()
        bad = [program.announce(1, array), program.announce(2, ramp("<f4", 0)), program.get(1), program.add("put", 3)]
        program.get(1)
        asked = probe.ask(program, bad)
        probe.chunk(asked, 0, array, 0, 8)
        await probe.answered(asked)
        failed(probe, asked, 0, "Refused")
        for step in bad:
            if probe.failure(asked, step) is None:
                raise Broken(f"a failure of {program.steps[step]}", "none")
        same(probe.values.get((asked, 4)), array)


@check
async def gap_between_chunks(target: Target) -> None:
    """A chunk that leaves a gap ends the conversation."""
    large = ramp("<f4", _LARGE)
    async with target.link() as probe:
        number = _announce(probe, large)
        probe.chunk(number, 0, large, wire.CHUNK, wire.CHUNK + 8)
        await probe.broken_off("bytes 0 to 262144 are missing")


@check
async def chunk_past_the_end(target: Target) -> None:
    """A chunk that ends past its tensor ends the conversation."""
    array = ramp("<f4", 4)
    async with target.link() as probe:
        number = _announce(probe, array)
        meta = [0, 0, "<f4", [4], 0]
        probe.send(frame(wire.CHUNK_OF, meta, [bytes(24)], number=number))
        await probe.broken_off("24 bytes of 16")


@check
async def chunks_out(target: Target) -> None:
    """A tensor of more than 256 KiB is answered in chunks, in order, the last of any size."""
    large = ramp("<f4", _LARGE)
    async with target.link() as probe:
        number = _announce(probe, large)
        _send_all(probe, number, 0, large)
        program = Steps()
        program.get(1)
        program.put(2, ramp("<i8", 3))
        program.get(2)
        asked = await probe.run_program(program)
        same(probe.values.get((asked, 0)), large)
        same(probe.values.get((asked, 2)), ramp("<i8", 3))


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
            size = len(piece) + 1024
            await probe.until(
                lambda size=size: sent + size <= probe.granted.get(0, WINDOW),  # type: ignore[misc] # noqa: B023
                f"credit for more than the {sent} bytes that were sent and taken",
            )
            await probe.run_program(program)
            sent += size
        none_failed(probe)


@check
async def credit_is_kept_to(target: Target) -> None:
    """A peer that has sent 1 MiB stops until it is granted more, and then goes on."""
    large = ramp("|u1", 3 * WINDOW // 4)
    async with target.link() as probe:
        probe.generous = False
        first = _announce(probe, large)
        _send_all(probe, first, 0, large)
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
    large = ramp("<f4", _LARGE)
    async with target.link() as probe:
        number = _announce(probe, large)
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
    large = ramp("<f4", _LARGE)
    async with target.link() as probe:
        number = _announce(probe, large)
        program = Steps()
        program.get(1)
        program.put(2, ramp("<f4", 2))
        program.get(2)
        parked = probe.ask(program)
        probe.send(frame(wire.CANCEL, [0, 1], number=parked))
        _send_all(probe, number, 0, large)
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
