"""Handle: a name for a tensor that lives elsewhere, what is known of it here, and what becomes of it there.

It knows dtype, shape and worker, and never the data; it does not know the ops (``steps.py`` records them).
"""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, List, Optional, Protocol, Tuple, TypeVar

from .. import program, tensor
from ..compression import check_mode
from ..errors import AsyncSyftError, LocalProtocolError, RemoteProtocolError, WorkerLost, fresh
from ..ops import Spec
from ..tensor import Array, DType
from .recorder import Progress, Recorder

H = TypeVar("H", bound="Handle")


class Place(Protocol):
    """Where a tensor can be moved to: a worker, as the driver sees it."""

    name: str
    recorder: Recorder


def described(said: Any, worker: str) -> Spec:
    """Dtype and shape in a worker's description of a tensor. Raises: RemoteProtocolError, LimitExceeded."""
    if type(said) is not dict:
        raise RemoteProtocolError(f"{worker} describes a tensor as {said!r:.60}")
    dtype, shape, _ = tensor.check_descr(said.get("dtype"), said.get("shape"))
    return Spec(dtype, shape)


class Handle:
    """A tensor at a worker: its name there, and what was inferred of it."""

    __slots__ = ("recorder", "id", "spec")

    def __init__(self, recorder: Recorder, number: int, spec: Spec) -> None:
        self.recorder = recorder
        self.id = number
        self.spec = spec

    def __del__(self) -> None:
        # In any thread, also inside our own code: only note the id.
        if self.id:
            self.recorder.forgotten.append(self.id)

    # What is known without a round trip.

    @property
    def dtype(self) -> DType:
        """Its dtype, as inferred when it was recorded."""
        return self.spec.dtype

    @property
    def shape(self) -> Tuple[Optional[int], ...]:
        """Its shape; None for a dimension that only the data can tell (``await x.info()`` fills it)."""
        return self.spec.shape

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.spec.shape)

    @property
    def size(self) -> Optional[int]:
        """Number of elements; None if a dimension is unknown."""
        size = 1
        for dim in self.spec.shape:
            if dim is None:
                return None
            size *= dim
        return size

    @property
    def nbytes(self) -> Optional[int]:
        """Bytes of its elements; None if a dimension is unknown."""
        return self.spec.nbytes

    @property
    def worker(self) -> str:
        """Name of the worker that holds it."""
        return self.recorder.worker

    @property
    def device(self) -> str:
        """The array API's word for ``worker``."""
        return self.recorder.worker

    def __len__(self) -> int:
        if not self.spec.shape:
            raise TypeError("len() of a 0-d remote tensor")
        if self.spec.shape[0] is None:
            raise TypeError("the length is unknown until the data is there: await x.info()")
        return self.spec.shape[0]

    def __repr__(self) -> str:
        return f"<RemoteTensor {self.spec.dtype}{self._dims} at {self.recorder.worker}>"

    # What brings data or certainty back.

    async def get(
        self,  # and no "*": parameters that only have names are looked up at each call
        compression: Optional[str] = None,
        progress: Optional[Progress] = None,
        on_wait: Optional[Callable[[List[str]], None]] = None,
    ) -> Array:
        """The data, as an array to write to; ``progress(done, total)`` is told of the bytes of a large one.

        ``compression``: "auto", "always" or "never", in place of what the worker was told.
        Of private data, what its owner's policy lets out; if that asks a person, this waits for it, however long: who
        gives up waiting withdraws the request. ``on_wait(labels)`` is told before, for one round trip, of which data.
        Raises: the error of the step that failed to make it, Refused by a policy, LinkError when the worker is lost.
        """
        if on_wait is not None:
            asks = await self._asks()
            if asks:
                on_wait(asks)
        recorder = self.recorder
        if not self.id or recorder.lost is not None:
            self.live_id()
        if compression is None:
            slot = recorder.ask((program.GET, 0, (self.id,)))
        else:
            params = {"compression": check_mode(compression)}
            recorder.close_program()  # it holds for all answers of a request
            slot = recorder.ask([program.GET, 0, [self.id], params])
            recorder.close_program()
        if progress is not None:
            slot.progress = progress
        try:
            return await slot  # type: ignore[no-any-return]
        except BaseException as error:
            recorder.cancel(slot)
            if isinstance(error, WorkerLost):
                raise self.lost(error) from error
            raise

    async def _asks(self) -> List[str]:
        """The labels of the data that it depends on of which a person decides."""
        private: Dict[str, str] = (await self.info()).get("private", {})
        return [label for label, policy in private.items() if policy == "ask"]

    async def info(self) -> Dict[str, Any]:
        """What the worker knows of it (dtype, shape, bytes, name, tags); fills unknown dimensions of ``shape``.

        Of a tensor that depends on private data also "private": the labels of that data, with the policy of each.
        """
        number = self.live_id()
        try:
            info: Dict[str, Any] = await self.recorder.ask([program.INFO, 0, [number]])
        except WorkerLost as error:
            raise self.lost(error) from error
        spec = described(info, self.worker)
        if self.id == number:  # x[key] = value may have given it another tensor meanwhile
            self.spec = spec
        return info

    # What is recorded.

    def delete(self) -> None:
        """Delete it at its worker, from its disk too if it is kept there; using it afterwards is an error."""
        number, self.id = self.live_id(), 0
        self.recorder.record([program.DELETE, 0, [number], {"kept": True}])

    def move(self: H, worker: Place) -> H:
        """The tensor at another worker, sent there directly; does not wait. This one stays until it is deleted.

        Raises: ValueError if no road leads from one worker to the other.
        """
        number, there, ticket = self.live_id(), worker.recorder, os.urandom(16)
        if there is self.recorder:
            raise ValueError(f"the tensor is at {worker.name} already")
        here, far = self.recorder.conversation, there.conversation
        if not (self.recorder.relay and self.recorder.relay == there.relay):
            raise ValueError(f"no relay connects {self.worker} and {worker.name}: get the tensor and send it")
        out = there.new_id()
        params: Dict[str, Any] = {"from": here.theirs, "ticket": ticket}
        if here.expects and far.expects:  # both are sealed: so shall be what they say to each other
            params["key"] = here.expects
        there.record([program.FETCH, out, [], params])
        self.recorder.record([program.MOVE, 0, [number], {"to": far.theirs, "ticket": ticket}])
        return type(self)(there, out, self.spec)

    def tag(self: H, *tags: str, name: str = "") -> H:
        """Let ``search`` find it by a name and by tags; itself."""
        self.recorder.record([program.TAG, 0, [self.live_id()], {"name": name, "tags": list(tags)}])
        return self

    def allow(self: H, whom: str, what: str = "get") -> H:
        """Let another driver find it by ``search``, by this tensor's name or tags; itself.

        ``whom``: the name under which that driver comes, or its public key ("x25519:..."). ``what``: "get", all that
        this driver may do with it; or "use": compute on it, and never see it nor what is made of it. Who is not there
        yet finds it later. It is shared until it is deleted here; what was found by then stays.
        """
        self.recorder.record([program.ALLOW, 0, [self.live_id()], {"to": whom, "right": what}])
        return self

    def disallow(self: H, whom: str) -> H:
        """Share it with that driver no more; what it has found stays there. Itself."""
        self.recorder.record([program.DISALLOW, 0, [self.live_id()], {"to": whom}])
        return self

    def live_id(self) -> int:
        """Its object id. Raises: LocalProtocolError if it was deleted, or why its worker is gone, naming it."""
        if not self.id:
            raise LocalProtocolError("this remote tensor was deleted")
        if self.recorder.lost is not None:
            raise self.lost(self.recorder.lost)
        return self.id

    def lost(self, why: AsyncSyftError) -> AsyncSyftError:
        """Why it is gone, naming it if it went with its worker."""
        if not isinstance(why, WorkerLost):
            return fresh(why)
        error = WorkerLost(f"object {self.id} ({self.spec.dtype}{self._dims}) is gone: {why}")
        error.__cause__ = why
        return error

    @property
    def _dims(self) -> str:
        return f"[{', '.join('?' if dim is None else str(dim) for dim in self.spec.shape)}]"
