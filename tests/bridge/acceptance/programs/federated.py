"""Learning where the data is."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

import syft as sy
import torch
from syft.frameworks.torch.fl import utils
from torch import nn, optim
from torch.nn import functional

from . import Workers, program

#: Rows of the digits that we draw, five squares wide.
GLYPHS = (
    "01110 10001 10011 10101 11001 10001 01110", "00100 01100 00100 00100 00100 00100 01110",
    "01110 10001 00001 00110 01000 10000 11111", "11110 00001 00001 01110 00001 00001 11110",
)  # fmt: skip


def digits(count: int, seed: int = 0) -> Tuple[Any, Any]:
    """Noisy pictures of 0 to 3, (count, 1, 7, 5), and which digit each is."""
    torch.manual_seed(seed)
    shapes = torch.tensor([[[float(dot) for dot in row] for row in glyph.split()] for glyph in GLYPHS])
    labels = torch.arange(count) % len(GLYPHS)
    return (shapes.index_select(0, labels) + 0.3 * torch.randn(count, 7, 5)).unsqueeze(1), labels


def rounded(tensor: Any) -> Any:
    return [round(value, 4) for value in tensor.reshape(-1).tolist()]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.out = nn.Linear(60, len(GLYPHS))

    def forward(self, x: Any) -> Any:
        return functional.log_softmax(self.out(functional.relu(self.conv(x)).view(-1, 60)), dim=1)


@program(near=1e-4)
def a_model_visits_its_data(workers: Workers) -> Any:
    torch.manual_seed(1)
    data = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    target = torch.tensor([[0.0], [0], [1], [1]])
    places = [
        (data[:2].send(workers.bob), target[:2].send(workers.bob)),
        (data[2:].send(workers.alice), target[2:].send(workers.alice)),
    ]
    model = nn.Linear(2, 1)
    losses = []
    for _ in range(5):
        for x, y in places:
            model.send(x.location)
            optimizer = optim.SGD(params=model.parameters(), lr=0.1)
            optimizer.zero_grad()
            loss = ((model(x) - y) ** 2).sum()
            loss.backward()
            optimizer.step()
            model.get()
            losses.append(loss.get().item())
    return {"losses": losses, "weight": rounded(model.weight), "bias": rounded(model.bias)}


@program(near=1e-4)
def a_data_set_lies_at_several_workers(workers: Workers) -> Any:
    pictures, labels = digits(48)
    torch.manual_seed(2)
    here = sy.BaseDataset(pictures, labels)
    federated = here.federate((workers.bob, workers.alice))
    loader = sy.FederatedDataLoader(federated, batch_size=8, shuffle=False)
    model = Net()
    seen, losses = [], []
    for _ in range(2):
        for data, target in loader:
            seen.append(data.location.id)
            model.send(data.location)
            optimizer = optim.SGD(model.parameters(), lr=0.05)
            optimizer.zero_grad()
            loss = functional.nll_loss(model(data), target)
            loss.backward()
            optimizer.step()
            model.get()
            losses.append(loss.get().item())
    test, right = digits(40, seed=3)
    return {
        "workers": sorted(federated.workers),
        "seen": seen,
        "losses": losses,
        "right": int((model(test).argmax(1) == right).sum()),
        "first weights": rounded(model.conv.weight)[:9],
    }


@program(near=1e-3)
def the_average_of_models_trained_apart(workers: Workers) -> Any:
    """Federated averaging: each worker trains a copy of its own, a third one averages, then we do."""
    torch.manual_seed(4)
    model = nn.Linear(3, 1)
    data = {worker.id: torch.randn(10, 3) for worker in (workers.bob, workers.alice)}
    rule = torch.tensor([[1.0], [-2.0], [0.5]])
    places = {
        worker: (data[worker.id].send(worker), (data[worker.id] @ rule).send(worker))
        for worker in (workers.bob, workers.alice)
    }
    losses: List[float] = []
    for _ in range(3):
        copies: Dict[Any, Any] = {worker: model.copy().send(worker) for worker in places}
        for worker, (x, y) in places.items():
            optimizer = optim.SGD(copies[worker].parameters(), lr=0.1)
            for _ in range(3):
                optimizer.zero_grad()
                loss = ((copies[worker](x) - y) ** 2).mean()
                loss.backward()
                optimizer.step()
            losses.append(loss.get().item())
        for trained in copies.values():
            trained.move(workers.charlie)
        first, second = copies.values()
        with torch.no_grad():
            model.weight.set_(((first.weight.data + second.weight.data) / 2).get())
            model.bias.set_(((first.bias.data + second.bias.data) / 2).get())
    return {"losses": losses, "weight": rounded(model.weight), "bias": rounded(model.bias)}


@program(near=1e-4)
def pysyft_s_own_average(workers: Workers) -> Any:
    pictures, labels = digits(24)
    torch.manual_seed(5)
    federated = sy.FederatedDataset(
        [
            sy.BaseDataset(pictures[:12], labels[:12]).send(workers.bob),
            sy.BaseDataset(pictures[12:], labels[12:]).send(workers.alice),
        ]
    )
    loader = sy.FederatedDataLoader(federated, batch_size=6, iter_per_worker=True)
    batches = list(loader)  # one batch of each worker at a time
    model = Net()
    trained = {}
    for worker in (workers.bob, workers.alice):
        copy = model.copy().send(worker)
        optimizer = optim.SGD(copy.parameters(), lr=0.05)
        for part in batches:
            x, y = part[worker]
            optimizer.zero_grad()
            functional.nll_loss(copy(x), y).backward()
            optimizer.step()
        trained[worker.id] = copy.get()
    average = utils.federated_avg(trained)
    return {"batches": len(batches), "weights": rounded(average.conv.weight), "length": len(federated)}


@program(near=0.02)
def gradients_are_summed_as_secrets(workers: Workers) -> Any:
    """Secure aggregation: what each worker learnt is shared among all, summed, and only the sum is opened."""
    torch.manual_seed(6)
    parties = workers.bob, workers.alice
    model = nn.Linear(2, 1)
    data = [torch.randn(8, 2) for _ in parties]
    copies = [model.copy().send(worker) for worker in parties]
    for worker, x, copy in zip(parties, data, copies):
        there, target = x.send(worker), (x.sum(1, keepdim=True) * 2).send(worker)
        optimizer = optim.SGD(copy.parameters(), lr=0.1)
        for _ in range(2):
            optimizer.zero_grad()
            ((copy(there) - target) ** 2).mean().backward()
            optimizer.step()
    averages = []
    for parameters in zip(*[list(copy.parameters()) for copy in copies]):
        shares = [p.data.fix_prec().share(*parties, crypto_provider=workers.james).get() for p in parameters]
        averages.append(((shares[0] + shares[1]).get().float_prec() / 2).tolist())
    return averages
