"""Level 1, tensors: put, get and delete, of every dtype and shape, and what is said when an object is not there."""

from __future__ import annotations

from typing import Any, List, Optional

import numpy as np

from .. import tensor, wire
from ..tensor import Array
from ..wire import Failure
from .probe import Broken, Probe
from .steps import Steps, frame
from .target import Case, Run, Skip, Target, registrar

CASES: List[Case] = []
check = registrar(1, CASES)


def ramp(descr: str, *shape: int) -> Array:
    """A tensor of that dtype with values that differ: the extremes of its dtype among them."""
    dtype = tensor.DTYPES[descr]
    flat = np.arange(int(np.prod(shape, dtype=np.int64)), dtype="<i8")
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        extremes = np.array([limits.min, limits.max], dtype)
        return np.concatenate([extremes, (flat % 100).astype(dtype)])[: flat.size].reshape(shape)
    special = np.array([np.nan, np.inf, -np.inf, -0.0]) if dtype.kind in "fc" else np.zeros(0)
    values_of = np.concatenate([special, flat % 100 + 0.5 * (dtype.kind != "b")])[: flat.size]
    return (
        (values_of * (1 - 2j) if dtype.kind == "c" else values_of % 2 if dtype.kind == "b" else values_of)
        .astype(dtype)
        .reshape(shape)
    )


def same(found: Any, wanted: Array) -> None:
    """Raises: Broken unless the value that came is that array, bit for bit."""
    if not isinstance(found, np.ndarray):
        raise Broken(f"a tensor of {wanted.dtype} {wanted.shape}", "none" if found is None else type(found).__name__)
    if (found.dtype, found.shape) != (wanted.dtype, wanted.shape):
        raise Broken(f"a tensor of {wanted.dtype} {wanted.shape}", f"one of {found.dtype} {found.shape}")
    if found.tobytes() != wanted.tobytes():
        raise Broken(f"the bytes {wanted.tobytes()[:32].hex()}...", f"{found.tobytes()[:32].hex()}...")


def failed(probe: Probe, number: int, step: int, code: str, kind: Optional[str] = None) -> Failure:
    """The failure of a step. Raises: Broken unless it came and has that code."""
    failure = probe.failure(number, step)
    if failure is None:
        raise Broken(f"a failure {code} of step {number}.{step}", "none")
    if failure.code != code or (kind is not None and failure.kind != kind):
        raise Broken(f"a failure {code} {kind or ''}".rstrip(), f"{failure.code} {failure.kind}: {failure.message}")
    return failure


def none_failed(probe: Probe) -> None:
    """Raises: Broken if any step failed."""
    if probe.failures:
        raise Broken("no failure", probe.state())


async def _round(probe: Probe, arrays: List[Array]) -> None:
    program = Steps()
    for number, array in enumerate(arrays, 1):
        program.put(number, array)
    first = len(program.steps)
    for number in range(1, len(arrays) + 1):
        program.get(number)
    asked = await probe.run_program(program)
    none_failed(probe)
    for at, array in enumerate(arrays):
        same(probe.values.get((asked, first + at)), array)


def _put_and_get(descr: str) -> Run:
    async def run(target: Target) -> None:
        if descr not in target.dtypes:
            raise Skip("the peer does not list this dtype")
        async with target.link() as probe:
            await _round(probe, [ramp(descr, *shape) for shape in ((), (1,), (7,), (2, 3), (0,), (2, 0, 3))])

    return run


for _descr in tensor.DTYPES:
    _expected = "Tensors of this dtype, 0-d and empty ones among them, come back bit for bit."
    CASES.append(Case(1, f"put and get {_descr}", _expected, _put_and_get(_descr)))


@check
async def many_dimensions(target: Target) -> None:
    """A tensor may have 32 dimensions, and no more: one of 33 is refused, and what follows is run."""
    async with target.link() as probe:
        await _round(probe, [ramp("|u1", *([1] * 30), 2, 3)])
        program = Steps()
        program.put(50, np.zeros(1, "u1"))
        program.steps[0][3]["shape"] = [1] * 33
        program.put(51, ramp("|u1", 3))
        program.get(51)
        asked = await probe.run_program(program)
        if probe.failure(asked, 0) is None:
            raise Broken("a failure of the put with 33 dimensions", "none")
        same(probe.values.get((asked, 2)), ramp("|u1", 3))


