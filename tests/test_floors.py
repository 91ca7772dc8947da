"""A module of asyncsyft imports only from floors below its own (docs: design, section 3)."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Iterator, List

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "asyncsyft"

# From the lowest to the highest. A folder counts as the module of its name, except mpc, whose modules have floors.
FLOORS = [
    {"errors"},
    {"tensor", "compression"},
    {"wire", "mpc.ring", "mpc.watch", "mpc.node", "mpc.axes"},
    {"program", "privacy", "mpc.prg", "mpc.fixed", "mpc.machine", "mpc.operators"},
    {"protocol", "transport", "framing", "identity", "certificates", "seal", "waiting", "keeping"}
    | {"mpc.gates", "mpc.schedule", "mpc.packing"},
    {"limits"},
    {"link", "websocket", "lifetime", "memory", "mpc.computing", "mpc.dealing", "mpc.circuit"},
    {"peer", "ops", "store", "faults"},
    {"executor", "relay", "remote", "mpc.functions", "mpc.checked", "mpc.asking"},
    {"mpc.service", "mpc.tensor"},
    {"worker", "driver", "mpc.several"},
    {"plan", "progress", "metrics", "mpc.joining", "mpc.outgoing"},
    {"mpc.ahead"},
    {"mpc.session", "testing", "demo", "conform"},
    {"cli"},
    {"mpc"},  # its names, for who imports them from there
    {"", "__main__"},  # "" is asyncsyft itself: the public names
]
FLOOR = {module: height for height, floor in enumerate(FLOORS) for module in floor}

# Rules, not machinery: these wait for nothing, start nothing and read no clock.
QUIET = {"errors", "tensor", "compression", "wire", "program", "mpc.ring", "mpc.prg", "protocol", "framing", "ops"}
QUIET |= {"mpc.fixed", "mpc.machine", "mpc.node", "mpc.gates", "mpc.schedule", "mpc.computing", "mpc.dealing"}
QUIET |= {"limits", "mpc.axes", "mpc.watch", "mpc.checked", "mpc.circuit", "mpc.functions", "mpc.packing"}
QUIET |= {"mpc.operators"}
QUIET |= {"identity"}  # but for the files that it is told to read and write
MACHINERY = {"anyio", "asyncio", "concurrent", "selectors", "sniffio", "socket", "ssl", "threading", "time", "trio"}


def module_of(name: str) -> str:
    """``asyncsyft.ops.table`` -> ``ops``; ``asyncsyft.mpc.ring`` -> ``mpc.ring``; ``asyncsyft`` -> ``""``."""
    parts = name.split(".")[1:]
    return ".".join(parts[: 2 if parts[:1] == ["mpc"] else 1])


def imports(source: str, package: str) -> Iterator[str]:
    """Full names of all that ``source``, in ``package``, imports, wherever in the file."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            origin = ".".join(base + ([node.module] if node.module else []))
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def complaints(name: str, source: str, is_package: bool = False) -> List[str]:
    """What is wrong with the imports of the file of module ``name``."""
    mine = module_of(name)
    if mine not in FLOOR:
        return [f"{name} has no floor: give it one in {Path(__file__).name}"]
    found = []
    for target in imports(source, name if is_package else name.rpartition(".")[0]):
        top = target.split(".")[0]
        if mine in QUIET and top in MACHINERY:
            found.append(f"{name} imports {top}: it may do no I/O, start no task, read no clock")
        if top != "asyncsyft":
            continue
        theirs = module_of(target)
        # `from .. import name`: what is not a module is one of the public names, at the very top.
        height = FLOOR.get(theirs, FLOOR[""])
        if theirs != mine and height >= FLOOR[mine]:
            found.append(f"{name} imports {target}, which is not on a floor below")
    return found


def files() -> List[Path]:
    return sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", files(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_only_from_below(path: Path) -> None:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    is_package = parts[-1] == "__init__"
    name = ".".join(parts[:-1] if is_package else parts)
    found = complaints(name, path.read_text("utf-8"), is_package)
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("asyncsyft.wire", "from asyncsyft.peer import Peer"),
        ("asyncsyft.wire", "from .link import Link"),
        ("asyncsyft.wire", "from . import driver"),
        ("asyncsyft.wire", "import asyncsyft.protocol"),
        ("asyncsyft.wire", "import asyncsyft"),
        ("asyncsyft.wire", "from asyncsyft import connect"),
        ("asyncsyft.wire", "from asyncsyft.program import Step"),  # the same floor
        ("asyncsyft.wire", "def late():\n    from asyncsyft import cli"),
        ("asyncsyft.wire", "if TYPE_CHECKING:\n    from asyncsyft.worker import Worker"),
        ("asyncsyft.wire", "import time"),
        ("asyncsyft.protocol", "from anyio import Event"),
        ("asyncsyft.ops.table", "from ..driver import Driver"),
        ("asyncsyft.ops.table", "from ..store import Store"),
        ("asyncsyft.mpc.ring", "from .session import Session"),
        ("asyncsyft.helpers", ""),
    ],
)
def test_a_bad_import_is_caught(name: str, source: str) -> None:
    assert complaints(name, source) != []


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("asyncsyft.wire", "import struct, msgpack\nfrom asyncsyft.errors import ProtocolError\nfrom . import tensor"),
        ("asyncsyft.link", "import anyio, time\nfrom .transport import Transport"),
        ("asyncsyft.ops.table", "from . import rules\nfrom .rules import promote\nfrom ..errors import OpFailed"),
        ("asyncsyft.mpc.session", "from .ring import add\nfrom ..driver import Driver"),
    ],
)
def test_a_good_import_is_let_be(name: str, source: str) -> None:
    assert complaints(name, source) == []


def test_a_package_s_own_file_is_read_as_the_package() -> None:
    assert complaints("asyncsyft.ops", "from . import table", is_package=True) == []
    assert complaints("asyncsyft.ops", "from .. import driver", is_package=True) != []
