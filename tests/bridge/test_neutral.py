"""PySyft code drives workers that have neither PySyft nor torch."""

from __future__ import annotations

import gc
import os
import re
import threading
from typing import Any, Iterator

import numpy as np
import pytest
import syft as sy
import torch
from websocket import WebSocketConnectionClosedException, WebSocketTimeoutException

import bridge
from bridge import neutral
from bridge.neutral import NeutralWorker, NotTranslated, OperationFailed, table
from bridge.socketio import WebsocketIOClientWorker

from .conftest import ROOT, Process
from .neutral_ends import Town

PAGE = ROOT / "docs" / "pysyft-neutral.md"


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    file = tmp_path_factory.mktemp("data") / "ages.npy"
    np.save(file, np.array([31.0, 47.0], np.float32))
    town = Town()
    try:
        mine = ["--load", f"ages={file}", "--tag", "#ward-3", "--release", "ages=always", "--load", f"private={file}"]
        town.worker("bob", *mine)
        town.worker("alice")
        yield town
    finally:
        town.stop()


def made(hook: Any, town: Town, name: str) -> Iterator[Any]:
    worker = NeutralWorker(hook, town.url, id=name)
    yield worker
    worker.close()
    worker.remove_worker_from_local_worker_registry()


@pytest.fixture
def bob(hook: Any, town: Town) -> Iterator[Any]:
    yield from made(hook, town, "bob")


@pytest.fixture
def alice(hook: Any, town: Town) -> Iterator[Any]:
    yield from made(hook, town, "alice")


def test_the_scenario_with_which_it_began(hook: Any, town: Town) -> None:
    bob = WebsocketIOClientWorker(hook, host="127.0.0.1", port=town.port, id="bob")
    bob.connect()
    try:
        x, y = torch.tensor([1.0, 2, 3]), torch.tensor([4.0, 5, 6])
        x_ptr = x.send(bob)
        y_ptr = y.send(bob)
        z = (x_ptr + y_ptr).get()
        assert z.tolist() == [5, 7, 9]
        assert isinstance(bob, sy.VirtualWorker)
    finally:
        bob.disconnect()
        bob.remove_worker_from_local_worker_registry()


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
        torch.tensor([[1.5], [-2]], dtype=torch.float64).t(),
        torch.arange(200_000.0).reshape(2, -1).t(),
    ],
    ids=lambda tensor: f"{tensor.dtype}-{tuple(tensor.shape)}",
)
def test_a_tensor_comes_back_as_it_went(bob: Any, tensor: Any) -> None:
    back = tensor.clone().send(bob).get()
    assert (back.dtype, back.shape) == (tensor.dtype, tensor.shape)
    assert back.tolist() == tensor.tolist()
    back.fill_(1)  # it is ours to change


def test_a_tensor_is_sent_as_it_was_then(bob: Any) -> None:
    for size in (3, 200_000):
        x = torch.ones(size)
        pointer = x.send(bob)
        x.add_(5)
        assert bool((pointer.get() == 1).all())


def test_shapes_are_known_and_objects_are_deleted(bob: Any) -> None:
    x = torch.ones(2, 3).send(bob)
    assert (x @ torch.ones(3, 4).send(bob)).shape == torch.Size([2, 4])
    assert x[x > 0].shape == torch.Size([6])
    assert not sy.local_worker.request_is_remote_tensor_none(x.child)
    assert x.child.id_at_location in bob._translator.objects()
    del x
    gc.collect()
    assert bob.tensors_count() == 0
    with pytest.raises(sy.exceptions.ObjectNotFoundError):
        sy.local_worker.request_obj(12345, bob)


def test_results_of_several_tensors_and_numbers(bob: Any) -> None:
    x = torch.tensor([[1.0, 5], [7, 2]]).send(bob)
    values, places = x.max(dim=1)
    assert (values.get().tolist(), places.get().tolist()) == ([5, 7], [1, 0])
    assert [part.get().tolist() for part in x.split(1)] == [[[1, 5]], [[7, 2]]]
    assert x.numel() == 4
    assert bool((x > 0).all())
    assert not bool((x > 3).all())
    assert torch.allclose(x, x + 0)
    assert not x.equal(x + 1)
    with pytest.raises(RuntimeError, match="ambiguous"):
        bool(x > 0)


def test_what_has_no_translation_says_which_op(bob: Any) -> None:
    x = torch.ones(2, 2).send(bob)
    with pytest.raises(NotTranslated, match="erfinv: a worker without PySyft does not know it") as caught:
        x.erfinv()
    assert caught.value.op == "erfinv"
    with pytest.raises(NotTranslated, match="fix_prec"):
        x.fix_prec()
    with pytest.raises(NotTranslated, match="backward"):
        x.sum().backward()
    with pytest.raises(NotTranslated, match="half: torch.float16"):
        x.half()
    with pytest.raises(NotTranslated, match="send: torch.float16"):
        torch.ones(2).half().send(bob)
    with pytest.raises(NotTranslated, match="send: a FixedPrecisionTensor"):
        torch.ones(2).fix_prec().send(bob)
    assert (x + x).get().tolist() == [[2, 2], [2, 2]]


