"""The plans that other implementations rely on: what their packed forms say, what calls give, and what is refused."""

from __future__ import annotations

import io
import json
from pathlib import Path

import msgpack
import pytest

from asyncsyft import Plan, ops, program, tensor
from asyncsyft.conform.compute import agree
from asyncsyft.errors import AsyncSyftError, LimitExceeded, RemoteError, RemoteProtocolError
from asyncsyft.executor.plans import State, StoredPlan
from docs.vectors.generate.plain import array_from_json, array_to_json, to_json

FILE = Path(__file__).resolve().parents[2] / "docs" / "vectors" / "v1" / "plans.json"
PLANS = json.loads(FILE.read_text("utf-8"))


def vectors(key):
    listed = PLANS[key]
    return pytest.mark.parametrize("vector", listed, ids=[vector["name"] for vector in listed])


def arrays(listed):
    return [array_from_json(item) for item in listed]


def state_of(said):
    return None if said is None else State("model", {name: array_from_json(item) for name, item in said.items()})


def store(vector):
    data = program.unpack_plan(bytes.fromhex(vector["packed"]), PLANS["plan_steps"])
    return StoredPlan(data, arrays(vector.get("constants", ())))


def call(held, inputs, state):
    """The results of a call, as a worker makes it; the state is updated."""
    given = held.given(inputs, state)
    code = held.compile(given)
    if code.peak > PLANS["room"]:
        raise LimitExceeded("no room")
    registers = held.run(code, given, PLANS["room"])
    if state is not None:
        state.update({name: registers[place] for name, place in code.updates.items()})
    return [registers[place] for place in code.outputs]


def check_calls(vector, held):
    state = state_of(vector["state"])
    assert vector["calls"]
    for made in vector["calls"]:
        results = call(held, arrays(made["inputs"]), state)
        assert len(results) == len(made["outputs"])
        for found, wanted in zip(results, arrays(made["outputs"])):
            agree(found, wanted, vector["compare"])
        assert set(state.arrays if state else ()) == set(made["state"] or ())
        for name, said in (made["state"] or {}).items():
            agree(state.arrays[name], array_from_json(said), vector["compare"])


@vectors("vectors")
def test_a_packed_plan_says_what_stands_beside_it(vector):
    head, *steps = msgpack.Unpacker(io.BytesIO(bytes.fromhex(vector["packed"])))
    assert to_json(head) == vector["head"]
    assert to_json(steps) == vector["steps"]
    assert head["steps"] == len(steps)


@vectors("vectors")
def test_calls_give_what_stands_beside_them(vector):
    check_calls(vector, store(vector))


@vectors("invalid")
def test_what_is_not_stored(vector):
    with pytest.raises(RemoteError) as caught:
        store(vector)
    assert caught.value.code == vector["error"]


@vectors("failing")
def test_a_call_that_fails(vector):
    held, state = store(vector), state_of(vector["state"])
    before = dict(state.arrays) if state else {}
    with pytest.raises(RemoteError) as caught:
        call(held, arrays(vector["inputs"]), state)
    error = caught.value
    assert (error.code, error.kind or "", error.op or "call") == (vector["error"], vector["kind"], vector["op"])
    assert state is None or (state.arrays == before and state.version == 1)


@vectors("documents")
def test_a_plan_outside_the_wire(vector):
    says, ran = vector["says"], vector["plan"]
    plan = Plan.from_bytes(bytes.fromhex(vector["hex"]))
    [recorded] = plan.recorded
    assert (plan.name, plan.version, ["asyncsyft plan", 1]) == (says["name"], says["version"], says["format"])
    for key, specs in (("inputs", recorded.inputs), ("outputs", recorded.outputs)):
        assert [[tensor.descriptor(spec.dtype), list(spec.shape)] for spec in specs] == says[key]
    assert recorded.form == says["form"]
    assert recorded.data.pack().hex() == ran["packed"]
    assert [array_to_json(array) for array in recorded.constants] == ran["constants"]
    kept = plan.state and {name: array_to_json(array) for name, array in plan.state.arrays.items()}
    assert kept == ran["state"]
    assert plan.to_bytes().hex() == vector["hex"]
    check_calls(ran, StoredPlan(recorded.data, recorded.constants))


@vectors("no_documents")
def test_what_is_no_plan_outside_the_wire(vector):
    with pytest.raises(AsyncSyftError) as caught:
        Plan.from_bytes(bytes.fromhex(vector["hex"]))
    assert type(caught.value).__name__ == vector["error"] == RemoteProtocolError.__name__


def test_all_sorts_are_there():
    names = [vector["name"] for key in ("vectors", "invalid", "failing", "documents") for vector in PLANS[key]]
    assert len(set(names)) == len(names)
    assert {vector["error"] for vector in PLANS["invalid"]} == {"Refused", "UnknownOp", "LimitExceeded"}
    assert {vector["kind"] for vector in PLANS["failing"]} == {"", "TypeError", "ValueError", "IndexError"}
    used = {step[0] for vector in PLANS["vectors"] for step in vector["steps"]}
    assert used <= set(ops.OPS)
