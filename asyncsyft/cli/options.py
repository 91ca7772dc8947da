"""Options that several commands share, and the TOML file behind all of them. It knows no command."""

from __future__ import annotations

import difflib
import ipaddress
import logging
import re
import sys
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional, Sequence, TypeVar

import click

from ..limits import BYTES, COUNT, SECONDS, bounds

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

    def __init__(self, least: int = 0) -> None:
        self._least = least

    def convert(self, value: Any, param: Optional[click.Parameter], ctx: Optional[click.Context]) -> int:
        """Raises: click.BadParameter."""
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?\s*", str(value), re.IGNORECASE)
        unit = _UNITS.get(found.group(2).lower()) if found else None
        if found is None or unit is None:
            self.fail(f"{value!r} is no number of bytes, such as 500MB or 8GiB", param, ctx)
        size = int(float(found.group(1)) * unit)
        if size < self._least:
            self.fail(f"{value!r} is too little", param, ctx)
        return size


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
            names = group.list_commands(root)
            told = _near(name, names) or f": its sections are {', '.join(names)}"
            raise click.BadParameter(f"{path}: unknown key {name!r}{told}")
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
            near = _near(key.replace("_", "-"), [str(name).replace("_", "-") for name in known])
            raise click.BadParameter(f"{where} has no key {key!r}{near}")
        many = getattr(param, "multiple", False)
        if many and isinstance(value, str):
            value = [value]
        plain = isinstance(value, list) if many else isinstance(value, (str, int, float))
        if not plain or isinstance(value, bool) != bool(getattr(param, "is_flag", False)):
            raise click.BadParameter(f"{where} key {key!r} cannot be {value!r}")
        defaults[param.name] = value
    return defaults


def _near(word: str, known: Sequence[str]) -> str:
    """What may have been meant."""
    near = difflib.get_close_matches(word, known, 1)
    return f": is it {near[0]!r}?" if near else ""


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


# Limits.


def _size(nbytes: int) -> str:
    """A number of bytes as it may be typed."""
    for unit in ("Ti", "Gi", "Mi", "Ki"):
        if nbytes and not nbytes % _UNITS[unit.lower()]:
            return f"{nbytes // _UNITS[unit.lower()]}{unit}B"
    return str(nbytes)


def limits(kind: Any) -> Callable[[F], F]:
    """An option for each bound of a class of ``limits``."""

    def decorate(command: F) -> F:
        for one in reversed(bounds(kind)):
            about, least = one.metadata, one.metadata["least"]
            types = {BYTES: Size(least), SECONDS: click.FloatRange(least), COUNT: click.IntRange(least)}
            shown: Any = _size(one.default) if about["unit"] == BYTES else True
            option = click.option(
                f"--{one.name.replace('_', '-')}",
                type=types[about["unit"]],
                default=one.default,
                show_default=shown,
                metavar={BYTES: "SIZE", SECONDS: "SECONDS", COUNT: "N"}[about["unit"]],
                help=about["text"],
            )
            command = option(command)
        return command

    return decorate


def taken(kind: Any, given: Dict[str, Any]) -> Dict[str, Any]:
    """Those of the options that are bounds of a class, taken out of what was given."""
    return {one.name: given.pop(one.name) for one in bounds(kind)}


class Network(click.ParamType):  # type: ignore[type-arg]
    """An IP address, or a network."""

    name = "address"

    def convert(self, value: Any, param: Optional[click.Parameter], ctx: Optional[click.Context]) -> str:
        """Raises: click.BadParameter."""
        try:
            return str(ipaddress.ip_network(str(value)))
        except ValueError:
            self.fail(f"{value!r} is no address, such as 127.0.0.1, and no network, such as 10.0.0.0/8", param, ctx)


class Origin(click.ParamType):  # type: ignore[type-arg]
    """Where web pages come from: https://lab.example, or * for anywhere."""

    name = "origin"

    def convert(self, value: Any, param: Optional[click.Parameter], ctx: Optional[click.Context]) -> str:
        """Raises: click.BadParameter."""
        if not re.fullmatch(r"\*|null|[a-z][a-z0-9+.-]*://[^/?#@\s]+", str(value), re.IGNORECASE):
            self.fail(f"{value!r} is no origin, such as https://lab.example", param, ctx)
        return str(value)


def visited(command: F) -> F:
    """--origin and --trusted-proxy, of a command that listens."""
    for option in (
        click.option(
            "--trusted-proxy",
            type=Network(),
            multiple=True,
            help="A proxy (address or network) that says in X-Forwarded-For for whom it speaks; repeatable.",
        ),
        click.option(
            "--origin",
            type=Origin(),
            multiple=True,
            help="Web pages that may connect, such as https://lab.example; repeatable. Without it, none.",
        ),
    ):
        command = option(command)
    return command


def figures(command: F) -> F:
    """--metrics-token, of a command that tells of itself over HTTP."""
    return click.option(
        "--metrics-token",
        metavar="TEXT",
        envvar=[f"ASYNCSYFT_{command.__name__.upper()}_METRICS_TOKEN", "ASYNCSYFT_METRICS_TOKEN"],
        help="What who reads /metrics and /status must show. Better in the variable ASYNCSYFT_METRICS_TOKEN.",
    )(command)


def draining(default: float) -> Callable[[F], F]:
    """--drain, of a command that serves others."""
    text = "How long SIGTERM lets what is under way take, at most. Ctrl-C, or a second signal, does not wait."
    return click.option(
        "--drain", type=click.FloatRange(0), default=default, show_default=True, metavar="SECONDS", help=text
    )


def called(command: F) -> F:
    """--name, of a driver that need not be known by one."""
    text = "What it is called there, where a key or a token is for a name; a random one otherwise."
    return click.option("--name", help=text)(command)
