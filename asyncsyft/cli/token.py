"""``asyncsyft token``: tokens are issued, shown and revoked."""

from __future__ import annotations

import re
import sys
import time
from json import dumps
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import click

from ..errors import Refused
from ..identity import (
    Authority,
    Token,
    check_token,
    fingerprint,
    key_text,
    parse_authority,
    parse_key,
    read_token,
    revoke,
)
from .keys import home, in_a_sentence

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class Span(click.ParamType):  # type: ignore[type-arg]
    """A time: 90s, 15m, 12h, 30d, 8w; in seconds."""

    name = "time"

    def convert(self, value: Any, param: Optional[click.Parameter], ctx: Optional[click.Context]) -> int:
        """Raises: click.BadParameter."""
        found = re.fullmatch(r"([1-9][0-9]{0,9})([smhdw])", str(value))
        if found is None:
            self.fail(f"{value!r} is no time, such as 12h, 30d or 8w", param, ctx)
        return int(found.group(1)) * _SECONDS[found.group(2)]


class PublicKey(click.ParamType):  # type: ignore[type-arg]
    """A public key as `asyncsyft keys show` prints it; its 32 bytes."""

    name = "key"

    def __init__(self, authority: bool) -> None:
        self._parse = parse_authority if authority else parse_key

    def convert(self, value: Any, param: Optional[click.Parameter], ctx: Optional[click.Context]) -> bytes:
        """Raises: click.BadParameter."""
        if isinstance(value, bytes):
            return value
        try:
            return self._parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.group()
def token() -> None:
    """Issue, show and revoke tokens, with which peers come in to a relay.

    \b
      asyncsyft token new --name alice --role worker --ttl 30d
      asyncsyft token new --name 'lab-*' --role driver --reach 'alice,bob' --ttl 12h
      asyncsyft token revoke TOKEN --file revoked.txt

    Tokens are signed with an authority's private key: asyncsyft keys new --authority.
    """


@token.command()
@click.option("--name", "names", multiple=True, required=True, help="What its holder may be called; repeatable.")
@click.option(
    "--role",
    "roles",
    type=click.Choice(["driver", "worker"]),
    multiple=True,
    required=True,
    help="What its holder may be; repeatable.",
)
@click.option(
    "--reach",
    multiple=True,
    default=["*"],
    show_default=True,
    metavar="NAMES",
    help="Workers that its holder may reach, separated by commas; * stands for any characters.",
)
@click.option("--ttl", type=Span(), default="30d", show_default=True, help="How long it is good: 12h, 30d, 8w.")
@click.option("--for", "key", type=PublicKey(False), help="Good only with this public key (x25519:...).")
@click.option(
    "--authority",
    type=click.Path(path_type=Path),
    help="The private key that signs it; else ~/.config/asyncsyft/authority.",
)
def new(
    names: Sequence[str],
    roles: Sequence[str],
    reach: Sequence[str],
    ttl: int,
    key: Optional[bytes],
    authority: Optional[Path],
) -> None:
    """Issue a token and print it; to stderr goes what it says."""
    with in_a_sentence():
        signer = Authority.load(authority or home("authority"))
        reached = [name.strip() for item in reach for name in item.split(",")]
        text = signer.issue(names, roles, reached, expires=int(time.time()) + ttl, key=key)
    made = read_token(text)
    bound = "" if key is not None else "; whoever holds it may use it"
    click.echo(f"token {made.id} is good until {made.until}{bound}", err=True)
    click.echo(text)


@token.command()
@click.argument("text", metavar="TOKEN")
@click.option("--authority", type=PublicKey(True), help="Check that this one signed it (ed25519:...).")
@click.option("--json", is_flag=True, help="One JSON object.")
@click.pass_context
def show(ctx: click.Context, text: str, authority: Optional[bytes], json: bool) -> None:
    """Show what a token says; for - it is read from stdin. With --authority, exits with 1 unless it is good now."""
    text = given(text)
    with in_a_sentence():
        made = read_token(text)
    valid, state = judged(text, authority)
    if json:
        click.echo(dumps({**facts(made), "valid": valid, "state": state}))
    else:
        said = {**facts(made), "expires": made.until, "key": facts(made)["key"] or "any", "state": state}
        for what, value in said.items():
            click.echo(f"{what:<8} {', '.join(value) if isinstance(value, list) else value}")
    if valid is False:
        ctx.exit(1)


@token.command(name="revoke")
@click.argument("text", metavar="TOKEN|ID")
@click.option(
    "--file",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The file of revoked tokens, made if need be.",
)
def revoke_(text: str, path: Path) -> None:
    """Add a token, or the id of one, to a file of revoked tokens; for - a token is read from stdin.

    Who reads that file refuses the token from then on, without a restart. Its line may go when the token has expired.
    """
    text = given(text)
    with in_a_sentence():
        if "." not in text:
            revoke(path, text)
        else:
            made = read_token(text)
            text = made.id
            revoke(path, made.id, f"{', '.join(made.names)}, until {made.until}")
    click.echo(f"token {text} is revoked where {path} is read")


def given(text: str) -> str:
    """An argument, or what stands in its place on stdin: other users of a machine see the arguments of a command."""
    if text == "-":
        text = sys.stdin.readline()
    return text.strip()


def facts(made: Token) -> Dict[str, Any]:
    """What a token says, for JSON."""
    lists: Dict[str, List[str]] = {"names": list(made.names), "roles": list(made.roles), "reach": list(made.reach)}
    key = key_text(made.key) if made.key is not None else None
    return {"id": made.id, **lists, "expires": made.expires, "key": key}


def judged(text: str, authority: Optional[bytes]) -> Tuple[Optional[bool], str]:
    """Whether a token is good now, as far as it can be told, and why."""
    if authority is None:
        return None, "not checked: give --authority"
    try:
        check_token(text, [authority], time.time())
    except Refused as error:
        return False, str(error)
    return True, f"signed by {fingerprint(authority)}, and in force"
