"""``asyncsyft ca``: a CA of one's own, for tests and for machines that one runs oneself."""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

import click

from ..identity.files import write_private
from .keys import in_a_sentence


@click.group()
def ca() -> None:
    """Make certificates for wss:// where no public CA issues any: in tests, and on networks of one's own.

    \b
      asyncsyft ca new tls --host relay.example
    """


@ca.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--host",
    "hosts",
    multiple=True,
    default=["localhost", "127.0.0.1", "::1"],
    show_default=True,
    help="Name or address that the server's certificate is for; repeatable.",
)
@click.option(
    "--client",
    default="client.asyncsyft.invalid",
    show_default=True,
    help="Name that the client's certificate is for.",
)
def new(folder: Path, hosts: Sequence[str], client: str) -> None:
    """Make a CA, and a server's and a client's certificate by it, in the files of DIR; none may be there already.

    \b
      ca.pem                     what both ends trust
      server.pem and server.key  for a relay, or a worker that listens
      client.pem and client.key  for drivers and workers that dial, where certificates are asked of them

    The CA's own private key is not kept: another certificate takes another CA.
    """
    try:
        import trustme  # 40 ms that the other commands need not wait for
    except ModuleNotFoundError as error:
        raise click.ClickException(f"certificates need {error.name}: pip install 'asyncsyft[cli]'") from None
    authority = trustme.CA(organization_name="asyncsyft ca")
    with in_a_sentence():
        folder.mkdir(parents=True, exist_ok=True)
        made = {"server": authority.issue_cert(*hosts), "client": authority.issue_cert(client)}
        write_public(folder / "ca.pem", authority.cert_pem.bytes())
        for name, cert in made.items():
            write_private(folder / f"{name}.key", cert.private_key_pem.bytes())
            write_public(folder / f"{name}.pem", b"".join(blob.bytes() for blob in cert.cert_chain_pems))
    click.echo(f"asyncsyft relay --tls-cert {folder / 'server.pem'} --tls-key {folder / 'server.key'}")
    click.echo(f"asyncsyft ping wss://{hosts[0]}:8765 --ca {folder / 'ca.pem'}")


def write_public(path: Path, data: bytes) -> None:
    """Write a new file that all may read. Raises: FileExistsError."""
    with open(path, "xb") as file:
        file.write(data)
