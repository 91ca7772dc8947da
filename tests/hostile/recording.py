"""What an end says on its links, message by message, as one on the way would have it."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, List, Optional, Sequence

from asyncsyft.transport import Buffer, End, Transport

Dial = Callable[[], Awaitable[Transport]]


class Tap:
    """An end, whose messages are copied as they leave."""

    def __init__(self, end: End, log: List[bytes]) -> None:
        self._end, self._log = end, log
        self.receive = end.receive

    def pull(self) -> Optional[Sequence[Buffer]]:
        pieces = self._end.pull()
        if pieces is not None:
            self._log.append(b"".join(pieces))
        return pieces


class Tapped:
    """A transport that copies what it is given to carry."""

    def __init__(self, transport: Transport, log: List[bytes]) -> None:
        self._transport, self._log = transport, log

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    async def run(self, end: End) -> None:
        await self._transport.run(Tap(end, self._log))


def recorded(dial: Dial, log: List[bytes]) -> Dial:
    """As ``dial``; all that is said goes to ``log`` too."""

    async def tapped() -> Transport:
        return Tapped(await dial(), log)  # type: ignore[return-value]

    return tapped
