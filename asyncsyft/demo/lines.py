"""The first steps with a remote tensor. The demo prints these lines, and under each what it shows."""

from __future__ import annotations

from typing import Callable

import numpy as np

from ..driver import RemoteWorker
from ..errors import OpFailed, Refused


async def first_steps(alice: RemoteWorker, show: Callable[[object], None]) -> None:
    """Send, add, get, delete, an error that says where it comes from, and data that does not leave."""
    x = await alice.send(np.array([1.0, 2.0, 3.0]))
    y = x + x * 10
    show(y)
    show(await y.get())
    y.delete()
    singular = await alice.send(np.zeros((2, 2)))
    inverse = alice.call("linalg.inv", singular)
    try:
        await (inverse + 1).get()
    except OpFailed as error:
        show(error)
    [digits] = await alice.search("digits.pixels")
    try:
        await digits[0].get()
    except Refused as error:
        show(error)
