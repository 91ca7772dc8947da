"""``asyncsyft relay``: the crossing as a process of its own."""

from __future__ import annotations

import ssl
from typing import Any, Optional

import anyio
import click

from ..metrics import Endpoints
from ..peer import split_address
from ..relay import MAX_PEERS, Relay
from . import options
from .running import Signals, run


@click.command(short_help="Run a relay, which passes on what drivers and workers say.")
@click.option(
    "--listen",
    type=options.HostPort(),
    default="127.0.0.1:8765",
    show_default=True,
    help="Where to listen: host:port. Port 0 is any free one; host 0.0.0.0 lets other machines in.",
)
@options.certificates
@options.token("relay", "What drivers and workers must show.")
@click.option("--insecure", is_flag=True, help="Accept peers of other machines without a token.")
@click.option("--max-peers", type=click.IntRange(1), default=MAX_PEERS, show_default=True, help="Peers at once.")
@options.common
def relay(loop: str, tls_cert: Optional[str], tls_key: Optional[str], **given: Any) -> None:
    """Run a relay: drivers and workers dial it, and it passes on what they say.

    \b
      asyncsyft relay
      ASYNCSYFT_TOKEN=secret asyncsyft relay --listen 0.0.0.0:8765 --tls-cert cert.pem --tls-key key.pem

    On the same port it answers GET /healthz, /readyz, /metrics (Prometheus) and /status (JSON). The last two want the
    token, if there is one: "Authorization: Bearer TOKEN".

    Ctrl-C and SIGTERM end it: it says goodbye to its peers and closes.
    """
    context = options.listening(tls_cert, tls_key)
    run(lambda signals: serve(signals, context, **given), loop)


async def serve(
    signals: Signals,
    context: Optional[ssl.SSLContext],
    *,
    listen: str,
    token: Optional[str],
    insecure: bool,
    max_peers: int,
) -> None:
    """Relay until a signal comes."""
    endpoints = Endpoints(token, insecure)
    relay = Relay(listen, token=token, ssl=context, insecure=insecure, max_peers=max_peers, process_request=endpoints)
    async with relay:
        endpoints.of(relay)
        click.echo(f"relay listening on {url_of(relay.address, context)}")
        await signals.unless(anyio.sleep_forever)


def url_of(address: str, context: Optional[ssl.SSLContext]) -> str:
    """What to dial to get to an address that is listened on."""
    host, port = split_address(address)
    scheme = "ws" if context is None else "wss"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
