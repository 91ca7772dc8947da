"""Gates on single bits: the one that a comparison ends with is opened, turned into a number, or chooses."""

from __future__ import annotations

import math
from typing import Any, Callable, Dict

import numpy as np

from .. import ring
from ..machine import XOR, Bit, Loose, Opening, Planes, Wire
from ..ring import DTYPE, Ring
from .opening import TOP, hop, rescaled, shares_of_top, width
from .roles import Dealing, Party, Run


def bit(party: Party, planes: Planes, *rest: Any) -> Run:
    """Open the one bit that is left under a mask; ``rest``: [the wire whose highest bit it makes,] and the shape."""
    *wire, shape = rest
    plane = planes.equal if planes.below is None else planes.below
    mask = party.free((planes.nbytes,), np.uint8)
    opened = yield Opening(XOR, plane[0] ^ mask, (planes.nbytes,), np.uint8)
    public = _unpacked(opened, shape)
    if wire:
        public ^= np.right_shift(wire[0].delta, TOP)
    return Bit(public, None)


def deal_bit(dealer: Dealing, planes: Planes, *rest: Any) -> Run:
    *wire, shape = rest
    mask = _unpacked(dealer.free((planes.nbytes,), np.uint8, xor=True), shape)
    if wire:
        mask ^= np.right_shift(wire[0].mask, TOP)
    return hop(XOR, (planes.nbytes,), Bit(None, mask), np.uint8)


def _unpacked(packed: Any, shape: Any) -> Ring:
    count = math.prod(tuple(shape))
    return np.unpackbits(packed, count=count).astype(DTYPE).reshape(tuple(shape))


# b = d ^ r = d + (1 - 2 d) r, for a public d.


def number(party: Party, b: Bit) -> Run:
    """A bit as a number."""
    if b.number is None:
        b.number = yield from party.dealt(b.public.shape)
    signed = np.where(b.public != 0, ring.neg(b.number), b.number)
    return Loose(ring.add(signed, b.public) if party.first else signed)


def deal_number(dealer: Dealing, b: Bit) -> Loose:
    _deal_mask(dealer, b)
    return Loose(None)


def _deal_mask(dealer: Dealing, b: Bit) -> None:
    if b.number is None:
        dealer.deal(b.mask.copy())
        b.number = b.mask


def choose(party: Party, b: Bit, wire: Wire, bits: int) -> Run:
    """b times a wire, rescaled by 2^bits. No hop: b V = d V + (1 - 2d) r V is linear in what the dealer shares."""
    delta: Any = wire.delta
    if b.number is None:
        b.number = yield from party.dealt(delta.shape)
    mask = (yield from party.dealt(delta.shape)) if bits or wire.mask is None else wire.mask
    both = yield from party.dealt(delta.shape)
    public = delta
    if bits:
        public, wrapped = rescaled(delta, bits)
        top = shares_of_top((yield from party.dealt(delta.shape, width(bits))), bits)
        both_top = shares_of_top((yield from party.dealt(delta.shape, width(bits))), bits)
        mask = ring.sub(mask, np.bitwise_and(top, wrapped))
        both = ring.sub(both, np.bitwise_and(both_top, wrapped))
    if_zero = ring.sub(ring.mul(public, b.number), both)  # r V
    whole = ring.sub(public, mask) if party.first else ring.neg(mask)
    return Loose(np.where(b.public != 0, ring.sub(whole, if_zero), if_zero))


def deal_choose(dealer: Dealing, b: Bit, wire: Wire, bits: int) -> Loose:
    _deal_mask(dealer, b)
    mask = np.right_shift(wire.mask, np.uint64(bits))
    if bits or not wire.settled:
        dealer.deal(mask.copy())
    dealer.deal(ring.mul(mask, b.mask))
    if bits:
        top = np.right_shift(wire.mask, TOP)
        dealer.deal(top.astype(width(bits)))
        dealer.deal(np.bitwise_and(top, b.mask).astype(width(bits)))
    return Loose(None)


PARTY: Dict[str, Callable[..., Any]] = {"bit": bit, "number": number, "choose": choose}
DEALER: Dict[str, Callable[..., Any]] = {"bit": deal_bit, "number": deal_number, "choose": deal_choose}
