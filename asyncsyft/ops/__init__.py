"""The allow-list: op name -> how it runs with numpy, and the rule of its shape and dtype.

One table, ``OPS``, serves the worker, which runs what is in it and nothing else, and the driver, which infers from it
what it will get. Names, semantics and promotion are those of the Python array API standard. It knows no tensors that
live elsewhere, no store, and no limit of memory but ``MAX_OUTPUT_BYTES``.
"""

from . import creation, elementwise, fft, indexing, linalg, manipulation, norms, ordering, products, reductions
from .calls import bind, scalar_dtypes
from .dtypes import result_type, scalar_dtype
from .indexing import encode_key
from .table import MAX_OUTPUT_BYTES, OPS, Op, Spec, check_call, infer, run, spec_of

# The modules fill the table when they are imported.
SECTIONS = (creation, elementwise, products, linalg, norms, manipulation, indexing, ordering, reductions, fft)

__all__ = [
    "MAX_OUTPUT_BYTES",
    "OPS",
    "Op",
    "Spec",
    "bind",
    "check_call",
    "encode_key",
    "infer",
    "result_type",
    "run",
    "scalar_dtype",
    "scalar_dtypes",
    "spec_of",
]
