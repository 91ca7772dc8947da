"""A state: the arrays that plans of one model keep at each worker between calls.

It knows what it starts with; what became of it since is at the workers, at each for itself.
"""

from __future__ import annotations

import os
from typing import Any, Dict, List, Mapping, Tuple

from .. import program, tensor
from ..errors import Refused
from ..ops import Spec
from ..remote import RemoteTensor
from ..remote.handle import Place
from ..remote.steps import different_workers
from ..tensor import Array
from .recalling import recalled
from .storing import Kept


class State(Kept):
    """Arrays that plans of one model keep at a worker between calls: ``State(w=weights, b=bias)``.

    Given to a plan (``@plan(state=model)``), each name is an attribute of the function's first argument; assigning to
    it binds the name anew, at each worker for itself. What is given here is what a worker starts with; a name keeps its
    dtype and shape. ``arrays`` are copies, for reading only.
    """

    def __init__(self, name: str = "state", /, **arrays: Any) -> None:
        super().__init__()
        for word in arrays:
            if word.startswith("_"):
                raise ValueError(f"a name in a state does not begin with an underscore: {word}")
        if type(name) is not str or len(name) > program.MAX_NAME:
            raise ValueError(f"a state has a name of at most {program.MAX_NAME} characters")
        try:
            program.check_names(list(arrays))
        except Refused as error:
            raise ValueError(error.message) from None
        self.name = name
        #: By which a worker that keeps it on disk knows it again.
        self.mark = os.urandom(16)
        self.arrays: Dict[str, Array] = {word: _frozen(array) for word, array in arrays.items()}
        self.specs = {word: Spec(array.dtype, array.shape) for word, array in self.arrays.items()}

    def __getattr__(self, name: str) -> Any:
        held = name in self.__dict__.get("arrays", ())
        hint = f" here: it is one of the first argument of a function with @plan(state=...), and state.arrays[{name!r}]"
        raise AttributeError(f"a state has no attribute {name!r}{hint if held else ''}")

    def _store(self) -> Tuple[str, List[Array], Dict[str, Any]]:
        return (
            program.STATE,
            list(self.arrays.values()),
            {
                "name": self.name,
                "names": list(self.arrays),
                "mark": self.mark,
            },
        )

    async def get(self, worker: Place) -> Dict[str, Array]:
        """The arrays as they are at a worker, once all that was recorded for it has run.

        Raises: the error of the step that failed to store it, LinkError when the worker is lost.
        """
        handles, recorder = self._read(worker, 3), worker.recorder
        slots: List[Any] = []
        try:
            for handle in handles.values():
                slots.append(recorder.ask([program.GET, 0, [handle.live_id()]]))
            return {name: await slot for name, slot in zip(handles, slots)}
        except BaseException:
            for slot in slots:
                recorder.cancel(slot)
            raise

    def at(self, worker: Place) -> Dict[str, RemoteTensor]:
        """Remote tensors of the arrays as they are at a worker once all that was recorded for it has run."""
        return self._read(worker, 3)

    def _read(self, worker: Place, depth: int) -> Dict[str, RemoteTensor]:
        recorder = worker.recorder
        number = self.id_at(recorder, depth + 1)
        outs = [recorder.new_id() for _ in self.arrays]
        recorder.record([program.READ, outs, [number], {"names": list(self.arrays)}], depth)
        return {name: RemoteTensor(recorder, out, self.specs[name]) for name, out in zip(self.arrays, outs)}

    def set(self, worker: Place, **arrays: Any) -> None:
        """Bind names anew at a worker, all or none: to its remote tensors, or to arrays, which are sent there.

        Raises: AttributeError for a name that is not there, TypeError for another dtype or shape, ValueError.
        """
        recorder = worker.recorder
        values = {name: self._fitting(name, value) for name, value in arrays.items()}
        for value in values.values():
            if isinstance(value, RemoteTensor) and value.recorder is not recorder:
                raise different_workers(recorder, value.recorder)
        number = self.id_at(recorder, 3)
        sent: List[int] = []
        ids: List[int] = []
        try:
            for value in values.values():
                if isinstance(value, RemoteTensor):
                    ids.append(value.live_id())
                else:
                    sent.append(recorder.put_any(value, 2))
                    ids.append(sent[-1])
            recorder.record([program.BIND, [], [number, *ids], {"names": list(values)}])
        finally:
            recorder.forgotten.extend(sent)

    def _fitting(self, name: str, value: Any) -> Any:
        if not isinstance(value, RemoteTensor):
            value = _frozen(value)
        check(self.specs, name, value)
        return value

    async def recall(self, worker: Place) -> bool:
        """Go on, at a worker, with what it keeps on disk for this driver under the state's name; False if nothing.

        Raises: TypeError if that has other names, dtypes or shapes, UnknownOp if the worker cannot keep anything.
        """
        recorder = worker.recorder
        found = await recalled(recorder, "state", self.name, self.mark)
        if not found:
            return False
        kept = found[0].get("arrays")
        mine = {name: [spec.dtype.name, list(spec.shape)] for name, spec in self.specs.items()}
        if kept != mine:
            recorder.forgotten.append(found[0]["id"])
            raise TypeError(f"{worker.name} keeps another state under the name {self.name!r}: {kept!r:.300}")
        self.adopt(recorder, found[0]["id"])
        return True

    def forget(self, worker: Place) -> bool:
        """Delete it at a worker: who needs it there again finds it as it was first. False if it is not there.

        A state that Python forgets is deleted everywhere, without a message of its own.
        """
        return self.drop_at(worker.recorder, 3)

    def __repr__(self) -> str:
        arrays = (f"{name}={spec.dtype}{list(spec.shape)}" for name, spec in self.specs.items())
        return f"<State {', '.join([self.name, *arrays])}>"


