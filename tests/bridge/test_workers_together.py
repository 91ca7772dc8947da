"""Workers that call the client back, and each other: each program gives what it gives with PySyft's own workers."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from typing import Any, Callable, Iterator, List

import pytest
import syft as sy
import torch
from websocket import WebSocketConnectionClosedException

import bridge

from .conftest import ROOT, Process, free_port

Workers = List[Any]


@pytest.fixture(scope="module", autouse=True)
def installed() -> Iterator[None]:
    bridge.install()
    yield
    bridge.uninstall()


@pytest.fixture(scope="module")
def james_process(processes: Any) -> Process:
    return processes("james")


@pytest.fixture(scope="module")
def far(hook: Any, alice_process: Process, bob_process: Process, james_process: Process) -> Workers:
    """Three workers, each in a process of its own."""
    made = (alice_process, bob_process, james_process)
    return [sy.WebsocketClientWorker(hook, "localhost", process.port, id=process.name) for process in made]


@pytest.fixture(scope="module")
def near(hook: Any) -> Workers:
    """Three workers of PySyft's own, in this process."""
    return [sy.VirtualWorker(hook, id=f"near {name}") for name in ("alice", "bob", "james")]


def held(worker: Any) -> int:
    """Objects that a worker holds, once it has done all that it was told."""
    gc.collect()
    return worker.objects_count_remote() if hasattr(worker, "far") else worker.objects_count()


def moves(alice: Any, bob: Any, james: Any) -> Any:
    x = torch.tensor([1.0, 2, 3, 4]).send(alice)
    moved = x.move(bob)
    assert moved.location is bob
    doubled = (moved + moved).move(james)
    return [(doubled + 1).get(), x.get()]


def sends_remotely(alice: Any, bob: Any, james: Any) -> Any:
    x = torch.tensor([5.0, 6])
    pointer = x.send(bob).remote_send(alice)
    assert pointer.location is bob
    there = sy.PointerTensor(location=alice, id_at_location=x.id, owner=sy.local_worker, id=sy.ID_PROVIDER.pop())
    y = torch.tensor([1.0, 2]).send(bob).send(alice)
    return [(there.wrap() * 2).get(), (y.remote_get() + 1).get()]


def points_to_pointers(alice: Any, bob: Any, james: Any) -> Any:
    x = torch.tensor([1.0, 2]).send(bob).send(alice)
    y = torch.tensor([10.0, 20]).send(bob).send(alice)
    z = x + y
    z = z * 2
    return z.get().get()


def works_while_pointed_to(alice: Any, bob: Any, james: Any) -> Any:
    """What bob was told before alice asks him is done by then, and what alice does is done before he is asked again."""
    results = []
    for number in range(20):
        x = torch.full((3,), float(number)).send(bob)
        for _ in range(5):
            x = x + 1
        outer = x.send(alice)
        double = (outer * 2).get()
        again = outer.get() + 1
        results += [double.get(), again.get()]
    return results


def changes_in_place_elsewhere(alice: Any, bob: Any, james: Any) -> Any:
    x = torch.tensor([1.0, 2]).send(bob)
    inner = x.child
    inner.garbage_collect_data = False
    outer = x.send(alice)
    outer.add_(1)
    return inner.wrap(register=False).get()


def shares_what_is_far(alice: Any, bob: Any, james: Any) -> Any:
    shared = torch.tensor([3, 4]).send(james).fix_prec().share(alice, bob, crypto_provider=james).get()
    return [(shared + shared).get().float_prec(), (shared * shared).get().float_prec()]


def sets_gradients(alice: Any, bob: Any, james: Any) -> Any:
    me = sy.local_worker
    gradients = []
    with me.registration_enabled():
        for goes_on in (False, True):
            x = torch.tensor([1.0, 2, 3], requires_grad=True)
            y = x + x
            me.register_obj(y)
            z = y.send(alice, requires_grad=True) * 2
            if goes_on:
                z = z.move(bob, requires_grad=True)
            (z * z).sum().backward()
            gradients.append(x.grad)
    return gradients


