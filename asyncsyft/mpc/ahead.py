"""Calls that are recorded, and dealt, before their inputs are there: then a call sends nothing but these."""

from __future__ import annotations

from collections import deque
from types import TracebackType
from typing import Any, Callable, Deque, List, NamedTuple, Optional, Protocol, Sequence, Tuple, Type

import numpy as np

from ..driver import RemoteWorker
from ..errors import SessionError
from ..remote import RemoteTensor
from .outgoing import ON_THE_WAY
from .tensor import SecretTensor

__all__ = ["Ahead", "Like"]

#: Calls that are prepared at most: each is a batch on its way.
MOST = ON_THE_WAY >> 1


class Like(NamedTuple):
    """What an input will be: its shape, whether its numbers are whole, and which party holds it, if not the driver."""

    shape: Tuple[int, ...]
    whole: bool = False
    at: Optional[RemoteWorker] = None


class Call(NamedTuple):
    """One that is prepared: its inputs, what is told of its results, and the form in which these are given."""

    inputs: List[Any]
    telling: Any
    single: bool


class Session(Protocol):
    """What prepared calls need of their session."""

    error: Any

    def together(self) -> Any: ...

    def prepare(self, ahead: Optional[Ahead]) -> None: ...

    def expect(self, like: Any) -> Tuple[SecretTensor, Any]: ...

    def give(self, inputs: Sequence[Any], values: Sequence[Any]) -> None: ...

    def telling(self, tensors: Sequence[SecretTensor]) -> Any: ...

    async def hear(self, telling: Any) -> List[Any]: ...


class Ahead:
    """While entered, as many calls of a function are always prepared; to call it gives what they reveal."""

    def __init__(self, mpc: Session, function: Callable[..., Any], args: Sequence[Any], calls: int) -> None:
        """Raises: ValueError if there is no ``Like`` among the arguments, or too many calls are wanted."""
        if not 1 <= calls <= MOST:
            raise ValueError(f"1 to {MOST} calls are prepared, not {calls}")
        if not any(isinstance(arg, Like) for arg in args):
            raise ValueError("an argument is to be given with each call: Like(shape)")
        self._mpc, self._function, self._args, self._count = mpc, function, list(args), calls
        self._calls: Deque[Call] = deque()
        self._is_open = False

    async def __aenter__(self) -> Ahead:
        self._mpc.prepare(self)
        self._is_open = True
        try:
            self._fill(self._count)
        except BaseException:
            self._end()
            raise
        return self

    def _fill(self, count: int) -> None:
        while self._is_open and len(self._calls) < count:
            self._calls.append(self._prepared())

    async def __call__(self, *values: Any) -> Any:
        """What the function's results are, for these inputs, one for each ``Like``. Raises: SessionError.

        Calls may be made before earlier ones are answered. One whose values are refused is not made.
        """
        likes = [arg for arg in self._args if isinstance(arg, Like)]
        if len(values) != len(likes):
            raise TypeError(f"{len(likes)} inputs are given with each call, not {len(values)}")
        for value, like in zip(values, likes):
            _check(value, like)
            if isinstance(value, RemoteTensor):
                await value.recorder.flushed()  # what makes it leaves on another lane
        if not self._calls:
            raise SessionError("no calls are prepared any more")
        call = self._calls[0]
        self._mpc.give(call.inputs, values)
        self._calls.popleft()
        self._fill(1)
        found = await self._mpc.hear(call.telling)
        self._fill(self._count)  # not before: that is work for the members, too
        return found[0] if call.single else found

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], traceback: Optional[TracebackType]
    ) -> None:
        self._end()

    def _end(self) -> None:
        calls, self._calls, self._is_open = self._calls, deque(), False
        self._mpc.prepare(None)
        for call in calls:
            self._give_up(call.inputs)

    def _give_up(self, inputs: Sequence[Any]) -> None:
        """Let the members compute on zeros, so that the session can go on behind that."""
        if self._mpc.error is None:
            self._mpc.give(inputs, [None] * len(inputs))

    def _prepared(self) -> Call:
        inputs: List[Any] = []

        def argument(arg: Any) -> Any:
            if not isinstance(arg, Like):
                return arg
            secret, late = self._mpc.expect(arg)
            inputs.append(late)
            return secret

        try:
            with self._mpc.together():
                results = self._function(*[argument(arg) for arg in self._args])
                single = isinstance(results, SecretTensor)
                return Call(inputs, self._mpc.telling([results] if single else list(results)), single)
        except BaseException:
            self._give_up(inputs)
            raise


def _check(value: Any, like: Like) -> None:
    """Raises: ValueError, TypeError for a value that is not as was said."""
    if (like.at is not None) != isinstance(value, RemoteTensor):
        raise TypeError("that input was to be " + ("an array of this driver's" if like.at is None else "a party's"))
    if like.at is not None and value.recorder is not like.at.recorder:
        raise ValueError(f"that input was to be at {like.at.name}, and is at {value.worker}")
    array = value if isinstance(value, RemoteTensor) else np.asarray(value)
    if array.shape != like.shape:
        raise ValueError(f"an input of shape {tuple(array.shape)} where {like.shape} was said")
    if like.whole and array.dtype.kind not in "iubO":
        raise TypeError("that input was to be of whole numbers")
