"""``python -m bridge script.py``, ``python -m bridge -m module``: an unmodified program; ``worker``: a worker."""

from __future__ import annotations

import os
import runpy
import sys
from typing import List

USAGE = "usage: python -m bridge script.py [args] | -m module [args] | worker --id ID --relay URL [...]"


def main(arguments: List[str]) -> None:
    """Run a program as Python would, with PySyft's transports replaced."""
    if arguments[:1] == ["worker"]:
        from bridge import command

        return command.main(arguments[1:])
    is_module = arguments[:1] == ["-m"]
    program = arguments[int(is_module) : int(is_module) + 1]
    if not program or program[0].startswith("-"):
        sys.exit(USAGE)

    from bridge import install

    install()
    sys.argv = arguments[int(is_module) :]
    if is_module:
        runpy.run_module(program[0], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = os.path.dirname(os.path.abspath(program[0]))
        runpy.run_path(program[0], run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
