"""Gates that compare: what all know (delta) with what the dealer knows (the mask), digit by digit, then in a tree.

For x = delta - mask the highest bit is msb(delta) ^ msb(mask) ^ [delta < mask] of the other 63 bits. For each digit m
of four bits of the mask the dealer shares the table of [j < m]; the parties look up the digit of delta, in their
shares, and have shares of "below" and "equal" without a hop. A node of the tree joins up to four digits in one hop:

    below = b3 ^ e3 b2 ^ e3 e2 b1 ^ e3 e2 e1 b0        equal = e3 e2 e1 e0

on bits opened under masks whose products the dealer shares. Bits are packed, eight elements a byte.
"""

from __future__ import annotations

from functools import reduce
from itertools import combinations
from typing import Any, Callable, Dict, FrozenSet, List, NamedTuple, Sequence, Tuple

import numpy as np

from ..machine import XOR, Opening, Planes, Wire
from ..ring import Ring
from .roles import Dealing, Party, Run

DIGIT = 4
TABLE = np.dtype("<u2")
#: Elements that are looked up at a time: what a lookup touches stays in the cache, and its tables fit one message.
BLOCK = 15 << 10

BELOW, EQUAL = "below", "equal"


def digits_of(bits: int) -> int:
    """How many digits ``bits`` bits have, made up to what the tree takes: a product of numbers up to four."""
    return next(count for count in (1, 2, 3, 4, 6, 8, 9, 12, 16) if count * DIGIT >= bits)


def fold_of(digits: int) -> int:
    """How many digits a node joins."""
    return next(arity for arity in (4, 3, 2) if digits % arity == 0)


# Looking up.


