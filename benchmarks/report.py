"""Makes the JSON object and the table out of the figures. Pure: it measures nothing and prints nothing."""

from __future__ import annotations

import os
import platform
import sys
from statistics import median
from typing import Any, Dict, List, Mapping, Sequence

from benchmarks.rounds import Figure, Taken
from benchmarks.transport import Ratio

Report = Dict[str, Any]
NOTE = "CPU and memory are those of whole processes, CPU of both ends together"


def spread(values: Sequence[float]) -> Dict[str, Any]:
    return {"median": median(values), "min": min(values), "max": max(values), "rounds": list(values)}


def machine() -> Dict[str, Any]:
    return {
        "system": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
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
            "per_second": spread([figure.rate for figure in taken]),
            "cpu_us_per_operation": median(figure.cpu for figure in taken) * 1e6,
            "server_peak_mb": max(figure.server_peak for figure in taken) / 1e6,
            "client_peak_mb": max(figure.client_peak for figure in taken) / 1e6,
        }
        for key, taken in sorted(figures.items())
    }


def report(taken: Taken, ratios: Mapping[str, Ratio]) -> Report:
    """``results``: the ratios of the medians. ``details``: all that is behind them."""
    figures, measured = taken.figures, summary(taken.figures)
    results: Dict[str, float] = {}
    behind: Dict[str, Any] = {}
    for key, ratio in ratios.items():
        results[key] = measured[ratio.above]["per_second"]["median"] / measured[ratio.below]["per_second"]["median"]
        pairs = zip(figures[ratio.above], figures[ratio.below])
        behind[key] = {
            "what": ratio.what,
            "target": ratio.target,
            "by_round": spread([above.rate / below.rate for above, below in pairs]),
        }
    details = {"figures": measured, "ratios": behind, "versions": taken.versions, "machine": machine()}
    return {"results": results, "details": details}


def columns(rows: Sequence[Sequence[str]]) -> List[str]:
    """Rows of text as lines: the first column to the left, the others to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows)]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]


def table(made: Report) -> str:
    details = made["details"]
    figures = [["", "per second", "min", "max", "CPU us each", "server MB", "client MB"]]
    for key, figure in details["figures"].items():
        rate = figure["per_second"]
        numbers = [f"{rate[name]:,.0f}" for name in ("median", "min", "max")]
        numbers += [f"{figure[name]:.1f}" for name in ("cpu_us_per_operation", "server_peak_mb", "client_peak_mb")]
        figures.append([key, *numbers])
    ratios = [["", "ratio", "min", "max", "wanted"]]
    for key, value in made["results"].items():
        behind = details["ratios"][key]
        by_round = behind["by_round"]
        cells = [value, by_round["min"], by_round["max"], behind["target"]]
        ratios.append([key, *(f"{cell:.2f}" for cell in cells)])
    told = [f"{name} {version}" for name, version in details["versions"].items()]
    machine_ = details["machine"]
    where = f"Python {machine_['python']}, {machine_['processor']}, {machine_['cores']} cores; {NOTE}"
    return "\n".join([*columns(figures), "", *columns(ratios), "", ", ".join(told), where])
