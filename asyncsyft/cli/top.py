"""``asyncsyft top``: who is at a relay and how busy they are, live."""

from __future__ import annotations

import os
import urllib.request
from functools import partial
from json import dumps, load
from ssl import SSLContext
from time import time
from typing import Any, Awaitable, Callable, Dict, List, Mapping, Optional

import anyio
import anyio.to_thread
import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.filesize import decimal
from rich.live import Live
from rich.table import Table

from ..driver import Driver, RemoteWorker, connect
from ..errors import AsyncSyftError
from . import options, security
from .running import Signals, interrupted, run

#: Seconds that a worker, and the relay's status, have to answer before the figures are left out.
PATIENCE = 3.0
#: Columns of a table that does not go to a terminal.
FILE_WIDTH = 120

Snapshot = Dict[str, Any]


@click.command(short_help="Show the peers of a relay and how busy they are, live.")
@click.argument("url", type=options.WebSocketURL(), envvar="ASYNCSYFT_TOP_URL")
@click.option(
    "--interval", type=click.FloatRange(0.05), default=1.0, show_default=True, help="Seconds between two looks."
)
@click.option("--once", is_flag=True, help="Look for one interval, print, and end.")
@options.called
@security.shown("top")
@security.certificate("Certificate chain (PEM), shown to a wss:// relay that asks for one.")
@click.option("--known-peers", type=click.Path(exists=True, dir_okay=False), help="Names and keys of sealed workers.")
@click.option(
    "--metrics-token",
    metavar="TEXT",
    envvar=["ASYNCSYFT_TOP_METRICS_TOKEN", "ASYNCSYFT_METRICS_TOKEN"],
    help="What the relay asks for to tell its own figures. Better in the variable ASYNCSYFT_METRICS_TOKEN.",
)
@click.option("--json", is_flag=True, help="A JSON object in a line of its own for each look.")
@options.common
@click.pass_context
def top(ctx: click.Context, /, loop: str, **given: Any) -> None:
    """Show the peers of a relay, live: steps a second, what they hold, what is in flight, how far away they are.

    \b
      asyncsyft top ws://127.0.0.1:8765
      asyncsyft top ws://127.0.0.1:8765 --once --json

    It looks as a driver does, and is one of those that it shows. A relay that is lost is dialled again. Ctrl-C ends it.
    """
    interrupted(ctx, run(lambda signals: watch(signals, **given), loop))


async def watch(
    signals: Signals,
    url: str,
    interval: float,
    once: bool,
    name: Optional[str],
    known_peers: Optional[str],
    metrics_token: Optional[str],
    json: bool,
    **who: Any,
) -> None:
    """Look and show until a signal comes; ``once``: one time. Raises: Refused when the relay will have it no more."""
    way = security.dialling(url, **who)
    name = name or f"top-{os.urandom(3).hex()}"
    async with connect(url, name=name, known_peers=known_peers, **way) as driver:
        look = partial(snapshot, driver, url, metrics_token or None, way["ssl"])
        with Screen(json) as screen:
            await signals.unless(lambda: repeat(screen, look, interval, once))


async def repeat(screen: Screen, look: Callable[[], Awaitable[Snapshot]], interval: float, once: bool) -> None:
    """One look each ``interval``."""
    last = await look()
    while True:
        await anyio.sleep(interval)
        now = await look()
        rates(last, now)
        screen.show(now)
        if once:
            return
        last = now


# Looking.


async def snapshot(driver: Driver, url: str, token: Optional[str], context: Optional[SSLContext]) -> Snapshot:
    """What the relay and each worker say of themselves now. Raises: Refused, if the relay will not have us any more."""
    if driver.refused is not None:
        raise driver.refused
    empty = {"at": round(time(), 3), "url": url, "linked": bool(driver.peer.roads), "relay": None, "peers": []}
    if not driver.peer.roads:
        return empty
    told: List[Optional[Snapshot]] = [None]
    workers: Dict[str, Snapshot] = {}

    async def ask_relay() -> None:
        told[0] = await anyio.to_thread.run_sync(status, url, token, context, abandon_on_cancel=True)

    async def ask(worker: RemoteWorker) -> None:
        workers[worker.name] = await of_worker(worker)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask_relay)
        for worker in list(driver.workers.values()):
            tasks.start_soon(ask, worker)
    relay = told[0]
    peers = relay.pop("peers") if relay else [{"name": name, "role": "worker"} for name in workers]
    for peer in peers:
        peer.update(workers.get(peer["name"], {}))
    return {**empty, "at": round(time(), 3), "relay": relay, "peers": peers}


