"""A recorded plan as a picture: nodes and edges, in Graphviz's language, in Mermaid's, and as SVG that needs neither.

It knows no worker and no tracer.
"""

from __future__ import annotations

from html import escape
from typing import Dict, List, Mapping, NamedTuple, Tuple

from ..ops import Spec
from .data import Recorded
from .show import given, literal, params, say

#: Nodes of the largest picture that a notebook shows by itself.
MOST_SHOWN = 400
#: Pixels: height and least width of a node, width of a character, and what is left between rows and between nodes.
HEIGHT, WIDTH, CHARACTER, ROWS, GAP = 40, 60, 7, 32, 16


class Node(NamedTuple):
    """What is drawn in one place: an input, a step, an output; lines of text."""

    name: str
    lines: Tuple[str, ...]
    is_step: bool


class Graph(str):
    """A plan as a drawing: its text is Graphviz's (``dot -Tsvg``); a notebook shows it as it is."""

    name: str
    nodes: List[Node]
    edges: List[Tuple[str, str]]

    @classmethod
    def of(cls, recorded: Recorded, state: Mapping[str, Spec]) -> Graph:
        """The drawing of what was recorded."""
        nodes, edges = _parts(recorded, state)
        made = cls(_dot(recorded.data.name, nodes, edges))
        made.name, made.nodes, made.edges = recorded.data.name, nodes, edges
        return made

    def mermaid(self) -> str:
        """The same in Mermaid's language, which many documents and repositories draw."""
        lines = ["flowchart TD"]
        for node in self.nodes:
            left, right = ("[", "]") if node.is_step else ("([", "])")
            text = "<br/>".join(_entities(line) for line in node.lines)
            lines.append(f'  {node.name}{left}"{text}"{right}')
        return "\n".join([*lines, *(f"  {one} --> {other}" for one, other in self.edges)])

    def svg(self) -> str:
        """The same as a picture, in rows from the inputs down."""
        return _svg(self.name, self.nodes, self.edges)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> Dict[str, str]:
        shown = {"image/svg+xml": self.svg()} if len(self.nodes) <= MOST_SHOWN else {}
        return {"text/plain": str(self), **shown}


def _parts(recorded: Recorded, state: Mapping[str, Spec]) -> Tuple[List[Node], List[Tuple[str, str]]]:
    data, specs = recorded.data, recorded.registers(state)
    nodes, edges = [], []
    made: Dict[int, str] = {}
    for register, what in enumerate(given(recorded)):
        made[register] = f"g{register}"
        nodes.append(Node(f"g{register}", (what or f"input {register}", say(specs[register])), False))
    for at, step in enumerate(data.steps):
        rest = [literal(item) for item in step.inputs if not isinstance(item, int)] + params(step)
        result = ", ".join(say(specs[out]) for out in step.outs)
        nodes.append(Node(f"s{at}", (" ".join([step.op, *rest]), result), True))
        edges += [(made[item], f"s{at}") for item in step.inputs if isinstance(item, int)]
        made.update(dict.fromkeys(step.outs, f"s{at}"))
    ends = [(f"o{at}", f"output {at}", register) for at, register in enumerate(data.outputs)]
    ends += [(f"u{at}", f"state.{name} =", data.updates[name]) for at, name in enumerate(data.updates)]
    for name, what, register in ends:
        nodes.append(Node(name, (what,), False))
        edges.append((made[register], name))
    return nodes, edges


def _dot(title: str, nodes: List[Node], edges: List[Tuple[str, str]]) -> str:
    lines = [f"digraph {_quoted(title)} {{", '  node [shape=box, fontname="sans-serif"];']
    for node in nodes:
        shape = "" if node.is_step else "shape=ellipse, "
        lines.append(f"  {node.name} [{shape}label={_quoted(*node.lines)}];")
    return "\n".join([*lines, *(f"  {one} -> {other};" for one, other in edges), "}"])


