"""Gates that compare: what all know (delta) with what the dealer knows (the mask), digit by digit, then in a tree.

For x = delta - mask the highest bit is msb(delta) ^ msb(mask) ^ [delta < mask] of the other 63 bits. For each digit m
of four bits of the mask the dealer shares the table of [j < m]; the parties look up the digit of delta, in their
shares, and have shares of "below" and "equal" without a hop. A node of the tree joins up to four digits in one hop:

    below = b3 ^ e3 b2 ^ e3 e2 b1 ^ e3 e2 e1 b0        equal = e3 e2 e1 e0

on bits opened under masks whose products the dealer shares. Bits are packed, eight elements a byte.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any, Callable, Dict, NamedTuple, Sequence, Tuple

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


class Node(NamedTuple):
    """What a node of some arity computes. A variable is ("b", j) or ("e", j); a product, a tuple of them, sorted."""

    terms: Tuple[Tuple[Tuple[str, int], ...], ...]  # of "below"
    products: Tuple[Tuple[Tuple[str, int], ...], ...]  # of masks, in all nodes
    equal: Tuple[Tuple[str, int], ...]
    of_equal: Tuple[Tuple[Tuple[str, int], ...], ...]  # in nodes that also give "equal"


def node(arity: int, kind: str) -> Node:
    every = tuple(("e", j) for j in range(arity))
    if kind == EQUAL:
        return Node((), (), every, _subsets([every]))
    terms = tuple(tuple(sorted([("b", j), *(("e", k) for k in range(j + 1, arity))])) for j in range(arity))
    products = _subsets(terms)
    return Node(terms, products, every, tuple(s for s in _subsets([every]) if s not in products))


def _subsets(terms: Sequence[Tuple[Tuple[str, int], ...]]) -> Tuple[Tuple[Tuple[str, int], ...], ...]:
    """All products of two and more variables of each term, once."""
    found = {s for term in terms for size in range(2, len(term) + 1) for s in combinations(term, size)}
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
    shares: Dict[Any, Any] = {(name,): mask for name, mask in _variables(masks, planes.digits, arity).items()}
    shares.update(zip(rules.products, products))
    below = _below(rules, public, shares, party.first) if kind == BELOW else None
    last = {name: plane[groups - more :] for name, plane in public.items()}
    tail = {term: plane[groups - more :] for term, plane in shares.items()}
    tail.update(zip(rules.of_equal, of_equal))
    equal = _polynomial(rules.equal, last, tail, party.first) if more else np.empty((0, planes.nbytes), np.uint8)
    return Planes(groups, planes.nbytes, below, equal)


def _variables(parts: Sequence[Any], digits: int, arity: int) -> Dict[Tuple[str, int], Any]:
    names = "e" if len(parts) == 1 else "be"
    grouped = [_grouped(part, digits, arity) for part in parts]
    return {(name, j): planes[j] for name, planes in zip(names, grouped) for j in range(arity)}


def _below(rules: Node, public: Any, shares: Any, first: bool) -> Any:
    out: Any = None
    for term in rules.terms:
        part = _polynomial(term, public, shares, first)
        out = part if out is None else np.bitwise_xor(out, part, out=out)
    return out


def _polynomial(term: Tuple[Any, ...], public: Any, shares: Any, first: bool) -> Any:
    """A share of the product of variables v = public ^ mask, from shares of the products of their masks.

    The products of all subsets are joined one variable at a time: s[T] becomes public(v) s[T] ^ s[T + v].
    """
    one = np.full_like(public[term[0]], 255 if first else 0)
    states = {
        subset: shares[subset] if subset else one
        for size in range(len(term) + 1)
        for subset in combinations(term, size)
    }
    for position, variable in enumerate(term):
        rest = term[position + 1 :]
        states = {
            subset: (public[variable] & states[subset]) ^ states[(variable, *subset)]
            for size in range(len(rest) + 1)
            for subset in combinations(rest, size)
        }
    return states[()]


def deal_fold(dealer: Dealing, planes: Planes, kind: str) -> Run:
    arity = fold_of(planes.digits)
    groups = planes.digits // arity
    rules = NODES[arity, kind]
    sizes = [planes.digits] if kind == EQUAL else [planes.digits, planes.digits - 1]
    masks = [dealer.free((size, planes.nbytes), np.uint8, xor=True) for size in sizes]
    more = groups if kind == EQUAL else groups - 1
    variables = _variables(masks, planes.digits, arity)
    yield Opening(XOR, None, (sum(sizes), planes.nbytes), np.uint8)
    dealer.deal(_products(rules.products, variables, (groups, planes.nbytes), 0), xor=True)
    dealer.deal(_products(rules.of_equal, variables, (more, planes.nbytes), groups - more), xor=True)
    return Planes(groups, planes.nbytes)


def _products(products: Sequence[Tuple[Any, ...]], variables: Any, shape: Tuple[int, int], start: int) -> Any:
    out = np.empty((len(products), *shape), np.uint8)
    known = {(name,): plane[start:] for name, plane in variables.items()}
    for index, subset in enumerate(products):
        head = known.get(subset[:-1])
        if head is None:
            head = np.bitwise_and.reduce([known[(name,)] for name in subset[:-1]])
        known[subset] = np.bitwise_and(head, known[subset[-1:]], out=out[index])
    return out


PARTY: Dict[str, Callable[..., Any]] = {"lookup": lookup, "fold": lambda party, planes, kind: fold(party, planes)}
DEALER: Dict[str, Callable[..., Any]] = {"lookup": deal_lookup, "fold": deal_fold}
