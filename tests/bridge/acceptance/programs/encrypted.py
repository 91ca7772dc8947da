"""Models and data as secret shares."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn, optim
from torch.nn import functional

from . import Workers, program
from .federated import GLYPHS, digits


@program(near=0.01)
def shares_are_computed_with(workers: Workers) -> Any:
    parties = workers.alice, workers.bob
    x = torch.tensor([[1.5, -2.0], [0.25, 3.0]]).fix_prec().share(*parties, crypto_provider=workers.james)
    y = torch.tensor([[2.0, 1.0], [-1.0, 0.5]]).fix_prec().share(*parties, crypto_provider=workers.james)
    return {
        "who": sorted(worker.id for worker in x.child.child.locations),
        "sum": (x + y).get().float_prec().tolist(),
        "difference": (x - y).get().float_prec().tolist(),
        "product": (x * y).get().float_prec().tolist(),
        "matrix": (x @ y).get().float_prec().tolist(),
        "public": (x * 3 + 1).get().float_prec().tolist(),
        "square": (x**2).get().float_prec().tolist(),
        "parts": x[0].get().float_prec().tolist(),
        "total": x.sum(0).get().float_prec().tolist(),
        "integers": torch.tensor([3, -4]).share(*parties, crypto_provider=workers.james).get().tolist(),
    }


@program(near=0.01)
def shares_of_three_and_from_afar(workers: Workers) -> Any:
    parties = workers.alice, workers.bob, workers.charlie
    x = torch.tensor([4, -5]).share(*parties, crypto_provider=workers.james)
    there = torch.tensor([1.5, 2.5]).send(workers.charlie).fix_prec()
    shared = there.share(workers.alice, workers.bob, crypto_provider=workers.james).get()
    return {"of three": (x + x).get().tolist(), "from afar": (shared + shared).get().float_prec().tolist()}


@program(near=0.01)
def shares_are_compared_by_securenn(workers: Workers) -> Any:
    parties = workers.alice, workers.bob
    x = torch.tensor([1.0, -2, 3]).fix_prec().share(*parties, crypto_provider=workers.james)
    y = torch.tensor([2.0, -2, -4]).fix_prec().share(*parties, crypto_provider=workers.james)
    return {
        "greater": (x > y).get().float_prec().tolist(),
        "equal": (x == y).get().float_prec().tolist(),
        "relu": x.relu().get().float_prec().tolist(),
    }


@program(near=0.01)
def shares_are_compared_by_fss(workers: Workers) -> Any:
    parties = workers.alice, workers.bob
    options = {"crypto_provider": workers.james, "protocol": "fss"}
    x = torch.tensor([1.0, -2, 3]).fix_prec().share(*parties, **options)
    y = torch.tensor([2.0, -2, -4]).fix_prec().share(*parties, **options)
    return {
        "at most": (x <= y).get().float_prec().tolist(),
        "equal": (x == y).get().float_prec().tolist(),
        "relu": x.relu().get().float_prec().tolist(),
        "largest": x.max().get().float_prec().tolist(),
        "where": x.argmax().get().float_prec().tolist(),
    }


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(35, 8)
        self.outer = nn.Linear(8, len(GLYPHS))

    def forward(self, x: Any) -> Any:
        return self.outer(functional.relu(self.inner(x.view(-1, 35))))


def _trained() -> Any:
    pictures, labels = digits(80)
    torch.manual_seed(9)
    model = Classifier()
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        functional.cross_entropy(model(pictures), labels).backward()
        optimizer.step()
    return model


def _inference(workers: Workers, protocol: str, pictures: int) -> Any:
    parties = workers.alice, workers.bob
    model = _trained()
    test, right = digits(pictures, seed=10)
    here = model(test).detach()
    model.fix_precision().share(*parties, crypto_provider=workers.james, protocol=protocol)
    secret = test.fix_precision().share(*parties, crypto_provider=workers.james, protocol=protocol)
    scores = model(secret).get().float_prec()
    return {
        "right": int((scores.argmax(1) == right).sum()),
        "as in the clear": bool((scores - here).abs().max() < 0.1),
        "scores": scores.tolist(),
    }


@program(near=0.05)
def digits_are_classified_by_fss(workers: Workers) -> Any:
    return _inference(workers, "fss", 8)


@program(near=0.05)
def digits_are_classified_by_securenn(workers: Workers) -> Any:
    return _inference(workers, "snn", 1)


@program(near=0.1)
def a_model_is_trained_on_shares(workers: Workers) -> Any:
    parties = workers.alice, workers.bob
    options = {"crypto_provider": workers.james, "requires_grad": True}
    data = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]]).fix_prec().share(*parties, **options)
    target = torch.tensor([[0.0], [0], [1], [1]]).fix_prec().share(*parties, **options)
    torch.manual_seed(11)
    model = nn.Linear(2, 1)
    model.fix_precision().share(*parties, **options)
    optimizer = optim.SGD(params=model.parameters(), lr=0.1).fix_precision()
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        loss = ((model(data) - target) ** 2).sum()
        loss.backward()
        optimizer.step()
        losses.append(loss.get().float_precision().item())
    model.get().float_precision()
    return {"losses": losses, "weight": model.weight.tolist(), "falls": losses[-1] < losses[0]}


@program(near=0.01)
def an_average_of_secrets(workers: Workers) -> Any:
    """Three pay, and learn what is paid on average, but not by whom."""
    parties = workers.alice, workers.bob, workers.charlie
    salaries = [
        torch.tensor([float(salary)]).send(party).fix_prec().share(*parties, crypto_provider=workers.james).get()
        for salary, party in zip((30, 45, 60), parties)
    ]
    total = salaries[0] + salaries[1] + salaries[2]
    kind = type(total.child.child).__name__
    return {"average": (total.get().float_prec() / 3).tolist(), "kind": kind}
