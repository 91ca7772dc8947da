"""A plan as a picture: SVG that any browser draws, and Mermaid; Graphviz's language is tested beside the bytes."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from asyncsyft import State, plan
from asyncsyft.ops import Spec
from asyncsyft.plan.drawing import MOST_SHOWN

SVG = "{http://www.w3.org/2000/svg}"


def drawn():
    """A plan with all sorts of nodes."""

    @plan(state=State(w=np.zeros((3, 1)), unused=np.zeros(3)), name='fit <"it">')
    def fit(state, x, y):
        return x @ state.w - y, np.clip(x, -1, None)

    fit.record(Spec(np.dtype("f8"), (None, 3)), Spec(np.dtype("f8"), (None, 1)))
    return fit.graph()


def picture(graph):
    root = ElementTree.fromstring(graph.svg())
    assert root.tag == SVG + "svg"
    return root


def boxes(root):
    """(left, top, right, bottom) of each node; the first rectangle is the background."""
    background, *rectangles = root.iter(SVG + "rect")
    assert background.get("width") == "100%"
    numbers = [[float(one.get(key)) for key in ("x", "y", "width", "height")] for one in rectangles]
    return [(x, y, x + width, y + height) for x, y, width, height in numbers]


def test_every_node_has_a_box_of_its_own_within_the_picture():
    graph = drawn()
    root = picture(graph)
    found = boxes(root)
    assert len(found) == len(graph.nodes)
    _, _, width, height = map(float, root.get("viewBox").split())
    for at, (left, top, right, bottom) in enumerate(found):
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        for other in found[at + 1 :]:
            assert right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top


def test_every_line_of_text_and_every_edge_is_there():
    graph = drawn()
    root = picture(graph)
    texts = [text.text for text in root.iter(SVG + "text")]
    assert texts == [line for node in graph.nodes for line in node.lines]
    assert {"input 0", "state.w", "matmul", "float64[?, 3]", "output 1"} <= set(texts)
    assert root.find(SVG + "title").text == 'fit <"it">'
    curves = [path.get("d") for path in root.iter(SVG + "path") if path.get("stroke")]
    assert len(curves) == len(graph.edges) == 7
    ends = [tuple(map(float, re.findall(r"[\d.]+", curve))) for curve in curves]
    found = dict(zip((node.name for node in graph.nodes), boxes(root)))
    for (one, other), (x, y, *_, to_x, to_y) in zip(graph.edges, ends):
        left, _, right, bottom = found[one]
        assert (x, y) == ((left + right) / 2, bottom)
        left, top, right, _ = found[other]
        assert to_x == (left + right) / 2
        assert y < to_y < top  # downwards, always


def test_mermaid_says_the_same():
    graph = drawn()
    head, *lines = graph.mermaid().split("\n")
    assert head == "flowchart TD"
    assert lines[0] == '  g0(["input 0<br/>float64#91;#63;, 3#93;"])'
    assert '  s0["matmul<br/>float64#91;#63;, 1#93;"]' in lines
    edges = [tuple(line.split(" --> ")) for line in lines if "-->" in line]
    assert [(one.strip(), other) for one, other in edges] == graph.edges
    assert len(lines) == len(graph.nodes) + len(graph.edges)


def test_a_notebook_shows_it_unless_it_is_very_large():
    graph = drawn()
    assert graph.startswith("digraph")
    assert graph._repr_mimebundle_() == {"text/plain": str(graph), "image/svg+xml": graph.svg()}

    def long(x):
        for _ in range(MOST_SHOWN):
            x = x + 1
        return x

    f = plan(long)
    f.record(np.zeros(3))
    assert list(f.graph()._repr_mimebundle_()) == ["text/plain"]
    assert len(boxes(picture(f.graph()))) == MOST_SHOWN + 2


@pytest.mark.parametrize("name", ['"', "a]<br/>-->", "\n{}\x00\x1b", "ü&lt;", ""])
def test_any_name_can_be_drawn(name):
    f = plan(lambda x: x + 1, name=name)
    f.record(np.zeros(3))
    assert len(boxes(picture(f.graph()))) == 3
    state = State(**{name or "w": np.zeros(3)})
    g = plan(lambda state, x: getattr(state, name or "w") + x, state=state)
    g.record(np.zeros(3))
    assert all(re.fullmatch(r'  \w+(\(\["[^"\]]*"\]\)|\["[^"\]]*"\])|  \w+ --> \w+', line)
               for line in g.graph().mermaid().split("\n")[1:])  # fmt: skip


def test_nothing_to_draw_but_an_input():
    f = plan(lambda x: None)
    f.record(np.zeros(3))
    assert len(boxes(picture(f.graph()))) == 1
    f = plan(lambda: None)
    f.record()
    assert boxes(picture(f.graph())) == []
