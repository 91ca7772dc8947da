"""The processes of a stack, as the one that started them sees them; each is ended by its own handle."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, AsyncIterator, Dict, List, Mapping, NamedTuple, Sequence, Set, cast

from benchmarks.stacks import OWN, WARM_UP, place

ROOT = Path(__file__).resolve().parent.parent
START = 60.0  # seconds that an end may take to start
SLACK = 60.0  # seconds that a measure may take beyond those it was given
STOP = 10.0  # seconds that an end may take to stop


class BenchmarkFailed(Exception):
    """A peer is missing; an end died, fell silent or said something else than was asked."""


class Usage(NamedTuple):
    """What one process used during a measure."""

    cpu: float  # seconds, all threads
    peak: int  # bytes
    gain: int  # bytes: the peak over what it held before the first measure
    sent: int = 0  # bytes on its TCP connections


class Figure(NamedTuple):
    """One measure in one round."""

    operations: float
    seconds: float
    unit: str
    ends: Mapping[str, Usage]  # by role: "client" and the names of the servers
    more: Mapping[str, float] = {}  # numbers of its own beside the rate

    @property
    def rate(self) -> float:
        """Operations per second."""
        return self.operations / self.seconds

    @property
    def sent(self) -> float:
        """Bytes sent per operation, by all processes together."""
        return sum(end.sent for end in self.ends.values()) / self.operations

    @property
    def cpu(self) -> float:
        """Seconds of CPU per operation, all processes together."""
        return sum(end.cpu for end in self.ends.values()) / self.operations


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
        answer = cast(Dict[str, Any], json.loads(line))
        if "failed" in answer:
            raise BenchmarkFailed(f"{self._name}: {answer['failed']}")
        return answer

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


def interpreter(env: str) -> str:
    """The Python of an environment. Raises: BenchmarkFailed if there is none."""
    if env == OWN:
        return sys.executable
    python = ROOT / env / "bin" / "python"
    if not python.exists():
        raise BenchmarkFailed(f"the peers are missing: there is no {env}; make bench-env")
    return str(python)


@asynccontextmanager
async def process(env: str, name: str, *words: str) -> AsyncIterator[End]:
    """``python -m benchmarks.end WORDS`` in an environment, while the context is open."""
    started = await asyncio.create_subprocess_exec(
        interpreter(env),
        *("-m", "benchmarks.end", *words),
        stdin=PIPE,
        stdout=PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    running = End(name, started)
    try:
        yield running
    finally:
        await running.stop()


async def check(stacks: Sequence[str]) -> Dict[str, str]:
    """The versions of what these stacks need. Raises: BenchmarkFailed if something is missing."""
    by_env: Dict[str, List[str]] = {}
    for stack in stacks:
        by_env.setdefault(place(stack).env, []).append(stack)
    versions: Dict[str, str] = {}
    for env, names in by_env.items():
        async with process(env, env, "check", *names) as checking:
            versions.update((await checking.hear(START))["versions"])
    return versions


class Crew:
    """All processes of one stack: its servers and its client."""

    def __init__(self, servers: Mapping[str, End], client: End) -> None:
        self._servers, self._client = servers, client
        self._warm: Set[str] = set()

    async def hello(self) -> None:
        """Hear which measures there are, and what each process holds before any of them."""
        hello = await self._client.hear(START)
        self.measures: List[str] = hello["measures"]
        self.held = {role: int(usage["held"]) for role, usage in (await self._usage()).items()}
        self.held["client"] = int(hello["held"])

    async def _usage(self, **order: object) -> Dict[str, Dict[str, Any]]:
        return {role: await server.ask(START, **order) for role, server in self._servers.items()}

    async def measure(self, name: str, seconds: float) -> Figure:
        """Take a measure for about so many seconds; the first time, warm up before."""
        if name not in self._warm:
            await self._client.ask(WARM_UP + SLACK, measure=name, seconds=min(WARM_UP, seconds))
            self._warm.add(name)
        before = await self._usage(forget=True)
        sample = await self._client.ask(seconds + SLACK, measure=name, seconds=seconds)
        after = await self._usage()
        before["client"], after["client"] = sample["before"], sample["after"]
        ends = {
            role: Usage(
                after[role]["cpu"] - before[role]["cpu"],
                after[role]["peak"],
                after[role]["peak"] - held,
                after[role]["sent"] - before[role]["sent"],
            )
            for role, held in self.held.items()
        }
        return Figure(sample["operations"], sample["seconds"], sample["unit"], ends, sample["more"])


@asynccontextmanager
async def crew(stack: str) -> AsyncIterator[Crew]:
    """The processes of a stack, started now."""
    found = place(stack)
    async with AsyncExitStack() as open_:
        servers: Dict[str, End] = {}
        ports: List[str] = []
        for server in found.servers:
            started = process(found.env, f"{stack} {server}", stack, server, *ports)
            servers[server] = await open_.enter_async_context(started)
            ports += map(str, (await servers[server].hear(START))["ports"])
        started = process(found.env, f"{stack} client", stack, "drive", *ports)
        made = Crew(servers, await open_.enter_async_context(started))
        await made.hello()
        yield made
