"""CrypTen: what each of its two parties does, and its trusted third party. The first party is the one that measures.

The second does what the first says: both go through the same operations. All that is said goes over gloo's TCP links.
"""

from __future__ import annotations

import importlib
import os
import socket
import sys
import time
import types
from contextlib import asynccontextmanager
from typing import Any, AsyncContextManager, AsyncIterator, Awaitable, Callable, Dict, List, Mapping

import anyio
import anyio.to_thread
import numpy as np

from benchmarks.mpc import work
from benchmarks.stacks import Measure, Ready, Sample

BACKEND = "asyncio"
VERSIONS_OF = ("crypten", "torch")

PARTIES = 2
#: The trusted third party, and the first party in its place, which could then read everything.
TTP, TFP = "TTP", "TFP"
#: CrypTen cuts products off locally, which now and then fails for an element: the results may have a few that are off.
WRONG = 1e-4


def load() -> Any:
    """The library. Its converter of ONNX models, which is not used here, needs a part of torch that is gone."""
    converter: Any = types.ModuleType("crypten.nn.onnx_converter")
    converter.from_onnx = converter.from_pytorch = converter.from_tensorflow = None
    converter.TF_AND_TF2ONNX = False
    sys.modules[converter.__name__] = converter
    return importlib.import_module("crypten")


def join(rank: int, port: int, provider: str) -> Any:
    """The library, once all have joined; the first party listens on the port for the others."""
    os.environ.update(
        WORLD_SIZE=str(PARTIES), RANK=str(rank), RENDEZVOUS=f"tcp://127.0.0.1:{port}", DISTRIBUTED_BACKEND="gloo"
    )
    work.one_thread()
    crypten = load()
    crypten.cfg.mpc.provider = provider
    if rank < PARTIES:
        crypten.init()
    else:
        crypten.mpc.provider.TTPServer()  # returns when the others are gone
    return crypten


def plain(revealed: Any) -> Any:
    """Revealed integers as numbers: CrypTen's own way back is off by one for some numbers below -256."""
    return revealed.numpy() / 2.0**16


class Programs:
    """What both parties do, by name; what an operation needs is shared when it is done first."""

    def __init__(self, crypten: Any) -> None:
        self._crypten, self._shared = crypten, {}  # type: Any, Dict[str, List[Any]]
        self._torch = importlib.import_module("torch")

    def _secret(self, array: Any, owner: int = 0) -> Any:
        return self._crypten.cryptensor(self._torch.tensor(array), src=owner)

    def _inputs(self, name: str, *arrays: Any, owner: int = 0) -> List[Any]:
        if name not in self._shared:
            self._shared[name] = [self._secret(array, owner) for array in arrays]
        return self._shared[name]

    def mul_1e6(self, _: int) -> Any:
        x, y = self._inputs("mul_1e6", *work.operation("mul_1e6").inputs)
        return x * y

    def matmul_512(self, _: int) -> Any:
        x, y = self._inputs("matmul_512", *work.operation("matmul_512").inputs)
        return x.matmul(y)

    def relu_1e6(self, _: int) -> Any:
        (x,) = self._inputs("relu_1e6", *work.operation("relu_1e6").inputs)
        return x.relu()

    def sequential_mul(self, length: int) -> Any:
        x, factor = self._inputs("sequential_mul", np.ones(1), np.full(1, work.FACTOR))
        for _ in range(length):
            x = x * factor
        return x.reveal()

    def network(self, size: int) -> Any:
        """The first party has the images, the second the weights; the first learns the result."""
        made = work.network()
        layers = self._inputs("network", *(array for layer in made.layers for array in layer), owner=1)
        x = self._secret(made.batch(size))
        for at in range(0, len(layers), 2):
            x = x.matmul(layers[at]) + layers[at + 1]
            if at < len(layers) - 2:
                x = x.relu()
        return x.reveal(dst=0)


def second(provider: str) -> Callable[..., Awaitable[None]]:
    """The second party, which picks the port on which all meet."""

    async def serve(ready: Ready, *_: int) -> None:
        with socket.create_server(("127.0.0.1", 0)) as held:
            port = held.getsockname()[1]
        ready(port)
        await anyio.to_thread.run_sync(_follow, port, provider)

    return serve


def _follow(port: int, provider: str) -> None:
    crypten = join(1, port, provider)
    programs = Programs(crypten)
    while True:
        name, number, times = crypten.communicator.get().broadcast_obj(None, 0)
        if not times:
            crypten.uninit()
            return
        for _ in range(times):
            result = getattr(programs, name)(number)
        if number < 0:
            result.reveal()


def third(provider: str) -> Callable[..., Awaitable[None]]:
    """The trusted third party."""

    async def serve(ready: Ready, port: int) -> None:
        ready()
        await anyio.to_thread.run_sync(join, PARTIES, port, provider)

    return serve


class Leader:
    """The first party."""

    def __init__(self, crypten: Any) -> None:
        self._crypten, self._programs = crypten, Programs(crypten)
        self._seconds: Dict[str, float] = {}  # that one of them took, the last time

    def _run(self, name: str, number: int, seconds: float) -> Any:
        """What the last one gave, how many, and how long: as many as fit into the time, known before they start."""
        times = max(1, round(seconds / self._seconds[name])) if name in self._seconds else 1
        self._crypten.communicator.get().broadcast_obj((name, number, times), 0)
        start = time.perf_counter()
        for _ in range(times):
            result = getattr(self._programs, name)(number)
        took = time.perf_counter() - start
        self._seconds[name] = took / times
        return result, times, took

    def operation(self, name: str) -> Measure:
        """Its number is below zero: both parties then reveal the last result, which is not timed."""
        asked = work.operation(name)

        async def take(seconds: float) -> Sample:
            result, times, took = self._run(name, -1, seconds)
            work.check(plain(result.reveal()), asked.wanted, asked.within, WRONG)
            return Sample(times, took, "times")

        return take

    async def sequential_mul(self, seconds: float) -> Sample:
        length = work.length_of(seconds)
        result, times, took = self._run("sequential_mul", length, 0)
        work.check_sequence(plain(result), length)
        return Sample(times * length, took, "products")

    def network(self, size: int) -> Measure:
        made = work.network()

        async def take(seconds: float) -> Sample:
            result, times, took = self._run("network", size, seconds)
            made.check(plain(result))
            return Sample(times, took, "times")

        return take

    def end(self) -> None:
        """Let the others end."""
        self._crypten.communicator.get().broadcast_obj(("", 0, 0), 0)
        self._crypten.uninit()


def client(provider: str) -> Callable[..., AsyncContextManager[Mapping[str, Measure]]]:
    """The first party, which measures."""

    @asynccontextmanager
    async def measuring(port: int) -> AsyncIterator[Mapping[str, Measure]]:
        leader = Leader(join(0, port, provider))
        measures = {name: leader.operation(name) for name in ("mul_1e6", "matmul_512", "relu_1e6")}
        measures.update({f"mlp_b{size}": leader.network(size) for size in work.BATCHES})
        yield {**measures, "sequential_mul": leader.sequential_mul}
        leader.end()

    return measuring
