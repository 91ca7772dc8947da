"""docs/protocol.md says what the code does: its constants, tables, ops and the frames that it shows."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, List

import pytest

from asyncsyft import link, ops, peer, program, protocol, relay, store, tensor, wire
from asyncsyft.executor import job, moves, steps
from asyncsyft.ops.table import REQUIRED, Op
from asyncsyft.peer import conversations
from asyncsyft.relay import member

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = (DOCS / "protocol.md").read_text("utf-8")
# Another name of that module is also a name of the wire.
FOUND = SimpleNamespace(MAX_FOUND=job.MAX_FOUND, MAX_QUERY=job.MAX_QUERY)
MODULES = (wire, protocol, program, tensor, store, FOUND, steps, moves, link, peer, conversations, relay, member)


def hexes() -> List[str]:
    blocks = re.findall(r"^```hex\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return ["".join(line.split(";")[0] for line in block.splitlines()).replace(" ", "") for block in blocks]


def table(heading: str) -> List[List[str]]:
    """The cells of the first table below a heading, without its head."""
    below = PAGE.split(f"\n{heading}\n", 1)[1]
    found = re.search(r"^\|.*\n\|[-|]+\n((?:\|.*\n)+)", below, re.MULTILINE)
    assert found is not None
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in found.group(1).splitlines()]


def test_the_frames_that_it_shows() -> None:
    vectors = json.loads((DOCS / "vectors" / "v1" / "frames.json").read_text("utf-8"))["vectors"]
    known = {vector["hex"] for vector in vectors}
    shown = hexes()
    assert len(shown) > 12
    for data in shown:
        (frame,) = wire.frames(memoryview(bytes.fromhex(data)))
        wire.parse(frame)
    assert set(shown[2:]) <= known  # the first two are of the session at its head


@pytest.mark.parametrize(
    ("name", "value"), re.findall(r"^\| `([A-Z_]+)` \| (\d+) \|", PAGE, re.MULTILINE), ids=lambda cell: str(cell)
)
def test_its_constants(name: str, value: str) -> None:
    (found, *others) = [getattr(module, name) for module in MODULES if hasattr(module, name)]
    assert found == int(value)
    assert all(other == found for other in others)


def test_its_constants_are_those_of_the_wire() -> None:
    named = set(re.findall(r"^\| `([A-Z_]+)` \|", PAGE, re.MULTILINE))
    assert {name for name in vars(wire) if name.startswith("MAX_")} <= named


def test_its_messages() -> None:
    kinds: Dict[int, Any] = {}
    for row in table("## Messages"):
        for kind in row[0].split(","):
            kinds[int(kind)] = [field.strip() for field in row[4].split(",") if field.strip()]
    assert set(kinds) == set(wire._DECODERS)
    said: Dict[str, Any] = {
        name: getattr(wire, name.title() if name != "CHUNK_OF" else "ChunkOf", None) for name in vars(wire)
    }
    for name, message in said.items():
        number = getattr(wire, name)
        if type(number) is int and hasattr(message, "_fields") and number in kinds:
            fields = [field.replace("descr", "descriptor") for field in message._fields]
            assert kinds[number] == fields, name


def signature(op: Op) -> str:
    """An op as the page writes it."""
    arrays, params = [], []
    for one in inspect.signature(op.run).parameters.values():
        if one.kind is one.KEYWORD_ONLY:
            default = "nil" if one.default is None else json.dumps(one.default) if one.default is not REQUIRED else ""
            params.append(f"{one.name}={default}" if default else one.name)
        elif one.kind is one.VAR_POSITIONAL:
            arrays.append(f"{one.name}...")
        else:
            arrays.append(one.name if one.default is REQUIRED else f"{one.name}?")
    inside = ", ".join(arrays) + ("; " if arrays and params else "; " if params else "") + ", ".join(params)
    return f"{op.name}({inside})" + ("" if op.outputs == 1 else f" -> {op.outputs or 'n'}")


def test_its_ops() -> None:
    listed = re.findall(r"`([^`]+)`", " ".join(row[1] for row in table("### Ops")))
    assert sorted(listed) == sorted(signature(op) for op in ops.OPS.values())


def test_its_promotion_table() -> None:
    columns = [descr.lstrip("|<") for descr in tensor.DTYPES]
    rows = table("### Promotion")
    assert [row[0].strip("*") for row in rows] == columns
    for (_, *cells), one in zip(rows, tensor.DTYPES.values()):
        for cell, other in zip(cells, tensor.DTYPES.values()):
            try:
                wanted = tensor.descriptor(ops.result_type(one, other)).lstrip("|<")
            except TypeError:
                wanted = "-"
            assert cell == wanted


def test_its_links_lead_somewhere() -> None:
    headings = {
        re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in PAGE.splitlines()
        if line.startswith("#")
    }
    for anchor in re.findall(r"\]\(#([a-z0-9-]+)\)", PAGE):
        assert anchor in headings, anchor
    for path in re.findall(r"\]\((vectors[^)]*)\)", PAGE):
        assert (DOCS / path).exists()
