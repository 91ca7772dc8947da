"""A worker without PySyft computes what torch computes (dtype, shape, values), and refuses what torch refuses."""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterator, List, Sequence

import pytest
import torch

from bridge.neutral import NeutralWorker

from .neutral_cases import ALONG, DTYPES, ELEMENTWISE, FLOATS, IN_PLACE, MATRICES, WHOLE
from .neutral_ends import Town

#: What torch 1.4 has not written for some dtypes is no error elsewhere.
UNWRITTEN = "not implemented for"


@pytest.fixture(scope="module")
def bob(hook: Any) -> Iterator[Any]:
    town = Town()
    try:
        town.worker("bob")
        worker = NeutralWorker(hook, town.url, id="bob")
        yield worker
        worker.close()
        worker.remove_worker_from_local_worker_registry()
    finally:
        town.stop()


def made(shape: Sequence[int], dtype: torch.dtype, seed: int) -> Any:
    """Distinct numbers around 0, in an order of their own."""
    torch.manual_seed(seed)
    count = int(torch.tensor(shape).prod()) if shape else 1
    numbers = torch.randperm(count).reshape(tuple(shape))
    if dtype is torch.bool:
        return numbers % 2 == 0
    numbers = (numbers if dtype is torch.uint8 else numbers - count // 2).to(dtype)
    return numbers + torch.rand(tuple(shape)).to(dtype) / 2 if dtype.is_floating_point else numbers


def outcome(work: Callable[..., Any], inputs: Sequence[Any]) -> Any:
    """What a program gets in the end: tensors, a number, or an error."""
    try:
        result = work(*inputs)
        parts = result if isinstance(result, tuple) else (result,)
        return [part.get() if hasattr(part, "child") else part for part in parts]
    except Exception as error:  # noqa: BLE001 - it is compared
        return error


def alike(theirs: Any, ours: Any) -> bool:
    if isinstance(theirs, Exception):
        return isinstance(ours, Exception) or UNWRITTEN in str(theirs)
    if isinstance(ours, Exception) or len(theirs) != len(ours):
        return False
    return all(same(one, two) for one, two in zip(theirs, ours))


def same(one: Any, two: Any) -> bool:
    if not isinstance(one, torch.Tensor):
        return bool(one == two)
    if one.dtype is not two.dtype or one.shape != two.shape:
        return False
    return torch.allclose(one.double(), two.double(), rtol=1e-4, atol=1e-5, equal_nan=True)


def differences(bob: Any, cases: Dict[str, Any], inputs: Callable[[str], Sequence[Any]]) -> List[str]:
    """The cases in which worker and torch do not agree."""
    found = []
    for name, work in cases.items():
        given = inputs(name)
        theirs = outcome(work, [x.clone() if isinstance(x, torch.Tensor) else x for x in given])
        ours = outcome(work, [x.clone().send(bob) if isinstance(x, torch.Tensor) else x for x in given])
        if not alike(theirs, ours):
            found.append(f"{name}: torch {theirs!r}, worker {ours!r}")
    return found


def pair(shape: Sequence[int], dtype: torch.dtype) -> Callable[[str], Sequence[Any]]:
    def give(name: str) -> Sequence[Any]:
        a, b = made(shape, dtype, 1), made(shape, dtype, 2)
        if not dtype.is_floating_point and dtype is not torch.bool:
            b = torch.where(b == 0, torch.ones_like(b), b)  # torch ends the process for x / 0
        return a, b

    return give


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.uint8, torch.bool], ids=str)
def test_elements(bob: Any, dtype: torch.dtype) -> None:
    assert not differences(bob, {**ELEMENTWISE, **WHOLE}, pair((2, 3), dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_functions_of_floating_point(bob: Any, dtype: torch.dtype) -> None:
    assert not differences(bob, FLOATS, pair((2, 3), dtype))


def test_functions_of_floating_point_are_for_nothing_else(bob: Any) -> None:
    cases = {name: FLOATS[name] for name in ("exp", "sqrt", "sigmoid", "floor", "a.mean()", "a.norm()", "mse_loss")}
    for work in cases.values():
        assert isinstance(outcome(work, [x.send(bob) for x in pair((2, 3), torch.int64)("")]), RuntimeError)


@pytest.mark.parametrize("shape", [(), (2, 0)], ids=str)
def test_shapes_without_dimensions_and_without_elements(bob: Any, shape: Sequence[int]) -> None:
    cases = {**ELEMENTWISE, **FLOATS, **WHOLE}
    if not shape:
        del cases["masked_select"]  # of torch 1.4's own, a result without dimensions, or none
    assert not differences(bob, cases, pair(shape, torch.float32))


@pytest.mark.parametrize("dim", [0, -1, 5])
@pytest.mark.parametrize("shape", [(2, 3), (), (3, 2, 2)], ids=str)
def test_dimensions(bob: Any, shape: Sequence[int], dim: int) -> None:
    give = pair(shape, torch.float32)
    assert not differences(bob, ALONG, lambda name: (*give(name), dim))


def test_dimensions_of_whole_numbers(bob: Any) -> None:
    give = pair((2, 3), torch.int64)
    assert not differences(bob, ALONG, lambda name: (*give(name), 1))


@pytest.mark.parametrize("dim", [0, 1])
def test_dimensions_without_elements(bob: Any, dim: int) -> None:
    give = pair((0, 3), torch.float32)
    cases = {name: work for name, work in ALONG.items() if name not in ("split", "narrow", "select", "unbind")}
    assert not differences(bob, cases, lambda name: (*give(name), dim))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64], ids=str)
def test_matrices(bob: Any, dtype: torch.dtype) -> None:
    assert not differences(bob, MATRICES, lambda name: (made((3, 4), dtype, 1), made((4, 3), dtype, 2)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.uint8, torch.bool], ids=str)
def test_what_is_changed_in_place(bob: Any, dtype: torch.dtype) -> None:
    assert not differences(bob, IN_PLACE, pair((2, 3), dtype))


@pytest.mark.parametrize("shape", [(3,), ()], ids=str)
@pytest.mark.parametrize("name", ["a + b", "a > b", "a & b"])
def test_dtypes_meet_as_torch_has_them_meet(bob: Any, name: str, shape: Sequence[int]) -> None:
    found = []
    for one in DTYPES:
        for two in DTYPES:
            found += differences(
                bob, {name: ELEMENTWISE[name]}, lambda _, one=one, two=two: (made(shape, one, 1), made((3,), two, 2))
            )
    assert not found


def test_an_index_may_be_a_tensor_or_a_mask(bob: Any) -> None:
    x = torch.arange(6.0).reshape(2, 3)
    pointer, rows = x.clone().send(bob), torch.tensor([1, 0, 1]).send(bob)
    assert pointer[rows].get().tolist() == [[3, 4, 5], [0, 1, 2], [3, 4, 5]]
    chosen = pointer[pointer > 2.5]
    assert chosen.shape == torch.Size([3])
    assert (chosen.view(-1, 1) * 2).get().tolist() == [[6], [8], [10]]
    assert chosen.numel() == 3
