"""TLS contexts: what they verify, over real sockets, and that they follow their files."""

from __future__ import annotations

import logging
import ssl
import subprocess
import sys
import warnings
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, AsyncIterator, List, Mapping, Optional

import anyio
import pytest

from asyncsyft.certificates import Reloading, client_context, server_context
from asyncsyft.errors import LinkClosed
from asyncsyft.transport import Transport
from asyncsyft.websocket import dial, listen

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # newer versions of cryptography warn of Python 3.8
    import trustme

pytestmark = pytest.mark.anyio

SECONDS = 30
AUTHORITY, OTHER = trustme.CA(), trustme.CA()


class Files:
    """Certificates in files, as an operator has them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = self.write("ca.pem", AUTHORITY.cert_pem)
        self.other = self.write("other.pem", OTHER.cert_pem)

    def write(self, name: str, *blobs: Any) -> Path:
        path = self.folder / name
        path.write_bytes(b"".join(blob.bytes() for blob in blobs))
        return path

    def issue(self, name: str, *hosts: str, by: trustme.CA = AUTHORITY) -> Path:
        """A certificate and its key in one file; a second time replaces it."""
        made = by.issue_cert(*hosts)
        return self.write(name, *made.cert_chain_pems, made.private_key_pem)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


class Once:
    """An end that says one message and closes on the first that it hears."""

    def __init__(self, transport: Transport, says: Optional[bytes] = None) -> None:
        self.transport = transport
        self.says = [says] if says is not None else []
        self.heard: List[bytes] = []

    def pull(self) -> Optional[List[bytes]]:
        return [self.says.pop()] if self.says else None

    def receive(self, message: memoryview) -> None:
        self.heard.append(bytes(message))
        self.transport.close()


@asynccontextmanager
async def serving(context: ssl.SSLContext) -> AsyncIterator[str]:
    async def accept(transport: Transport, headers: Mapping[str, str]) -> None:
        await transport.run(Once(transport, b"welcome"))

    with anyio.fail_after(SECONDS):
        async with listen("127.0.0.1", 0, accept, ssl=context) as listener:
            yield f"wss://127.0.0.1:{listener.port}/"


async def visit(url: str, context: ssl.SSLContext) -> None:
    """Dial, hear one message and close. Raises: LinkClosed."""
    transport = await dial(url, ssl=context)
    end = Once(transport)
    await transport.run(end)
    assert end.heard == [b"welcome"]


async def test_a_server_is_verified(files: Files) -> None:
    async with serving(server_context(files.issue("server.pem", "127.0.0.1"))) as url:
        await visit(url, client_context(files.ca))
        for trusting in (client_context(files.other), client_context()):
            with pytest.raises(LinkClosed, match="no TLS with .*issuer"):
                await visit(url, trusting)
    async with serving(server_context(files.issue("server.pem", "elsewhere.example"))) as url:
        with pytest.raises(LinkClosed, match="no TLS with .*mismatch"):
            await visit(url, client_context(files.ca))


async def test_mutual_tls(files: Files) -> None:
    server = server_context(files.issue("server.pem", "127.0.0.1"), client_ca=files.ca)
    async with serving(server) as url:
        await visit(url, client_context(files.ca, files.issue("client.pem", "alice.example")))
        with pytest.raises(LinkClosed):
            await visit(url, client_context(files.ca))
        with pytest.raises(LinkClosed):
            await visit(url, client_context(files.ca, files.issue("client.pem", "alice.example", by=OTHER)))


async def test_old_versions_of_tls_are_not_spoken(files: Files) -> None:
    server = server_context(files.issue("server.pem", "127.0.0.1"))
    old = client_context(files.ca)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    async with serving(server) as url:
        with pytest.raises(LinkClosed):
            await visit(url, old)
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        await visit(url, old)


async def test_a_renewed_certificate_is_served_without_a_restart(files: Files) -> None:
    server = server_context(files.issue("server.pem", "127.0.0.1"))
    async with serving(server) as url:
        with pytest.raises(LinkClosed):
            await visit(url, client_context(files.other))
        files.issue("server.pem", "127.0.0.1", by=OTHER)
        await visit(url, client_context(files.other))
        with pytest.raises(LinkClosed):
            await visit(url, client_context(files.ca))


async def test_a_client_follows_its_files_too(files: Files) -> None:
    server = server_context(files.issue("server.pem", "127.0.0.1"), client_ca=files.ca)
    client = client_context(files.other, files.issue("client.pem", "alice.example", by=OTHER))
    async with serving(server) as url:
        with pytest.raises(LinkClosed):
            await visit(url, client)
        files.issue("client.pem", "alice.example")
        files.write("other.pem", AUTHORITY.cert_pem)
        await visit(url, client)


async def test_a_broken_renewal_leaves_the_old_ones_in_use(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    path = files.issue("server.pem", "127.0.0.1")
    old = path.read_bytes()
    async with serving(server_context(path)) as url:
        key_of_another = AUTHORITY.issue_cert("127.0.0.1")
        for broken in (b"", b"half", old[: len(old) // 2], old[: old.index(b"-----END")], None):
            caplog.clear()
            path.write_bytes(broken) if broken is not None else path.unlink()
            for _ in range(2):
                await visit(url, client_context(files.ca))
            (record,) = (one for one in caplog.records if one.name == "asyncsyft.certificates")
            assert record.levelno == logging.ERROR
            assert "stay in use" in record.getMessage()
            assert str(path) in record.getMessage()
        made = OTHER.issue_cert("127.0.0.1")
        files.write("server.pem", *made.cert_chain_pems, key_of_another.private_key_pem)  # halves of two renewals
        await visit(url, client_context(files.ca))
        files.write("server.pem", *made.cert_chain_pems, made.private_key_pem)
        await visit(url, client_context(files.other))


def test_refresh_says_whether_it_did(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    context = server_context(files.issue("server.pem", "a"), client_ca=files.ca)
    assert not context.refresh()
    files.issue("server.pem", "a")
    with caplog.at_level(logging.INFO):
        assert context.refresh()
        assert not context.refresh()
    assert "loaded anew" in caplog.text
    assert "gone" not in caplog.text


def test_a_ca_that_is_gone_is_told(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    context = server_context(files.issue("server.pem", "a"), client_ca=files.ca)
    files.write("ca.pem", AUTHORITY.cert_pem, OTHER.cert_pem)
    assert context.refresh()
    assert "gone" not in caplog.text
    files.write("ca.pem", OTHER.cert_pem)
    assert context.refresh()
    assert "a CA is gone" in caplog.text


def test_verification_is_on() -> None:
    context = client_context()
    assert isinstance(context, Reloading)
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.get_ca_certs() == ssl.create_default_context().get_ca_certs()
    assert not context.refresh()


def test_no_less_strict_than_python_s_own(files: Files) -> None:
    usual = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    for context in (server_context(files.issue("server.pem", "a")), client_context(files.ca)):
        assert context.options & usual.options == usual.options
        assert context.verify_flags & usual.verify_flags == usual.verify_flags


def test_mistakes_name_the_file(files: Files) -> None:
    good, none = files.issue("server.pem", "a"), files.folder / "none.pem"
    empty = files.write("empty.pem")
    for wrong in (lambda: server_context(none), lambda: server_context(good, none), lambda: client_context(none)):
        with pytest.raises(FileNotFoundError) as caught:
            wrong()
        assert caught.value.filename == str(none) or caught.value.filename == none
    with pytest.raises(ValueError, match=r"empty.pem and its key are no certificate"):
        server_context(empty)
    with pytest.raises(ValueError, match=r"server.pem and its key are no certificate: .*mismatch"):
        server_context(good, files.issue("second.pem", "b"))
    with pytest.raises(ValueError, match=r"empty.pem holds no certificates"):
        client_context(empty)
    with pytest.raises(ValueError, match="a private key without its certificate"):
        client_context(files.ca, key=good)


def test_nobody_is_asked_for_a_password(files: Files) -> None:
    """OpenSSL would ask at the terminal, and a server would stand still."""
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        load_pem_private_key,
    )

    made = AUTHORITY.issue_cert("a")
    plain: Any = load_pem_private_key(made.private_key_pem.bytes(), None)
    secret = plain.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    (files.folder / "secret.key").write_bytes(secret)
    cert = files.write("cert.pem", *made.cert_chain_pems)
    code = (
        "import sys; from asyncsyft.certificates import server_context\n"
        "try: server_context(*sys.argv[1:])\nexcept ValueError as error: print(error)"
    )
    words = [sys.executable, "-c", code, str(cert), str(files.folder / "secret.key")]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=SECONDS, check=True)
    assert (
        done.stdout.decode()
        == f"{files.folder / 'secret.key'} is encrypted; only keys without a password can be read\n"
    )
