"""``asyncsyft worker``: a worker as a process of its own, with data from its own disk."""

from __future__ import annotations

from typing import Any, Dict, Optional, Sequence

import click

from ..errors import LinkError
from ..program import MAX_PLAN_STEPS
from ..store import DEFAULT_LIMIT
from ..tensor import Array, descriptor
from ..worker import Worker
from . import options
from .loading import read
from .relay import url_of
from .running import Signals, run


@click.command(short_help="Run a worker, which holds tensors and computes on them.")
@click.option("--name", required=True, help="What drivers call it.")
@click.option("--relay", type=options.WebSocketURL(), help="The relay to dial: a ws:// or wss:// URL.")
@click.option("--listen", type=options.HostPort(), help="Or listen here for drivers, without a relay: host:port.")
@options.token("worker", "To show to the relay, or to ask of drivers with --listen.")
@options.trusted
@options.certificates
@click.option(
    "--load",
    multiple=True,
    metavar="NAME=FILE",
    help="Hold what is in this .npy, .npz or .csv file; repeatable. Each array of a .npz is called NAME.KEY.",
)
@click.option("--tag", multiple=True, metavar="TEXT", help="A tag on all that is loaded; repeatable.")
@click.option(
    "--limit", type=options.Size(), default=DEFAULT_LIMIT, show_default="8GiB", help="Bytes that it holds at most."
)
@click.option(
    "--max-plan-steps",
    type=click.IntRange(min=1),
    default=MAX_PLAN_STEPS,
    show_default=True,
    help="Steps of a plan; longer ones are refused.",
)
@click.option("--insecure", is_flag=True, help="With --listen: accept drivers of other machines without a token.")
@options.common
def worker(loop: str, load: Sequence[str], tag: Sequence[str], **given: Any) -> None:
    """Run a worker: it holds tensors, and computes on them for drivers.

    \b
      asyncsyft worker --name alice --relay ws://127.0.0.1:8765 --load scans=scans.npy --tag hospital
      asyncsyft worker --name bob --listen 127.0.0.1:9000 --load ages=ages.csv

    Drivers find what it loaded by its name or its tags: await driver.worker("alice").search("scans").

    Ctrl-C and SIGTERM end it in peace. If the relay is lost, it says so and exits with 1.
    """
    if (given["relay"] is None) == (given["listen"] is None):
        raise click.UsageError("give --relay URL, or --listen host:port, and not both")
    arrays: Dict[str, Array] = {}

    async def main(signals: Signals) -> None:
        for item in load:
            name, found, path = item.partition("=")
            if not (name and found and path):
                raise click.UsageError(f"--load {item}: not NAME=FILE")
            for key, array in read(name, path).items():
                if key in arrays:
                    raise click.UsageError(f"--load {item}: there is a {key} already")
                arrays[key] = array
        await serve(signals, arrays, tag, **given)

    run(main, loop)


async def serve(
    signals: Signals,
    arrays: Dict[str, Array],
    tags: Sequence[str],
    *,
    name: str,
    relay: Optional[str],
    listen: Optional[str],
    token: Optional[str],
    ca: Optional[str],
    tls_cert: Optional[str],
    tls_key: Optional[str],
    limit: int,
    max_plan_steps: int,
    insecure: bool,
) -> None:
    """Work until a signal comes. Raises: LinkError when the relay is lost."""
    if relay is not None and (tls_cert or tls_key):
        raise click.UsageError("--tls-cert and --tls-key are for --listen")
    if relay is None and ca:
        raise click.UsageError("--ca is for --relay")
    context = options.listening(tls_cert, tls_key) if relay is None else options.dialling(relay, ca)
    worker = Worker(
        name,
        relay,
        listen=listen,
        token=token,
        ssl=context,
        limit=limit,
        max_plan_steps=max_plan_steps,
        insecure=insecure,
    )
    for key, array in arrays.items():
        worker.store.check_room(array.nbytes)
        worker.load(key, array, tags)
    async with worker:
        click.echo(
            f"worker {name} at {relay}" if relay else f"worker {name} listening on {url_of(worker.address, context)}"
        )
        for key, array in arrays.items():
            click.echo(f"  {key}  {descriptor(array.dtype)}  {array.shape}")
        await signals.unless(lambda: lost(worker))


async def lost(worker: Worker) -> None:
    """Wait until the relay is lost. Raises: click.ClickException."""
    try:
        await worker.closed()
    except LinkError as error:
        raise click.ClickException(f"{worker.name} lost its relay: {error}") from None