def _quoted(*lines: str) -> str:
    # In Graphviz's language a quotation mark and a backslash are escaped, and \n begins a line.
    return '"' + r"\n".join(line.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") for line in lines) + '"'


def _entities(line: str) -> str:
    # Mermaid takes #35; for a sign that would mean something to it.
    return "".join([sign if sign.isalnum() or sign in " .,=-+/" else f"#{ord(sign)};" for sign in line])


def _rows(nodes: List[Node], edges: List[Tuple[str, str]]) -> List[List[Node]]:
    """Nodes by the longest way from an input, in each row near what they come from."""
    sources: Dict[str, List[str]] = {node.name: [] for node in nodes}
    for one, other in edges:
        sources[other].append(one)
    depth: Dict[str, int] = {}
    for node in nodes:  # what a node comes from stands before it
        depth[node.name] = max([depth[name] + 1 for name in sources[node.name]], default=0)
    rows: List[List[Node]] = [[] for _ in range(max(depth.values(), default=0) + 1)]
    for node in nodes:
        rows[depth[node.name]].append(node)
    place: Dict[str, float] = {}
    for row in rows:
        before = {
            node.name: sum([place[name] for name in sources[node.name]]) / max(1, len(sources[node.name]))
            for node in row
        }
        row.sort(key=lambda node: before[node.name])
        place.update({node.name: (at + 1) / (len(row) + 1) for at, node in enumerate(row)})
    return rows


def _svg(title: str, nodes: List[Node], edges: List[Tuple[str, str]]) -> str:
    rows = _rows(nodes, edges)
    width_of = {node.name: max(WIDTH, CHARACTER * max(map(len, node.lines)) + GAP) for node in nodes}
    widths = [sum([width_of[node.name] + GAP for node in row]) for row in rows]
    width, height = max(widths) + GAP, len(rows) * (HEIGHT + ROWS) + ROWS
    centre: Dict[str, Tuple[float, float]] = {}
    for at, row in enumerate(rows):
        x = (width - widths[at] + GAP) / 2
        for node in row:
            centre[node.name] = (x + width_of[node.name] / 2, ROWS + at * (HEIGHT + ROWS) + HEIGHT / 2)
            x += width_of[node.name] + GAP
    shapes = [_line(centre[one], centre[other]) for one, other in edges]
    shapes += [_box(node, centre[node.name], width_of[node.name]) for node in nodes]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}"'
            f' height="{height:g}" font-family="sans-serif" font-size="12" text-anchor="middle">',
            f"<title>{_text(title)}</title>",
            '<rect width="100%" height="100%" fill="white"/>',
            *shapes,
            "</svg>",
        ]
    )


def _line(begin: Tuple[float, float], end: Tuple[float, float]) -> str:
    (x, y), (to_x, to_y) = (begin[0], begin[1] + HEIGHT / 2), (end[0], end[1] - HEIGHT / 2)
    bend = ROWS / 2 + (to_y - y) / 4
    return (
        f'<path d="M{x:g} {y:g}C{x:g} {y + bend:g} {to_x:g} {to_y - bend:g} {to_x:g} {to_y - 5:g}" fill="none"'
        f' stroke="#667"/><path d="M{to_x - 4:g} {to_y - 6:g}h8l-4 6z" fill="#667"/>'
    )


def _box(node: Node, centre: Tuple[float, float], width: float) -> str:
    x, y = centre
    round_, fill = (4, "#eef4ff") if node.is_step else (HEIGHT / 2, "#fff6e0")
    first = y + 4 - 8 * (len(node.lines) - 1)
    lines = [f'<text x="{x:g}" y="{first + 16 * at:g}">{_text(line)}</text>' for at, line in enumerate(node.lines)]
    return (
        f'<rect x="{x - width / 2:g}" y="{y - HEIGHT / 2:g}" width="{width:g}" height="{HEIGHT}" rx="{round_:g}"'
        f' fill="{fill}" stroke="#667"/>{"".join(lines)}'
    )


def _text(line: str) -> str:
    # XML has no place for control characters.
    return escape("".join([sign if sign.isprintable() else " " for sign in line]))
