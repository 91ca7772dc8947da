"""Plans: packed forms with what calls of them give, what is no plan, calls that fail, and the form outside the wire."""

from __future__ import annotations

import io
from typing import Any, Dict, List, Optional, Sequence, Tuple

import msgpack
import numpy as np

import asyncsyft
from asyncsyft import program, tensor, wire
from asyncsyft.conform.plan_faults import NO_PLANS
from asyncsyft.conform.plans import ADD, X, Y, packed
from asyncsyft.conform.states import TRAIN
from asyncsyft.errors import LimitExceeded, RemoteError, RemoteProtocolError
from asyncsyft.executor.plans import State, StoredPlan
from asyncsyft.ops import Spec
from asyncsyft.tensor import Array

from .plain import array_to_json, to_json

#: A worker of these vectors takes plans of so many steps, and has room for so many bytes of results.
PLAN_STEPS, ROOM = 8, 1 << 20
GRID = np.arange(6, dtype="<f4").reshape(2, 3)
WEIGHTS, STEP = np.array([[1.0], [-2.0], [0.5]]), np.array(0.25)


def plans() -> Dict[str, Any]:
    """The file of plans."""
    about = (
        "vectors: packed plans, their constants and state, and calls one after the other. invalid: what a worker that "
        "takes plan_steps steps must not store. failing: calls that fail, if results have room for so many bytes, and "
        "as what. documents: plans outside the wire; no_documents: what is none."
    )
    head = {"about": about, "protocol": wire.SUBPROTOCOL, "draft": True, "plan_steps": PLAN_STEPS, "room": ROOM}
    invalid = [{"name": name, "packed": data.hex(), "error": _refused(data)} for name, data in (*NO_PLANS, *_REFUSED)]
    no_documents = [{"name": name, "hex": data.hex(), "error": _no_document(data)} for name, data in _NO_DOCUMENTS]
    return {
        **head,
        "vectors": [_plan(*one) for one in _PLANS],
        "invalid": invalid,
        "failing": [_failing(*one) for one in _FAILING],
        "documents": [_document(*one) for one in _documents()],
        "no_documents": no_documents,
    }


def _plan(
    name: str,
    data: bytes,
    calls: Sequence[Sequence[Array]],
    constants: Sequence[Array] = (),
    state: Optional[Dict[str, Array]] = None,
) -> Dict[str, Any]:
    held = StoredPlan(program.unpack_plan(data, PLAN_STEPS), list(constants))
    kept = None if state is None else State("model", state)
    made = []
    for inputs in calls:
        given = held.given(list(inputs), kept)
        code = held.compile(given)
        registers = held.run(code, given, ROOM)
        if kept is not None:
            kept.update({key: registers[place] for key, place in code.updates.items()})
        outputs = [array_to_json(registers[place]) for place in code.outputs]
        made.append({"inputs": _arrays(inputs), "outputs": outputs, "state": _named(kept.arrays if kept else None)})
    says = dict(zip(("head", "steps"), _says(data)))
    held_by = {"constants": _arrays(constants), "state": _named(state)}
    return {"name": name, "packed": data.hex(), **says, **held_by, "compare": "close", "calls": made}


def _says(data: bytes) -> Tuple[Any, Any]:
    head, *steps = msgpack.Unpacker(io.BytesIO(data))
    return to_json(head), to_json(steps)


def _arrays(arrays: Sequence[Array]) -> List[Any]:
    return [array_to_json(array) for array in arrays]


def _named(arrays: Optional[Dict[str, Array]]) -> Any:
    return None if arrays is None else {name: array_to_json(array) for name, array in arrays.items()}


