"""A PySyft worker that listens: the names, arguments and attributes of PySyft's ``WebsocketServerWorker``."""

from __future__ import annotations

import ipaddress
import logging
import ssl as tls
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Optional, Union

import syft as sy
from syft.exceptions import EmptyCryptoPrimitiveStoreError, GetNotPermittedError, ResponseSignatureError

from asyncsyft.identity import Admission, Key
from asyncsyft.identity import known_peers as pinned
from asyncsyft.peer import RESUME_GRACE, join_address

from .ends import Serving, serving
from .looks import SeenInto
from .loop import Outcome
from .messages import Id, Message
from .neighbours import answer, attach, serve

logger = logging.getLogger(__name__)


def _nowhere(worker_id: Id) -> Dict[str, Any]:
    """Where others are: what is for them is passed on here."""
    return {}


class WebsocketServerWorker(SeenInto):
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
        attach()
        self.port, self.host = port, host
        self.address = ""  # where it listens
        self.cert_path, self.key_path = cert_path, key_path
        self.loop = loop
        self._end: Optional[Serving] = None
        self._stopped: Optional[Outcome] = None
        super().__init__(hook=hook, id=id, data=data, log_msgs=log_msgs, verbose=verbose)

    def _recv_msg(self, message: bytes) -> bytes:
        try:
            return self.recv_msg(message)
        except (EmptyCryptoPrimitiveStoreError, GetNotPermittedError, ResponseSignatureError) as error:
            return sy.serde.serialize(error)

    def _handle(self, message: Message, to: Id) -> bytes:
        if to is not None and to != self.id:
            return serve(message, to)
        return answer(self, message)

    def start(self) -> None:
        """Serve until Ctrl-C, or until another thread calls ``stop``. Raises: OSError if the address is taken."""
        self.listen()
        print("Serving. Press CTRL-C to stop.", flush=True)  # noqa: T201 - as PySyft's own
        self.wait()

    def listen(
        self,
        *,
        key: Optional[Key] = None,
        ssl: Optional[tls.SSLContext] = None,
        admission: Optional[Admission] = None,
        resume_grace: float = RESUME_GRACE,
    ) -> None:
        """Serve from now on, without waiting; port 0 becomes the port that was free.

        ``admission``: who may come in; without it everybody, as with PySyft's own. Raises: OSError.
        """
        with self._begun(key=key, grace=resume_grace) as end:
            self.address, self.port = end.listen(
                self.host, self.port, ssl or self._context(), admission or Admission(insecure=True)
            )
        if admission is None and not ipaddress.ip_address(self.address.partition("%")[0]).is_loopback:
            logger.warning(
                "%s listens on %s: whoever reaches this port may have it do anything; python -m bridge worker has"
                " --known-peers and --authority, and a relay needs no open port",
                self.id,
                join_address(self.address, self.port),
            )

    def stay_at(
        self,
        relay: str,
        *,
        token: Optional[str] = None,
        key: Optional[Key] = None,
        known_peers: Any = None,
        ssl: Optional[tls.SSLContext] = None,
        resume_grace: float = RESUME_GRACE,
    ) -> None:
        """Serve at a relay from now on, without waiting; a link that is lost is dialled again.

        ``known_peers``: names and keys of those with whom it speaks, sealed. Raises: ConnectionRefusedError, OSError,
        WebSocketTimeoutException, ValueError if it is no relay.
        """
        with self._begun(key=key, known=pinned(known_peers), grace=resume_grace) as end:
            end.on_refused = self._set_stopped
            end.stay_at(relay, ssl, token)

    @contextmanager
    def _begun(self, **options: Any) -> Iterator[Serving]:
        if self._end is not None:
            raise RuntimeError(f"{self.id} serves already")
        self._rename_local_worker()
        end = serving(str(self.id), self._handle, _nowhere, **options)
        self._stopped = Outcome()
        try:
            yield end
        except BaseException:
            end.stop()
            raise
        self._end = end

    def wait(self) -> None:
        """Return when ``stop`` was called, or after Ctrl-C. Raises: why the relay will not have it any more."""
        stopped = self._stopped
        try:
            if stopped is not None:
                stopped.wait()
        except KeyboardInterrupt:
            logger.info("Websocket server stopped.")
        finally:
            self.stop()

    def stop(self) -> None:
        """Serve no more; idempotent."""
        end, self._end = self._end, None
        if end is not None:
            end.stop()
            self._set_stopped(None)

    def _set_stopped(self, error: Optional[BaseException]) -> None:
        stopped, self._stopped = self._stopped, None
        if stopped is not None:
            stopped.set(error=error)

    def _rename_local_worker(self) -> None:
        """The local worker of this process: its id is that of the clients' local workers too."""
        local, name = sy.local_worker, f"local worker at {self.id}"
        if local is self or local.id != "me":
            return
        for worker in {id(worker): worker for worker in (local, *local._known_workers.values())}.values():
            if worker._known_workers.get(local.id) is local:
                del worker._known_workers[local.id]
                worker._known_workers[name] = local
        local.id = name

    def _context(self) -> Optional[tls.SSLContext]:
        if self.cert_path is None or self.key_path is None:
            return None
        context = tls.SSLContext(tls.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert_path, self.key_path)
        return context
