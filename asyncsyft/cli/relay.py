"""``asyncsyft relay``: the crossing as a process of its own."""

from __future__ import annotations

import ssl
from typing import Any, Dict, Optional, Sequence, Union

import anyio
import click

from ..identity import Key
from ..limits import RelayLimits, files_for
from ..metrics import Endpoints
from ..peer import split_address
from ..relay import DRAIN, Relay
from . import checking, options, security
from .running import Signals, open_files, run


@click.command(cls=checking.Checked, short_help="Run a relay, which passes on what drivers and workers say.")
@click.option(
    "--listen",
    type=options.HostPort(),
    default="127.0.0.1:8765",
    show_default=True,
    help="Where to listen: host:port. Port 0 is any free one; host 0.0.0.0 lets other machines in.",
)
@security.certificate("Certificate chain (PEM): serve wss:// with it. Files that are renewed are read again.")
@security.admitting
@click.option("--key", type=click.Path(exists=True, dir_okay=False), help="The private key that says who this is.")
@options.figures
@options.visited
@options.limits(RelayLimits)
@options.draining(DRAIN)
@checking.checkable
@options.common
@click.pass_context
def relay(ctx: click.Context, /, loop: str, check_config: bool, **given: Any) -> None:
    """Run a relay: drivers and workers dial it, and it passes on what they say.

    \b
      asyncsyft relay
      asyncsyft relay --listen 0.0.0.0:8765 --tls-cert cert.pem --tls-key key.pem --known-peers peers.txt

    Peers of other machines come in by a key that is in --known-peers, or by a token that an --authority signed. With
    neither option, peers of this machine come in, and no others.

    On the same port it answers GET /healthz, /readyz, /metrics (Prometheus) and /status (JSON). The last two want
    --metrics-token, if it is given: "Authorization: Bearer TOKEN".

    SIGTERM drains it: it lets nobody in any more, says goodbye to its peers, passes on what is under way, for --drain
    SECONDS at most, and closes. Ctrl-C, and a second SIGTERM, close it at once. Its peers dial again, and go on at the
    next one.
    """
    if check_config:
        ctx.exit(check(given))
    run(lambda signals: serve(signals, **given), loop)


def check(given: Dict[str, Any]) -> int:
    """Look at all that a relay is told, without serving it; the exit code."""
    report, given = checking.Report("relay"), dict(given)
    limits, drain = RelayLimits(**options.taken(RelayLimits, given)), given.pop("drain")
    tls = {name: given.pop(name) for name in ("tls_cert", "tls_key", "tls_client_ca")}
    context, rules, key = None, None, None
    report.facts.append(f"would listen on {url_of(given['listen'], tls['tls_cert'])}")
    is_loopback = checking.check_address(report, given.pop("listen"))
    with report.looking():
        context = security.listening(**tls)
    checking.check_certificate(report, tls["tls_cert"])
    checking.check_secret(report, tls["tls_key"])
    with report.looking():
        key = Key.load(given["key"]) if given["key"] is not None else None
    checking.check_key(report, key, given.pop("key") or "")
    token, origin, proxies = given.pop("metrics_token"), given.pop("origin"), given.pop("trusted_proxy")
    with report.looking():
        rules = security.admission(**given)
    checking.check_door(report, rules, is_loopback, context is not None)
    checking.check_figures(report, "", token, is_loopback)
    report.facts += [f"lets in web pages of {', '.join(origin)}"] if origin else []
    report.facts += [f"believes X-Forwarded-For of {', '.join(proxies)}"] if proxies else []
    report.facts.append(f"drains for {drain:g} s")
    checking.check_limits(report, limits)
    checking.check_files(report, limits)
    return report.tell()


async def serve(
    signals: Signals,
    *,
    listen: str,
    key: Optional[str],
    tls_cert: Optional[str],
    tls_key: Optional[str],
    tls_client_ca: Optional[str],
    metrics_token: Optional[str],
    origin: Sequence[str],
    trusted_proxy: Sequence[str],
    drain: float,
    **given: Any,
) -> None:
    """Relay until a signal comes. Raises: OSError, ValueError, click.UsageError."""
    limits = options.taken(RelayLimits, given)
    context = security.listening(tls_cert=tls_cert, tls_key=tls_key, tls_client_ca=tls_client_ca)
    admission = security.admission(**given)
    endpoints = Endpoints(metrics_token or None, admission.insecure)
    relay = Relay(
        listen,
        admission=admission,
        key=Key.load(key) if key is not None else None,
        ssl=context,
        process_request=endpoints,
        origins=origin,
        proxies=trusted_proxy,
        **limits,
    )
    open_files(files_for(relay.limits))
    async with relay:
        endpoints.of(relay)
        click.echo(f"relay listening on {url_of(relay.address, context)}")
        security.warn(relay.address, admission)
        await signals.unless(anyio.sleep_forever)
        await signals.drain(relay.drain, drain)


def url_of(address: str, context: Union[ssl.SSLContext, str, None]) -> str:
    """What to dial to get to an address that is listened on; ``context``: None where that is without TLS."""
    host, port = split_address(address)
    scheme = "ws" if context is None else "wss"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
