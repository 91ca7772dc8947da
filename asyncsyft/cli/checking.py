"""``--check-config``: looks at all that a relay or a worker is told, says what it would serve, and opens no port.

Each check adds to a report; what is wrong does not keep the others from being looked at. Secrets are not shown.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import stat
import time
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any, Iterator, List, Optional, Sequence

import click

from ..certificates import validity
from ..errors import AsyncSyftError
from ..identity import Admission, Key, KnownPeers, fingerprint, read_token
from ..limits import DoorLimits, WorkerLimits, bounds, contradictions, files_for
from ..memory import available
from ..peer import split_address
from .running import EXPECTED, open_files, sentence

#: How long before a certificate ends it is worth a warning.
SOON = timedelta(days=14)


class Report:
    """What was found: facts, warnings, and what is wrong."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.facts: List[str] = []
        self.warnings: List[str] = []
        self.wrong: List[str] = []

    @contextmanager
    def looking(self) -> Iterator[None]:
        """What is raised within is wrong."""
        try:
            yield
        except click.ClickException as error:
            self.wrong.append(error.format_message())
        except EXPECTED as error:
            self.wrong.append(sentence(error))

    def tell(self) -> int:
        """Print it; the exit code."""
        for fact in self.facts:
            click.echo(f"  {fact}")
        for warning in self.warnings:
            click.echo(f"Warning: {warning}", err=True)
        for problem in self.wrong:
            click.echo(f"Error: {problem}", err=True)
        click.echo(f"{self.what}: {'not good' if self.wrong else 'good'}")
        return 1 if self.wrong else 0


