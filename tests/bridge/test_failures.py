"""Exceptions of a worker arrive as the same class, with the worker's traceback in their text."""

from __future__ import annotations

from typing import Any

import pytest
from syft.exceptions import GetNotPermittedError, ObjectNotFoundError
from websocket import WebSocketTimeoutException

from bridge.failures import described, rebuilt


def through(error: Exception) -> Any:
    try:
        raise error
    except Exception as raised:  # noqa: BLE001 - any class travels
        return rebuilt(described(raised, "bob"))


class OfTheTest(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


@pytest.mark.parametrize(
    "error",
    [ValueError("odd"), KeyError("no such key"), OSError(2, "no file"), RuntimeError("size mismatch"), OfTheTest(1, 2),
     GetNotPermittedError(), WebSocketTimeoutException("late"), UnicodeDecodeError("utf-8", b"x", 0, 1, "bad")],
)  # fmt: skip
def test_the_class_and_the_text_are_the_same_and_the_traceback_is_in_it(error: Exception) -> None:
    arrived = through(error)
    assert type(arrived) is type(error)
    text = str(arrived) if not isinstance(error, UnicodeDecodeError) else arrived.args[0]
    assert str(error).strip("'") in text
    assert "At the worker bob" in text
    assert "raise error" in text


def test_an_object_that_is_not_there_is_said_so() -> None:
    class Store:
        owner = "bob"

    arrived = through(ObjectNotFoundError(5, Store()))
    assert type(arrived) is ObjectNotFoundError


@pytest.mark.parametrize(
    "document",
    [
        None,
        5,
        {},
        {"module": "os", "name": "system"},
        {"module": "builtins", "name": "type"},
        {"module": "builtins", "name": "SystemExit", "text": "end"},
        {"module": "nowhere", "name": "Gone", "text": "odd"},
    ],
)
def test_what_is_no_known_exception_is_a_runtime_error_that_names_it(document: Any) -> None:
    arrived = rebuilt(document)
    assert type(arrived) is RuntimeError
    if type(document) is dict:
        assert document.get("name", "") in str(arrived)
