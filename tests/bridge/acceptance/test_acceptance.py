"""The same programs with VirtualWorkers in one unpatched process, and with workers in others: equal results."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Iterator

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # for `programs` and `run`, which are not the tests' own

import programs  # noqa: E402
import run  # noqa: E402
import syft as sy  # noqa: E402

import bridge  # noqa: E402

pytestmark = pytest.mark.timeout(360)  # whichever is first waits until all programs are run in the other process


def differences(one: Any, other: Any, near: float, where: str = "") -> Iterator[str]:
    """Where two results differ by more than ``near``."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for key in one:
            yield from differences(one[key], other[key], near, f"{where}/{key}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (left, right) in enumerate(zip(one, other)):
            yield from differences(left, right, near, f"{where}/{index}")
    elif type(one) is float and type(other) is float:
        if not abs(one - other) <= near:
            yield f"{where}: {one} and {other}"
    elif type(one) is not type(other) or one != other:
        yield f"{where}: {one} and {other}"


@pytest.fixture(scope="module")
def expected() -> Any:
    """What the programs give with VirtualWorkers."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", str(HERE / "run.py")]
    done = subprocess.run(command, stdout=subprocess.PIPE, env=environment, timeout=300, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def workers(hook: Any, processes: Any, alice_process: Any, bob_process: Any) -> Iterator[programs.Workers]:
    bridge.install()
    places: Dict[str, Any] = {"alice": alice_process, "bob": bob_process}
    for name in ("charlie", "james"):
        places[name] = processes(name)
    made = [sy.WebsocketClientWorker(hook, "localhost", places[name].port, id=name) for name in run.NAMES]
    yield programs.Workers(hook, *made)
    for worker in made:
        worker.remove_worker_from_local_worker_registry()
    bridge.uninstall()


def test_programs_run_in_one_process(expected: Any) -> None:
    """Or there would be nothing to compare with."""
    assert expected.keys() == programs.PROGRAMS.keys()
    assert {name: result["fails"] for name, result in expected.items() if "fails" in result} == {}


@pytest.mark.parametrize("name", programs.PROGRAMS)
def test_a_program_gives_the_same(name: str, workers: programs.Workers, expected: Any) -> None:
    run.fresh()
    program = programs.PROGRAMS[name]
    given = json.loads(json.dumps(program(workers)))
    assert list(differences(given, expected[name]["gives"], program.near)) == []  # type: ignore[attr-defined]


def test_differences_are_seen() -> None:
    one = {"a": [1.0, 2], "b": "x"}
    assert list(differences(one, {"a": [1.05, 2], "b": "x"}, 0.1)) == []
    assert list(differences(one, {"a": [1.2, 2], "b": "x"}, 0.1)) == ["/a/0: 1.0 and 1.2"]
    assert list(differences(one, {"a": [float("nan"), 2], "b": "x"}, 0.1)) == ["/a/0: 1.0 and nan"]
    assert len(list(differences(one, {"a": [1.0], "b": "y"}, 0.1))) == 2
    assert len(list(differences(one, {"a": [1.0, 2]}, 0.1))) == 1
