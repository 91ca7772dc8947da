"""Level 1, chunks: large tensors both ways, what waits for them, and compressed bodies."""

from __future__ import annotations

from typing import List

import zstandard

from .. import wire
from ..tensor import Array
from .objects import failed, none_failed, ramp, same
from .probe import Broken, Probe
from .steps import Steps, frame
from .target import Case, Skip, Target, registrar

CASES: List[Case] = []
check = registrar(1, CASES)

#: A tensor of three chunks, the last of 4 bytes.
LARGE = 2 * wire.CHUNK // 4 + 1


def send_all(probe: Probe, number: int, step: int, array: Array, landed: int = 0) -> None:
    for begin in range(landed, array.nbytes, wire.CHUNK):
        probe.chunk(number, step, array, begin, min(begin + wire.CHUNK, array.nbytes))


def announce(probe: Probe, array: Array, out: int = 1) -> int:
    program = Steps()
    step = program.announce(out, array)
    return probe.ask(program, [step])


@check
async def chunks_in(target: Target) -> None:
    """A tensor announced as chunked arrives in chunks; a chunk that came already is ignored."""
    large = ramp("<f4", LARGE)
    async with target.link() as probe:
        number = announce(probe, large)
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
        number = announce(probe, array)
        for begin, end in ((0, 1), (1, 8), (8, 501), (501, 1200)):
            probe.chunk(number, 0, array, begin, end)
        program = Steps()
        program.get(1)
        asked = await probe.run_program(program)
        same(probe.values.get((asked, 0)), array)


@check
async def half_arrived(target: Target) -> None:
    """A request that names a tensor still arriving waits for it; one that does not goes on, and is answered above."""
    large = ramp("<f4", LARGE)
    async with target.link() as probe:
        number = announce(probe, large)
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
    large = ramp("<f4", LARGE)
    async with target.link() as probe:
        number = announce(probe, large)
        probe.chunk(number, 0, large, wire.CHUNK, wire.CHUNK + 8)
        await probe.broken_off("bytes 0 to 262144 are missing")


@check
async def chunk_past_the_end(target: Target) -> None:
    """A chunk that ends past its tensor ends the conversation."""
    array = ramp("<f4", 4)
    async with target.link() as probe:
        number = announce(probe, array)
        meta = [0, 0, "<f4", [4], 0]
        probe.send(frame(wire.CHUNK_OF, meta, [bytes(24)], number=number))
        await probe.broken_off("24 bytes of 16")


@check
async def chunks_out(target: Target) -> None:
    """A tensor of more than 256 KiB is answered in chunks, in order, the last of any size."""
    large = ramp("<f4", LARGE)
    async with target.link() as probe:
        number = announce(probe, large)
        send_all(probe, number, 0, large)
        program = Steps()
        program.get(1)
        program.put(2, ramp("<i8", 3))
        program.get(2)
        asked = await probe.run_program(program)
        same(probe.values.get((asked, 0)), large)
        same(probe.values.get((asked, 2)), ramp("<i8", 3))


@check
async def compressed(target: Target) -> None:
    """For a peer that offers zstd, the body of a program or a chunk may be one zstd frame."""
    codecs = target.can.get("codecs")
    if type(codecs) is not list or "zstd" not in codecs:
        raise Skip("the peer does not offer zstd")
    small, large = ramp("<f4", 1000), ramp("<f4", LARGE)
    pack = zstandard.ZstdCompressor().compress
    async with target.link() as probe:
        put = ["put", 1, [], {"dtype": "<f4", "shape": [1000], "at": 0}]
        probe.last_id += 1
        body = [pack(small.tobytes())]
        probe.send(frame(wire.PROGRAM, [0, [put], []], body, number=probe.last_id, flags=wire.COMPRESSED))
        number = announce(probe, large, 2)
        for begin in range(0, large.nbytes, wire.CHUNK):
            body = [pack(large.tobytes()[begin : begin + wire.CHUNK])]
            meta = [0, 0, "<f4", [LARGE], begin]
            probe.send(frame(wire.CHUNK_OF, meta, body, number=number, flags=wire.COMPRESSED))
        program = Steps()
        program.get(1)
        program.get(2)
        asked = await probe.run_program(program)
        none_failed(probe)
        same(probe.values.get((asked, 0)), small)
        same(probe.values.get((asked, 1)), large)
