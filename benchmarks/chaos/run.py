"""One chaos run on one event loop: starts the processes, puts a bad network between them, and counts."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from asyncio.subprocess import PIPE
from contextlib import AsyncExitStack
from random import Random
from typing import Any, AsyncContextManager, Callable, Dict, List, NamedTuple, Sequence

from asyncsyft.faults import FaultProxy, Mischief
from benchmarks.chaos.jobs import HANG
from benchmarks.ends import ROOT, START, BenchmarkFailed, End

DRIVERS, WORKERS = 3, 2
#: Of mischief: most links are cut hard, and some are half open until the ends' silence is over.
KINDS = ["reset"] * 4 + ["end"] * 3 + ["middle"] * 3 + ["freeze"]
HALF_OPEN = 6.0  # seconds
#: Seconds that a killed relay stays away, at most; its start comes to that.
AWAY = 1.0
#: One arena for all threads: what is free in another is never given back, and would look like a leak.
MALLOC = {"MALLOC_ARENA_MAX": "1"}
#: Seconds after which an idle driver has told the workers which answers it has seen, and they keep them no more.
QUIET = 1.5
#: How often is looked at least at what each process holds.
LOOKS = 4
#: Seconds that a driver may take to say what it did: all its waits are bounded themselves.
LATE = 3 * HANG
COUNTED = ("steps", "bytes", "steps_lost", "steps_doubled", "wrong_results", "hangs")

Progress = Callable[[str], None]


class Size(NamedTuple):
    """How much of everything, at least; ``every``: seconds from cut to cut on average."""

    steps: int
    bytes: int
    cuts: int
    kills: int
    largest: int  # bytes of a tensor
    every: float

    def part(self, share: float, kills: int = 0) -> Size:
        cuts = -(-int(self.cuts * share * 100) // 100)
        return Size(int(self.steps * share), int(self.bytes * share), cuts, kills, self.largest, self.every)


QUICK = Size(20_000, 200_000_000, 50, 2, 4 << 20, 0.35)
FULL = Size(100_000, 1_000_000_000, 200, 5, 32 << 20, 0.35)


class Victim(End):
    """A process that may be killed."""

    def say(self, **order: object) -> None:
        """Tell it something, without waiting for an answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")

    async def kill(self) -> None:
        self._process.kill()
        await self._process.wait()


