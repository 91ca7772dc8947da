"""What parties and dealer have in common: they go through the same gates in the same order. No I/O, no clock, no keys.

A gate is (op, number of its result, numbers of its inputs, parameters). A gate's rule is a function of the machine, the
inputs' values and the parameters. Most return their result. One that needs the others is a generator: it yields an
``Opening``, and is resumed with what was opened. Openings wait for each other until a gate needs the result of one:
then all leave together, which is one hop. So the order of the gates alone decides what travels together, and all
machines, the dealer's too, draw their randomness in the same order.

``values`` are what gates read and make; ``running`` is the loop over gates.
"""

from .running import ADD, FROM, XOR, Gate, Machine, Opening, Pause, Rule, Run
from .values import Bit, Carried, Loose, Part, Planes, Public, Wire

__all__ = [
    "ADD",
    "FROM",
    "XOR",
    "Bit",
    "Carried",
    "Gate",
    "Loose",
    "Machine",
    "Opening",
    "Part",
    "Pause",
    "Planes",
    "Public",
    "Rule",
    "Run",
    "Wire",
]
