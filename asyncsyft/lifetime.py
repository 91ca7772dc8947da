"""An async context manager that owns its tasks: what worker, relay and driver have in common.

Whoever enters it gets errors of the body as they are, not wrapped in a group. It knows nothing of peers.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Optional, Type, TypeVar

import anyio
from anyio.abc import TaskGroup

from .errors import LinkClosed
from .waiting import Slot, slot_class, spawn

Self = TypeVar("Self", bound="Lifetime")

#: Seconds that closing may take once the body has ended.
CLOSE_TIMEOUT = 5.0


class Lifetime:
    """``async with`` opens and closes everything; ``_open`` and ``_close`` are what subclasses do at the ends."""

    _tasks: TaskGroup
    _owner: TaskGroup
    _task: Any
    _stop: Slot[None]
    _stopped: Slot[None]

    async def _open(self) -> None:
        """Begin; tasks go to ``self._tasks``."""

    async def _close(self) -> None:
        """End in peace; bounded by ``CLOSE_TIMEOUT``, then the tasks are cancelled."""

    async def __aenter__(self: Self) -> Self:
        self._owner = anyio.create_task_group()
        await self._owner.__aenter__()
        begun: Slot[TaskGroup] = slot_class()()
        self._owner.start_soon(self._hold, begun)
        with anyio.CancelScope(shield=True):  # it begins in any case, and does not wait
            self._tasks = await begun
        try:
            await self._open()
        except BaseException as error:
            await self._end_tasks(error)
            raise
        return self

    async def _hold(self, begun: Slot[TaskGroup]) -> None:
        """Run the tasks, out of reach of cancellations from outside.

        Those are for the body, which must meet nothing else: no link that is lost under it, since the task is gone that
        ran it. And then it closes in peace.
        """
        async with anyio.create_task_group() as tasks:
            tasks.cancel_scope.shield = True
            begun.set(tasks)
            await anyio.sleep_forever()

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], traceback: Optional[TracebackType]
    ) -> None:
        try:
            with anyio.move_on_after(CLOSE_TIMEOUT, shield=True):
                await self._close()
        finally:
            await self._end_tasks(error)

    async def open(self: Self) -> Self:
        """Enter in a task of its own, so that leaving (``aclose``) may happen in another task: notebooks, fixtures.

        Raises: what entering raises.
        """
        opened: Slot[None] = slot_class()()
        self._stop, self._stopped = slot_class()(), slot_class()()

        async def own() -> None:
            try:
                async with self:
                    opened.set(None)
                    await self._stop
            except Exception as error:  # noqa: BLE001 - told to whoever opens or closes
                opened.fail(error)
                self._stopped.fail(error)
            finally:
                opened.fail(LinkClosed("the event loop ended"))
                self._stopped.set(None)

        self._task = spawn(own)
        await opened
        return self

    async def aclose(self) -> None:
        """Leave what ``open`` entered; idempotent. Raises: what leaving raises."""
        self._stop.set(None)
        await self._stopped

    async def _end_tasks(self, error: Optional[BaseException]) -> None:
        self._tasks.cancel_scope.cancel()
        # A cancellation may be the owner's, because a task failed, and the owner then raises that.
        if error is not None and isinstance(error, anyio.get_cancelled_exc_class()):
            await self._owner.__aexit__(type(error), error, error.__traceback__)
        else:
            await self._owner.__aexit__(None, None, None)
