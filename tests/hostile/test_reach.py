"""Who reaches for what is on no allow-list: attributes, functions of numpy and Python, parameters, files, code."""

from __future__ import annotations

import sys
from typing import Any, List

import msgpack
import pytest

from asyncsyft import ops
from asyncsyft.executor.run import run  # noqa: F401 - the module that would be reached from
from tests.hostile.kit import scene

pytestmark = pytest.mark.anyio

NAMES = [
    *("__class__", "__dict__", "__globals__", "__init__", "__reduce__", "__array_interface__", "__subclasses__"),
    *("add.__globals__", "add.run", "linalg.inv.__self__", "linalg.__class__", "linalg", "fft", "ops.OPS", "OPS"),
    *("eval", "exec", "compile", "open", "getattr", "vars", "breakpoint", "input", "os.system", "builtins.eval"),
    *("np.load", "load", "save", "fromfile", "tofile", "dump", "dumps", "memmap", "frombuffer", "genfromtxt", "ctypes"),
    *("", " ", "add ", " add", "ADD", "Add", "add\0", "a.d.d", "add;eval", "../add", "Ａdd", "x" * 5000),
    *("numpy.add", "asyncsyft.executor.run.run", "mpc", "mpc.", "mpc.__class__", "mpc.open.__func__"),
    *("put.x", "get.__call__", "delete\n", "search()", "call.__wrapped__"),
]
PARAMS: List[Any] = [
    {"out": 1}, {"dtype": "O"}, {"dtype": "object"}, {"dtype": "<M8[s]"}, {"dtype": "|V9999999"}, {"where": 1},
    {"like": "x"}, {"__class__": 1}, {"self": 1}, {"casting": "unsafe"}, {"ufunc": 1}, {"signature": "O->O"},
    {"axis": "__class__"}, {"axis": {"a": 1}}, {"axis": [[[[0]]]]}, {"key": "__builtins__"}, {"": ""},
]  # fmt: skip
PUT = ["put", 1, [], {"dtype": "<f8", "shape": [4], "at": 0}]


async def test_names_on_no_allow_list(road: str) -> None:
    async with scene(road) as made:
        await made.meet()
        assert await made.tries(PUT, body=bytes(32)) == []
        for out, name in enumerate(NAMES, 10):
            (said,) = await made.tries([name, out, [1]])
            assert said[0] == "UnknownOp", (name, said)
            assert name[:20] in said[2] or len(name) > 20 or not name.isprintable() or "'" in said[2]
            assert len(said[2]) < 300


async def test_names_that_are_no_texts(road: str) -> None:
    async with scene(road) as made:
        await made.meet()
        for out, name in enumerate([1, None, b"add", ["add"], {"add": 1}, 1.5, True], 10):
            (said,) = await made.tries([name, out, []])
            assert said[0] == "Refused"


async def test_names_within_a_plan() -> None:
    async with scene("memory") as made:
        await made.meet()
        for out, name in enumerate(NAMES[:40], 10):
            head = {"name": "p", "version": 1, "inputs": 1, "state": [], "constants": 0, "steps": 1}
            packed = msgpack.packb({**head, "outputs": [1], "updates": {}}) + msgpack.packb([name, [1], [0]])
            put = ["put", 500 + out, [], {"dtype": "|u1", "shape": [len(packed)], "at": 0}]
            steps = [put, ["plan", out, [500 + out]]]
            failures = await made.tries(*steps, body=packed)
            assert failures, name
            assert {said[0] for said in failures} <= {"UnknownOp", "Refused"}, (name, failures)


async def test_parameters_on_no_table(road: str) -> None:
    async with scene(road) as made:
        await made.meet()
        await made.tries(PUT, body=bytes(32))
        out = 100
        for name in ("add", "sum", "reshape", "matmul", "linalg.inv", "getitem", "astype", "sort"):
            for params in PARAMS:
                out += 1
                inputs = [1, 1] if name in ("add", "matmul") else [1]
                failures = await made.tries([name, out, inputs, params])
                code = failures[0][0] if failures else ""
                assert code in ("OpFailed", "Refused"), (name, params, failures)


async def test_no_module_comes_in_and_nothing_runs(road: str) -> None:
    async with scene(road) as made:
        await made.meet()
        before = set(sys.modules)
        for out, name in enumerate(["antigravity.x", "this", "pickle.loads", "ctypes.CDLL", "turtle.Turtle"], 10):
            await made.tries([name, out, []])
        new = {name for name in set(sys.modules) - before if name.split(".")[0] in ("antigravity", "this", "turtle")}
        assert new == set()


def test_the_list_is_a_table_of_plain_names() -> None:
    for name, op in ops.OPS.items():
        assert name.replace(".", "_").replace("_", "").isalnum()
        assert not name.startswith("_")
        assert "__" not in name
        assert callable(op.run)