def test_pointers_to_elsewhere_are_refused_and_stay(hook: Any, bob: Any) -> None:
    carol = sy.VirtualWorker(hook, id="carol")
    x, far = torch.ones(2).send(bob), torch.ones(2).send(carol)
    with pytest.raises(NotTranslated, match="a PointerTensor to carol"):
        bob._translator._pointed(far.child.__class__(location=carol, id_at_location=far.child.id_at_location), "add")
    with pytest.raises(NotTranslated, match="send"):
        far.send(bob)
    gc.collect()
    assert (far.get() + x.get()).tolist() == [2, 2]


def test_wrong_calls_are_errors_as_torchs(bob: Any) -> None:
    x = torch.ones(3).send(bob)
    with pytest.raises(RuntimeError, match="__matmul__"):
        x @ torch.ones(4, 5).send(bob)
    with pytest.raises(IndexError, match="Dimension out of range"):
        x.sum(2)
    with pytest.raises(RuntimeError, match="expected tensors of one dtype"):
        x.matmul(torch.ones(3, dtype=torch.float64).send(bob))
    with pytest.raises(TypeError, match="clamp: got an unexpected keyword argument 'least'"):
        bob._translator._run("clamp", bob._link.holdings.command, _command("clamp", x, least=2), False, 0)


def _command(name: str, pointer: Any, **kwargs: Any) -> Any:
    from bridge.neutral.held import Command, Ref

    return Command(name, Ref(pointer.child.id_at_location), (), kwargs, (1,), False)


def test_what_only_the_worker_finds_is_told_by_the_next_call_that_waits(bob: Any) -> None:
    kept = torch.ones(2).send(bob)
    bad = torch.zeros(2, 2).send(bob).inverse()
    worse = bad + 1
    with pytest.raises(OperationFailed, match=r"(?s)inverse: .*Singular matrix.*at an earlier 'inverse'") as caught:
        kept.get()
    assert caught.value.op == "inverse"
    assert kept.get().tolist() == [1, 1]  # the first get was not done: the tensor was still there
    with pytest.raises(OperationFailed, match="Singular matrix"):
        worse.get()


def test_each_thread_is_told_of_its_own_failures(bob: Any) -> None:
    mine, zeros = torch.ones(2).send(bob), torch.zeros(2, 2).send(bob)
    told = []

    def program() -> None:
        zeros.inverse()
        try:
            torch.ones(1).send(bob).get()
        except OperationFailed as error:
            told.append(error.op)

    thread = threading.Thread(target=program)
    thread.start()
    thread.join()
    assert told == ["inverse"]
    assert mine.get().tolist() == [1, 1]


def test_without_pipelining_a_failure_is_raised_where_it_belongs(bob: Any) -> None:
    bridge.install(pipeline=False)
    try:
        with pytest.raises(OperationFailed, match="Singular matrix"):
            torch.zeros(2, 2).send(bob).inverse()
    finally:
        bridge.install()
        bridge.uninstall()


def test_views_are_not_changed_behind_each_others_back(bob: Any) -> None:
    x = torch.ones(2, 2).send(bob)
    rows = x.view(4)
    with pytest.raises(NotTranslated, match="add_: 1 other tensors share the memory"):
        x.add_(1)
    del rows
    gc.collect()
    x.add_(1)
    copy = x.copy()
    x.zero_()
    assert (x.get().sum().item(), copy.get().sum().item()) == (0, 8)


def test_many_commands_are_on_their_way_at_once(bob: Any) -> None:
    x, total = torch.ones(2).send(bob), torch.zeros(2).send(bob)
    for _ in range(500):
        total = total + x
    total += x
    assert total.get().tolist() == [501, 501]
    assert bob.tensors_count() == 1


def test_objects_are_found_by_tags_and_keep_their_description(bob: Any) -> None:
    pointer = torch.tensor([3.0]).tag("#mine", "#small").describe("a number").send(bob)
    (found,) = bob.search(["#mine", "#small"])
    assert (found.child.id_at_location, found.description) == (pointer.id_at_location, "a number")
    assert bob.search(["#mine", "#large"]) == []
    (again,) = sy.local_worker.request_search(["#mine"], location=bob)
    assert again.tags == {"#mine", "#small"}
    back = pointer.get()
    assert (back.tags, back.description) == ({"#mine", "#small"}, "a number")


