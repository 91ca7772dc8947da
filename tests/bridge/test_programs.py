"""Programs as users of PySyft 0.2.9 write them, with workers in other processes."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Iterator

import pytest
import syft as sy
import torch
import trustme
from websocket import WebSocketConnectionClosedException, WebSocketTimeoutException

import bridge

from .conftest import ROOT, Process, free_port


@pytest.fixture(scope="module", autouse=True)
def installed() -> Iterator[None]:
    bridge.install()
    yield
    bridge.uninstall()


def client(hook: Any, process: Process, **options: Any) -> Any:
    return sy.WebsocketClientWorker(hook, "localhost", process.port, id=process.name, **options)


@pytest.fixture(scope="module")
def bob(hook: Any, bob_process: Process) -> Any:
    return client(hook, bob_process)


@pytest.fixture(scope="module")
def alice(hook: Any, alice_process: Process) -> Any:
    return client(hook, alice_process)


def test_pointers_are_added_and_got(hook: Any, bob: Any) -> None:
    x, y = torch.tensor([1.0, 2, 3]), torch.tensor([4.0, 5, 6])
    x_ptr, y_ptr = x.send(bob), y.send(bob)
    z_ptr = x_ptr + y_ptr
    assert x_ptr.location is bob
    assert z_ptr.shape == torch.Size([3])
    assert z_ptr.get().tolist() == [5, 7, 9]
    assert (x_ptr @ y_ptr).get().item() == 32


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor(5),
        torch.tensor([], dtype=torch.float64),
        torch.zeros(2, 0, 3),
        torch.tensor([True, False]),
        torch.tensor([1, -2], dtype=torch.int8),
        torch.tensor([1, 2], dtype=torch.uint8),
        torch.tensor([1, -2], dtype=torch.int16),
        torch.tensor([1, -2], dtype=torch.int32),
        torch.tensor([[1.5, -2]], dtype=torch.float16),
        torch.tensor(1.5, dtype=torch.float16),
        torch.tensor([1.5, -2], dtype=torch.float64),
        torch.arange(12).reshape(3, 4).t(),
        torch.arange(100_000.0)[10:20],
        torch.arange(200_000.0).reshape(2, -1),
        torch.arange(200_000).reshape(2, -1).t(),
    ],
    ids=lambda tensor: f"{tensor.dtype}-{tuple(tensor.shape)}",
)
def test_a_tensor_comes_back_as_it_went(hook: Any, bob: Any, tensor: Any) -> None:
    back = tensor.clone().send(bob).get()
    assert back.dtype == tensor.dtype
    assert back.shape == tensor.shape
    assert back.tolist() == tensor.tolist()
    back.fill_(1)  # it is ours to change


def test_a_tensor_is_sent_as_it_was_then(hook: Any, bob: Any) -> None:
    for size in (3, 200_000):
        x = torch.ones(size)
        pointer = x.send(bob)
        x.add_(5)
        assert bool((pointer.get() == 1).all())


def test_a_part_of_a_tensor_ships_only_itself(hook: Any, bob: Any) -> None:
    message = bridge.beside.write(torch.arange(1_000_000.0)[:1000], sy.local_worker)
    assert len(message) < 1000
    assert sum(array.nbytes for array in message.tensors) == 4000


def test_gradients_stay_at_the_worker(hook: Any, bob: Any) -> None:
    weight = torch.tensor([[1.0], [2.0]], requires_grad=True).send(bob)
    data, target = torch.tensor([[1.0, 1], [0, 1]]).send(bob), torch.tensor([[1.0], [0]]).send(bob)
    loss = ((data.mm(weight) - target) ** 2).sum()
    loss.backward()
    with_grad = weight.get()
    assert with_grad.requires_grad
    assert with_grad.grad.tolist() == [[4.0], [8.0]]


def test_a_model_is_trained_where_the_data_is(hook: Any, bob: Any) -> None:
    def train(location: Any) -> Any:
        torch.manual_seed(0)
        model = torch.nn.Linear(2, 1)
        data = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]]).send(location)
        target = torch.tensor([[0.0], [0], [1], [1]]).send(location)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        model.send(location)
        for _ in range(10):
            optimizer.zero_grad()
            loss = ((model(data) - target) ** 2).sum()
            loss.backward()
            optimizer.step()
        return loss.get().item(), model.get().weight.tolist()

    local = sy.VirtualWorker(hook, id="virtual")
    assert train(bob) == train(local)


def test_objects_are_found_by_their_tags(hook: Any, bob: Any) -> None:
    (found,) = bob.search(["#own"])
    assert found.location is bob
    assert found.description == "the worker's own"
    assert (found + 1).get().tolist() == [8, 9]
    assert bob.search(["#nothing"]) == []
    (again,) = sy.local_worker.request_search(["#own"], location=bob)
    assert again.tags == {"#own"}


def test_a_plan_is_sent_and_run(hook: Any, bob: Any) -> None:
    @sy.func2plan(args_shape=[(3,)])
    def plan(x: Any) -> Any:
        return x * 2 + 1

    pointer = plan.send(bob)
    assert pointer(torch.tensor([1.0, 2, 3]).send(bob)).get().tolist() == [3, 5, 7]


def test_secret_shares_are_added_and_multiplied(hook: Any, alice: Any, bob: Any) -> None:
    dealer = sy.VirtualWorker(hook, id="dealer")
    x = torch.tensor([[1.5, 2.0], [3.0, -1.0]])
    shared = x.fix_prec().share(alice, bob, crypto_provider=dealer)
    assert ((shared + shared).get().float_prec() == 2 * x).all()
    product = (shared @ shared).get().float_prec()
    assert torch.allclose(product, x @ x, atol=1e-2)
    by_fss = x.fix_prec().share(alice, bob, crypto_provider=dealer, protocol="fss")
    assert (by_fss > 0).get().float_prec().tolist() == [[1, 1], [1, 0]]


def test_what_is_forgotten_is_deleted_at_the_worker(hook: Any, bob: Any) -> None:
    gc.collect()
    before = bob.objects_count_remote()
    pointers = [torch.ones(2).send(bob) for _ in range(20)]
    assert bob.objects_count_remote() == before + 20
    del pointers
    gc.collect()
    assert bob.objects_count_remote() == before


def test_an_error_arrives_as_itself_and_the_connection_lives_on(hook: Any, bob: Any) -> None:
    x = torch.ones(3).send(bob)
    with pytest.raises(RuntimeError, match=r"(?s)size mismatch.*At the worker bob:.*Traceback.*hook\.py"):
        (x @ torch.ones(4, 5).send(bob)).get()
    with pytest.raises(sy.exceptions.ObjectNotFoundError):
        sy.local_worker.request_obj(12345, bob)
    assert (x + x).get().tolist() == [2, 2, 2]


def test_what_goes_wrong_unwaited_is_raised_once_by_the_next_call_that_waits(hook: Any, bob: Any) -> None:
    x = torch.ones(3).send(bob)
    bad = x @ torch.ones(4, 5).send(bob)
    worse = bad + bad
    later = torch.tensor([4.0]).send(bob)
    with pytest.raises(RuntimeError, match=r"(?s)size mismatch.*at an earlier '__matmul__'"):
        x.get()
    assert x.get().tolist() == [1, 1, 1]  # the first one was not done: the object is still there
    assert later.get().tolist() == [4]
    del worse, bad


def test_a_command_on_what_is_not_there_any_more_fails_where_it_is_called(hook: Any, bob: Any) -> None:
    x, y, kept = (torch.tensor([number]).send(bob) for number in (1, 2, 3))
    gone = sy.PointerTensor(location=bob, id_at_location=y.id_at_location, owner=sy.local_worker, id=y.id + 1).wrap()
    assert y.get().tolist() == [2]
    for command in (lambda: gone + gone, lambda: kept + gone, lambda: torch.cat([kept, gone])):
        with pytest.raises(sy.exceptions.ObjectNotFoundError):
            command()
    bob.object_store.rm_obj(x.id_at_location)
    with pytest.raises(sy.exceptions.ObjectNotFoundError):
        x.add_(1)


def test_what_is_found_is_worked_with_as_what_was_sent(hook: Any, bob: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = torch.tensor([1.0]).tag("#found").send(bob)
    far = bob.far()
    far.present.discard(sent.id_at_location)  # as if another program had sent it
    (found,) = bob.search(["#found"])
    asked = []
    ask = type(far).begin
    monkeypatch.setattr(type(far), "begin", lambda far, buffers: asked.append(far) or ask(far, buffers))
    first = found + 1
    assert len(asked) == 1
    second = found + first
    assert len(asked) == 1
    assert second.get().tolist() == [3]


def test_each_thread_is_told_of_its_own_errors(hook: Any, bob: Any) -> None:
    x, wide = torch.ones(3).send(bob), torch.ones(4, 5).send(bob)
    raised = []

    def program() -> None:
        x @ wide
        try:
            bob.objects_count_remote()
        except RuntimeError as error:
            raised.append(str(error))

    x @ wide
    thread = threading.Thread(target=program)
    thread.start()
    thread.join()
    assert len(raised) == 1
    assert "__matmul__" in raised[0]
    with pytest.raises(RuntimeError, match="size mismatch"):
        bob.objects_count_remote()
    assert bob.objects_count_remote() >= 2


def test_without_pipelining_an_error_is_raised_where_it_belongs(hook: Any, bob: Any) -> None:
    bridge.install(pipeline=False)
    try:
        x, wide = torch.ones(3).send(bob), torch.ones(4, 5).send(bob)
        with pytest.raises(RuntimeError, match="size mismatch"):
            x @ wide
    finally:
        bridge.install()


def test_what_answers_though_nobody_should_wait_is_waited_for(hook: Any, bob: Any) -> None:
    x = torch.tensor([1.0, 0]).send(bob)
    assert bool((x + 1 > 0).all())
    assert not bool((x > 0).all())
    first, second = x.split(1)
    assert first.get().tolist() + second.get().tolist() == [1, 0]


def test_many_commands_are_on_their_way_at_once(hook: Any, bob: Any) -> None:
    x, total = torch.ones(2).send(bob), torch.zeros(2).send(bob)
    for _ in range(3000):
        total = total + x
    total.add_(x)
    total += x
    assert total.get().tolist() == [3002, 3002]


def test_a_private_tensor_is_not_given_to_anyone(hook: Any, bob: Any) -> None:
    secret = torch.tensor([1, 2]).private_tensor(allowed_users=["carol"]).send(bob, user="carol")
    with pytest.raises(sy.exceptions.GetNotPermittedError):
        secret.get(user="mallory")


def test_several_results_have_the_ids_that_the_worker_chose(hook: Any, bob: Any) -> None:
    values, indices = torch.tensor([[1.0, 5], [7, 2]]).send(bob).max(dim=1)
    assert values.get().tolist() == [5, 7]
    assert indices.get().tolist() == [1, 0]


def test_the_old_class_has_all_its_ways(hook: Any, bob: Any) -> None:
    assert "WebsocketClientWorker id:bob" in str(bob)
    assert bob.tensors_count_remote() >= 1
    assert "7., 8." in bob.list_tensors_remote()
    assert "7., 8." in bob.list_objects_remote()
    bob._log_msgs_remote(True)
    kept = torch.tensor([3.0]).send(bob)
    assert bob._get_msg_remote(-2).object.tolist() == [3.0]
    bob._log_msgs_remote(False)
    x = kept

    async def command() -> Any:
        return await bob.async_send_command(("add", x.child, (x.child,), {}))

    assert asyncio.run(command()).get().tolist() == [6]
    assert bob.url == f"ws://localhost:{bob.port}"


def test_a_worker_trains_and_evaluates_by_its_own_methods(hook: Any, bob: Any) -> None:
    assert bob.fit("ours", device="cpu", return_ids=[4321]).tolist() == [0.25]
    assert asyncio.run(bob.async_fit("ours")).tolist() == [0.25]
    asked = bob.evaluate("ours", return_histograms=True, nr_bins=3)
    assert (asked["dataset"], asked["nr_bins"], asked["return_loss"]) == ("ours", 3, True)


def test_ctrl_c_ends_a_wait_and_the_connection_lives_on(hook: Any, bob: Any, bob_process: Process) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    left = signal.setitimer(signal.ITIMER_REAL, 0)
    try:
        with bob_process.frozen():
            with pytest.raises(KeyboardInterrupt):
                signal.setitimer(signal.ITIMER_REAL, 0.05)
                bob.objects_count_remote()
    finally:
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *left)
    assert bob.objects_count_remote() >= 1
    assert torch.ones(1).send(bob).get().tolist() == [1]


def test_it_works_within_a_running_loop(hook: Any, bob: Any) -> None:
    async def program() -> Any:
        return (torch.ones(2).send(bob) + 1).get().tolist()

    assert asyncio.run(program()) == [2, 2]


def test_classes_hold_what_programs_ask_of_them(hook: Any, bob: Any) -> None:
    from syft.workers.websocket_client import WebsocketClientWorker

    assert WebsocketClientWorker is sy.WebsocketClientWorker
    assert isinstance(bob, (WebsocketClientWorker, sy.VirtualWorker))
    assert isinstance(bob, bridge.WebsocketClientWorker)
    assert isinstance(bob, sy.workers.base.BaseWorker)


def test_several_workers_are_sent_commands_together(hook: Any, alice: Any, bob: Any) -> None:
    pointers = [torch.tensor([number]).send(worker) for number, worker in ((1, alice), (2, bob))]
    commands = [("__add__", pointer.child, (10,), {}) for pointer in pointers]
    results = asyncio.run(bob.async_dispatch([alice, bob], commands))
    assert [result.location for result in results] == [alice, bob]
    assert [result.get().tolist() for result in results] == [[11], [12]]


def test_two_programs_share_a_worker(hook: Any, bob: Any, bob_process: Process, tmp_path: Path) -> None:
    script = tmp_path / "second.py"
    script.write_text(
        "import warnings; warnings.simplefilter('ignore')\n"
        "import sys, syft as sy, torch\n"
        "bob = sy.WebsocketClientWorker(sy.TorchHook(torch), 'localhost', int(sys.argv[1]), id='bob')\n"
        "for number in range(200):\n"
        "    x = torch.full((3,), number).send(bob)\n"
        "    assert (x + x).get().tolist() == [2 * number] * 3\n"
        "print('equal', sys.argv[2:])\n"
    )
    command = [sys.executable, "-m", "bridge", str(script), str(bob_process.port), "--more"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True) as other:
        done = 0
        while other.poll() is None or done < 20:
            x = torch.full((3,), -done).send(bob)
            assert (x + x).get().tolist() == [-2 * done] * 3
            done += 1
        assert other.stdout is not None
        assert other.stdout.read() == "equal ['--more']\n"


def test_a_child_of_this_process_has_a_link_of_its_own(hook: Any, bob: Any) -> None:
    x = torch.ones(2).send(bob)
    child = os.fork()
    if not child:
        try:
            os._exit(0 if (x + x).get().tolist() == [2, 2] else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert (x + x).get().tolist() == [2, 2]


def test_closing_and_connecting_again(hook: Any, bob: Any) -> None:
    x = torch.ones(2).send(bob)
    bob.close()
    bob.close()
    with pytest.raises(WebSocketConnectionClosedException):
        x + x
    bob.connect()
    assert (x + x).get().tolist() == [2, 2]


def test_a_dead_worker_fails_at_once(hook: Any, processes: Any) -> None:
    process = processes("mortal")
    mortal = client(hook, process)
    x = torch.ones(2).send(mortal)
    process.stop()
    begun = time.monotonic()
    for _ in range(2):
        with pytest.raises(WebSocketConnectionClosedException):
            x.get()
    with pytest.raises(ConnectionRefusedError):
        mortal.connect()
    assert time.monotonic() - begun < 5
    del x
    gc.collect()


def test_a_worker_that_cannot_be_reached_is_not_registered(hook: Any) -> None:
    with pytest.raises(ConnectionRefusedError):
        sy.WebsocketClientWorker(hook, "localhost", free_port(), id="nobody")
    assert "nobody" not in sy.local_worker._known_workers


def test_an_answer_that_takes_too_long(hook: Any, bob_process: Process) -> None:
    impatient = sy.WebsocketClientWorker(hook, "localhost", bob_process.port, id="bob-again")
    impatient.timeout = 0.01
    with bob_process.frozen():
        with pytest.raises(WebSocketTimeoutException):
            impatient.objects_count_remote()
    impatient.timeout = 60
    assert impatient.objects_count_remote() >= 1


def test_tls(hook: Any, processes: Any, tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    issued.private_key_pem.write_to_path(str(key))
    for blob in issued.cert_chain_pems:
        blob.write_to_path(str(cert), append=True)
    worker = client(hook, processes("tls", str(cert), str(key)), secure=True)
    assert worker.url.startswith("wss://")
    assert (torch.ones(2).send(worker) * 3).get().tolist() == [3, 3]


def test_ctrl_c_ends_a_worker_in_peace(hook: Any, processes: Any) -> None:
    process = processes("stopped")
    worker = client(hook, process)
    x = torch.ones(2).send(worker)
    process.process.send_signal(signal.SIGINT)
    assert process.process.wait(60) == 0
    with pytest.raises(WebSocketConnectionClosedException):
        x.get()
