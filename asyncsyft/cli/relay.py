"""``asyncsyft relay``: the crossing as a process of its own."""

from __future__ import annotations

import ssl
from typing import Any, Optional, Sequence

import anyio
import click

from ..identity import Key
from ..limits import RelayLimits
from ..metrics import Endpoints
from ..peer import split_address
from ..relay import DRAIN, Relay
from . import options, security
from .running import Signals, run


@click.command(short_help="Run a relay, which passes on what drivers and workers say.")
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
@options.common
def relay(loop: str, **given: Any) -> None:
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
    run(lambda signals: serve(signals, **given), loop)


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
    async with relay:
        endpoints.of(relay)
        click.echo(f"relay listening on {url_of(relay.address, context)}")
        security.warn(relay.address, admission)
        await signals.unless(anyio.sleep_forever)
        await signals.drain(relay.drain, drain)


def url_of(address: str, context: Optional[ssl.SSLContext]) -> str:
    """What to dial to get to an address that is listened on."""
    host, port = split_address(address)
    scheme = "ws" if context is None else "wss"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
