"""Level 3, plans: stored, called, listed and deleted."""

from __future__ import annotations

from typing import Any, Dict, List, Sequence

import msgpack
import numpy as np

from .objects import failed, none_failed, same
from .probe import Broken, Probe
from .steps import Steps
from .target import Case, Target, registrar

CASES: List[Case] = []
check = registrar(3, CASES)

X, Y = np.array([1, 2, 4], "<f4"), np.array([8, 16, 32], "<f4")
#: The ids under which the checks keep their two tensors, and the first plan.
ONE, TWO, PLAN = 1, 2, 3
HEAD = {"name": "conform", "version": 1, "inputs": 2, "state": [], "constants": 0, "outputs": [2], "updates": {}}
ADD = ["add", [2], [0, 1]]


def packed(*steps: Any, **head: Any) -> bytes:
    """The packed form of a plan; of two inputs and one result, the first step's, unless said otherwise."""
    return b"".join([msgpack.packb(part) for part in ({**HEAD, "steps": len(steps), **head}, *steps)])


def store(program: Steps, out: int, data: bytes, constants: Sequence[int] = ()) -> int:
    """Append what stores a plan, its packed form under an id of its own; the index of that step."""
    document = 1000 + out
    program.put(document, np.frombuffer(data, np.uint8))
    return program.add("plan", out, [document, *constants])


def beginning(*plans: bytes) -> Steps:
    """A program that puts both tensors and stores plans, the first of them under ``PLAN``."""
    program = Steps()
    program.put(ONE, X)
    program.put(TWO, Y)
    for out, data in enumerate(plans, PLAN):
        store(program, out, data)
    return program


def alone(probe: Probe, number: int, steps: Sequence[int], got: int, wanted: Any) -> None:
    """Raises: Broken unless just these steps failed, and the value of step ``got`` came."""
    told = [failure.step for failure in probe.failures if failure.id == number]
    if sorted(told) != sorted(steps):
        raise Broken(f"failures of the steps {sorted(steps)}", f"{sorted(told)}; {probe.state()}")
    same(probe.values.get((number, got)), wanted)


@check
async def a_plan_is_called(target: Target) -> None:
    """A plan stored once is called again and again, with inputs of any shape and dtype that its ops take."""
    target.need("add", "multiply")
    async with target.link() as probe:
        program = beginning(packed(ADD, ["multiply", [3], [2, 0]], outputs=[3]))
        program.add("call", [10], [PLAN, ONE, TWO])
        gets = {program.get(10): (X + Y) * X}
        asked = await probe.run_program(program)
        program = Steps()
        pairs = [(np.ones((2, 3), "<f4"), X), (np.array(3, "<f4"), np.array(4, "<f4")), (X, X)]
        if "<i4" in target.dtypes:
            pairs.append((np.array([5, 6], "<i4"), np.array([7], "<i4")))
        later = {}
        for at, (one, two) in enumerate(pairs, 2):
            program.put(10 * at, one)
            program.put(10 * at + 1, two)
            program.add("call", [10 * at + 2], [PLAN, 10 * at, 10 * at + 1])
            later[program.get(10 * at + 2)] = (one + two) * one
        again = await probe.run_program(program)
        none_failed(probe)
        for number, wanted in ((asked, gets), (again, later)):
            for step, array in wanted.items():
                same(probe.values.get((number, step)), np.asarray(array))


@check
async def several_outputs(target: Target) -> None:
    """A call gives what the plan lists, in that order: results, an input as it is, one register twice, or nothing."""
    target.need("add", "multiply")
    steps = [ADD, ["multiply", [3], [2, 2]]]
    async with target.link() as probe:
        program = beginning(packed(*steps, outputs=[3, 0, 2, 3]), packed(*steps, outputs=[]))
        program.add("call", [10, 11, 12, 13], [PLAN, ONE, TWO])
        program.add("call", [], [PLAN + 1, ONE, TWO])
        gets = [program.get(out) for out in (10, 11, 12, 13)]
        asked = await probe.run_program(program)
        none_failed(probe)
        for step, wanted in zip(gets, ((X + Y) * (X + Y), X, X + Y, (X + Y) * (X + Y))):
            same(probe.values.get((asked, step)), wanted)


@check
async def constants_and_literals(target: Target) -> None:
    """A plan keeps its constants when the tensors that they came from are deleted, and has literals as any step."""
    target.need("add", "multiply")
    steps = [["multiply", [2], [0, 1]], ["add", [3], [2, ["<f4", 0.5]]]]
    async with target.link() as probe:
        program = beginning()
        store(program, PLAN, packed(*steps, inputs=1, constants=1, outputs=[3]), [TWO])
        program.add("delete", 0, [TWO, 1000 + PLAN])
        program.add("call", [10], [PLAN, ONE])
        got = program.get(10)
        asked = await probe.run_program(program)
        none_failed(probe)
        same(probe.values.get((asked, got)), X * Y + np.float32(0.5))


@check
async def calls_in_a_chain(target: Target) -> None:
    """Calls name the results of calls before them, in one program and in requests sent together."""
    target.need("add")
    async with target.link() as probe:
        program = beginning(packed(ADD))
        program.add("call", [10], [PLAN, ONE, TWO])
        program.add("call", [11], [PLAN, 10, 10])
        probe.ask(program)
        for number in range(12, 32):
            program = Steps()
            program.add("call", [number], [PLAN, number - 1, TWO])
            probe.ask(program)
        program = Steps()
        program.get(31)
        asked = await probe.run_program(program)
        none_failed(probe)
        same(probe.values.get((asked, 0)), (X + Y) * 2 + Y * 20)


@check
async def plans_are_listed_and_deleted(target: Target) -> None:
    """The driver's own plans are listed with what they count, and no others; a deleted one is unknown."""
    target.need("add")
    async with target.link() as probe, target.link() as other:
        program = beginning(packed(ADD, version=7))
        program.add("call", [10], [PLAN, ONE, TWO])
        program.add("call", [11], [PLAN, ONE, TWO])
        step = program.add("plans", 0, [])
        asked = await probe.run_program(program)
        none_failed(probe)
        wanted = {"id": PLAN, "kind": "plan", "name": "conform", "version": 7, "steps": 1, "inputs": 2, "state": []}
        listed(probe, asked, step, {**wanted, "calls": 2})
        program = Steps()
        program.add("plans", 0, [])
        asked = await other.run_program(program)
        listed(other, asked, 0)
        program = Steps()
        program.add("delete", 0, [PLAN])
        program.add("plans", 0, [])
        program.add("call", [12], [PLAN, ONE, TWO])
        got = program.get(11)
        asked = await probe.run_program(program)
        listed(probe, asked, 1)
        failed(probe, asked, 2, "UnknownObject")
        alone(probe, asked, [2], got, X + Y)


def listed(probe: Probe, number: int, step: int, *wanted: Dict[str, Any]) -> None:
    """Raises: Broken unless a list of plans has just these, with at least these keys and some bytes."""
    found = probe.values.get((number, step))
    if not isinstance(found, list) or len(found) != len(wanted):
        raise Broken(f"a list of {len(wanted)}", repr(found)[:200])
    for one, other in zip(found, wanted):
        if not isinstance(one, dict) or {key: one.get(key) for key in other} != other:
            raise Broken(repr(other), repr(one)[:300])
        if type(one.get("nbytes")) is not int or one["nbytes"] < 0:
            raise Broken("bytes", repr(one.get("nbytes")))
