"""Makes the JSON object and the table out of the figures. Pure: it measures nothing and prints nothing."""

from __future__ import annotations

import os
import platform
import sys
from statistics import median
from typing import Any, Dict, List, Mapping, Sequence

from benchmarks.ends import Figure
from benchmarks.keys import Key
from benchmarks.rounds import Taken

Report = Dict[str, Any]
NOTE = "CPU is that of all processes of a stack together; memory is the peak of each process"


def spread(values: Sequence[float]) -> Dict[str, Any]:
    return {"median": median(values), "min": min(values), "max": max(values), "rounds": list(values)}


def machine() -> Dict[str, Any]:
    return {
        "system": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
    }


def processor() -> str:
    """The processor's name, where the system tells it."""
    if sys.platform == "linux":
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    return platform.processor()


def summary(figures: Mapping[str, Sequence[Figure]]) -> Dict[str, Any]:
    return {
        key: {
            "unit": taken[0].unit,
            "per_second": spread([figure.rate for figure in taken]),
            "cpu_us_per_operation": median(figure.cpu for figure in taken) * 1e6,
            "sent_per_operation": median(figure.sent for figure in taken),
            "more": {name: spread([figure.more[name] for figure in taken]) for name in taken[0].more},
            "ends": {
                role: {
                    "cpu_us_per_operation": median(f.ends[role].cpu / f.operations for f in taken) * 1e6,
                    "peak_mb": max(figure.ends[role].peak for figure in taken) / 1e6,
                    "gain_mb": max(figure.ends[role].gain for figure in taken) / 1e6,
                }
                for role in taken[0].ends
            },
        }
        for key, taken in sorted(figures.items())
    }


def report(taken: Taken, keys: Mapping[str, Key]) -> Report:
    """``results``: the keys, of the medians. ``details``: all that is behind them."""
    results: Dict[str, float] = {}
    behind: Dict[str, Any] = {}
    for name, key in keys.items():
        results[name] = key.value(taken.figures)
        behind[name] = {
            "what": key.what,
            "target": key.target,
            "at_most": key.at_most,
            "reached": key.reached(results[name]),
            "ratios": key.ratios(taken.figures),
            "by_round": spread(key.by_round(taken.figures)),
        }
    figures = summary(taken.figures)
    details = {"figures": figures, "keys": behind, "versions": taken.versions, "machine": machine()}
    return {"results": results, "details": details}


def columns(rows: Sequence[Sequence[str]]) -> List[str]:
    """Rows of text as lines: the first column to the left, the others to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows)]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]


def figure_rows(details: Mapping[str, Any]) -> List[List[str]]:
    rows = [["", "per second", "", "min", "max", "CPU us each", "peak MB"]]
    for key, figure in details["figures"].items():
        rate = figure["per_second"]
        peaks = " + ".join(f"{end['peak_mb']:.0f}" for end in figure["ends"].values())
        median_, low, high = (_per_second(rate[name]) for name in ("median", "min", "max"))
        rows.append([key, median_, figure["unit"], low, high, f"{figure['cpu_us_per_operation']:.1f}", peaks])
    return rows


def _per_second(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def key_rows(made: Report) -> List[List[str]]:
    rows = [["", "ratio", "min", "max", "wanted", ""]]
    for name, value in made["results"].items():
        behind = made["details"]["keys"][name]
        cells = (value, behind["by_round"]["min"], behind["by_round"]["max"])
        target = f"{'<=' if behind['at_most'] else '>='} {behind['target']:.2f}"
        rows.append([name, *(f"{cell:.2f}" for cell in cells), target, "" if behind["reached"] else "not reached"])
    return rows


def where(details: Mapping[str, Any]) -> List[str]:
    """Lines that say what ran, and on what machine."""
    told = ", ".join(f"{name} {version}" for name, version in details["versions"].items())
    machine_ = details["machine"]
    where_ = f"{machine_['processor']}, {machine_['cores']} cores, load {machine_['load']:.1f}"
    return [told, f"Python {machine_['python']}, {where_}"]


def table(made: Report) -> str:
    details = made["details"]
    lines = columns(figure_rows(details))
    if made["results"]:
        lines += ["", *columns(key_rows(made))]
    return "\n".join([*lines, "", *where(details), NOTE])
