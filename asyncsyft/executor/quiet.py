"""Runs numpy without its warnings: what divides by zero at a worker is nobody's console's business.

numpy 2 keeps its error state in the context, numpy 1 in the thread; ``np.errstate`` around each program costs 2-9 us.
"""

from __future__ import annotations

from contextvars import copy_context
from typing import Any, Callable

import numpy as np

_IN_CONTEXT = int(np.__version__.split(".")[0]) >= 2


class Quiet:
    """Calls functions with numpy's warnings off; one for each thread that calls."""

    def __init__(self) -> None:
        context = copy_context()
        #: What ``function(*args)`` gives; what it sets in its context stays there.
        self.call: Callable[..., Any] = context.run if _IN_CONTEXT else _call
        if _IN_CONTEXT:
            context.run(np.seterr, all="ignore")


def _call(function: Callable[..., Any], *args: Any) -> Any:
    with np.errstate(all="ignore"):
        return function(*args)
