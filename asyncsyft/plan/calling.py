"""Plan: a function recorded for each signature with which it is called, and the call itself, which is one step.

It knows no worker until it is called; what a plan does at a worker is in ``executor/plans.py``.
"""

from __future__ import annotations

import inspect
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from .. import ops, program, tensor, wire
from ..errors import LocalProtocolError
from ..mpc.tensor import SecretTensor
from ..ops import Spec
from ..remote import Recorder, RemoteTensor
from ..remote.handle import Place
from ..remote.steps import different_workers
from . import data, recalling, show
from .arguments import Rebuild, build, flatten, split
from .data import Recorded
from .drawing import Graph
from .state import Bound, State
from .tracing import Tracer, tracer_of

#: Signatures for which one function is kept recorded; the oldest is forgotten, also at the workers.
MAX_RECORDED = 256


class Plan:
    """A function over remote tensors that runs as one step; made by ``plan``. Call it with tensors of one worker.

    Arguments that are remote tensors, or arrays, which are sent along, are inputs; all others are static: the function
    is recorded anew for each of their values, and for each combination of shapes and dtypes. ``name`` and ``version``
    are for people: they are what ``await worker.plans()`` lists.
    """

    def __init__(self, function: Optional[Callable[..., Any]], name: str, state: Optional[State], version: int) -> None:
        if inspect.iscoroutinefunction(function):
            raise TypeError(f"plan {name!r}: an async function cannot be recorded, since nothing is awaited in a plan")
        if type(name) is not str or len(name) > program.MAX_NAME or type(version) is not int or version < 0:
            raise ValueError(
                f"a plan has a name of at most {program.MAX_NAME} characters, and a whole number as its version"
            )
        self.function, self.name, self.state, self.version = function, name, state, version
        self.__doc__ = getattr(function, "__doc__", None) or type(self).__doc__
        self._recorded: Dict[Any, Recorded] = {}
        # Of calls with tensors only, by position: what was recorded, and what it gives.
        self._known: Dict[Tuple[Spec, ...], Tuple[Recorded, Sequence[Spec]]] = {}
        self._signature = None if function is None else inspect.signature(function)
        if self._signature is not None and state is not None and not self._signature.parameters:
            raise TypeError(f"plan {name!r} has a state, so its function takes that as its first argument")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Record a call; its results, in the form in which the function returns them. It waits for nothing.

        Raises: what the function raises while it is recorded, TypeError, ValueError if no argument is a remote tensor
        or they are at several workers.
        """
        if not kwargs and args:
            specs = tuple([arg.spec if type(arg) is RemoteTensor else None for arg in args])
            known = self._known.get(specs)  # type: ignore[arg-type]
            if known is not None:
                return self._run(*known, args[0].recorder, args, 3)
        return self._call(None, args, kwargs, 4)

    def at(self, worker: Place) -> Callable[..., Any]:
        """The plan for a call at that worker, also without any remote tensor: ``plan.at(alice)(array)``."""

        def call(*args: Any, **kwargs: Any) -> Any:
            return self._call(worker.recorder, args, kwargs, 4)

        return call

    def _call(self, recorder: Optional[Recorder], args: Tuple[Any, ...], kwargs: Dict[str, Any], depth: int) -> Any:
        secret = next((arg for arg in (*args, *kwargs.values()) if isinstance(arg, SecretTensor)), None)
        if secret is not None:
            return self._with_secrets(secret, args, kwargs)
        arguments = self._bound(args, kwargs)
        inputs, key, rebuild = split(arguments)
        tracer = tracer_of(inputs)
        if tracer is not None:
            return self._inline(tracer, inputs, key, rebuild, depth)
        remote = [item for item in inputs if isinstance(item, RemoteTensor)]
        if recorder is None:
            if not remote:
                raise ValueError(f"plan {self.name!r}: no remote tensor among the arguments: plan.at(worker)(...)")
            recorder = remote[0].recorder
        for item in remote:
            if item.recorder is not recorder:
                raise different_workers(recorder, item.recorder)
        inputs = [item if isinstance(item, RemoteTensor) else tensor.as_tensor(item) for item in inputs]
        specs = tuple([item.spec if isinstance(item, RemoteTensor) else ops.spec_of(item) for item in inputs])
        recorded = self._for_any_size(specs, key) or self._record(specs, key, rebuild)
        outputs = recorded.outputs_for(specs, self._specs)
        if len(remote) == len(args) and not kwargs and all(type(arg) is RemoteTensor for arg in args):
            if len(self._known) >= MAX_RECORDED:
                self._known.clear()
            self._known[specs] = recorded, outputs
        for at, item in enumerate(inputs):
            if not isinstance(item, RemoteTensor):
                copy = item.copy() if item.nbytes > wire.CHUNK else item
                inputs[at] = RemoteTensor(recorder, recorder.put_any(copy, depth - 1), specs[at])
        return self._run(recorded, outputs, recorder, inputs, depth)

    def _with_secrets(self, secret: SecretTensor, args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> Any:
        """Record all of it at once: what is to be opened at one level leaves together, and the dealer sees it whole."""
        if self.function is None or self.state is not None:
            raise ValueError(f"plan {self.name!r}: only a plan with its function, and no state, works on secrets")
        with secret.mpc.together():
            return self.function(*args, **kwargs)

    def _run(
        self,
        recorded: Recorded,
        specs: Sequence[Spec],
        recorder: Recorder,
        inputs: Sequence[RemoteTensor],
        depth: int,
    ) -> Any:
        given = []
        for handle in inputs:
            if handle.recorder is not recorder:
                raise different_workers(recorder, handle.recorder)
            given.append(handle.live_id())
        number = recorder.stored.get(recorded.serial) or recorded.id_at(recorder, depth + 1)
        ids = [number, *given]
        if recorded.params is not None:
            assert self.state is not None
            ids.insert(1, recorder.stored.get(self.state.serial) or self.state.id_at(recorder, depth + 1))
        new_id = recorder.new_id
        outs = [new_id() for _ in specs]
        step: List[Any] = [program.CALL, outs, ids]
        if recorded.params is not None:
            step.append(recorded.params)
        recorder.record(step, depth, None, recorded.origins)
        if recorded.form == "*":
            return RemoteTensor(recorder, outs[0], specs[0])
        return build(recorded.form, [RemoteTensor(recorder, out, spec) for out, spec in zip(outs, specs)])

    # Recording.

    def record(self, *args: Any, **kwargs: Any) -> Recorded:
        """Record for these arguments, without a call: a ``Spec`` (or an array) stands for a tensor, None for any size.

        What is recorded for any size serves all later calls that fit; the function sees None in shapes then.
        Raises: as calling does.
        """
        inputs, key, rebuild = split(self._bound(args, kwargs))
        specs = tuple([Spec(tensor.DTYPES[tensor.descriptor(item.dtype)], tuple(item.shape)) for item in inputs])
        return self._record(specs, key, rebuild)

    @property
    def recorded(self) -> List[Recorded]:
        """What was recorded so far, the latest last."""
        return list(self._recorded.values())

    def _bound(self, args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> Dict[str, Any]:
        if self._signature is None:
            if kwargs:
                raise TypeError(f"plan {self.name!r} came as bytes and takes its inputs by position")
            return {str(at): value for at, value in enumerate(args)}
        first = () if self.state is None else (None,)
        bound = self._signature.bind(*first, *args, **kwargs)
        bound.apply_defaults()
        arguments = dict(bound.arguments)
        if self.state is not None:
            del arguments[next(iter(self._signature.parameters))]
        return arguments

    def _record(self, specs: Tuple[Spec, ...], key: Any, rebuild: Rebuild) -> Recorded:
        if self.function is None:
            return self._that_fits(specs)
        found = self._recorded.get((specs, key))
        if found is None:
            found = self._trace(specs, rebuild)
            if len(self._recorded) >= MAX_RECORDED:
                del self._recorded[next(iter(self._recorded))]
                self._known.clear()
            self._recorded[specs, key] = found
        return found

    def _for_any_size(self, specs: Tuple[Spec, ...], key: Any) -> Optional[Recorded]:
        """What was recorded for other shapes, of any size, that serves these as well."""
        if self.function is None or (specs, key) in self._recorded:
            return None
        for (_, its_key), recorded in self._recorded.items():
            if its_key == key and recorded.serves(specs):
                return recorded
        return None

    def _that_fits(self, specs: Sequence[Spec]) -> Recorded:
        for recorded in self._recorded.values():
            if recorded.fits(specs):
                return recorded
        wanted = " or ".join(str([f"{s.dtype}{list(s.shape)}" for s in r.inputs]) for r in self._recorded.values())
        raise TypeError(f"plan {self.name!r} was recorded for {wanted or 'nothing'}")

    def _trace(self, specs: Sequence[Spec], rebuild: Rebuild) -> Recorded:
        tracer = Tracer(self.name, specs, self.state)
        # Handles of the function's own: x[key] = value binds them anew, and the inputs stay what they are.
        arguments = rebuild([tracer.handle(one.id, one.spec) for one in tracer.inputs])
        try:
            result = self._apply(tracer.bound, arguments)
        except RecursionError:
            raise RecursionError(
                f"plan {self.name!r} calls itself without end: no value of a tensor can end it, only a Python value can"
            ) from None
        form, outputs = flatten(result)
        self._check_outputs(tracer, outputs)
        return tracer.arrange(outputs, form, self.version)

    def _check_outputs(self, tracer: Tracer, outputs: Sequence[Any]) -> None:
        for output in outputs:
            if not isinstance(output, RemoteTensor):
                kind = type(output).__name__
                raise TypeError(f"plan {self.name!r} returns tensors that it makes, or None, but not {kind}")
            if output.recorder is not tracer:  # type: ignore[comparison-overlap]
                raise different_workers(tracer, output.recorder)  # type: ignore[arg-type]

    def _apply(self, bound: Bound, arguments: Dict[str, Any]) -> Any:
        assert self.function is not None
        assert self._signature is not None
        made = self._signature.bind_partial()
        if self.state is not None:
            made.arguments[next(iter(self._signature.parameters))] = bound
        made.arguments.update(arguments)
        return self.function(*made.args, **made.kwargs)

    def _inline(self, tracer: Tracer, inputs: Sequence[Any], key: Any, rebuild: Rebuild, depth: int) -> Any:
        """Within another plan the steps become that plan's own."""
        if self.state is not None and self.state is not tracer.state:
            raise LocalProtocolError(f"plan {self.name!r} has a state: {tracer.worker} must have the same to call it")
        handles = []
        for item in inputs:
            if not isinstance(item, RemoteTensor):
                handles.append(tracer.constant(tensor.as_tensor(item)))
            elif item.recorder is not tracer:  # type: ignore[comparison-overlap]
                raise different_workers(tracer, item.recorder)  # type: ignore[arg-type]
            else:
                handles.append(tracer.handle(item.live_id(), item.spec))
        if self.function is not None:
            return self._apply(tracer.bound, rebuild(handles))
        recorded = self._that_fits([handle.spec for handle in handles])
        if recorded.data.state:
            raise LocalProtocolError(f"plan {self.name!r} came as bytes, with a state of its own")
        return build(recorded.form, tracer.replay(recorded, handles, depth))

    # What it is, elsewhere and for people.

    def forget(self, worker: Place) -> bool:
        """Delete its copies at a worker, to which the next call brings it again; False if there are none.

        A plan that Python forgets is deleted everywhere, without a message of its own; its state stays.
        """
        there = False
        for recorded in self._recorded.values():
            there |= recorded.drop_at(worker.recorder, 3)
        return there

    def __repr__(self) -> str:
        return f"<Plan {self.name} version {self.version}>"

    def __str__(self) -> str:
        return "\n\n".join([show.show(recorded, self._specs) for recorded in self.recorded]) or repr(self)

    def graph(self) -> Graph:
        """What was recorded last as a drawing: text for Graphviz, ``.svg()``, ``.mermaid()``; a notebook shows it."""
        if not self._recorded:
            raise LocalProtocolError(f"plan {self.name!r} is not recorded yet: call it, or plan.record(Spec(...))")
        return Graph.of(self.recorded[-1], self._specs)

    @property
    def _specs(self) -> Dict[str, Spec]:
        return {} if self.state is None else self.state.specs

    def to_bytes(self) -> bytes:
        """What was recorded so far, and what the state starts with, in the neutral form of docs/protocol.md."""
        return data.to_bytes(self.name, self.version, self.recorded, self.state)

    @staticmethod
    def from_bytes(packed: bytes) -> Plan:
        """The plan of ``to_bytes``, without its function. Raises: RemoteProtocolError for any other bytes."""
        loaded = data.from_bytes(packed)
        made = Plan(None, loaded.name, loaded.state, loaded.version)
        made._recorded.update(enumerate(loaded.recorded))
        return made

    @staticmethod
    async def recall(worker: Place, name: str) -> Plan:
        """The plan that a worker keeps on disk for this driver under a name, with its state as it is there.

        Raises: UnknownObject if it keeps none, UnknownOp if it cannot keep anything, LinkError.
        """
        found = await recalling.fetch(worker, name)
        made = Plan.from_bytes(found.packed)
        for recorded, number in zip(made.recorded, found.plans):
            recorded.adopt(worker.recorder, number)
        if made.state is not None:
            await made.state.recall(worker)
        return made


def plan(
    function: Optional[Callable[..., Any]] = None,
    *,
    state: Optional[State] = None,
    name: str = "",
    version: int = 1,
) -> Any:
    """Make a plan of a function over remote tensors: ``@plan``, or ``@plan(state=model)`` if it keeps something."""

    def make(function: Callable[..., Any]) -> Plan:
        return Plan(function, name or getattr(function, "__name__", "plan"), state, version)

    return make if function is None else make(function)