_PLANS: List[Any] = [
    ("one step", packed(ADD), [[X, Y], [GRID, X], [np.array(1, "<i4"), np.array([2, 3], "<i4")]]),
    ("no step, and nothing comes out", packed(inputs=0, outputs=[]), [[]]),
    ("inputs come out as they are", packed(outputs=[1, 0, 1]), [[X, Y]]),
    ("several results of one step", packed(["unique_counts", [1, 2], [0]], inputs=1, outputs=[2, 1]), [[Y[[0, 2, 0]]]]),
    ("results of any step", packed(ADD, ["multiply", [3], [2, 0]], outputs=[3, 2]), [[X, Y]]),
    (
        "constants and literals",
        packed(["multiply", [2], [0, 1]], ["add", [3], [2, ["<f4", 0.5]]], inputs=1, constants=1, outputs=[3]),
        [[X], [GRID]],
        [Y],
    ),
    (
        "a step without a register",
        packed(["full", 1, [["<c8", [0.0, 2.0]]], {"shape": [2]}], ["add", 2, [1, 0]], inputs=1),
        [[np.array(1, "<f4")]],
    ),
    (
        "parameters",
        packed(
            ["sum", [1], [0], {"axis": [1], "keepdims": True}],
            ["getitem", [2], [0], {"key": ["...", ["s", None, None, -1]]}],
            ["astype", [3], [2], {"dtype": "<i4"}],
            inputs=1,
            outputs=[1, 3],
        ),
        [[GRID], [GRID[:1]]],
    ),
    (
        "a size that only the data can tell",
        packed(
            ["greater", [1], [0, ["<f4", 1.0]]],
            ["getitem", [2], [0, 1], {"key": [["a", 0]]}],
            ["sum", [3], [2]],
            inputs=1,
            outputs=[2, 3],
        ),
        [[GRID], [X], [X - 9]],
    ),
    ("what a later version says is ignored", packed(ADD, later=[1]), [[X, Y]]),
    ("as many steps as may be", packed(*[["add", [1 + n], [n, 0]] for n in range(8)], inputs=1, outputs=[8]), [[X]]),
    ("a state read and updated", TRAIN, [[X], [X], [Y]], [], {"v": X, "w": Y}),
    (
        "a state that is read only, and has more",
        packed(["add", [2], [0, 1]], inputs=1, state=["w"]),
        [[X]],
        [],
        {"v": X, "w": Y},
    ),
    (
        "a step of training",
        packed(
            ["matmul", [4], [0, 2]],
            ["subtract", [5], [4, 1]],
            ["matrix_transpose", [6], [0]],
            ["matmul", [7], [6, 5]],
            ["multiply", [8], [7, 3]],
            ["subtract", [9], [2, 8]],
            ["vecdot", [10], [5, 5], {"axis": 0}],
            state=["w"],
            constants=1,
            outputs=[10],
            updates={"w": 9},
        ),
        [[GRID.astype("<f8") / 6, np.ones((2, 1))]] * 3,
        [STEP],
        {"w": WEIGHTS},
    ),
]
_REFUSED: List[Tuple[str, bytes]] = [
    ("an op that there is not", packed(["no.such.op", [2], [0, 1]])),
    ("a plan that calls a plan", packed(["call", [2], [0, 1]])),
    ("a step that is no array op", packed(["get", [2], [0]])),
    ("one step too many", packed(*[["add", [1 + n], [n, 0]] for n in range(9)], inputs=1, outputs=[9])),
    ("a constant that did not come", packed(ADD, inputs=1, constants=1)),
    ("too few inputs of a step", packed(["add", [2], [0]])),
    ("a parameter that there is not", packed(["add", [2], [0, 1], {"where": 1}])),
    ("a parameter that is missing", packed(["reshape", [2], [0]])),
]
#: Plans, the inputs of a call, and the state.
_FAILING: List[Any] = [
    ("too few inputs", packed(ADD), [X], None),
    ("too many inputs", packed(ADD), [X, Y, X], None),
    ("no state", TRAIN, [X], None),
    ("a state without a name", TRAIN, [X], {"w": Y}),
    ("an update of another shape", TRAIN, [GRID], {"v": X, "w": Y}),
    ("an update of another dtype", TRAIN, [X.astype("<f8")], {"v": X, "w": Y}),
    ("dtypes", packed(ADD, ["bitwise_and", [3], [2, 2]]), [X, Y], None),
    ("shapes", packed(["multiply", [2], [0, 0]], ["add", [3], [2, 1]]), [X, np.ones(2, "<f4")], None),
    ("an index", packed(["take", [2], [0, 1]]), [X, np.array([9], "<i8")], None),
    ("a value", packed(["linalg.inv", [1], [0]], inputs=1, outputs=[1]), [np.zeros((2, 2))], None),
    (
        "more than there is room for",
        packed(["broadcast_to", [1], [0], {"shape": [1 << 20]}], ["add", [2], [1, 0]], inputs=1),
        [STEP],
        None,
    ),
]


