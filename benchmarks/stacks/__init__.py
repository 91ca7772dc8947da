"""One file for each thing that is measured; :data:`STACKS` names them.

A stack has servers, each in a process of its own, and a client, which runs in another and offers measures: coroutine
functions that work for about the seconds they are given and return how many operations that was and how long it took.
The event loop is Python's own everywhere, so that no figure is the doing of another loop.
"""

from __future__ import annotations

import importlib
from typing import AsyncContextManager, Awaitable, Callable, Dict, Mapping, NamedTuple, Protocol, Tuple, cast

#: Environments: asyncsyft's own with all that it is made of, and that of the peers (``make bench-env``).
OWN, PEERS = ".venv", ".venv-bench"
#: A measure that is given no more seconds than this is only warming up.
WARM_UP = 0.1


class Place(NamedTuple):
    """Where a stack is found: its file, its environment, its servers in the order in which they start."""

    module: str
    env: str = OWN
    servers: Tuple[str, ...] = ("serve",)


STACKS: Dict[str, Place] = {
    "asyncsyft": Place("asyncsyft_direct"),
    "asyncsyft-trio": Place("asyncsyft_trio"),
    "asyncsyft-relay": Place("asyncsyft_relay", servers=("relay", "worker")),
    "asyncsyft-large": Place("asyncsyft_large"),
    "asyncsyft-relay-large": Place("asyncsyft_relay_large", servers=("relay", "worker")),
    "asyncsyft-plan": Place("asyncsyft_plan"),
    "asyncsyft-zstd": Place("asyncsyft_zstd", servers=("workers", "throttles")),
    "asyncsyft-sealed": Place("asyncsyft_sealed"),
    "numpy": Place("numpy_loop", servers=()),
    "websockets": Place("websockets_echo"),
    "websockets-relay": Place("websockets_relay", servers=("relay", "answerer")),
    "socketio": Place("socketio_echo", PEERS),
    "grpc": Place("grpc_echo", PEERS),
    "dask": Place("dask_distributed", PEERS, servers=("scheduler", "worker")),
    "tcp": Place("tcp"),
}
#: What `bridge` compares, in the environment in which PySyft 0.2.9 runs: ``make bridge-env``.
SYFT: Dict[str, Place] = {
    "syft-bridge": Place("benchmarks.bridge.bridged", servers=("alice", "bob", "charlie", "dan")),
    "syft-bridge-large": Place("benchmarks.bridge.bridged_large", servers=("alice",)),
    "syft-websocket": Place("benchmarks.bridge.websocket", servers=("alice", "bob", "charlie", "dan")),
    "syft-websocket-large": Place("benchmarks.bridge.websocket_large", servers=("alice",)),
    "syft-virtual": Place("benchmarks.bridge.virtual", servers=()),
}
#: What `mpc` compares, in the environment of the peers: torch is there.
MPC: Dict[str, Place] = {
    "asyncsyft-mpc": Place("benchmarks.mpc.direct", PEERS, ("alice", "bob", "james")),
    "asyncsyft-mpc-relay": Place("benchmarks.mpc.relayed", PEERS, ("relay", "alice", "bob", "james")),
    "asyncsyft-mpc-far": Place(
        "benchmarks.mpc.far", PEERS, ("line_to_alice", "alice", "line_to_bob", "bob", "line_to_james", "james")
    ),
    "crypten-ttp": Place("benchmarks.mpc.crypten_ttp", PEERS, ("second", "third")),
    "crypten-tfp": Place("benchmarks.mpc.crypten_tfp", PEERS, ("second",)),
}
#: What `scale` starts, with as many processes of workers as it likes.
CROWD = "asyncsyft-crowd"


class Sample(NamedTuple):
    """So many operations, in so many seconds; ``unit`` says what one of them is."""

    operations: float
    seconds: float
    unit: str = "calls"
    more: Mapping[str, float] = {}  # numbers of its own beside the rate


Measure = Callable[[float], Awaitable[Sample]]
#: What a server calls with its ports as soon as it listens.
Ready = Callable[..., None]


class Stack(Protocol):
    """What a file of this folder defines, beside an ``async def server(ready, *ports)`` for each of its servers.

    A server listens on loopback, calls ``ready(port, ...)`` and serves until it is cancelled; ``ports`` are those of
    the servers before it.
    """

    #: The event loop of all ends: "asyncio" or "trio".
    BACKEND: str
    #: The distributions whose versions are told with the figures.
    VERSIONS_OF: Tuple[str, ...]

    def client(self, *ports: int) -> AsyncContextManager[Mapping[str, Measure]]:
        """Connect, and offer the measures while the context is open; ``ports`` are those of all servers."""


def place(name: str) -> Place:
    """Where the stack of that name is found; KeyError if there is none."""
    return {**STACKS, **SYFT, **MPC}[name]


def load(name: str) -> Stack:
    """The stack of that name; KeyError if there is none."""
    module = "asyncsyft_crowd" if name == CROWD else place(name).module
    return cast(Stack, importlib.import_module(module if "." in module else f"{__name__}.{module}"))
