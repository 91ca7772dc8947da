"""Functions of secrets, made of the gates that a circuit has. Each says what it approximates, how well and how far.

``comparing`` is exact; ``averaging`` divides by what is public, and has images; ``analysis`` approximates. Errors are
beside those of the fixed point: u there is 2^-bits of the circuit.
"""

from .analysis import exp, reciprocal, sigmoid, softmax, sqrt, tanh
from .averaging import conv2d, mean, patches, quotient
from .comparing import absolute, argmax, equal, less, maximum, negative, relu, top, where

__all__ = [
    "absolute",
    "argmax",
    "conv2d",
    "equal",
    "exp",
    "less",
    "maximum",
    "mean",
    "negative",
    "patches",
    "quotient",
    "reciprocal",
    "relu",
    "sigmoid",
    "softmax",
    "sqrt",
    "tanh",
    "top",
    "where",
]