def check(specs: Mapping[str, Spec], name: str, value: Any) -> None:
    """Raises: AttributeError for a name that the state does not have, TypeError unless the value can take its place."""
    spec = specs.get(name)
    if spec is None:
        raise AttributeError(f"the state has no {name!r}: {', '.join(specs)}")
    if value.dtype != spec.dtype or not fits(value.shape, spec.shape):
        raise TypeError(f"state.{name} is {spec.dtype}{list(spec.shape)}, not {value.dtype}{list(value.shape)}")


def fits(shape: Tuple[Any, ...], known: Tuple[Any, ...]) -> bool:
    """Whether a shape can be the one known; None in either is any size."""
    return len(shape) == len(known) and all(k is None or d is None or d == k for d, k in zip(shape, known))


def _frozen(value: Any) -> Array:
    array = tensor.as_tensor(value).copy()
    array.flags.writeable = False
    return array


class Bound:
    """What a function sees of its state while it is recorded: a tensor for each name."""

    def __init__(self, specs: Mapping[str, Spec], handles: Dict[str, RemoteTensor]) -> None:
        object.__setattr__(self, "_specs", specs)
        object.__setattr__(self, "_handles", handles)

    def __getattr__(self, name: str) -> RemoteTensor:
        handles: Dict[str, RemoteTensor] = object.__getattribute__(self, "_handles")
        if name not in handles:
            raise AttributeError(f"the state has no {name!r}: {', '.join(handles)}")
        return handles[name]

    def __setattr__(self, name: str, value: Any) -> None:
        before = getattr(self, name)
        if not isinstance(value, RemoteTensor):
            raise TypeError(f"state.{name} is bound to a tensor of the plan, not to {type(value).__name__}")
        if value.recorder is not before.recorder:
            raise different_workers(before.recorder, value.recorder)
        check(self._specs, name, value)  # type: ignore[arg-type]
        self._handles[name] = value

    def __dir__(self) -> List[str]:
        return sorted(object.__getattribute__(self, "_handles"))
