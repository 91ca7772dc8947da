"""A worker that trains by itself: its user has given it data, and methods of its own."""

from __future__ import annotations

import asyncio
from typing import Any, Dict, List

import torch
from torch import nn, optim
from torch.nn import functional

from .federated import GLYPHS, digits

FEATURES = 35


def flat(model: Any) -> Any:
    """All parameters of a model, in one tensor."""
    return torch.cat([parameter.data.reshape(-1) for parameter in model.parameters()])


def shaped(parameters: Any) -> Any:
    """The model with these parameters."""
    model = nn.Linear(FEATURES, len(GLYPHS))
    size = model.weight.numel()
    model.weight.data = parameters[:size].reshape(model.weight.shape).clone()
    model.bias.data = parameters[size:].clone()
    return model


class Clinic:
    """What is added to a worker; ``search`` is the worker's own."""

    def admit(self, first: int, count: int) -> None:
        """Have pictures of one's own."""
        pictures, labels = digits(80)
        self.pictures, self.labels = pictures[first : first + count].reshape(count, -1), labels[first : first + count]

    def fit(self: Any, dataset_key: str, device: str = "cpu") -> Any:
        """Train the model that was sent here; its parameters."""
        assert (dataset_key, device) == ("digits", "cpu")
        (sent,) = self.search("#model")
        model = shaped(sent)
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        for _ in range(5):
            optimizer.zero_grad()
            functional.cross_entropy(model(self.pictures), self.labels).backward()
            optimizer.step()
        return flat(model)

    def evaluate(self: Any, dataset_key: str, return_raw_accuracy: bool = True, **options: Any) -> Dict[str, Any]:
        """How good the model is that was sent here."""
        (sent,) = self.search("#model")
        scores = shaped(sent)(self.pictures)
        right = int((scores.argmax(1) == self.labels).sum())
        loss = functional.cross_entropy(scores, self.labels).item()
        return {"nr_correct_predictions": right, "nr_predictions": len(self.labels), "loss": loss, **options}


def averaged(workers: List[Any], rounds: int, together: bool) -> Dict[str, Any]:
    """Federated averaging over such workers; ``together``: they train at the same time."""
    torch.manual_seed(12)
    parameters = flat(nn.Linear(FEATURES, len(GLYPHS)))
    figures: List[Any] = []
    for _ in range(rounds):
        sent = [parameters.clone().tag("#model").send(worker) for worker in workers]
        if together:

            async def fit() -> List[Any]:
                return list(await asyncio.gather(*[worker.async_fit("digits") for worker in workers]))

            trained = asyncio.run(fit())
        else:
            trained = [worker.fit("digits") for worker in workers]
        parameters = torch.stack(trained).mean(0)
        figures.append([worker.evaluate("digits", return_histograms=False) for worker in workers])
        for pointer in sent:
            pointer.get()
    return {"figures": figures, "parameters": [round(value, 4) for value in parameters.tolist()[:20]]}