def compares(alice: Any, bob: Any, james: Any) -> Any:
    options = {"crypto_provider": james}
    x = torch.tensor([3, -1]).share(alice, bob, dtype="long", **options)
    y = torch.tensor([2, 5]).share(alice, bob, dtype="long", **options)
    return [(x > y).get(), (x >= x).get()]


def rectifies(alice: Any, bob: Any, james: Any) -> Any:
    x = torch.tensor([1.0, 3.1, -2.1]).fix_prec(dtype="int").share(alice, bob, crypto_provider=james)
    return x.relu().get().float_prec()


def uses_what_is_here(alice: Any, bob: Any, james: Any) -> Any:
    here = sy.VirtualWorker(sy.hook, id="a worker of the client")
    x = torch.tensor([1.0, 2]).send(here).send(bob)
    total = (x + x).get().get()
    y = torch.tensor([7.0]).send(bob).move(here)
    assert y.location is here
    return [total, y.get()]


def is_sent_again_by_the_client(alice: Any, bob: Any, james: Any) -> Any:
    data = [torch.tensor([float(n)]).send(worker) for n, worker in enumerate((alice, bob, james))]
    return [part.move(to).get() for part, to in zip(data, (bob, james, alice))]


PROGRAMS = [
    moves, sends_remotely, points_to_pointers, works_while_pointed_to, changes_in_place_elsewhere, shares_what_is_far,
    sets_gradients, compares, rectifies, uses_what_is_here, is_sent_again_by_the_client,
]  # fmt: skip


def plain(value: Any) -> Any:
    return [plain(part) for part in value] if isinstance(value, list) else value.tolist()


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_it_gives_what_it_gives_in_one_process(program: Callable[..., Any], far: Workers, near: Workers) -> None:
    assert plain(program(*far)) == plain(program(*near))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_step_by_step_it_gives_the_same(program: Callable[..., Any], far: Workers, near: Workers) -> None:
    bridge.install(pipeline=False)
    try:
        assert plain(program(*far)) == plain(program(*near))
    finally:
        bridge.install()


def test_nothing_stays_at_the_workers_but_what_stays_with_pysyft(far: Workers, near: Workers) -> None:
    def left(workers: Workers) -> List[int]:
        before = [held(worker) for worker in workers]
        for program in (moves, points_to_pointers, shares_what_is_far, rectifies):
            program(*workers)
        return [held(worker) - earlier for worker, earlier in zip(workers, before)]

    assert left(far) == left(near)


def test_what_a_worker_does_alone_is_not_waited_for(far: Workers, monkeypatch: Any) -> None:
    alice, bob, _ = far
    x = torch.ones(2, 3).send(alice)
    outer = torch.ones(2).send(bob).send(alice)
    asked: List[Any] = []
    ask = bridge.far.Far.begin
    monkeypatch.setattr(bridge.far.Far, "begin", lambda far, buffers: asked.append(far) or ask(far, buffers))
    y = (x + 1)[..., 0] * 2 - x.sum()
    assert asked == []
    z = outer + outer
    assert asked == [alice.far()]
    del y, z


def test_an_error_at_a_third_worker_arrives_as_its_class(far: Workers) -> None:
    alice, bob, _ = far
    x = torch.ones(2, 3).send(bob).send(alice)
    y = torch.ones(2, 3).send(bob).send(alice)
    with pytest.raises(RuntimeError, match=r"(?s)size mismatch.*At the worker bob.*At the worker alice"):
        (x @ y).get()
    assert (x + y).get().get().tolist() == [[2, 2, 2]] * 2


def test_what_went_wrong_at_one_worker_is_raised_before_another_asks_it(far: Workers) -> None:
    alice, bob, _ = far
    x = torch.ones(3).send(bob)
    outer = torch.ones(3).send(bob).send(alice)
    bad = x @ torch.ones(4, 5).send(bob)
    with pytest.raises(RuntimeError, match=r"(?s)size mismatch.*at an earlier '__matmul__'"):
        outer + outer
    assert x.get().tolist() == [1, 1, 1]  # told once, and no more
    assert outer.get().get().tolist() == [1, 1, 1]
    del bad


