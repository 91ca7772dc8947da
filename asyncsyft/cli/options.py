"""Options that several commands share, and the TOML file behind all of them. It knows no command."""

from __future__ import annotations

import logging
import re
import ssl
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
    group = ctx.find_root().command
    commands = group.commands if isinstance(group, click.Group) else {}
    for name, section in sections.items():
        command = commands.get(name)
        if command is None or not isinstance(section, dict):
            raise click.BadParameter(f"{path}: unknown key {name!r}: its sections are {', '.join(sorted(commands))}")
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
    if verbose:
        level = logging.INFO if verbose == 1 else logging.DEBUG
        form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
        logging.basicConfig(level=level, format=form, stream=sys.stderr)


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


# Security.


def token(of: str, text: str) -> Callable[[F], F]:
    """--token of one command."""
    names = [f"ASYNCSYFT_{of.upper()}_TOKEN", "ASYNCSYFT_TOKEN"]
    return click.option("--token", metavar="TEXT", envvar=names, help=f"{text} Better in the variable ASYNCSYFT_TOKEN.")


def certificates(command: F) -> F:
    """--tls-cert and --tls-key."""
    kind = click.Path(exists=True, dir_okay=False)
    command = click.option("--tls-key", type=kind, help="The certificate's private key, if it is not in its file.")(
        command
    )
    return click.option("--tls-cert", type=kind, help="Certificate chain (PEM): serve wss:// with it.")(command)


def trusted(command: F) -> F:
    """--ca."""
    kind = click.Path(exists=True, dir_okay=False)
    return click.option("--ca", type=kind, help="CA certificates (PEM) to trust for wss://, in place of the system's.")(
        command
    )


def dialling(url: str, ca: Optional[str]) -> Optional[ssl.SSLContext]:
    """The TLS context with which to dial; None for the default. Raises: OSError, click.UsageError."""
    if ca is None:
        return None
    if not url.startswith("wss://"):
        raise click.UsageError(f"--ca is for wss:// URLs, and {url} is none")
    try:
        return ssl.create_default_context(cafile=ca)
    except ssl.SSLError as error:
        raise click.UsageError(f"{ca} holds no certificates: {error.reason}") from None


def listening(cert: Optional[str], key: Optional[str]) -> Optional[ssl.SSLContext]:
    """The TLS context with which to listen, if any. Raises: click.UsageError."""
    if cert is None:
        if key is not None:
            raise click.UsageError("--tls-key needs --tls-cert")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cert, key)
    except ssl.SSLError as error:
        raise click.UsageError(f"{cert} and its key are no certificate: {error.reason}") from None
    return context