@check
async def bad_puts(target: Target) -> None:
    """A put of an unknown dtype, of a negative dimension, or of bytes that are not there fails alone."""
    async with target.link() as probe:
        program = Steps()
        for number, change in enumerate(
            [{"dtype": "|O"}, {"dtype": ">f4"}, {"shape": [-1]}, {"shape": [9]}, {"at": 4}, {"at": 1 << 40}], 1
        ):
            program.put(number, ramp("<f4", 2))
            program.steps[-1][3].update(change)
        good = program.put(50, ramp("<f4", 2))
        program.get(50)
        asked = await probe.run_program(program)
        for step in range(good):
            if probe.failure(asked, step) is None:
                raise Broken(f"a failure of {program.steps[step]}", "none")
        same(probe.values.get((asked, good + 1)), ramp("<f4", 2))


@check
async def get_in_a_later_request(target: Target) -> None:
    """An object stays until it is deleted, and can be got as often as one likes."""
    async with target.link() as probe:
        await _round(probe, [ramp("<f4", 3)])
        program = Steps()
        program.get(1)
        program.get(1)
        asked = await probe.run_program(program)
        for step in (0, 1):
            same(probe.values.get((asked, step)), ramp("<f4", 3))


@check
async def unknown_object(target: Target) -> None:
    """A get of an object that was never put fails with UnknownObject, of op get, and is its own cause."""
    async with target.link() as probe:
        program = Steps()
        program.get(7)
        asked = await probe.run_program(program)
        failure = failed(probe, asked, 0, "UnknownObject")
        if (failure.op, failure.cause_id, failure.cause_step) != ("get", asked, 0):
            raise Broken(f"op get, cause {asked}.0", f"op {failure.op}, cause {failure.cause_id}.{failure.cause_step}")
        if not failure.message:
            raise Broken("a message", "none")


@check
async def delete(target: Target) -> None:
    """A deleted object is unknown; a delete may name several; one of an unknown object fails with UnknownObject."""
    async with target.link() as probe:
        await _round(probe, [ramp("<f4", 3), ramp("<f4", 2), ramp("<f4", 1)])
        program = Steps()
        program.add("delete", 0, [1, 2])
        program.get(1)
        program.get(3)
        program.add("delete", 0, [1])
        asked = await probe.run_program(program)
        if probe.failure(asked, 0) is not None:
            raise Broken("a delete of two objects", probe.state())
        failed(probe, asked, 1, "UnknownObject")
        failed(probe, asked, 3, "UnknownObject")
        same(probe.values.get((asked, 2)), ramp("<f4", 1))


@check
async def written_once(target: Target) -> None:
    """A put under an id that is taken fails with Refused, and the object stays as it was."""
    async with target.link() as probe:
        await _round(probe, [ramp("<f4", 3)])
        program = Steps()
        program.put(1, ramp("<f8", 2))
        program.get(1)
        asked = await probe.run_program(program)
        failed(probe, asked, 0, "Refused")
        same(probe.values.get((asked, 1)), ramp("<f4", 3))


@check
async def objects_have_owners(target: Target) -> None:
    """An object is seen by the driver that put it and by no other."""
    async with target.link() as probe, target.link() as other:
        await _round(probe, [ramp("<f4", 3)])
        program = Steps()
        program.get(1)
        asked = await other.run_program(program)
        failed(other, asked, 0, "UnknownObject")


@check
async def released_by_goodbye(target: Target) -> None:
    """After a driver's goodbye its objects are gone, also for a new conversation of the same incarnation."""
    async with target.link() as probe:
        await _round(probe, [ramp("<f4", 3)])
        probe.send(frame(wire.GOODBYE, ["", "enough"]))
        await probe.alive()
        probe.begin_anew()
        probe.resume()
        await probe.until(lambda: probe.resumed, "a resume in answer to the resume")
        program = Steps()
        program.get(1)
        asked = await probe.run_program(program)
        failed(probe, asked, 0, "UnknownObject")


@check
async def bad_steps(target: Target) -> None:
    """Steps that are no steps fail one by one with Refused; the others of the program are run."""
    async with target.link() as probe:
        program = Steps()
        bad: List[Any] = [7, [], ["get"], ["get", 0], ["get", 0, 1], [1, 0, []], ["get", 0, [-1]], ["get", 0, ["x"]]]
        program.steps += bad
        program.put(1, ramp("<f4", 2))
        program.get(1)
        asked = await probe.run_program(program)
        for step in range(len(bad)):
            failed(probe, asked, step, "Refused")
        same(probe.values.get((asked, len(bad) + 1)), ramp("<f4", 2))


@check
async def unknown_op(target: Target) -> None:
    """A step of an op that the peer does not have fails with UnknownOp; the others of the program are run."""
    async with target.link() as probe:
        program = Steps()
        program.add("no.such.op", 5, [])
        program.put(1, ramp("<f4", 2))
        program.get(1)
        asked = await probe.run_program(program)
        failed(probe, asked, 0, "UnknownOp")
        same(probe.values.get((asked, 2)), ramp("<f4", 2))
