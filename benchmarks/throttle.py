"""A slow link on one machine: a TCP proxy that carries so many bits a second, each of them so much later.

Two ends that are told to connect through it see bandwidth and delay as over a real line: what does not fit waits at the
sender. It is the fault proxy of the package without its faults.
"""

from __future__ import annotations

import argparse
import math
from contextlib import suppress
from typing import Optional, Tuple

import anyio

from asyncsyft.faults import FEWEST, MOST, FaultProxy, Pace
from asyncsyft.faults.sockets import endpoint as address

__all__ = ["FEWEST", "MOST", "Pace", "Throttle", "add_arguments", "address", "main"]


class Throttle(FaultProxy):
    """The proxy while entered: what comes to ``port`` goes to the target at ``bandwidth`` bits/s, ``delay`` s later."""

    def __init__(
        self, host: str, port: int, bandwidth: float = math.inf, delay: float = 0.0, listen: str = "127.0.0.1:0"
    ) -> None:
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        super().__init__(target, listen=listen, bandwidth=bandwidth, delay=delay)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="HOST:PORT", help="where the slow link leads")
    parser.add_argument("--listen", metavar="HOST:PORT", default="127.0.0.1:0", help="default: a free port of loopback")
    parser.add_argument("--bandwidth", type=float, metavar="MBIT", help="megabits per second, each way (default: any)")
    parser.add_argument("--delay", type=float, default=0.0, metavar="MS", help="milliseconds, each way (default 0)")
    parser.add_argument("--seconds", type=float, help="end after so long (default: when interrupted)")


async def _run(target: Tuple[str, int], listen: str, pace: Tuple[float, float], end: float) -> None:
    async with Throttle(*target, *pace, listen) as throttle:
        print(f"{throttle.url} leads to {target[0]}:{target[1]}", flush=True)
        await anyio.sleep(end)


def main(asked: argparse.Namespace) -> int:
    bandwidth: Optional[float] = asked.bandwidth
    pace = (math.inf if bandwidth is None else bandwidth * 1e6, asked.delay / 1000)
    end = math.inf if asked.seconds is None else asked.seconds
    with suppress(KeyboardInterrupt):
        anyio.run(_run, address(asked.target), asked.listen, pace, end)
    return 0