def lookup(party: Party, wire: Wire, kind: str, bits: int, low: int = 0) -> Run:
    """``below`` (and ``equal``) of ``bits`` bits from bit ``low`` on, digit by digit; or ``equal`` alone."""
    count = digits_of(bits)
    delta = np.asarray(wire.delta).ravel()
    nbytes = -(-delta.size // 8)
    below, equal = np.empty((count, nbytes), np.uint8), np.empty((count, nbytes), np.uint8)
    for start in range(0, delta.size, BLOCK):
        piece = delta[start : start + BLOCK]
        packed = slice(start // 8, start // 8 + -(-piece.size // 8))
        tables = yield from party.dealt((count, piece.size), TABLE)
        yield from party.rested(tables.nbytes)
        seen = np.right_shift(_with_one(tables, party.first), _digits(piece, count, bits, low))
        # Bit 0 is the table's entry before delta's digit, bit 1 that of the digit itself.
        upper = np.right_shift(seen, 1)
        below[:, packed] = np.packbits((upper & 1).astype(np.uint8), axis=1)
        equal[:, packed] = np.packbits(((upper ^ seen) & 1).astype(np.uint8), axis=1)
    if kind == EQUAL:
        return Planes(count, nbytes, None, equal)
    return Planes(count, nbytes, below, equal[1:])


def _with_one(tables: Any, first: bool) -> Any:
    """Tables with an entry before the first, which is always true."""
    moved = np.left_shift(tables, 1)
    return moved | TABLE.type(1) if first else moved


def _digits(values: Ring, count: int, bits: int, low: int) -> Any:
    """(count, n) digits of ``bits`` bits from bit ``low`` on, the lowest digit first."""
    masked = np.bitwise_and(values if not low else np.right_shift(values, np.uint64(low)), np.uint64((1 << bits) - 1))
    halves = np.ascontiguousarray(masked).view(TABLE).reshape(-1, 4).T  # sixteen bits at a time
    out = np.empty((count, values.size), TABLE)
    for digit in range(count):
        np.right_shift(halves[digit // 4], TABLE.type(DIGIT * (digit % 4)), out=out[digit])
        np.bitwise_and(out[digit], TABLE.type(15), out=out[digit])
    return out


def deal_lookup(dealer: Dealing, wire: Wire, kind: str, bits: int, low: int = 0) -> Run:
    mask = np.asarray(wire.mask).ravel()
    count = digits_of(bits)
    for start in range(0, mask.size, BLOCK):
        tables = np.left_shift(TABLE.type(1), _digits(mask[start : start + BLOCK], count, bits, low), dtype=TABLE)
        dealer.deal(np.subtract(tables, TABLE.type(1), out=tables), xor=True)
        yield from dealer.passed_on()
        yield from dealer.rested(tables.nbytes)
    return Planes(count, -(-mask.size // 8))


# The tree.


Variable = Tuple[str, int]  # ("b", j) or ("e", j)
Term = Tuple[Variable, ...]


class Step(NamedTuple):
    """The next value is public[variable] & values[less] ^ values[more]."""

    variable: int
    less: int
    more: int


class Node(NamedTuple):
    """How a node of some arity computes its results from what is opened, and from shares of products of masks.

    Values are numbered: 0 is all ones, then the masks of the variables, the products, those of equal, then each step's.
    """

    variables: Tuple[Variable, ...]
    products: Tuple[Term, ...]  # of masks, in all nodes
    of_equal: Tuple[Term, ...]  # in nodes that also give "equal"
    steps: Tuple[Step, ...]  # to "below"
    last: Tuple[Step, ...]  # from there to "equal"
    below: Tuple[int, ...]  # the values whose sum it is
    equal: int


def node(arity: int, kind: str) -> Node:
    every = tuple(("e", j) for j in reversed(range(arity)))
    terms = [] if kind == EQUAL else [(*every[: arity - 1 - j], ("b", j)) for j in range(arity)]
    variables = tuple((name, j) for name in ("e" if kind == EQUAL else "be") for j in range(arity))
    products = _subsets(terms)
    of_equal = tuple(s for s in _subsets([every]) if s not in products)
    making = Making([(), *((variable,) for variable in variables), *products, *of_equal], variables)
    below = tuple(making.place(term) for term in terms)
    until = len(making.steps)
    equal = making.place(every)
    return Node(variables, products, of_equal, tuple(making.steps[:until]), tuple(making.steps[until:]), below, equal)


class Making:
    """The steps to products of variables.

    With V a product of variables and M one of masks: V v M = public(v) V M ^ V v' M, where v' is the mask of v. What
    products have in common at their beginning is made once.
    """

    def __init__(self, known: Sequence[Term], variables: Sequence[Variable]) -> None:
        self._places: Dict[Any, int] = {((), frozenset(term)): place for place, term in enumerate(known)}
        self._variables = variables
        self.steps: List[Step] = []

    def place(self, done: Term, rest: FrozenSet[Variable] = frozenset()) -> int:
        """The number of the value of variables, times a product of masks."""
        if (done, rest) not in self._places:
            before, variable = done[:-1], done[-1]
            less, more = self.place(before, rest), self.place(before, rest | {variable})
            self.steps.append(Step(self._variables.index(variable), less, more))
            self._places[done, rest] = len(self._places)
        return self._places[done, rest]


def _subsets(terms: Sequence[Term]) -> Tuple[Term, ...]:
    """All products of two and more variables of each term, once."""
    found = {s for term in terms for size in range(2, len(term) + 1) for s in combinations(sorted(term), size)}
    return tuple(sorted(found))


NODES = {(arity, kind): node(arity, kind) for arity in (2, 3, 4) for kind in (BELOW, EQUAL)}


def _grouped(planes: Any, digits: int, arity: int) -> Any:
    """(digits, bytes), or (digits - 1, bytes) without the lowest, as (arity, groups, bytes)."""
    if len(planes) < digits:
        planes = np.concatenate([np.zeros((digits - len(planes), planes.shape[1]), np.uint8), planes])
    return planes.reshape(digits // arity, arity, -1).transpose(1, 0, 2)


def fold(party: Party, planes: Planes) -> Run:
    """Join digits, ``fold_of`` as many at a time; one hop."""
    arity = fold_of(planes.digits)
    kind = EQUAL if planes.below is None else BELOW
    parts = [plane for plane in (planes.below, planes.equal) if plane is not None]
    masks = [party.free(part.shape, np.uint8) for part in parts]
    groups = planes.digits // arity
    rules = NODES[arity, kind]
    more = groups if kind == EQUAL else groups - 1
    opened = yield Opening(
        XOR,
        np.concatenate([part ^ mask for part, mask in zip(parts, masks)]),
        (sum(map(len, parts)), planes.nbytes),
        np.uint8,
    )
    products = yield from party.dealt((len(rules.products), groups, planes.nbytes), np.uint8)
    of_equal = yield from party.dealt((len(rules.of_equal), more, planes.nbytes), np.uint8)
    public = _variables([opened[: len(parts[0])], opened[len(parts[0]) :]][: len(parts)], planes.digits, arity)
    one = np.full((groups, planes.nbytes), 255 if party.first else 0, np.uint8)
    values = [one, *_variables(masks, planes.digits, arity), *products, *of_equal]
    _follow(rules.steps, public, values, groups)
    below = reduce(np.bitwise_xor, [values[place] for place in rules.below]) if kind == BELOW else None
    if not more:
        return Planes(groups, planes.nbytes, below, np.empty((0, planes.nbytes), np.uint8))
    _follow(rules.last, public, values, more)
    return Planes(groups, planes.nbytes, below, values[rules.equal])


def _follow(steps: Sequence[Step], public: Sequence[Any], values: List[Any], count: int) -> None:
    """Make values of the last ``count`` groups."""
    for variable, less, more in steps:
        made = np.bitwise_and(public[variable][-count:], values[less][-count:])
        values.append(np.bitwise_xor(made, values[more][-count:], out=made))


def _variables(parts: Sequence[Any], digits: int, arity: int) -> List[Any]:
    """The planes of each variable of a node, in the order of ``node``."""
    return [plane for part in parts for plane in _grouped(part, digits, arity)]


def deal_fold(dealer: Dealing, planes: Planes, kind: str) -> Run:
    arity = fold_of(planes.digits)
    groups = planes.digits // arity
    rules = NODES[arity, kind]
    sizes = [planes.digits] if kind == EQUAL else [planes.digits, planes.digits - 1]
    masks = [dealer.free((size, planes.nbytes), np.uint8, xor=True) for size in sizes]
    more = groups if kind == EQUAL else groups - 1
    variables = dict(zip(rules.variables, _variables(masks, planes.digits, arity)))
    yield Opening(XOR, None, (sum(sizes), planes.nbytes), np.uint8)
    dealer.deal(_products(rules.products, variables, (groups, planes.nbytes), 0), xor=True)
    dealer.deal(_products(rules.of_equal, variables, (more, planes.nbytes), groups - more), xor=True)
    return Planes(groups, planes.nbytes)


def _products(products: Sequence[Term], variables: Any, shape: Tuple[int, int], start: int) -> Any:
    out = np.empty((len(products), *shape), np.uint8)
    known: Dict[Term, Any] = {(name,): plane[start:] for name, plane in variables.items()}
    for index, subset in enumerate(products):
        head = known.get(subset[:-1])
        if head is None:
            head = np.bitwise_and.reduce([known[(name,)] for name in subset[:-1]])
        known[subset] = np.bitwise_and(head, known[subset[-1:]], out=out[index])
    return out


PARTY: Dict[str, Callable[..., Any]] = {"lookup": lookup, "fold": lambda party, planes, kind: fold(party, planes)}
DEALER: Dict[str, Callable[..., Any]] = {"lookup": deal_lookup, "fold": deal_fold}
