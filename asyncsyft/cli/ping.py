"""``asyncsyft ping``: round trips, as ping(8) shows them."""

from __future__ import annotations

import math
import os
from json import dumps
from typing import Any, Awaitable, Callable, Dict, List, Optional, Tuple

import anyio
import click

from ..driver import Driver, connect
from ..errors import LinkClosed, LinkError, UnknownPeer
from . import options, security
from .running import Signals, interrupted, run

#: Seconds without an answer after which a ping counts as lost.
LOST = 5.0
#: Seconds after a ping that could not leave, at least, so that ``-i 0`` does not spin while the link is dialled again.
PAUSE = 0.1

Once = Callable[[], Awaitable[float]]


@click.command(short_help="Measure round trips to a relay or a worker.")
@click.argument("url", type=options.WebSocketURL(), envvar="ASYNCSYFT_PING_URL")
@click.argument("worker", required=False, envvar="ASYNCSYFT_PING_WORKER")
@click.option("-c", "--count", type=click.IntRange(1), help="Stop after so many pings; else on Ctrl-C.")
@click.option(
    "-i", "--interval", type=click.FloatRange(0), default=1.0, show_default=True, help="Seconds from ping to ping."
)
@options.called
@security.shown("ping")
@security.certificate("Certificate chain (PEM), shown to a wss:// relay that asks for one.")
@click.option("--json", is_flag=True, help="One JSON object with all figures, in milliseconds.")
@options.common
@click.pass_context
def ping(ctx: click.Context, /, loop: str, json: bool, **given: Any) -> None:
    """Measure round trips to a relay, to a worker through it, or to a worker that listens.

    \b
      asyncsyft ping ws://127.0.0.1:8765
      asyncsyft ping ws://127.0.0.1:8765 alice -c 4

    A ping is answered by whoever reads the other end's link, also while a worker computes. While a link that was lost
    is dialled again, pings are lost. Exits with 1 if none was answered.
    """
    pings = Pings(quiet=json)
    try:
        signum = run(lambda signals: measure(signals, pings, **given), loop)
    finally:
        if pings.sent:
            click.echo(dumps(pings.summary()) if json else "\n" + pings.text())
    interrupted(ctx, signum)
    if not pings.times:
        ctx.exit(1)


class Pings:
    """What was sent and what came back."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.to = ""
        self.sent = 0
        self.times: List[float] = []  # milliseconds

    def one(self, seconds: Optional[float]) -> None:
        """Note, and show, the outcome of one ping: how long it took, None if it was lost."""
        self.sent += 1
        if seconds is not None:
            self.times.append(seconds * 1000)
        if not self.quiet:
            click.echo(
                f"{self.to}: seq={self.sent} " + (f"time={seconds * 1000:.3f} ms" if seconds is not None else "lost")
            )

    def summary(self) -> Dict[str, Any]:
        """The figures; those of the times are None when nothing came back."""
        times = self.times
        mean = sum(times) / len(times) if times else None
        deviation = math.sqrt(sum((t - mean) ** 2 for t in times) / len(times)) if mean is not None else None
        figures = {"min": min(times, default=None), "avg": mean, "max": max(times, default=None), "mdev": deviation}
        lost = 1 - len(times) / self.sent
        return {"to": self.to, "sent": self.sent, "received": len(times), "loss": lost, **figures, "times": times}

    def text(self) -> str:
        """The figures as ping(8) closes."""
        all_ = self.summary()
        text = f"{self.sent} sent, {all_['received']} received, {all_['loss']:.0%} lost"
        if self.times:
            text += "\nround trip min/avg/max/mdev = {min:.3f}/{avg:.3f}/{max:.3f}/{mdev:.3f} ms".format(**all_)
        return text


async def measure(
    signals: Signals,
    pings: Pings,
    url: str,
    worker: Optional[str],
    count: Optional[int],
    interval: float,
    name: Optional[str],
    **who: Any,
) -> None:
    """Ping until ``count`` or a signal. Raises: LinkError, UnknownPeer, Refused."""
    name = name or f"ping-{os.urandom(3).hex()}"
    async with connect(url, name=name, **security.dialling(url, **who)) as driver:
        pings.to, once = whom(driver, worker)
        await signals.unless(lambda: repeat(driver, pings, once, count, interval))


async def repeat(driver: Driver, pings: Pings, once: Once, count: Optional[int], interval: float) -> None:
    """One ping each ``interval``. Raises: why the other end does not have this driver any more."""
    begun = anyio.current_time()
    while count is None or pings.sent < count:
        await anyio.sleep_until(begun + pings.sent * interval)
        took: Optional[float] = None
        try:
            with anyio.move_on_after(max(LOST, interval)):
                took = await once()
        except (LinkError, UnknownPeer):
            if driver.refused is not None:
                raise driver.refused from None
            await anyio.sleep(PAUSE)
        pings.one(took)


def whom(driver: Driver, worker: Optional[str]) -> Tuple[str, Once]:
    """Who is pinged, and how: a worker, or the other end of the link. Raises: UnknownPeer."""
    if worker is not None:
        driver.worker(worker)
        return worker, lambda: driver.worker(worker).ping()
    (road,) = driver.peer.roads

    async def once() -> float:
        begun = anyio.current_time()
        if not driver.peer.roads:
            raise LinkClosed("the link is lost")
        await driver.peer.ping(driver.peer.roads[0], 0)
        return anyio.current_time() - begun

    return road.where, once
