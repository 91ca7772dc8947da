"""Addresses as people write them."""

from __future__ import annotations

from typing import Tuple


def split_address(address: str) -> Tuple[str, int]:
    """A "host:port" as the two. Raises: ValueError."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit():
        raise ValueError(f"{address!r} is not host:port")
    return host.strip("[]"), int(port)


def join_address(host: str, port: int) -> str:
    """The opposite of ``split_address``, as it stands in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
