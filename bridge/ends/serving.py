"""The end of a worker: at a relay, or where clients dial it."""

from __future__ import annotations

import ssl as tls
from typing import Any, Mapping, Optional, Tuple

import anyio

from asyncsyft.errors import AsyncSyftError
from asyncsyft.identity import Admission
from asyncsyft.peer import vouch
from asyncsyft.transport import Transport
from asyncsyft.websocket import listen

from .relayed import Relayed


class Serving(Relayed):
    """Serves whoever comes."""

    def listen(self, host: str, port: int, ssl: Optional[tls.SSLContext], admission: Admission) -> Tuple[str, int]:
        """Let clients dial this end; the address and the port. Raises: OSError."""

        async def accept(transport: Transport, headers: Mapping[str, str]) -> None:
            await self.peer.accept(transport, lambda hello, challenge, way: vouch(hello, challenge, admission, way))

        async def serve(*, task_status: Any) -> None:
            async with listen(host, port, accept, ssl=ssl) as listener:
                task_status.started((listener.address, listener.port))
                await anyio.sleep_forever()

        async def start() -> Tuple[str, int]:
            where: Tuple[str, int] = await self.loop.tasks.start(serve)
            return where

        try:
            found: Tuple[str, int] = self.loop.run(start)
        except AsyncSyftError as error:
            raise OSError(str(error)) from error
        return found
