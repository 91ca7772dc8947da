"""The command ``asyncsyft`` and its subcommands, each from a module of its own."""

from __future__ import annotations

import click

from .ca import ca
from .chaos import chaos
from .conform import conform
from .demo import demo
from .keys import keys
from .ping import ping
from .relay import relay
from .token import token
from .top import top
from .worker import worker


@click.group(context_settings={"auto_envvar_prefix": "ASYNCSYFT", "help_option_names": ["-h", "--help"]})
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


for _command in (relay, worker, demo, ping, top, conform, chaos, keys, token, ca):
    asyncsyft.add_command(_command)
