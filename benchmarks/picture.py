"""Draws figures as SVG by hand: dots on a scale, and curves. It knows no benchmark."""

from __future__ import annotations

import math
from typing import Callable, List, Mapping, NamedTuple, Sequence, Tuple
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT, ROW = 760, 200, 90, 24
PLOT = WIDTH - LEFT - RIGHT
CURVE_HEIGHT = 200
#: Colours that are told apart by the colour-blind, on paper and on a dark screen.
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600 } .small { font-size: 11px; fill: #57606a }
.grid { stroke: #d0d7de; stroke-width: 1 } .stem { stroke: #d0d7de; stroke-width: 1; stroke-dasharray: 1 4 }
.c0 { fill: #0072b2; stroke: #0072b2 } .c1 { fill: #d55e00; stroke: #d55e00 } .c2 { fill: #009e73; stroke: #009e73 }
.other { fill: #8c959f } polyline { fill: none !important; stroke-width: 2 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .small { fill: #8d96a0 } .grid { stroke: #30363d } .stem { stroke: #30363d }
}
"""


class Dot(NamedTuple):
    """A row: its name, its number, and whether it is the one that this is about."""

    name: str
    value: float
    ours: bool = False


def number(value: float) -> str:
    """As people write it: 1,234 and 1.2, without more figures than are known."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def short(value: float) -> str:
    """For an axis: 10k, 1M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def apart(places: Sequence[float], least: float) -> List[float]:
    """The places, moved down where they are nearer to one another than ``least``; in the order given."""
    moved, last = list(places), -math.inf
    for index in sorted(range(len(places)), key=places.__getitem__):
        last = moved[index] = max(places[index], last + least)
    return moved


def _text(x: float, y: float, words: str, style: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}" text-anchor="{anchor}">{escape(words)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"/>'


def powers(low: float, high: float) -> List[float]:
    """The powers of ten from at most ``low`` to at least ``high``."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return [10.0**power for power in range(first, max(last, first + 1) + 1)]


def scale(ticks: Sequence[float], length: float) -> Callable[[float], float]:
    """Where on a logarithmic axis from the first tick to the last a value is."""
    low, high = math.log10(ticks[0]), math.log10(ticks[-1])
    return lambda value: (math.log10(value) - low) / (high - low) * length


def dots(title: str, rows: Sequence[Dot], top: float) -> Tuple[List[str], float]:
    """Numbers on one logarithmic axis, one a row; the elements, and where they end."""
    ticks = powers(min(row.value for row in rows), max(row.value for row in rows))
    place = scale(ticks, PLOT)
    bottom = top + 34 + ROW * len(rows)
    drawn = [_text(0, top + 14, title, "title")]
    for tick in ticks:
        x = LEFT + place(tick)
        drawn += [_line(x, top + 26, x, bottom, "grid"), _text(x, bottom + 15, short(tick), "small", "middle")]
    for index, row in enumerate(rows):
        y, x = top + 42 + ROW * index, LEFT + place(row.value)
        style = "c0" if row.ours else "other"
        drawn += [_text(LEFT - 12, y + 4, row.name, "", "end"), _line(LEFT, y, LEFT + PLOT, y, "stem")]
        drawn += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" class="{style}"/>', _text(x + 10, y + 4, number(row.value))]
    return drawn, bottom + 36


def curves(
    title: str, xs: Sequence[float], lines: Mapping[str, Sequence[float]], top: float
) -> Tuple[List[str], float]:
    """Curves over the same numbers, both axes logarithmic; the elements, and where they end."""
    x_ticks = powers(min(xs), max(xs))
    y_ticks = powers(min(map(min, lines.values())), max(map(max, lines.values())))
    across, up = scale(x_ticks, PLOT), scale(y_ticks, CURVE_HEIGHT)
    left, bottom = LEFT / 2, top + 30 + CURVE_HEIGHT
    drawn = [_text(0, top + 14, title, "title")]
    for tick in y_ticks:
        y = bottom - up(tick)
        drawn += [_line(left, y, left + PLOT, y, "grid"), _text(left - 8, y + 4, short(tick), "small", "end")]
    for tick in x_ticks:
        x = left + across(tick)
        drawn += [_line(x, bottom, x, bottom + 4, "grid"), _text(x, bottom + 18, short(tick), "small", "middle")]
    names = apart([bottom - up(ys[-1]) for ys in lines.values()], 15)
    for index, (name, ys) in enumerate(lines.items()):
        points = [(left + across(x), bottom - up(y)) for x, y in zip(xs, ys)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        drawn.append(f'<polyline points="{path}" class="c{index}"/>')
        drawn += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" class="c{index}"/>' for x, y in points]
        drawn.append(_text(left + PLOT + 10, names[index] + 4, name))
    return drawn, bottom + 40


def svg(panels: Sequence[Callable[[float], Tuple[List[str], float]]], what: str) -> str:
    """Panels below one another, as a picture that has a description."""
    elements: List[str] = []
    top = 10.0
    for panel in panels:
        drawn, top = panel(top)
        elements += drawn
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-10 0 {WIDTH + 20} {top:.0f}" role="img">'
    return "\n".join([head, f"<title>{escape(what)}</title>", f"<style>{STYLE}</style>", *elements, "</svg>", ""])
