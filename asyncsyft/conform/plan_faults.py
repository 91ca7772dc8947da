"""Level 3, faults: what is no plan is refused and not stored, what cannot be called fails alone."""

from __future__ import annotations

from typing import Any, List, Tuple

import msgpack
import numpy as np

from .. import wire
from .objects import failed
from .plans import ADD, ONE, PLAN, TWO, X, Y, alone, beginning, packed, store
from .probe import Broken, Probe
from .steps import Steps
from .target import Case, Skip, Target, registrar

CASES: List[Case] = []
check = registrar(3, CASES)

#: Steps of one plan that a worker takes unless it says something else.
PLAN_STEPS = 1 << 14


def refused(probe: Probe, number: int, step: int, *codes: str) -> None:
    """Raises: Broken unless a step failed with one of these codes."""
    failure = probe.failure(number, step)
    if failure is None or failure.code not in codes:
        raise Broken(f"a failure {' or '.join(codes)} of step {number}.{step}", failure.code if failure else "none")


@check
async def plans_are_objects(target: Target) -> None:
    """A plan takes a free id like any object, and is no tensor: who wants one is Refused, and so is a tensor called."""
    target.need("add")
    async with target.link() as probe:
        program = beginning(packed(ADD))
        bad = [
            program.get(PLAN),
            program.add("info", 0, [PLAN]),
            program.add("add", 20, [PLAN, ONE]),
            program.add("call", [21], [PLAN, PLAN, ONE]),
            program.add("call", [22], [ONE, ONE, TWO]),
            program.add("call", [ONE], [PLAN, ONE, TWO]),
            store(program, ONE, packed(ADD)),
            program.add("plan", 23, [ONE]),
        ]
        program.add("call", [30], [PLAN, ONE, TWO])
        got = program.get(30)
        asked = await probe.run_program(program)
        for step in bad:
            failed(probe, asked, step, "Refused")
        alone(probe, asked, bad, got, X + Y)


@check
async def calls_that_do_not_fit(target: Target) -> None:
    """Too few or too many inputs or outs are Refused, an unknown plan or input is UnknownObject: each fails alone."""
    target.need("add")
    async with target.link() as probe:
        program = beginning(packed(ADD), packed(ADD, constants=1))
        unfit: List[Tuple[str, Any, List[int]]] = [
            ("Refused", [10], [PLAN, ONE]),
            ("Refused", [11], [PLAN, ONE, TWO, TWO]),
            ("Refused", [12, 13], [PLAN, ONE, TWO]),
            ("Refused", [], [PLAN, ONE, TWO]),
            ("UnknownObject", [14], [900, ONE, TWO]),
            ("UnknownObject", [15], [PLAN, ONE, 900]),
        ]
        bad = [program.add("call", outs, inputs) for _, outs, inputs in unfit]
        program.add("call", [30], [PLAN, ONE, TWO])
        got = program.get(30)
        asked = await probe.run_program(program)
        without_its_constant = 5  # the last step of the beginning
        for step, (code, _, _) in zip(bad, unfit):
            failed(probe, asked, step, code)
        failed(probe, asked, without_its_constant, "Refused")
        alone(probe, asked, [*bad, without_its_constant], got, X + Y)


@check
async def a_step_that_fails(target: Target) -> None:
    """A call fails as a whole; its failure names the step, as call/1/add, and whoever uses its outs is told so."""
    target.need("add", "multiply")
    async with target.link() as probe:
        program = beginning(packed(["multiply", [2], [0, 0]], ["add", [3], [2, 1]], outputs=[2, 3]))
        program.put(5, np.ones(2, "<f4"))
        bad = program.add("call", [10, 11], [PLAN, ONE, 5])
        program.add("add", 12, [10, ONE])
        poisoned = [program.get(11), program.get(12)]
        wrong = []
        if "|b1" in target.dtypes:
            program.put(6, np.array([True, False]))
            wrong.append(program.add("call", [20, 21], [PLAN, 6, 6]))
        program.add("call", [30, 31], [PLAN, ONE, TWO])
        got = program.get(31)
        asked = await probe.run_program(program)
        first = failed(probe, asked, bad, "OpFailed", "ValueError")
        for step in poisoned:
            failure = failed(probe, asked, step, "OpFailed", "ValueError")
            if (failure.op, failure.cause_step, failure.message) != ("call/1/add", bad, first.message):
                raise Broken(f"the failure of call/1/add, step {bad}", f"{failure}")
        for step in wrong:
            if failed(probe, asked, step, "OpFailed", "TypeError").op != "call/0/multiply":
                raise Broken("a failure of call/0/multiply", probe.state())
        alone(probe, asked, [bad, *poisoned, *wrong], got, X * X + Y)


@check
async def poison_flows_through_a_call(target: Target) -> None:
    """A call with a poisoned input is not run: it says nothing, its outs tell the first cause, and others go on."""
    target.need("add")
    async with target.link() as probe:
        program = beginning(packed(ADD))
        first = program.add("add", 10, [ONE, 900])
        program.add("call", [11], [PLAN, ONE, 10])
        program.add("call", [12], [PLAN, 11, 11])
        poisoned = program.get(12)
        program.add("call", [13], [PLAN, ONE, TWO])
        got = program.get(13)
        asked = await probe.run_program(program)
        failure = failed(probe, asked, poisoned, "UnknownObject")
        if (failure.op, failure.cause_id, failure.cause_step) != ("add", asked, first):
            raise Broken(f"op add, cause {asked}.{first}", f"{failure}")
        alone(probe, asked, [first, poisoned], got, X + Y)


