"""How cost grows: one relay with 1 to 5,000 workers, and one tensor of 16 KiB to 64 MiB through it."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import metadata
from typing import Any, AsyncIterator, Dict, List, NamedTuple, Sequence

from benchmarks.ends import START, BenchmarkFailed, Crew, End, process
from benchmarks.report import columns, machine, where
from benchmarks.stacks import CROWD, OWN, load
from benchmarks.transport import progress, show

PEERS = (1, 10, 100, 1000, 5000)
PROCESSES = 2  # that hold the workers
HEARTBEATS = 6.0  # seconds of nothing, so that each peer's heartbeat is in it
GATHERING = 0.05  # seconds more for each worker that comes

Row = Dict[str, float]


class Gathered(NamedTuple):
    """A relay with its workers and a driver, and what it took."""

    crew: Crew
    seconds: float  # until all workers were there
    empty: int  # bytes that the relay held before anyone came
    full: int  # and with all workers, before the driver came


@asynccontextmanager
async def gathered(peers: int) -> AsyncIterator[Gathered]:
    """One relay, so many workers in few processes, one driver; all processes started now."""
    async with AsyncExitStack() as open_:

        async def start(name: str, *words: object) -> End:
            return await open_.enter_async_context(process(OWN, f"{CROWD} {name}", CROWD, *map(str, words)))

        servers = {"relay": await start("relay", "relay")}
        (port,) = (await servers["relay"].hear(START))["ports"]
        empty = (await servers["relay"].ask(START))["held"]
        begun, first = time.perf_counter(), 0
        for number in range(min(PROCESSES, peers)):
            count = peers // PROCESSES + (number < peers % PROCESSES)
            servers[f"workers {number}"] = await start("workers", "workers", port, first, count)
            first += count
        for name in list(servers)[1:]:
            await servers[name].hear(START + peers * GATHERING)
        seconds = time.perf_counter() - begun
        full = (await servers["relay"].ask(START))["held"]
        crew = Crew(servers, await start("client", "drive", port, peers))
        await crew.hello()
        yield Gathered(crew, seconds, empty, full)


async def one_crowd(peers: int, seconds: float, idle: float) -> Row:
    """What so many workers cost, and what a small call costs among them."""
    async with gathered(peers) as here:
        nothing = await here.crew.measure("idle", idle)
        single, busy = await here.crew.measure("single", seconds), await here.crew.measure("busy", seconds)
        held = here.crew.held
        return {
            "peers": peers,
            "gathering_s": here.seconds,
            "relay_kb_per_peer": (here.full - here.empty) / peers / 1e3,
            "workers_held_mb": sum(size for role, size in held.items() if role.startswith("workers")) / 1e6,
            "driver_held_mb": held["client"] / 1e6,
            "relay_idle_cpu_us_per_peer_s": nothing.ends["relay"].cpu / nothing.seconds / peers * 1e6,
            "p50_us": single.more["p50_us"],
            "p99_us": single.more["p99_us"],
            "relay_cpu_us_per_message": single.ends["relay"].cpu / single.operations / 2 * 1e6,
            "busy_calls_per_s": busy.rate,
            "busy_p99_us": busy.more["p99_us"],
            "busy_relay_cpu_us_per_message": busy.ends["relay"].cpu / busy.operations / 2 * 1e6,
        }


async def all_sizes(seconds: float) -> List[Row]:
    """Milliseconds to send and to get one tensor of each size by the relay, one at a time."""
    rows: Dict[int, Row] = {}
    async with gathered(1) as here:
        for name in here.crew.measures:
            way, _, size = name.partition("_")
            if size:
                figure = await here.crew.measure(name, seconds)
                row = rows.setdefault(int(size), {"bytes": int(size)})
                row[f"{way}_ms"] = 1e3 / figure.rate
                row[f"{way}_mb_per_s"] = figure.rate * int(size) / 1e6
                row[f"{way}_cpu_ms"] = figure.cpu * 1e3
    return [rows[size] for size in sorted(rows)]


def slopes(rows: Sequence[Row]) -> Row:
    """What one more peer costs, from the fewest peers to the most."""
    few, many = rows[0], rows[-1]
    more = many["peers"] - few["peers"]
    if not more:
        return {}
    # The fewest are in one process, whose own size is not a worker's.
    processes = min(PROCESSES, many["peers"]) / min(PROCESSES, few["peers"])
    return {
        "relay_kb_per_peer": many["relay_kb_per_peer"],
        "worker_kb_per_peer": (many["workers_held_mb"] - processes * few["workers_held_mb"]) * 1e3 / more,
        "driver_kb_per_peer": (many["driver_held_mb"] - few["driver_held_mb"]) * 1e3 / more,
        "relay_idle_cpu_us_per_peer_s": many["relay_idle_cpu_us_per_peer_s"],
        "p50_growth": many["p50_us"] / few["p50_us"],
        "busy_relay_cpu_growth": many["busy_relay_cpu_us_per_message"] / few["busy_relay_cpu_us_per_message"],
    }


PEER_COLUMNS = {
    "peers": "workers",
    "gathering_s": "s to gather",
    "relay_kb_per_peer": "relay KB each",
    "workers_held_mb": "workers MB",
    "driver_held_mb": "driver MB",
    "relay_idle_cpu_us_per_peer_s": "idle us/s each",
    "p50_us": "p50 us",
    "p99_us": "p99 us",
    "relay_cpu_us_per_message": "relay us/msg",
    "busy_calls_per_s": "busy calls/s",
    "busy_p99_us": "busy p99 us",
    "busy_relay_cpu_us_per_message": "busy relay us/msg",
}
SIZE_COLUMNS = {
    "bytes": "bytes",
    "send_ms": "send ms",
    "send_mb_per_s": "MB/s",
    "send_cpu_ms": "CPU ms",
    "get_ms": "get ms",
    "get_mb_per_s": "MB/s",
    "get_cpu_ms": "CPU ms",
}


def cell(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def rows_of(rows: Sequence[Row], names: Dict[str, str]) -> List[List[str]]:
    return [list(names.values()), *([cell(row[name]) for name in names] for row in rows)]


def table(made: Dict[str, Any]) -> str:
    details = made["details"]
    lines = [*columns(rows_of(details["peers"], PEER_COLUMNS)), ""]
    lines += [*columns(rows_of(details["sizes"], SIZE_COLUMNS)), ""]
    lines += [f"{name}: {cell(value)}" for name, value in made["results"].items()] + [""]
    return "\n".join([*lines, *where(details)])


async def measure(peers: Sequence[int], seconds: float, idle: float = HEARTBEATS) -> Dict[str, Any]:
    rows = []
    for count in peers:
        progress(f"{count} workers")
        rows.append(await one_crowd(count, seconds, idle))
    progress("tensors of all sizes")
    sizes = await all_sizes(seconds)
    versions = {name: metadata.version(name) for name in load(CROWD).VERSIONS_OF}
    details = {"peers": rows, "sizes": sizes, "versions": versions, "machine": machine()}
    return {"results": slopes(rows), "details": details}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="up to 1,000 workers, short measures")
    parser.add_argument("--json", metavar="FILE", help="write the figures there; - prints them, the table on stderr")
    parser.add_argument("--peers", metavar="N,...", help="how many workers (default 1,10,100,1000,5000)")
    parser.add_argument("--seconds", type=float, help="of each measure (default 3, quick 1)")


def main(asked: argparse.Namespace) -> int:
    peers = sorted(map(int, asked.peers.split(","))) if asked.peers else PEERS[: 4 if asked.quick else 5]
    try:
        made = asyncio.run(measure(peers, asked.seconds or (1.0 if asked.quick else 3.0)))
    except BenchmarkFailed as why:
        print(f"benchmark failed: {why}", file=sys.stderr)
        return 1
    show(made, table(made), asked.json)
    return 0
