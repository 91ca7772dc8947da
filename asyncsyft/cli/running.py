"""Runs a command's coroutine: on either event loop, until it ends or a signal comes, errors as one sentence."""

from __future__ import annotations

import logging
import signal
from typing import Awaitable, Callable, Optional

import anyio
import anyio.abc
import click

from ..errors import AsyncSyftError

logger = logging.getLogger(__name__)

#: Ctrl-C, what init systems and containers send, and a terminal that was closed.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: What is a mishap rather than a bug: told in one sentence, without a traceback.
EXPECTED = (AsyncSyftError, OSError, TimeoutError, ValueError)


class Signals:
    """What a command does when a signal comes: end what runs in ``unless``, and go on to close in peace."""

    def __init__(self, scope: anyio.CancelScope) -> None:
        self.received: Optional[int] = None
        self._scope = scope

    async def unless(self, main: Callable[[], Awaitable[None]]) -> None:
        """Run ``main`` until it ends or a signal comes. A signal at another time, a second one too, ends all at once.

        It is for the body of a relay, a worker or a driver: cancelled from without, they could not say goodbye.
        """
        outer = self._scope
        async with anyio.create_task_group() as tasks:
            self._scope = tasks.cancel_scope
            try:
                await main()
            finally:
                self._scope = outer

    async def drain(self, drain: Callable[[float], Awaitable[None]], seconds: float) -> None:
        """Finish what is under way if SIGTERM came, for so many seconds at most, or until another signal comes."""
        if self.received == signal.SIGTERM:
            await self.unless(lambda: drain(seconds))

    async def watch(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Wait for signals."""
        with anyio.open_signal_receiver(*SIGNALS) as signals:
            task_status.started()
            async for signum in signals:
                logger.info("signal %d", signum)
                self.received = self.received or signum
                self._scope.cancel()


Main = Callable[[Signals], Awaitable[None]]


def open_files(wanted: int) -> int:
    """Let this process have so many files and sockets open, if it may; how many it may have then.

    A system's usual 1,024 are a limit on the peers of a relay that nobody set.
    """
    try:
        import resource
    except ImportError:  # there are none on Windows
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most


def run(main: Main, loop: str) -> Optional[int]:
    """Run to the end; the signal that ended it, or None. Raises: click.ClickException for expected errors."""
    try:
        return anyio.run(_run, main, backend=loop)
    except BaseException as error:
        found = _the_one(error)
        if isinstance(found, (KeyboardInterrupt, click.ClickException)):
            raise found from None
        if not isinstance(found, EXPECTED):
            raise found from None
        logger.debug("this ended the command", exc_info=found)
        raise click.ClickException(sentence(found)) from None


def interrupted(ctx: click.Context, signum: Optional[int]) -> None:
    """Exit as programs do that a signal ended: 130 for Ctrl-C."""
    if signum is not None:
        ctx.exit(128 + signum)


def sentence(error: BaseException) -> str:
    """An error for people."""
    if isinstance(error, OSError) and error.strerror and not isinstance(error, TimeoutError):
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error) or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)


def _the_one(error: BaseException) -> BaseException:
    """The error in a group of one."""
    while len(getattr(error, "exceptions", ())) == 1:
        error = error.exceptions[0]  # type: ignore[attr-defined]
    return error


async def _run(main: Main) -> Optional[int]:
    async with anyio.create_task_group() as tasks:
        signals = Signals(tasks.cancel_scope)
        await tasks.start(signals.watch)
        await main(signals)
        tasks.cancel_scope.cancel()
    return signals.received