def test_the_workers_own_data_is_found_and_stays_there(bob: Any) -> None:
    (ages,) = bob.search(["#ward-3", "ages"])
    assert (ages + 1).get().tolist() == [32, 48]
    assert ages.shape == torch.Size([2])
    (again,) = bob.search(["ages"])
    assert again.id_at_location == ages.id_at_location
    assert ages.get().tolist() == [31, 47]
    (still,) = bob.search(["ages"])
    assert still.get().tolist() == [31, 47]


def test_the_workers_private_data_is_computed_with_and_does_not_leave(bob: Any) -> None:
    (private,) = bob.search(["private"])
    total = (private + 1).sum()
    assert total.shape == torch.Size([])
    for pointer in (private, total):
        with pytest.raises(RuntimeError, match="bob/private, which is private there"):
            pointer.get()


def test_several_clients_do_not_see_each_other(hook: Any, town: Town, bob: Any) -> None:
    x = torch.ones(2).tag("#shared").send(bob)
    other = neutral.connect(town.url, "bob")
    try:
        stranger = neutral.Translator(bob, lambda: other, lambda: 10)
        assert stranger.search(["#shared"]) == []
        assert stranger.objects() == {}
    finally:
        other.close()
    assert x.get().tolist() == [1, 1]


def test_two_workers_each_with_its_own(alice: Any, bob: Any) -> None:
    at_alice, at_bob = torch.tensor([1.0]).send(alice), torch.tensor([2.0]).send(bob)
    assert (at_alice + at_alice).get().item() + (at_bob * at_bob).get().item() == 6
    assert (alice.tensors_count(), bob.tensors_count()) == (1, 1)


def test_gradients_are_not_there_and_the_flag_is(bob: Any) -> None:
    back = torch.ones(2, requires_grad=True).send(bob).get()
    assert back.requires_grad


def test_a_lost_worker_fails_at_once_and_nothing_half_built_stays(hook: Any, town: Town) -> None:
    process = town.worker("dave")
    dave = NeutralWorker(hook, town.url, id="dave", resume_grace=0)
    x = torch.ones(2).send(dave)
    process.kill()
    process.wait()
    with pytest.raises(WebSocketConnectionClosedException):
        x.get()
    with pytest.raises(WebSocketConnectionClosedException):
        x + x
    dave.remove_worker_from_local_worker_registry()
    del x
    gc.collect()
    with pytest.raises(WebSocketTimeoutException, match="no worker 'dave'"):
        NeutralWorker(hook, town.url, id="dave", seconds=0.2)
    with pytest.raises(ConnectionRefusedError):
        NeutralWorker(hook, "ws://127.0.0.1:9", id="dave")
    assert "dave" not in sy.local_worker._known_workers


def test_a_closed_worker_says_so_and_connects_again(hook: Any, bob: Any) -> None:
    x = torch.ones(2).send(bob)
    bob.close()
    with pytest.raises(WebSocketConnectionClosedException, match="connect"):
        x.get()
    bob.connect()
    assert torch.ones(2).send(bob).get().tolist() == [1, 1]
    with pytest.raises(sy.exceptions.ObjectNotFoundError):
        x.get()


def test_a_forked_child_is_told_that_the_link_is_not_its_own(bob: Any) -> None:
    x = torch.ones(2).send(bob)
    child = os.fork()
    if not child:
        try:
            x.child.get()
        except WebSocketConnectionClosedException:
            os._exit(7)
        finally:
            os._exit(1)
    assert os.WEXITSTATUS(os.waitpid(child, 0)[1]) == 7
    assert x.get().tolist() == [1, 1]


def test_a_worker_of_pysyft_is_told_from_one_without(hook: Any, bob_process: Process) -> None:
    assert neutral.connect(f"ws://localhost:{bob_process.port}", "bob") is None
    with pytest.raises(neutral.NotNeutral):
        NeutralWorker(hook, f"ws://localhost:{bob_process.port}", id="bob")
    assert neutral.is_neutral({"level": 3, "ops": ["add"]})
    assert not neutral.is_neutral({"level": 0})


def test_the_page_runs_as_it_stands(hook: Any, town: Town, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = re.findall(r"^```python pysyft\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    names: Any = {}
    exec(compile(block.replace("port=8765", f"port={town.port}"), PAGE.name, "exec"), names)
    try:
        assert capsys.readouterr().out == "tensor([5., 7., 9.])\n"
    finally:
        names["bob"].disconnect()
        names["bob"].remove_worker_from_local_worker_registry()


def test_the_page_names_all_that_is_translated() -> None:
    section = PAGE.read_text("utf-8").split("## What is translated")[1].split("\n## ")[0]
    listed = set(re.findall(r"`([a-z]\w*)`", section)) - {"search", "add_", "relu_"}
    public = {name for name in (*table.METHODS, *table.FUNCTIONS, *table.IN_PLACE) if not name.startswith("__")}
    assert listed == public