async def of_worker(worker: RemoteWorker) -> Snapshot:
    """A worker's figures; ``latency`` in milliseconds."""
    with anyio.move_on_after(PATIENCE):
        try:
            latency = await worker.ping() * 1000
            return {"latency": round(latency, 3), **await worker.stats()}
        except AsyncSyftError as error:
            return {"problem": str(error)}
    return {"problem": "no answer"}


def status(url: str, token: Optional[str], context: Optional[SSLContext]) -> Optional[Snapshot]:
    """What ``GET /status`` says; None if a relay does not tell, or it is a worker. It blocks: for a thread."""
    request = urllib.request.Request(f"http{url[2:].rstrip('/')}/status")
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(request, timeout=PATIENCE) as answer:
            found = load(answer)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def rates(last: Snapshot, now: Snapshot) -> None:
    """Add to ``now`` what changed a second since ``last``."""
    seconds = max(now["at"] - last["at"], 1e-9)
    before = {peer["name"]: peer for peer in last["peers"]}
    for peer in now["peers"]:
        _rate(before.get(peer["name"], {}), peer, "steps", seconds)
    for name in ("frames", "bytes"):
        _rate(last["relay"] or {}, now["relay"] or {}, name, seconds)


def _rate(before: Mapping[str, Any], now: Snapshot, name: str, seconds: float) -> None:
    if name in before and name in now:
        now[f"{name}_per_second"] = round(max(now[name] - before[name], 0) / seconds, 1)


# Showing.


class Screen:
    """Where looks are shown: lines of JSON, a table that changes in place, or, in a file, one table after another."""

    def __init__(self, json: bool) -> None:
        self._as_json = json
        self._console = Console()
        if not self._console.is_terminal:
            self._console.width = FILE_WIDTH
        self._live = Live(console=self._console, auto_refresh=False)

    def __enter__(self) -> Screen:
        if not self._as_json and self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._live.stop()

    def show(self, now: Snapshot) -> None:
        """Show one look."""
        if self._as_json:
            click.echo(dumps(now))
        elif self._live.is_started:
            self._live.update(table(now), refresh=True)
        else:
            self._console.print(table(now))


def table(now: Snapshot) -> Table:
    """The peers, one a row; the relay's own figures below."""
    told = {
        "title": now["url"],
        "caption": _of_relay(now["relay"]) if now["linked"] else "the link is lost, dialling again",
    }
    shown = Table(
        box=SIMPLE_HEAD,
        show_edge=False,
        collapse_padding=True,
        pad_edge=False,
        title_justify="left",
        caption_justify="left",
        **told,
    )
    shown.add_column("name", overflow="ellipsis")
    shown.add_column("role", no_wrap=True)
    shown.add_column("where", overflow="ellipsis")
    for name in ("steps/s", "holds", "objects", "in flight", "latency"):
        shown.add_column(name, justify="right", no_wrap=True)
    for peer in sorted(now["peers"], key=lambda peer: (peer["role"] != "worker", peer["name"])):
        shown.add_row(peer["name"], peer["role"], peer.get("where", ""), *_figures(peer))
    return shown


def _figures(peer: Snapshot) -> List[str]:
    if "problem" in peer:
        return [peer["problem"]]
    if "steps" not in peer:
        return []
    rate = peer.get("steps_per_second")
    return [
        "" if rate is None else f"{rate:,.0f}",
        decimal(peer["bytes"]),
        f"{peer['objects']:,}",
        f"{max(peer['jobs'] - 1, 0):,}",  # one is our own question
        f"{peer['latency']:.2f} ms",
    ]


def _of_relay(relay: Optional[Snapshot]) -> str:
    if relay is None:
        return "no figures of a relay"
    frames, passed = relay.get("frames_per_second", 0.0), relay.get("bytes_per_second", 0.0)
    waiting = f", {decimal(relay['waiting'])} waiting" if relay["waiting"] else ""
    return f"relay: {frames:,.0f} frames/s, {decimal(int(passed))}/s{waiting}"
