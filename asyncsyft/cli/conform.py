"""``asyncsyft conform``: checks a worker against docs/protocol.md and tells which level it reaches."""

from __future__ import annotations

from json import dumps
from typing import Any, List

import click

from ..conform import FAILED, LEVELS, PATIENCE, SKIPPED, Check, Report
from ..conform import conform as check_all
from . import options, security
from .running import interrupted, run

_MARKS = {FAILED: "FAILED ", SKIPPED: "skipped"}


@click.command(short_help="Check a worker against the protocol, level by level.")
@click.argument("url", type=options.WebSocketURL(), envvar="ASYNCSYFT_CONFORM_URL")
@security.shown("conform")
@security.certificate("Certificate chain (PEM), shown to a wss:// worker that asks for one.")
@click.option(
    "--patience",
    type=click.FloatRange(0, min_open=True),
    default=PATIENCE,
    show_default=True,
    help="Seconds that the worker has for each thing that is expected of it.",
)
@click.option("--quiet", "-q", is_flag=True, help="Print what failed and the level, not each check.")
@click.option("--json", is_flag=True, help="One JSON object with all checks.")
@options.common
@click.pass_context
def conform(
    ctx: click.Context,
    /,
    loop: str,
    json: bool,
    quiet: bool,
    url: str,
    patience: float,
    **who: Any,
) -> None:
    """Play a driver to a worker that listens, in whatever language it is written, and print the level that it reaches.

    \b
      asyncsyft worker --name alice --listen 127.0.0.1:8766
      asyncsyft conform ws://127.0.0.1:8766

    The levels are those of docs/protocol.md: 0 greet, 1 put, get and delete, 2 ops, 3 plans. What is checked is bytes,
    by what a driver can see; the drivers are called conform-, with some letters more. Exits with 1 if a check failed.
    """
    reports: List[Report] = []

    def tell(check: Check) -> None:
        if not json and (not quiet or check.outcome == FAILED):
            click.echo(text(check))

    async def main(signals: Any) -> None:
        async def body() -> None:
            given = security.dialling(url, **who)
            reports.append(await check_all(url, on_check=tell, patience=patience, **given))

        await signals.unless(body)

    signum = run(main, loop)
    for report in reports:
        click.echo(dumps(report.to_dict()) if json else summary(report))
    interrupted(ctx, signum)
    if not reports or not reports[0].conforms:
        ctx.exit(1)


def text(check: Check) -> str:
    """One check, for people."""
    line = f"{_MARKS.get(check.outcome, 'passed ')} {check.level} {check.name}"
    if check.outcome == FAILED:
        line += f"\n          {check.expected}\n          {check.found}"
    return f"{line}: {check.found}" if check.outcome == SKIPPED else line


def summary(report: Report) -> str:
    """The last line, for people."""
    passed = len(report.checks) - len(report.failed)
    reached = "no level" if report.level is None else f"level {report.level} ({LEVELS[report.level]})"
    who = report.name or report.url
    return (
        f"{who} reaches {reached}; it says {report.claimed}. {passed} of {len(report.checks)} checks without a fault."
    )
