"""Plans, protocols and models: programs that are sent."""

from __future__ import annotations

from typing import Any

import syft as sy
import torch
from torch import nn
from torch.nn import functional

from . import Workers, program


@program()
def a_plan_is_sent_and_run_at_two_places(workers: Workers) -> Any:
    @sy.func2plan(args_shape=[(-1, 1)])
    def plan(x: Any) -> Any:
        return (x + x).abs() * 3

    pointers = plan.send(workers.bob), plan.send(workers.alice)
    results = []
    for pointer, worker in zip(pointers, (workers.bob, workers.alice)):
        results.append(pointer(torch.tensor([-1.0, 2.0]).send(worker)).get().tolist())
    fetched = sy.local_worker.fetch_plan(plan.id, workers.bob)
    return {"results": results, "fetched": fetched(torch.tensor([1.0])).tolist()}


class Scorer(sy.Plan):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(2, 3)
        self.outer = nn.Linear(3, 2)

    def forward(self, x: Any) -> Any:
        return functional.log_softmax(self.outer(functional.relu(self.inner(x))), dim=0)


@program()
def a_model_is_a_plan(workers: Workers) -> Any:
    torch.manual_seed(7)
    model = Scorer()
    model.build(torch.tensor([1.0, 2]))
    x = torch.tensor([0.5, -1.0])
    here = model(x).tolist()
    there = model.send(workers.bob)
    at_bob = there(x.send(workers.bob)).get().tolist()
    return {"here": here, "at bob": at_bob, "back": model(x).tolist()}


@program(near=0.01)
def a_plan_runs_on_shares(workers: Workers) -> Any:
    @sy.func2plan(args_shape=[(2,)], state=(torch.tensor([0.5, 2.0]),))
    def plan(x: Any, state: Any) -> Any:
        (factor,) = state.read()
        return x * factor + x

    parties = workers.alice, workers.bob
    plan.fix_precision().share(*parties, crypto_provider=workers.james)
    x = torch.tensor([3.0, -1.5]).fix_prec().share(*parties, crypto_provider=workers.james)
    return plan(x).get().float_prec().tolist()


@program()
def a_protocol_has_roles(workers: Workers) -> Any:
    @sy.func2protocol(roles=["one", "other"], args_shape={"one": ((2,),), "other": ((2,),)})
    def protocol(one: Any, other: Any) -> Any:
        x = one.load(torch.tensor([1.0, 2.0]))
        y = other.load(torch.tensor([10.0, 20.0]))
        return x + x, y * 2

    values = protocol()
    return {role: [value.tolist() for value in values[role]] for role in sorted(protocol.roles)}


@program()
def a_model_has_a_pointer_of_its_own(workers: Workers) -> Any:
    torch.manual_seed(8)
    bob = workers.bob
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1))
    x = torch.tensor([[1.0, -1.0]])
    here = model(x).tolist()
    there = model.copy().send(bob)
    remote = there(x.send(bob)).get().tolist()
    back = there.get()
    return {"here": here, "there": remote, "back": back(x).tolist(), "at": str(back[0].weight.shape)}
