"""Gates on numbers that need the others, the dealer, or somebody outside: inputs, products, rescaling, results.

A product: z = x y = Dx Dy - Dx ly - lx Dy + lx ly. All but the last term is linear in shares of the masks, and the
dealer knows the last. Opening z under a mask r makes it a wire again: the parties send one element for each element of
the result (masked wires, as in Turbospeedz and ABY2.0).

Rescaling is exact to one unit in the last place. For a wire c = z + r with |z| < 2^62, c' = c + 2^62 is z' + r with z'
in [0, 2^63), so that the sum wrapped at 2^64 exactly if r has its highest bit and c' has not. Then

    z >> f  =  (c' >> f) - (r >> f) + (1 - msb c') msb(r) 2^(64 - f) - 2^(62 - f)      (or one more)

is linear in what the dealer knows: A = r >> f, and R = msb(r) 2^(64 - f), which is shared modulo 2^f only. As a factor
of an elementwise product it need not be opened anew: R times the other's mask is a share modulo 2^f, too.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional, Tuple

import numpy as np

from .. import ring
from ..machine import ADD, FROM, Carried, Loose, Opening, Public, Wire
from ..ring import DTYPE, Ring
from .roles import Dealing, Party, Run

HALF = np.uint64(1 << 62)
TOP = np.uint64(63)

PRODUCTS: Dict[str, Callable[[Ring, Ring], Ring]] = {"mul": ring.mul, "matmul": ring.matmul}


# Inputs: their owner knows the mask, draws it from the seed that it has in common with the dealer, and sends x + mask.


def input(party: Any, number: int, owner: int, shape: Any) -> Run:
    shape = tuple(shape)
    if owner < 0:
        mask = party.for_driver(shape)
        return Wire((yield party.outside(number, shape)), mask)
    mine: Optional[Ring] = None
    mask = np.zeros(shape, DTYPE)
    if owner == party.index:
        mask = party.free(shape)
        mine = ring.add((yield party.outside(number, shape)), mask)
    delta = yield Opening(FROM, mine, shape, DTYPE, owner)
    return Wire(delta, mask)


def deal_input(dealer: Dealing, number: int, owner: int, shape: Any) -> Any:
    shape = tuple(shape)
    if owner < 0:
        return Wire(None, dealer.for_driver(shape))
    return hop(FROM, shape, Wire(None, dealer.drawn_by(owner, shape)))


def hop(how: str, shape: Tuple[int, ...], result: Any, dtype: Any = DTYPE) -> Run:
    """At the dealer, to whom nothing is opened."""
    yield Opening(how, None, shape, dtype)
    return result


# Products.


def check_product(machine: Any, x: Any, y: Any, kind: str) -> None:
    """Raises: SessionError if there is no room for the result, ValueError for shapes that do not fit."""
    shapes = [value.mask.shape for value in (x, y)]
    if kind == "mul":
        machine.check(shapes[0] if shapes[0] == shapes[1] else np.broadcast_shapes(*shapes))
    else:
        machine.check(ring.matmul_shape(*shapes))


def product(party: Party, x: Any, y: Any, kind: str) -> Any:
    check_product(party, x, y, kind)
    part = _of_shares(party, x, y, PRODUCTS[kind])
    if not isinstance(x, Carried) and not isinstance(y, Carried):
        return Loose(part, False)
    return _with_tops(party, x, y, part)


def _of_shares(party: Party, x: Any, y: Any, multiply: Callable[[Ring, Ring], Ring]) -> Ring:
    """This party's share of Dx Dy - Dx ly - lx Dy; the first one, which has Dx Dy too, makes it in two products."""
    if not party.first:
        part = multiply(x.delta, y.mask)
        np.add(part, multiply(x.mask, y.delta), out=part)
        return np.asarray(np.negative(part, out=part))
    if x.delta.size <= y.delta.size:
        part = multiply(ring.sub(x.delta, x.mask), y.delta)
        return np.asarray(np.subtract(part, multiply(x.delta, y.mask), out=part))
    part = multiply(x.delta, ring.sub(y.delta, y.mask))
    return np.asarray(np.subtract(part, multiply(x.mask, y.delta), out=part))


def _with_tops(party: Party, x: Any, y: Any, part: Ring) -> Run:
    """What the tops of carried factors add: each times the other's delta and mask; top times top is 0 modulo 2^64."""
    for one, other in ((x, y), (y, x)):
        if isinstance(one, Carried):
            cross = shares_of_top((yield from party.dealt(part.shape, width(one.bits))), one.bits)
            whole = ring.sub(ring.mul(one.top, other.delta), cross)
            part = ring.add(part, np.bitwise_and(whole, one.wrapped))
    return Loose(part, False)


