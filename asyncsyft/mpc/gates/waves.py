"""Gates on functions for which f(delta - mask) is made of functions of delta and of the mask apart: no hop at all.

    sin(a - b) = sin a cos b - cos a sin b        2^(a - b) = 2^a 2^-b

The dealer shares what depends on the mask; the parties multiply it with what depends on delta. Both work modulo a
period of 2^k in the wire's own integers, so that the wrap at 2^64 does not matter; the power of two, which has no
period, is told by a bit whether its argument wrapped.

All parties must come to the same public factors to the last bit, on whatever machine. So these are computed with sums
and products of float64 alone, which IEEE 754 defines exactly, never with a library's sine.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Sequence, Tuple

import numpy as np

from .. import ring
from ..machine import Bit, Loose, Wire
from ..ring import DTYPE, Ring
from .roles import Dealing, Party, Run

#: Fractional bits of each of the two factors of a sine.
WAVE = 24
#: The power's argument is taken from [0, 16); fractional bits of its two factors.
SPAN, LEFT, RIGHT = 4, 11, 34

_SINE = [(-1) ** k / float(np.prod(np.arange(1, 2 * k + 2))) for k in range(8)]
_COSINE = [(-1) ** k / float(np.prod(np.arange(1, 2 * k + 1))) for k in range(8)]
_POWER = [float(np.log(2.0)) ** k / float(np.prod(np.arange(1, k + 1))) for k in range(16)]


def _polynomial(coefficients: Sequence[float], x: Any) -> Any:
    out = np.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        out = out * x
        out = out + coefficient
    return out


def turn(values: Ring, period: int) -> Tuple[Any, Any]:
    """Sine and cosine of 2 pi values / 2^period."""
    part = np.bitwise_and(values, np.uint64((1 << period) - 1)).astype(np.float64)
    part = np.asarray(part / float(1 << period))
    quarter = np.rint(part * 4.0)
    angle = (part - quarter * 0.25) * (2.0 * np.pi)
    square = np.asarray(angle * angle)
    sine, cosine = angle * _polynomial(_SINE, square), _polynomial(_COSINE, square)
    quarter = quarter.astype(np.int64) & 3
    odd = (quarter & 1).astype(bool)
    return (
        np.where(odd, cosine, sine) * np.where(quarter >= 2, -1.0, 1.0),
        np.where(odd, sine, cosine) * np.where((quarter == 1) | (quarter == 2), -1.0, 1.0),
    )


def turns(values: Ring, period: int, count: int) -> Tuple[Any, Any]:
    """Sines and cosines of 1 to ``count`` times the angle: (count, ...)."""
    sine, cosine = turn(values, period)
    sines, cosines = [sine], [cosine]
    for _ in range(count - 1):
        last, other = sines[-1], cosines[-1]
        sines.append(last * cosine + other * sine)
        cosines.append(other * cosine - last * sine)
    return np.stack(sines), np.stack(cosines)


def whole(values: Any, bits: int) -> Ring:
    """Floats, times 2^bits, as integers."""
    return np.asarray(np.rint(values * float(1 << bits)).astype(np.int64)).view(DTYPE)


def sines(party: Party, wire: Wire, period: int, factors: Sequence[float]) -> Run:
    """The sum of factor_j sin(2 pi j x / 2^period) over j from 1 on, with 2 ``WAVE`` fractional bits."""
    sine, cosine = turns(wire.delta, period, len(factors))
    scale = np.asarray(factors, np.float64).reshape((-1,) + (1,) * wire.delta.ndim)
    shares = yield from party.dealt((2, len(factors), *wire.delta.shape))
    part = ring.mul(whole(scale * sine, WAVE), shares[0])
    part = ring.sub(part, ring.mul(whole(scale * cosine, WAVE), shares[1]))
    return Loose(ring.total(part, (0,)))


def deal_sines(dealer: Dealing, wire: Wire, period: int, factors: Sequence[float]) -> Loose:
    sine, cosine = turns(wire.mask, period, len(factors))
    dealer.deal(np.stack([whole(cosine, WAVE), whole(sine, WAVE)]))
    return Loose(None)


def power_of_two(values: Ring, scale: int, sign: float) -> Any:
    """2^(sign * values / 2^scale) of the lowest scale + ``SPAN`` bits."""
    low = np.bitwise_and(values, np.uint64((1 << (scale + SPAN)) - 1))
    count = np.right_shift(low, np.uint64(scale)).astype(np.int64)
    rest = np.bitwise_and(low, np.uint64((1 << scale) - 1)).astype(np.float64)
    rest = np.asarray(rest / float(1 << scale)) * sign
    return np.ldexp(_polynomial(_POWER, np.asarray(rest)), int(sign) * count)


def power(party: Party, wrapped: Bit, wire: Wire, scale: int) -> Run:
    """2^x for x in [0, 16), with ``LEFT + RIGHT`` fractional bits; ``wrapped``: whether delta < mask there."""
    shares = yield from party.dealt((2, *wire.delta.shape))
    value = power_of_two(wire.delta, scale, 1.0)
    if_not = whole(value, LEFT)
    more = ring.sub(whole(value, LEFT + (1 << SPAN)), if_not)
    at_hand = ring.mul(more, wrapped.public)
    signed = np.where(wrapped.public != 0, ring.neg(more), more)
    return Loose(ring.add(ring.mul(ring.add(if_not, at_hand), shares[0]), ring.mul(signed, shares[1])))


def deal_power(dealer: Dealing, wrapped: Bit, wire: Wire, scale: int) -> Loose:
    value = whole(power_of_two(wire.mask, scale, -1.0), RIGHT)
    dealer.deal(np.stack([value, ring.mul(value, wrapped.mask)]))
    return Loose(None)


PARTY: Dict[str, Callable[..., Any]] = {"sines": sines, "power": power}
DEALER: Dict[str, Callable[..., Any]] = {"sines": deal_sines, "power": deal_power}
