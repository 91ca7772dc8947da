"""Options about who is who, and TLS: what those who dial show, and whom those who listen let in."""

from __future__ import annotations

import ipaddress
import ssl
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, TypeVar

import click

from ..certificates import client_context, server_context
from ..identity import Admission, Key, KnownPeers, Revoked, parse_authority
from ..identity.files import read_lines
from ..peer import split_address
from .keys import home

F = TypeVar("F", bound=Callable[..., Any])

_FILE = click.Path(exists=True, dir_okay=False)


class Authorities(click.ParamType):  # type: ignore[type-arg]
    """An authority's public key, or a file of some, each in a line as ``asyncsyft keys show`` prints it."""

    name = "key|file"

    def convert(self, value: Any, param: Optional[click.Parameter], ctx: Optional[click.Context]) -> List[bytes]:
        """Raises: click.BadParameter."""
        if isinstance(value, list):
            return value
        text = str(value)
        try:
            return [parse_authority(text)] if text.startswith("ed25519:") else _in_file(text)
        except OSError as error:
            self.fail(f"{text} is no key (ed25519:...), and no file: {error.strerror}", param, ctx)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _in_file(path: str) -> List[bytes]:
    """The keys in a file. Raises: OSError, ValueError."""
    keys = []
    for number, line in read_lines(path):
        if line.startswith("-----BEGIN"):
            raise ValueError(f"{path} is no public key; give what this prints: asyncsyft keys show {path}")
        if not line.startswith("SHA256:"):  # the fingerprint, which is printed below the key
            try:
                keys.append(parse_authority(line.split()[0]))
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from None
    if not keys:
        raise ValueError(f"{path} holds no public key")
    return keys


# Who dials.


def shown(of: str) -> Callable[[F], F]:
    """--key, --token and --ca, of a command that dials."""

    def names(what: str) -> List[str]:
        return [f"ASYNCSYFT_{of.upper()}_{what}", f"ASYNCSYFT_{what}"]

    def decorate(command: F) -> F:
        for option in (
            click.option("--ca", type=_FILE, help="CA certificates (PEM) to trust for wss://, not the system's."),
            click.option(
                "--token",
                metavar="TEXT",
                envvar=names("TOKEN"),
                help="Shown to whom it dials, if they know an authority. Better in the variable ASYNCSYFT_TOKEN.",
            ),
            click.option(
                "--key",
                type=_FILE,
                envvar=names("KEY"),
                help="The private key that says who this is; else ~/.config/asyncsyft/key, if it is there.",
            ),
        ):
            command = option(command)
        return command

    return decorate


def certificate(text: str) -> Callable[[F], F]:
    """--tls-cert and --tls-key."""

    def decorate(command: F) -> F:
        key = click.option("--tls-key", type=_FILE, help="The certificate's private key, if it is not in its file.")
        return click.option("--tls-cert", type=_FILE, help=text)(key(command))

    return decorate


def own_key(path: Optional[str]) -> Optional[Key]:
    """The private key in a file, else that of ``asyncsyft keys new``, if there is one. Raises: OSError, ValueError."""
    if path is not None:
        return Key.load(path)
    usual = home("key")
    return Key.load(usual) if usual.exists() else None


def dialling(
    url: str,
    *,
    key: Optional[str],
    token: Optional[str],
    ca: Optional[str],
    tls_cert: Optional[str],
    tls_key: Optional[str],
) -> Dict[str, Any]:
    """What those who dial are given: key, token and ssl. Raises: OSError, ValueError, click.UsageError."""
    files = {"--ca": ca, "--tls-cert": tls_cert, "--tls-key": tls_key}
    used = [option for option, file in files.items() if file]
    if used and not url.startswith("wss://"):
        raise click.UsageError(f"{used[0]} is for wss:// URLs, and {url} is none")
    context = _context(client_context, ca, tls_cert, tls_key) if used else None
    return {"key": own_key(key), "token": token or None, "ssl": context}


# Who listens.


def admitting(command: F) -> F:
    """--authority, --known-peers, --revoked and --insecure."""
    for option in (
        click.option("--insecure", is_flag=True, help="Let in whoever shows nothing, from other machines too."),
        click.option("--revoked", type=_FILE, help="File of tokens that are good no longer: asyncsyft token revoke."),
        click.option("--known-peers", type=_FILE, help="File with a name and its key a line: they need no token."),
        click.option(
            "--authority",
            type=Authorities(),
            multiple=True,
            help="Whose tokens are good: its public key (ed25519:...), or a file of keys; repeatable.",
        ),
        click.option("--tls-client-ca", type=_FILE, help="CA certificates (PEM): who dials must show one by them."),
    ):
        command = option(command)
    return command


def admission(
    *, authority: Sequence[Sequence[bytes]], known_peers: Optional[str], revoked: Optional[str], insecure: bool
) -> Admission:
    """Who may come in. Raises: OSError, ValueError, click.UsageError."""
    if revoked is not None and not authority:
        raise click.UsageError("--revoked is about tokens, which need an --authority")
    known = KnownPeers(known_peers) if known_peers is not None else None
    return Admission([key for keys in authority for key in keys], known, Revoked(revoked) if revoked else (), insecure)


def warn(address: str, rules: Admission) -> None:
    """Say so where a door is open to other machines, and all of them would be refused."""
    guarded = rules.authorities or rules.known is not None
    if not (guarded or rules.insecure or ipaddress.ip_address(split_address(address)[0].partition("%")[0]).is_loopback):
        told = "only peers of this machine may come in; for others give --authority, --known-peers or --insecure"
        click.echo(f"Warning: {told}", err=True)


def listening(
    *, tls_cert: Optional[str], tls_key: Optional[str], tls_client_ca: Optional[str]
) -> Optional[ssl.SSLContext]:
    """The TLS context with which to listen, if any. Raises: OSError, click.UsageError."""
    if tls_cert is not None:
        return _context(server_context, tls_cert, tls_key, tls_client_ca)
    for option, file in (("--tls-key", tls_key), ("--tls-client-ca", tls_client_ca)):
        if file is not None:
            raise click.UsageError(f"{option} needs --tls-cert")
    return None


def _context(make: Callable[..., ssl.SSLContext], *files: Optional[str]) -> ssl.SSLContext:
    try:
        return make(*files)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def only_for(mode: str, given: Mapping[str, Any], *names: str) -> None:
    """Raises: click.UsageError if an option is given that only another mode has."""
    for name in names:
        if given[name]:
            raise click.UsageError(f"--{name.replace('_', '-')} is for {mode}")
