"""The command ``asyncsyft`` and its subcommands, each from a module of its own."""

from __future__ import annotations

from importlib import import_module
from typing import List, Optional

import click

NAMES = ("ca", "chaos", "conform", "demo", "keys", "ping", "relay", "requests", "token", "top", "worker")


class _Commands(click.Group):
    """Imports a command when it is asked for: with all of them, each would take a third longer to start."""

    def list_commands(self, ctx: click.Context) -> List[str]:
        return list(NAMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> Optional[click.Command]:
        if cmd_name not in NAMES:
            return None
        command: click.Command = getattr(import_module(f".{cmd_name}", __package__), cmd_name)
        return command


@click.group(cls=_Commands, context_settings={"auto_envvar_prefix": "ASYNCSYFT", "help_option_names": ["-h", "--help"]})
@click.version_option(package_name="asyncsyft")
def asyncsyft() -> None:
    """Compute on tensors that stay with their owners.

    A worker holds data, a driver (your program) asks it to compute, and a relay in the middle lets both dial out.
    To see all three at work:

    \b
      asyncsyft demo

    To set them up, each in a terminal of its own:

    \b
      asyncsyft relay
      asyncsyft worker --name alice --relay ws://127.0.0.1:8765 --load x=x.npy
      asyncsyft ping ws://127.0.0.1:8765 alice

    Every option may also be an environment variable (ASYNCSYFT_WORKER_NAME is worker's --name) or stand in a TOML
    file, which --config names, in a section for the command. An option that is typed comes first, then the
    environment, then the file.
    """
