"""The benchmark harness: its sums, and one short run of real processes."""

from __future__ import annotations

import asyncio
import json
import sys

import pytest

from benchmarks import __main__ as command
from benchmarks.report import report, table
from benchmarks.rounds import BenchmarkFailed, Figure, Taken, end, run
from benchmarks.transport import Ratio

pytestmark = pytest.mark.skipif(sys.version_info < (3, 9), reason="the benchmarks compare with what needs 3.9 or later")


def taken() -> Taken:
    ours = [Figure(rate, 1e-5, 50_000_000, 40_000_000) for rate in (100.0, 300.0, 200.0)]
    theirs = [Figure(rate, 3e-5, 30_000_000, 20_000_000) for rate in (40.0, 60.0, 50.0)]
    return Taken({"ours.calls": ours, "theirs.echo": theirs}, {"them": "1.0"})


def test_a_ratio_is_that_of_the_medians_and_its_spread_that_of_the_rounds() -> None:
    made = report(taken(), {"ours_vs_theirs": Ratio("ours.calls", "theirs.echo", 2.0, "what it is")})
    assert made["results"] == {"ours_vs_theirs": 4.0}
    behind = made["details"]["ratios"]["ours_vs_theirs"]
    assert (behind["by_round"]["min"], behind["by_round"]["max"], behind["target"]) == (2.5, 5.0, 2.0)
    figure = made["details"]["figures"]["ours.calls"]
    assert figure["per_second"] == {"median": 200.0, "min": 100.0, "max": 300.0, "rounds": [100.0, 300.0, 200.0]}
    assert figure["cpu_us_per_operation"] == pytest.approx(10)
    assert figure["server_peak_mb"] == 50
    assert made["details"]["versions"] == {"them": "1.0"}
    json.dumps(made)


def test_the_table_shows_every_key() -> None:
    made = report(taken(), {"ours_vs_theirs": Ratio("ours.calls", "theirs.echo", 2.0, "what it is")})
    lines = table(made).splitlines()
    assert [line.split()[0] for line in lines if line][1:3] == ["ours.calls", "theirs.echo"]
    assert any(line.split() == ["ours_vs_theirs", "4.00", "2.50", "5.00", "2.00"] for line in lines)


def test_a_run_of_real_processes(capfd: pytest.CaptureFixture[str]) -> None:
    took = asyncio.run(run(["websockets"], rounds=1, seconds=0.05, progress=lambda line: None))
    assert set(took.figures) == {"websockets.echo_1", "websockets.echo_256"}
    figure = took.figures["websockets.echo_256"][0]
    assert figure.rate > 100
    assert 0 < figure.cpu < 0.01
    assert figure.server_peak > 1e6
    assert capfd.readouterr().err == ""


def test_with_json_to_the_standard_output_nothing_else_is_there(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["benchmarks", "transport", "--stack", "websockets", "--rounds", "1", "--seconds", "0.05", "--json", "-"]
    monkeypatch.setattr(sys, "argv", words)
    assert command.main() == 0
    told = capsys.readouterr()
    assert set(json.loads(told.out)) == {"results", "details"}
    assert "websockets.echo_256" in told.err


def test_an_end_that_dies_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    async def start() -> None:
        async with end("no such stack", "serve") as server:
            await server.hear(20)

    with pytest.raises(BenchmarkFailed, match="no such stack serve ended"):
        asyncio.run(start())
    assert "KeyError" in capfd.readouterr().err
