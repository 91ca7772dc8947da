"""The benchmark of MPC: its keys, and short runs of real processes. No test looks at how fast anything was."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from typing import Any, Dict

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import end, ends, mpc, rounds
from benchmarks.ends import BenchmarkFailed, Figure, Usage
from benchmarks.keys import sent
from benchmarks.mpc import work
from benchmarks.mpc.names import NAMES
from benchmarks.rounds import Run, run
from benchmarks.stacks import MPC, OWN

pytestmark = pytest.mark.skipif(sys.version_info < (3, 9), reason="the benchmarks compare with what needs 3.9 or later")

ISSUE = {
    "mul_1e6": 2,
    "matmul_512": 1.3,
    "mlp_b1": 10,
    "mlp_b128": 8,
    "relu_1e6": 3,
    "sequential_mul": 8,
    "mlp_b1_bytes": 40,
}
OURS = ("asyncsyft-mpc", "asyncsyft-mpc-relay", "asyncsyft-mpc-far")


def test_the_keys_are_those_that_were_promised_and_each_is_measured() -> None:
    targets = {name: key.target for name, key in mpc.KEYS.items() if not key.at_most}
    assert targets == ISSUE
    assert set(mpc.wanted(None)) == set(MPC)
    assert mpc.wanted("mlp_hops,crypten-tfp") == {"asyncsyft-mpc": {"mlp_b1"}, "crypten-tfp": set(NAMES)}
    with pytest.raises(BenchmarkFailed, match="'speed' is neither a key nor a stack"):
        mpc.wanted("speed")


def test_bytes_are_those_of_all_processes_together() -> None:
    used = {"alice": Usage(1.0, 0, 0, 300), "client": Usage(1.0, 0, 0, 100)}
    assert sent("a.b").by_round({"a.b": [Figure(4, 1.0, "times", used)]}) == [100.0]


@pytest.mark.skipif(sys.platform != "linux", reason="Linux counts them")
def test_bytes_that_a_process_sent_are_counted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as near, server.accept()[0] as far:
            before = end.sent()
            near.sendall(bytes(1000))
            far.sendall(far.recv(1000, socket.MSG_WAITALL) * 2)
            assert len(near.recv(2000, socket.MSG_WAITALL)) == 2000
            assert end.sent() - before == 3000
            assert end.sent() - before == 3000


def test_a_wrong_result_is_not_measured() -> None:
    wanted, one_off = np.arange(4.0), np.array([0, 0, 0, 9])
    work.check(wanted + 1e-6, wanted, 1e-5)
    work.check(wanted + one_off, wanted, 0, wrong=0.25)
    for got in (wanted + 1e-4, wanted[:3], wanted + one_off):
        with pytest.raises(work.Wrong):
            work.check(got, wanted, 1e-5)
    work.check_sequence(np.full(1, work.FACTOR**10 + 1e-4), 10)
    with pytest.raises(work.Wrong):
        work.check_sequence(np.full(1, work.FACTOR**9), 10)


def test_the_network_reads_digits() -> None:
    made = work.network()
    assert made.images.shape == (128, 784)
    assert [weights.shape for weights, _ in made.layers] == [(784, 128), (128, 64), (64, 10)]
    made.check(made.out[:1])
    with pytest.raises(work.Wrong):
        made.check(made.out[1:2])


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own ends in this environment, where torch is not."""
    for name in OURS:
        monkeypatch.setitem(MPC, name, MPC[name]._replace(env=OWN))

    async def check(stacks: Any) -> Dict[str, str]:
        return {}

    monkeypatch.setattr(rounds, "check", check)


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("stack", OURS)
def test_our_own_ends_run(stack: str) -> None:
    measures = {"mlp_b1", "sequential_mul", "whole_products"}
    figures = asyncio.run(run({stack: measures}, Run(1, 0.02, False))).figures
    assert set(figures) == {f"{stack}.{name}" for name in measures}
    for key in ("mlp_hops", "product_online", "product_dealt"):
        ((above, _),) = mpc.KEYS[key].pairs
        (counted,) = above._replace(figure=above.figure.replace("asyncsyft-mpc", stack)).by_round(figures)
        assert 0 < counted <= mpc.KEYS[key].target
    (digit,) = figures[f"{stack}.mlp_b1"]
    assert set(digit.ends) == {*MPC[stack].servers, "client"}
    assert sys.platform != "linux" or digit.sent > digit.more["online"] + digit.more["dealt"]


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("here")
def test_large_operations_are_right() -> None:
    measures = {"matmul_512", "relu_1e6"}
    figures = asyncio.run(run({"asyncsyft-mpc": measures}, Run(1, 0.02, False))).figures
    (relu,) = figures["asyncsyft-mpc.relu_1e6"]
    assert (relu.more["hops"], relu.more["online"] <= 13e6, relu.more["dealt"] <= 64e6) == (4, True, True)


def test_a_missing_peer_is_an_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(MPC, "crypten-ttp", MPC["crypten-ttp"]._replace(env=OWN))
    with pytest.raises(BenchmarkFailed, match="crypten-ttp cannot run here"):
        asyncio.run(ends.check(["crypten-ttp"]))
    monkeypatch.setattr(sys, "argv", ["benchmarks", "mpc", "--only", "speed", "--json", "-"])
    assert command.main() == 1
    told = capsys.readouterr()
    assert "neither a key" in told.err
    with pytest.raises(json.JSONDecodeError):
        json.loads(told.out)
