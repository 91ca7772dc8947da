"""PySyft's "steal data over sockets" challenge, and worse, against a worker that serves by the bridge.

The challenge: a worker holds a private tensor under an id that is known, and whoever connects may say what it likes.
It was solved by commands such as ``__str__`` on that id. Worse: PySyft's tensors are pickles.
"""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any, Iterator, List

import pytest
import syft as sy
import torch
from syft.exceptions import GetNotPermittedError
from syft.generic.pointers.pointer_tensor import PointerTensor
from syft.messaging.message import ObjectMessage, ObjectRequestMessage, TensorCommandMessage
from syft.serde.msgpack import torch_serde

import bridge
from bridge import beside, rebuilding

from .conftest import Process


@pytest.fixture(scope="module", autouse=True)
def installed() -> Iterator[None]:
    bridge.install()
    yield
    bridge.uninstall()


@pytest.fixture(scope="module")
def bob(hook: Any, bob_process: Process) -> Any:
    return sy.WebsocketClientWorker(hook, "localhost", bob_process.port, id="bob")


@pytest.fixture
def private(bob: Any) -> Any:
    """A pointer to values that are nobody's to see."""
    return torch.tensor([73.25, 53.75, 1.0]).private_tensor(allowed_users=["carol"]).send(bob, user="carol")


def test_a_private_tensor_is_got_by_nobody_else(hook: Any, bob: Any, private: Any) -> None:
    stolen = PointerTensor(location=bob, id_at_location=private.id_at_location, owner=hook.local_worker)
    for user in ({}, {"user": "mallory"}, {"user": "carolx"}, {"user": None}):
        with pytest.raises(GetNotPermittedError):
            stolen.get(**user)
    for user in ("mallory", "", None):
        message = ObjectRequestMessage(private.id_at_location, user, "")
        answer = bob._recv_msg(sy.serde.serialize(message))
        with pytest.raises(GetNotPermittedError):
            sy.serde.deserialize(answer, worker=hook.local_worker)
    with pytest.raises(GetNotPermittedError):
        bob._objects[private.id_at_location]
    assert torch.tensor([1.0]).send(bob).get().tolist() == [1]


def commanded(hook: Any, bob: Any, name: str, target: Any, *args: Any, value: bool = True) -> Any:
    """What the worker answers to any command at all."""
    message = TensorCommandMessage.computation(name, target, args, {}, (sy.ID_PROVIDER.pop(),), value)
    return beside.read(bob._recv_msg(beside.write(message, hook.local_worker)), hook.local_worker)


REVEALING = [
    *("__str__", "__repr__", "tolist", "numpy", "__add__", "sum", "copy", "clone", "get_child", "item", "__len__"),
    *("__reduce__", "__class__", "__getattribute__", "__dict__", "get_class_attributes", "allow", "storage"),
]


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize("name", REVEALING)
def test_steal_data_over_sockets(hook: Any, bob: Any, private: Any, name: str, value: bool) -> None:
    """By any command on the id that is known: values come neither at once, nor under a new id."""
    stolen = PointerTensor(location=bob, id_at_location=private.id_at_location, owner=hook.local_worker)
    arguments = (1,) if name == "__add__" else ("child",) if name == "__getattribute__" else ()
    made = sy.ID_PROVIDER.pop()
    message = TensorCommandMessage.computation(name, stolen, arguments, {}, (made,), value)
    said: Any = None
    try:
        said = beside.read(bob._recv_msg(beside.write(message, hook.local_worker)), hook.local_worker)
    except Exception as error:  # noqa: BLE001 - whatever it is, it tells nothing
        assert not [word for word in ("73.2", "53.7") if word in str(error)]
    assert said is None
    with pytest.raises(Exception, match=r"^(?!(.|\n)*(73\.2|53\.7))"):
        PointerTensor(location=bob, id_at_location=made, owner=hook.local_worker).get()
    assert torch.tensor([1.0]).send(bob).get().tolist() == [1]


def test_lists_of_a_worker_show_nothing_private(hook: Any, bob: Any, private: Any) -> None:
    for told in (bob.list_objects_remote(), bob.list_tensors_remote()):
        assert "7., 8." in told
        assert "(private)" in told
        assert "73.2" not in told
    for name in ("get_obj", "object_store.get_obj", "_get_msg"):
        with pytest.raises(Exception, match=r"^(?!(.|\n)*73\.2)"):
            assert commanded(hook, bob, name, "self", private.id_at_location) is None


@pytest.mark.parametrize("name", ["load", "save", "from_file", "hub.load", "jit.load", "fork", "import_ir_module",
    "set_num_threads", "set_default_dtype", "_C._jit_set_profiling_mode", "__loader__.get_data", "os.system",
    "get_file_path", "serialization.load", "_import_dotted_name"])  # fmt: skip
def test_functions_that_reach_the_machine(hook: Any, bob: Any, tmp_path: Path, name: str) -> None:
    path = tmp_path / "there"
    path.write_bytes(b"a secret of the machine" * 9)
    with pytest.raises(RuntimeError, match="not done for others|not a supported"):
        commanded(hook, bob, f"torch.{name}", None, str(path))
    assert path.read_bytes() == b"a secret of the machine" * 9
    assert commanded(hook, bob, "torch.zeros", None, 2).tolist() == [0, 0]


class Evil:
    """What a pickle may do: whatever it likes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def saved(value: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


PICKLES: List[Any] = [
    lambda path: pickle.dumps(Evil(path)),
    lambda path: saved(torch.zeros(1))[:-30] + pickle.dumps(Evil(path)),
    lambda path: b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, Evil(path), Evil(path))),
    lambda path: saved({"not a tensor": Evil(path)}),
]


@pytest.mark.parametrize("made", PICKLES)
def test_no_pickle_runs_at_the_worker(
    hook: Any, bob: Any, tmp_path: Path, made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "was here"
    payload = made(path)
    monkeypatch.setattr(torch_serde, "_serialize_tensor", lambda worker, tensor: payload)
    message = sy.serde.serialize(ObjectMessage(torch.zeros(1)))
    monkeypatch.undo()
    with pytest.raises(Exception, match="is no part of a tensor|no tensor"):
        bob._recv_msg(message)
    assert not path.exists()
    assert torch.tensor([1.0]).send(bob).get().tolist() == [1]


def test_nor_does_one_here(tmp_path: Path) -> None:
    """A worker may be hostile too."""
    path = tmp_path / "was here"
    for made in PICKLES:
        with pytest.raises(pickle.UnpicklingError):
            rebuilding.tensor(None, made(path))
    assert not path.exists()


@pytest.mark.parametrize(
    "tensor",
    [torch.arange(6.0).reshape(2, 3), torch.zeros(2, dtype=torch.bool), torch.ones(2, requires_grad=True),
     torch.nn.Parameter(torch.ones(3)), torch.zeros(0), torch.tensor(5),
     torch.ones(2, dtype=torch.bfloat16), torch.arange(10)[2:7:2]],
    ids=str,
)  # fmt: skip
def test_what_torch_saves_is_read(tensor: Any) -> None:
    read = rebuilding.tensor(None, saved(tensor))
    assert type(read) is type(tensor)
    assert (read.dtype, read.shape, read.requires_grad) == (tensor.dtype, tensor.shape, tensor.requires_grad)
    assert str(read) == str(tensor)
