"""``asyncsyft chaos``: a bad network between two ends, to see how a deployment lives with it."""

from __future__ import annotations

import math
from typing import Any, List, Optional, Sequence

import anyio
import click

from ..faults import KINDS, FaultProxy, Mischief
from . import options
from .running import Signals, interrupted, run

#: Seconds between two looks at which lines came and went.
LOOK = 0.1


@click.command(short_help="Put a bad network between two ends: cuts, delay, loss.")
@click.option("--to", "target", required=True, metavar="HOST:PORT", help="Where it leads: host:port, or a URL.")
@click.option(
    "--listen",
    type=options.HostPort(),
    default="127.0.0.1:0",
    show_default=True,
    help="Where to listen: host:port. Port 0 is any free one.",
)
@click.option(
    "--cut-every", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="Mischief, on average so often."
)
@click.option(
    "--kind",
    "kinds",
    type=click.Choice(list(KINDS)),
    multiple=True,
    help="Of mischief: RST, FIN, FIN in the middle of data, half open; repeatable. All, by default.",
)
@click.option(
    "--half-open",
    type=click.FloatRange(0, min_open=True),
    default=30.0,
    show_default=True,
    help="Seconds that a half-open line stays that way.",
)
@click.option("--delay", type=click.FloatRange(0), default=0.0, help="Seconds, each way.")
@click.option("--jitter", type=click.FloatRange(0), default=0.0, help="At most so many seconds more, at random.")
@click.option("--bandwidth", type=click.FloatRange(0, min_open=True), metavar="MBIT", help="Mbit/s, each way.")
@click.option("--corrupt", type=click.FloatRange(0, 1), default=0.0, help="The part of all bytes with a flipped bit.")
@click.option("--for", "seconds", type=click.FloatRange(0), help="Seconds until it ends by itself; else on Ctrl-C.")
@click.option("--seed", type=int, help="Do what a run with this seed did.")
@options.common
@click.pass_context
def chaos(ctx: click.Context, /, loop: str, **given: Any) -> None:
    """Stand between two ends as a bad network, and say what it does to them.

    \b
      asyncsyft chaos --listen 127.0.0.1:9000 --to 127.0.0.1:8765 --cut-every 5 --delay 0.02 --jitter 0.2
      asyncsyft worker --name alice --relay ws://127.0.0.1:9000

    It carries bytes, of wss:// too, and knows nothing of what they mean. A flipped bit is what TLS notices and plain
    TCP often does not.
    """
    interrupted(ctx, run(lambda signals: serve(signals, **given), loop))


async def serve(
    signals: Signals,
    target: str,
    listen: str,
    cut_every: Optional[float],
    kinds: Sequence[str],
    half_open: float,
    delay: float,
    jitter: float,
    bandwidth: Optional[float],
    corrupt: float,
    seconds: Optional[float],
    seed: Optional[int],
) -> None:
    """Stand between until a signal or the end of the time. Raises: OSError if the port is taken, ValueError."""
    bits = math.inf if bandwidth is None else bandwidth * 1e6
    proxy = FaultProxy(target, listen=listen, delay=delay, jitter=jitter, bandwidth=bits, corrupt=corrupt, seed=seed)
    async with proxy:
        click.echo(f"{proxy.address} leads to {target}, seed {proxy.seed}")
        mischief = Mischief(proxy.seed, kinds or list(KINDS), half_open)
        with anyio.move_on_after(math.inf if seconds is None else seconds):
            await signals.unless(lambda: disturb(proxy, mischief, cut_every))
        done = ", ".join(f"{count} {kind}" for kind, count in mischief.done.items() if count) or "no mischief"
        click.echo(f"{proxy.carried} bytes carried; {done}")


async def disturb(proxy: FaultProxy, mischief: Mischief, every: Optional[float]) -> None:
    """Say which lines come and go, and do something to one of them ``every`` so many seconds on average."""
    begun = anyio.current_time()
    here: List[int] = []
    next_ = begun + mischief.random.expovariate(1 / every) if every else math.inf

    def tell(text: str) -> None:
        click.echo(f"{anyio.current_time() - begun:8.1f}  {text}")

    while True:
        await anyio.sleep_until(min(anyio.current_time() + LOOK, next_))
        before, here = here, [line.number for line in proxy.lines]
        for number in here:
            if number not in before:
                tell(f"line {number}: opened")
        for number in before:
            if number not in here:
                tell(f"line {number}: ended")
        if every and anyio.current_time() >= next_:
            told = mischief.strike(proxy)
            if told:
                tell(told)
            next_ = anyio.current_time() + mischief.random.expovariate(1 / every)
