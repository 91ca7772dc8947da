"""Level 2: ops, promotion, literals, errors that flow, programs of any length, names before results, info."""

from __future__ import annotations

import itertools
from typing import Any, Dict, List

import numpy as np

from .. import ops, tensor
from ..tensor import Array
from .objects import failed, none_failed, ramp, same
from .probe import Broken, Probe
from .samples import CLOSE, MAGNITUDE, SAMPLES, SHAPE, Sample
from .steps import Steps
from .target import Case, Run, Skip, Target, registrar

CASES: List[Case] = []
check = registrar(2, CASES)

#: Relative tolerance of results that are "close", by the precision of their dtype.
TOLERANCE = {"<f4": 1e-5, "<c8": 1e-5, "<f8": 1e-10, "<c16": 1e-10}


def agree(found: Any, wanted: Array, compare: str) -> None:
    """Raises: Broken unless a result is what it should be."""
    if not isinstance(found, np.ndarray) or (found.dtype, found.shape) != (wanted.dtype, wanted.shape):
        said = f"{found.dtype} {found.shape}" if isinstance(found, np.ndarray) else type(found).__name__
        raise Broken(f"{wanted.dtype} {wanted.shape}", said)
    if compare == SHAPE:
        return
    tolerance = TOLERANCE.get(tensor.descriptor(wanted.dtype), 0.0) if compare in (CLOSE, MAGNITUDE) else 0.0
    one, other = (np.abs(found), np.abs(wanted)) if compare == MAGNITUDE else (found, wanted)
    if not np.allclose(one, other, rtol=tolerance, atol=tolerance, equal_nan=wanted.dtype.kind in "fc"):
        raise Broken(str(wanted.tolist()), str(found.tolist())[:200])


def expected(sample: Sample) -> List[Array]:
    """The results of a sample call."""
    return [np.asarray(array) for array in ops.run(sample.op, sample.inputs, sample.params)]


async def compute(probe: Probe, sample: Sample) -> None:
    """Run a sample call at the peer. Raises: Broken unless its results are what they should be."""
    wanted, program = expected(sample), Steps()
    base = 10 * (probe.last_id + 1)
    ids = list(range(base, base + len(sample.inputs)))
    for number, array in zip(ids, sample.inputs):
        program.put(number, array)
    outs = list(range(base + len(ids), base + len(ids) + len(wanted)))
    program.add(sample.op, outs[0] if len(outs) == 1 else outs, ids, sample.params)
    gets = [program.get(out) for out in outs]
    asked = await probe.run_program(program)
    none_failed(probe)
    for step, array in zip(gets, wanted):
        agree(probe.values.get((asked, step)), array, sample.compare)


def _op(op: str) -> Run:
    async def run(target: Target) -> None:
        if op not in target.ops:
            raise Skip("the peer does not list this op")
        async with target.link() as probe:
            for sample in (s for s in SAMPLES if s.op == op):
                used = {tensor.descriptor(a.dtype) for a in (*sample.inputs, *expected(sample))}
                if used <= set(target.dtypes):
                    try:
                        await compute(probe, sample)
                    except Broken as broken:
                        dtypes = ", ".join(str(a.dtype) for a in sample.inputs)
                        raise Broken(f"{broken.expected} of ({dtypes}) {sample.params or ''}", broken.found) from None

    return run


for _name in sorted({sample.op for sample in SAMPLES}):
    CASES.append(Case(2, f"op {_name}", "The results of the sample calls, dtype and shape included.", _op(_name)))


@check
async def ops_are_known(target: Target) -> None:
    """Every op that the peer lists is one of docs/protocol.md."""
    strange = sorted(set(target.ops) - set(ops.OPS))
    if strange or not target.ops:
        raise Broken("a list of ops of the protocol", f"also {', '.join(strange)}" if strange else "none")


@check
async def promotion(target: Target) -> None:
    """Two dtypes meet as the table says, a 0-d array like any other; uint64 with a signed integer is an error."""
    target.need("where", dtypes=("|b1",))
    async with target.link() as probe:
        program = Steps()
        program.put(1, np.array([True, False]))
        ids = {descr: number for number, descr in enumerate(target.dtypes, 2)}
        for descr, number in ids.items():
            program.put(number, np.ones((), descr))
            program.put(number + 20, np.zeros(2, descr))
        wanted: Dict[int, Any] = {}
        for place, (one, other) in enumerate(itertools.product(ids, ids), 100):
            program.add("where", place, [1, ids[one], ids[other] + 20])
            wanted[program.get(place)] = (one, other)
        asked = await probe.run_program(program)
        for step, pair in wanted.items():
            _check_pair(probe, asked, step, *pair)


