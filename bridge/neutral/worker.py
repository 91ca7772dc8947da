"""A worker without PySyft among PySyft's workers."""

from __future__ import annotations

from typing import Any, List, Optional, Union

from syft.workers.virtual import VirtualWorker
from websocket import WebSocketConnectionClosedException

from .far import Far, connect
from .translator import Translator

#: Seconds that an answer may take, unless the program says otherwise; as PySyft's own.
TIMEOUT_INTERVAL = 60


class NotNeutral(ConnectionError):
    """The worker of that name speaks PySyft's messages: it needs no translation."""


class NeutralWorker(VirtualWorker):
    """An ``asyncsyft worker`` that PySyft code drives: linked when it is made, and registered only then.

    ``url``: where it listens, or a relay at which it is called ``id``. ``far``: a link that is there already.
    ``options``: of ``bridge.neutral.connect`` (``token``, ``key``, ``ssl``, ``known_peers``, ``seconds``).

    Raises: ConnectionRefusedError, WebSocketTimeoutException, NotNeutral.
    """

    def __init__(
        self,
        hook: Any,
        url: str = "",
        id: Union[int, str] = 0,
        is_client_worker: bool = False,
        log_msgs: bool = False,
        verbose: bool = False,
        data: Optional[List[Any]] = None,
        timeout: Optional[float] = TIMEOUT_INTERVAL,
        far: Optional[Far] = None,
        **options: Any,
    ) -> None:
        self.url, self.timeout, self._options = url, timeout, options
        self._name = str(id)
        self._link = far
        self.connect()
        mine = {name: self.__dict__[name] for name in ("url", "timeout", "_options", "_name", "_link")}
        super().__init__(hook=hook, id=id, is_client_worker=is_client_worker, log_msgs=log_msgs, verbose=verbose)
        self.__dict__.update(mine)  # where a worker of this id was known, all that it had was copied
        self._translator = Translator(self, self.far_end, lambda: self.timeout)
        self.load_data(data or [])

    # The link.

    def connect(self) -> None:
        """Link to the worker, if this is not so; what it held before is lost. Raises: as making it."""
        if self._link is None or not self._link.is_open:
            self._link = connect(self.url, self._name, **self._options)
        if self._link is None:
            raise NotNeutral(f"{self._name} at {self.url} speaks PySyft's messages")

    def close(self) -> None:
        """End the link; idempotent. ``connect`` makes another."""
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def far_end(self) -> Far:
        """The link. Raises: WebSocketConnectionClosedException."""
        if self._link is None:
            raise WebSocketConnectionClosedException(f"the link to {self.id} is closed: connect() makes another")
        return self._link

    # Messages.

    def take(self, message: Any) -> Any:
        """The answer to a message, as it is: what a worker in this process need not serialise."""
        return self._translator.take(message)

    def _recv_msg(self, message: bytes) -> bytes:
        """The answer to a message. Raises: as ``Translator.take``."""
        return self._translator.recv(message)

    # What PySyft asks of a worker beside messages.

    def search(self, query: Any) -> List[Any]:
        """Pointers to what bears all of these as tags."""
        return self._translator.search(query)

    def load_data(self, data: List[Any]) -> None:
        """Send tensors to the worker, to stay there."""
        for tensor in data or []:
            pointer = tensor.send(self)
            pointer.child.garbage_collect_data = False

    def clear_objects(self, return_self: bool = True) -> Any:
        """Delete all that this process has at the worker."""
        self.far_end().post(self.far_end().holdings.forget, list(self._translator.objects()))
        return self if return_self else None

    def list_tensors(self) -> str:
        """What this process has at the worker, as text."""
        return str({number: held.tensor for number, held in self._translator.objects().items()})

    list_objects = list_tensors_remote = list_objects_remote = list_tensors

    def tensors_count(self) -> int:
        """How many tensors this process has at the worker."""
        return len(self._translator.objects())

    objects_count = tensors_count_remote = objects_count_remote = tensors_count

    def __str__(self) -> str:
        return f"<{type(self).__name__} id:{self.id}>"
