"""The tree of errors: names, codes, and what a person reads."""

from __future__ import annotations

import pytest

from asyncsyft import errors
from asyncsyft.errors import (
    AsyncSyftError,
    LimitExceeded,
    LinkClosed,
    LinkError,
    OpFailed,
    ProtocolError,
    RemoteError,
    RemoteProtocolError,
    SessionError,
    WorkerLost,
    by_code,
)

REMOTE = ("UnknownPeer", "UnknownObject", "UnknownOp", "OpFailed", "Refused", "LimitExceeded", "Cancelled")


def test_every_name_is_an_error_of_ours() -> None:
    for name in errors.__all__:
        assert issubclass(getattr(errors, name), AsyncSyftError), name
    assert not issubclass(RemoteError, (LinkError, ProtocolError, SessionError))
    assert issubclass(WorkerLost, LinkError)
    assert issubclass(RemoteProtocolError, ProtocolError)


@pytest.mark.parametrize("code", REMOTE)
def test_a_failure_travels_under_the_name_of_its_class(code: str) -> None:
    cls = by_code(code)
    assert cls.__name__ == code == cls("why").code
    assert issubclass(cls, RemoteError)


@pytest.mark.parametrize("code", ["", "FromTheFuture", "WorkerLost", "AsyncSyftError", "RemoteProtocolError", "object"])
def test_other_codes_are_a_plain_remote_error(code: str) -> None:
    assert by_code(code) is RemoteError


def test_what_a_person_reads() -> None:
    full = OpFailed("singular matrix", worker="alice", op="inv", kind="ValueError", origin="train.py:12, in step")
    assert str(full) == "inv at alice: ValueError: singular matrix [recorded at train.py:12, in step]"
    assert str(LimitExceeded("too much")) == "too much"
    assert str(OpFailed("no", op="add")) == "add: no"
    assert str(OpFailed("no", worker="bob")) == "at bob: no"


def test_each_error_has_companions_of_its_own() -> None:
    one, other = LinkClosed("a"), OpFailed("b")
    one.also.append(other)
    assert other.also == []
    assert LinkClosed("c").also == []
