"""Level 3, states: what plans keep between calls, read and bound anew, in the order of the lane; calls cancelled."""

from __future__ import annotations

from typing import Any, List, Sequence

import numpy as np

from .. import wire
from .chunks import announce, send_all
from .objects import failed, none_failed, same
from .plan_faults import refused
from .plans import ONE, PLAN, TWO, X, Y, alone, beginning, listed, packed
from .probe import Broken, Probe
from .steps import Steps, frame
from .target import Case, Target, registrar

CASES: List[Case] = []
check = registrar(3, CASES)

#: Adds its input to the state's ``w`` and gives the sum; ``v`` it only reads.
TRAIN = packed(
    ["add", [3], [2, 0]],
    ["add", [4], [3, 1]],
    inputs=1,
    state=["v", "w"],
    outputs=[4],
    updates={"w": 3},
)
STATE = 5
WITH_STATE = {"state": True}


def with_state(*plans: bytes) -> Steps:
    """As ``beginning``, with the first plan ``TRAIN`` and its state: v is X, w is Y."""
    program = beginning(TRAIN, *plans)
    program.add("state", STATE, [ONE, TWO], {"name": "model", "names": ["v", "w"]})
    return program


def read(program: Steps, out: int, name: str = "w") -> int:
    """Append a read of one array of the state, and a get of it; the get's index."""
    program.add("read", [out], [STATE], {"names": [name]})
    return program.get(out)


def train(program: Steps, out: int, number: int) -> int:
    """Append a call of ``TRAIN`` with that input; its index."""
    return program.add("call", [out], [PLAN, STATE, number], WITH_STATE)


def came(probe: Probe, number: int, steps: Sequence[int], wanted: Sequence[Any]) -> None:
    """Raises: Broken unless these values came."""
    for step, array in zip(steps, wanted):
        same(probe.values.get((number, step)), array)


@check
async def a_state_is_read_and_updated(target: Target) -> None:
    """A call sees the state as those before it left it; a read gives the arrays as they are then, and they stay."""
    target.need("add")
    async with target.link() as probe:
        program = with_state()
        program.add("delete", 0, [TWO])
        before = read(program, 20)
        train(program, 30, ONE)
        train(program, 31, ONE)
        after = read(program, 21)
        results = [program.get(30), program.get(31)]
        program.add("read", [22, 23], [STATE], {"names": ["w", "v"]})
        both = [program.get(22), program.get(23)]
        again = program.get(20)
        asked = await probe.run_program(program)
        none_failed(probe)
        came(probe, asked, [before, after, *results], [Y, Y + X + X, Y + X + X, Y + X + X + X])
        came(probe, asked, [*both, again], [Y + X + X, X, Y])


@check
async def a_state_is_listed_and_deleted(target: Target) -> None:
    """A state has a version, which begins at 1 and counts updates, by calls and by bind; deleted it is unknown."""
    target.need("add")
    async with target.link() as probe:
        program = with_state()
        train(program, 30, ONE)
        program.add("bind", [], [STATE, ONE], {"names": ["w"]})
        step = program.add("plans", 0, [])
        bound = read(program, 20)
        asked = await probe.run_program(program)
        none_failed(probe)
        same(probe.values.get((asked, bound)), X)
        plan = {"id": PLAN, "kind": "plan", "state": ["v", "w"], "inputs": 1, "calls": 1}
        arrays = {"v": ["float32", [3]], "w": ["float32", [3]]}
        state = {"id": STATE, "kind": "state", "name": "model", "version": 3, "arrays": arrays}
        listed(probe, asked, step, plan, state)
        program = Steps()
        program.add("delete", 0, [STATE])
        bad = [train(program, 31, ONE), program.add("read", [21], [STATE], {"names": ["w"]})]
        bad.append(program.add("bind", [], [STATE, ONE], {"names": ["w"]}))
        got = program.get(ONE)
        asked = await probe.run_program(program)
        for one in bad:
            failed(probe, asked, one, "UnknownObject")
        alone(probe, asked, bad, got, X)


@check
async def binds_are_all_or_none(target: Target) -> None:
    """A bind of another name, dtype or shape, or of names that do not match the arrays, is Refused: none is bound."""
    target.need("add")
    async with target.link() as probe:
        program = with_state()
        program.put(6, np.ones(2, "<f4"))
        bad = [
            program.add("bind", [], [STATE, ONE, ONE], {"names": ["w", "u"]}),
            program.add("bind", [], [STATE, ONE, 6], {"names": ["w", "v"]}),
            program.add("bind", [], [STATE, ONE], {"names": ["w", "v"]}),
            program.add("bind", [], [STATE, ONE, ONE], {"names": ["w", "w"]}),
            program.add("bind", [], [STATE, ONE]),
            program.add("bind", [], [ONE, ONE], {"names": ["w"]}),
        ]
        if "<f8" in target.dtypes:
            program.put(7, np.ones(3, "<f8"))
            bad.append(program.add("bind", [], [STATE, 7], {"names": ["w"]}))
        got = read(program, 20)
        asked = await probe.run_program(program)
        for step in bad:
            failed(probe, asked, step, "Refused")
        alone(probe, asked, bad, got, Y)


