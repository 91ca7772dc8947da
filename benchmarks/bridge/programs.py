"""What is measured: programs as users of PySyft write them, the same for all kinds of workers."""

from __future__ import annotations

import gc
import time
from typing import Any, Callable, Dict, List, Mapping, Sequence, Tuple

from benchmarks.bridge.pysyft import hook, sy, torch
from benchmarks.stacks import Measure, Sample

BATCH = 50  # operations between two looks at the clock
SIDE = 300  # rows and columns of the products on several workers
PRODUCTS = 100  # after so many it is counted what they left at the workers
NEAR = 0.05  # by how much a result on shares may differ from that of floats; both have values around 0.1

Program = Callable[[float], Sample]


class CountedWrong(Exception):
    """A result is not what PySyft gives."""


def as_measures(programs: Mapping[str, Program]) -> Mapping[str, Measure]:
    """Programs as the harness calls them. They block, which is all right: nothing else runs in their process."""

    def measure(program: Program) -> Measure:
        async def run(seconds: float) -> Sample:
            return program(seconds)

        return run

    return {name: measure(program) for name, program in programs.items()}


def settle(workers: Sequence[Any]) -> None:
    """Wait until the workers have done all that they were asked."""
    for worker in workers:
        torch.ones(1).send(worker).get()


def _repeated(seconds: float, batch: Callable[[], Any], last: Callable[[], None], each: int) -> Tuple[int, float]:
    """How many operations were done in how many seconds: batches of ``each``, and then ``last``, which waits."""
    begun = time.perf_counter()
    done = 0
    while not done or time.perf_counter() - begun < seconds:
        batch()
        done += each
    last()
    return done, time.perf_counter() - begun


def adds(workers: Sequence[Any]) -> Program:
    """``x_ptr + y_ptr``, ten elements, on the workers in turn; the results are kept until all is done."""
    pairs = [(torch.arange(10.0).send(worker), torch.arange(10.0).send(worker)) for worker in workers]
    turns = BATCH // len(pairs)

    def program(seconds: float) -> Sample:
        kept: List[Any] = []

        def batch() -> None:
            kept.extend(x + y for _ in range(turns) for x, y in pairs)

        def last() -> None:
            for result in kept[-len(pairs) :]:
                if result.get().tolist() != [2.0 * number for number in range(10)]:
                    raise CountedWrong("a sum")

        done, took = _repeated(seconds, batch, last, turns * len(pairs))
        kept.clear()
        settle(workers)
        return Sample(done, took, "adds")

    return program


def roundtrips(worker: Any) -> Program:
    """``x.send(bob).get()``, ten elements."""
    x = torch.arange(10.0)

    def program(seconds: float) -> Sample:
        def batch() -> None:
            for _ in range(BATCH):
                if x.send(worker).get().tolist()[9] != 9:
                    raise CountedWrong("a tensor that was sent")

        done, took = _repeated(seconds, batch, lambda: None, BATCH)
        return Sample(done, took, "round trips")

    return program


def products_in_turn(workers: Sequence[Any]) -> Program:
    """``x_ptr @ x_ptr``, 300 x 300, on the workers in turn, each result forgotten at once."""
    pointers = [torch.eye(SIDE).send(worker) for worker in workers]
    turns = 40 // len(pointers)

    def program(seconds: float) -> Sample:
        def batch() -> None:
            for _ in range(turns):
                results = [pointer.mm(pointer) for pointer in pointers]
            for result in results:  # which are the last of each worker: it has done the others
                result.sum().get()

        done, took = _repeated(seconds, batch, lambda: None, turns * len(pointers))
        return Sample(done, took, "products")

    return program