def deal_product(dealer: Dealing, x: Any, y: Any, kind: str) -> Loose:
    check_product(dealer, x, y, kind)
    for one, other in ((x, y), (y, x)):
        if isinstance(one, Carried):
            dealer.deal(ring.mul(one.top, other.mask).astype(width(one.bits)))
    return Loose(PRODUCTS[kind](x.mask, y.mask), False)


# Openings.


def open(party: Party, value: Any) -> Run:
    part, settled = party.part(value)
    mask = party.free(part.shape)
    delta = yield Opening(ADD, ring.add(part, mask), part.shape, DTYPE)
    return Wire(delta, mask if settled else None, settled)


def deal_open(dealer: Dealing, value: Any, shape: Any) -> Run:
    part, mask = dealer.part(value), dealer.free(tuple(shape))
    if part is not None:  # what the parties hold lacks the dealer's part: their openings add up to value - part + mask
        np.subtract(mask, part, out=mask)
    return hop(ADD, mask.shape, Wire(None, mask, part is None))


def settle(party: Party, value: Any) -> Run:
    """Deal shares of what the dealer alone knows of a value."""
    if isinstance(value, Wire):
        return Wire(value.delta, (yield from party.dealt(value.delta.shape)))
    part, _ = party.part(value)
    return Loose(ring.add(part, (yield from party.dealt(part.shape))))


def deal_settle(dealer: Dealing, value: Any) -> Any:
    if isinstance(value, Wire):
        dealer.deal(value.mask.copy())
        return Wire(None, value.mask)
    dealer.deal(value.part.copy())
    return Loose(None)


# Rescaling.


def width(bits: int) -> Any:
    """The dtype in which shares modulo 2^bits travel."""
    return np.dtype("<u2" if bits <= 16 else "<u4" if bits <= 32 else "<u8")


def shares_of_top(share: Any, bits: int) -> Ring:
    """Shares of a bit modulo 2^bits, as shares of that bit times 2^(64 - bits)."""
    wide = np.asarray(share).astype(DTYPE)
    return np.asarray(np.left_shift(wide, np.uint64(64 - bits), out=wide))


def rescaled(delta: Ring, bits: int) -> Tuple[Ring, Ring]:
    """The public part C of a rescaled wire, and where R counts: all ones where c' lacks its highest bit, else zero."""
    raised = ring.add(delta, HALF)
    wrapped = np.asarray(np.right_shift(raised, TOP))
    np.subtract(wrapped, np.uint64(1), out=wrapped)  # in place: new pages cost more than the sums
    np.right_shift(raised, np.uint64(bits), out=raised)
    return np.asarray(np.subtract(raised, np.uint64(1 << (62 - bits)), out=raised)), wrapped


def trunc(party: Party, wire: Wire, bits: int) -> Run:
    """A wire, divided by 2^bits and rounded down, or one more."""
    share = yield from party.dealt(wire.delta.shape)
    top = shares_of_top((yield from party.dealt(wire.delta.shape, width(bits))), bits)
    public, wrapped = rescaled(wire.delta, bits)
    return Carried(public, share, wrapped, top, bits, party.first)


def deal_trunc(dealer: Dealing, wire: Wire, bits: int) -> Carried:
    mask, top = np.right_shift(wire.mask, np.uint64(bits)), np.right_shift(wire.mask, TOP)
    dealer.deal(mask.copy())
    dealer.deal(top.astype(width(bits)))
    return Carried(None, mask, None, top, bits, False)


# Results.


def reveal(party: Any, value: Any, number: int, to: int) -> Run:
    """Send one's part of a value, hidden by a share of zero, to the one who may know it."""
    if isinstance(value, Public):
        part = value.array if party.first else np.zeros_like(value.array)
    else:
        part, settled = party.part(value)
        assert settled
    yield party.tells(number, to, ring.add(part, party.zero(part.shape)))
    return None


def deal_reveal(dealer: Dealing, value: Any, number: int, to: int) -> None:
    return None


PARTY: Dict[str, Callable[..., Any]] = {
    "input": input,
    "product": product,
    "open": lambda party, value, shape: open(party, value),
    "settle": settle,
    "trunc": trunc,
    "reveal": reveal,
}
DEALER: Dict[str, Callable[..., Any]] = {
    "input": deal_input,
    "product": deal_product,
    "open": deal_open,
    "settle": deal_settle,
    "trunc": deal_trunc,
    "reveal": deal_reveal,
}
