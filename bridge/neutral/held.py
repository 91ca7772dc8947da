"""What a worker without PySyft holds for this process: remote tensors by PySyft's ids, and what is computed on them.

All of it runs in the thread of the loop. It knows torch's names of ops by the table, and no messages.
"""

from __future__ import annotations

import logging
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Set

import anyio
import numpy as np
import syft as sy
from syft.exceptions import ObjectNotFoundError, ResponseSignatureError

from asyncsyft import RemoteTensor
from asyncsyft.driver import RemoteWorker
from asyncsyft.errors import AsyncSyftError, LinkError
from asyncsyft.ops import spec_of
from asyncsyft.remote import Failures
from asyncsyft.remote.failures import current_scope
from asyncsyft.tensor import Array

from . import arithmetic, asked, functions, indexing, making, products, reductions, shapes, table  # noqa: F401 - they fill the table
from .errors import NotTranslated, OperationFailed

logger = logging.getLogger(__name__)

#: Failures of operations that nobody waited for, kept for a thread.
MAX_PROBLEMS = 100


class Ref(NamedTuple):
    """An object of the worker, where an operation names it."""

    number: Any


class Command(NamedTuple):
    """An operation: of ``target``, or a function if there is none."""

    name: str
    target: Optional[Ref]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    return_ids: Sequence[Any]
    return_value: bool


class Memory:
    """What views and the tensor that they are of have in common: the ids of them all."""

    def __init__(self) -> None:
        self.ids: Set[Any] = set()


class Held:
    """A tensor at the worker, and what PySyft knows of it besides."""

    def __init__(self, tensor: RemoteTensor, memory: Optional[Memory] = None) -> None:
        self.tensor = tensor
        self.memory = memory or Memory()
        self.tags: Set[str] = set()
        self.description: Optional[str] = None
        self.requires_grad = False


class Untold(Failures):
    """Where the failures of an operation go that nobody waits for."""

    def __init__(self, operation: str, problems: List[Any]) -> None:
        super().__init__()
        self._operation, self._problems = operation, problems

    def add(self, error: AsyncSyftError) -> None:
        # A lost link is told by whatever comes next.
        known = isinstance(error, LinkError) or any(error is other for _, other in self._problems)
        if not known and len(self._problems) < MAX_PROBLEMS:
            self._problems.append((self._operation, error))


