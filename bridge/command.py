"""``python -m bridge worker``: a PySyft worker as a process of its own, at a relay or where clients dial it."""

from __future__ import annotations

import importlib
import logging
import signal
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Type

import click
import syft as sy
import torch

from asyncsyft.cli import options, security
from asyncsyft.cli.loading import read
from asyncsyft.errors import AsyncSyftError
from asyncsyft.peer import RESUME_GRACE, join_address, split_address

from .installing import install
from .server import WebsocketServerWorker


@click.command(context_settings={"auto_envvar_prefix": "ASYNCSYFT_WORKER", "help_option_names": ["-h", "--help"]})
@click.option("--id", "name", required=True, help="What clients call it.")
@click.option("--relay", type=options.WebSocketURL(), help="The relay to dial: a ws:// or wss:// URL.")
@click.option("--listen", type=options.HostPort(), help="Or listen here for clients, without a relay: host:port.")
@security.shown("worker")
@security.certificate("Certificate chain (PEM): shown to a relay that asks for one; with --listen, serve wss://.")
@security.admitting
@click.option(
    "--resume-grace",
    type=click.FloatRange(0),
    default=RESUME_GRACE,
    show_default=True,
    metavar="SECONDS",
    help="How long what clients have here is kept when a link is lost.",
)
@click.option(
    "--data",
    multiple=True,
    metavar="[NAME=]FILE",
    help="Hold what is in this .npy, .npz or .csv file, tagged NAME (.npz: NAME.KEY), or as the file; repeatable.",
)
@click.option("--tag", multiple=True, metavar="TEXT", help="One more tag on all that is held; repeatable.")
@click.option(
    "--path",
    multiple=True,
    type=click.Path(exists=True, file_okay=False),
    help="A folder with modules of your own, from which this worker may import; repeatable.",
)
@click.option(
    "--use",
    metavar="MODULE[:CLASS]",
    help="Import this module; the worker is of its class, if one is named: one of WebsocketServerWorker's subclasses.",
)
@click.option(
    "-v",
    "--verbose",
    count=True,
    help="Print each message, as PySyft does, and say what happens; -vv in detail.",
)
def worker(
    name: str,
    path: Sequence[str],
    use: Optional[str],
    data: Sequence[str],
    tag: Sequence[str],
    verbose: int,
    resume_grace: float,
    **given: Any,
) -> None:
    """Run a PySyft 0.2.9 worker, which clients reach by its id at a relay, or by host and port.

    \b
      python -m bridge worker --id alice --relay wss://relay.example --data scans=scans.npy --tag "#hospital"
      python -m bridge worker --id bob --listen 127.0.0.1:8777

    Without --authority, --known-peers or --insecure, only clients of this machine may dial a worker that listens: who
    may come in may have it do anything that PySyft does.
    """
    if (given["relay"] is None) == (given["listen"] is None):
        raise click.UsageError("give --relay URL, or --listen host:port, and not both")
    logging.basicConfig(level=(logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)])
    install()
    sys.path[:0] = path
    try:
        served = _class(use)(sy.TorchHook(torch), *_address(given["listen"]), id=name, verbose=bool(verbose))
        for item in data:
            _hold(served, item, tag)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        click.echo(f"worker {name} {_begin(served, resume_grace, given)}")
        served.wait()
    except (AsyncSyftError, OSError, ValueError) as error:
        raise click.ClickException(str(error)) from None


def _address(listen: Optional[str]) -> Sequence[Any]:
    return ("", 0) if listen is None else split_address(listen)


def _class(use: Optional[str]) -> Type[Any]:
    """The class of the worker. Raises: click.UsageError."""
    if use is None:
        return WebsocketServerWorker
    module, colon, name = use.partition(":")
    try:
        found: Any = getattr(importlib.import_module(module), name) if colon else importlib.import_module(module)
    except (ImportError, AttributeError) as error:
        raise click.UsageError(f"--use {use}: {error}") from None
    if not colon:
        return WebsocketServerWorker
    if not isinstance(found, type) or not issubclass(found, WebsocketServerWorker):
        raise click.UsageError(f"--use {use}: {name} is no subclass of WebsocketServerWorker")
    return found


def _hold(served: Any, item: str, tags: Sequence[str]) -> None:
    """Have the worker hold what is in a file. Raises: OSError, ValueError."""
    name, _, path = item.rpartition("=")
    name = name or Path(path).stem
    for key, array in read(name, path).items():
        tensor = torch.from_numpy(array)
        if path.endswith(".csv"):
            tensor = tensor.to(torch.get_default_dtype())
        served.register_obj(tensor.tag(key, *tags))
        click.echo(f"  {key}  {tensor.dtype}  {tuple(tensor.shape)}")


def _begin(served: Any, grace: float, given: Dict[str, Any]) -> str:
    """Serve; where, for people. Raises: OSError, ValueError, ConnectionRefusedError, click.UsageError."""
    if given["relay"] is not None:
        security.only_for("--listen", given, "authority", "revoked", "insecure", "tls_client_ca")
        shown = {name: given[name] for name in ("key", "token", "ca", "tls_cert", "tls_key")}
        way = security.dialling(given["relay"], **shown)
        served.stay_at(given["relay"], known_peers=given["known_peers"], resume_grace=grace, **way)
        return f"at {given['relay']}"
    security.only_for("--relay", given, "token", "ca")
    context = security.listening(**{name: given[name] for name in ("tls_cert", "tls_key", "tls_client_ca")})
    rules = security.admission(**{name: given[name] for name in ("authority", "known_peers", "revoked", "insecure")})
    key = security.own_key(given["key"])
    served.listen(key=key, ssl=context, admission=rules, resume_grace=grace)
    security.warn(join_address(served.address, served.port), rules)
    return f"listening on {'wss' if context else 'ws'}://{join_address(served.address, served.port)}"


def main(arguments: List[str]) -> None:
    """Run the command."""
    worker.main(arguments, prog_name="python -m bridge worker")