def _refused(data: bytes) -> str:
    try:
        StoredPlan(program.unpack_plan(data, PLAN_STEPS), [])
    except RemoteError as error:
        return error.code
    raise AssertionError("it is not refused")


def _failing(name: str, data: bytes, inputs: List[Array], state: Optional[Dict[str, Array]]) -> Dict[str, Any]:
    held, kept = StoredPlan(program.unpack_plan(data, PLAN_STEPS), []), State("model", state) if state else None
    try:
        given = held.given(inputs, kept)
        code = held.compile(given)
        if code.peak > ROOM:
            raise LimitExceeded("no room")
        registers = held.run(code, given, ROOM)
        if kept is not None:
            kept.update({key: registers[place] for key, place in code.updates.items()})
    except RemoteError as error:
        told = {"error": error.code, "kind": error.kind or "", "op": error.op or "call"}
        return {"name": name, "packed": data.hex(), "inputs": _arrays(inputs), "state": _named(state), **told}
    raise AssertionError("it does not fail")


def _documents() -> List[Tuple[str, bytes, List[Array]]]:
    constant = np.array([1.0, 2.0, 3.0])
    state = asyncsyft.State("model", w=WEIGHTS)

    def parts(x: Any) -> Any:
        return {"last": x + constant, "sums": (x.sum(), [x.mean(), None])}

    def train(held: Any, x: Any, y: Any) -> Any:
        error = x @ held.w - y
        held.w = held.w - x.T @ error * 0.25
        return (error * error).mean()

    one, other = asyncsyft.plan(parts, version=3), asyncsyft.plan(train, state=state)
    f8 = np.dtype("<f8")
    one.record(Spec(f8, (None, 3)))
    other.record(Spec(f8, (2, 3)), Spec(f8, (2, 1)))
    return [
        ("constants, any size, and results in a form", one.to_bytes(), [GRID.astype(f8)]),
        ("a state", other.to_bytes(), [GRID.astype(f8) / 6, np.ones((2, 1))]),
    ]


def _document(name: str, data: bytes, inputs: List[Array]) -> Dict[str, Any]:
    fmt, version, title, number, recorded, state = msgpack.unpackb(data)
    [entry] = recorded
    constants, arrays = [tensor.from_npy(npy) for npy in entry["constants"]], None
    if state is not None:
        arrays = {word: tensor.from_npy(npy) for word, npy in state["arrays"].items()}
    ran = _plan(name, entry["plan"], [inputs], constants, arrays)
    said = {key: to_json(entry[key]) for key in ("inputs", "outputs", "form")}
    says = {"format": [fmt, version], "name": title, "version": number, **said}
    return {"name": name, "hex": data.hex(), "says": says, "plan": ran}


def _changed(**change: Any) -> bytes:
    """A document of one step with something else in it."""
    spec = ["<f4", [3]]
    entry = {"plan": packed(ADD), "constants": [], "inputs": [spec] * 2, "outputs": [spec], "form": "*"}
    whole = {"format": "asyncsyft plan", "format_version": 1, "name": "f", "version": 1, "state": None, **change}
    entry.update({key: change[key] for key in entry if key in change})
    order = ("format", "format_version", "name", "version")
    return bytes(msgpack.packb([*(whole[key] for key in order), [entry], whole["state"]]))


_NO_DOCUMENTS: List[Tuple[str, bytes]] = [
    ("nothing", b""),
    ("another format", _changed(format="a plan")),
    ("a later format", _changed(format_version=2)),
    ("a plan that is none", _changed(plan=packed(["add", [2], [0, 2]]))),
    ("inputs of another number", _changed(inputs=[["<f4", [3]]])),
    ("outputs of another shape", _changed(outputs=[["<f4", [4]]])),
    ("a form of another number", _changed(form=["()", "*", "*"])),
    ("a constant that is no npy", _changed(constants=[b"npy"])),
    ("a state that is none", _changed(state={"name": "s"})),
    ("pickle", b"\x80\x04\x95" + b"\x00" * 8 + b"."),
]


def _no_document(data: bytes) -> str:
    try:
        asyncsyft.Plan.from_bytes(data)
    except RemoteProtocolError as error:
        return type(error).__name__
    raise AssertionError("it is a plan")
