"""The benchmark harness: its sums, and short runs of real processes. No test looks at how fast anything was."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Any, Dict, List
from xml.etree import ElementTree

import pytest

from benchmarks import __main__ as command
from benchmarks import ends, page, picture, scale, transport
from benchmarks.ends import BenchmarkFailed, Figure, Usage, interpreter, process
from benchmarks.keys import Key, Pair, cpu, gain, rate
from benchmarks.report import report, table
from benchmarks.rounds import Run, Taken, run
from benchmarks.stacks import OWN, STACKS, WARM_UP, Measure, Place, Sample
from benchmarks.stacks.turns import alternating
from benchmarks.throttle import FEWEST, MOST, Pace, Throttle, address

pytestmark = pytest.mark.skipif(sys.version_info < (3, 9), reason="the benchmarks compare with what needs 3.9 or later")

ISSUE = [
    "calls_vs_websockets",
    "calls_vs_socketio",
    "steps_vs_websockets",
    "plan_vs_numpy",
    "single_vs_websockets",
    "large_vs_websockets",
    "large_vs_tcp",
    "large_memory_ratio",
    "relay_large_memory_mb",
    "relay_vs_direct",
    "relay_cpu_vs_websockets",
    "zstd_auto_worst",
    "zstd_auto_100mbit",
    "sealed_vs_clear",
    "trio_vs_asyncio",
]

RATIO = Key((Pair(rate("ours.calls"), rate("theirs.echo")),), 2.0, "what it is")


def figure(rate_: float, cpu_: float = 1e-5, gain_: int = 0) -> Figure:
    """Of a measure that took a second."""
    server = Usage(rate_ * cpu_ * 0.75, 50_000_000, gain_)
    return Figure(rate_, 1.0, "calls", {"serve": server, "client": Usage(rate_ * cpu_ * 0.25, 40_000_000, 0)})


def taken() -> Taken:
    ours = [figure(rate_, gain_=gain_) for rate_, gain_ in ((100.0, 5), (300.0, 9), (200.0, 7))]
    theirs = [figure(rate_, 3e-5) for rate_ in (40.0, 60.0, 50.0)]
    return Taken({"ours.calls": ours, "theirs.echo": theirs}, {"them": "1.0"})


# Sums.


def test_a_ratio_is_that_of_the_medians_and_its_spread_that_of_the_rounds() -> None:
    made = report(taken(), {"ours_vs_theirs": RATIO})
    assert made["results"] == {"ours_vs_theirs": 4.0}
    behind = made["details"]["keys"]["ours_vs_theirs"]
    assert (behind["by_round"]["min"], behind["by_round"]["max"], behind["target"]) == (2.5, 5.0, 2.0)
    assert behind["reached"]
    ours = made["details"]["figures"]["ours.calls"]
    assert ours["per_second"] == {"median": 200.0, "min": 100.0, "max": 300.0, "rounds": [100.0, 300.0, 200.0]}
    assert ours["cpu_us_per_operation"] == pytest.approx(10)
    assert ours["ends"]["serve"]["peak_mb"] == 50
    assert made["details"]["versions"] == {"them": "1.0"}
    json.dumps(made)


def test_a_key_of_several_pairs_is_the_worst_of_them() -> None:
    figures = taken().figures
    pairs = (Pair(rate("ours.calls"), rate("theirs.echo")), Pair(rate("theirs.echo"), 100.0))
    assert Key(pairs, 1.0, "").value(figures) == 0.5
    assert Key(pairs, 1.0, "").by_round(figures) == [0.4, 0.6, 0.5]
    assert Key(pairs, 1.0, "").ratios(figures) == {"ours.calls": 4.0, "theirs.echo": 0.5}
    assert Key(pairs, 1.0, "", at_most=True).value(figures) == 4.0
    assert Key(pairs, 1.0, "").needs() == {"ours": {"calls"}, "theirs": {"echo"}}


def test_a_key_may_be_memory_or_cpu_of_one_process_and_wanted_to_be_small() -> None:
    figures = taken().figures
    memory = Key((Pair(gain("ours.calls", "serve"), 2.0),), 4.0, "", at_most=True)
    assert memory.value(figures) == 3.5
    assert memory.reached(4.0)
    assert not memory.reached(4.1)
    work = Key((Pair(cpu("ours.calls", "serve"), cpu("theirs.echo", "serve")),), 1.0, "")
    assert work.value(figures) == pytest.approx(1 / 3)


def test_the_table_shows_every_key_and_what_was_not_reached() -> None:
    made = report(taken(), {"ours_vs_theirs": RATIO, "more": RATIO._replace(target=9.0)})
    lines = [line.split() for line in table(made).splitlines() if line]
    assert [line[0] for line in lines[1:3]] == ["ours.calls", "theirs.echo"]
    assert ["ours_vs_theirs", "4.00", "2.50", "5.00", ">=", "2.00"] in lines
    assert ["more", "4.00", "2.50", "5.00", ">=", "9.00", "not", "reached"] in lines


def test_the_keys_are_those_that_were_promised_and_each_is_measured() -> None:
    assert list(transport.KEYS) == ISSUE
    for key in transport.KEYS.values():
        assert set(key.needs()) <= set(STACKS)
    everything = transport.wanted(transport.keys_and_stacks(None))
    assert everything == dict.fromkeys(everything)
    assert set(everything) == set(STACKS)


def test_only_what_a_key_needs_is_measured() -> None:
    words = transport.keys_and_stacks("relay_vs_direct,tcp")
    assert transport.wanted(words) == {"asyncsyft-relay": {"calls"}, "asyncsyft": {"calls"}, "tcp": None}
    with pytest.raises(BenchmarkFailed, match="'nonsense' is neither a key nor a stack"):
        transport.keys_and_stacks("nonsense")


def test_settings_take_turns_and_each_has_a_rate_of_its_own() -> None:
    taken_turns: List[str] = []

    def setting(name: str, operations: float) -> Measure:
        async def take(seconds: float) -> Sample:
            assert seconds == 0.25
            taken_turns.append(name)
            return Sample(operations, 0.5, "MB")

        return take

    both = alternating({"fast": setting("fast", 8.0), "slow": setting("slow", 2.0)}, least=3, turn=0.25)
    assert asyncio.run(both(1.5)) == Sample(30.0, 3.0, "MB", {"fast": 16.0, "slow": 4.0})
    assert all(set(taken_turns[at : at + 2]) == {"fast", "slow"} for at in (0, 2, 4))
    assert asyncio.run(both(WARM_UP)).seconds == 1.0
    assert asyncio.run(both(4.5)).seconds == 5.0


def test_a_turn_in_which_the_machine_was_busy_does_not_count() -> None:
    took = iter([0.5, 50.0, 0.5])

    async def take(seconds: float) -> Sample:
        return Sample(8.0, next(took), "MB")

    assert asyncio.run(alternating({"only": take}, least=3)(1.0)).more == {"only": 16.0}


# Real processes.


def measured(*stacks: str, fresh: bool = True) -> Dict[str, List[Figure]]:
    return asyncio.run(run(dict.fromkeys(stacks), Run(1, 0.02, fresh))).figures


@pytest.mark.timeout(300)
def test_every_stack_of_our_own_environment_runs() -> None:
    stacks = [name for name, place in STACKS.items() if place.env == OWN]
    figures = measured(*stacks, fresh=False)
    needed = {(stack, each) for key in transport.KEYS.values() for stack, all_ in key.needs().items() for each in all_}
    for stack, each in needed:
        assert stack not in stacks or len(figures[f"{stack}.{each}"]) == 1
    for took in figures.values():
        assert took[0].operations > 0
        assert took[0].seconds > 0
        assert all(end.peak > 1e6 for end in took[0].ends.values())
    for stack in stacks:
        ends_ = {role for name, took in figures.items() if name.startswith(f"{stack}.") for role in took[0].ends}
        assert ends_ == {*STACKS[stack].servers, "client"}


def test_processes_start_afresh_in_each_round(capfd: pytest.CaptureFixture[str]) -> None:
    rounds = asyncio.run(run({"websockets": {"echo_1"}}, Run(2, 0.02)))
    assert list(rounds.figures) == ["websockets.echo_1"]
    assert len(rounds.figures["websockets.echo_1"]) == 2
    assert set(rounds.versions) == {"websockets"}
    assert capfd.readouterr().err == ""


def asked(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["benchmarks", *words])
    return command.main()


def test_with_json_to_the_standard_output_nothing_else_is_there(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("transport", "--only", "websockets", "--rounds", "1", "--seconds", "0.02", "--json", "-")
    assert asked(monkeypatch, *words) == 0
    told = capsys.readouterr()
    made = json.loads(told.out)
    assert set(made) == {"results", "details"}
    assert set(made["details"]) == {"figures", "keys", "versions", "machine", "run"}
    assert "websockets.echo_256" in told.err


def test_an_end_that_dies_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    async def start() -> None:
        async with process(OWN, "no such stack", "no such stack", "serve") as server:
            await server.hear(20)

    with pytest.raises(BenchmarkFailed, match="no such stack ended"):
        asyncio.run(start())
    assert "KeyError" in capfd.readouterr().err


def test_a_measure_that_fails_says_why(capfd: pytest.CaptureFixture[str]) -> None:
    async def start() -> None:
        async with process(OWN, "nobody there", "websockets", "drive", "1") as client:
            await client.hear(20)

    with pytest.raises(BenchmarkFailed, match=r"nobody there: .*Error"):
        asyncio.run(start())
    assert "Traceback" in capfd.readouterr().err


# A missing peer is an error.


def test_without_the_environment_of_the_peers_a_run_fails_before_it_measures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ends, "ROOT", tmp_path)
    with pytest.raises(BenchmarkFailed, match="make bench-env"):
        interpreter(STACKS["grpc"].env)
    assert asked(monkeypatch, "transport", "--only", "grpc", "--rounds", "1") == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "make bench-env" in told.err


def test_a_peer_that_is_not_in_its_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STACKS, "grpc", Place("grpc_echo", OWN))
    with pytest.raises(BenchmarkFailed, match="grpc cannot run here: No module named 'grpc'"):
        asyncio.run(ends.check(["websockets", "grpc"]))


def test_the_peers_are_pinned() -> None:
    pins = (ends.ROOT / "requirements" / "bench.txt").read_text("utf-8")
    lines = [line for line in pins.splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w-]+==[\d.]+", line) for line in lines)
    assert {line.partition("==")[0] for line in lines} >= {"python-socketio", "grpcio", "distributed"}


# The throttle.


def test_bytes_arrive_no_faster_than_the_bandwidth() -> None:
    pace = Pace(bandwidth=8000.0)  # a thousand bytes a second
    assert [pace.due(0.0, size) for size in (500, 500, 1000)] == [0.5, 1.0, 2.0]
    assert pace.due(1.5, 1000) == 3.0  # the link is still busy
    assert pace.due(10.0, 1000) == 11.0  # the time that it was idle is gone


def test_the_delay_is_added_and_takes_no_bandwidth() -> None:
    pace = Pace(bandwidth=8000.0, delay=5.0)
    assert [pace.due(0.0, 1000), pace.due(0.0, 1000)] == [6.0, 7.0]
    assert Pace(delay=5.0).due(1.0, 1 << 40) == 6.0


def test_what_the_link_holds_is_bounded() -> None:
    assert Pace().capacity(1000) == MOST
    assert Pace(bandwidth=8000.0).capacity(1000) == FEWEST
    assert Pace(bandwidth=8e6, delay=0.98).capacity(1000) == 1000


@pytest.mark.parametrize("bandwidth", [float("inf"), 400e6])
def test_the_proxy_carries_both_directions_to_their_ends(bandwidth: float) -> None:
    question, answer = bytes(range(256)) * 4096, bytes(reversed(range(256))) * 3000

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.read(-1) == question
        writer.write(answer)
        await writer.drain()
        writer.close()

    async def ask() -> bytes:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with Throttle("127.0.0.1", port, bandwidth, delay=0.001) as throttle:
            reader, writer = await asyncio.open_connection("127.0.0.1", throttle.port)
            writer.write(question)
            writer.write_eof()
            got = await asyncio.wait_for(reader.read(-1), 30)
            writer.close()
        server.close()
        return got

    assert asyncio.run(ask()) == answer


def test_the_proxy_ends_a_connection_that_leads_nowhere() -> None:
    async def ask() -> bytes:
        async with Throttle("127.0.0.1", 1) as throttle:
            reader, writer = await asyncio.open_connection("127.0.0.1", throttle.port)
            got = await asyncio.wait_for(reader.read(-1), 30)
            writer.close()
            return got

    assert asyncio.run(ask()) == b""


def test_the_throttle_by_hand(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(monkeypatch, "throttle", "127.0.0.1:9", "--bandwidth", "10", "--seconds", "0") == 0
    assert re.fullmatch(r"ws://127\.0\.0\.1:\d+ leads to 127\.0\.0\.1:9\n", capsys.readouterr().out)
    assert address("[::1]:80") == ("::1", 80)


# Scale.


@pytest.mark.timeout(120)
def test_a_small_crowd() -> None:
    made = asyncio.run(scale.measure((1, 3), 0.02, idle=0.02))
    assert [row["peers"] for row in made["details"]["peers"]] == [1, 3]
    assert all(set(row) == set(scale.PEER_COLUMNS) for row in made["details"]["peers"])
    assert all(set(row) == set(scale.SIZE_COLUMNS) for row in made["details"]["sizes"])
    assert made["details"]["sizes"][-1]["bytes"] == 64 << 20
    assert "worker_kb_per_peer" in made["results"]
    assert "p50 us" in scale.table(made)
    json.dumps(made)
    assert page.scale_blocks(made)["growth"].startswith("With 3 workers")
    ElementTree.fromstring(page.scale_picture(made))


# The page and its pictures.


def full_report() -> Dict[str, Any]:
    def anything(name: str) -> List[Figure]:
        usage = Usage(0.1, 9_000_000, 1_000_000)
        servers = STACKS[name.partition(".")[0]].servers
        more = {"auto": 9.0, "never": 3.0, "sealed": 2.0, "clear": 4.0}
        return [Figure(100.0, 1.0, "calls", dict.fromkeys((*servers, "client"), usage), more)]

    needed = {
        f"{stack}.{each}" for key in transport.KEYS.values() for stack, all_ in key.needs().items() for each in all_
    }
    made = report(Taken({name: anything(name) for name in needed}, {"asyncsyft": "1.0"}), transport.KEYS)
    made["details"]["run"] = {"rounds": 1, "seconds": 1.0, "quick": True}
    return made


def test_the_page_is_filled_from_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, copy = tmp_path / "transport.json", tmp_path / "benchmarks.md"
    made.write_text(json.dumps(full_report()), "utf-8")
    copy.write_text(page.PAGE.read_text("utf-8"), "utf-8")
    assert asked(monkeypatch, "page", "--transport", str(made), "--page", str(copy)) == 0
    text = copy.read_text("utf-8")
    assert all(f"| `{key}` |" in text for key in ISSUE)
    assert "asyncsyft 1.0" in text
    ElementTree.parse(tmp_path / "benchmarks-transport.svg")


def test_a_page_without_the_place_for_a_block_is_refused() -> None:
    assert (
        page.fill("<!-- begin a -->\nold\n<!-- end a -->", {"a": r"n\1w"}) == "<!-- begin a -->\nn\\1w\n<!-- end a -->"
    )
    with pytest.raises(ValueError, match="0 places for b"):
        page.fill("", {"b": ""})


def test_the_page_asks_for_a_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert asked(monkeypatch, "page") == 1
    assert "--transport" in capsys.readouterr().err


def test_ticks_are_powers_of_ten_around_what_is_shown() -> None:
    assert picture.powers(3.0, 250.0) == [1.0, 10.0, 100.0, 1000.0]
    assert picture.powers(10.0, 10.0) == [10.0, 100.0]
    place = picture.scale([1.0, 10.0, 100.0], 200.0)
    assert [place(value) for value in (1.0, 10.0, 100.0)] == [0.0, 100.0, 200.0]


def test_names_that_are_near_one_another_are_moved_apart() -> None:
    assert picture.apart([20.0, 18.0, 50.0], 15.0) == [33.0, 18.0, 50.0]
    assert [picture.short(value) for value in (0.1, 10.0, 1e4, 1e6)] == ["0.1", "10", "10k", "1M"]