class Chaos:
    """The processes of one run and what befalls them, while entered."""

    def __init__(self, loop: str, progress: Progress, seed: int) -> None:
        self.counts = dict.fromkeys(COUNTED, 0)
        self.counts["kills"] = 0
        self.problems: List[str] = []
        self.mischief = Mischief(seed, KINDS, HALF_OPEN)
        self.proxies: List[FaultProxy] = []
        self._loop, self._progress, self._random = loop, progress, Random(seed)
        self._seed = seed
        self._stack = AsyncExitStack()
        self._drivers: Dict[str, Victim] = {}
        self._workers: Dict[str, Victim] = {}

    @property
    def cuts(self) -> int:
        """Links that were cut so far, half-open ones not among them."""
        return sum(proxy.cuts for proxy in self.proxies)

    async def __aenter__(self) -> Chaos:
        try:
            await self._begin()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *unused: object) -> None:
        await self._stack.aclose()

    async def _begin(self) -> None:
        await self._start_relay(0)
        names = [f"worker-{number}" for number in range(WORKERS)]
        for name in names:
            self._workers[name] = await self._start("worker", self._loop, name, await self._road())
            await self._workers[name].hear(START)
        for number in range(DRIVERS):
            name = f"driver-{number}"
            self._drivers[name] = await self._start("driver", self._loop, name, await self._road(), *names)
            await self._drivers[name].hear(START)

    async def _start(self, *words: str) -> Victim:
        started = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.chaos.end", *words),
            stdin=PIPE,
            stdout=PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **MALLOC},
        )
        victim = Victim(" ".join(words[:3]), started)
        self._stack.push_async_callback(victim.stop)
        return victim

    async def _start_relay(self, port: int) -> None:
        self._relay = await self._start("relay", self._loop, str(port))
        self._port = int((await self._relay.hear(START))["port"])

    async def _road(self) -> str:
        """The URL of the relay through a proxy of its own."""
        proxy = FaultProxy(f"127.0.0.1:{self._port}", seed=self._seed + len(self.proxies))
        self.proxies.append(proxy)
        road: AsyncContextManager[FaultProxy] = proxy
        return (await self._stack.enter_async_context(road)).url

    # Work and mischief.

    async def burst(self, size: Size) -> None:
        """Let all drivers work, and meanwhile cut and kill as often as it says; adds up what they found."""
        share = {"steps": -(-size.steps // DRIVERS), "size": -(-size.bytes // DRIVERS), "largest": size.largest}
        for driver in self._drivers.values():
            driver.say(burst=share)
        await self._disturb(size)
        for driver in self._drivers.values():
            driver.say(stop=True)
        for name, driver in self._drivers.items():
            try:
                tally = await driver.hear(LATE)
            except BenchmarkFailed as why:
                self.counts["hangs"] += 1
                self.problems.append(f"{name}: {why}")
                raise
            for key in COUNTED:
                self.counts[key] += tally[key]
            self.problems += [f"{name}: {problem}" for problem in tally["problems"]]
        self._progress(f"  {self.counts}, {self.cuts} cuts, {len(self.problems)} problems")

    async def _disturb(self, size: Size) -> None:
        """Cuts at random moments and at either side, the relay's deaths spread among them."""
        enough = self.cuts + size.cuts
        ends = time.monotonic() + 10 + 4 * size.cuts * size.every  # if nothing lives that could be cut
        deaths = sorted(self._random.randrange(size.cuts) for _ in range(size.kills))
        while time.monotonic() < ends and (self.cuts < enough or deaths):
            await asyncio.sleep(self._random.expovariate(1 / size.every))
            if deaths and self.cuts >= enough - size.cuts + deaths[0]:
                del deaths[0]
                await self._kill_relay()
            elif self.cuts < enough:
                self.mischief.strike(self._random.choice(self.proxies))

    async def _kill_relay(self) -> None:
        await self._relay.kill()
        self.counts["kills"] += 1
        await asyncio.sleep(self._random.uniform(0, AWAY))
        await self._start_relay(self._port)

    # Looking.

    async def held(self) -> Dict[str, int]:
        """Bytes that each process holds now, when all is quiet."""
        await asyncio.sleep(QUIET)
        everyone = {**self._drivers, **self._workers, "relay": self._relay}
        return {name: int((await each.ask(START, held=True))["held"]) for name, each in everyone.items()}

    async def objects(self) -> int:
        """Objects that all workers hold now."""
        name, asked = next(iter(self._drivers.items()))
        answer = await asked.ask(2 * HANG, stats=True)
        if "problem" in answer:
            self.counts["wrong_results"] += 1
            self.problems.append(f"{name}: {answer['problem']}")
        return sum(int(stats["objects"]) for stats in answer.get("stats", []))


async def chaos(loop: str, size: Size, progress: Progress, seed: int, soak: float = 0.0) -> Dict[str, Any]:
    """The figures of one run; ``soak``: seconds for which it goes on at least.

    Memory is compared with what each process held once it had done and suffered all this before: links that are away
    for a while let more pile up than ever else, once. The relay's last life has its own share of that.
    """
    begun = time.monotonic()
    async with Chaos(loop, progress, seed) as run:
        progress(f"{loop}: cuts, and the relay is killed")
        await run.burst(size.part(0.5, size.kills))
        history: List[Dict[str, int]] = []
        progress(f"{loop}: cuts")
        while len(history) < LOOKS or time.monotonic() - begun < soak:
            await run.burst(size.part(0.5 / LOOKS))
            history.append(await run.held())
        objects = await run.objects()
        return {
            "results": {**wanted(run.counts), "leaked_objects": objects, "leaked_mb": leaked(history)},
            "cuts": run.cuts,
            "kills": run.counts["kills"],
            "steps": run.counts["steps"],
            "megabytes": run.counts["bytes"] / 1e6,
            "mischief": run.mischief.done,
            "held_mb": [{name: held / 1e6 for name, held in each.items()} for each in history],
            "seconds": time.monotonic() - begun,
            "problems": run.problems,
        }


def leaked(history: Sequence[Dict[str, int]]) -> float:
    """Megabytes by which what a process holds has grown: the least of the later looks against that of the earlier.

    How large tensors lie in memory when all is quiet differs from look to look by some megabytes, up and down.
    """
    half = len(history) // 2
    early, late = history[:half], history[half:]
    grown = [min(look[name] for look in late) - min(look[name] for look in early) for name in early[0]]
    return max(*grown, 0) / 1e6


def wanted(counts: Dict[str, int]) -> Dict[str, float]:
    return {key: counts[key] for key in ("steps_lost", "steps_doubled", "wrong_results", "hangs")}


def worst(runs: Sequence[Dict[str, Any]]) -> Dict[str, float]:
    """The keys: of what should be nothing the most, of what was done to them the least."""
    results = {key: max(run["results"][key] for run in runs) for key in runs[0]["results"]}
    return {**results, **{key: min(run[key] for run in runs) for key in ("cuts", "kills")}}
