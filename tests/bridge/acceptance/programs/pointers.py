"""Tensors that live elsewhere: pointers, pointers to pointers, tags, gradients, what may be had back and by whom."""

from __future__ import annotations

from typing import Any

import syft as sy
import torch
from syft.generic.string import String

from . import Workers, program


@program()
def tensors_are_computed_with_where_they_are(workers: Workers) -> Any:
    bob = workers.bob
    x = torch.tensor([[1.0, 2, 3], [4, 5, 6]]).send(bob)
    y = torch.ones(3, 2).send(bob)
    product = x @ y
    inplace = torch.zeros(2).send(bob)
    inplace += 2
    inplace.mul_(3)
    largest, where = x.max(dim=1)
    return {
        "location": product.location.id,
        "shape": list(product.shape),
        "sum": (x + x - 1).sum().get().item(),
        "product": product.get().tolist(),
        "in place": inplace.get().tolist(),
        "rows": [row.get().tolist() for row in x.split(1)],
        "part": x[0, 1:].get().tolist(),
        "largest": [largest.get().tolist(), where.get().tolist()],
        "function": torch.nn.functional.relu(x - 3).get().tolist(),
        "whole": x.copy().get().tolist(),
        "truth": bool((x > 0).all().get()),
        "stacked": torch.stack([x, x]).sum(0).get().tolist(),
    }


@program()
def a_pointer_to_a_pointer(workers: Workers) -> Any:
    alice, bob = workers.alice, workers.bob
    x = torch.tensor([1, 2, 3, 4]).send(bob)
    chain = x.send(alice)
    doubled = chain + chain
    nearer = doubled.get()
    return {
        "through": [chain.location.id, nearer.location.id],
        "far": nearer.get().tolist(),
        "at both": [value.tolist() for value in torch.tensor([5, 6]).send(bob, alice).get()],
    }


@program()
def tensors_move_from_worker_to_worker(workers: Workers) -> Any:
    alice, bob, charlie = workers.alice, workers.bob, workers.charlie
    x = torch.tensor([1.0, 2, 3]).send(bob)
    moved = (x * 2).move(alice)
    again = moved.move(charlie)
    handed = torch.tensor([7.0]).send(alice).remote_send(bob)
    return {
        "from": x.get().tolist(),
        "at": [moved.location.id, again.location.id, handed.location.id],
        "value": (again + 1).get().tolist(),
        "handed": sy.local_worker.request_obj(handed.id_at_location, bob).tolist(),
        "home": torch.tensor([4.0]).send(bob).move(sy.local_worker).tolist(),
    }


@program()
def what_is_tagged_is_found(workers: Workers) -> Any:
    alice, bob = workers.alice, workers.bob
    torch.tensor([1.0]).tag("#radius", "#tumour").describe("of the first").send(bob, garbage_collect_data=False)
    kept = torch.tensor([2.0]).tag("#radius").send(bob)
    other = torch.tensor([3.0]).tag("#radius").send(alice)
    grid = sy.PrivateGridNetwork(bob, alice)
    by_worker = grid.search("#radius")
    (both,) = sy.local_worker.request_search(["#radius", "#tumour"], location=bob)
    values = {name: sorted(found.copy().get().item() for found in pointers) for name, pointers in by_worker.items()}
    result = {
        "values": values,
        "both": [(both + 1).get().tolist(), sorted(both.tags), both.description],
        "nothing": grid.search("#radius", "#weather"),
    }
    both.get()
    return {**result, "left": len(grid.search("#radius")["bob"]), "kept": (kept.get() + other.get()).item()}


@program()
def gradients_come_back_to_the_client(workers: Workers) -> Any:
    alice, bob = workers.alice, workers.bob
    with sy.local_worker.registration_enabled():
        x = torch.tensor([2.0, -1.0], requires_grad=True)
        there = x.send(bob, requires_grad=True)
        (there * there).sum().backward()
        y = torch.tensor([1.0, 3.0], requires_grad=True)
        moved = y.send(alice, requires_grad=True).move(bob, requires_grad=True)
        (moved * 4).sum().backward()
    remote = torch.tensor([3.0], requires_grad=True).send(alice)
    (remote**3).sum().backward()
    return {
        "called back": x.grad.tolist(),
        "by way of another": y.grad.tolist(),
        "asked for": remote.get().grad.tolist(),
    }


@program()
def private_tensors_are_for_those_who_may(workers: Workers) -> Any:
    bob = workers.bob
    secret = torch.tensor([1, 2]).private_tensor(allowed_users=["carol"]).send(bob, user="carol")
    said = []
    for user in ("mallory", "carol"):
        try:
            said.append(str(secret.get(user=user)))
        except sy.exceptions.GetNotPermittedError:
            said.append("no")
    fixed = torch.tensor([0.5, 2.25]).fix_prec().private_tensor(allowed_users=["carol"]).send(bob, user="carol")
    try:
        said.append(fixed.get(user="mallory"))
    except sy.exceptions.GetNotPermittedError:
        said.append("no")
    return [*said, str(fixed.get(user="carol"))]


@program()
def what_goes_wrong_is_said(workers: Workers) -> Any:
    bob = workers.bob
    said = []
    for attempt in (
        lambda: (torch.ones(3).send(bob) @ torch.ones(4).send(bob)).get(),
        lambda: sy.local_worker.request_obj(1, bob),
        lambda: torch.ones(2).send(bob).view(3).get(),
        lambda: (torch.ones(2).send(bob) + torch.ones(2).send(workers.alice)).get(),
    ):
        try:
            attempt()
            said.append("done")
        except Exception as error:  # noqa: BLE001 - which one is the result
            said.append(type(error).__name__)
    return [*said, torch.ones(1).send(bob).get().tolist()]


@program()
def nothing_is_left_behind(workers: Workers) -> Any:
    alice, bob = workers.alice, workers.bob
    before = len(bob.object_store._objects), len(alice.object_store._objects)
    x = torch.ones(3).send(bob)
    y = (x + x) * x - x
    is_there = x.id_at_location in bob.object_store._objects
    moved = y.move(alice)
    shares = torch.tensor([1, 2]).share(alice, bob, crypto_provider=workers.james)
    (shares * shares).get()
    during = len(bob.object_store._objects) - before[0]
    del x, y, moved, shares
    after = len(bob.object_store._objects), len(alice.object_store._objects)
    return {"there": is_there, "during": during, "left": [now - then for now, then in zip(after, before)]}


@program()
def strings_and_methods_are_called_there(workers: Workers) -> Any:
    bob = workers.bob
    text = String("Hello at bob").send(bob)
    return {
        "upper": str(text.upper().get()),
        "words": [str(word) for word in text.get().split(" ")],
        "remote": bob.remote.torch.zeros(2, 2).get().tolist(),
    }
