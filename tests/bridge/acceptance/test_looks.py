"""Programs look into workers, and change them: what they see is what the other process has."""

from __future__ import annotations

import gc
from typing import Any, Iterator

import pytest
import syft as sy
import torch
from syft.generic.pointers.object_wrapper import ObjectWrapper
from syft.messaging.message import ObjectMessage, TensorCommandMessage
from websocket import WebSocketConnectionClosedException

import bridge


@pytest.fixture(scope="module", autouse=True)
def installed() -> Iterator[None]:
    bridge.install()
    yield
    bridge.uninstall()


def fresh(hook: Any, process: Any) -> Any:
    worker = sy.WebsocketClientWorker(hook, "localhost", process.port, id=process.name)
    worker.clear_objects_remote()
    return worker


@pytest.fixture
def bob(hook: Any, bob_process: Any) -> Iterator[Any]:
    worker = fresh(hook, bob_process)
    yield worker
    worker.remove_worker_from_local_worker_registry()


@pytest.fixture
def alice(hook: Any, alice_process: Any) -> Iterator[Any]:
    worker = fresh(hook, alice_process)
    yield worker
    worker.remove_worker_from_local_worker_registry()


def test_objects_are_those_of_the_worker(bob: Any) -> None:
    assert bob._objects == {}
    x = torch.tensor([1.0, 2]).send(bob)
    at = x.id_at_location
    assert at in bob.object_store._objects
    assert at in bob._tensors
    assert list(bob._objects) == [at]
    assert len(bob.object_store) == len(bob._tensors) == 1
    assert bob._objects[at].tolist() == bob.get_obj(at).tolist() == bob[at].tolist() == [1, 2]
    assert bob._objects[at].owner is bob
    assert bob.object_store.find_by_id(at).id == at
    assert bob.object_store.find_by_id(0) is None
    assert str(at) in str(bob._objects)
    with pytest.raises(KeyError):
        bob._objects[0]
    with pytest.raises(sy.exceptions.ObjectNotFoundError):
        bob.get_obj(0)
    del x
    assert at not in bob._objects


def test_a_copy_is_changed_by_itself(bob: Any) -> None:
    x = torch.tensor([1.0, 2]).send(bob)
    bob._objects[x.id_at_location].add_(1)
    assert x.get().tolist() == [1, 2]


def test_objects_are_put_there_found_by_tag_and_removed(bob: Any) -> None:
    kept = torch.tensor([3]).tag("#three")
    bob.register_obj(kept, 33)
    assert kept.owner is bob
    (found,) = bob.object_store.find_by_tag("#three")
    assert found.id == 33
    bob._objects[33].tag("#also")
    assert bob.object_store._tag_to_object_ids == {"#three": {33}, "#also": {33}}
    bob._objects[34] = torch.tensor([4])
    assert {at: value.tolist() for at, value in bob._objects.copy().items()} == {33: [3], 34: [4]}
    bob.de_register_obj(kept)
    del bob._objects[34]
    with pytest.raises(KeyError):
        del bob._objects[34]
    assert len(bob._objects) == 0
    bob.object_store._objects = {35: torch.tensor([5])}
    assert list(bob._objects) == [35]
    bob.clear_objects()
    assert bob._objects == {}
    with pytest.raises(AttributeError):
        bob.object_store = None


def test_a_look_at_a_pointer_does_not_delete_what_it_points_to(alice: Any, bob: Any) -> None:
    chain = torch.tensor([1]).send(bob).send(alice)
    pointer = alice._objects[chain.id_at_location]
    assert pointer.location is bob
    del pointer
    gc.collect()
    assert len(bob._objects) == 1
    assert chain.get().get().tolist() == [1]


def test_a_pointer_registered_at_a_worker_owns_what_it_points_to(alice: Any, bob: Any) -> None:
    x = torch.tensor([1]).send(bob)
    alice.register_obj(x, 77)
    assert alice._objects[77] is x
    del x
    gc.collect()
    assert len(bob._objects) == 1
    alice.object_store.rm_obj(77)
    assert bob._objects == {}


def test_what_was_deleted_by_way_of_another_worker_is_gone_when_one_looks(alice: Any, bob: Any) -> None:
    for _ in range(20):
        chain = torch.tensor([1.0]).send(bob).send(alice)
        assert len(bob._objects) == 1
        del chain
        assert len(bob._objects) == 0


