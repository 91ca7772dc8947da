"""``%load_ext bridge`` in a notebook."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from ..conftest import ROOT

NOTEBOOK = """
import sys, warnings
warnings.simplefilter("ignore")
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()

def cell(source):
    result = shell.run_cell(source)
    result.raise_error()
    return result.result

cell("import syft as sy, torch\\nhook = sy.TorchHook(torch)")
cell("%load_ext bridge")
cell(f"bob = sy.WebsocketClientWorker(hook, 'localhost', {sys.argv[1]}, id='bob')")
print("=", cell("(torch.tensor([1.0, 2.0]).send(bob) + 1).get().tolist()"))
print("=", cell("async def later(): return torch.tensor([4]).send(bob).get().tolist()\\nawait later()"))
cell("%unload_ext bridge")
print("=", cell("sy.WebsocketClientWorker.__bases__[0].__module__"))
"""


def test_cells_run_on_the_bridge_once_it_is_loaded(bob_process: Any, tmp_path: Path) -> None:
    script = tmp_path / "notebook.py"
    script.write_text(NOTEBOOK)
    environment = {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "IPYTHONDIR": str(tmp_path / "ipython")}
    done = subprocess.run(
        [sys.executable, str(script), str(bob_process.port)],
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
        timeout=150,
        check=True,
    )
    printed = [line for line in done.stdout.splitlines() if line.startswith("= ")]
    assert printed == ["= [2.0, 3.0]", "= [4]", "= syft.workers.base"]
