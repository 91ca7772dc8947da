"""Fixtures that start commands, and end them with the test."""

from __future__ import annotations

import socket
from typing import Any, Iterator, List, Tuple

import pytest

from tests.cli.kit import Command, url_in


@pytest.fixture
def start() -> Iterator[Any]:
    """Starts commands that end with the test."""
    commands: List[Command] = []

    def start(*words: str, **options: Any) -> Command:
        commands.append(Command(*words, **options))
        return commands[-1]

    yield start
    for command in commands:
        command.stop()


@pytest.fixture
def run(start: Any) -> Any:
    """Runs a command to its end: exit code, output, errors."""
    return lambda *words, **options: start(*words, **options).end()


@pytest.fixture
def relay(start: Any) -> Tuple[Command, str]:
    """A relay, and its URL."""
    command = start("relay", "--listen", "127.0.0.1:0")
    return command, url_in(command.line())


@pytest.fixture(scope="module")
def nobody() -> str:
    """A URL where nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"ws://127.0.0.1:{sock.getsockname()[1]}"
