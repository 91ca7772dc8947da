"""Fills docs/benchmarks.md and draws its pictures from the JSON of runs, so that no figure there is written by hand."""

from __future__ import annotations

import argparse
import functools
import json
import re
import sys
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence

from benchmarks.ends import ROOT
from benchmarks.picture import Dot, curves, dots, svg
from benchmarks.report import figure_rows, where
from benchmarks.scale import PEER_COLUMNS, SIZE_COLUMNS, cell, rows_of

PAGE = ROOT / "docs" / "benchmarks.md"
#: Other runs of stacks, each with a section of its own on the page.
OTHERS = ("bridge", "mpc")

#: What the picture of the transports shows: figures and what they are called there.
SMALL = {
    "asyncsyft.steps": "asyncsyft, steps",
    "asyncsyft.calls": "asyncsyft, calls",
    "asyncsyft-trio.calls": "asyncsyft on trio, calls",
    "asyncsyft-relay.calls": "asyncsyft by relay, calls",
    "websockets.echo_256": "websockets echo",
    "websockets-relay.echo_256": "websockets by relay",
    "socketio.echo_256": "python-socketio echo",
    "grpc.echo_256": "grpc.aio echo",
    "dask.calls": "Dask, 256 tasks, gather",
}
LARGE = {
    "tcp.large": "raw TCP",
    "asyncsyft-large.send": "asyncsyft, send",
    "asyncsyft-large.get": "asyncsyft, get",
    "asyncsyft-relay-large.gigabyte": "asyncsyft by relay",
    "dask.send": "Dask, scatter",
    "dask.get": "Dask, gather",
    "websockets.large": "websockets",
    "socketio.large": "python-socketio",
    "grpc.large": "grpc.aio",
}


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table: the first column to the left, the others to the right."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    rule = "|---|" + "--:|" * (len(rows[0]) - 1)
    return "\n".join([lines[0], rule, *lines[1:]])


def keys(made: Mapping[str, Any]) -> str:
    rows = [["key", "what", "measured", "wanted"]]
    for name, value in made["results"].items():
        behind = made["details"]["keys"][name]
        sign = "≤" if behind["at_most"] else "≥"
        low, high = behind["by_round"]["min"], behind["by_round"]["max"]
        measured = f"**{value:.2f}** ({low:.2f}–{high:.2f})"
        rows.append([f"`{name}`", behind["what"].replace("|", "\\|"), measured, f"{sign} {behind['target']:g}"])
    return markdown(rows)


def blocks(made: Mapping[str, Any], before: str = "") -> Dict[str, str]:
    """Of a run of stacks; ``before``: what the names of its places begin with."""
    details = made["details"]
    run = details["run"]
    told = f"{run['rounds']} rounds of {run['seconds']:g} s a measure" + (", the quick run" if run["quick"] else "")
    return {
        f"{before}keys": keys(made),
        f"{before}figures": markdown(figure_rows(details)),
        f"{before or 'transport-'}run": "; ".join([told, *reversed(where(details))]) + ".",
    }


def transport_picture(made: Mapping[str, Any]) -> str:
    figures = made["details"]["figures"]

    def rows(names: Mapping[str, str]) -> List[Dot]:
        shown = [(name, figures[key], key) for key, name in names.items() if key in figures]
        return [Dot(name, figure["per_second"]["median"], key.startswith("asyncsyft")) for name, figure, key in shown]

    panels = [
        functools.partial(dots, "Small operations per second, 256 in flight (logarithmic)", rows(SMALL)),
        functools.partial(dots, "64 MiB, one way: MB per second (logarithmic)", rows(LARGE)),
    ]
    return svg(panels, "asyncsyft and its peers over loopback")


def scale_blocks(made: Mapping[str, Any]) -> Dict[str, str]:
    details, found = made["details"], made["results"]
    most = details["peers"][-1]["peers"]
    growth = (
        f"With {most:,} workers at one relay, each that is idle costs {cell(found['relay_kb_per_peer'])} KB at the "
        f"relay, {cell(found['worker_kb_per_peer'])} KB in its own process, {cell(found['driver_kb_per_peer'])} KB at "
        f"a driver, and {cell(found['relay_idle_cpu_us_per_peer_s'])} µs of relay CPU per second for its heartbeat. "
        f"The median of a small call is {cell(found['p50_growth'])} times that with one worker."
    )
    return {
        "growth": growth,
        "peers": markdown(rows_of(details["peers"], PEER_COLUMNS)),
        "sizes": markdown(rows_of(details["sizes"], SIZE_COLUMNS)),
        "scale-run": "; ".join(reversed(where(details))) + ".",
    }


def scale_picture(made: Mapping[str, Any]) -> str:
    peers, sizes = made["details"]["peers"], made["details"]["sizes"]
    count = [row["peers"] for row in peers]

    def lines(rows: Sequence[Mapping[str, float]], **names: str) -> Dict[str, List[float]]:
        return {name: [max(row[key], 1e-3) for row in rows] for key, name in names.items()}

    latency = lines(peers, p50_us="p50", p99_us="p99")
    work = lines(peers, relay_cpu_us_per_message="one at a time", busy_relay_cpu_us_per_message="busy")
    size = [row["bytes"] for row in sizes]
    panels = [
        functools.partial(curves, "Small call through the relay, µs, by workers there", count, latency),
        functools.partial(curves, "Relay CPU per message, µs, by workers there", count, work),
        functools.partial(
            curves, "One tensor through the relay, ms, by its bytes", size, lines(sizes, send_ms="send", get_ms="get")
        ),
    ]
    return svg(panels, "how cost grows with workers and with size")


def fill(text: str, blocks: Mapping[str, str]) -> str:
    """The text with each block between its two marks replaced. Raises: ValueError if marks are missing."""
    for name, block in blocks.items():
        marks = re.compile(rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
        text, found = marks.subn(lambda mark, block=block: f"{mark[1]}{block}\n{mark[2]}", text)  # type: ignore[misc]
        if found != 1:
            raise ValueError(f"the page has {found} places for {name}")
    return text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--transport", metavar="FILE", help="JSON of `transport`")
    parser.add_argument("--scale", metavar="FILE", help="JSON of `scale`")
    for name in OTHERS:
        parser.add_argument(f"--{name}", metavar="FILE", help=f"JSON of `{name}`")
    parser.add_argument("--page", metavar="FILE", type=Path, default=PAGE, help="default: docs/benchmarks.md")


def main(asked: argparse.Namespace) -> int:
    page: Path = asked.page
    text, pictures = page.read_text("utf-8"), {}
    if asked.transport:
        made = json.loads(Path(asked.transport).read_text("utf-8"))
        text, pictures["benchmarks-transport.svg"] = fill(text, blocks(made)), transport_picture(made)
    if asked.scale:
        made = json.loads(Path(asked.scale).read_text("utf-8"))
        text, pictures["benchmarks-scale.svg"] = fill(text, scale_blocks(made)), scale_picture(made)
    for name in OTHERS:
        if getattr(asked, name):
            made = json.loads(Path(getattr(asked, name)).read_text("utf-8"))
            text = fill(text, blocks(made, f"{name}-"))
    if text == page.read_text("utf-8") and not pictures:
        print(f"nothing to fill in: give some of --transport, --scale, --{', --'.join(OTHERS)}", file=sys.stderr)
        return 1
    page.write_text(text, "utf-8")
    for name, picture in pictures.items():
        (page.parent / name).write_text(picture, "utf-8")
    return 0