#: What must be refused, by what is wrong with it.
NO_PLANS: List[Tuple[str, bytes]] = [
    ("nothing", b""),
    ("no map", msgpack.packb([1])),
    ("no msgpack", b"\xc1"),
    ("a length that lies", packed(steps=1) + b"\xdd\xff\xff\xff\xff"),
    ("lists without end", packed(steps=1) + b"\x91" * 2000),
    ("fewer steps than it says", packed(ADD, steps=2)),
    ("more steps than it says", packed(ADD, ["add", [3], [0, 1]], steps=1)),
    ("an input below nothing", packed(ADD, inputs=-1)),
    ("inputs without end", packed(ADD, inputs=1 << 40)),
    ("a name that is no text", packed(ADD, name=3)),
    ("an output never written", packed(ADD, outputs=[3])),
    ("an update of what is no state", packed(ADD, updates={"w": 2})),
    ("a register read before it is written", packed(["add", [2], [0, 2]])),
    ("a register that does not exist", packed(["add", [2], [0, 900]])),
    ("an input written", packed(["add", [1], [0, 1]])),
    ("a register written twice", packed(ADD, ADD)),
    ("a literal that is none", packed(["add", [2], [0, ["<f4", "1"]]])),
]


@check
async def what_is_no_plan(target: Target) -> None:
    """What names what does not exist, or is otherwise no plan, is Refused and not stored; the others are run."""
    target.need("add")
    async with target.link() as probe:
        program = beginning(packed(ADD))
        bad = [store(program, out, data) for out, (_, data) in enumerate(NO_PLANS, 10)]
        program.add("call", [90], [PLAN, ONE, TWO])
        got = program.get(90)
        count = program.add("plans", 0, [])
        asked = await probe.run_program(program)
        for step, (what, _) in zip(bad, NO_PLANS):
            failure = probe.failure(asked, step)
            if failure is None or failure.code != "Refused":
                raise Broken(f"{what}: Refused", failure.code if failure else "none")
        alone(probe, asked, bad, got, X + Y)
        if len(probe.values.get((asked, count)) or ()) != 1:
            raise Broken("one plan", repr(probe.values.get((asked, count)))[:200])


@check
async def ops_within_a_plan(target: Target) -> None:
    """An op that the peer does not have is UnknownOp; a plan holds array ops only, and can call no plan, nor itself."""
    target.need("add")
    async with target.link() as probe:
        program = beginning(packed(ADD))
        unknown = store(program, 10, packed(["no.such.op", [2], [0, 1]]))
        special = [
            store(program, out, packed([op, [2], [0, 1]]))
            for out, op in enumerate(("call", "plan", "get", "put", "delete", "bind"), 20)
        ]
        calls = [program.add("call", [40], [20, ONE, TWO]), program.get(40)]
        program.add("call", [90], [PLAN, ONE, TWO])
        got = program.get(90)
        asked = await probe.run_program(program)
        failed(probe, asked, unknown, "UnknownOp")
        for step in (*special, calls[1]):
            refused(probe, asked, step, "Refused", "UnknownOp")
        alone(probe, asked, [unknown, *special, calls[1]], got, X + Y)


@check
async def how_long_a_plan_may_be(target: Target) -> None:
    """A plan of limits.plan_steps steps is run, one more LimitExceeded; so is a call without room for its results."""
    target.need("add")
    limits = target.can.get("limits")
    most = limits.get("plan_steps", PLAN_STEPS) if isinstance(limits, dict) else PLAN_STEPS
    if type(most) is not int or most <= 0:
        raise Broken("a number of steps in can.limits", repr(most)[:60])
    chain = [["add", [2 + at], [1 + at, 0]] for at in range(most + 1)] if most <= 2 * PLAN_STEPS else []
    data = [packed(*chain[:steps], outputs=[1 + steps]) for steps in (most, most + 1)]
    if not chain or len(data[1]) > wire.CHUNK:
        raise Skip(f"a plan of {most} steps is long")
    async with target.link() as probe:
        program = beginning(data[0])
        program.put(5, np.zeros(1, "<f4"))
        program.put(6, np.ones(1, "<f4"))
        program.add("call", [10], [PLAN, 6, 5])
        got = program.get(10)
        asked = await probe.run_program(program)
        alone(probe, asked, [], got, np.array([most], "<f4"))
        program = Steps()
        long = store(program, 11, data[1])
        huge = []
        if "broadcast_to" in target.ops:
            store(program, 12, packed(["broadcast_to", [1], [0], {"shape": [1 << 36]}], ["add", [2], [1, 0]], inputs=1))
            huge.append(program.add("call", [13], [12, 5]))
        got = program.get(10)
        asked = await probe.run_program(program)
        for step in (long, *huge):
            failed(probe, asked, step, "LimitExceeded")
        alone(probe, asked, [long, *huge], got, np.array([most], "<f4"))
