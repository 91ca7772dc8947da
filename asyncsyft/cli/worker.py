"""``asyncsyft worker``: a worker as a process of its own, with data from its own disk."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any, Dict, List, Mapping, Optional, Sequence

import click

from ..errors import AsyncSyftError, LinkError
from ..limits import WorkerLimits, files_for
from ..metrics import Endpoints, pages
from ..peer import RESUME_GRACE, WORKER
from ..privacy import Policy
from ..tensor import Array, descriptor
from ..worker import DRAIN, Worker
from . import checking, options, releasing, security
from .loading import read
from .relay import url_of
from .running import Signals, open_files, run


@click.command(cls=checking.Checked, short_help="Run a worker, which holds tensors and computes on them.")
@click.option("--name", required=True, help="What drivers call it.")
@click.option("--relay", type=options.WebSocketURL(), help="The relay to dial: a ws:// or wss:// URL.")
@click.option("--listen", type=options.HostPort(), help="Or listen here for drivers, without a relay: host:port.")
@security.shown("worker")
@security.certificate(
    "Certificate chain (PEM): shown to a wss:// relay that asks for one; with --listen, serve wss://."
)
@security.admitting
@click.option(
    "--resume-grace",
    type=click.FloatRange(0),
    default=RESUME_GRACE,
    show_default=True,
    metavar="SECONDS",
    help="How long what drivers have here is kept when a link is lost; 0: it ends with its link.",
)
@click.option(
    "--load",
    multiple=True,
    metavar="NAME=FILE",
    help="Hold what is in this .npy, .npz or .csv file; repeatable. Each array of a .npz is called NAME.KEY.",
)
@releasing.options
@click.option("--tag", multiple=True, metavar="TEXT", help="A tag on all that is loaded; repeatable.")
@click.option(
    "--keep",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Keep the tensors, plans and states that drivers name in this file, over a restart.",
)
@click.option(
    "--metrics", type=options.HostPort(), help="Answer GET /healthz, /readyz, /metrics and /status here: host:port."
)
@options.figures
@options.visited
@options.limits(WorkerLimits)
@options.draining(DRAIN)
@checking.checkable
@options.common
@click.pass_context
def worker(ctx: click.Context, /, loop: str, load: Sequence[str], check_config: bool, **given: Any) -> None:
    """Run a worker: it holds tensors, and computes on them for drivers.

    \b
      asyncsyft worker --name alice --relay ws://127.0.0.1:8765 --load scans=scans.npy --tag hospital
      asyncsyft worker --name bob --listen 127.0.0.1:9000 --load ages=ages.csv

    Drivers find what it loaded by its name or its tags: await driver.worker("alice").search("scans").

    They may compute on it, and it stays private, as all that is made of it does: what may leave, --release says.

    \b
      never           nothing
      ask             what a person approves: see asyncsyft requests
      aggregate:100   sums, means, variances and x.T @ y over all of its rows, if they are at least 100
      training:100    what sums up at least 100 rows, such as a trained model; no shield against a hostile driver
      always          all: it is not private
      module:function what a function of your own says, given what is asked for (also FILE.py:function)

    With --listen, --authority, --known-peers, --revoked and --insecure say who may come in; without them, drivers of
    this machine. With --relay that is for the relay to say, and --known-peers names those with whom this worker speaks,
    sealed from end to end.

    SIGTERM drains it: it lets no new driver in, finishes what is under way, for --drain SECONDS at most, and ends.
    Ctrl-C, and a second SIGTERM, do not wait. A relay that is lost is dialled again, for as long as it takes; if it
    refuses the worker, that exits with 1.
    """
    if (given["relay"] is None) == (given["listen"] is None):
        raise click.UsageError("give --relay URL, or --listen host:port, and not both")
    if check_config:
        ctx.exit(check(load, given))

    async def main(signals: Signals) -> None:
        await serve(signals, loaded(load), **given)

    run(main, loop)


def loaded(load: Sequence[str]) -> Dict[str, Array]:
    """What --load names. Raises: OSError, ValueError, click.UsageError."""
    arrays: Dict[str, Array] = {}
    for item in load:
        name, found, path = item.partition("=")
        if not (name and found and path):
            raise click.UsageError(f"--load {item}: not NAME=FILE")
        for key, array in read(name, path).items():
            if key in arrays:
                raise click.UsageError(f"--load {item}: there is a {key} already")
            arrays[key] = array
    return arrays


def check(load: Sequence[str], given: Dict[str, Any]) -> int:
    """Look at all that a worker is told and loads, without serving it; the exit code."""
    report, arrays, way = checking.Report(f"worker {given['name']}"), {}, {}  # type: checking.Report, Any, Any
    limits, relay, listen = WorkerLimits(**options.taken(WorkerLimits, given)), given["relay"], given["listen"]
    with report.looking():
        way = at_relay(relay, given) if relay is not None else at_home(given)
    checking.check_certificate(report, given["tls_cert"])
    checking.check_secret(report, given["tls_key"])
    checking.check_key(report, way.get("key"), given["key"] or "of this user")
    if relay is not None:
        report.facts.append(f"would dial {relay}")
        checking.check_token(report, given["token"], given["name"], WORKER, way.get("key"))
        checking.check_pinned(report, given["known_peers"])
    else:
        report.facts.append(f"would listen on {url_of(listen, given['tls_cert'])}")
        is_loopback = checking.check_address(report, listen)
        checking.check_files(report, limits)
        checking.check_door(report, way.get("admission"), is_loopback, given["tls_cert"] is not None)
    with report.looking():
        arrays = loaded(load)
    with report.looking():
        policies = releasing.policies(list(arrays), given["release"])
        releasing.shared(list(arrays), given["share"])
        report.facts += [f"would load {line}" for line in described(arrays, policies)]
    checking.check_loaded(report, sum(array.nbytes for array in arrays.values()), limits)
    for option in ("keep", "audit", "control"):
        checking.check_writable(report, f"--{option}", given[option])
    if given["metrics"] is not None:
        is_near = checking.check_address(report, given["metrics"], "--metrics")
        checking.check_figures(report, f" at http://{given['metrics']}", given["metrics_token"], is_near)
    checking.check_limits(report, limits)
    return report.tell()


async def serve(
    signals: Signals,
    arrays: Dict[str, Array],
    *,
    name: str,
    tag: Sequence[str],
    release: Sequence[str],
    share: Sequence[str],
    audit: Optional[str],
    control: Optional[str],
    relay: Optional[str],
    listen: Optional[str],
    keep: Optional[str],
    resume_grace: float,
    drain: float,
    metrics: Optional[str],
    metrics_token: Optional[str],
    **who: Any,
) -> None:
    """Work until a signal comes. Raises: click.ClickException when the relay refuses the worker."""
    bounds = {"resume_grace": resume_grace, **options.taken(WorkerLimits, who)}
    way = at_relay(relay, who) if relay is not None else at_home(who)
    policies, shared = releasing.policies(list(arrays), release), releasing.shared(list(arrays), share)
    control = releasing.control_at(name, control, policies.values())
    worker = Worker(name, relay, listen=listen, keep=keep, audit=audit, control=control, **bounds, **way)
    for key, array in arrays.items():
        worker.store.check_room(array.nbytes)
        worker.load(key, array, tag, release=policies[key], share=key in shared)
    if listen is not None:
        open_files(files_for(worker.limits))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(worker)
        where = f"at {relay}" if relay is not None else f"listening on {url_of(worker.address, way['ssl'])}"
        click.echo(f"worker {name} {where}")
        if relay is None:
            security.warn(worker.address, way["admission"])
        for line in described(arrays, policies):
            click.echo(f"  {line}")
        if metrics is not None:
            endpoints = Endpoints(metrics_token or None)
            address = await stack.enter_async_context(pages(endpoints, metrics))
            endpoints.of(worker, address)
            click.echo(f"figures at http://{address}/metrics")
        await signals.unless(lambda: lost(worker))
        await signals.drain(worker.drain, drain)


def described(arrays: Mapping[str, Array], policies: Mapping[str, Policy]) -> List[str]:
    """A line for each array: never its contents."""
    shown = [(key, descriptor(array.dtype), array.shape, policies[key].text) for key, array in arrays.items()]
    return [f"{key}  {dtype}  {shape}  release {policy}" for key, dtype, shape, policy in shown]


def at_relay(url: str, who: Dict[str, Any]) -> Dict[str, Any]:
    """What a worker is given that dials. Raises: OSError, ValueError, click.UsageError."""
    security.only_for("--listen", who, "authority", "revoked", "insecure", "tls_client_ca", "origin", "trusted_proxy")
    shown = {name: who[name] for name in ("key", "token", "ca", "tls_cert", "tls_key")}
    return {"known_peers": who["known_peers"], **security.dialling(url, **shown)}


def at_home(who: Dict[str, Any]) -> Dict[str, Any]:
    """What a worker is given that listens. Raises: OSError, ValueError, click.UsageError."""
    security.only_for("--relay", who, "token", "ca")
    tls = {name: who[name] for name in ("tls_cert", "tls_key", "tls_client_ca")}
    rules = {name: who[name] for name in ("authority", "known_peers", "revoked", "insecure")}
    context, admission = security.listening(**tls), security.admission(**rules)
    visited = {"origins": who["origin"], "proxies": who["trusted_proxy"]}
    return {"key": security.own_key(who["key"]), "ssl": context, "admission": admission, **visited}


async def lost(worker: Worker) -> None:
    """Wait until the relay will not have the worker any more. Raises: click.ClickException."""
    try:
        await worker.closed()
    except LinkError as error:
        raise click.ClickException(f"{worker.name} lost its relay: {error}") from None
    except AsyncSyftError as error:
        raise click.ClickException(f"the relay refuses {worker.name}: {error}") from None
