"""The rules of the gates: for each, what a party does and what the dealer does, side by side.

``linear`` needs nobody; ``opening`` has inputs, products, openings, rescaling and results; ``comparing`` finds bits and
``bits`` uses them; ``waves`` has functions that follow from the mask's own (sines, powers of two).
"""

from __future__ import annotations

from typing import Any, Callable, Dict

from . import bits, comparing, linear, opening, waves

__all__ = ["DEALER", "PARTY"]

PARTY: Dict[str, Callable[..., Any]] = {**linear.RULES, **opening.PARTY, **comparing.PARTY, **bits.PARTY, **waves.PARTY}
DEALER: Dict[str, Callable[..., Any]] = {
    **linear.RULES,
    **opening.DEALER,
    **comparing.DEALER,
    **bits.DEALER,
    **waves.DEALER,
}
