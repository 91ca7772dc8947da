"""Secure computation by two parties and a dealer, beside CrypTen: the same work, the same trust, in the same run."""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import Dict, List, Optional, Set

from benchmarks.ends import BenchmarkFailed
from benchmarks.keys import Key, Pair, more, rate, sent
from benchmarks.mpc.names import NAMES
from benchmarks.report import report, table
from benchmarks.rounds import Run, Wanted, run
from benchmarks.stacks import MPC
from benchmarks.transport import progress, show

OURS, THEIRS = "asyncsyft-mpc", "crypten-ttp"


def _ratio(name: str, target: float, what: str) -> Key:
    return Key((Pair(rate(f"{OURS}.{name}"), rate(f"{THEIRS}.{name}")),), target, what)


def _count(name: str, measure: str, most: float, what: str, elements: float = 1.0) -> Key:
    return Key((Pair(more(f"{OURS}.{measure}", name), elements),), most, what, at_most=True)


KEYS: Dict[str, Key] = {
    "mul_1e6": _ratio("mul_1e6", 2, "10^6 products of fractions / CrypTen with its trusted third party"),
    "matmul_512": _ratio("matmul_512", 1.3, "product of two 512 x 512 matrices / the same"),
    "mlp_b1": _ratio("mlp_b1", 10, "MLP 784-128-64-10 with ReLU, one digit, from image to result / the same"),
    "mlp_b128": _ratio("mlp_b128", 8, "128 digits at once / the same"),
    "relu_1e6": _ratio("relu_1e6", 3, "ReLU of 10^6 elements / the same"),
    "sequential_mul": _ratio("sequential_mul", 8, "dependent products of scalars, as they are written / the same"),
    "mlp_b1_bytes": Key(
        (Pair(sent(f"{THEIRS}.mlp_b1"), sent(f"{OURS}.mlp_b1")),),
        40,
        "bytes that all CrypTen processes send for that digit / all of ours, the driver's among them",
    ),
    "mlp_hops": _count("hops", "mlp_b1", 13, "one-way messages between parties, one after the other, for that digit"),
    "product_online": _count(
        "online", "whole_products", 8, "bytes that a party opens for each product of whole numbers"
    ),
    "product_dealt": _count("dealt", "whole_products", 8, "bytes dealt for each product of whole numbers"),
    "relu_hops": _count("hops", "relu_1e6", 4, "hops of a ReLU whose result is used again"),
    "relu_online": _count("online", "relu_1e6", 13, "bytes that a party opens for each element of it", 1e6),
    "relu_dealt": _count("dealt", "relu_1e6", 64, "bytes dealt for each element of it", 1e6),
}
#: What is only told beside: the same by relay and over slow lines, and CrypTen when a party deals.
BESIDE = ("asyncsyft-mpc-relay", "asyncsyft-mpc-far", "crypten-tfp")

#: Peers that one would look for, and why they are not here.
NOT_MEASURED = {
    "spu-semi2k": "spu 0.9.5 installs with numpy below 2 only, and .venv-bench, where all stacks run, has numpy 2"
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="short rounds; about three minutes in all")
    parser.add_argument("--json", metavar="FILE", help="write the figures there; - prints them, the table on stderr")
    parser.add_argument("--rounds", type=int, help="how many (default 9, quick 5)")
    parser.add_argument("--seconds", type=float, help="of each measure in a round (default 1, quick 0.4)")
    parser.add_argument(
        "--only", metavar="KEY,...", help=f"only these keys and whole stacks: {', '.join([*KEYS, *MPC])}"
    )


def wanted(only: Optional[str]) -> Wanted:
    """What must be measured for these keys and stacks. Raises: BenchmarkFailed for a word that is neither."""
    needed: Dict[str, Optional[Set[str]]] = {}
    for word in only.split(",") if only else [*KEYS, *BESIDE]:
        if word in MPC:
            needed[word] = set(NAMES)
            continue
        if word not in KEYS:
            raise BenchmarkFailed(f"{word!r} is neither a key nor a stack: see --help")
        for stack, measures in KEYS[word].needs().items():
            needed[stack] = (needed.get(stack) or set()) | measures
    return needed


def keys_of(only: Optional[str]) -> List[str]:
    return [word for word in only.split(",") if word in KEYS] if only else list(KEYS)


def main(asked: argparse.Namespace) -> int:
    rounds = asked.rounds or (5 if asked.quick else 9)
    seconds = asked.seconds or (0.4 if asked.quick else 1.0)
    try:
        taken = asyncio.run(run(wanted(asked.only), Run(rounds, seconds, False, progress)))
    except BenchmarkFailed as why:
        print(f"benchmark failed: {why}", file=sys.stderr)
        return 1
    made = report(taken, {word: KEYS[word] for word in keys_of(asked.only)})
    made["details"]["run"] = {"rounds": rounds, "seconds": seconds, "quick": asked.quick}
    made["details"]["not_measured"] = NOT_MEASURED
    show(made, table(made), asked.json)
    return 0
