"""Runs stacks against one another: two processes for each, in rounds, in random order.

It knows no library and no ratio; see ``stacks/`` and the file named after the benchmark.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import asynccontextmanager
from typing import Any, AsyncIterator, Callable, Dict, List, NamedTuple, Sequence, cast

START = 30.0  # seconds that an end may take to start
SLACK = 30.0  # seconds that a measure may take beyond those it was given
STOP = 10.0  # seconds that an end may take to stop


class BenchmarkFailed(Exception):
    """An end died, fell silent or said something else than was asked."""


class Figure(NamedTuple):
    """One measure in one round."""

    rate: float  # operations per second
    cpu: float  # seconds of CPU per operation, both ends together
    server_peak: int  # bytes
    client_peak: int  # bytes


class Taken(NamedTuple):
    """All that a run found out."""

    figures: Dict[str, List[Figure]]  # "stack.measure" -> one a round
    versions: Dict[str, str]


class End:
    """One end of a stack: a process that answers lines with lines."""

    def __init__(self, name: str, process: Process) -> None:
        self._name, self._process = name, process

    async def hear(self, seconds: float) -> Dict[str, Any]:
        stdout = self._process.stdout
        assert stdout is not None
        try:
            line = await asyncio.wait_for(stdout.readline(), seconds)
        except asyncio.TimeoutError:
            raise BenchmarkFailed(f"{self._name} said nothing for {seconds:.0f} s") from None
        if not line:
            raise BenchmarkFailed(f"{self._name} ended; what it said is above")
        return cast(Dict[str, Any], json.loads(line))

    async def ask(self, within: float, **order: object) -> Dict[str, Any]:
        stdin = self._process.stdin
        assert stdin is not None
        stdin.write(json.dumps(order).encode() + b"\n")
        return await self.hear(within)

    async def stop(self) -> None:
        """Close its input, which ends it; kill it if it does not."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), STOP)
        except asyncio.TimeoutError:
            self._process.kill()
            await self._process.wait()


@asynccontextmanager
async def end(stack: str, *words: str) -> AsyncIterator[End]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.end", stack, *words, stdin=PIPE, stdout=PIPE
    )
    running = End(f"{stack} {words[0]}", process)
    try:
        yield running
    finally:
        await running.stop()


async def measure(server: End, client: End, name: str, seconds: float) -> Figure:
    await client.ask(seconds + SLACK, measure=name, seconds=min(0.3, seconds))  # warm up
    before = await server.ask(START, forget=True)
    sample = await client.ask(seconds + SLACK, measure=name, seconds=seconds)
    after = await server.ask(START)
    operations = sample["operations"]
    cpu = sample["cpu"] + after["cpu"] - before["cpu"]
    return Figure(operations / sample["seconds"], cpu / operations, after["peak"], sample["peak"])


async def one_round(stack: str, seconds: float, taken: Taken) -> None:
    """Both ends of one stack, started afresh; its measures in random order."""
    async with end(stack, "serve") as server:
        port = (await server.hear(START))["port"]
        async with end(stack, "drive", str(port)) as client:
            hello = await client.hear(START)
            taken.versions.update(hello["versions"])
            for name in random.sample(hello["measures"], len(hello["measures"])):
                figure = await measure(server, client, name, seconds)
                taken.figures.setdefault(f"{stack}.{name}", []).append(figure)


async def run(stacks: Sequence[str], rounds: int, seconds: float, progress: Callable[[str], None]) -> Taken:
    """Each round takes the stacks in a random order of its own."""
    taken = Taken({}, {})
    for number in range(rounds):
        for stack in random.sample(stacks, len(stacks)):
            progress(f"round {number + 1} of {rounds}: {stack}")
            await one_round(stack, seconds, taken)
    return taken
