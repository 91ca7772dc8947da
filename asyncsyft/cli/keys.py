"""``asyncsyft keys``: the key of a peer, and that of an authority."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Optional, Union

import click

from ..identity import Authority, Key, authority_text, fingerprint, key_text
from .running import EXPECTED, sentence


@contextmanager
def in_a_sentence() -> Iterator[None]:
    """Errors that are mishaps become a sentence, as those of commands that run an event loop do."""
    try:
        yield
    except EXPECTED as error:
        raise click.ClickException(sentence(error)) from None


def home(name: str) -> Path:
    """Where a private key is unless one says otherwise: ~/.config/asyncsyft, or what the system has for it."""
    return Path(click.get_app_dir("asyncsyft")) / name


@click.group()
def keys() -> None:
    """Make and show the private keys by which peers and authorities are known.

    \b
      asyncsyft keys new                  a peer's own key, in ~/.config/asyncsyft/key
      asyncsyft keys new --authority      a key that signs tokens, in ~/.config/asyncsyft/authority
      asyncsyft keys show                 what to tell others
    """


@keys.command()
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.option("--authority", is_flag=True, help="A key that signs tokens (Ed25519), not one of a peer (X25519).")
def new(path: Optional[Path], authority: bool) -> None:
    """Make a private key in a new file that only you may read, and show its public half."""
    private: Union[Authority, Key] = Authority.new() if authority else Key.new()
    with in_a_sentence():
        if path is None:
            path = home("authority" if authority else "key")
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        private.save(path)
    click.echo(f"{path}: only you may read this; never give it away", err=True)
    tell(private)


@keys.command()
@click.argument("path", required=False, type=click.Path(path_type=Path))
def show(path: Optional[Path]) -> None:
    """Show the public half of a private key, and its fingerprint."""
    with in_a_sentence():
        private = read(path or home("key"))
    tell(private)


def read(path: Path) -> Union[Authority, Key]:
    """The private key in a file, of either kind. Raises: OSError, ValueError."""
    try:
        return Key.load(path)
    except ValueError:
        return Authority.load(path)


def tell(private: Union[Authority, Key]) -> None:
    """Print what others may know of a private key."""
    text = authority_text if isinstance(private, Authority) else key_text
    click.echo(text(private.public))
    click.echo(fingerprint(private.public))
