"""Secure computation among several workers: each holds a share, none learns a value, a dealer gives randomness.

Where to read, from the ground up:

- ``ring``, ``fixed``: integers modulo 2^64, exact products of matrices; fractions as such integers.
- ``prg``: seeds and streams; what is drawn is used once.
- ``machine``: what a value is to a party and to the dealer (wires, loose sums, bits), gates, and the loop over them.
- ``gates``: the rules of the gates, what a party does beside what the dealer does.
- ``computing``, ``dealing``: the machines of a party and of the dealer, without I/O.
- ``circuit``, ``schedule``: records gates: which form a value has, what travels together. ``functions``: made of them.
- ``packing``, ``service``: gates as bytes; sessions at workers, over conversations.
- ``joining``, ``outgoing``, ``ahead``: who takes part, what leaves for them, calls that are dealt before they are made.
- ``watch``: what operations cost.
- ``session``, ``tensor``, ``operators``, ``axes``, ``several``: what a driver's program writes.
"""

from .ahead import Like
from .session import MPC
from .several import concat, maximum, minimum, where
from .tensor import SecretTensor

__all__ = ["MPC", "Like", "SecretTensor", "concat", "maximum", "minimum", "where"]