class Mlp(torch.nn.Module):  # type: ignore[misc]
    """784-128-64-10."""

    def __init__(self, activation: Callable[[Any], Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.third = (torch.nn.Linear(*sizes) for sizes in ((784, 128), (128, 64), (64, 10)))
        self.activation = activation

    def forward(self, x: Any) -> Any:
        return self.third(self.activation(self.second(self.activation(self.first(x)))))


def square(x: Any) -> Any:
    return x * x


def relu(x: Any) -> Any:
    return x.relu()


def mlp(parties: Sequence[Any], helper: Any, protocol: str, activation: Callable[[Any], Any]) -> Program:
    """One row through the net, on shares: shared, computed, got; ``far_off`` counts results unlike those of floats.

    FSS is wrong once in a while by its nature, at VirtualWorkers as well.
    """
    options = {"crypto_provider": helper, "protocol": protocol}
    shared: List[Any] = []

    def program(seconds: float) -> Sample:
        plain = Mlp(activation)
        row = torch.linspace(0, 1, 784).reshape(1, -1)
        wanted = plain(row).detach()
        if not shared:
            shared.append(Mlp(activation).fix_precision().share(*parties, **options))
            settle(parties)
        got: List[Any] = []

        def batch() -> None:
            got.append(shared[0](row.fix_precision().share(*parties, **options)).get().float_precision())

        done, took = _repeated(seconds, batch, lambda: None, 1)
        far_off = sum(not bool(((one - wanted).abs() < NEAR).all()) for one in got)
        return Sample(done, took, "inferences", {"far_off": far_off / done})

    return program


def leaks(parties: Sequence[Any], helper: Any, held: Callable[[Any], int]) -> Program:
    """Products of shares whose results are forgotten; ``left`` counts the objects that stay at the parties."""

    def program(seconds: float) -> Sample:
        x = torch.arange(4.0).reshape(2, 2).fix_precision().share(*parties, crypto_provider=helper)
        settle(parties)
        before = sum(map(held, parties))
        begun = time.perf_counter()
        for _ in range(PRODUCTS):
            product = x * x
        value = product.get().float_precision().tolist()
        took = time.perf_counter() - begun
        if value != [[0, 1], [4, 9]]:
            raise CountedWrong(f"a product of shares: {value}")
        del product
        gc.collect()
        settle(parties)
        return Sample(PRODUCTS, took, "products", {"left": sum(map(held, parties)) - before})

    return program


def all_programs(workers: Sequence[Any], held: Callable[[Any], int]) -> Dict[str, Program]:
    """Those of all workers; the first two are the parties, the third the helper."""
    parties, helper = workers[:2], workers[2]
    return {
        "adds": adds(workers[:1]),
        "roundtrips": roundtrips(workers[0]),
        "adds_on_four": adds(workers),
        "mm_on_one": products_in_turn(workers[:1]),
        "mm_on_four": products_in_turn(workers),
        "mlp_square": mlp(parties, helper, "snn", square),
        "mlp_fss": mlp(parties, helper, "fss", relu),
        "mlp_securenn": mlp(parties, helper, "snn", relu),
        "leaks": leaks(parties, helper, held),
    }


def large(worker: Any, megabytes: int) -> Dict[str, Program]:
    """A float32 tensor of so many megabytes (10**6 bytes), there and back."""
    tensor, other = (torch.rand(megabytes * 250_000) for _ in range(2))  # PySyft's own compresses what it can
    there, last = other.send(worker), other[-1].item()
    del other

    def send(seconds: float) -> Sample:
        def batch() -> None:
            tensor.send(worker)

        done, took = _repeated(seconds, batch, lambda: settle([worker]), 1)
        return Sample(done * megabytes, took, "MB")

    def get(seconds: float) -> Sample:
        took, done = 0.0, 0
        while not done or took < seconds:
            copy = there + 0  # a clone has the id of what it was made from: `get` would take both away
            settle([worker])
            begun = time.perf_counter()
            got = copy.get()
            took += time.perf_counter() - begun
            done += 1
            if got.numel() != tensor.numel() or got[-1].item() != last:
                raise CountedWrong("a large tensor")
            del got  # the next is not to come while the program itself still holds this one
        return Sample(done * megabytes, took, "MB")

    return {f"send_{megabytes}mb": send, f"get_{megabytes}mb": get}


def virtual_workers(names: Sequence[str]) -> List[Any]:
    """PySyft's own workers of this process."""
    return [sy.VirtualWorker(hook, id=name) for name in names]