def test_errors_leave_no_object_behind_until_garbage_is_collected(alice: Any, bob: Any) -> None:
    gc.collect()
    gc.disable()
    try:
        shares = torch.tensor([1, 2]).share(alice, bob, crypto_provider=sy.local_worker)
        assert (shares * shares).get().tolist() == [1, 4]  # there are no triples, which is said by an exception
        del shares
        assert (len(alice._objects), len(bob._objects)) == (0, 0)
    finally:
        gc.enable()


def test_a_private_tensor_is_not_shown(bob: Any) -> None:
    secret = torch.tensor([1]).private_tensor(allowed_users=["carol"]).send(bob, user="carol")
    with pytest.raises(sy.exceptions.GetNotPermittedError):
        bob._objects[secret.id_at_location]


def test_messages_are_those_of_the_worker(bob: Any) -> None:
    bob.msg_history.clear()
    bob.log_msgs = True
    x = torch.tensor([1, 2]).send(bob)
    assert isinstance(bob._get_msg(-1), ObjectMessage)
    x + x
    assert [type(message) for message in bob.msg_history[:2]] == [ObjectMessage, TensorCommandMessage]
    assert bob.log_msgs
    bob.log_msgs = False
    bob.msg_history = []
    assert len(bob.msg_history) == 0


def test_crypto_primitives_are_those_of_the_worker(alice: Any, bob: Any) -> None:
    sy.local_worker.crypto_store.provide_primitives("fss_eq", [alice, bob], n_instances=6)
    assert len(alice.crypto_store.fss_eq[0]) == 6
    keys = alice.crypto_store.get_keys("fss_eq", 4, remove=True)
    assert len(keys[0]) == 4
    assert len(alice.crypto_store.fss_eq[0]) == 2
    with pytest.raises(sy.exceptions.EmptyCryptoPrimitiveStoreError):
        alice.crypto_store.get_keys("fss_eq", 4, remove=True)
    for worker in (alice, bob):
        worker.crypto_store.get_keys("fss_eq", worker.crypto_store.fss_eq[0].shape[-1], remove=True)


def test_a_virtual_worker_of_the_same_id_is_the_worker(hook: Any, bob: Any) -> None:
    again = sy.VirtualWorker(hook, id=bob.id)
    x = torch.tensor([6]).send(again)
    assert bob._objects[x.id_at_location].tolist() == [6]
    assert again.object_store._objects.keys() == bob._objects.keys()
    assert (x + x).get().tolist() == [12]


def test_a_search_for_everything_does_not_mind_what_is_gone(bob: Any) -> None:
    kept = torch.tensor([1]).tag("#a").send(bob)
    gone = torch.tensor([2]).tag("#b").send(bob)
    gone.get()
    (found,) = sy.local_worker.request_search([], location=bob)
    assert found.id_at_location == kept.id_at_location


def test_what_cannot_be_written_is_refused(bob: Any) -> None:
    with pytest.raises(TypeError, match="serialize"):
        bob.register_obj(ObjectWrapper(id=1, obj=lambda x: x), 1)
    assert 1 not in bob._objects


def test_pointers_are_forgotten_in_peace_after_uninstall(hook: Any, bob: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    complaints = []
    monkeypatch.setattr("sys.unraisablehook", complaints.append)
    x = torch.tensor([1]).send(bob)
    bridge.uninstall()
    try:
        with pytest.raises(WebSocketConnectionClosedException):
            x.copy()
        del x
        gc.collect()
    finally:
        bridge.install()
    assert complaints == []


def test_what_a_program_left_of_its_primitives_is_not_mixed_with_those_of_the_next(
    hook: Any, alice_process: Any, bob_process: Any
) -> None:
    """Parties that take parts of different primitives compute noise."""

    def compare(*workers: Any) -> None:
        x, y = (torch.tensor([3, 4]).share(*workers, protocol="fss", crypto_provider=workers[0]) for _ in range(2))
        assert (x == y).get().tolist() == [1, 1]

    def program() -> Any:
        workers = [fresh(hook, process) for process in (alice_process, bob_process)]
        sy.local_worker.crypto_store.provide_primitives("fss_eq", workers, n_instances=6)
        compare(*workers)
        return workers

    alice, bob = program()
    assert len(alice.crypto_store.get_keys("fss_eq", 1)) == len(bob.crypto_store.get_keys("fss_eq", 2))  # uneven
    bridge.uninstall()
    bridge.install()
    alice, bob = program()
    alice.close()
    alice.connect()
    compare(alice, bob)
    assert bob.crypto_store.fss_eq == [] or len(bob.crypto_store.fss_eq[0]) == 0
    for worker in (alice, bob):
        worker.remove_worker_from_local_worker_registry()
