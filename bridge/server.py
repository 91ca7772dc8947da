"""A PySyft worker that listens: the names, arguments and attributes of PySyft's ``WebsocketServerWorker``."""

from __future__ import annotations

import logging
import ssl as tls
import threading
from typing import Any, List, Optional, Union

import syft as sy
from syft.exceptions import EmptyCryptoPrimitiveStoreError, GetNotPermittedError, ResponseSignatureError
from syft.workers.virtual import VirtualWorker

from asyncsyft.tensor import Array

from . import beside
from .ends import End, serving
from .loop import Outcome

logger = logging.getLogger(__name__)


class WebsocketServerWorker(VirtualWorker):
    """Serves any number of clients; each waits for itself alone.

    ``loop`` is taken for the sake of old programs, and not used: the bridge has a loop of its own.
    """

    def __init__(
        self,
        hook: Any,
        host: str,
        port: int,
        id: Union[int, str] = 0,
        log_msgs: bool = False,
        verbose: bool = False,
        data: Optional[List[Any]] = None,
        loop: Any = None,
        cert_path: Optional[str] = None,
        key_path: Optional[str] = None,
    ) -> None:
        beside.attach()
        self.port, self.host = port, host
        self.cert_path, self.key_path = cert_path, key_path
        self.loop = loop
        self._end: Optional[End] = None
        self._stopped: Optional[Outcome] = None
        super().__init__(hook=hook, id=id, data=data, log_msgs=log_msgs, verbose=verbose)

    def _recv_msg(self, message: bytes) -> bytes:
        try:
            return self.recv_msg(message)
        except (EmptyCryptoPrimitiveStoreError, GetNotPermittedError, ResponseSignatureError) as error:
            return sy.serde.serialize(error)

    def _handle(self, buffers: List[Array]) -> List[Array]:
        return beside.buffers(self._recv_msg(beside.message_of(buffers)))

    def start(self) -> None:
        """Serve until Ctrl-C, or until another thread calls ``stop``. Raises: OSError if the address is taken."""
        self.listen()
        print("Serving. Press CTRL-C to stop.", flush=True)  # noqa: T201 - as PySyft's own
        assert self._stopped is not None
        try:
            self._stopped.wait()
        except KeyboardInterrupt:
            logger.info("Websocket server stopped.")
        finally:
            self.stop()

    def listen(self) -> None:
        """Serve from now on, without waiting; port 0 becomes the port that was free. Raises: OSError."""
        end = serving(str(self.id), self._handle)
        try:
            _, self.port = end.listen(self.host, self.port, self._context())
        except BaseException:
            end.stop()
            raise
        self._end, self._stopped = end, Outcome()

    def stop(self) -> None:
        """Serve no more; idempotent."""
        end, self._end = self._end, None
        if end is not None:
            end.stop()
            if threading.current_thread() is not threading.main_thread() and self._stopped is not None:
                self._stopped.set()

    def _context(self) -> Optional[tls.SSLContext]:
        if self.cert_path is None or self.key_path is None:
            return None
        context = tls.SSLContext(tls.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert_path, self.key_path)
        return context
