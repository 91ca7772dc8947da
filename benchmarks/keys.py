"""What a key of a benchmark is: figures over figures, and how well that must be. Pure sums."""

from __future__ import annotations

from statistics import median
from typing import Callable, Dict, List, Mapping, NamedTuple, Sequence, Set, Tuple, Union

from benchmarks.ends import Figure

Figures = Mapping[str, Sequence[Figure]]


class Quantity(NamedTuple):
    """One number of a figure."""

    figure: str  # "stack.measure"
    of: Callable[[Figure], float]

    def by_round(self, figures: Figures) -> List[float]:
        return [self.of(figure) for figure in figures[self.figure]]


def rate(figure: str) -> Quantity:
    """Operations per second."""
    return Quantity(figure, lambda taken: taken.rate)


def gain(figure: str, role: str) -> Quantity:
    """Bytes that the memory of one process grew by at its peak."""
    return Quantity(figure, lambda taken: taken.ends[role].gain)


def cpu(figure: str, role: str) -> Quantity:
    """Seconds of CPU of one process per operation."""
    return Quantity(figure, lambda taken: taken.ends[role].cpu / taken.operations)


def more(figure: str, name: str) -> Quantity:
    """A number that the measure gives beside its rate."""
    return Quantity(figure, lambda taken: taken.more[name])


def sent(figure: str) -> Quantity:
    """Bytes that all processes together sent per operation."""
    return Quantity(figure, lambda taken: taken.sent)


class Pair(NamedTuple):
    """One quantity over another, or over a number."""

    above: Quantity
    below: Union[Quantity, float]


class Key(NamedTuple):
    """The worst of its pairs, which must be at least, or ``at_most``, the target."""

    pairs: Tuple[Pair, ...]
    target: float
    what: str
    at_most: bool = False

    def needs(self) -> Dict[str, Set[str]]:
        """The stacks, and the measures of each, that it is made of."""
        needed: Dict[str, Set[str]] = {}
        for pair in self.pairs:
            for quantity in pair:
                if isinstance(quantity, Quantity):
                    stack, _, measure = quantity.figure.partition(".")
                    needed.setdefault(stack, set()).add(measure)
        return needed

    def _worst(self, values: Sequence[float]) -> float:
        return max(values) if self.at_most else min(values)

    def ratios(self, figures: Figures) -> Dict[str, float]:
        """Of each pair, by the name of the figure above: the ratio of the medians."""
        ratios = {}
        for above, below in self.pairs:
            under = median(below.by_round(figures)) if isinstance(below, Quantity) else below
            ratios[above.figure] = median(above.by_round(figures)) / under
        return ratios

    def value(self, figures: Figures) -> float:
        """The worst of the ratios."""
        return self._worst(list(self.ratios(figures).values()))

    def by_round(self, figures: Figures) -> List[float]:
        """The ratio in each round."""
        columns = []
        for above, below in self.pairs:
            tops = above.by_round(figures)
            unders = below.by_round(figures) if isinstance(below, Quantity) else [below] * len(tops)
            columns.append([top / under for top, under in zip(tops, unders)])
        return [self._worst(row) for row in zip(*columns)]

    def reached(self, value: float) -> bool:
        return value <= self.target if self.at_most else value >= self.target
