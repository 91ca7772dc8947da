"""Remote tensors over one websocket on loopback, beside the `websockets` library's echo."""

from __future__ import annotations

from typing import Dict, NamedTuple


class Ratio(NamedTuple):
    """Of two figures, both operations per second."""

    above: str
    below: str
    target: float
    what: str


STACKS = ("asyncsyft", "websockets")

RATIOS: Dict[str, Ratio] = {
    "calls_vs_websockets": Ratio(
        "asyncsyft.calls",
        "websockets.echo_256",
        2.0,
        "256 tasks, each looping `await (x + y).get()` / echo of 64 bytes, 256 in flight",
    ),
    "steps_vs_websockets": Ratio(
        "asyncsyft.steps",
        "websockets.echo_256",
        5.0,
        "`z = x + y` in a loop, one flush / echo of 64 bytes, 256 in flight",
    ),
    "single_vs_websockets": Ratio(
        "asyncsyft.single",
        "websockets.echo_1",
        1.0,
        "one `await (x + y).get()` at a time / one echo at a time",
    ),
}
