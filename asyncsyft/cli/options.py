"""Options that several commands share, and the TOML file behind all of them. It knows no command."""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional, TypeVar

import click

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

F = TypeVar("F", bound=Callable[..., Any])

_UNITS = {
    "": 1,
    "k": 10**3,
    "m": 10**6,
    "g": 10**9,
    "t": 10**12,
    "ki": 1 << 10,
    "mi": 1 << 20,
    "gi": 1 << 30,
    "ti": 1 << 40,
}


class Size(click.ParamType):  # type: ignore[type-arg]
    """A number of bytes: 500MB, 8GiB, 1048576."""

    name = "size"

    def convert(self, value: Any, param: Optional[click.Parameter], ctx: Optional[click.Context]) -> int:
        """Raises: click.BadParameter."""
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?\s*", str(value), re.IGNORECASE)
        unit = _UNITS.get(found.group(2).lower()) if found else None
        if found is None or unit is None:
            self.fail(f"{value!r} is no number of bytes, such as 500MB or 8GiB", param, ctx)
        return int(float(found.group(1)) * unit)


class HostPort(click.ParamType):  # type: ignore[type-arg]
    """Where to listen: host:port, with port 0 for any free one."""

    name = "host:port"

    def convert(self, value: Any, param: Optional[click.Parameter], ctx: Optional[click.Context]) -> str:
        """Raises: click.BadParameter."""
        host, _, port = str(value).rpartition(":")
        if not host or not (port.isascii() and port.isdigit() and int(port) < 1 << 16):
            self.fail(f"{value!r} is not host:port, such as 127.0.0.1:8765", param, ctx)
        return str(value)


class WebSocketURL(click.ParamType):  # type: ignore[type-arg]
    """A ws:// or wss:// URL."""

    name = "url"

    def convert(self, value: Any, param: Optional[click.Parameter], ctx: Optional[click.Context]) -> str:
        """Raises: click.BadParameter."""
        if not str(value).startswith(("ws://", "wss://")):
            self.fail(f"{value!r} is no URL like ws://127.0.0.1:8765 or wss://relay.example", param, ctx)
        return str(value)


# The file.


def _configure(ctx: click.Context, param: click.Parameter, path: Optional[Path]) -> None:
    """Make a file's section for this command the defaults of its options."""
    if path is None:
        return
    try:
        sections = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{path} cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise click.BadParameter(f"{path} is no TOML: {error}") from None
    root = ctx.find_root()
    group = root.command
    assert isinstance(group, click.Group)
    for name, section in sections.items():
        command = group.get_command(root, name)
        if command is None or not isinstance(section, dict):
            names = ", ".join(group.list_commands(root))
            raise click.BadParameter(f"{path}: unknown key {name!r}: its sections are {names}")
        defaults = _defaults(f"{path}: [{name}]", command, section)
        if command is ctx.command:
            ctx.default_map = defaults


def _defaults(where: str, command: click.Command, section: Mapping[str, Any]) -> Dict[str, Any]:
    """A section as click wants it. Raises: click.BadParameter, naming the key."""
    known = {param.name: param for param in command.params if param.name not in ("config", "help")}
    defaults: Dict[str, Any] = {}
    for key, value in section.items():
        param = known.get(key.replace("-", "_"))
        if param is None or param.name is None:
            raise click.BadParameter(f"{where} has no key {key!r}")
        many = getattr(param, "multiple", False)
        if many and isinstance(value, str):
            value = [value]
        plain = isinstance(value, list) if many else isinstance(value, (str, int, float))
        if not plain or isinstance(value, bool) != bool(getattr(param, "is_flag", False)):
            raise click.BadParameter(f"{where} key {key!r} cannot be {value!r}")
        defaults[param.name] = value
    return defaults


def _log(ctx: click.Context, param: click.Parameter, verbose: int) -> None:
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s" if verbose else "%(message)s"
    logging.basicConfig(level=level, format=form, stream=sys.stderr)
    if not verbose:  # who is told that a link is lost is told that it is back
        logging.getLogger("asyncsyft.peer.redial").setLevel(logging.INFO)


def common(command: F) -> F:
    """--config, --verbose and --loop, which every command has."""
    for option in (
        click.option(
            "--loop",
            type=click.Choice(["asyncio", "trio"]),
            default="asyncio",
            show_default=True,
            help="The event loop.",
        ),
        click.option(
            "-v", "--verbose", count=True, callback=_log, expose_value=False, help="Say what happens; -vv in detail."
        ),
        click.option(
            "--config",
            type=click.Path(dir_okay=False, path_type=Path),
            envvar="ASYNCSYFT_CONFIG",
            is_eager=True,
            expose_value=False,
            callback=_configure,
            help="A TOML file with a section for each command.",
        ),
    ):
        command = option(command)
    return command


def called(command: F) -> F:
    """--name, of a driver that need not be known by one."""
    text = "What it is called there, where a key or a token is for a name; a random one otherwise."
    return click.option("--name", help=text)(command)
