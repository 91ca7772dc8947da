"""Policies: what the owner of private data lets out, and to whom. They decide; they do not know how that is asked."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
from typing import Any, Callable, Dict, FrozenSet, NamedTuple, Optional, Protocol, Tuple, Union

from ..tensor import Array, DType
from .guard import SUMS, Guard, named

#: Characters of the reason for which a function of the owner's refuses.
MAX_REASON = 200


class Asked(NamedTuple):
    """What a policy is asked: may this value leave?

    ``who``: the name of the driver, ``key`` its public key (empty without one), ``what`` it wants: "get", "move".
    ``label``: the data whose policy is asked, ``labels`` all that the value depends on. ``how``: the last ops by which
    it came about. ``rows``: how many rows of that data were added up in it, 0 if it is not made of sums. ``value`` is
    the array itself, read-only. ``sealed``: the driver has that key for certain, and nobody on the way sees the answer;
    else it is as the relay says, if there is one.
    """

    who: str
    key: bytes
    what: str
    label: str
    labels: FrozenSet[str]
    how: Tuple[str, ...]
    rows: int
    value: Array
    sealed: bool = False

    @property
    def dtype(self) -> DType:
        """Of the value."""
        dtype: DType = self.value.dtype
        return dtype

    @property
    def shape(self) -> Tuple[int, ...]:
        """Of the value."""
        shape: Tuple[int, ...] = self.value.shape
        return shape


class Policy(Protocol):
    """Of one name's data. ``text`` is how it is written; ``slow``: it is asked in a thread; ``asks``: a person is."""

    text: str
    slow: bool
    asks: bool

    def refuses(self, asked: Asked, guard: Guard) -> Optional[str]:
        """Why the value may not leave, for the driver to read; None if it may."""


#: As a policy is given: its text, one of these, or a function of ``Asked`` that says True, False, or why not.
Release = Union[str, Policy, Callable[[Asked], Union[bool, str]]]


class Never:
    """Nothing leaves."""

    text, slow, asks = "never", False, False

    def refuses(self, asked: Asked, guard: Guard) -> Optional[str]:
        return "nothing made of it leaves"


class Always:
    """All may leave: such data is not private to begin with."""

    text, slow, asks = "always", False, False

    def refuses(self, asked: Asked, guard: Guard) -> Optional[str]:
        return None


class Ask:
    """A person at the worker decides, each time."""

    text, slow, asks = "ask", False, True

    def refuses(self, asked: Asked, guard: Guard) -> Optional[str]:
        return None


class Aggregate:
    """Sums of columns and of products of two, over all rows, and at least so many, leave; and what is made of them."""

    slow, asks = False, False

    def __init__(self, least: int) -> None:
        self.least, self.text = least, f"aggregate:{least}"

    def refuses(self, asked: Asked, guard: Guard) -> Optional[str]:
        if guard.form == SUMS and guard.degree and asked.rows >= self.least:
            return None
        return (
            f"sums, means, variances and x.T @ y over all of its rows as they are leave, if they are at least"
            f" {self.least}, and what is made of these afterwards; this is {_nature(guard, asked.rows)}"
        )


class Training:
    """What leaves is made of sums over at least so many rows, whatever was done to each of them before."""

    slow, asks = False, False

    def __init__(self, least: int) -> None:
        self.least, self.text = least, f"training:{least}"

    def refuses(self, asked: Asked, guard: Guard) -> Optional[str]:
        if asked.rows >= self.least:
            return None
        return f"what sums up at least {self.least} of its rows leaves; this is {_nature(guard, asked.rows)}"


class Function:
    """The owner's own function decides, in a thread; if it raises, that is a no."""

    slow, asks = True, False

    def __init__(self, function: Callable[[Asked], Union[bool, str]], text: str = "") -> None:
        self._function = function
        self.text = text or f"function {getattr(function, '__name__', 'of the owner')}"

    def refuses(self, asked: Asked, guard: Guard) -> Optional[str]:
        said = self._function(asked)
        if said is True:
            return None
        return said[:MAX_REASON] if isinstance(said, str) and said else "its owner's function refuses"


def _nature(guard: Guard, rows: int) -> str:
    if guard.form != SUMS:
        return "no such sum"
    return f"made of sums over {rows}" + ("" if guard.degree else ", and of something else than such sums")


NEVER, ALWAYS, ASK = Never(), Always(), Ask()
_WORDS: Dict[str, Policy] = {"never": NEVER, "always": ALWAYS, "ask": ASK}
_COUNTED: Dict[str, Callable[[int], Policy]] = {"aggregate": Aggregate, "training": Training}


def policy_of(release: Release) -> Policy:
    """The policy that a text, a function or a policy stands for.

    Texts: never, always, ask, aggregate:K, training:K, or module:function (FILE.py:function).
    Raises: ValueError for what is none, and for a function that cannot be imported.
    """
    if not isinstance(release, str):
        return release if hasattr(release, "refuses") else Function(release)  # type: ignore[return-value]
    if release in _WORDS:
        return _WORDS[release]
    word, colon, rest = release.rpartition(":")
    if word in _COUNTED:
        if not re.fullmatch(r"[1-9][0-9]{0,15}", rest):
            raise ValueError(f"{release!r}: {word} needs the least number of rows, as {word}:100")
        return _COUNTED[word](int(rest))
    if colon and word and rest.isidentifier():
        return Function(_imported(word, rest), f"{os.path.basename(word)}:{rest}")  # where it lies is nobody's business
    raise ValueError(
        f"{release!r} is no policy: never, ask, aggregate:100, training:100, always, or module:function of your own"
    )


def _imported(place: str, name: str) -> Callable[[Asked], Union[bool, str]]:
    try:
        if place.endswith(".py"):
            spec = importlib.util.spec_from_file_location("asyncsyft_policy", place)
            assert spec is not None
            assert spec.loader is not None
            module: Any = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(place)
        function: Any = getattr(module, name)
    except Exception as error:  # it runs whatever the owner wrote
        raise ValueError(f"the policy {place}:{name} cannot be imported: {error}") from error
    if not callable(function):
        raise ValueError(f"the policy {place}:{name} is no function")
    return function  # type: ignore[no-any-return]


def refusal(asked: Asked, policy: Policy, why: str) -> str:
    """Why something is refused, naming the label: for the driver."""
    rest = asked.labels - {asked.label}
    also = f" (and on {named(frozenset(rest))})" if rest else ""
    return f"it depends on {asked.label}{also}, which is private there ({policy.text}): {why}"