def _check_pair(probe: Probe, asked: int, step: int, one: str, other: str) -> None:
    try:
        wanted = ops.result_type(np.dtype(one), np.dtype(other))
    except TypeError:
        failed(probe, asked, step, "OpFailed", "TypeError")
        return
    found = probe.values.get((asked, step))
    if not isinstance(found, np.ndarray) or found.dtype != wanted:
        failure = probe.failure(asked, step)
        said = found.dtype if isinstance(found, np.ndarray) else failure.message if failure else None
        raise Broken(f"{one} with {other}: {tensor.descriptor(wanted)}", f"{said}")


_LITERALS = [
    ("|b1", True), ("|i1", -128), ("<i8", -(1 << 63)), ("<u8", (1 << 64) - 1), ("<f4", 0.5), ("<f8", 1e300),
    ("<f4", float("nan")), ("<f8", float("-inf")), ("<c8", [1.0, -2.0]), ("<c16", [0.0, 1e300]), ("<f8", 3), ("<i4", 0),
]  # fmt: skip


@check
async def literals(target: Target) -> None:
    """A literal is a 0-d array of the dtype that it names."""
    target.need("positive", "logical_not", dtypes=())
    async with target.link() as probe:
        program, wanted = Steps(), {}
        for number, (descr, value) in enumerate(_LITERALS, 1):
            if descr in target.dtypes:
                array = np.array(complex(*value) if type(value) is list else value, descr)
                array = np.logical_not(array) if descr == "|b1" else array
                program.add("logical_not" if descr == "|b1" else "positive", number, [[descr, value]])
                wanted[program.get(number)] = np.asarray(array)
        asked = await probe.run_program(program)
        none_failed(probe)
        for step, array in wanted.items():
            same(probe.values.get((asked, step)), array)


@check
async def bad_literals(target: Target) -> None:
    """A literal of an unknown dtype or of no number fails with Refused."""
    target.need("positive")
    async with target.link() as probe:
        program = Steps()
        program.steps += [
            ["positive", 1, [bad]] for bad in ([], ["<f4"], ["|O", 1], ["<f4", "1"], ["<c8", 1], ["<f4", None])
        ]
        asked = await probe.run_program(program)
        for step in range(len(program.steps)):
            failed(probe, asked, step, "Refused")


@check
async def names_before_results(target: Target) -> None:
    """Steps name results that are not made yet, in one program and in requests sent together."""
    target.need("add", "multiply")
    async with target.link() as probe:
        program = Steps()
        program.put(1, np.full(3, 2, "<f4"))
        program.add("add", 2, [1, 1])
        program.add("multiply", 3, [2, 1])
        probe.ask(program)
        for number in range(4, 24):
            program = Steps()
            program.add("add", number, [number - 1, 1])
            probe.ask(program)
        program = Steps()
        program.get(23)
        asked = await probe.run_program(program)
        same(probe.values.get((asked, 0)), np.full(3, 48, "<f4"))


@check
async def a_thousand_steps(target: Target) -> None:
    """A program of 1,000 steps is run as 1,000 programs of one; each of 1,000 values is answered."""
    target.need("add")
    async with target.link() as probe:
        program = Steps()
        program.put(1, np.ones(3, "<f4"))
        for number in range(2, 1000):
            program.add("add", number, [number - 1, 1])
        program.get(999)
        asked = await probe.run_program(program)
        same(probe.values.get((asked, 999)), np.full(3, 999, "<f4"))
        program = Steps()
        for number in range(1, 1000):
            program.get(number)
        asked = await probe.run_program(program)
        for step in range(999):
            same(probe.values.get((asked, step)), np.full(3, step + 1, "<f4"))


