"""The Socket.IO pair of PyGrid: the same names, arguments and methods, on a relay.

A client worker stands for whoever has its id at the relay, or listens at that address: a worker of PySyft, or one that
has no PySyft at all. A server worker is the relay in the middle.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import sys
import threading
from types import ModuleType
from typing import Any, Callable, List, Optional, Set, Union

import anyio
from syft.workers.virtual import VirtualWorker
from websocket import WebSocketConnectionClosedException

from asyncsyft import Relay
from asyncsyft.errors import LinkError

from . import neighbours, neutral
from .client import TIMEOUT_INTERVAL, WebsocketClientWorker
from .ends import Relayed, at_relay, part_with, relayed
from .loop import Loop, Outcome, Stopped

logger = logging.getLogger(__name__)

#: Where PyGrid has its classes.
PLACES = {
    "grid.workers.socketio_client": "WebsocketIOClientWorker",
    "grid.workers.socketio_server": "WebsocketIOServerWorker",
}


class WebsocketIOClientWorker(VirtualWorker):
    """A worker behind a relay; ``connect`` links to it."""

    def __init__(
        self,
        hook: Any,
        host: str,
        port: int,
        id: Union[int, str] = 0,
        is_client_worker: bool = False,
        log_msgs: bool = False,
        verbose: bool = False,
        data: Optional[List[Any]] = None,
    ) -> None:
        self.host, self.port, self.secure = host, port, False
        self.timeout: Optional[float] = TIMEOUT_INTERVAL
        self._name, self._data, self._wants_log = str(id), data, log_msgs
        mine = dict(self.__dict__)
        super().__init__(hook=hook, id=id, is_client_worker=is_client_worker, verbose=verbose)
        self.__dict__.update(mine)  # where a worker of this id was known, all that it had was copied

    def connect(self) -> None:
        """Link to the worker, if this is not so, and give it the data that it was made with.

        Raises: ConnectionRefusedError, WebSocketTimeoutException if nobody of that id comes in time.
        """
        if self.is_connected:
            return
        url, token = f"ws://{self.host}:{self.port}", os.environ.get("ASYNCSYFT_TOKEN")
        link = neutral.connect(url, self._name, token=token)
        became: Any = self
        became.__class__ = _OfPySyft if link is None else _Neutral
        became._begin(url, link)
        self._take_over()
        data, self._data = self._data, None
        self.load_data(data)

    def _take_over(self) -> None:
        """Be the one that is meant by this id, of all that were made with it: a link of its own, objects of its own."""
        known = self.hook.local_worker._known_workers
        before = known.get(self.id)
        for worker in list(known.values()):
            if before is not self and worker._known_workers.get(self.id) is before:
                worker._known_workers[self.id] = self

    @property
    def is_connected(self) -> bool:
        """Whether messages may be sent."""
        return False

    def disconnect(self) -> None:
        """End the link; idempotent."""

    def _recv_msg(self, message: bytes) -> bytes:
        raise WebSocketConnectionClosedException(f"{self.id} is not connected: connect() links to it")


class _OfPySyft(WebsocketIOClientWorker, WebsocketClientWorker):
    """While it is linked to a worker of PySyft."""

    _recv_msg = WebsocketClientWorker._recv_msg

    def _begin(self, url: str, link: None) -> None:
        self._far, self._closed = None, False
        WebsocketClientWorker.connect(self)
        neighbours.attach()
        self.log_msgs = self._wants_log

    @property
    def is_connected(self) -> bool:
        return self.is_linked

    def disconnect(self) -> None:
        self.close()


class _Neutral(WebsocketIOClientWorker, neutral.NeutralWorker):
    """While it is linked to a worker without PySyft."""

    _recv_msg = neutral.NeutralWorker._recv_msg
    __str__ = neutral.NeutralWorker.__str__

    def _begin(self, url: str, link: neutral.Far) -> None:
        self.url, self._link = url, link
        self._translator = neutral.Translator(self, self.far_end, lambda: self.timeout)

    @property
    def is_connected(self) -> bool:
        return self._link is not None and self._link.is_open

    def disconnect(self) -> None:
        self.close()


for _cls in (_OfPySyft, _Neutral):
    _cls.__name__ = _cls.__qualname__ = WebsocketIOClientWorker.__name__


class WebsocketIOServerWorker(VirtualWorker):
    """The relay between participants, while ``start`` runs.

    ``payload``: called, in a thread of its own, with each worker that comes: with a ``WebsocketIOClientWorker`` that is
    connected to it.
    """

    def __init__(
        self,
        hook: Any,
        host: str,
        port: int,
        payload: Optional[Callable[[Any], Any]] = None,
        id: Union[int, str] = 0,
        log_msgs: bool = False,
        verbose: bool = False,
        data: Optional[List[Any]] = None,
    ) -> None:
        self.host, self.port = host, port
        self.clients: List[str] = []
        self._payload = payload
        self._stand_ins: List[WebsocketIOClientWorker] = []
        self._loop: Optional[Loop] = None
        self._end: Optional[Relayed] = None
        self._stopped: Optional[Outcome] = None
        super().__init__(hook=hook, id=id, data=data, log_msgs=log_msgs, verbose=verbose)

    def start(self) -> None:
        """Pass on between participants until Ctrl-C or ``terminate``. Raises: OSError if the address is taken."""
        self.listen()
        stopped = self._stopped
        try:
            if stopped is not None:
                stopped.wait()
        except KeyboardInterrupt:
            logger.info("%s ends", self.id)
        finally:
            self.terminate()

    def listen(self) -> None:
        """Pass on from now on, without waiting; port 0 becomes the port that was free. Raises: OSError."""
        loop = Loop()
        try:
            self.port = loop.run(self._serve, loop)
        except LinkError as error:
            loop.stop(_nothing)
            raise OSError(str(error)) from error
        except BaseException:
            loop.stop(_nothing)
            raise
        self._loop, self._stopped = loop, Outcome()
        if self._payload is not None:
            url = f"ws://{self.host}:{self.port}"
            self._end = relayed(url) or at_relay(url, neighbours.serve, neighbours.locate, None, None)
            threading.Thread(target=self._receive, args=(self._end,), name=f"payload {self.id}", daemon=True).start()

    async def _serve(self, loop: Loop) -> int:
        relay = Relay(f"{self.host}:{self.port}", insecure=True)  # as PyGrid's own: who reaches the port may come in

        async def run(*, task_status: Any) -> None:
            async with relay:
                task_status.started(relay.port)
                await anyio.sleep_forever()

        port: int = await loop.tasks.start(run)
        if not _is_loopback(self.host):
            logger.warning("%s: whoever reaches port %d may come in; see asyncsyft relay for keys", self.id, port)
        return port

    def _receive(self, end: Relayed) -> None:
        """Run the payload for each worker that comes, once."""
        seen: Set[str] = set()
        try:
            while True:
                for name in end.await_more(seen):
                    seen.add(name)
                    self.clients.append(name)
                    self._run(name)
        except Stopped:
            return

    def _run(self, name: str) -> None:
        assert self._payload is not None
        if self.verbose:
            print(f"Client {name} connected. Start executing payload")  # noqa: T201 - as PyGrid's own
        try:
            worker = WebsocketIOClientWorker(self.hook, self.host, self.port, id=name, verbose=self.verbose)
            worker.connect()
            self._stand_ins.append(worker)
            self._payload(worker)
        except Exception:
            logger.exception("the payload failed for %s", name)

    def terminate(self) -> None:
        """Pass on no more; idempotent."""
        end, self._end = self._end, None
        loop, self._loop = self._loop, None
        stopped, self._stopped = self._stopped, None
        while self._stand_ins:
            self._stand_ins.pop().disconnect()
        if end is not None:
            part_with(end)
        if loop is not None:
            loop.stop(_nothing)
        if stopped is not None:
            stopped.set()

    def _recv_msg(self, message: bytes) -> bytes:
        raise RuntimeError(f"{self.id} passes messages on and holds nothing: use the worker that the payload is given")


async def _nothing() -> None:
    pass


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


# PyGrid's names.


def attach() -> None:
    """Let ``from grid.workers.socketio_client import WebsocketIOClientWorker`` work where PyGrid is not; idempotent."""
    if "grid" not in sys.modules:
        try:
            import grid  # noqa: F401
        except ImportError:
            _make()


def _make() -> None:
    for name in ("grid", "grid.workers"):
        package = sys.modules[name] = ModuleType(name, __doc__)
        package.__path__ = []
    sys.modules["grid"].workers = sys.modules["grid.workers"]  # type: ignore[attr-defined]
    for name, cls in PLACES.items():
        module = sys.modules[name] = ModuleType(name, __doc__)
        setattr(module, cls, globals()[cls])
        setattr(sys.modules["grid.workers"], name.rpartition(".")[2], module)


def detach() -> None:
    """Take the names away, if they are ours; idempotent."""
    for name in ("grid", "grid.workers", *PLACES):
        if name in sys.modules and sys.modules[name].__doc__ == __doc__:
            del sys.modules[name]
