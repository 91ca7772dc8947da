"""TLS: contexts for both ends of a link, which verify by default and follow their files as these are renewed."""

from __future__ import annotations

import logging
import os
import ssl
from datetime import datetime, timezone
from typing import Any, List, NoReturn, Optional, Tuple, Union

from cryptography import x509

logger = logging.getLogger(__name__)

Path = Union[str, "os.PathLike[str]"]
#: Time of change, size and number of each file: what tells whether they changed.
Stamp = Tuple[Tuple[int, int, int], ...]


def server_context(cert: Path, key: Optional[Path] = None, client_ca: Optional[Path] = None) -> Reloading:
    """For those who listen: a certificate chain and its private key (PEM; in one file if ``key`` is left out).

    With ``client_ca`` peers must show a certificate from it (mutual TLS). Raises: OSError, ValueError naming the file.
    """
    return Reloading(ssl.PROTOCOL_TLS_SERVER, cert, key, client_ca)


def client_context(ca: Optional[Path] = None, cert: Optional[Path] = None, key: Optional[Path] = None) -> Reloading:
    """For those who dial: trusts ``ca`` in place of the system's, and shows ``cert`` if there is one (mutual TLS).

    Raises: OSError, ValueError naming the file.
    """
    if key is not None and cert is None:
        raise ValueError(f"{os.fspath(key)} is a private key without its certificate")
    return Reloading(ssl.PROTOCOL_TLS_CLIENT, cert, key, ca)


def validity(cert: Path) -> Tuple[List[str], datetime, datetime]:
    """Of the first certificate in a file (PEM): its names, from when and until when it is good.

    Raises: OSError, ValueError naming the file.
    """
    with open(cert, "rb") as file:
        data = file.read()
    try:
        found = x509.load_pem_x509_certificate(data)
    except ValueError:
        raise ValueError(f"{os.fspath(cert)} holds no certificate") from None
    return _names(found), _time(found, "not_valid_before"), _time(found, "not_valid_after")


def _names(cert: x509.Certificate) -> List[str]:
    try:
        names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in names]


def _time(cert: x509.Certificate, name: str) -> datetime:
    """Newer versions of cryptography say it with its zone, and warn of the older names."""
    found: datetime = getattr(cert, f"{name}_utc") if hasattr(cert, f"{name}_utc") else getattr(cert, name)
    return found.replace(tzinfo=timezone.utc)


class Reloading(ssl.SSLContext):
    """A TLS context that looks at its files before each connection, and reads them again if they changed.

    Files that are missing or broken leave it as it was, with a line in the log: half of a renewal harms nobody. A CA
    that was taken out of its file stays trusted until a new context is made; the log says so.
    """

    def __new__(cls, protocol: int, *files: Optional[Path]) -> Reloading:
        return super().__new__(cls, protocol)

    def __init__(self, protocol: int, cert: Optional[Path], key: Optional[Path], ca: Optional[Path]) -> None:
        usual = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.options |= usual.options
        self.verify_flags |= usual.verify_flags
        self.minimum_version = ssl.TLSVersion.TLSv1_2
        self._cert, self._key, self._ca = cert, key, ca
        self._complaint: Optional[Tuple[Stamp, str]] = None
        self._stamp = self._look()
        self._load(self)
        if ca is not None:
            self.verify_mode = ssl.CERT_REQUIRED
        elif protocol == ssl.PROTOCOL_TLS_CLIENT:
            self.load_default_certs()

    def refresh(self) -> bool:
        """Read the files again if they changed; whether they did, and were good."""
        stamp: Stamp = ()
        try:
            stamp = self._look()
            if stamp == self._stamp:
                return False
            fresh = ssl.SSLContext(self.protocol)
            self._load(fresh)  # what is broken would leave this context broken
            self._load(self)
        except (OSError, ValueError) as error:
            if self._complaint != (stamp, str(error)):  # once, not for each connection
                logger.error("the certificates that were loaded before stay in use: %s", error)
            self._complaint = (stamp, str(error))
            return False
        self._stamp, self._complaint = stamp, None
        logger.info("certificates were loaded anew: %s", ", ".join(str(path) for path in self._files))
        if self._ca is not None and set(self.get_ca_certs(True)) - set(fresh.get_ca_certs(True)):
            logger.warning("a CA is gone from %s; it is trusted until the next start", self._ca)
        return True

    def wrap_bio(self, *args: Any, **named: Any) -> ssl.SSLObject:
        """As that of SSLContext; both event loops come by here for each connection."""
        self.refresh()
        return super().wrap_bio(*args, **named)

    def wrap_socket(self, *args: Any, **named: Any) -> ssl.SSLSocket:
        """As that of SSLContext."""
        self.refresh()
        return super().wrap_socket(*args, **named)

    @property
    def _files(self) -> Tuple[Path, ...]:
        return tuple(path for path in (self._cert, self._key, self._ca) if path is not None)

    def _look(self) -> Stamp:
        """Raises: OSError."""
        found = [os.stat(path) for path in self._files]
        return tuple((one.st_mtime_ns, one.st_size, one.st_ino) for one in found)

    def _no_password(self) -> NoReturn:
        """Without this, OpenSSL would ask at the terminal."""
        raise ValueError(f"{self._key or self._cert} is encrypted; only keys without a password can be read")

    def _load(self, into: ssl.SSLContext) -> None:
        """Raises: OSError, ValueError."""
        for path in self._files:
            open(path, "rb").close()  # the errors of ssl do not name the file
        try:
            if self._cert is not None:
                into.load_cert_chain(self._cert, self._key, self._no_password)
        except ssl.SSLError as error:
            raise ValueError(f"{self._cert} and its key are no certificate: {_reason(error)}") from None
        try:
            if self._ca is not None:
                into.load_verify_locations(self._ca)
        except ssl.SSLError as error:
            raise ValueError(f"{self._ca} holds no certificates: {_reason(error)}") from None


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).lower().replace("_", " ")