@check
async def poison_flows(target: Target) -> None:
    """A failed step poisons its result; what uses it is not run, and a get of that tells the first cause."""
    target.need("add", "matmul")
    async with target.link() as probe:
        program = Steps()
        program.put(1, ramp("<f4", 3))
        program.put(2, ramp("<f4", 4))
        bad = program.add("matmul", 3, [1, 2])
        program.add("add", 4, [3, 1])
        program.add("add", 5, [1, 1])
        got = program.get(4)
        good = program.get(5)
        asked = await probe.run_program(program)
        first = failed(probe, asked, bad, "OpFailed", "ValueError")
        _check_cause(probe, asked, got, first.message, (asked, bad))
        if probe.failure(asked, bad + 1) is not None:
            raise Broken("no failure of a step that was skipped and returns nothing", probe.state())
        if probe.values.get((asked, good)) is None:
            raise Broken("the value of a step beside the failure", "none")
        later = Steps()
        later.get(3)
        later.add("delete", 0, [3, 4])
        later.get(3)
        again = await probe.run_program(later)
        _check_cause(probe, again, 0, first.message, (asked, bad))
        failed(probe, again, 2, "UnknownObject")
        if probe.failure(again, 1) is not None:
            raise Broken("a delete of poisoned objects", probe.state())


def _check_cause(probe: Probe, number: int, step: int, message: str, cause: Any) -> None:
    failure = failed(probe, number, step, "OpFailed", "ValueError")
    if (failure.cause_id, failure.cause_step) != cause or (failure.op, failure.message) != ("matmul", message):
        raise Broken(f"the failure of matmul, cause {cause}", f"{failure}")


@check
async def bad_calls(target: Target) -> None:
    """A wrong number of inputs or outputs, a wrong parameter, an unknown input: each fails alone."""
    target.need("add", "sum")
    async with target.link() as probe:
        program = Steps()
        program.put(1, ramp("<f4", 3))
        bad = [
            program.add("add", 2, [1]),
            program.add("add", 3, [1, 1, 1]),
            program.add("add", [4, 5], [1, 1]),
            program.add("add", 6, [1, 99]),
            program.add("sum", 7, [1], {"axis": 5}),
            program.add("sum", 8, [1], {"axis": "x"}),
            program.add("sum", 9, [1], {"nonsense": 1}),
            program.add("add", 1, [1, 1]),
        ]
        program.add("add", 10, [1, 1])
        got = program.get(10)
        asked = await probe.run_program(program)
        for step in bad:
            if probe.failure(asked, step) is None:
                raise Broken(f"a failure of {program.steps[step]}", "none")
        if len(probe.failures) != len(bad) or probe.values.get((asked, got)) is None:
            raise Broken("the other steps run", probe.state())
        failed(probe, asked, bad[3], "UnknownObject")
        failed(probe, asked, bad[7], "Refused")


@check
async def info(target: Target) -> None:
    """info tells dtype, shape and bytes of an object, in a document."""
    async with target.link() as probe:
        program = Steps()
        program.put(1, ramp("<f4", 2, 3))
        program.add("info", 0, [1])
        program.add("info", 0, [9])
        asked = await probe.run_program(program)
        found = probe.values.get((asked, 1))
        wanted = {"dtype": "<f4", "shape": [2, 3], "nbytes": 24}
        if not isinstance(found, dict) or {key: found.get(key) for key in wanted} != wanted:
            raise Broken(repr(wanted), repr(found)[:200])
        failed(probe, asked, 2, "UnknownObject")


@check
async def tag_and_search(target: Target) -> None:
    """A tagged object is found by its name and tags, under an id of the driver's choice; or both steps are unknown."""
    async with target.link() as probe:
        program = Steps()
        program.put(1, ramp("<f4", 3))
        program.add("tag", 0, [1], {"name": "conform", "tags": ["a", "b"]})
        program.add("search", 0, [], {"query": ["conform", "b"], "base": 50, "most": 5})
        program.get(50)
        asked = await probe.run_program(program)
        first = probe.failure(asked, 1)
        if first is not None and first.code == "UnknownOp":
            raise Skip("the peer has no tags")
        found = probe.values.get((asked, 2))
        if not isinstance(found, list) or len(found) != 1 or found[0].get("id") != 50:
            raise Broken("one object, with the id 50", repr(found)[:200])
        same(probe.values.get((asked, 3)), ramp("<f4", 3))
