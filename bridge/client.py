"""A PySyft worker in another process: the names, arguments and attributes of PySyft's ``WebsocketClientWorker``."""

from __future__ import annotations

import asyncio
import os
from typing import Any, List, Optional, Sequence, Tuple, Union

import syft as sy
from syft.exceptions import ResponseSignatureError
from syft.generic.pointers.pointer_tensor import PointerTensor
from syft.messaging.message import Message, ObjectRequestMessage, SearchMessage, TensorCommandMessage
from websocket import WebSocketConnectionClosedException

from asyncsyft.errors import Refused

from . import beside, pipelining
from .ends import asking, at_relay, relayed
from .far import Far
from .looks import LooksInto
from .messages import as_message
from .neighbours import attach, locate, serve, trusting

#: Seconds that an answer may take, unless the program says otherwise; as PySyft's own.
TIMEOUT_INTERVAL = 60


class WebsocketClientWorker(LooksInto):
    """Forwards all messages to a worker that listens; linked when it is made, and registered only then."""

    def __init__(
        self,
        hook: Any,
        host: str,
        port: int,
        secure: bool = False,
        id: Union[int, str] = 0,
        is_client_worker: bool = False,
        log_msgs: bool = False,
        verbose: bool = False,
        data: Optional[List[Any]] = None,
        timeout: Optional[int] = None,
    ) -> None:
        attach()
        self.port, self.host = port, host
        self.timeout: Optional[float] = TIMEOUT_INTERVAL if timeout is None else timeout
        self.secure = secure
        self._far: Optional[Far] = None
        self._closed = False
        self._name = str(id)
        self.connect()
        mine = dict(self.__dict__)
        try:
            super().__init__(
                hook=hook, id=id, data=data, is_client_worker=is_client_worker, log_msgs=log_msgs, verbose=verbose
            )
        except BaseException:
            self.close()
            raise
        self.__dict__.update(mine)  # where a worker of this id was known, all that it had was copied
        if self.auto_add and hook is not None and hook.local_worker is not None:
            self._succeed(hook.local_worker)

    def _succeed(self, me: Any) -> None:
        """Take the place of a worker of this id whose link has ended."""
        known = me._known_workers.get(self.id)
        if known is self or not isinstance(known, WebsocketClientWorker) or (known._far and known._far.is_open):
            return
        for worker in (me, *list(me._known_workers.values())):
            if worker._known_workers.get(self.id) is known:
                worker._known_workers[self.id] = self
        self._even_out()

    # The link.

    @property
    def url(self) -> str:
        """Where the worker listens."""
        return f"wss://{self.host}:{self.port}" if self.secure else f"ws://{self.host}:{self.port}"

    def connect(self) -> None:
        """Link to the worker, if this is not so: who listens there, or who has this id at the relay that does.

        Raises: ConnectionRefusedError, WebSocketTimeoutException.
        """
        if not self.is_linked:
            before, self._far = self._far, self._linked()
            self._closed = False
            if before is not None and before is not self._far:
                self._even_out()
        self._closed = False

    def _linked(self) -> Far:
        end = relayed(self.url)
        if end is None:
            token, context = None, trusting(self.url)
            try:
                far = asking(serve, locate).dial(self.url, context)
            except ConnectionRefusedError as error:
                token = os.environ.get("ASYNCSYFT_TOKEN")
                if token is None or not isinstance(error.__cause__, Refused):
                    raise
                context = None  # a token is shown to who has a good certificate
                far = asking(serve, locate).dial(self.url, None, token)
            if far is not None:
                return far
            end = at_relay(self.url, serve, locate, context, token)
        return end.find(self._name)

    @property
    def is_linked(self) -> bool:
        """Whether messages may be sent."""
        return not self._closed and self._far is not None and self._far.is_open

    def close(self) -> None:
        """End the link, unless other workers of this process use it too; idempotent. ``connect`` makes another."""
        if not self._closed and self._far is not None:
            self._closed = True
            self._far.close()

    def far(self) -> Far:
        """The far end of the link, in this process: a child of the one that made the worker dials anew."""
        if self._closed:
            raise WebSocketConnectionClosedException(f"the link to {self.id} is closed: connect() makes another")
        assert self._far is not None
        if not self._far.is_ours:
            self.connect()
        return self._far

    # Messages.

    def _send_msg(self, message: bytes, location: Any = None) -> bytes:
        to = self if location is None else location  # of what this worker owns here, something may be elsewhere
        answer: bytes = to._recv_msg(message)
        return answer

    def _recv_msg(self, message: bytes) -> bytes:
        """The worker's answer to a message. Raises: what the worker raised, WebSocketConnectionClosedException."""
        return self.far().ask(as_message(message), self.timeout)

    def _ask(self, message: Message) -> Any:
        worker = sy.local_worker
        pipelining.operation(message, self)
        return beside.read(self._recv_msg(beside.write(message, worker)), worker)

    def _send_msg_and_deserialize(self, command_name: str, *args: Any, **kwargs: Any) -> Any:
        return_ids = kwargs.pop("return_ids", None)
        return self._ask(self.create_worker_command_message(command_name, return_ids, *args, **kwargs))

    # What PySyft's class adds to a worker.

    def search(self, query: Any) -> List[Any]:
        """Pointers to the worker's objects that have these tags."""
        return self._ask(SearchMessage(query))

    def list_tensors_remote(self) -> str:
        """The worker's tensors, as text."""
        return self._send_msg_and_deserialize("list_tensors")

    def tensors_count_remote(self) -> int:
        """How many tensors the worker holds."""
        return self._send_msg_and_deserialize("tensors_count")

    def list_objects_remote(self) -> str:
        """The worker's objects, as text."""
        return self._send_msg_and_deserialize("list_objects")

    def objects_count_remote(self) -> int:
        """How many objects the worker holds."""
        return self._send_msg_and_deserialize("objects_count")

    def _get_msg_remote(self, index: int) -> Any:
        return self._send_msg_and_deserialize("_get_msg", index=index)

    def _log_msgs_remote(self, value: bool = True) -> Any:
        return self._send_msg_and_deserialize("_log_msgs", value=value)

    def clear_objects_remote(self) -> Any:
        """Delete all objects of the worker."""
        return self._send_msg_and_deserialize("clear_objects", return_self=False)

    def fit(self, dataset_key: str, **kwargs: Any) -> Any:
        """Have the worker train; its loss. ``return_ids``: the id that the loss gets there."""
        return_ids = kwargs["return_ids"] if "return_ids" in kwargs else [sy.ID_PROVIDER.pop()]
        self._send_msg_and_deserialize("fit", return_ids=return_ids, dataset_key=dataset_key)
        return self._ask(ObjectRequestMessage(return_ids[0], None, ""))

    def evaluate(
        self,
        dataset_key: str,
        return_histograms: bool = False,
        nr_bins: int = -1,
        return_loss: bool = True,
        return_raw_accuracy: bool = True,
        device: str = "cpu",
    ) -> Any:
        """Have the worker evaluate its model on its data set; a dictionary of figures."""
        return self._send_msg_and_deserialize(
            "evaluate",
            dataset_key=dataset_key,
            return_histograms=return_histograms,
            nr_bins=nr_bins,
            return_loss=return_loss,
            return_raw_accuracy=return_raw_accuracy,
            device=device,
        )

    # Coroutines: the same in a thread, so that several workers are at work together.

    async def async_dispatch(self, workers: Sequence[Any], commands: Sequence[Any]) -> List[Any]:
        """Send a command to each worker; what each answers."""
        return await asyncio.gather(
            *[worker.async_send_command(message=command) for worker, command in zip(workers, commands)]
        )

    async def async_send_msg(self, message: Message) -> Any:
        """What ``send_msg`` gives."""
        if self.verbose:
            print("async_send_msg", message)  # noqa: T201 - as PySyft's own
        pipelining.operation(message, self)
        written = beside.write(message, self)
        answer = await asyncio.get_running_loop().run_in_executor(None, self._recv_msg, written)
        return beside.read(answer, self)

    async def async_send_command(
        self, message: Tuple[Any, ...], return_ids: Optional[Sequence[Any]] = None, return_value: bool = False
    ) -> Any:
        """Send a command (name, target, args, kwargs); pointers to its results, or their value."""
        ids = (sy.ID_PROVIDER.pop(),) if return_ids is None else return_ids
        command = TensorCommandMessage.computation(*message, ids, return_value)
        try:
            value = await self.async_send_msg(command)
        except ResponseSignatureError as error:
            value, ids = None, error.ids_generated
        if value is not None and type(value) is not bytes:
            return value
        pointers = [
            PointerTensor(location=self, id_at_location=at, owner=sy.local_worker, id=sy.ID_PROVIDER.pop())
            for at in ids
        ]
        return pointers[0] if len(ids) == 1 else pointers

    async def async_fit(self, dataset_key: str, device: str = "cpu", return_ids: Optional[Sequence[int]] = None) -> Any:
        """What ``fit`` gives."""
        ids = [sy.ID_PROVIDER.pop()] if return_ids is None else return_ids
        command = self.create_worker_command_message(
            command_name="fit", return_ids=ids, dataset_key=dataset_key, device=device
        )
        await self.async_send_msg(command)
        return await self.async_send_msg(ObjectRequestMessage(ids[0], None, ""))

    def __str__(self) -> str:
        return f"<{type(self).__name__} id:{self.id} #tensors local:0 #tensors remote: {self.tensors_count_remote()}>"