class Checked(click.Command):
    """A command whose mistakes of spelling are, with --check-config, found by a check like others: exit code 1."""

    def make_context(self, info_name: Optional[str], args: List[str], *rest: Any, **extra: Any) -> click.Context:
        with _one_if("--check-config" in args):
            return super().make_context(info_name, args, *rest, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _one_if(bool(ctx.params.get("check_config"))):
            return super().invoke(ctx)


@contextmanager
def _one_if(is_check: bool) -> Iterator[None]:
    try:
        yield
    except click.UsageError as error:
        if is_check:
            error.exit_code = 1  # type: ignore[misc] # of this one alone
        raise


def checkable(command: Any) -> Any:
    """--check-config."""
    text = "Look at all of this, say what would be served, open no port; exit with 1 if something is wrong."
    return click.option("--check-config", is_flag=True, help=text)(command)


def check_address(report: Report, address: str, option: str = "--listen") -> bool:
    """Where it listens: the name must have an address; whether that is on this machine alone."""
    host, port = split_address(address)
    with report.looking():
        try:
            found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except socket.gaierror as error:
            raise ValueError(f"{option} {address}: {error.strerror}") from None
        return all(ipaddress.ip_address(str(one[4][0]).partition("%")[0]).is_loopback for one in found)
    return False


def check_certificate(report: Report, path: Optional[str]) -> None:
    """A certificate that is shown: for whom, and until when."""
    if path is None:
        return
    with report.looking():
        names, begins, ends = validity(path)
        now = datetime.now(timezone.utc)
        report.facts.append(f"certificate {path}: for {', '.join(names) or 'no name'}, until {ends:%Y-%m-%d}")
        if now >= ends:
            raise ValueError(f"{path} ended on {ends:%Y-%m-%d}")
        if now < begins:
            raise ValueError(f"{path} begins on {begins:%Y-%m-%d}")
        if ends - now < SOON:
            report.warnings.append(f"{path} ends on {ends:%Y-%m-%d}")


def check_secret(report: Report, path: Optional[str]) -> None:
    """A file that others must not read."""
    if path is not None and os.path.exists(path) and os.stat(path).st_mode & (stat.S_IRGRP | stat.S_IROTH):
        report.warnings.append(f"others may read {path}: chmod 600 {path}")


def check_key(report: Report, key: Optional[Key], where: str) -> None:
    """Who this is."""
    known = "a new key at each start" if key is None else f"the key {fingerprint(key.public)} ({where})"
    report.facts.append(f"known by {known}")


def check_door(report: Report, rules: Optional[Admission], is_loopback: bool, is_tls: bool) -> None:
    """Who may come in."""
    if rules is None:
        return
    shown = []
    if rules.authorities:
        shown.append(f"a token of {_count(rules.authorities, 'authority', 'authorities')}")
    if rules.known is not None:
        shown.append(f"a key of {_count(rules.known.names, 'known peer', 'known peers')}")
    if rules.insecure:
        shown.append("nothing at all")
    report.facts.append(f"lets in who shows {' or '.join(shown)}" if shown else "lets in peers of this machine alone")
    if not shown and not is_loopback:
        report.warnings.append("it listens for other machines, and none may come in: --authority, --known-peers")
    if rules.insecure and not is_loopback:
        report.warnings.append("--insecure: whoever reaches it may come in")
    if not is_tls and not is_loopback:
        report.warnings.append("without --tls-cert what is said can be read on the way, unless a proxy serves wss://")


def _count(found: Sequence[Any], one: str, many: str) -> str:
    return f"{len(found)} {one if len(found) == 1 else many}"


def check_limits(report: Report, limits: Any) -> None:
    """Limits must not contradict each other."""
    changed = [one for one in bounds(limits) if getattr(limits, one.name) != one.default]
    shown = ", ".join(f"{one.name} {getattr(limits, one.name)}" for one in changed)
    report.facts.append(f"limits: {shown or 'the usual ones'}")
    report.wrong += contradictions(limits)


def check_files(report: Report, limits: DoorLimits) -> None:
    """So many peers need so many sockets."""
    wanted = files_for(limits)
    may = open_files(wanted)
    if may < wanted:
        told = f"max_peers {limits.max_peers} needs {wanted} open files, and this user may have {may} (ulimit -n)"
        report.warnings.append(told)


def check_token(report: Report, text: Optional[str], name: str, role: str, key: Optional[Key]) -> None:
    """A token that is shown: it must be for this peer, and good still. Its signature is for the relay to check."""
    if text is None:
        return
    with report.looking():
        try:
            token = read_token(text)
        except AsyncSyftError as error:
            raise ValueError(f"the token: {error}") from None
        report.facts.append(f"shows the token {token.id}, good until {token.until}")
        if token.expires <= time.time():
            raise ValueError(f"the token {token.id} has run out, on {token.until}")
        if not token.allows(name, role, None if key is None else key.public):
            raise ValueError(f"the token {token.id} is not for {name} as a {role}, with this key")


def check_pinned(report: Report, path: Optional[str]) -> None:
    """With whom it speaks, sealed."""
    if path is not None:
        with report.looking():
            report.facts.append(f"speaks, sealed, with {_count(KnownPeers(path).names, 'known peer', 'known peers')}")


def check_writable(report: Report, option: str, path: Optional[str]) -> None:
    """A file that will be written must have a folder in which it can be."""
    if path is None:
        return
    folder = os.path.dirname(os.path.abspath(path))
    there = os.path.exists(path)
    if not os.path.isdir(folder):
        report.wrong.append(f"{option}: there is no folder {folder}")
    elif not os.access(path if there else folder, os.W_OK):
        report.wrong.append(f"{option}: {path} cannot be written")


def check_figures(report: Report, where: str, token: Optional[str], is_loopback: bool) -> None:
    """Who may read /metrics and /status."""
    readers = "who shows the metrics token" if token else "this machine" if is_loopback else "nobody, without a token"
    report.facts.append(f"figures{where}: for {readers}")


def check_loaded(report: Report, nbytes: int, limits: WorkerLimits) -> None:
    """What is loaded must have room."""
    if nbytes > limits.limit:
        report.wrong.append(f"what is loaded has {nbytes} bytes, and limit is {limits.limit}")
    free = available()
    if free is not None and limits.memory_reserve and nbytes + limits.memory_reserve > free:
        report.warnings.append(f"after loading, less than memory_reserve would be left of the {free} bytes free now")