@check
async def states_that_cannot_be(target: Target) -> None:
    """A state without a name for each array, a read of what it has not, a call without the state it needs: Refused."""
    target.need("add")
    async with target.link() as probe:
        program = with_state()
        program.add("state", 6, [ONE], {"name": "small", "names": ["v"]})
        bad = [
            program.add("state", 10, [ONE], {"name": "s", "names": ["v", "w"]}),
            program.add("state", 11, [ONE, TWO], {"name": "s", "names": ["v", "v"]}),
            program.add("state", 12, [ONE], {"name": 3, "names": ["v"]}),
            program.add("state", 13, [ONE], {"name": "s"}),
            program.add("state", STATE, [ONE], {"name": "s", "names": ["v"]}),
            program.add("read", [14], [STATE], {"names": ["u"]}),
            program.add("read", [15, 16], [STATE], {"names": ["w"]}),
            program.add("read", [17], [ONE], {"names": ["w"]}),
            program.add("call", [18], [PLAN, ONE]),
            program.add("call", [19], [PLAN, ONE, ONE], WITH_STATE),
            program.add("call", [20], [PLAN, 6, ONE], WITH_STATE),
            program.get(STATE),
        ]
        got = read(program, 30)
        asked = await probe.run_program(program)
        for step in bad:
            failed(probe, asked, step, "Refused")
        alone(probe, asked, bad, got, Y)


@check
async def a_failed_call_leaves_the_state(target: Target) -> None:
    """A call that fails, at its last step too, or whose input is poisoned, updates nothing, and the next one runs."""
    target.need("add")
    broken = packed(["add", [2], [1, 1]], ["add", [3], [2, 0]], inputs=1, state=["w"], outputs=[3], updates={"w": 2})
    async with target.link() as probe:
        program = with_state(broken)
        program.put(6, np.ones(2, "<f4"))
        bad = [
            program.add("call", [30], [PLAN + 1, STATE, 6], WITH_STATE),
            program.add("call", [31, 32], [PLAN, STATE, ONE], WITH_STATE),
            program.add("add", 33, [ONE, 900]),
        ]
        train(program, 34, 33)
        unchanged = read(program, 20)
        train(program, 35, ONE)
        got = read(program, 21)
        asked = await probe.run_program(program)
        failed(probe, asked, bad[0], "OpFailed", "ValueError")
        same(probe.values.get((asked, unchanged)), Y)
        alone(probe, asked, bad, got, Y + X)


@check
async def an_update_keeps_dtype_and_shape(target: Target) -> None:
    """A call that would give a name of the state another shape fails as a whole."""
    target.need("add")
    async with target.link() as probe:
        program = with_state()
        program.put(6, np.ones((2, 3), "<f4"))
        bad = [train(program, 30, 6), program.get(30)]
        got = read(program, 20)
        asked = await probe.run_program(program)
        for step in bad:
            refused(probe, asked, step, "Refused", "OpFailed")
        alone(probe, asked, bad, got, Y)


@check
async def order_while_an_input_arrives(target: Target) -> None:
    """Calls, reads and binds of one state keep their order while a call waits for its input; others go on."""
    target.need("add")
    z = np.array([64, 128, 256], "<f4")
    async with target.link() as probe:
        await probe.run_program(with_state())
        number = announce(probe, z, 6)
        program = Steps()
        train(program, 30, 6)
        after = read(program, 20)
        waits = probe.ask(program)
        program = Steps()
        program.add("bind", [], [STATE, ONE], {"names": ["w"]})
        bound = read(program, 21)
        last = probe.ask(program)
        program = Steps()
        program.add("call", [40], [PLAN + 1, ONE, TWO])
        got = program.get(ONE)
        free = await probe.run_program(program)
        same(probe.values.get((free, got)), X)
        if probe.is_answered(waits) or probe.is_answered(last):
            raise Broken(f"{waits} and {last} to wait for object 6", str(probe.order))
        send_all(probe, number, 0, z)
        await probe.answered(waits)
        await probe.answered(last)
        failed(probe, free, 0, "UnknownObject")
        same(probe.values.get((waits, after)), Y + z)
        same(probe.values.get((last, bound)), X)


@check
async def cancel_a_call(target: Target) -> None:
    """A call that waits can be cancelled: its outs are poisoned, the state stays, and what waited behind it is run."""
    target.need("add")
    async with target.link() as probe:
        await probe.run_program(with_state())
        number = announce(probe, X, 6)
        program = Steps()
        bad = [train(program, 30, 6), program.get(30)]
        cancelled = probe.ask(program)
        program = Steps()
        train(program, 31, ONE)
        got = read(program, 20)
        after = probe.ask(program)
        probe.send(frame(wire.CANCEL, [0, 0], number=cancelled))
        send_all(probe, number, 0, X)
        await probe.answered(after)
        await probe.answered(cancelled)
        for step in bad:
            failed(probe, cancelled, step, "Cancelled")
        alone(probe, after, [], got, Y + X)