SECOND = """
import warnings; warnings.simplefilter("ignore")
import sys, syft as sy, torch
hook = sy.TorchHook(torch)
james, bob, alice = [sy.WebsocketClientWorker(hook, "localhost", int(port), id=name)
                     for name, port in zip(("james", "bob", "alice"), sys.argv[1:])]
print("begun", flush=True)
for number in range(30):
    x = torch.full((2,), number).send(bob).move(alice).send(bob)
    assert (x + x).get().get().tolist() == [2 * number] * 2
    y = torch.tensor([1.0], requires_grad=True)
    with sy.local_worker.registration_enabled():
        z = y * number
        sy.local_worker.register_obj(z)
        (z.send(alice, requires_grad=True) * 3).sum().backward()
    assert y.grad.tolist() == [3 * number]
print("equal")
"""


def test_two_programs_have_workers_call_each_other_and_them(far: Workers, processes: Any, tmp_path: Any) -> None:
    alice, bob, james = far
    script = tmp_path / "second.py"
    script.write_text(SECOND)
    ports = [str(worker.port) for worker in (james, bob, alice)]
    command = [sys.executable, "-m", "bridge", str(script), *ports]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "begun\n"
        done = 0
        while other.poll() is None or done < 10:
            x = torch.full((2,), -done).send(alice).move(bob).send(alice)
            assert (x + x).get().get().tolist() == [-2 * done] * 2
            assert plain(sets_gradients(alice, bob, james)) == [[32, 64, 96]] * 2
            done += 1
        assert other.stdout.read() == "equal\n"


def test_threads_have_workers_call_each_other(far: Workers) -> None:
    alice, bob, james = far
    wrong: List[Any] = []

    def program(one: Any, two: Any) -> None:
        for number in range(20):
            x = torch.full((2,), number).send(one).move(two).send(one)
            total = (x + x).get().get().tolist()
            if total != [2 * number] * 2:
                wrong.append(total)

    pairs = [(alice, bob), (bob, alice), (james, bob)]
    threads = [threading.Thread(target=program, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []


def test_a_worker_that_another_one_asks_dies(far: Workers, hook: Any, processes: Any) -> None:
    alice = far[0]
    process = processes("doomed")
    doomed = sy.WebsocketClientWorker(hook, "localhost", process.port, id="doomed")
    outer = torch.ones(2).send(doomed).send(alice)
    assert (outer + outer).get().get().tolist() == [2, 2]
    process.stop()
    with pytest.raises(WebSocketConnectionClosedException):
        outer + outer
    with pytest.raises(WebSocketConnectionClosedException):
        torch.ones(2).send(alice).move(doomed)
    del outer  # what it points to cannot be deleted any more, and nobody is told
    gc.collect()
    assert torch.ones(2).send(alice).get().tolist() == [1, 1]


def test_a_worker_that_cannot_dial_another_reaches_it_by_way_of_the_client(far: Workers, monkeypatch: Any) -> None:
    alice, _, james = far
    end = james.far().end
    monkeypatch.setattr(
        end, "whereabouts", lambda far: {"life": far.talk.theirs, "url": f"ws://localhost:{free_port()}"}
    )
    other = sy.WebsocketClientWorker(sy.hook, "localhost", james.port, id="james by another name")
    pointer = torch.arange(100_000.0).send(alice).move(other)
    assert pointer.get().sum().item() == torch.arange(100_000.0).sum().item()


def test_a_child_of_the_client_has_workers_call_it(far: Workers) -> None:
    alice, bob, james = far
    child = os.fork()
    if not child:
        try:
            equal = plain(moves(alice, bob, james)) == [[3, 5, 7, 9], [1, 2, 3, 4]]
            os._exit(0 if equal else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert plain(moves(alice, bob, james)) == [[3, 5, 7, 9], [1, 2, 3, 4]]
