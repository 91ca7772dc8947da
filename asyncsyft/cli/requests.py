"""``asyncsyft requests``: what drivers ask to have of private data, for the person who decides at the worker."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any, Dict, List, Optional

import click

from ..privacy import control
from .running import sentence

_PLAIN = re.compile(r"[\w.@+-]+")


def _worker(command: Any) -> Any:
    """--worker and --control, of each of the commands."""
    name = click.option("--worker", help="The worker; without it the only one of this user that has requests.")
    path = click.option("--control", type=click.Path(), metavar="FILE", help="Its socket, if it was told --control.")
    return name(path(command))


@click.group(short_help="Decide what drivers may have of private data that waits for approval.")
def requests() -> None:
    """Decide what drivers may have of private data whose policy is ask.

    \b
      asyncsyft worker --name alice --relay ws://127.0.0.1:8765 --load scans=scans.npy --release ask
      asyncsyft requests list
      asyncsyft requests show 1
      asyncsyft requests approve 1
      asyncsyft requests deny 2 --why "ask the ethics board first"

    They speak with the worker by a Unix socket that its own user alone can open. A driver's get waits meanwhile, and
    all that does not need its answer goes on.
    """


@requests.command("list", short_help="What waits.")
@_worker
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list, and nothing else.")
def list_(worker: Optional[str], control: Optional[str], as_json: bool) -> None:
    """List what waits: number, who, since when, what it depends on, what it is."""
    found = _say(worker, control, {"do": "list"})["requests"]
    if as_json:
        click.echo(json.dumps(found))
        return
    for one in found:
        click.echo(
            f"{one['id']:>4}  {_when(one)}  {_who(one)}  {one['what']}  {', '.join(one['labels'])}  {_form(one)}"
        )
    if not found:
        click.echo("nothing waits")


@requests.command(short_help="One of them, with what it would give away.")
@click.argument("number", type=int)
@_worker
def show(number: int, worker: Optional[str], control: Optional[str]) -> None:
    """Show one request: how it was computed, and what it holds. Mind who sees your screen."""
    one = _say(worker, control, {"do": "show", "id": number})
    rows = {label: count for label, count in one["rows"].items() if count}
    click.echo(f"request {one['id']}: {_who(one)} wants to {one['what']} {_form(one)}, since {_when(one)}")
    click.echo(f"made of: {', '.join(one['labels'])}")
    click.echo(f"by: {' → '.join(one['how']) or 'nothing, it is the data itself'}")
    sums = ", ".join(f"{count} rows of {label}" for label, count in rows.items())
    click.echo(f"sums up: {sums or 'nothing that the worker knows of'}")
    click.echo(one["preview"])


@requests.command(short_help="Let one go.")
@click.argument("numbers", type=int, nargs=-1, required=True)
@_worker
def approve(numbers: List[int], worker: Optional[str], control: Optional[str]) -> None:
    """Let the driver have what these requests ask for."""
    for number in numbers:
        done = _say(worker, control, {"do": "approve", "id": number})
        click.echo(f"request {number} at {done['worker']}: approved")


@requests.command(short_help="Refuse one.")
@click.argument("numbers", type=int, nargs=-1, required=True)
@click.option("--why", default="", help="A reason, for the driver to read.")
@_worker
def deny(numbers: List[int], why: str, worker: Optional[str], control: Optional[str]) -> None:
    """Refuse these requests."""
    for number in numbers:
        done = _say(worker, control, {"do": "deny", "id": number, "why": why})
        click.echo(f"request {number} at {done['worker']}: denied")


def _say(worker: Optional[str], path: Optional[str], said: Dict[str, Any]) -> Dict[str, Any]:
    """What the worker answers. Raises: click.ClickException."""
    try:
        return control.ask(path or control.path_of(worker or _only()), said)
    except (FileNotFoundError, ConnectionRefusedError):
        raise click.ClickException(f"no worker answers at {path or control.path_of(worker or _only())}") from None
    except (OSError, ValueError) as error:
        raise click.ClickException(sentence(error)) from None


def _only() -> str:
    """The only worker of this user. Raises: click.UsageError."""
    found = control.workers()
    if len(found) != 1:
        who = f"they are {', '.join(found)}: name one" if found else "none is there"
        raise click.UsageError(f"which worker? Of those that ask a person {who} (--worker or --control)")
    return found[0]


def _who(one: Dict[str, Any]) -> str:
    """Who asks: a name that could be taken for more is quoted, and of a key in the clear a relay could be lying."""
    name: str = one["who"] if _PLAIN.fullmatch(one["who"]) else repr(one["who"])
    said = "" if one["sealed"] else ", not sealed"
    return f"{name} ({one['key']}{said})" if one["key"] else name


def _when(one: Dict[str, Any]) -> str:
    return datetime.fromtimestamp(one["since"]).strftime("%Y-%m-%d %H:%M:%S")


def _form(one: Dict[str, Any]) -> str:
    return f"{one['dtype']}{one['shape']}"
