"""The bridge's benchmark: its keys, and one short run of real processes. No test looks at how fast anything was."""

from __future__ import annotations

import json
import sys
from typing import Any, List

import pytest

from benchmarks import __main__ as command
from benchmarks import bridge
from benchmarks.ends import Figure, Usage
from benchmarks.keys import Pair, more
from benchmarks.stacks import SYFT, load

ISSUE = {
    "add_vs_websocket": 4,
    "add_vs_virtual": 1.2,
    "roundtrip_vs_websocket": 1.5,
    "send_100mb_vs_websocket": 30,
    "get_100mb_vs_websocket": 250,
    "memory_100mb_ratio": 1.5,
    "four_workers_mm": 1.5,
    "four_workers_vs_virtual": 1.0,
    "mlp_square_vs_websocket": 12,
    "mlp_fss_vs_virtual": 1.5,
    "mlp_securenn_vs_virtual": 2.0,
    "leaked_objects": 0,
}


@pytest.mark.parametrize("quick", [False, True])
def test_the_keys_are_those_that_were_promised(quick: bool) -> None:
    keys = bridge.keys(quick)
    assert {name: key.target for name, key in keys.items()} == ISSUE
    assert {name for name, key in keys.items() if key.at_most} == {"memory_100mb_ratio", "leaked_objects"}
    assert set(bridge.wanted(keys)) == set(SYFT)


def test_what_is_left_above_the_others_counts_and_nothing_below() -> None:
    def figure(left: float) -> Figure:
        return Figure(100, 1.0, "products", {"client": Usage(0.1, 1, 1)}, {"left": left})

    figures = {"a.leaks": [figure(left) for left in (5, 3, 4)], "b.leaks": [figure(left) for left in (2, 6, 2)]}
    key = bridge.Excess((Pair(more("a.leaks", "left"), more("b.leaks", "left")),), 0, "", at_most=True)
    assert key.value(figures) == 2
    assert key.by_round(figures) == [3, 0, 2]
    assert not key.reached(2)
    assert key.reached(key._replace(pairs=(Pair(*reversed(key.pairs[0])),)).value(figures))


@pytest.mark.parametrize("name", SYFT)
def test_each_stack_has_its_servers(name: str) -> None:
    stack = load(name)
    assert all(callable(getattr(stack, server)) for server in SYFT[name].servers)


@pytest.mark.timeout(180)
def test_a_short_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    keys = ["add_vs_websocket", "add_vs_virtual", "leaked_objects"]
    words: List[Any] = ["bridge", "--rounds", "1", "--seconds", "0.01", "--only", ",".join(keys), "--json", "-"]
    monkeypatch.setattr(sys, "argv", ["benchmarks", *words])
    assert command.main() == 0
    made = json.loads(capsys.readouterr().out)
    assert list(made["results"]) == keys
    assert made["results"]["leaked_objects"] == 0
    assert all(value > 0 for value in made["details"]["figures"]["syft-bridge.adds"]["per_second"]["rounds"])
    assert made["details"]["socketio"]["messages_per_second_at_most"] == 10


def test_a_word_that_is_no_key(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", "bridge", "--only", "speed"])
    assert command.main() == 1
    assert "'speed' is no key" in capsys.readouterr().err