class Holdings:
    """All that one worker holds for this process. ``root`` is the thread that asks."""

    def __init__(self, remote: RemoteWorker) -> None:
        self.remote = remote
        self.by_id: Dict[Any, Held] = {}
        #: What an answer of the worker may take; None: any time.
        self.seconds: Optional[float] = None
        self._problems: Dict[int, List[Any]] = {}
        self._own: Dict[str, Any] = {}  # ids of the worker's own data, by name

    # One operation.

    async def _begin(self, operation: str, root: int) -> None:
        """What is recorded from here on in this task is this operation's; waits for room."""
        current_scope.set(Untold(operation, self._problems.setdefault(root, [])))
        await self.remote.recorder.ready()

    async def settle(self, root: int) -> None:
        """Return when all that was recorded before is known to have worked. Raises: OperationFailed, LinkError."""
        with anyio.fail_after(self.seconds):
            await self.remote.recorder.flushed()
        problems = self._problems.pop(root, None)
        if not problems:
            return
        for operation, error in problems[1:]:
            logger.warning("%s failed as well: %s", operation, error)
        raise OperationFailed(problems[0][0], problems[0][1], earlier=True)

    def find(self, number: Any) -> Held:
        """Raises: ObjectNotFoundError."""
        held = self.by_id.get(number)
        if held is None:
            raise ObjectNotFoundError(number, self.remote.name)
        return held

    def keep(self, number: Any, tensor: RemoteTensor, memory: Optional[Memory] = None) -> Held:
        """Hold a tensor under an id, in the place of what was there."""
        self.forget([number])
        held = self.by_id[number] = Held(tensor, memory)
        held.memory.ids.add(number)
        return held

    def forget(self, numbers: Iterable[Any]) -> None:
        """Delete objects; what is not there is passed over."""
        for number in numbers:
            held = self.by_id.pop(number, None)
            if held is not None:
                held.memory.ids.discard(number)

    async def put(self, number: Any, array: Array, about: Dict[str, Any], waits: bool, root: int) -> None:
        """Send a tensor; one of more than a chunk is borrowed until it has landed."""
        await self._begin("send", root)
        with anyio.fail_after(self.seconds):
            held = self.keep(number, await self.remote.send(array))
        held.tags, held.description = set(about["tags"]), about["description"]
        held.requires_grad = about["requires_grad"]
        if waits:
            await self.settle(root)

    async def value(self, tensor: RemoteTensor, operation: str, root: int) -> Array:
        """The data of a tensor, if all that the thread asked before worked."""
        await self._begin(operation, root)
        array, problem = None, None
        try:
            with anyio.fail_after(self.seconds):
                array = await tensor.get()
        except LinkError:
            raise
        except AsyncSyftError as error:
            problem = error
        await self.settle(root)
        if problem is not None:
            raise OperationFailed(operation, problem)
        assert array is not None
        return array

    async def shape(self, number: Any, root: int) -> List[Optional[int]]:
        """The shape of a tensor; asks the worker only for what depends on data."""
        tensor = await self._sized(self.find(number).tensor, "shape", root)
        return list(tensor.shape)

    async def _sized(self, tensor: RemoteTensor, operation: str, root: int) -> RemoteTensor:
        """The tensor, with all dimensions known."""
        if None not in tensor.shape:
            return tensor
        await self._begin(operation, root)
        problem = None
        try:
            with anyio.fail_after(self.seconds):
                await tensor.info()
        except LinkError:
            raise
        except AsyncSyftError as error:
            problem = error
        if problem is not None:
            await self.settle(root)
            raise OperationFailed(operation, problem)
        return tensor

    # Commands.

    async def command(self, command: Command, waits: bool, root: int) -> Any:
        """Do what PySyft asks; what it answers, if it answers."""
        name = command.name
        target = None if command.target is None else await self._resolved(command.target, name, root)
        args = [await self._resolved(value, name, root) for value in command.args]
        kwargs = {key: await self._resolved(value, name, root) for key, value in command.kwargs.items()}
        await self._begin(name, root)
        if target is not None and table.changes(name):
            self._change(command, target, args, kwargs)
            answer = None
        else:
            result = table.call(name, target, args, kwargs)
            answer = await self._answer(command, result, root)
        if waits:
            await self.settle(root)
        return answer

    async def _resolved(self, value: Any, name: str, root: int) -> Any:
        """An argument with remote tensors in the place of ids and arrays."""
        if isinstance(value, Ref):
            return await self._sized(self.find(value.number).tensor, name, root)
        if isinstance(value, np.ndarray):
            recorder = self.remote.recorder
            return RemoteTensor(recorder, recorder.put_any(value), spec_of(value))
        if isinstance(value, (list, tuple)):
            found = [await self._resolved(item, name, root) for item in value]
            return found if isinstance(value, list) else tuple(found)
        return value

    def _change(self, command: Command, target: RemoteTensor, args: List[Any], kwargs: Dict[str, Any]) -> None:
        assert command.target is not None
        number, name = command.target.number, command.name
        held = self.find(number)
        others = held.memory.ids - {number}
        if others:
            raise NotTranslated(
                name, f"{len(others)} other tensors share the memory of this one: change a copy() of it"
            )
        held.tensor = table.changed(name, target, args, kwargs)
        if table.assigns(name):  # x += y gives x another id, and forgets the old one
            self.keep(command.return_ids[0], held.tensor, held.memory).requires_grad = held.requires_grad

    async def _answer(self, command: Command, result: Any, root: int) -> Any:
        if isinstance(result, table.Asked):
            return result.make(await self.value(result.tensor, command.name, root))
        results = list(result) if type(result) is tuple else [result]
        if not all(isinstance(one, RemoteTensor) for one in results):
            return result
        memory = self._memory(command)
        ids = list(command.return_ids)
        fits = len(ids) == len(results)
        if not fits:
            ids = [*ids[:1], *(sy.ID_PROVIDER.pop() for _ in results[1:])][: len(results)]
        for number, tensor in zip(ids, results):
            self.keep(number, tensor, memory)
        if not fits:
            raise ResponseSignatureError(ids)
        if command.return_value:
            return await self.value(results[0], command.name, root)
        return None

    def _memory(self, command: Command) -> Optional[Memory]:
        """The memory that the results are parts of, if they may be."""
        if not table.shares(command.name):
            return None
        inputs = (command.target, *command.args, *command.kwargs.values())
        source = next((value for value in inputs if isinstance(value, Ref)), None)
        return None if source is None else self.find(source.number).memory

    # Search.

    async def search(self, query: Sequence[Any], root: int) -> List[Any]:
        """Ids of what bears all of these as tags; of an id among them, that object alone."""
        for item in query:
            if item in self.by_id:
                return [item]
        tags = [str(item) for item in query]
        mine = [n for n, held in self.by_id.items() if set(tags) <= held.tags and held.tags]
        await self._begin("search", root)
        with anyio.fail_after(self.seconds):
            found = await self.remote.search(*tags) if tags else []
            mine += [number for number in [await self._label(tensor) for tensor in found] if number not in mine]
        await self.settle(root)
        return mine

    async def _label(self, tensor: RemoteTensor) -> Any:
        """The id of a tensor of the worker's own: the same as long as this process holds it."""
        info = await tensor.info()
        number = self._own.get(info["name"])
        if number not in self.by_id:
            number = self._own[info["name"]] = sy.ID_PROVIDER.pop()
            held = self.keep(number, tensor)
            held.tags, held.description = {tag for tag in (info["name"], *info["tags"]) if tag}, info["name"]
        return number
